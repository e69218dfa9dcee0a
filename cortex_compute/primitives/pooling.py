"""Maximum and mean over windows, and their gradients.  Pooling over everything is a Reduce."""

from __future__ import annotations

import math

from cortex_compute.errors import DTypeError
from cortex_compute.frozen import frozen
from cortex_compute.primitives.base import OPAQUE, Primitive
from cortex_compute.primitives.windows import Padding, window_count
from cortex_compute.types import TensorType


@frozen
class Pooling(Primitive):
    """What all share: for each spatial axis a window size, a stride and padding (before, after).

    ``ceil`` rounds the number of windows up: the last one may reach over the edge, but not start behind it.
    """

    size: tuple[int, ...]
    stride: tuple[int, ...]
    padding: Padding
    ceil: bool = False

    def pooled(self, x: TensorType) -> TensorType:
        """The type of the result for x (N, *S, C): (N, *S', C)."""
        if x.dtype.kind != "float":
            raise DTypeError(f"{self.name}: x is {x.dtype}; needs a floating type")
        spatial = len(self.size)
        self.expect(len(self.stride) == len(self.padding) == spatial > 0,
                    "size {}, stride {} and padding {} are not of one length",
                    self.size, self.stride, self.padding)  # fmt: skip
        self.expect(min(self.size) > 0 and min(self.stride) > 0, "size {} and stride {} must be at least 1",
                    self.size, self.stride)  # fmt: skip
        self.expect(all(min(pair) >= 0 and max(pair) < n for n, pair in zip(self.size, self.padding)),
                    "padding {} must be at least 0 and less than the window {}",
                    self.padding, self.size)  # fmt: skip
        self.expect(x.rank == spatial + 2, "x has shape {}; needs {} axes: {} of them spatial",
                    x.shape, spatial + 2, spatial)  # fmt: skip
        axes = zip(x.shape[1:-1], self.size, self.stride, self.padding)
        counts = tuple(window_count(n, k, s, pair, ceil=self.ceil) for n, k, s, pair in axes)
        self.expect(min(counts) > 0, "a window of {} does not fit into x {} with padding {}",
                    self.size, x.shape, self.padding)  # fmt: skip
        return TensorType((x.shape[0], *counts, x.shape[-1]), x.dtype)

    def flops(self, *types: TensorType) -> int:
        return self.pooled(types[0]).size * math.prod(self.size)


@frozen
class MaxPool(Pooling):
    """y[n, i, c] = max over k of x[n, i stride + k - before, c].   x (N, *S, C) -> (N, *S', C), residual

    Padding never wins; of equal elements the first one does (row-major), as in PyTorch; a window with a NaN
    gives NaN.  The residual tells the backend which element won.
    """

    operands = ("x",)
    residual = True

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        self.expect_count(types, 1)
        return (self.pooled(types[0]), OPAQUE)


@frozen
class _Winners(Pooling):
    """The two linear maps between x's and y's elements that the winners define."""

    def checked(self, types: tuple[TensorType, ...]) -> tuple[TensorType, TensorType]:
        """The types of x and y, after a look at the operands."""
        self.expect_count(types, 4)
        x, given, _, last = types
        y = self.pooled(x)
        self.floating(x, given, x, last)
        self.expect(given.shape == y.shape, "y has shape {}; x {} gives {}", given.shape, x.shape, y.shape)
        return x, y


@frozen
class MaxPoolGrad(_Winners):
    """dx[n, j, c] = sum of g[n, i, c] over the windows i that j won.   x, y, residual, g (as y) -> as x"""

    operands = ("x", "y", "residual", "g")

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        x, y = self.checked(types)
        self.expect(types[3].shape == y.shape, "g has shape {}, y {}", types[3].shape, y.shape)
        return (x,)


@frozen
class MaxPoolPick(_Winners):
    """z[n, i, c] = v at the winner of window i: MaxPoolGrad's adjoint.   x, y, residual, v (as x) -> as y"""

    operands = ("x", "y", "residual", "v")

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        x, y = self.checked(types)
        self.expect(types[3].shape == x.shape, "v has shape {}, x {}", types[3].shape, x.shape)
        return (y,)


@frozen
class Averaging(Pooling):
    """What a mean divides by: a window's elements of x, with ``count_padding`` also those of the padding."""

    count_padding: bool = False

    def divisors(self, x: TensorType) -> tuple[tuple[int, ...], ...]:
        """For each spatial axis the number of elements in each window; a window's divisor is their product.

        What a ceil window covers beyond the padding never counts.
        """
        spatial, counts = x.shape[1:-1], self.pooled(x).shape[1:-1]
        result = []
        for n, count, k, s, (before, after) in zip(spatial, counts, self.size, self.stride, self.padding):
            low, high = (-before, n + after) if self.count_padding else (0, n)
            starts = range(-before, count * s - before, s)
            result.append(tuple(min(start + k, high) - max(start, low) for start in starts))
        return tuple(result)


@frozen
class AvgPool(Averaging):
    """y[n, i, c] = sum over k of x[n, i stride + k - before, c] / divisor[i].   (N, *S, C) -> (N, *S', C)"""

    operands = ("x",)

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        self.expect_count(types, 1)
        return (self.pooled(types[0]),)


@frozen
class AvgPoolGrad(Averaging):
    """dx[n, i stride + k - before, c] += g[n, i, c] / divisor[i], all i, k.   g (N, *S', C) -> ``shape``"""

    operands = ("g",)
    shape: tuple[int, ...] = ()

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        self.expect_count(types, 1)
        (g,) = types
        x = TensorType(self.shape, g.dtype)
        y = self.pooled(x)
        self.expect(g.shape == y.shape, "g has shape {}; x {} gives {}", g.shape, x.shape, y.shape)
        return (x,)

    def flops(self, *types: TensorType) -> int:
        return types[0].size * (math.prod(self.size) + 1)
