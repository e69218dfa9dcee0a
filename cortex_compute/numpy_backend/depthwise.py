"""Convolution where each channel has kernels of its own: tap after tap, without matrices."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np

from cortex_compute.numpy_backend.windows import Call, Way, taps, tiles
from cortex_compute.primitives.convolution import Convolution
from cortex_compute.types import TensorType

TILE = 1 << 18  # bytes of one product, which with its two factors stays in a second-level cache


class Taps:
    """The parts of x, w and y that meet for each tile, tap and filter of a channel, and room for products."""

    def __init__(self, p: Convolution, x: TensorType, w: TensorType, y: TensorType) -> None:
        self.filters, self.channels = y.shape[-1] // p.groups, p.groups
        self.geometry = w.shape[:-2], p.stride, p.dilation, p.padding, x.shape[1:-1], y.shape[1:-1]
        row_size = math.prod(y.shape[2:-1]) * self.channels
        self.tiles = tiles(y.shape[0], y.shape[1], row_size * x.dtype.itemsize, TILE)
        images, rows = (s.stop - s.start for s in self.tiles[0]) if self.tiles else (0, 0)
        self.scratch = TensorType((images * rows * row_size,), x.dtype)

    def bind(
        self, x: np.ndarray, w: np.ndarray, y: np.ndarray, scratch: np.ndarray
    ) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]]:
        """The parts of x, w, y and of the scratch: (n, *s, C), (C), (n, *s, C), (n, *s, C)."""
        filters = w.reshape(-1, self.channels, self.filters)
        results = y.reshape(*y.shape[:-1], self.channels, self.filters)
        for images, rows in self.tiles:
            part = results[images, rows]
            for k, (outputs, inputs) in enumerate(taps(*self.geometry, rows)):
                there, here = (images, *inputs), (slice(None), *outputs)
                source = x[there]
                product = scratch[: source.size].reshape(source.shape)
                for j in range(self.filters):
                    yield source, filters[k, :, j], part[here][..., j], product


def forward(p: Convolution, x: TensorType, w: TensorType, y: TensorType) -> Way:
    """y += x w[k] for each tap k"""
    each = Taps(p, x, w, y)

    def calls(x: np.ndarray, w: np.ndarray, y: np.ndarray, scratch: Sequence[np.ndarray]) -> list[Call]:
        result: list[Call] = [partial(y.fill, 0)]
        for source, factor, target, product in each.bind(x, w, y, scratch[0]):
            result.append(partial(np.multiply, source, factor, product))
            result.append(partial(np.add, target, product, target))
        return result

    return Way([each.scratch], calls)


def input_gradient(p: Convolution, x: TensorType, w: TensorType, y: TensorType) -> Way:
    """dx += g w[k] for each tap k"""
    each = Taps(p, x, w, y)

    def calls(g: np.ndarray, w: np.ndarray, dx: np.ndarray, scratch: Sequence[np.ndarray]) -> list[Call]:
        result: list[Call] = [partial(dx.fill, 0)]
        for target, factor, source, product in each.bind(dx, w, g, scratch[0]):
            result.append(partial(np.multiply, source, factor, product))
            result.append(partial(np.add, target, product, target))
        return result

    return Way([each.scratch], calls)


def kernel_gradient(p: Convolution, x: TensorType, w: TensorType, y: TensorType) -> Way:
    """dw[k] = sum over images and positions of x g"""
    each = Taps(p, x, w, y)
    axes = tuple(range(len(x.shape) - 1))

    def calls(x: np.ndarray, g: np.ndarray, dw: np.ndarray, scratch: Sequence[np.ndarray]) -> list[Call]:
        result: list[Call] = [partial(dw.fill, 0)]
        for source, target, factor, product in each.bind(x, dw, g, scratch[0]):
            result.append(partial(np.multiply, source, factor, product))
            result.append(partial(np.add.reduce, product, axes, None, scratch[1]))
            result.append(partial(np.add, target, scratch[1], target))
        return result

    return Way([each.scratch, TensorType((p.groups,), x.dtype)], calls)
