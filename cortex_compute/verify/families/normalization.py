"""Batch norm and layer norm: two passes in float64."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import numpy as np

from cortex_compute.primitives.base import Primitive
from cortex_compute.primitives.normalization import (
    BatchNorm,
    BatchNormGrad,
    BatchNormRelu,
    BatchNormReluGrad,
    LayerNorm,
    LayerNormGrad,
)
from cortex_compute.types import DType
from cortex_compute.verify.bfloat16 import rounded
from cortex_compute.verify.case import Case, Operands, cases, normal, positive, together
from cortex_compute.verify.reference import magnitude, reference

Arrays = tuple[np.ndarray, ...]
ROUNDING = 2.0**-23  # what is left of the square of the mean's own error, relative to the square of x


def _axes(p: Primitive, x: np.ndarray) -> tuple[int, ...]:
    """The axes that mean and variance are taken over."""
    return tuple(range(x.ndim - 1)) if isinstance(p, (BatchNorm, BatchNormGrad)) else (x.ndim - 1,)


def _mean(x: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    """In extended precision where there is one: a long sum in float64 is no better than the kernels'."""
    total = x.sum(axes, np.longdouble, keepdims=True)
    return np.asarray((total / np.longdouble(math.prod(x.shape[a] for a in axes))).astype(np.float64))


def _front_sum(x: np.ndarray) -> np.ndarray:
    return np.asarray(x.sum(tuple(range(x.ndim - 1))))


@reference(BatchNorm, LayerNorm)
def norm(p: BatchNorm | LayerNorm, x: np.ndarray, scale: np.ndarray, shift: np.ndarray) -> Arrays:
    axes = _axes(p, x)
    mean = _mean(x, axes)
    variance = _mean((x - mean) ** 2, axes)
    y = (x - mean) / np.sqrt(variance + p.epsilon) * scale + shift
    return y, mean.squeeze(axes), variance.squeeze(axes)


@magnitude(BatchNorm, LayerNorm)
def norm_size(p: BatchNorm | LayerNorm, x: np.ndarray, scale: np.ndarray, shift: np.ndarray) -> Arrays:
    """The size of x - mean is |x| + mean |x|; that of its square is twice the product with x - mean."""
    axes = _axes(p, x)
    mean = _mean(x, axes)
    rest, size = np.abs(x - mean), np.abs(x) + _mean(np.abs(x), axes)
    variance = _mean(rest**2, axes)
    variance_size = _mean(rest**2 + 2 * rest * size + ROUNDING * size**2, axes)
    r = 1 / np.sqrt(variance + p.epsilon)
    y = np.abs(scale) * (size * r + rest * r**3 * variance_size / 2) + np.abs(shift)
    return y, _mean(np.abs(x), axes).squeeze(axes), variance_size.squeeze(axes)


@reference(BatchNormGrad, LayerNormGrad)
def norm_gradient(
    p: BatchNormGrad | LayerNormGrad,
    x: np.ndarray,
    scale: np.ndarray,
    mean: np.ndarray,
    variance: np.ndarray,
    g: np.ndarray,
) -> Arrays:
    axes = _axes(p, x)
    mean, variance = np.expand_dims(mean, axes), np.expand_dims(variance, axes)
    r = 1 / np.sqrt(variance + p.epsilon)
    h, k = (x - mean) * r, g * scale
    dx = r * (k - _mean(k, axes) - h * _mean(k * h, axes))
    return dx, _front_sum(g * h), _front_sum(g)


@magnitude(BatchNormGrad, LayerNormGrad)
def norm_gradient_size(
    p: BatchNormGrad | LayerNormGrad,
    x: np.ndarray,
    scale: np.ndarray,
    mean: np.ndarray,
    variance: np.ndarray,
    g: np.ndarray,
) -> Arrays:
    axes = _axes(p, x)
    mean, variance = np.expand_dims(mean, axes), np.expand_dims(variance, axes)
    r = 1 / np.sqrt(variance + p.epsilon)
    h, size, k = np.abs(x - mean) * r, (np.abs(x) + np.abs(mean)) * r, np.abs(g * scale)
    dx = r * (k + _mean(k, axes) + size * _mean(k * h, axes) + h * _mean(k * size, axes))
    return dx, _front_sum(np.abs(g) * size), _front_sum(np.abs(g))


