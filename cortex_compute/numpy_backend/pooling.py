"""Pooling, tap after tap: element k of all windows at once is a strided view of x.

Which element won a window is kept as the residual, a small integer for each element of y.  A gradient goes to
the winner alone: its bits are multiplied by 0 or 1, so that an infinite or NaN gradient does not spread.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial, reduce
from typing import Any, NamedTuple

import numpy as np

from cortex_compute.numpy_backend.backend import kernel, offers
from cortex_compute.numpy_backend.elementwise import BANDWIDTH, sequence
from cortex_compute.numpy_backend.memory import carve, scratch_size
from cortex_compute.numpy_backend.windows import Call, Index, taps, tiles
from cortex_compute.primitives.pooling import (
    Averaging,
    AvgPool,
    AvgPoolGrad,
    MaxPool,
    MaxPoolGrad,
    MaxPoolPick,
    Pooling,
)
from cortex_compute.protocol import Offer, Operand
from cortex_compute.types import DType, TensorType, bool_, int16, int32, int64, uint8, uint16, uint32

TILE = 1 << 18  # bytes of x: with y and the winners they stay in a second-level cache over all taps
BITS = {2: int16, 4: int32, 8: int64}

Tile = tuple[slice, slice]


class Tap(NamedTuple):
    """Element ``number`` of the windows: which of a tile's windows have it, and where it lies in x."""

    number: int
    windows: Index
    elements: Index


