"""Convolution and its gradients, channels last.

oneDNN chooses the layout of the kernel.  A reorder, part of what runs here, brings it there and back, unless
it lies in that layout already.

In bfloat16 numbers are multiplied in pairs.  Of one channel the other number of a pair is the next pixel's,
with the factor 0: a NaN or infinity there reaches one pixel more than it should.
"""

from __future__ import annotations

from collections.abc import Sequence

from cortex_compute.onednn_backend import constants as c
from cortex_compute.onednn_backend.backend import offers
from cortex_compute.onednn_backend.descriptors import MemoryDesc, PrimitiveDesc, chosen, strided
from cortex_compute.onednn_backend.epilogue import translate
from cortex_compute.onednn_backend.packing import is_packed, layout_of, packed, with_packed
from cortex_compute.onednn_backend.recipe import Arguments, In, Out, Recipe, Where, seconds
from cortex_compute.primitives.convolution import Conv, ConvInputGrad, ConvKernelGrad, Convolution
from cortex_compute.protocol import Offer, Operand, Refusal, row_major
from cortex_compute.types import TensorType, contiguous_strides

Sizes = tuple[int, ...]


def image(t: TensorType) -> MemoryDesc:
    """A row-major (N, *S, C) in oneDNN's order of axes, (N, C, *S)."""
    strides = contiguous_strides(t.shape)
    return strided(_channels_first(t.shape), _channels_first(strides), t.dtype)


def broadcast_image(t: TensorType, rank: int) -> MemoryDesc:
    """A row-major operand that repeats over the axes of an image that it lacks."""
    return image(TensorType((1,) * (rank - t.rank) + t.shape, t.dtype))


def _channels_first(x: Sizes) -> Sizes:
    return (x[0], x[-1], *x[1:-1])


class Filters:
    """A kernel (*K, in / groups, out): as it lies, and as oneDNN may choose it."""

    def __init__(self, t: TensorType, groups: int) -> None:
        (*window, inner, out), strides = t.shape, contiguous_strides(t.shape)
        sizes, steps = (out, inner, *window), (1, strides[-2], *strides[:-2])
        if groups > 1:
            each = out // groups
            sizes, steps = (groups, each, *sizes[1:]), (each, *steps)
        self.plain = strided(sizes, steps, t.dtype)
        self.any = chosen(sizes, t.dtype)


def _geometry(p: Convolution) -> tuple[Sizes, Sizes, Sizes, Sizes]:
    before, after = zip(*p.padding)
    return p.stride, tuple(d - 1 for d in p.dilation), tuple(before), tuple(after)


def _forward(p: Convolution, x: MemoryDesc, w: MemoryDesc, y: MemoryDesc) -> PrimitiveDesc:
    """The forward that a gradient refers to."""
    forward, direct = c.FORWARD_TRAINING, c.CONVOLUTION_DIRECT
    return PrimitiveDesc("convolution_forward", forward, direct, x, w, None, y, *_geometry(p))


def _cost(p: Convolution, types: Sequence[TensorType], calls: int) -> float:
    return seconds(p.flops(*types), p.nbytes(*types), calls, types[0].dtype)


@offers(Conv)
def conv(p: Conv, operands: Sequence[Operand]) -> Offer | Refusal:
    if not all(map(row_major, operands)):
        return Refusal("oneDNN's convolution wants row-major operands")
    types = [o.type for o in operands]
    (y,) = p.infer(*types)
    epilogue = translate(
        p.epilogue, p.literals,
        lambda k: broadcast_image(types[k + 1], y.rank),
        broadcast_image(TensorType((1,)), y.rank),
        lambda k: types[k + 1].shape == y.shape[-1:],
    )  # fmt: skip
    source, filters, target = image(types[0]), Filters(types[1], p.groups), image(y)
    arguments: Arguments = {c.SRC: (In(0), source), c.DST: (Out(0), target), **epilogue.arguments}
    bias = None
    if epilogue.bias is not None:
        bias = strided(y.shape[-1:], (1,), types[epilogue.bias + 1].dtype)
        arguments[c.BIAS] = In(epilogue.bias + 1), bias
    found = packed(operands[1].layout)
    primitive = PrimitiveDesc(
        "convolution_forward", c.FORWARD_TRAINING, c.CONVOLUTION_DIRECT,
        source, found.wanted if found else filters.any, bias, target, *_geometry(p),
        post_ops=epilogue.post_ops,
    )  # fmt: skip
    recipe, wanted, layouts = Recipe(), primitive.desc("weights"), None
    weights: Where = In(1)
    if is_packed(operands[1]):
        layouts = with_packed(operands, layout_of(filters.plain, wanted))
    else:
        weights = recipe.reordered(In(1), filters.plain, wanted)
    arguments[c.WEIGHTS] = weights, wanted
    recipe.call(primitive, arguments)
    return recipe.offer(_cost(p, types, len(recipe.calls)), layouts=layouts)


@offers(ConvInputGrad)
def conv_input_grad(p: ConvInputGrad, operands: Sequence[Operand]) -> Offer | Refusal:
    if not all(map(row_major, operands)):
        return Refusal("oneDNN's convolution wants row-major operands")
    g, w = (o.type for o in operands)
    (x,) = p.infer(g, w)
    source, filters, target = image(x), Filters(w, p.groups), image(g)
    primitive = PrimitiveDesc(
        "convolution_backward_data", c.CONVOLUTION_DIRECT, source, filters.any, target, *_geometry(p),
        _forward(p, source, filters.any, target),
    )  # fmt: skip
    recipe, wanted = Recipe(), primitive.desc("weights")
    weights = recipe.reordered(In(1), filters.plain, wanted)
    recipe.call(
        primitive,
        {c.DIFF_DST: (In(0), target), c.WEIGHTS: (weights, wanted), c.DIFF_SRC: (Out(0), source)},
    )
    return recipe.offer(_cost(p, [g, w], len(recipe.calls)))


@offers(ConvKernelGrad)
def conv_kernel_grad(p: ConvKernelGrad, operands: Sequence[Operand]) -> Offer | Refusal:
    if not all(map(row_major, operands)):
        return Refusal("oneDNN's convolution wants row-major operands")
    x, g = (o.type for o in operands)
    w, *rest = p.infer(x, g)
    source, filters, target = image(x), Filters(w, p.groups), image(g)
    bias = strided(rest[0].shape, (1,), rest[0].dtype) if rest else None
    primitive = PrimitiveDesc(
        "convolution_backward_weights", c.CONVOLUTION_DIRECT, source, filters.any, bias, target,
        *_geometry(p), _forward(p, source, filters.any, target),
    )  # fmt: skip
    made = primitive.desc("diff_weights")
    recipe = Recipe()
    where = Out(0) if made == filters.plain else recipe.space(made.nbytes)
    arguments = {c.SRC: (In(0), source), c.DIFF_DST: (In(1), target), c.DIFF_WEIGHTS: (where, made)}
    if bias is not None:
        arguments[c.DIFF_BIAS] = Out(1), bias
    recipe.call(primitive, arguments)
    if where != Out(0):
        recipe.reorder(where, made, Out(0), filters.plain)
    return recipe.offer(_cost(p, [x, g], len(recipe.calls)))
