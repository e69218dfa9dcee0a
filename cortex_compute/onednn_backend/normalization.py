"""Batch norm, alone and with ReLU, and layer norm.

All of them see an array as its rows (rows, C), batch norm as a few images with a pixel for each row: so it is
fastest, as an image has its price, and one alone is not divided well among threads.  Where C is no multiple
of 4 oneDNN has no generated code for batch norm (with ReLU: of 8, or before AVX2), and is slower than NumPy.

oneDNN's ReLU makes NaN 0.  There is none where mean, variance, scale and shift are finite; where one is not,
NumPy's kernel computes y again.  The mask stays: in it NaN is not above 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from cortex_compute.onednn_backend import constants as c
from cortex_compute.onednn_backend.backend import offers
from cortex_compute.onednn_backend.descriptors import MemoryDesc, PrimitiveDesc, strided
from cortex_compute.onednn_backend.fallback import Arrays, redone_unless
from cortex_compute.onednn_backend.recipe import Arguments, HostCall, In, Out, Recipe, Where, seconds
from cortex_compute.primitives.base import Primitive
from cortex_compute.primitives.normalization import (
    BatchNorm,
    BatchNormGrad,
    BatchNormRelu,
    BatchNormReluGrad,
    LayerNorm,
    LayerNormGrad,
    Normalization,
)
from cortex_compute.protocol import ROW_MAJOR, Layout, Offer, Operand, Refusal, row_major
from cortex_compute.types import TensorType

IMAGES = 8  # at most
AFFINE = c.USE_SCALE | c.USE_SHIFT
MASK = Layout(key="onednn relu")  # a bit for each element of y: whether it is above 0
Argument = tuple[Where, MemoryDesc]
CALLS = 0  # NumPy makes dozens of calls, and its cost counts none of them


def _unfit(operands: Sequence[Operand]) -> str:
    """Why operands are refused, if they are."""
    return "" if all(map(row_major, operands)) else "oneDNN's normalization wants row-major operands"


def _cost(p: Primitive, operands: Sequence[Operand]) -> float:
    types = [o.type for o in operands]
    return seconds(p.flops(*types), p.nbytes(*types), CALLS)


# Batch norm.


class Channels:
    """Forward and backward of a batch norm, and how x lies.

    In bfloat16 there is generated code for multiples of 16 alone; other numbers of channels are float32 here,
    between two reorders.
    """

    def __init__(self, p: BatchNorm | BatchNormGrad, x: TensorType, flags: int = AFFINE) -> None:
        rows, channels = math.prod(x.shape[:-1]), x.shape[-1]
        images = math.gcd(rows, IMAGES)
        pixels = rows // images
        sizes, strides = (images, channels, pixels, 1), (pixels * channels, 1, channels, channels)
        self.vector = strided((channels,), (1,))
        self.given = strided(sizes, strides, x.dtype)
        for image in (self.given, strided(sizes, strides)):
            self.image, (self.forward, self.backward) = image, _both(p, image, flags)
            if not self.slow:
                break

    @property
    def slow(self) -> bool:
        return any(d.implementation.startswith("nspc") for d in (self.forward, self.backward))

    def normalize(self, recipe: Recipe, residual: Arguments | None = None) -> None:
        """Adds the forward."""
        y, vector = self._result(recipe), self.vector
        arguments = {
            c.SRC: self._image(recipe, In(0)), c.SCALE: (In(1), vector), c.SHIFT: (In(2), vector),
            c.DST: y, c.MEAN: (Out(1), vector), c.VARIANCE: (Out(2), vector),
        }  # fmt: skip
        recipe.call(self.forward, arguments | (residual or {}))
        self._write(recipe, y)

    def differentiate(self, recipe: Recipe, g: Where, residual: Arguments | None = None) -> None:
        """Adds the backward."""
        dx, vector = self._result(recipe), self.vector
        arguments = {
            c.SRC: self._image(recipe, In(0)), c.SCALE: (In(1), vector), c.MEAN: (In(2), vector),
            c.VARIANCE: (In(3), vector), c.DIFF_DST: self._image(recipe, g),
            c.DIFF_SRC: dx, c.DIFF_SCALE: (Out(1), vector), c.DIFF_SHIFT: (Out(2), vector),
        }  # fmt: skip
        recipe.call(self.backward, arguments | (residual or {}))
        self._write(recipe, dx)

    def _image(self, recipe: Recipe, where: Where) -> Argument:
        return recipe.reordered(where, self.given, self.image), self.image

    def _result(self, recipe: Recipe) -> Argument:
        return Out(0) if self.image == self.given else recipe.space(self.image.nbytes), self.image

    def _write(self, recipe: Recipe, made: Argument) -> None:
        if made[0] != Out(0):
            recipe.reorder(*made, Out(0), self.given)


def _both(p: Normalization, image: MemoryDesc, flags: int) -> tuple[PrimitiveDesc, PrimitiveDesc]:
    name, what = "batch_normalization", (p.epsilon, flags)
    forward = PrimitiveDesc(f"{name}_forward", c.FORWARD_TRAINING, image, image, *what)
    return forward, PrimitiveDesc(f"{name}_backward", c.BACKWARD, image, image, image, *what, forward)


SLOW = Refusal("oneDNN's batch norm is slower than NumPy's for this number of channels")


@offers(BatchNorm)
def batch_norm(p: BatchNorm, operands: Sequence[Operand]) -> Offer | Refusal:
    if reason := _unfit(operands):
        return Refusal(reason)
    norm, recipe = Channels(p, operands[0].type), Recipe()
    if norm.slow:
        return SLOW
    norm.normalize(recipe)
    return recipe.offer(_cost(p, operands), reuse=((0, 0),))


@offers(BatchNormGrad)
def batch_norm_grad(p: BatchNormGrad, operands: Sequence[Operand]) -> Offer | Refusal:
    if reason := _unfit(operands):
        return Refusal(reason)
    norm, recipe = Channels(p, operands[0].type), Recipe()
    if norm.slow:
        return SLOW
    norm.differentiate(recipe, In(4))
    return recipe.offer(_cost(p, operands), reuse=((0, 0), (4, 0)))


# Batch norm and ReLU.


def _finite(array: Arrays) -> Callable[[], bool]:
    scale, shift = array(In(1)), array(In(2))
    mean, variance = (array(Out(j)).view(scale.dtype) for j in (1, 2))

    def finite() -> bool:
        return math.isfinite(np.dot(scale, scale) + np.dot(shift, shift) + np.dot(mean, variance))

    return finite


@offers(BatchNormRelu)
def batch_norm_relu(p: BatchNormRelu, operands: Sequence[Operand]) -> Offer | Refusal:
    if reason := _unfit(operands):
        return Refusal(reason)
    norm, recipe = Channels(p, operands[0].type, AFFINE | c.FUSE_RELU), Recipe()
    if norm.slow:
        return SLOW
    if not p.epsilon:
        return Refusal("oneDNN's ReLU hides the NaN of a channel without variance")
    kept = norm.forward.desc("workspace")
    norm.normalize(recipe, {c.WORKSPACE: (Out(3), kept)})
    redone_unless(recipe, _finite, p, operands)
    layouts = (*(o.layout for o in operands), *[ROW_MAJOR] * 3, MASK)
    return recipe.offer(_cost(p, operands), residual=kept.nbytes, layouts=layouts)


@offers(BatchNormReluGrad)
def batch_norm_relu_grad(p: BatchNormReluGrad, operands: Sequence[Operand]) -> Offer | Refusal:
    """Takes a g that lies anyhow, as nobody else reads the mask."""
    if reason := _unfit(operands[:4]):
        return Refusal(reason)
    if operands[5].layout.key != MASK.key:
        return Refusal("oneDNN's gradient needs the mask that its own forward keeps")
    norm, recipe = Channels(p, operands[0].type, AFFINE | c.FUSE_RELU), Recipe()
    g = _dense(recipe, operands, 6)
    kept = norm.backward.desc("workspace")
    norm.differentiate(recipe, g, {c.WORKSPACE: (In(5), kept)})
    reads = frozenset(range(7)) - {4}
    return recipe.offer(_cost(p, operands), reads=reads, reuse=((0, 0), (6, 0)))


def _dense(recipe: Recipe, operands: Sequence[Operand], k: int) -> Where:
    """Operand ``k``, or scratch into which it is copied row-major."""
    if row_major(operands[k]):
        return In(k)
    (shape, dtype), there = operands[k].type, recipe.space(operands[k].type.nbytes)

    def bind(array: Arrays) -> Callable[[], None]:
        return partial(np.copyto, array(there).view(dtype.storage).reshape(shape), array(In(k)))

    recipe.calls.append(HostCall(bind))
    return there


# Layer norm.


class Rows:
    """Forward and backward of a layer norm, and how x and its statistics lie."""

    def __init__(self, p: LayerNorm | LayerNormGrad, x: TensorType) -> None:
        rows, channels = math.prod(x.shape[:-1]), x.shape[-1]
        matrix, column = strided((rows, channels), (channels, 1), x.dtype), strided((rows,), (1,))
        self.matrix, self.column, self.vector = matrix, column, strided((channels,), (1,))
        self.forward = PrimitiveDesc(
            "layer_normalization_forward", c.FORWARD_TRAINING, matrix, matrix, column, p.epsilon, AFFINE
        )
        self.backward = PrimitiveDesc(
            "layer_normalization_backward", c.BACKWARD, matrix, matrix, matrix, column, p.epsilon, AFFINE,
            self.forward,
        )  # fmt: skip


@offers(LayerNorm)
def layer_norm(p: LayerNorm, operands: Sequence[Operand]) -> Offer | Refusal:
    if reason := _unfit(operands):
        return Refusal(reason)
    norm, recipe = Rows(p, operands[0].type), Recipe()
    recipe.call(
        norm.forward,
        {
            c.SRC: (In(0), norm.matrix), c.SCALE: (In(1), norm.vector), c.SHIFT: (In(2), norm.vector),
            c.DST: (Out(0), norm.matrix), c.MEAN: (Out(1), norm.column), c.VARIANCE: (Out(2), norm.column),
        },
    )  # fmt: skip
    return recipe.offer(_cost(p, operands), reuse=((0, 0),))


@offers(LayerNormGrad)
def layer_norm_grad(p: LayerNormGrad, operands: Sequence[Operand]) -> Offer | Refusal:
    if reason := _unfit(operands):
        return Refusal(reason)
    norm, recipe = Rows(p, operands[0].type), Recipe()
    recipe.call(
        norm.backward,
        {
            c.SRC: (In(0), norm.matrix), c.DIFF_DST: (In(4), norm.matrix),
            c.MEAN: (In(2), norm.column), c.VARIANCE: (In(3), norm.column), c.SCALE: (In(1), norm.vector),
            c.SHIFT: (In(1), norm.vector),  # asked for, and not read
            c.DIFF_SRC: (Out(0), norm.matrix), c.DIFF_SCALE: (Out(1), norm.vector),
            c.DIFF_SHIFT: (Out(2), norm.vector),
        },
    )  # fmt: skip
    return recipe.offer(_cost(p, operands), reuse=((0, 0), (4, 0)))
