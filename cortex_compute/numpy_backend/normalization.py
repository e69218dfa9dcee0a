"""Batch norm and layer norm.

A variance is the mean square of what is left when the mean is taken away, so that it never cancels.  Batch
norm finds both in one pass: each block of rows has its own mean and its own squares, which are then merged
(Chan, Golub and LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances", 1979).
Sums are products with ones: BLAS is several times faster there than `np.add.reduce`.  A ReLU behind a batch
norm is one more step over a block that is in the cache.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from cortex_compute.expression import build
from cortex_compute.numpy_backend.backend import kernel, offers
from cortex_compute.numpy_backend.elementwise import BANDWIDTH, sequence
from cortex_compute.numpy_backend.memory import Dense, carve, scratch_size
from cortex_compute.numpy_backend.pointwise import BLOCK, bind, workspace_size
from cortex_compute.numpy_backend.rows import Rows
from cortex_compute.primitives.normalization import (
    BatchNorm,
    BatchNormGrad,
    BatchNormRelu,
    BatchNormReluGrad,
    LayerNorm,
    LayerNormGrad,
)
from cortex_compute.protocol import Offer, Operand
from cortex_compute.types import TensorType, uint8

WIDTH = 1024  # elements: channels are repeated up to this, as NumPy walks short rows slowly
HEIGHT = 32  # rows of a block, at least: there is one row of partial sums for each block
GATE = build(lambda y, g: y.builder.make("select", y > 0, g, 0.0), 2)

Call = Callable[[], Any]


class Channels:
    """An array (rows, C) seen as (height, width): ``repeat`` rows side by side, so that width = repeat C."""

    def __init__(self, t: TensorType) -> None:
        self.channels = t.shape[-1]
        self.rows = math.prod(t.shape[:-1])
        widest = max(1, min(self.rows, WIDTH // self.channels))
        self.repeat = next(k for k in range(widest, 0, -1) if self.rows % k == 0)
        self.width, self.height = self.repeat * self.channels, self.rows // self.repeat
        self.step = max(HEIGHT, BLOCK // self.width)
        self.blocks = [slice(i, min(i + self.step, self.height)) for i in range(0, self.height, self.step)]
        self.counts = np.array([b.stop - b.start for b in self.blocks], t.dtype.storage)
        self.ones = np.ones(max(self.step, self.repeat, len(self.blocks)), t.dtype.storage)
        self.vector = TensorType((self.channels,), t.dtype)
        self.row = TensorType((self.width,), t.dtype)
        self.block = TensorType((min(self.step, self.height), self.width), t.dtype)
        self.partial = TensorType((len(self.blocks), self.width), t.dtype)

    def matrix(self, a: np.ndarray) -> np.ndarray:
        return a.reshape(self.height, self.width)

    def sum(self, block: np.ndarray, out: np.ndarray) -> Call:
        """out = the sums of the columns of one block."""
        return partial(np.matmul, self.ones[: len(block)], block, out)

    def tile(self, vector: np.ndarray, row: np.ndarray) -> Call:
        """row = ``repeat`` times the vector."""
        return partial(np.copyto, row.reshape(self.repeat, self.channels), vector)

    def total(
        self, partials: np.ndarray, row: np.ndarray, out: np.ndarray, weights: np.ndarray | None = None
    ) -> list[Call]:
        """out = the (weighted) sum of the blocks' partial sums, per channel; ``row`` is scratch."""
        weights = self.ones[: len(self.blocks)] if weights is None else weights
        folded = row.reshape(self.repeat, self.channels)
        ones = self.ones[: self.repeat]
        return [partial(np.matmul, weights, partials, row), partial(np.matmul, ones, folded, out)]


