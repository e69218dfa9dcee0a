"""Pooling, channels last.

oneDNN's maximum drops NaN, and is -3.4e38 for a window of -inf alone.  So a look at x follows it: where it is
not finite, NumPy's kernel does the work again.  Both number the elements of a window
row-major and keep a byte for each element of y, so that each reads the other's residual.
"""

from __future__ import annotations

from collections.abc import Sequence

from cortex_compute.numpy_backend.backend import RESIDUAL
from cortex_compute.onednn_backend import constants as c
from cortex_compute.onednn_backend.backend import offers
from cortex_compute.onednn_backend.convolution import image
from cortex_compute.onednn_backend.descriptors import PrimitiveDesc
from cortex_compute.onednn_backend.fallback import finite, redone_unless
from cortex_compute.onednn_backend.recipe import In, Out, Recipe, seconds
from cortex_compute.primitives.pooling import (
    Averaging,
    AvgPool,
    AvgPoolGrad,
    MaxPool,
    MaxPoolGrad,
    Pooling,
)
from cortex_compute.protocol import ROW_MAJOR, Offer, Operand, Refusal, row_major
from cortex_compute.types import TensorType, uint8

Sizes = tuple[int, ...]
ONE_CHANNEL = Refusal("oneDNN's gradient of pooling is slower than NumPy's for one channel")
OTHER_RESIDUAL = Refusal("oneDNN keeps more than a byte for each element of y")
OTHER_DIVISORS = Refusal("oneDNN also counts what a window covers beyond the padding")
CALLS = 0  # NumPy makes several calls for each element of a window, and its cost counts none of them


def _geometry(p: Pooling, x: TensorType, y: TensorType) -> tuple[Sizes, Sizes, Sizes, Sizes, Sizes]:
    """Stride, size, dilation, padding before and behind.

    What the last window reaches beyond x is the padding behind: more than ``p`` says where the number of
    windows is rounded up, less than 0 where elements are left over.
    """
    axes = zip(x.shape[1:-1], y.shape[1:-1], p.size, p.stride, p.padding)
    after = tuple((count - 1) * s + k - n - before for n, count, k, s, (before, _) in axes)
    return p.stride, p.size, (0,) * len(p.size), tuple(before for before, _ in p.padding), after


def _forward(p: Pooling, algorithm: int, x: TensorType, y: TensorType) -> PrimitiveDesc:
    return PrimitiveDesc(
        "pooling_forward", c.FORWARD_TRAINING, algorithm, image(x), image(y), *_geometry(p, x, y)
    )


def _backward(p: Pooling, algorithm: int, x: TensorType, y: TensorType) -> PrimitiveDesc:
    hint = _forward(p, algorithm, x, y)
    return PrimitiveDesc("pooling_backward", algorithm, image(x), image(y), *_geometry(p, x, y), hint)


def _unfit(*operands: Operand) -> str:
    """Why operands are refused, if they are."""
    return "" if all(map(row_major, operands)) else "oneDNN's pooling wants row-major operands"


# The maximum.


def _bytewise(pool: PrimitiveDesc, y: TensorType) -> bool:
    """Whether the winners are kept as NumPy keeps them."""
    return pool.desc("workspace") == image(TensorType(y.shape, uint8))


@offers(MaxPool)
def max_pool(p: MaxPool, operands: Sequence[Operand]) -> Offer | Refusal:
    x = operands[0].type
    y = p.infer(x)[0]
    if reason := _unfit(*operands):
        return Refusal(reason)
    forward = _forward(p, c.POOL_MAX, x, y)
    if not _bytewise(forward, y):
        return OTHER_RESIDUAL
    kept = forward.desc("workspace")
    recipe = Recipe()
    recipe.call(forward, {c.SRC: (In(0), image(x)), c.DST: (Out(0), image(y)), c.WORKSPACE: (Out(1), kept)})
    redone_unless(recipe, finite(recipe, In(0), x), p, operands)
    cost = seconds(p.flops(x), 2 * x.nbytes + y.nbytes, CALLS)
    return recipe.offer(cost, residual=kept.nbytes, layouts=(operands[0].layout, ROW_MAJOR, RESIDUAL))


@offers(MaxPoolGrad)
def max_pool_grad(p: MaxPoolGrad, operands: Sequence[Operand]) -> Offer | Refusal:
    x, y, _, g = (o.type for o in operands)
    if operands[2].layout.key not in ("", RESIDUAL.key):
        return Refusal(f"oneDNN's pooling reads no residual {operands[2].layout.key}")
    if reason := _unfit(*operands[:2], operands[3]):
        return Refusal(reason)
    if x.shape[-1] == 1:
        return ONE_CHANNEL
    backward = _backward(p, c.POOL_MAX, x, y)
    if not _bytewise(backward, y):
        return OTHER_RESIDUAL
    recipe, kept = Recipe(), backward.desc("workspace")
    recipe.call(
        backward,
        {c.WORKSPACE: (In(2), kept), c.DIFF_DST: (In(3), image(g)), c.DIFF_SRC: (Out(0), image(x))},
    )
    return recipe.offer(seconds(p.flops(x), x.nbytes + y.nbytes, CALLS), reads=frozenset((2, 3)))


# The mean.


def _averaging(p: Averaging, x: TensorType) -> int | None:
    """What to divide by, as oneDNN calls it; None, if it has no such rule."""
    if all(n == size for axis, size in zip(p.divisors(x), p.size) for n in axis):
        return c.POOL_AVG_INCLUDE
    return None if p.count_padding else c.POOL_AVG_EXCLUDE


@offers(AvgPool)
def avg_pool(p: AvgPool, operands: Sequence[Operand]) -> Offer | Refusal:
    x = operands[0].type
    (y,) = p.infer(x)
    if reason := _unfit(*operands):
        return Refusal(reason)
    algorithm = _averaging(p, x)
    if algorithm is None:
        return OTHER_DIVISORS
    recipe = Recipe()
    recipe.call(_forward(p, algorithm, x, y), {c.SRC: (In(0), image(x)), c.DST: (Out(0), image(y))})
    return recipe.offer(seconds(p.flops(x), x.nbytes + y.nbytes, CALLS))


@offers(AvgPoolGrad)
def avg_pool_grad(p: AvgPoolGrad, operands: Sequence[Operand]) -> Offer | Refusal:
    y = operands[0].type
    (x,) = p.infer(y)
    if reason := _unfit(*operands):
        return Refusal(reason)
    if x.shape[-1] == 1:
        return ONE_CHANNEL
    algorithm = _averaging(p, x)
    if algorithm is None:
        return OTHER_DIVISORS
    recipe = Recipe()
    recipe.call(
        _backward(p, algorithm, x, y),
        {c.DIFF_DST: (In(0), image(y)), c.DIFF_SRC: (Out(0), image(x))},
    )
    return recipe.offer(seconds(p.flops(y), x.nbytes + y.nbytes, CALLS))