class Windows:
    """The windows of one pooling, in tiles."""

    def __init__(self, p: Pooling, x: TensorType, y: TensorType) -> None:
        self.counts = y.shape[1:-1]
        self.channels = y.shape[-1]
        self.geometry = p.size, p.stride, (1,) * len(p.size), p.padding, x.shape[1:-1], self.counts
        self.tiles = tiles(y.shape[0], y.shape[1], x.nbytes // max(1, y.shape[0] * y.shape[1]), TILE)
        self.disjoint = all(s >= k for k, s in zip(p.size, p.stride))
        spans = zip(x.shape[1:-1], self.counts, p.size, p.stride, p.padding)
        self.covering = all(
            s <= k and (count - 1) * s + k - before >= n for n, count, k, s, (before, _) in spans
        )

    def shape(self, tile: Tile) -> tuple[int, ...]:
        """The shape of the part of y that a tile makes."""
        images, rows = (s.stop - s.start for s in tile)
        return (images, rows, *self.counts[1:], self.channels)

    def scratch(self, *dtypes: DType) -> list[TensorType]:
        """The types of one array for each data type, over the windows of the largest tile."""
        size = math.prod(self.shape(self.tiles[0])) if self.tiles else 0
        return [TensorType((size,), d) for d in dtypes]

    def taps(self, tile: Tile) -> list[Tap]:
        """The taps of a tile's windows, without those that no window has."""
        places = enumerate(taps(*self.geometry, tile[1]))
        whole = (slice(None),)
        return [
            Tap(k, whole + here, whole + there)
            for k, (here, there) in places
            if all(s.start < s.stop for s in here)
        ]


def _piece(scratch: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    return scratch[: math.prod(shape)].reshape(shape)


def _cost(p: Pooling, x: TensorType) -> float:
    return math.prod(p.size) * x.nbytes / BANDWIDTH


# The maximum.


def _number(p: Pooling) -> DType:
    """The smallest data type that numbers the elements of a window."""
    count = math.prod(p.size)
    return uint8 if count <= 1 << 8 else uint16 if count <= 1 << 16 else uint32


def _winners(p: Pooling, residual: np.ndarray, y: TensorType) -> np.ndarray:
    return residual.view(_number(p).storage).reshape(y.shape)


@offers(MaxPool)
def max_pool(p: MaxPool, operands: Sequence[Operand]) -> Offer:
    x = operands[0].type
    y = p.infer(x)[0]
    windows = Windows(p, x, y)
    scratch = windows.scratch(y.dtype, bool_, _number(p))

    def bound(inputs: Sequence[Any], outputs: Sequence[Any], workspace: Any) -> Callable[[], None]:
        spare, *flags = carve(workspace, scratch)
        winners = None if outputs[1] is None else _winners(p, outputs[1], y)
        calls: list[Call] = []
        for tile in windows.tiles:
            best = _piece(spare, windows.shape(tile)) if outputs[0] is None else outputs[0][tile]
            won = None if winners is None else winners[tile]
            calls += _compete(windows.taps(tile), inputs[0][tile[0]], best, won, flags)
        return sequence(calls)

    residual = y.size * _number(p).itemsize
    return kernel(bound, residual=residual, workspace=scratch_size(scratch), cost=_cost(p, x))


def _compete(
    each: Sequence[Tap],
    source: np.ndarray,
    best: np.ndarray,
    winners: np.ndarray | None,
    scratch: Sequence[np.ndarray],
) -> list[Call]:
    """The calls for one tile: the maxima of its windows and, if wanted, which elements they are."""
    first, *others = each
    if best[first.windows].size == best.size:
        calls: list[Call] = [partial(np.copyto, best, source[first.elements])]
        seeds = [first]
    else:
        calls = [partial(best.fill, -np.inf)]
        seeds = others = list(each)
    if winners is not None:  # a window of -inf alone is won by its first element, not by the padding before
        calls += [partial(winners[tap.windows].fill, tap.number) for tap in reversed(seeds)]
    for tap in others:
        element, so_far = source[tap.elements], best[tap.windows]
        if winners is not None:
            winner = winners[tap.windows]
            flag, number = (_piece(a, winner.shape) for a in scratch)
            calls.append(partial(np.greater, element, so_far, flag))
            calls.append(partial(np.copyto, number, flag))
            calls.append(partial(np.multiply, number, number.dtype.type(tap.number), number))
            calls.append(partial(np.maximum, winner, number, out=winner))
        calls.append(partial(np.maximum, so_far, element, out=so_far))
    return calls


def _chosen(
    windows: Windows, tile: Tile, winners: np.ndarray, scratch: Sequence[np.ndarray]
) -> Iterator[tuple[Tap, list[Call], np.ndarray]]:
    """For each tap of a tile: calls that leave 1 where it won and 0 elsewhere, and the integers they fill."""
    for tap in windows.taps(tile):
        winner = winners[tile][tap.windows]
        flag, chosen = (_piece(a, winner.shape) for a in scratch)
        compare = partial(np.equal, winner, winner.dtype.type(tap.number), flag)
        yield tap, [compare, partial(np.copyto, chosen, flag)], chosen


@offers(MaxPoolGrad)
def max_pool_grad(p: MaxPoolGrad, operands: Sequence[Operand]) -> Offer:
    x, y = operands[0].type, operands[1].type
    windows, integer = Windows(p, x, y), BITS[x.dtype.itemsize]
    scratch = windows.scratch(bool_, integer)

    def bound(inputs: Sequence[Any], outputs: Sequence[Any], workspace: Any) -> Callable[[], None]:
        pieces, winners = carve(workspace, scratch), _winners(p, inputs[2], y)
        g, dx = inputs[3].view(integer.storage), outputs[0].view(integer.storage)
        calls: list[Call] = [] if windows.disjoint and windows.covering else [partial(dx.fill, 0)]
        for tile in windows.tiles:
            for tap, choose, chosen in _chosen(windows, tile, winners, pieces):
                target = dx[tile[0]][tap.elements]
                part = target if windows.disjoint else chosen
                calls += [*choose, partial(np.multiply, chosen, g[tile][tap.windows], part)]
                if not windows.disjoint:
                    total = target.view(x.dtype.storage)
                    calls.append(partial(np.add, total, part.view(x.dtype.storage), total))
        return sequence(calls)

    return kernel(bound, reads=frozenset((2, 3)), workspace=scratch_size(scratch), cost=_cost(p, x))


@offers(MaxPoolPick)
def max_pool_pick(p: MaxPoolPick, operands: Sequence[Operand]) -> Offer:
    x, y = operands[0].type, operands[1].type
    windows, integer = Windows(p, x, y), BITS[x.dtype.itemsize]
    scratch = windows.scratch(bool_, integer)

    def bound(inputs: Sequence[Any], outputs: Sequence[Any], workspace: Any) -> Callable[[], None]:
        pieces, winners = carve(workspace, scratch), _winners(p, inputs[2], y)
        v, picked = inputs[3].view(integer.storage), outputs[0].view(integer.storage)
        calls: list[Call] = [partial(picked.fill, 0)]
        for tile in windows.tiles:
            for tap, choose, chosen in _chosen(windows, tile, winners, pieces):
                target = picked[tile][tap.windows]
                calls += [*choose, partial(np.multiply, chosen, v[tile[0]][tap.elements], chosen)]
                calls.append(partial(np.bitwise_or, target, chosen, target))
        return sequence(calls)

    return kernel(bound, reads=frozenset((2, 3)), workspace=scratch_size(scratch), cost=_cost(p, x))


# The mean.


def _divisors(p: Averaging, x: TensorType) -> np.ndarray:
    """What the sum of each window is divided by: (*S', 1), or one number where all are the same."""
    axes = [np.array(axis, x.dtype.storage) for axis in p.divisors(x)]
    whole = reduce(np.multiply.outer, axes)[..., None]
    return whole.ravel()[:1] if (whole == whole.flat[0]).all() else whole


def _is_whole(p: Averaging, x: TensorType) -> bool:
    """Whether there is one window, all of x."""
    return p.size == x.shape[1:-1] and not any(map(any, p.padding))


@offers(AvgPool)
def avg_pool(p: AvgPool, operands: Sequence[Operand]) -> Offer:
    x = operands[0].type
    (y,) = p.infer(x)
    if _is_whole(p, x):
        return kernel(_whole_mean, cost=(x.nbytes + y.nbytes) / BANDWIDTH)
    windows = Windows(p, x, y)

    def bound(inputs: Sequence[Any], outputs: Sequence[Any], workspace: Any) -> Callable[[], None]:
        divisors = np.broadcast_to(_divisors(p, x), y.shape)
        calls: list[Call] = []
        for tile in windows.tiles:
            total = outputs[0][tile]
            calls.append(partial(total.fill, 0))
            for tap in windows.taps(tile):
                target = total[tap.windows]
                calls.append(partial(np.add, target, inputs[0][tile[0]][tap.elements], target))
            calls.append(partial(np.divide, total, divisors[tile], total))
        return sequence(calls)

    return kernel(bound, cost=_cost(p, x))


def _whole_mean(inputs: Sequence[Any], outputs: Sequence[Any], workspace: Any) -> Callable[[], None]:
    """A sum of rows instead of one call for each element of the window, of which there are very many."""
    x, (total,) = inputs[0], outputs
    axes = tuple(range(1, x.ndim - 1))
    count = total.dtype.type(math.prod(x.shape[1:-1]))
    summed = partial(np.add.reduce, x, axis=axes, out=total, keepdims=True)
    return sequence([summed, partial(np.divide, total, count, total)])


def _whole_shares(inputs: Sequence[Any], outputs: Sequence[Any], workspace: Any) -> Callable[[], None]:
    g, (dx,) = inputs[0], outputs
    count = g.dtype.type(math.prod(dx.shape[1:-1]))
    return sequence([partial(np.divide, g, count, dx)])


@offers(AvgPoolGrad)
def avg_pool_grad(p: AvgPoolGrad, operands: Sequence[Operand]) -> Offer:
    y = operands[0].type
    (x,) = p.infer(y)
    if _is_whole(p, x):
        return kernel(_whole_shares, cost=(x.nbytes + y.nbytes) / BANDWIDTH)
    windows = Windows(p, x, y)
    scratch = windows.scratch(y.dtype)

    def bound(inputs: Sequence[Any], outputs: Sequence[Any], workspace: Any) -> Callable[[], None]:
        (shares,) = carve(workspace, scratch)
        divisors = np.broadcast_to(_divisors(p, x), y.shape)
        calls: list[Call] = [partial(outputs[0].fill, 0)]
        for tile in windows.tiles:
            share = _piece(shares, windows.shape(tile))
            calls.append(partial(np.divide, inputs[0][tile], divisors[tile], share))
            for tap in windows.taps(tile):
                target = outputs[0][tile[0]][tap.elements]
                calls.append(partial(np.add, target, share[tap.windows], target))
        return sequence(calls)

    return kernel(bound, workspace=scratch_size(scratch), cost=_cost(p, x))