@offers(BatchNorm)
@offers(BatchNormRelu)
def batch_norm(p: BatchNorm, operands: Sequence[Operand]) -> Offer:
    c, dense = Channels(operands[0].type), Dense(operands)
    scratch = [*[c.vector] * 3, *[c.row] * 3, *[c.partial] * 2, c.block, *dense.scratch]
    zeros = np.zeros(c.width if isinstance(p, BatchNormRelu) else 0, c.vector.dtype.storage)

    def bound(inputs: Sequence[Any], outputs: Sequence[Any], workspace: Any) -> Call:
        memory = carve(workspace, scratch)
        mean, variance, factor, *rows, means, squares, block = memory[:9]
        calls: list[Call] = []
        x, scale, shift = dense.arrays(calls, inputs, memory[9:])
        x, y = c.matrix(x), outputs[0]
        mean, variance = (v if o is None else o for v, o in zip((mean, variance), outputs[1:]))
        calls += _moments(c, x, (means, squares), block, rows[0], mean, variance)
        if y is not None:
            calls += _inverse_deviation(variance, p.epsilon, factor)
            calls.append(partial(np.multiply, factor, scale, factor))
            calls += [c.tile(v, row) for v, row in zip((mean, factor, shift), rows)]
            for part in c.blocks:
                out = c.matrix(y)[part]
                calls.append(partial(np.subtract, x[part], rows[0], out))
                calls.append(partial(np.multiply, out, rows[1], out))
                calls.append(partial(np.add, out, rows[2], out))
                if zeros.size:
                    calls.append(partial(np.maximum, out, zeros, out=out))
        return sequence(calls)

    return _offer(bound, scratch, operands, ((0, 0),))


def _moments(
    c: Channels,
    x: np.ndarray,
    partials: tuple[np.ndarray, np.ndarray],
    block: np.ndarray,
    row: np.ndarray,
    mean: np.ndarray,
    variance: np.ndarray,
) -> list[Call]:
    """Mean and variance per channel: of each block, then merged."""
    means, squares = partials
    real = x.dtype.type
    calls: list[Call] = []
    for i, part in enumerate(c.blocks):
        rest = block[: part.stop - part.start]
        calls += [c.sum(x[part], means[i]), partial(np.divide, means[i], c.counts[i], means[i])]
        calls += [partial(np.subtract, x[part], means[i], rest), partial(np.multiply, rest, rest, rest)]
        calls.append(c.sum(rest, squares[i]))
    calls += c.total(means, row, mean, c.counts)
    calls += [partial(np.divide, mean, real(c.rows), mean), c.tile(mean, row)]
    calls += [partial(np.subtract, means, row, means), partial(np.multiply, means, means, means)]
    calls += [partial(np.multiply, means, c.counts[:, None], means), partial(np.add, squares, means, squares)]
    calls += c.total(squares, row, variance)
    return [*calls, partial(np.divide, variance, real(c.rows), variance)]


def _inverse_deviation(variance: np.ndarray, epsilon: float, out: np.ndarray) -> list[Call]:
    """out = 1 / sqrt(variance + epsilon)"""
    real = variance.dtype.type
    return [
        partial(np.add, variance, real(epsilon), out),
        partial(np.sqrt, out, out),
        partial(np.divide, real(1), out, out),
    ]


@offers(BatchNormGrad)
def batch_norm_gradient(p: BatchNormGrad, operands: Sequence[Operand]) -> Offer:
    return _gradient(p, operands, None, ((0, 0), (4, 0)))


@offers(BatchNormReluGrad)
def batch_norm_relu_gradient(p: BatchNormReluGrad, operands: Sequence[Operand]) -> Offer:
    offer = _gradient(p, operands, 4, ((4, 0), (6, 0)))
    return replace(offer, reads=frozenset(range(7)) - {5})