@reference(BatchNormRelu)
def norm_relu(p: BatchNormRelu, *operands: np.ndarray) -> Arrays:
    y, mean, variance = norm(p, *operands)
    return np.maximum(y, 0), mean, variance, np.zeros(0)


@magnitude(BatchNormRelu)
def norm_relu_size(p: BatchNormRelu, *operands: np.ndarray) -> Arrays:
    return (*norm_size(p, *operands), np.zeros(0))


@reference(BatchNormReluGrad)
def norm_relu_gradient(p: BatchNormReluGrad, *operands: np.ndarray) -> Arrays:
    x, scale, mean, variance, y, _, g = operands
    return norm_gradient(p, x, scale, mean, variance, np.where(y > 0, g, 0))


@magnitude(BatchNormReluGrad)
def norm_relu_gradient_size(p: BatchNormReluGrad, *operands: np.ndarray) -> Arrays:
    x, scale, mean, variance, y, _, g = operands
    return norm_gradient_size(p, x, scale, mean, variance, np.where(y > 0, g, 0))


SHAPES = {
    "rows": (6, 5),
    "images": (2, 3, 4, 5),
    "one channel": (7, 1),
    "one row": (1, 4),
    "size-1 axes": (1, 3, 1, 2),
    "empty batch": (0, 3),
    "several blocks": (1040, 40),
    "a prime number of rows": (701, 30),
    "wide rows": (3, 17000),
    "channels that fill a register": (2, 3, 5, 32),
}


def _large_mean(shape: tuple[int, ...]) -> Operands:
    """Numbers of deviation 1 around 1000, the batch in order: the first rows are not like the last ones."""

    def make(rng: np.random.Generator, dtype: DType) -> list[np.ndarray]:
        x = 1000 + np.sort(rng.standard_normal(shape), axis=0)
        return [x.astype(dtype.storage)]

    return make


def _constant(shape: tuple[int, ...], value: float = 3.0) -> Operands:
    return lambda rng, dtype: [np.full(shape, value, dtype.storage)]


def _one_infinity(shape: tuple[int, ...]) -> Operands:
    def make(rng: np.random.Generator, dtype: DType) -> list[np.ndarray]:
        x = rng.standard_normal(shape)
        x[0, 1] = np.inf
        return [x.astype(dtype.storage)]

    return make


def _extremes(p: BatchNorm | LayerNorm) -> Iterator[Case]:
    """The square of 3e19 is more than float32 holds, and nothing of it is left; an infinite mean stays so."""
    vectors = normal((16,), (16,))
    yield Case("3e19", p, together(_constant((20, 16), 3e19), vectors))
    for rows in (20, 1040):
        yield Case(f"an infinity in {rows} rows", p, together(_one_infinity((rows, 16)), vectors))


@cases(BatchNorm)
def batch_norms() -> Iterator[Case]:
    for name, shape in SHAPES.items():
        yield Case(name, BatchNorm(1e-5), normal(shape, shape[-1:], shape[-1:]))
    vectors = normal((16,), (16,))
    yield Case("mean 1000", BatchNorm(1e-3), together(_large_mean((1500, 16)), vectors))
    yield Case("no variance", BatchNorm(1e-3), together(_constant((20, 16)), vectors))
    yield from _extremes(BatchNorm(1e-3))


@cases(LayerNorm)
def layer_norms() -> Iterator[Case]:
    for name, shape in SHAPES.items():
        yield Case(name, LayerNorm(1e-5), normal(shape, shape[-1:], shape[-1:]))
    yield Case("mean 1000", LayerNorm(1e-3), together(_large_mean((20, 96)), normal((96,), (96,))))
    yield Case("no variance", LayerNorm(1e-3), together(_constant((20, 16)), normal((16,), (16,))))
    yield from _extremes(LayerNorm(1e-3))


