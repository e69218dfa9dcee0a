"""Views: other shapes over the same memory.

Whether a view really is one depends on how its operand lies; `restride` says so, and the planner copies
if not.
"""

from __future__ import annotations

import math

from cortex_compute.frozen import frozen
from cortex_compute.primitives.base import Primitive
from cortex_compute.types import TensorType, broadcast

Strided = tuple[int, tuple[int, ...]]


@frozen
class View(Primitive):
    """The base of all views: one operand, no arithmetic."""

    view = True
    operands = ("x",)

    def nbytes(self, *types: TensorType) -> int:
        return 0


@frozen
class Reshape(View):
    """The same elements in row-major order, in another shape (all sizes written out)."""

    shape: tuple[int, ...]

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        self.expect_count(types, 1)
        (x,) = types
        self.expect(
            math.prod(self.shape) == x.size and all(n >= 0 for n in self.shape),
            "x of shape {} has {} elements, {} has {}", x.shape, x.size, self.shape, math.prod(self.shape),
        )  # fmt: skip
        return (TensorType(self.shape, x.dtype),)

    def restride(self, shape: tuple[int, ...], strides: tuple[int, ...]) -> Strided | None:
        if 0 in shape:
            return 0, (0,) * len(self.shape)
        old = [(n, s) for n, s in zip(shape, strides) if n != 1]
        merged: list[list[int]] = []  # runs of axes that lie as one: [size, stride of the last]
        for n, s in old:
            if merged and merged[-1][1] == n * s:
                merged[-1] = [merged[-1][0] * n, s]
            else:
                merged.append([n, s])
        result: list[int] = []
        for n in reversed(self.shape):
            if n == 1:
                result.append(0)
                continue
            if not merged or merged[-1][0] % n:
                return None
            size, stride = merged[-1]
            result.append(stride)
            if size == n:
                merged.pop()
            else:
                merged[-1] = [size // n, stride * n]
        return 0, tuple(reversed(result))


@frozen
class Transpose(View):
    """y[i0, i1, ...] with the axes in the order ``axes``: axis j of y is axis axes[j] of x."""

    axes: tuple[int, ...]

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        self.expect_count(types, 1)
        (x,) = types
        self.expect(
            sorted(self.axes) == list(range(x.rank)), "axes {} are no order of the {} axes", self.axes, x.rank
        )
        return (TensorType(tuple(x.shape[a] for a in self.axes), x.dtype),)

    def restride(self, shape: tuple[int, ...], strides: tuple[int, ...]) -> Strided | None:
        return 0, tuple(strides[a] for a in self.axes)


@frozen
class Slice(View):
    """y = x[start : start + size * step : step] along each axis; ``steps`` may be negative, not 0."""

    starts: tuple[int, ...]
    sizes: tuple[int, ...]
    steps: tuple[int, ...]

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        self.expect_count(types, 1)
        (x,) = types
        fits = len(self.starts) == len(self.sizes) == len(self.steps) == x.rank
        self.expect(fits, "x has shape {}", x.shape)
        for axis, (n, start, size, step) in enumerate(zip(x.shape, self.starts, self.sizes, self.steps)):
            last = start + (size - 1) * step
            inside = size == 0 or (0 <= start < n and 0 <= last < n)
            self.expect(inside and size >= 0 and step != 0, "{} + {} * {} leaves axis {} of x {}",
                        start, size, step, axis, x.shape)  # fmt: skip
        return (TensorType(self.sizes, x.dtype),)

    def restride(self, shape: tuple[int, ...], strides: tuple[int, ...]) -> Strided | None:
        offset = 0 if 0 in self.sizes else sum(a * s for a, s in zip(self.starts, strides))
        return offset, tuple(a * s for a, s in zip(self.steps, strides))


@frozen
class Broadcast(View):
    """x repeated to ``shape`` by NumPy's rule."""

    shape: tuple[int, ...]

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        self.expect_count(types, 1)
        (x,) = types
        fits = len(x.shape) <= len(self.shape) and broadcast((x.shape, self.shape), self.name) == self.shape
        self.expect(fits, "x of shape {} does not broadcast to {}", x.shape, self.shape)
        return (TensorType(self.shape, x.dtype),)

    def restride(self, shape: tuple[int, ...], strides: tuple[int, ...]) -> Strided | None:
        front = len(self.shape) - len(shape)
        own = [0 if n == 1 and m != 1 else s for n, m, s in zip(shape, self.shape[front:], strides)]
        return 0, (0,) * front + tuple(own)