def _gradient(p: BatchNormGrad, operands: Sequence[Operand], gate: int | None, reuse: Any) -> Offer:
    """With a ``gate``, the number of an operand, g counts where that is above 0.

    What passes lies in dx from the first pass to the second; so dx may lie over g and the gate, not over x.
    """
    c, dense = Channels(operands[0].type), Dense(operands)
    scratch = [*[c.vector] * 4, *[c.row] * 4, *[c.partial] * 2, c.block, *dense.scratch]
    if gate is not None:
        space = workspace_size(GATE.code, GATE.literals, [c.block] * 2)
        scratch[11:11] = [c.block, TensorType((space,), uint8)]

    def bound(inputs: Sequence[Any], outputs: Sequence[Any], workspace: Any) -> Call:
        memory = carve(workspace, scratch)
        dscale, dshift, deviation, slope, *rows, products, sums, block = memory[:11]
        calls: list[Call] = []
        arrays = dense.arrays(calls, inputs, memory[len(scratch) - len(dense.scratch) :])
        x, scale, mean, variance = arrays[:4]
        x, g, dx = c.matrix(x), c.matrix(arrays[-1]), None if outputs[0] is None else c.matrix(outputs[0])
        dscale, dshift = (v if o is None else o for v, o in zip((dscale, dshift), outputs[1:]))
        calls.append(c.tile(mean, rows[0]))
        for i, part in enumerate(c.blocks):
            rest, passed = block[: part.stop - part.start], g[part]
            if gate is not None:
                passed = memory[11][: len(rest)] if dx is None else dx[part]
                pair = [c.matrix(arrays[gate])[part], g[part]]
                calls += bind(GATE.code, GATE.literals, pair, [passed], memory[12], [c.block.dtype] * 2)
            calls += [partial(np.subtract, x[part], rows[0], rest), partial(np.multiply, rest, passed, rest)]
            calls += [c.sum(rest, products[i]), c.sum(passed, sums[i])]
        calls += c.total(products, rows[1], dscale) + c.total(sums, rows[1], dshift)
        calls += _inverse_deviation(variance, p.epsilon, deviation)
        calls.append(partial(np.multiply, dscale, deviation, dscale))
        if dx is not None:
            n = g.dtype.type(c.rows)
            calls += [partial(np.multiply, dscale, deviation, slope), partial(np.divide, slope, n, slope)]
            calls += [c.tile(slope, rows[1]), partial(np.divide, dshift, n, slope), c.tile(slope, rows[2])]
            calls += [partial(np.multiply, deviation, scale, deviation), c.tile(deviation, rows[3])]
            g = g if gate is None else dx
            for part in c.blocks:
                calls += _center(x[part], g[part], rows, block[: part.stop - part.start], dx[part])
        return sequence(calls)

    return _offer(bound, scratch, operands, reuse)


def _center(
    x: np.ndarray, g: np.ndarray, rows: Sequence[np.ndarray], rest: np.ndarray, out: np.ndarray
) -> list[Call]:
    """out = factor (g - (x - mean) slope - mean g), with rows = mean, slope, mean g, factor."""
    mean, slope, mean_g, factor = rows
    return [
        partial(np.subtract, x, mean, rest),
        partial(np.multiply, rest, slope, rest),
        partial(np.add, rest, mean_g, rest),
        partial(np.subtract, g, rest, out),
        partial(np.multiply, out, factor, out),
    ]


@offers(LayerNorm)
def layer_norm(p: LayerNorm, operands: Sequence[Operand]) -> Offer:
    r, dense = Rows(operands[0].type), Dense(operands)
    scratch = [*[r.block] * 2, *[r.column] * 3, *dense.scratch]

    def bound(inputs: Sequence[Any], outputs: Sequence[Any], workspace: Any) -> Call:
        memory = carve(workspace, scratch)
        block, square, *columns = memory[:5]
        calls: list[Call] = []
        x, scale, shift = dense.arrays(calls, inputs, memory[5:])
        x, count = r.matrix(x), x.dtype.type(r.n)
        y = None if outputs[0] is None else r.matrix(outputs[0])
        statistics = [None if o is None else o.reshape(r.count) for o in outputs[1:]]
        for part in r.blocks:
            n = part.stop - part.start
            rest = block[:n] if y is None else y[part]
            mean, variance = (c[:n] if o is None else o[part] for c, o in zip(columns, statistics))
            calls += [partial(np.matmul, x[part], r.ones, mean), partial(np.divide, mean, count, mean)]
            calls.append(partial(np.subtract, x[part], mean[:, None], rest))
            calls.append(partial(np.multiply, rest, rest, square[:n]))
            calls.append(partial(np.matmul, square[:n], r.ones, variance))
            calls.append(partial(np.divide, variance, count, variance))
            if y is not None:
                calls += _inverse_deviation(variance, p.epsilon, columns[2][:n])
                calls.append(partial(np.multiply, rest, columns[2][:n, None], rest))
                calls += [partial(np.multiply, rest, scale, rest), partial(np.add, rest, shift, rest)]
        return sequence(calls)

    return _offer(bound, scratch, operands, ((0, 0),))


