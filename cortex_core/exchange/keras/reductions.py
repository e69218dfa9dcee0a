"""Functions that make one number of all along some axes: means, sums, the largest, variances, lengths."""

from __future__ import annotations

import math
from collections.abc import Sequence

from cortex_core.exchange.build import Unfit
from cortex_core.exchange.keras.arithmetic import Operation, number, operation, place, places, valued
from cortex_core.exchange.keras.at import translates
from cortex_core.exchange.keras.core import free, scaled
from cortex_core.exchange.keras.functions import of_keras
from cortex_core.exchange.keras.value import Value


def _along(found: Operation) -> tuple[Value, list[int], bool]:
    """The value, the axes, and whether each of them stays, with the size 1."""
    x, axis = valued(found, "axis", "reduction_indices")
    keeps = bool(found.option("keepdims", "keep_dims", default=False))
    return x, places(axis, len(x.shape) + 1), keeps


@operation("mean", "reducemean", "sum", "reducesum")
def mean(found: Operation) -> Value:
    x, axes, keeps = _along(found)
    kind = found.name.removeprefix("reduce")
    if kind == "mean" and found.at.version >= (3,):  # TensorFlow's truncates
        x = found.at.floats(x)
    return found.at.put(kind, x, axes=axes, keepdims=keeps)


@operation("max", "reducemax", "amax", "min", "reducemin", "amin")
def largest(found: Operation) -> Value:
    """The smallest is the largest of what is negated."""
    x, axes, keeps = _along(found)
    if "max" in found.name:
        return _largest(found, x, axes, keeps)
    y = _largest(found, scaled(found.at, x, -1, part="negative"), axes, keeps, part="largest")
    return scaled(found.at, y, -1)


def _largest(found: Operation, x: Value, axes: Sequence[int], keeps: bool, part: str = "") -> Value:
    """By a pooling over everything: of a picture, or of a line that has these axes in front, as one."""
    rank = len(x.shape)
    if [*axes] == [*range(1, rank)] and 2 <= rank <= 4:
        return found.at.put(f"global_max_pool{rank - 1}d", x, part=part, keepdims=keeps)
    rest = [a for a in range(1, rank + 1) if a not in axes]
    line = [_product([x.shape[a - 1] for a in group]) for group in (axes, rest)]
    shape = [1 if a in axes else n for a, n in enumerate(x.shape, 1) if keeps or a in rest]
    if [*axes, *rest] != sorted([*axes, *rest]):
        x = found.at.put("permute", x, part="in_front", axes=[*axes, *rest])
    if [*x.shape] != line:
        x = found.at.put("reshape", x, part="line", shape=free(line))
    if shape == line[1:]:
        return found.at.put("global_max_pool1d", x, part=part)
    y = found.at.put("global_max_pool1d", x, part="of_line")
    return found.at.put("reshape", y, part=part, shape=free(shape))


def _product(sizes: Sequence[int | None]) -> int | None:
    known = [n for n in sizes if n is not None]
    return math.prod(known) if len(known) == len(sizes) else None


@operation("var", "reducevariance", "std", "reducestd")
def variance(found: Operation) -> Value:
    """The mean square of what departs from the mean."""
    x, axes, keeps = _along(found)
    at, x = found.at, found.at.floats(x)
    mean = at.put("mean", x, part="mean", axes=axes, keepdims=True)
    square = at.put("power", at.put("subtract", [x, mean], part="apart"), part="square", exponent=2)
    if "var" in found.name:
        return at.put("mean", square, axes=axes, keepdims=keeps)
    return at.put("power", at.put("mean", square, part="variance", axes=axes, keepdims=keeps), exponent=0.5)


@operation("norm", "reduceeuclideannorm")
def norm(found: Operation) -> Value:
    """The Euclidean length."""
    order = found.option("ord")
    x, axes, keeps = _along(found)
    if order not in (None, "euclidean", 2) or (order == 2 and len(axes) > 1):
        raise Unfit(f"a norm of the order {order!r:.40} along {axes} is not supported: 2 is, of vectors")
    square = found.at.put("power", found.at.floats(x), part="square", exponent=2)
    total = found.at.put("sum", square, part="sum", axes=axes, keepdims=keeps)
    return found.at.put("power", total, exponent=0.5)


@operation("ops.normalize", "l2normalize")
def normalize(found: Operation) -> Value:
    """Vectors of length 1.  TensorFlow bounds the square of the length from below, Keras the length.

    Of no axis TensorFlow takes all there is as one vector, the examples of a batch together.
    """
    x, axis = valued(found, "axis", "dim")
    order, epsilon = found.option("order", default=2), found.option("epsilon")
    if order != 2:
        raise Unfit(f"vectors of length 1 by the order {order!r:.40} are not supported: the order 2 is")
    if found.name == "ops.normalize":
        shortest = 1e-7 if epsilon is None else number(epsilon)
    else:
        shortest = math.sqrt(1e-12 if epsilon is None else number(epsilon))
    axis = place(axis, len(x.shape) + 1)
    axis = -1 if axis == len(x.shape) else axis
    return found.at.put("unit_norm", found.at.floats(x), axis=axis, shortest=shortest)


NAMES = ("Mean", "Sum", "Max", "Min", "Amax", "Amin", "Var", "Std", "Norm", "Normalize")
translates(*(f"ops.{name}" for name in NAMES))(of_keras)
