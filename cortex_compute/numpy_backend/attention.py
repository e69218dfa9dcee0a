"""Attention and its gradient, a block of queries at a time against all keys that they may see.

No more than one block of scores is held, so memory is linear in the length.  Many short sequences share a
block: the heads of several examples make one NumPy call.  Scores lie turned, a column for each query: so
BLAS reads k and v as they lie, and the largest of a column is found many columns at a time.  Largest scores
are kept finite, so that the column of a query that sees no key becomes 0; any other one has a sum of 1 or
more.
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
from cortex_compute.types import TensorType, bool_

SCORES = 1 << 16  # in a block; with few, long heads a block has more of them: FEWEST queries
FEWEST = 64  # queries of a head in a block, as products with fewer rows are slow
PASSES = 5  # over the scores, beside the products

Call = Callable[[], None]
Shape = tuple[int, ...]


class Cut:
    """How the work is cut: into ``chunks`` of examples and heads, and these into ``parts`` of queries.

    A chunk is a pair of slices, of the examples and of the heads of k.  A part is a slice of the queries,
    and the number of keys that they see at most.  A block should have so many ``scores``; it has at least
    ``fewest`` queries of a head, and no more where queries see different keys.
    """

    def __init__(self, p: Attending, q: Shape, k: Shape, scores: int = SCORES, fewest: int = FEWEST) -> None:
        self.batch, self.queries, n, self.features = q
        self.keys, self.heads = k[1:3]
        self.group = n // self.heads  # heads of q that share one of k
        row = self.group * self.keys  # scores of one query, over its group
        fit = max(scores // row, fewest // self.group, 1)
        self.rows = max(1, min(self.queries, fit, fewest if p.causal else self.queries))
        several = max(1, scores // (self.rows * row))
        self.side = min(several, self.heads)
        self.deep = max(1, min(several // self.heads, self.batch))
        self.chunks = [
            (slice(b, min(b + self.deep, self.batch)), slice(m, min(m + self.side, self.heads)))
            for b in range(0, self.batch, self.deep)
            for m in range(0, self.heads, self.side)
        ]
        ends = [(i, min(i + self.rows, self.queries)) for i in range(0, self.queries, self.rows)]
        self.parts = [(slice(i, j), min(j, self.keys) if p.causal else self.keys) for i, j in ends]
        self.block = self.deep * self.side * self.group * self.rows  # queries, over all heads
        self.whole = len(self.parts) == 1 and self.parts[0][1] == self.keys  # a block for each chunk

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

    def hidden(self, p: Attending, types: Sequence[TensorType]) -> TensorType:
        """Scratch for `Hiding`: the part of the mask that a block reads."""
        if not p.masked:
            return TensorType((0,), bool_)
        block = self.deep, self.side * self.group, self.rows, self.keys
        return TensorType((math.prod(n for n, size in zip(block, types[3].shape) if size > 1),), bool_)


class Hiding:
    """Makes the scores of keys that a query does not see -infinity.

    The scores come as (B, M, N / M, rows, keys), with any strides.
    """

    def __init__(self, p: Attending, cut: Cut, mask: Sequence[np.ndarray], scratch: np.ndarray) -> None:
        self.mask = cut.of_heads(mask[0]) if mask else None
        self.scratch = scratch
        self.above = ~np.tri(cut.rows, dtype=bool) if p.causal else None

    def __call__(self, scores: np.ndarray, b: slice, m: slice, rows: slice) -> None:
        if self.mask is not None:
            block = b, m, slice(None), rows, slice(scores.shape[4])
            part = self.mask[tuple(s if n > 1 else slice(None) for s, n in zip(block, self.mask.shape))]
            hidden = np.logical_not(part, shaped(self.scratch, part.shape))
            np.copyto(scores, -np.inf, where=hidden)
        if self.above is not None and scores.shape[4] > rows.start:
            edge = scores[..., rows.start :]
            np.copyto(edge, -np.inf, where=self.above[: edge.shape[3], : edge.shape[4]])


def shaped(memory: np.ndarray, shape: Shape) -> np.ndarray:
    """The beginning of a flat array in another shape."""
    return memory[: math.prod(shape)].reshape(shape)


def turned(a: np.ndarray, factor: Any, memory: np.ndarray) -> np.ndarray:
    """``factor`` times (B, M, G, rows, D), as (B, M, D, G rows) in ``memory``."""
    b, m, group, rows, d = a.shape
    out = shaped(memory, (b, m, d, group, rows))
    np.multiply(a.transpose(0, 1, 4, 2, 3), factor, out)
    return out.reshape(b, m, d, group * rows)


def joined(a: np.ndarray, memory: np.ndarray) -> np.ndarray:
    """(B, M, G, rows, D) as (B, M, G rows, D): a view where there is no group, else a copy in ``memory``."""
    b, m, group, rows, d = a.shape
    if group == 1:
        return a[:, :, 0]
    out = shaped(memory, a.shape)
    np.copyto(out, a)
    return out.reshape(b, m, group * rows, d)


def inner(g: np.ndarray, y: np.ndarray, weights: np.ndarray, memory: np.ndarray, out: np.ndarray) -> None:
    """out (B, M, G, rows) = the sum of g y times ``weights`` over the last axis.

    The operands are walked through in the order of an array (B, T, N, D).  ``memory``: for g y, and out.
    """
    g, y = (x.transpose(0, 3, 1, 2, 4) for x in (g, y))
    product = np.multiply(g, y, shaped(memory, g.shape))
    sums = shaped(memory[product.size :], g.shape[:4])
    np.matmul(product.reshape(out.size, len(weights)), weights, sums.reshape(-1))
    np.copyto(out, sums.transpose(0, 2, 3, 1))


@offers(Attention)
def attention(p: Attention, operands: Sequence[Operand]) -> Offer:
    types, unreadable = [o.type for o in operands], _unreadable(operands)
    cut, of, values = Cut(p, types[0].shape, types[1].shape), types[0].dtype, types[2].shape[3]
    sizes = (cut.block * n for n in (cut.features, cut.keys, values, 1, 1))
    scratch = [cut.hidden(p, types), *(TensorType((n,), of) for n in sizes)]
    scratch += [types[i] for i in unreadable]

    def bound(inputs: Sequence[Any], outputs: Sequence[Any], workspace: Any) -> Call:
        hidden, queries, scores, mixed, largest, total, *copies = carve(workspace, scratch)
        calls, (q, k, v, *mask) = _readable(inputs, unreadable, copies)
        hide, scale = Hiding(p, cut, mask, hidden), q.dtype.type(p.scale)
        q, k, v = cut.grouped(q), k.transpose(0, 2, 1, 3), v.transpose(0, 2, 1, 3)
        y, logs = (None if a is None else view(a) for view, a in zip((cut.grouped, cut.of_heads), outputs))
        lowest, ones = np.finfo(q.dtype).min, np.ones(cut.keys, q.dtype)

        def block(b: slice, m: slice, rows: slice, keys: int) -> None:
            query = q[b, m, :, rows]
            lead = query.shape[:4]
            x = turned(query, scale, queries)
            s = shaped(scores, (*lead[:2], keys, x.shape[3]))
            np.matmul(k[b, m, :keys], x, s)
            hide(_split(s, lead), b, m, rows)
            top, count = (shaped(a, (*lead[:2], x.shape[3])) for a in (largest, total))
            np.maximum.reduce(s, 2, out=top)
            np.maximum(top, lowest, out=top)
            np.exp(np.subtract(s, top[:, :, None], s), s)
            np.matmul(ones[:keys], s, count)
            if logs is not None:
                logarithm = np.log(count.reshape(lead), logs[b, m, :, rows])
                np.add(logarithm, top.reshape(lead), logarithm)
            if y is not None:
                o = shaped(mixed, (*lead[:2], x.shape[3], values))
                np.matmul(s.swapaxes(2, 3), v[b, m, :keys], o)
                np.maximum(count, 1, out=count)
                np.divide(o.reshape(*lead, values), count.reshape(*lead, 1), y[b, m, :, rows])

        return sequence([*calls, cut.over_blocks(block)])

    return _offer(p, types, bound, scratch, (0,))


@offers(AttentionGrad)
def attention_gradient(p: AttentionGrad, operands: Sequence[Operand]) -> Offer:
    types, unreadable = [o.type for o in operands], _unreadable(operands)
    cut, of, values = Cut(p, types[0].shape, types[1].shape), types[0].dtype, types[2].shape[3]
    widest = max(cut.features, values)
    sizes = [cut.block * n for n in (cut.features, cut.keys, cut.keys, values, widest + 1, 1)]
    sizes.append(0 if cut.whole else cut.deep * cut.side * cut.keys * widest)
    scratch = [cut.hidden(p, types), *(TensorType((n,), of) for n in sizes), *(types[i] for i in unreadable)]

    def bound(inputs: Sequence[Any], outputs: Sequence[Any], workspace: Any) -> Call:
        hidden, queries, scores, slopes, gs, spare, column, addend, *copies = carve(workspace, scratch)
        calls, (q, k, v, *mask, y, logs, g) = _readable(inputs, unreadable, copies)
        hide, scale = Hiding(p, cut, mask, hidden), q.dtype.type(p.scale)
        q, y, g, logs = cut.grouped(q), cut.grouped(y), cut.grouped(g), cut.of_heads(logs)
        k, v = k.transpose(0, 2, 1, 3), v.transpose(0, 2, 1, 3)
        dq = None if outputs[0] is None else cut.grouped(outputs[0])
        dk, dv = (None if a is None else a.transpose(0, 2, 1, 3) for a in outputs[1:])
        lowest, weights = np.finfo(q.dtype).min, np.full(values, scale)

        def add(out: np.ndarray, a: np.ndarray, x: np.ndarray) -> None:
            """out += a x, or = where nothing else comes"""
            if cut.whole:
                np.matmul(a, x, out)
            else:
                np.add(out, np.matmul(a, x, shaped(addend, out.shape)), out)

        def block(b: slice, m: slice, rows: slice, keys: int) -> None:
            here = b, m, slice(None), rows
            query, lead = q[here], q[here].shape[:4]
            x, gradient = turned(query, scale, queries), turned(g[here], scale, gs)
            s, slope = (shaped(a, (*lead[:2], keys, x.shape[3])) for a in (scores, slopes))
            row = shaped(column, lead)  # first the logarithms, then sum(g y)
            np.matmul(k[b, m, :keys], x, s)
            hide(_split(s, lead), b, m, rows)
            np.maximum(logs[here], lowest, out=row)
            np.exp(np.subtract(s, _over_keys(row), s), s)
            if dv is not None:
                add(dv[b, m, :keys], s, joined(g[here], spare))
            if dq is None and dk is None:
                return
            np.matmul(v[b, m, :keys], gradient, slope)
            inner(g[here], y[here], weights, spare, row)
            np.multiply(np.subtract(slope, _over_keys(row), slope), s, slope)
            if dk is not None:
                add(dk[b, m, :keys], slope, joined(query, spare))
            if dq is not None:
                back, there = slope.swapaxes(2, 3), k[b, m, :keys]
                if cut.group == 1:
                    np.matmul(back, there, dq[here][:, :, 0])
                else:
                    d = np.matmul(back, there, shaped(spare, (*back.shape[:3], cut.features)))
                    np.copyto(dq[here], d.reshape(query.shape))

        sums = () if cut.whole else (dk, dv)
        calls += [partial(a.fill, 0) for a in sums if a is not None]
        return sequence([*calls, cut.over_blocks(block)])

    return _offer(p, types, bound, scratch, (0, len(types) - 3, len(types) - 1))


def _over_keys(row: np.ndarray) -> np.ndarray:
    """(B, M, G, rows) beside turned scores (B, M, keys, G rows)."""
    b, m, group, rows = row.shape
    return row.reshape(b, m, 1, group * rows)


def _split(s: np.ndarray, lead: Shape) -> np.ndarray:
    """Turned scores (B, M, keys, G rows) as (B, M, G, rows, keys)."""
    return s.reshape(*lead[:2], s.shape[2], *lead[2:]).transpose(0, 1, 3, 4, 2)


def _unreadable(operands: Sequence[Operand]) -> list[int]:
    """Which of k and v BLAS cannot read as they lie."""
    bad = []
    for i in (1, 2):
        (_, length, _, features), strides = operands[i].type.shape, operands[i].strides
        if not blas_reads(TensorType((length, features), operands[i].type.dtype), (strides[1], strides[3])):
            bad.append(i)
    return bad


def _readable(
    inputs: Sequence[Any], unreadable: Sequence[int], memory: Sequence[np.ndarray]
) -> tuple[list[Call], list[Any]]:
    """The inputs, copies of the ``unreadable`` ones, and the calls that make these."""
    calls: list[Call] = []
    arrays = list(inputs)
    for i, copy in zip(unreadable, memory):
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