@offers(LayerNormGrad)
def layer_norm_gradient(p: LayerNormGrad, operands: Sequence[Operand]) -> Offer:
    r, dense = Rows(operands[0].type), Dense(operands)
    vector = operands[1].type
    scratch = [*[r.block] * 2, *[r.column] * 3, *[vector] * 4, *dense.scratch]

    def bound(inputs: Sequence[Any], outputs: Sequence[Any], workspace: Any) -> Call:
        memory = carve(workspace, scratch)
        normal, product, deviation, mean_k, mean_kh, dscale, dshift, weights, row = memory[:9]
        calls: list[Call] = []
        x, scale, mean, variance, g = dense.arrays(calls, inputs, memory[9:])
        x, g, mean, variance = r.matrix(x), r.matrix(g), mean.reshape(r.count), variance.reshape(r.count)
        dx = None if outputs[0] is None else r.matrix(outputs[0])
        dscale, dshift = (v if o is None else o for v, o in zip((dscale, dshift), outputs[1:]))
        ones = np.ones(r.step, x.dtype)
        calls += [partial(dscale.fill, 0), partial(dshift.fill, 0)]
        calls.append(partial(np.divide, scale, x.dtype.type(r.n), weights))
        for part in r.blocks:
            n = part.stop - part.start
            h, gh, d = normal[:n], product[:n], deviation[:n]
            calls += _inverse_deviation(variance[part], p.epsilon, d)
            calls.append(partial(np.subtract, x[part], mean[part, None], h))
            calls.append(partial(np.multiply, h, d[:, None], h))
            calls.append(partial(np.multiply, g[part], h, gh))
            for block, total in ((gh, dscale), (g[part], dshift)):
                calls += [partial(np.matmul, ones[:n], block, row), partial(np.add, total, row, total)]
            if dx is not None:
                means = mean_k[:n], mean_kh[:n]
                calls += [partial(np.matmul, a, weights, m) for a, m in zip((g[part], gh), means)]
                calls += _along_rows(g[part], scale, h, d, means, dx[part])
        return sequence(calls)

    return _offer(bound, scratch, operands, ((0, 0), (4, 0)))


def _along_rows(
    g: np.ndarray,
    scale: np.ndarray,
    h: np.ndarray,
    deviation: np.ndarray,
    means: tuple[np.ndarray, np.ndarray],
    out: np.ndarray,
) -> list[Call]:
    """out = deviation (k - mean k - h mean(k h)), with k = g scale; h is written over."""
    mean_k, mean_kh = means
    return [
        partial(np.multiply, g, scale, out),
        partial(np.subtract, out, mean_k[:, None], out),
        partial(np.multiply, h, mean_kh[:, None], h),
        partial(np.subtract, out, h, out),
        partial(np.multiply, out, deviation[:, None], out),
    ]


def _offer(bound: Any, scratch: Sequence[TensorType], operands: Sequence[Operand], reuse: Any) -> Offer:
    seconds = 6 * operands[0].type.nbytes / BANDWIDTH
    return kernel(bound, workspace=scratch_size(scratch), reuse=reuse, cost=seconds)
