"""Attention and its gradient, a block of queries at a time against all keys that they may see.

No more than one block of scores is held, so memory is linear in the length.  Many short sequences share a
block: the heads of several examples make one NumPy call.  Hidden scores become -inf as the smaller of
themselves and -inf, which is faster than a copy through a mask.  Largest scores are kept finite, so that
the row of a query that sees no key becomes 0; any other row has a sum of 1 or more.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from cortex_compute.numpy_backend.backend import kernel, offers
from cortex_compute.numpy_backend.elementwise import BANDWIDTH, sequence
from cortex_compute.numpy_backend.matrix import PEAK, blas_reads
from cortex_compute.numpy_backend.memory import carve, copied, scratch_size
from cortex_compute.primitives.attention import Attending, Attention, AttentionGrad
from cortex_compute.protocol import Offer, Operand
from cortex_compute.types import TensorType

SCORES = 1 << 16  # in a block; with few, long heads a block has more of them: FEWEST queries
FEWEST = 64  # queries of a head in a block, as products with fewer rows are slow
PASSES = 6  # over the scores, beside the products

Call = Callable[[], None]
Shape = tuple[int, ...]


class Cut:
    """How the work is cut: into ``chunks`` of examples and heads, and these into ``parts`` of queries.

    A chunk is a pair of slices, of the examples and of the heads of k.  A part is a slice of the queries,
    and the number of keys that they see at most.
    """

    def __init__(self, p: Attending, q: Shape, k: Shape) -> None:
        self.batch, self.queries, n, self.features = q
        self.keys, self.heads = k[1:3]
        self.group = n // self.heads  # heads of q that share one of k
        row = self.group * self.keys  # scores of one query, over its group
        fit = max(SCORES // row, FEWEST // self.group, 1)
        self.rows = max(1, min(self.queries, fit, FEWEST if p.causal else self.queries))
        several = max(1, SCORES // (self.rows * row))
        self.side = min(several, self.heads)
        self.deep = max(1, min(several // self.heads, self.batch))
        self.chunks = [
            (slice(b, b + self.deep), slice(m, m + self.side))
            for b in range(0, self.batch, self.deep)
            for m in range(0, self.heads, self.side)
        ]
        ends = [(i, min(i + self.rows, self.queries)) for i in range(0, self.queries, self.rows)]
        self.parts = [(slice(i, j), min(j, self.keys) if p.causal else self.keys) for i, j in ends]
        self.block = self.deep * self.side * self.group * self.rows  # queries, over all heads
        self.whole = len(self.parts) == 1 and self.parts[0][1] == self.keys

    def grouped(self, a: np.ndarray) -> np.ndarray:
        """A view (B, T, N, ...) as (B, M, N / M, T, ...)."""
        split = a.reshape(*a.shape[:2], self.heads, self.group, *a.shape[3:])
        return split.transpose(0, 2, 3, 1, *range(4, split.ndim))

    def of_heads(self, a: np.ndarray) -> np.ndarray:
        """A view (B, N or 1, ...) as (B, M or 1, N / M or 1, ...)."""
        heads = (self.heads, self.group) if a.shape[1] > 1 else (1, 1)
        return a.reshape(a.shape[0], *heads, *a.shape[2:])

    def over_blocks(self, block: Callable[[slice, slice, slice, int], None]) -> Call:
        """A call that does each block: slices of examples, heads of k and queries, and how many keys."""

        def run() -> None:
            for b, m in self.chunks:
                for rows, keys in self.parts:
                    block(b, m, rows, keys)

        return run

    def scratch(self, p: Attending, types: Sequence[TensorType]) -> list[TensorType]:
        """What `Scores` needs: for scaled queries, their scores, and what these may be at most."""
        limits = 0
        if p.masked:
            block = self.deep, self.side * self.group, self.rows, self.keys
            limits = math.prod(n for n, size in zip(block, types[3].shape) if size > 1)
        sizes = self.block * self.features, self.block * self.keys, limits
        return [TensorType((n,), types[0].dtype) for n in sizes]


class Scores:
    """The scores of one block after the other, in the same memory."""

    def __init__(self, p: Attending, cut: Cut, arrays: Sequence[Any], memory: Sequence[np.ndarray]) -> None:
        q, k, *mask = arrays
        self.cut, self.queries, self.scores, self.limits = cut, *memory
        self.scale = q.dtype.type(p.scale)
        self.q, self.k = cut.grouped(q), k.transpose(0, 2, 3, 1)
        self.mask = cut.of_heads(mask[0]) if p.masked else None
        self.triangle = None
        if p.causal:
            self.triangle = np.where(
                np.tri(cut.rows, dtype=bool), q.dtype.type(np.inf), q.dtype.type(-np.inf)
            )

    def __call__(self, b: slice, m: slice, rows: slice, keys: int) -> tuple[np.ndarray, np.ndarray, Shape]:
        """The queries times the scale (B, M, N / M rows, D), their scores (B, M, N / M rows, keys), and
        the lengths B, M, N / M, rows.
        """
        q = self.q[b, m, :, rows]
        lead = q.shape[:4]
        x = np.multiply(q, self.scale, shaped(self.queries, q.shape)).reshape(*lead[:2], -1, q.shape[4])
        s = shaped(self.scores, (*x.shape[:3], keys))
        np.matmul(x, self.k[b, m, :, :keys], s)
        split = s.reshape(*lead, keys)
        if self.mask is not None:
            limit = self._limit(self.mask, (b, m, slice(None), rows, slice(keys)))
            np.minimum(split, limit, out=split)
        if self.triangle is not None and keys > rows.start:
            edge = split[..., rows.start :]
            np.minimum(edge, self.triangle[: lead[3], : edge.shape[4]], out=edge)
        return x, s, lead

    def _limit(self, mask: np.ndarray, block: Sequence[slice]) -> np.ndarray:
        """Infinity where a key is seen, else -infinity."""
        part = mask[tuple(s if n > 1 else slice(None) for s, n in zip(block, mask.shape))]
        limit = shaped(self.limits, part.shape)
        np.copyto(limit, part)
        np.subtract(limit, limit.dtype.type(0.5), limit)
        np.multiply(limit, limit.dtype.type(np.inf), limit)
        return limit


def shaped(memory: np.ndarray, shape: Shape) -> np.ndarray:
    """The beginning of a flat array in another shape."""
    return memory[: math.prod(shape)].reshape(shape)


@offers(Attention)
def attention(p: Attention, operands: Sequence[Operand]) -> Offer:
    types, turned = [o.type for o in operands], _unreadable(operands)
    cut = Cut(p, types[0].shape, types[1].shape)
    column, value = (TensorType((n,), types[0].dtype) for n in (cut.block, cut.block * types[2].shape[3]))
    scratch = [*cut.scratch(p, types), value, column, column, *(types[i] for i in turned)]

    def bound(inputs: Sequence[Any], outputs: Sequence[Any], workspace: Any) -> Call:
        *memory, mixed, largest, total = (carved := carve(workspace, scratch))[:6]
        calls, (q, k, v, *mask) = _readable(inputs, turned, carved[6:])
        scores, v = Scores(p, cut, (q, k, *mask), memory), v.transpose(0, 2, 1, 3)
        y, logs = (None if a is None else view(a) for view, a in zip((cut.grouped, cut.of_heads), outputs))
        lowest, ones = np.finfo(q.dtype).min, np.ones(cut.keys, q.dtype)

        def block(b: slice, m: slice, rows: slice, keys: int) -> None:
            _, s, lead = scores(b, m, rows, keys)
            flat = s.reshape(-1, keys)
            top, count = largest[: len(flat)], total[: len(flat)]
            np.maximum.reduce(flat, 1, out=top)
            np.maximum(top, lowest, out=top)
            np.exp(np.subtract(flat, top[:, None], flat), flat)
            np.matmul(flat, ones[:keys], count)
            if logs is not None:
                logarithm = np.log(count.reshape(lead), logs[b, m, :, rows])
                np.add(logarithm, top.reshape(lead), logarithm)
            if y is not None:
                o = np.matmul(s, v[b, m, :keys], shaped(mixed, (*s.shape[:3], v.shape[3])))
                np.maximum(count, 1, out=count)
                np.divide(o.reshape(*lead, v.shape[3]), count.reshape(*lead, 1), y[b, m, :, rows])

        return sequence([*calls, cut.over_blocks(block)])

    return _offer(p, types, bound, scratch, (0,))


@offers(AttentionGrad)
def attention_gradient(p: AttentionGrad, operands: Sequence[Operand]) -> Offer:
    types, turned = [o.type for o in operands], _unreadable(operands)
    (features, of), values = (types[0].shape[3], types[0].dtype), types[2].shape[3]
    cut = Cut(p, types[0].shape, types[1].shape)
    row, keys_of_chunk = cut.block, cut.deep * cut.side * cut.keys
    widest = max(features, values)
    sizes = row * values, row * widest, row * cut.keys, row, 0 if cut.whole else keys_of_chunk * widest
    scratch = [*cut.scratch(p, types), *(TensorType((n,), of) for n in sizes), *(types[i] for i in turned)]

    def bound(inputs: Sequence[Any], outputs: Sequence[Any], workspace: Any) -> Call:
        *memory, copy, product, slopes, column, addend = (carved := carve(workspace, scratch))[:8]
        calls, (q, k, v, *mask, y, logs, g) = _readable(inputs, turned, carved[8:])
        scores, k = Scores(p, cut, (q, k, *mask), memory), k.transpose(0, 2, 1, 3)
        v, logs = v.transpose(0, 2, 3, 1), cut.of_heads(logs)
        y, g = cut.grouped(y), cut.grouped(g)
        dq = None if outputs[0] is None else cut.grouped(outputs[0])
        dk, dv = (None if a is None else a.transpose(0, 2, 1, 3) for a in outputs[1:])
        lowest, ones, scale = np.finfo(q.dtype).min, np.ones(values, q.dtype), q.dtype.type(p.scale)

        def add(out: np.ndarray, a: np.ndarray, x: np.ndarray) -> None:
            """out += a^T x"""
            if cut.whole:
                np.matmul(a.swapaxes(2, 3), x, out)
            else:
                np.add(out, np.matmul(a.swapaxes(2, 3), x, shaped(addend, out.shape)), out)

        def block(b: slice, m: slice, rows: slice, keys: int) -> None:
            here = b, m, slice(None), rows
            x, s, lead = scores(b, m, rows, keys)
            gradient = shaped(copy, g[here].shape)
            np.copyto(gradient, g[here])
            of_y = np.multiply(gradient, y[here], shaped(product, gradient.shape))
            gradient = gradient.reshape(*s.shape[:3], -1)
            one = column[: math.prod(lead)]
            np.maximum(logs[here], lowest, out=one.reshape(lead))
            np.exp(np.subtract(s, one.reshape(*s.shape[:3], 1), s), s)
            if dv is not None:
                add(dv[b, m, :keys], s, gradient)
            if dq is None and dk is None:
                return
            np.matmul(of_y.reshape(len(one), values), ones, one)
            slope = np.matmul(gradient, v[b, m, :, :keys], shaped(slopes, s.shape))
            np.subtract(slope, one.reshape(*s.shape[:3], 1), slope)
            np.multiply(slope, s, slope)
            if dk is not None:
                add(dk[b, m, :keys], slope, x)
            if dq is not None:
                d = np.matmul(slope, k[b, m, :keys], shaped(product, x.shape))
                np.multiply(d.reshape(*lead, features), scale, dq[here])

        sums = () if cut.whole else (dk, dv)
        calls += [partial(a.fill, 0) for a in sums if a is not None]
        return sequence([*calls, cut.over_blocks(block)])

    return _offer(p, types, bound, scratch, (0, len(types) - 3, len(types) - 1))


def _unreadable(operands: Sequence[Operand]) -> list[int]:
    """Which of k and v BLAS cannot read as they lie."""
    bad = []
    for i in (1, 2):
        (_, length, _, features), strides = operands[i].type.shape, operands[i].strides
        if not blas_reads(TensorType((length, features), operands[i].type.dtype), (strides[1], strides[3])):
            bad.append(i)
    return bad


def _readable(
    inputs: Sequence[Any], turned: Sequence[int], memory: Sequence[np.ndarray]
) -> tuple[list[Call], list[Any]]:
    """The inputs, those that are ``turned`` as copies, and the calls that make these."""
    calls: list[Call] = []
    arrays = list(inputs)
    for i, copy in zip(turned, memory):
        arrays[i] = copied(calls, arrays[i], copy)
    return calls, arrays


def _offer(
    p: Attending, types: Sequence[TensorType], bound: Any, scratch: Sequence[TensorType], over: Sequence[int]
) -> Offer:
    """``over``: the operands over which the first result may lie, as a block reads these before it writes."""
    flops = p.flops(*types)
    scores = flops / max(1, types[0].shape[3] + types[2].shape[3])
    first = p.infer(*types)[0]
    return kernel(
        bound,
        workspace=scratch_size(scratch),
        reuse=tuple((i, 0) for i in over if types[i] == first),
        strided_outputs=True,
        cost=flops / PEAK + PASSES * scores * first.dtype.itemsize / BANDWIDTH,
    )