@cases(BatchNormGrad)
def batch_norm_gradients() -> Iterator[Case]:
    for name, shape in SHAPES.items():
        last = shape[-1:]
        operands = together(normal(shape, last, last), positive(last), normal(shape))
        yield Case(name, BatchNormGrad(1e-5), operands)


@cases(BatchNormRelu)
def batch_norm_relus() -> Iterator[Case]:
    for name, shape in SHAPES.items():
        yield Case(name, BatchNormRelu(1e-5), normal(shape, shape[-1:], shape[-1:]))
    for channels in (5, 16):
        name, vector = f"{channels} channels", (channels,)
        x, number = _one_nan((40, channels)), normal(vector)
        yield Case(f"NaN in {name}", BatchNormRelu(1e-5), together(x, number, number))
        nan = _one_nan((1, channels))
        for k, operands in enumerate((together(nan, number), together(number, nan))):
            pair = together(normal((40, channels)), _flat(operands))
            yield Case(f"NaN in operand {k + 1} of {name}", BatchNormRelu(1e-5), pair)


def _one_nan(shape: tuple[int, ...]) -> Operands:
    def make(rng: np.random.Generator, dtype: DType) -> list[np.ndarray]:
        x = rng.standard_normal(shape)
        x[0, 1] = np.nan
        return [x.astype(dtype.storage)]

    return make


def _flat(operands: Operands) -> Operands:
    return lambda rng, dtype: [a.reshape(-1) for a in operands(rng, dtype)]


def _behind_relu(p: BatchNormRelu, shape: tuple[int, ...], behind: float) -> Operands:
    """x, scale, mean, variance, y, room for the residual, and g, which is ``behind`` where y is 0.

    The forward's shift is the gradient's mean, which may be any vector.  No y lies so close to 0 that
    rounding would decide whether g passes.
    """

    def make(rng: np.random.Generator, dtype: DType) -> list[np.ndarray]:
        channels = shape[-1:]
        mean = rng.uniform(0.5, 1.0, channels) * rng.choice([-1.0, 1.0], channels)
        x, scale, g = (rng.standard_normal(s) for s in (shape, channels, shape))
        variance = rng.uniform(0.5, 2.0, channels)
        scale, mean, variance = (a.astype(dtype.storage) for a in (scale, mean, variance))
        y = np.zeros(shape)
        while shape[0]:
            x = rounded(x).astype(dtype.storage)  # in bfloat16, too, what passes is what passes here
            y = norm(p, x.astype(float), scale.astype(float), mean.astype(float))[0]
            close = np.abs(y) < 1e-3
            if not close.any():
                break
            x[close] += 0.1
        g = np.where(y > 0, g, g if behind == 0 else behind)
        rest = [np.maximum(y, 0).astype(dtype.storage), np.zeros(0, np.uint8), g.astype(dtype.storage)]
        return [x.astype(dtype.storage), scale, mean, variance, *rest]

    return make


@cases(BatchNormReluGrad)
def batch_norm_relu_gradients() -> Iterator[Case]:
    p, forward = BatchNormReluGrad(1e-5), BatchNormRelu(1e-5)
    for name, shape in SHAPES.items():
        yield Case(name, p, _behind_relu(forward, shape, 0), forward=(forward, (0, 1, 2)))
    for value, channels in itertools.product((np.inf, np.nan), (5, 16)):
        operands = _behind_relu(forward, (40, channels), value)
        name = f"{value} behind the ReLU of {channels} channels"
        yield Case(name, p, operands, forward=(forward, (0, 1, 2)))


@cases(LayerNormGrad)
def layer_norm_gradients() -> Iterator[Case]:
    for name, shape in SHAPES.items():
        rows = shape[:-1]
        operands = together(normal(shape, shape[-1:], rows), positive(rows), normal(shape))
        yield Case(name, LayerNormGrad(1e-5), operands)
