"""Convolution and its gradients as matrix products.

Forward and kernel gradient unfold the windows of x into matrices, a cache-sized tile at a time ("im2col":
Chellapilla et al., "High performance convolutional neural networks for document processing", 2006).  The
input gradient multiplies g by each tap of the kernel and adds the product where the tap looked.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from cortex_compute.numpy_backend import depthwise
from cortex_compute.numpy_backend.backend import kernel, offers
from cortex_compute.numpy_backend.elementwise import BANDWIDTH, sequence
from cortex_compute.numpy_backend.matrix import PEAK
from cortex_compute.numpy_backend.memory import Dense, carve, scratch_size
from cortex_compute.numpy_backend.pointwise import bind, workspace_size
from cortex_compute.numpy_backend.reduce import add_rows, sums_of_rows
from cortex_compute.numpy_backend.windows import Call, Index, Way, taps, tiles
from cortex_compute.primitives.convolution import Conv, ConvInputGrad, ConvKernelGrad, Convolution
from cortex_compute.protocol import Offer, Operand, Refusal
from cortex_compute.types import TensorType

TILE = 2 << 20  # bytes of unfolded windows: a second-level cache, and enough work for the threads of BLAS
NARROW = 16  # windows with shorter runs of neighbours in memory are unfolded along the image instead


@offers(Conv)
def conv(p: Conv, operands: Sequence[Operand]) -> Offer | Refusal:
    types = [o.type for o in operands]
    y, (result,) = p.product(*types[:2]), p.infer(*types)
    if y.dtype is not result.dtype:
        return Refusal("numpy's epilogue keeps the data type of the convolution")
    maker = _choose(p, types[1], _plain, depthwise.forward, _unfolded)
    return _offer(p, operands, maker(p, types[0], types[1], y), y)


@offers(ConvInputGrad)
def conv_input_grad(p: ConvInputGrad, operands: Sequence[Operand]) -> Offer:
    g, w = (o.type for o in operands)
    (x,) = p.infer(g, w)
    maker = _choose(p, w, _plain_input, depthwise.input_gradient, _scattered)
    return _offer(p, operands, maker(p, x, w, g), x)


@offers(ConvKernelGrad)
def conv_kernel_grad(p: ConvKernelGrad, operands: Sequence[Operand]) -> Offer:
    x, g = (o.type for o in operands)
    w = p.infer(x, g)[0]
    maker = _choose(p, w, _plain_kernel, depthwise.kernel_gradient, _unfolded_kernel)
    return _offer(p, operands, maker(p, x, w, g), w)


Maker = Callable[[Convolution, TensorType, TensorType, TensorType], Way]


def _choose(p: Convolution, w: TensorType, plain: Maker, channelwise: Maker, general: Maker) -> Maker:
    """``plain`` where a window is one element, ``channelwise`` where each channel has a kernel of its own."""
    if p.groups == 1 and max(w.shape[:-2]) == max(p.stride) == 1 and not any(map(any, p.padding)):
        return plain
    return channelwise if w.shape[-2] == 1 < p.groups else general


def _offer(p: Convolution, operands: Sequence[Operand], way: Way, result: TensorType) -> Offer:
    """The offer for a way; operands 0 and 1 are made row-major first, and an epilogue or a sum follows."""
    types = [o.type for o in operands]
    dense = Dense(operands[:2])
    scratch = [*dense.scratch, *way.scratch]
    bias = isinstance(p, ConvKernelGrad) and p.bias
    if bias:
        g = types[1]
        scratch.append(sums_of_rows(TensorType((math.prod(g.shape[:-1]), g.shape[-1]), g.dtype)))
    own = scratch_size(scratch)
    epilogue = p.epilogue if isinstance(p, Conv) else None
    literals = p.literals if isinstance(p, Conv) else ()
    tail = [result, *types[2:]]

    def bound(inputs: Sequence[Any], outputs: Sequence[Any], workspace: Any) -> Callable[[], None]:
        calls: list[Call] = []
        pieces = carve(workspace, scratch)
        a, b = dense.arrays(calls, inputs[:2], pieces)
        if outputs[0] is not None:
            spare = pieces[len(dense.scratch) :]
            calls += way.calls(a, b, outputs[0], spare[:-1] if bias else spare)
        if bias and outputs[1] is not None:
            calls += add_rows(_rows(b), outputs[1][None, :], pieces[-1])
        if epilogue is not None:
            rest = None if workspace is None else workspace[own:]
            arrays = [outputs[0], *inputs[2:]]
            calls += bind(epilogue, literals, arrays, [outputs[0]], rest, [t.dtype for t in tail])
        return sequence(calls)

    extra = 0 if epilogue is None else workspace_size(epilogue, literals, tail)
    cost = p.flops(*types) / PEAK + p.nbytes(*types) / BANDWIDTH
    return kernel(bound, workspace=own + extra, cost=cost)


# Windows of one element: the convolution is a matrix product.


def _rows(a: np.ndarray) -> np.ndarray:
    return a.reshape(-1, a.shape[-1])


def _plain(p: Convolution, x: TensorType, w: TensorType, y: TensorType) -> Way:
    return Way([], lambda x, w, y, _: [partial(np.matmul, _rows(x), _rows(w), _rows(y))])


def _plain_input(p: Convolution, x: TensorType, w: TensorType, y: TensorType) -> Way:
    return Way([], lambda g, w, dx, _: [partial(np.matmul, _rows(g), _rows(w).T, _rows(dx))])


def _plain_kernel(p: Convolution, x: TensorType, w: TensorType, y: TensorType) -> Way:
    return Way([], lambda x, g, dw, _: [partial(np.matmul, _rows(x).T, _rows(g), _rows(dw))])


# Larger windows, unfolded.


def _grouped(a: np.ndarray, groups: int) -> np.ndarray:
    """A row-major (..., groups * n) as matrices (groups, rows, n)."""
    matrices: np.ndarray = a.reshape(-1, groups, a.shape[-1] // groups).swapaxes(0, 1)
    return matrices


class Unfolded:
    """The windows of x as matrices (groups, windows, taps * channels), one tile after another."""

    def __init__(self, p: Convolution, x: TensorType, w: TensorType, y: TensorType) -> None:
        self.p, self.counts, self.kernel = p, y.shape[1:-1], w.shape[:-2]
        self.channels, self.depth = w.shape[-2], math.prod(w.shape[:-1])
        run = self.channels * (self.kernel[-1] if p.groups == 1 == p.dilation[-1] else 1)
        self.narrow = run < NARROW
        row_size = math.prod(y.shape[2:-1]) * p.groups * self.depth
        self.tiles = tiles(y.shape[0], y.shape[1], row_size * x.dtype.itemsize, TILE)
        images, rows = (s.stop - s.start for s in self.tiles[0]) if self.tiles else (0, 0)
        self.scratch = [TensorType((images * rows * row_size,), x.dtype)]
        self.padded = any(map(any, p.padding))
        if self.padded:
            spatial = (n + before + after for n, (before, after) in zip(x.shape[1:-1], p.padding))
            self.scratch.append(TensorType((images, *spatial, x.shape[-1]), x.dtype))

    def bind(
        self, x: np.ndarray, scratch: Sequence[np.ndarray]
    ) -> Iterator[tuple[list[Call], np.ndarray, Index]]:
        """For each tile: the calls that fill it, its matrices, and the (images, rows) of y they stand for."""
        calls: list[Call] = [partial(scratch[1].fill, 0)] if self.padded else []
        for images, rows in self.tiles:
            source = x[images]
            if self.padded:
                image = scratch[1][: len(source)]
                edges = zip(self.p.padding, x.shape[1:-1])
                inside = (slice(None), *(slice(before, before + n) for (before, _), n in edges))
                if rows.start == 0:
                    calls.append(partial(np.copyto, image[inside], source))
                source = image
            windows = self._windows(source)[:, rows].transpose(self._order())
            tile = scratch[0][: windows.size].reshape(windows.shape)
            calls.append(partial(np.copyto, tile, windows))
            if self.narrow:
                matrices = tile.reshape(self.p.groups, self.depth, -1).swapaxes(1, 2)
            else:
                matrices = tile.reshape(self.p.groups, -1, self.depth)
            yield calls, matrices, (images, rows)
            calls = []

    def _windows(self, x: np.ndarray) -> np.ndarray:
        """A view (N, *S', *K, groups, channels) of x, which has its padding."""
        p, (image, *spatial, element) = self.p, x.strides
        shape = (len(x), *self.counts, *self.kernel, p.groups, self.channels)
        moves = (s * n for s, n in zip(spatial, p.stride))
        steps = (s * n for s, n in zip(spatial, p.dilation))
        return as_strided(x, shape, (image, *moves, *steps, self.channels * element, element))

    def _order(self) -> tuple[int, ...]:
        """The axes of `_windows` in the order in which a tile holds them."""
        d = len(self.kernel)
        positions, window = range(d + 1), (*range(d + 1, 2 * d + 1), 2 * d + 2)
        return (2 * d + 1, *window, *positions) if self.narrow else (2 * d + 1, *positions, *window)


def _unfolded(p: Convolution, x: TensorType, w: TensorType, y: TensorType) -> Way:
    """y = windows(x) w"""
    unfolded = Unfolded(p, x, w, y)

    def calls(x: np.ndarray, w: np.ndarray, y: np.ndarray, scratch: Sequence[np.ndarray]) -> list[Call]:
        filters = _grouped(w, p.groups)
        result: list[Call] = []
        for fill, matrices, tile in unfolded.bind(x, scratch):
            result += [*fill, partial(np.matmul, matrices, filters, _grouped(y[tile], p.groups))]
        return result

    return Way(unfolded.scratch, calls)


def _unfolded_kernel(p: Convolution, x: TensorType, w: TensorType, y: TensorType) -> Way:
    """dw = windows(x)ᵀ g"""
    unfolded = Unfolded(p, x, w, y)

    def calls(x: np.ndarray, g: np.ndarray, dw: np.ndarray, scratch: Sequence[np.ndarray]) -> list[Call]:
        whole, part = _grouped(dw, p.groups), _grouped(scratch[-1], p.groups)
        result: list[Call] = []
        for fill, matrices, tile in unfolded.bind(x, scratch):
            out = part if result else whole
            result += [*fill, partial(np.matmul, matrices.swapaxes(1, 2), _grouped(g[tile], p.groups), out)]
            if out is part:
                result.append(partial(np.add, whole, part, whole))
        return result or [partial(dw.fill, 0)]

    return Way([*unfolded.scratch, w], calls)


def _scattered(p: Convolution, x: TensorType, w: TensorType, y: TensorType) -> Way:
    """dx at tap k of each window += g w[k]ᵀ"""
    kernel, counts = w.shape[:-2], y.shape[1:-1]
    channels, filters = w.shape[-2], w.shape[-1] // p.groups
    count, width = math.prod(kernel), math.prod(counts[1:])
    parts = tiles(y.shape[0], counts[0], count * width * x.shape[-1] * x.dtype.itemsize, TILE)
    images, rows = (s.stop - s.start for s in parts[0]) if parts else (0, 0)

    def calls(g: np.ndarray, w: np.ndarray, dx: np.ndarray, scratch: Sequence[np.ndarray]) -> list[Call]:
        turned = w.reshape(count, channels, p.groups, filters).transpose(0, 2, 3, 1)
        spread = dx.reshape(*dx.shape[:-1], p.groups, channels)
        result: list[Call] = [partial(dx.fill, 0)]
        for tile in parts:
            part = g[tile]
            rows = part.size // part.shape[-1]
            products = scratch[0][: count * rows * x.shape[-1]].reshape(count, p.groups, rows, channels)
            result.append(partial(np.matmul, _grouped(part, p.groups), turned, products))
            placed = np.moveaxis(products.reshape(count, p.groups, *part.shape[:-1], channels), 1, -2)
            where = taps(kernel, p.stride, p.dilation, p.padding, x.shape[1:-1], counts, tile[1])
            for product, (outputs, inputs) in zip(placed, where):
                there, here = (tile[0], *inputs), (slice(None), *outputs)
                result.append(partial(np.add, spread[there], product[here], spread[there]))
        return result

    return Way([TensorType((count * images * rows * width * x.shape[-1],), x.dtype)], calls)
