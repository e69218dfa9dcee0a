"""Inverse trigonometric functions, as formulas over the scalar functions that every backend has."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from cortex_core.ops.pointwise import absolute, logical_or, pointwise, select, sqrt
from cortex_core.ops.table import normal, op, sample, unit

# atan(t) = t (1 + t^2 P(t^2) / Q(t^2)) for |t| < 0.66: the approximation of S. L. Moshier's Cephes library.
P = (
    *(-8.750608600031904122785e-1, -1.615753718733365076637e1, -7.500855792314704667340e1),
    *(-1.228866684490136173410e2, -6.485021904942025371773e1),
)
Q = (
    *(1.0, 2.485846490142306297962e1, 1.650270098316988542046e2, 4.328810604912902668951e2),
    *(4.853903996359136964868e2, 1.945506571482613964425e2),
)
INSIDE = np.array([-0.9, -0.5, 0.0, 0.25, 0.8])
ORDINATES = np.array([1.0, 2.0, -1.0, -2.0, 0.5, 0.0, 0.1, 3.0])
ABSCISSAE = np.array([2.0, 1.0, 3.0, -1.0, -4.0, 1.0, -1.0, 0.0])


@op(sample(normal(2, 3)), sample(np.array([-1e9, -5.0, -1.0, -0.3, 0.0, 0.7, 2.5])), aliases=("arctan",))
@pointwise
def atan(x: Any) -> Any:
    """The angle with the tangent x, between -pi/2 and pi/2.   From x = tan(y), dx/dy = 1 + x^2:
    dx = g / (1 + x^2)
    """
    size = select(x < 0, -x, x)
    far, middle = size > 2.414213562373095, size > 0.66
    below = select(far, 1.0, size)
    t = select(far, -1.0 / select(far, size, 1.0), select(middle, (below - 1.0) / (below + 1.0), size))
    angle = t * (1.0 + t * t * (_polynomial(P, t * t) / _polynomial(Q, t * t)))
    y = select(far, angle + math.pi / 2, select(middle, angle + math.pi / 4, angle))
    return select(x < 0, -y, y)


def _polynomial(coefficients: tuple[float, ...], z: Any) -> Any:
    value: Any = coefficients[0]
    for c in coefficients[1:]:
        value = value * z + c
    return value


@op(sample(unit(2, 3)), sample(INSIDE), aliases=("arcsin",))
@pointwise
def asin(x: Any) -> Any:
    """The angle with the sine x, between -pi/2 and pi/2.   From x = sin(y), dx/dy = cos(y):
    dx = g / sqrt(1 - x^2)
    """
    return 2.0 * atan(x / (1.0 + sqrt(1.0 - x) * sqrt(1.0 + x)))


@op(sample(unit(2, 3)), sample(INSIDE), aliases=("arccos",))
@pointwise
def acos(x: Any) -> Any:
    """The angle with the cosine x, between 0 and pi.   From x = cos(y), dx/dy = -sin(y):
    dx = -g / sqrt(1 - x^2)
    """
    size = select(x < 0, -x, x)
    y = 2.0 * atan(sqrt(1.0 - size) / sqrt(1.0 + size))
    return select(x < 0, math.pi - y, y)


@op(sample(normal(2, 3), normal(3)), sample(ORDINATES, ABSCISSAE), aliases=("arctan2",))
@pointwise
def atan2(y: Any, x: Any) -> Any:
    """The angle of the point (x, y), between -pi and pi; of (0, 0) it is 0.   dy = g x / (x^2 + y^2);
    dx = -g y / (x^2 + y^2)
    """
    steep = absolute(y) > absolute(x)
    bottom = select(steep, y, x)
    angle = atan(select(steep, x, y) / select(absolute(bottom) > 0, bottom, 1.0))
    turned = select(_below_0(x), select(_below_0(y), angle - math.pi, angle + math.pi), angle)
    return select(steep, select(y < 0, -math.pi / 2 - angle, math.pi / 2 - angle), turned)


def _below_0(x: Any) -> Any:
    """Whether x is negative, or -0."""
    return logical_or(x < 0, 1.0 / x < 0)
