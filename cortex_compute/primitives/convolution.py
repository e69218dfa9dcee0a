"""Convolution over any number of spatial axes, and its two gradients.

The three are bilinear and closed under differentiation: the gradient of each is made of the other two.
Images lie channels last, kernels (*K, in / groups, out).  As everywhere in the field it is a
cross-correlation: the kernel is not flipped (Dumoulin and Visin, "A guide to convolution arithmetic for deep
learning", 2016).
"""

from __future__ import annotations

import math

from cortex_compute.expression import Code, Literal
from cortex_compute.frozen import frozen
from cortex_compute.primitives.base import Primitive
from cortex_compute.primitives.matrix import with_epilogue
from cortex_compute.primitives.windows import Padding, window_count
from cortex_compute.types import TensorType


@frozen
class Convolution(Primitive):
    """What the three share: for each spatial axis a stride, zeros (before, after), and a dilation."""

    stride: tuple[int, ...]
    padding: Padding
    dilation: tuple[int, ...]
    groups: int

    def product(self, x: TensorType, w: TensorType) -> TensorType:
        """The type of the convolution of x (N, *S, C) with w (*K, C/groups, O): (N, *S', O)."""
        self.floating(x, w)
        spatial = len(self.stride)
        self.expect(len(self.padding) == len(self.dilation) == spatial > 0,
                    "stride {}, padding {} and dilation {} are not of one length",
                    self.stride, self.padding, self.dilation)  # fmt: skip
        self.expect(min(self.stride) > 0 and min(self.dilation) > 0 and self.groups > 0,
                    "stride {}, dilation {} and groups {} must be at least 1",
                    self.stride, self.dilation, self.groups)  # fmt: skip
        self.expect(min(min(pair) for pair in self.padding) >= 0, "padding {} is negative", self.padding)
        for name, t in (("x", x), ("w", w)):
            self.expect(t.rank == spatial + 2, "{} has shape {}; needs {} axes: {} of them spatial",
                        name, t.shape, spatial + 2, spatial)  # fmt: skip
        (*kernel, inner, out), channels = w.shape, x.shape[-1]
        self.expect(inner * self.groups == channels, "x {} has {} channels, w {} takes {} in {} groups",
                    x.shape, channels, w.shape, inner * self.groups, self.groups)  # fmt: skip
        self.expect(out % self.groups == 0, "{} filters in w {} do not divide into {} groups",
                    out, w.shape, self.groups)  # fmt: skip
        counts = tuple(map(window_count, x.shape[1:-1], kernel, self.stride, self.padding, self.dilation))
        self.expect(min(kernel) > 0 and min(counts) > 0,
                    "w {} with dilation {} does not fit into x {} with padding {}",
                    w.shape, self.dilation, x.shape, self.padding)  # fmt: skip
        return TensorType((x.shape[0], *counts, out), x.dtype)

    @staticmethod
    def multiplications(w: TensorType, y: TensorType) -> int:
        """How many products are summed, over all of y; the same number in both gradients."""
        return y.size * math.prod(w.shape[:-1])


@frozen
class Conv(Convolution):
    """y[n, i, o] = epilogue(sum over k, c of x[n, i stride + k dilation - before, c] w[k, c, o], ...)

    x (N, *S, C), w (*K, C/groups, O) -> (N, *S', O); x is 0 outside.  Group j takes the j-th part of the
    channels to the j-th part of the filters.  The epilogue is pointwise code whose operand 0 is the sum; its
    further operands follow w and broadcast to y's shape.
    """

    operands = ("x", "w")
    epilogue: Code | None = None
    literals: tuple[Literal, ...] = ()

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        product = self.product(*types[:2])
        return (with_epilogue(self, product, types[2:], self.epilogue, self.literals),)

    def flops(self, *types: TensorType) -> int:
        y = self.product(*types[:2])
        tail = len(self.epilogue.instructions) * y.size if self.epilogue else 0
        return 2 * self.multiplications(types[1], y) + tail


@frozen
class ConvInputGrad(Convolution):
    """dx[n, i stride + k dilation - before, c] += sum over o of g[n, i, o] w[k, c, o], for every i and k.

    g (N, *S', O), w (*K, C/groups, O) -> ``shape`` = (N, *S, C), x's.  Also the transposed convolution of g.
    """

    operands = ("g", "w")
    shape: tuple[int, ...]

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        self.expect_count(types, 2)
        g, w = types
        self.floating(g, w)
        x = TensorType(self.shape, g.dtype)
        y = self.product(x, w)
        self.expect(g.shape == y.shape, "g has shape {}; x {} and w {} give {}",
                    g.shape, x.shape, w.shape, y.shape)  # fmt: skip
        return (x,)

    def flops(self, *types: TensorType) -> int:
        return 2 * self.multiplications(types[1], types[0])


@frozen
class ConvKernelGrad(Convolution):
    """dw[k, c, o] = sum over n, i of x[n, i stride + k dilation - before, c] g[n, i, o]

    x (N, *S, C), g (N, *S', O) -> dw (*``kernel``, C/groups, O).  With ``bias`` also its gradient, db (O,):
    the sum of g over all axes but the last.
    """

    operands = ("x", "g")
    kernel: tuple[int, ...]
    bias: bool = False

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        self.expect_count(types, 2)
        x, g = types
        self.floating(x, g)
        self.expect(self.groups > 0 and x.rank >= 2 <= g.rank, "x {} and g {} in {} groups",
                    x.shape, g.shape, self.groups)  # fmt: skip
        w = TensorType((*self.kernel, x.shape[-1] // self.groups, g.shape[-1]), x.dtype)
        y = self.product(x, w)
        self.expect(g.shape == y.shape, "g has shape {}; x {} and w {} give {}",
                    g.shape, x.shape, w.shape, y.shape)  # fmt: skip
        return (w, TensorType(g.shape[-1:], g.dtype)) if self.bias else (w,)

    def flops(self, *types: TensorType) -> int:
        added = types[1].size if self.bias else 0
        return 2 * self.multiplications(self.infer(*types)[0], types[1]) + added
