"""erf, which NumPy lacks, as a list of NumPy calls over one block.

W. J. Cody, Rational Chebyshev approximations for the error function, Mathematics of Computation 23 (1969),
631-637, with the coefficients of his CALERF (SPECFUN): erf(y) = y A(y^2) / B(y^2) up to 0.46875, beyond that
erfc(y) = exp(-y^2) C(y) / D(y).  He uses C / D up to 4 only; erf itself needs no more of erfc's digits
further out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

SPLIT = 0.46875
LARGEST = 6.0  # erfc(6) is 2e-17, so that erf is 1 from here on

# Highest power first; those of B and D begin with 1.
A = (1.85777706184603153e-1, 3.16112374387056560e0, 1.13864154151050156e2, 3.77485237685302021e2,
     3.20937758913846947e3)  # fmt: skip
B = (1.0, 2.36012909523441209e1, 2.44024637934444173e2, 1.28261652607737228e3, 2.84423683343917062e3)
C = (2.15311535474403846e-8, 5.64188496988670089e-1, 8.88314979438837594e0, 6.61191906371416295e1,
     2.98635138197400131e2, 8.81952221241769090e2, 1.71204761263407058e3, 2.05107837782607147e3,
     1.23033935479799725e3)  # fmt: skip
D = (1.0, 1.57449261107098347e1, 1.17693950891312499e2, 5.37181101862009858e2, 1.62138957456669019e3,
     3.29079923573345963e3, 4.36261909014324716e3, 3.43936767414372164e3, 1.23033935480374942e3)  # fmt: skip

Call = Callable[[], Any]


def erf_steps(x: Any, out: np.ndarray, scratch: Sequence[np.ndarray]) -> list[Call]:
    """Calls that write erf(x) into ``out``, which may not overlap ``x``; ``scratch`` is four arrays like it.

    The scratch may be wider than ``out``; the work is done in its type.
    """
    y, a, b, c = scratch
    low = c.reshape(-1).view(np.bool_)[: c.size].reshape(c.shape)
    return [
        partial(np.copyto, y, x),
        partial(np.absolute, y, y),
        partial(np.minimum, y, LARGEST, out=y),
        partial(np.multiply, y, y, c),
        *_polynomial(A, c, a),
        *_polynomial(B, c, b),
        partial(np.divide, a, b, a),
        partial(np.multiply, a, y, a),  # a is erf where y is small
        *_polynomial(C, y, b),
        *_polynomial(D, y, c),
        partial(np.divide, b, c, b),
        partial(np.multiply, y, y, c),
        partial(np.negative, c, c),
        partial(np.exp, c, c),
        partial(np.multiply, b, c, b),
        partial(np.subtract, 1.0, b, b),  # b is erf where y is large
        partial(np.less_equal, y, SPLIT, low),
        partial(np.copyto, b, a, "same_kind", low),
        partial(np.copyto, out, b, "same_kind"),
        partial(np.copysign, out, x, out),
    ]


def _polynomial(coefficients: Sequence[float], x: np.ndarray, out: np.ndarray) -> list[Call]:
    """Horner's rule."""
    first, second, *rest = coefficients
    calls: list[Call] = [partial(np.multiply, x, first, out), partial(np.add, out, second, out)]
    for coefficient in rest:
        calls += [partial(np.multiply, out, x, out), partial(np.add, out, coefficient, out)]
    return calls
