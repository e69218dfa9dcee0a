"""Gathers, scatters, concatenation, padding, one-hot, top-k and running sums.

What reads or writes along one axis sees its arrays as (outer, n, inner).  A scatter turns its ids into flat
places, block by block, and adds with `np.add.at` on one axis, its only quick form; it adds in order.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np

from cortex_compute.numpy_backend import direct
from cortex_compute.numpy_backend.backend import kernel, offers
from cortex_compute.numpy_backend.elementwise import BANDWIDTH, sequence
from cortex_compute.numpy_backend.memory import Dense, carve, copied, scratch_size
from cortex_compute.numpy_backend.pointwise import BLOCK, block_slices
from cortex_compute.primitives.indexing import (
    Concatenate,
    Cumsum,
    Gather,
    OneHot,
    Pad,
    ScatterAdd,
    ScatterAlong,
    ScatterRows,
    TakeAlong,
    TopK,
)
from cortex_compute.protocol import Offer, Operand, row_major
from cortex_compute.types import TensorType, bool_, int64

ADD_AT = 1.5e-9  # seconds for one element of a scatter, of one core
Call = Callable[[], Any]
Shape = tuple[int, int, int]


def outer_inner(shape: tuple[int, ...], axis: int) -> tuple[int, int]:
    """Number of elements before and after ``axis``."""
    return math.prod(shape[:axis]), math.prod(shape[axis + 1 :])


@offers(Gather)
def gather(p: Gather, operands: Sequence[Operand]) -> Offer:
    x, ids = (o.type for o in operands)
    dense = Dense(operands[:1])
    ready = ids.dtype is int64 and row_major(operands[1])  # np.take would copy anything else by itself
    needed = [*dense.scratch, TensorType((0,) if ready else ids.shape, int64)]
    outer, inner = outer_inner(x.shape, p.axis)

    def bound(inputs: Sequence[Any], outputs: Sequence[Any], workspace: Any) -> Call:
        calls: list[Call] = []
        *scratch, wide = carve(workspace, needed)
        (source,) = dense.arrays(calls, inputs[:1], scratch)
        places = inputs[1] if ready else copied(calls, inputs[1], wide)
        if outputs[0].size:
            source, out = (
                source.reshape(outer, x.shape[p.axis], inner),
                outputs[0].reshape(outer, ids.size, inner),
            )
            calls.append(partial(np.take, source, places.reshape(-1), 1, out, "clip"))
        return sequence(calls)

    return kernel(
        bound,
        workspace=scratch_size(needed),
        cost=p.nbytes(x, ids) / BANDWIDTH,
        direct=partial(direct.gather, p, (x, ids)),
    )


class Places:
    """Turns ids of shape (outer or 1, m, inner or 1) into places in flat memory of (outer, n, inner)."""

    def __init__(self, ids: Shape, outer: int, n: int, inner: int) -> None:
        self.ids, self.n, self.inner = ids, n, inner
        self.space = (outer, ids[1], inner)
        block = TensorType((min(BLOCK, math.prod(self.space)),), int64)
        self.scratch = [TensorType(ids, int64), block, block]

    def blocks(
        self, calls: list[Call], ids: np.ndarray, scratch: Sequence[np.ndarray]
    ) -> Iterator[tuple[tuple[slice, ...], np.ndarray]]:
        """Each block's index into (outer, m, inner) and its places, after calls to compute them are added.

        What repeats is written out by copies: a ufunc would allocate buffers for it.
        """
        starts, place, offset = scratch
        outer, _, inner = self.space
        calls.append(partial(np.copyto, starts, ids.reshape(self.ids)))
        calls.append(partial(np.maximum, starts, 0, out=starts))
        calls.append(partial(np.minimum, starts, self.n - 1, out=starts))
        calls.append(partial(np.multiply, starts, inner, starts))
        start = np.broadcast_to(starts, self.space)
        offsets: list[np.ndarray] = [np.arange(inner)] if inner > 1 else []
        offsets += [np.arange(outer).reshape(outer, 1, 1) * (self.n * inner)] if outer > 1 else []
        spread = [np.broadcast_to(a, self.space) for a in offsets]
        for index in block_slices(self.space):
            shape = start[index].shape
            p, o = (a[: math.prod(shape)] for a in (place, offset))
            calls.append(partial(np.copyto, p.reshape(shape), start[index]))
            for a in spread:
                calls += [partial(np.copyto, o.reshape(shape), a[index]), partial(np.add, p, o, p)]
            yield index, p


def _scatter(
    p: ScatterRows | ScatterAdd | ScatterAlong,
    operands: Sequence[Operand],
    places: Places,
    begin: Callable[[Sequence[Any], Any], Call],
    reuse: tuple[tuple[int, int], ...] = (),
) -> Offer:
    """Adds the last operand at the ids of the last but one, to what the call ``begin`` puts in the output."""
    dense = Dense(operands[-2:])
    needed = [*places.scratch, *dense.scratch]

    def bound(inputs: Sequence[Any], outputs: Sequence[Any], workspace: Any) -> Call:
        calls = [begin(inputs, outputs[0])]
        scratch = carve(workspace, needed)
        ids, g = dense.arrays(calls, inputs[-2:], scratch[3:])
        flat, values = outputs[0].reshape(-1), g.reshape(places.space)
        for index, place in places.blocks(calls, ids, scratch[:3]):
            calls.append(partial(np.add.at, flat, place, values[index].reshape(-1)))
        return sequence(calls)

    cost = p.nbytes(*(o.type for o in operands)) / BANDWIDTH + operands[-1].type.size * ADD_AT
    return kernel(bound, reuse=reuse, workspace=scratch_size(needed), cost=cost)


def _zeros(inputs: Sequence[Any], out: np.ndarray) -> Call:
    return partial(out.fill, 0)


def _copied(inputs: Sequence[Any], out: np.ndarray) -> Call:
    return partial(np.copyto, out, inputs[0])


@offers(ScatterRows)
def scatter_rows(p: ScatterRows, operands: Sequence[Operand]) -> Offer:
    ids = operands[0].type
    (out,) = p.infer(*(o.type for o in operands))
    outer, inner = outer_inner(out.shape, p.axis)
    return _scatter(p, operands, Places((1, ids.size, 1), outer, p.size, inner), _zeros)


@offers(ScatterAdd)
def scatter_add(p: ScatterAdd, operands: Sequence[Operand]) -> Offer:
    x, ids = operands[0].type, operands[1].type
    outer, inner = outer_inner(x.shape, p.axis)
    places = Places((1, ids.size, 1), outer, x.shape[p.axis], inner)
    return _scatter(p, operands, places, _copied, ((0, 0),))


@offers(ScatterAlong)
def scatter_along(p: ScatterAlong, operands: Sequence[Operand]) -> Offer:
    shape = operands[0].type.shape
    outer, inner = outer_inner(shape, p.axis)
    return _scatter(p, operands, Places((outer, shape[p.axis], inner), outer, p.size, inner), _zeros)


@offers(TakeAlong)
def take_along(p: TakeAlong, operands: Sequence[Operand]) -> Offer:
    x, ids = (o.type for o in operands)
    outer, inner = outer_inner(ids.shape, p.axis)
    places = Places((outer, ids.shape[p.axis], inner), outer, x.shape[p.axis], inner)
    dense = Dense(operands)
    needed = [*places.scratch, *dense.scratch]

    def bound(inputs: Sequence[Any], outputs: Sequence[Any], workspace: Any) -> Call:
        calls: list[Call] = []
        scratch = carve(workspace, needed)
        source, at = dense.arrays(calls, inputs, scratch[3:])
        flat, out = source.reshape(-1), outputs[0].reshape(places.space)
        for index, place in places.blocks(calls, at, scratch[:3]):
            calls.append(partial(np.take, flat, place, 0, out[index].reshape(-1), "clip"))
        return sequence(calls)

    return kernel(bound, workspace=scratch_size(needed), cost=2 * p.nbytes(x, ids) / BANDWIDTH)


@offers(Concatenate)
def concatenate(p: Concatenate, operands: Sequence[Operand]) -> Offer:
    types = [o.type for o in operands]

    def bound(inputs: Sequence[Any], outputs: Sequence[Any], workspace: Any) -> Call:
        calls, start = [], 0
        for part in inputs:
            end = start + part.shape[p.axis]
            index = (slice(None),) * p.axis + (slice(start, end),)
            calls.append(partial(np.copyto, outputs[0][index], part))
            start = end
        return sequence(calls)

    return kernel(
        bound,
        strided_outputs=True,
        cost=p.nbytes(*types) / BANDWIDTH,
        direct=partial(direct.concatenate, p, types),
    )


@offers(Pad)
def pad(p: Pad, operands: Sequence[Operand]) -> Offer:
    x = operands[0].type
    (result,) = p.infer(x)
    source, target = [], []
    for n, low, size, gap in zip(x.shape, p.low, result.shape, p.interior):
        step = gap + 1  # element i comes to low + i step, if that is inside
        first = min(n, max(0, -(low // step)))
        end = max(first, min(n, (size - low + step - 1) // step))
        source.append(slice(first, end))
        target.append(slice(low + first * step, low + end * step, step) if end > first else slice(0, 0))
    of_x, of_y = (*source, ...), (*target, ...)  # with the dots a 0-d array stays an array

    def bound(inputs: Sequence[Any], outputs: Sequence[Any], workspace: Any) -> Call:
        inside, kept = outputs[0][of_y], inputs[0][of_x]
        calls = [partial(outputs[0].fill, p.value.value)] if inside.size < result.size else []
        return sequence([*calls, partial(np.copyto, inside, kept)])

    return kernel(bound, strided_outputs=True, cost=(x.nbytes + 2 * result.nbytes) / BANDWIDTH)


@offers(OneHot)
def one_hot(p: OneHot, operands: Sequence[Operand]) -> Offer:
    ids = operands[0].type
    (result,) = p.infer(ids)
    space = (ids.size, p.classes)
    needed = [TensorType(ids.shape, int64)]
    needed += [TensorType((min(BLOCK, result.size),), d) for d in (int64, int64, bool_)]

    def bound(inputs: Sequence[Any], outputs: Sequence[Any], workspace: Any) -> Call:
        wide, *blocks = carve(workspace, needed)
        calls: list[Call] = [partial(np.copyto, wide, inputs[0], "unsafe")]
        rows, classes = (
            np.broadcast_to(wide.reshape(-1, 1), space),
            np.broadcast_to(np.arange(p.classes), space),
        )
        out = outputs[0].reshape(space)
        for index in block_slices(space):
            target = out[index]
            a, b, mask = (block[: target.size].reshape(target.shape) for block in blocks)
            calls += [partial(np.copyto, a, rows[index]), partial(np.copyto, b, classes[index])]
            calls += [partial(np.equal, a, b, mask), partial(np.copyto, target, mask)]
        return sequence(calls)

    return kernel(bound, workspace=scratch_size(needed), cost=4 * p.nbytes(ids) / BANDWIDTH)


TAKEN = np.iinfo(np.int64).min  # below every key
NAN = np.iinfo(np.int64).max - 1  # above the key of infinity; its complement is above TAKEN


def ordered_keys(
    x: np.ndarray, largest: bool, keys: np.ndarray, signs: np.ndarray, nan: np.ndarray
) -> list[Call]:
    """Calls that fill int64 ``keys`` so that they are ordered as the numbers in ``x``, or in reverse.

    The bits of a float64, read as an integer, are in order for positive numbers, in reverse for negative.
    """
    bits = keys.view(np.float64)
    calls: list[Call] = [partial(np.copyto, bits, x)]
    calls.append(partial(np.add, bits, 0.0, bits))  # -0 becomes 0
    calls.append(partial(np.not_equal, bits, bits, nan))
    calls.append(partial(np.right_shift, keys, 63, signs))
    calls.append(partial(np.bitwise_and, signs, np.iinfo(np.int64).max, signs))
    calls.append(partial(np.bitwise_xor, keys, signs, keys))
    calls.append(partial(np.copyto, keys, NAN, "same_kind", nan))
    return calls if largest else [*calls, partial(np.invert, keys, keys)]


FEW = 8  # up to so many best are found one by one; for more all is sorted


def sort_keys(keys: np.ndarray, block: np.ndarray, values: np.ndarray, ids: np.ndarray) -> None:
    """The best of each row of ``block``, by its ``keys``, which are overwritten; results (k, rows)."""
    np.invert(keys, keys)  # ascending, so that equals keep their order
    order = np.argsort(keys, -1, kind="stable")[:, : len(ids)]
    np.copyto(ids, order.T)
    np.copyto(values, np.take_along_axis(block, order, -1).T)


@offers(TopK)
def top_k(p: TopK, operands: Sequence[Operand]) -> Offer:
    x = operands[0].type
    n = x.shape[-1]
    count = x.size // max(n, 1)
    rows = max(1, min(count, BLOCK // max(n, 1)))
    dense = Dense(operands)
    best = TensorType((p.k, rows), x.dtype), TensorType((p.k, rows), int64)
    square = [TensorType((rows, n), d) for d in (int64, int64, bool_)]
    needed = [*square, *best, TensorType((rows,), int64), *dense.scratch]

    def bound(inputs: Sequence[Any], outputs: Sequence[Any], workspace: Any) -> Call:
        calls: list[Call] = []
        keys, signs, nan, values, ids, flat, *scratch = carve(workspace, needed)
        (source,) = dense.arrays(calls, inputs, scratch)
        source = source.reshape(count, n)
        for start in range(0, count if p.k else 0, rows):
            block = source[start : start + rows]
            r = len(block)
            calls += ordered_keys(block, p.largest, keys[:r], signs[:r], nan[:r])
            if p.k > FEW:
                calls.append(partial(sort_keys, keys[:r], block, values[:, :r], ids[:, :r]))
            for value, place in zip(values[:, :r], ids[:, :r]) if p.k <= FEW else ():
                calls.append(partial(np.argmax, keys[:r], -1, place))
                calls.append(partial(np.add, place, np.arange(0, r * n, n), flat[:r]))
                calls.append(partial(np.take, block.reshape(-1), flat[:r], 0, value, "clip"))
                calls.append(partial(np.put, keys[:r].reshape(-1), flat[:r], TAKEN))
            for out, found in zip(outputs, (values, ids)):
                if out is not None:
                    calls.append(
                        partial(np.copyto, out.reshape(count, p.k)[start : start + r], found[:, :r].T)
                    )
        return sequence(calls)

    return kernel(bound, workspace=scratch_size(needed), cost=(10 + min(p.k, 2 * FEW)) * x.nbytes / BANDWIDTH)


@offers(Cumsum)
def cumsum(p: Cumsum, operands: Sequence[Operand]) -> Offer:
    x = operands[0].type
    (result,) = p.infer(x)
    casts = result.dtype is not x.dtype

    def bound(inputs: Sequence[Any], outputs: Sequence[Any], workspace: Any) -> Call:
        source, out = inputs[0], outputs[0]
        calls: list[Call] = [partial(np.copyto, out, source, "unsafe")] if casts else []
        source = out if casts else source
        if p.reverse:
            source, out = np.flip(source, p.axis), np.flip(out, p.axis)
        calls.append(partial(np.add.accumulate, source, p.axis, None, out))
        return sequence(calls)

    return kernel(
        bound,
        reuse=() if casts else ((0, 0),),
        cost=p.nbytes(x) / BANDWIDTH,
        direct=partial(direct.cumsum, p, (x,)),
    )
