"""Functions that repeat elements, shift them, take some of them apart, or put margins around them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

from cortex_core.exchange.build import Unfit
from cortex_core.exchange.keras.arithmetic import Operation, array, number, operation, place, valued
from cortex_core.exchange.keras.at import translates
from cortex_core.exchange.keras.core import free
from cortex_core.exchange.keras.functions import of_keras
from cortex_core.exchange.keras.value import Value

MOST = 256
"""How many results a function may have: each is a layer here, and a file of few bytes asks for any number."""


def whole(found: Operation, what: str, given: Any, least: int) -> int:
    """A whole number of at least ``least``, as it is told.  Raises `Unfit` for others."""
    if type(given) is not int or given < least:
        raise Unfit(f"{found.name}: {what} is {given!r:.40}; expected a whole number of at least {least}")
    return given


@operation("tile")
def tile(found: Operation) -> Value:
    """All along an axis again and again."""
    x, told = valued(found, "repeats", "multiples")
    times = [*told] if isinstance(told, (list, tuple)) else [told]
    rank = len(x.shape) + 1
    times = [1] * (rank - len(times)) + times
    if len(times) != rank or times[0] != 1:
        raise Unfit(f"tile by {told!r:.60} of {[*x.shape]}: the examples of a batch stay as many here")
    for axis, n in enumerate(times):
        x = _repeated(found, x, axis, n, together=True)
    return x


@operation("repeat")
def repeat(found: Operation) -> Value:
    """Each place along an axis again and again."""
    x, times = valued(found, "repeats")
    told = times[0] if isinstance(times, (list, tuple)) and len(times) == 1 else times
    return _repeated(found, x, place(found.option("axis"), len(x.shape) + 1), told, together=False)


@operation("broadcastto")
def broadcast(found: Operation) -> Value:
    x, shape = valued(found, "shape")
    told = [*(shape or ())]
    if len(told) != len(x.shape) + 1:
        raise Unfit(f"{[*x.shape]} as large as {shape!r:.60}: supported is the same number of axes")
    for axis, (n, m) in enumerate(zip(x.shape, told[1:]), 1):
        if m not in (n, -1, None):
            if n != 1:
                raise Unfit(f"{[*x.shape]} as large as {shape!r:.60}: axis {axis} has not the size 1")
            x = _repeated(found, x, axis, m, together=True)
    return x


def _repeated(found: Operation, x: Value, axis: int, times: Any, together: bool) -> Value:
    """All of an axis so many times, or each of its places: as a further axis, that joins it then."""
    if whole(found, "how often", times, 1) == 1:
        return x
    at, rank, size = found.at, len(x.shape), x.shape[axis - 1]
    y = at.put("repeat_vector", x, part=f"times_{axis}", times=times)
    before = axis - 1 if together else axis
    if before:
        order = [*range(2, before + 2), 1, *range(before + 2, rank + 2)]
        y = at.put("permute", y, part=f"axis_{axis}", axes=order)
    sizes = [*x.shape[: axis - 1], None if size is None else size * times, *x.shape[axis:]]
    return at.put("reshape", y, part=f"joined_{axis}", shape=free(sizes))


@operation("roll")
def roll(found: Operation) -> Value:
    """What leaves at one end comes in at the other."""
    x, shift = valued(found, "shift")
    axis = found.option("axis")
    shifts, axes = ([*n] if isinstance(n, (list, tuple)) else [n] for n in (shift, axis))
    if len(shifts) != len(axes):
        raise Unfit(f"roll by {shift!r:.40} along {axis!r:.40}: expected as many axes")
    for i, (n, a) in enumerate(zip(shifts, axes)):
        along = place(a, len(x.shape) + 1)
        size = x.shape[along - 1]
        if size is None or type(n) is not int:
            raise Unfit(f"roll by {n!r:.40} of {[*x.shape]}: supported is a whole number, of a known size")
        if n % size:
            last = found.at.put("slice", x, part=f"last_{i}", axis=along, start=size - n % size)
            others = found.at.put("slice", x, part=f"others_{i}", axis=along, stop=size - n % size)
            x = found.at.put("concatenate", [last, others], part=f"roll_{i}", axis=along)
    return x


@operation("take", "gather", "gatherv2")
def take(found: Operation) -> Value:
    """Places of an axis that are known: one, or several in their order."""
    x, told = valued(found, "indices")
    rank = len(x.shape) + 1
    axis, places = place(found.option("axis"), rank), array(told)
    if found.option("batch_dims", default=0) != 0:
        raise Unfit(f"{found.name} of other places for each example is not supported")
    size = x.shape[axis - 1]
    if places.dtype.kind != "i" or places.ndim > 1 or not places.size:
        raise Unfit(f"{found.name} of the places {told!r:.60} is not supported: one is, or a list")
    if not places.ndim:
        return found.at.put("select", x, axis=axis, index=int(places))
    if size is None:
        raise Unfit(f"{found.name} of {[*x.shape]} along an axis of any length is not supported")
    return found.at.put("take", x, axis=axis, indices=places.tolist())


@operation("split", "splitv")
def split(found: Operation) -> list[Value]:
    """In so many equal parts; at places in Keras 3, in parts of given sizes in TensorFlow."""
    x, told = valued(found, "indices_or_sections", "num_or_size_splits", "num_split")
    found.option("num")
    axis = place(found.option("axis", "split_dim", default=0), len(x.shape) + 1)
    size = x.shape[axis - 1]
    if size is None:
        raise Unfit(f"split of {[*x.shape]} along an axis of any length is not supported")
    ends = _ends(told, size, found)
    _check_count(found, len(ends))
    return [
        found.at.put("slice", x, part=f"part_{i}", axis=axis, start=start, stop=stop)
        for i, (start, stop) in enumerate(zip([0, *ends], ends), 1)
    ]


def _check_count(found: Operation, count: int) -> None:
    if count > MOST:
        raise Unfit(f"{found.name} into {count} values is not supported: {MOST} are, or parts of the value")


def _ends(told: Any, size: int, found: Operation) -> list[int]:
    """Where each part ends."""
    ends: list[int] = []
    if isinstance(told, (list, tuple)):
        if all(type(n) is int for n in told):
            ends = [*told, size] if found.at.version >= (3,) else _ends_of_sizes(told, size)
    elif type(told) is int and 0 < told <= size and size % told == 0:
        ends = [*range(size // told, size + 1, size // told)]
    if not ends or ends[-1] != size or any(a >= b for a, b in zip([0, *ends], ends)):
        raise Unfit(f"{found.name} by {told!r:.60} of an axis of {size} is not supported: parts of it are")
    return ends


def _ends_of_sizes(told: Sequence[int], size: int) -> list[int]:
    """A size of -1 is what the others leave."""
    left = size - sum(n for n in told if n != -1)
    return [*accumulate(left if n == -1 else n for n in told)]


@operation("unstack", "unpack")
def unstack(found: Operation) -> list[Value]:
    x = found.at.plain(found.value())
    axis, count = place(found.option("axis", default=0), len(x.shape) + 1), found.option("num")
    size = x.shape[axis - 1]
    if size is None or count not in (None, size):
        raise Unfit(
            f"unstack of {[*x.shape]} into {count or 'all'}: all places of a known size are supported"
        )
    _check_count(found, size)
    return [found.at.put("select", x, part=f"place_{i}", axis=axis, index=i) for i in range(size)]


MODES = {"constant": "zero", "reflect": "reflect", "edge": "replicate"}


@operation("pad", "padv2", "mirrorpad")
def pad(found: Operation) -> Value:
    """Margins around an example."""
    x, told = valued(found, "pad_width", "paddings")
    mode = MODES.get(str(found.option("mode", default="constant")).lower())
    if mode is None or float(number(found.option("constant_values", default=0))):
        raise Unfit(f"pad is supported with zeros, and in the modes {', '.join(MODES)}")
    margins = array(told).tolist()
    if array(told).dtype.kind != "i" or array(told).shape != (len(x.shape) + 1, 2) or any(margins[0]):
        raise Unfit(
            f"margins {told!r:.60} of {[*x.shape]}: a pair for each axis is supported, [0, 0] of examples"
        )
    return _padded(found, x, margins[1:], mode)


def _padded(found: Operation, x: Value, margins: Sequence[Sequence[int]], mode: str) -> Value:
    """Margins of a line, a picture or a volume; around its channels too, as those of one channel."""
    channels = any(margins[-1])
    rank = len(x.shape) - (not channels)
    if not 1 <= rank <= 3:
        raise Unfit(f"margins of {[*x.shape]} are not supported: up to three axes are")
    if not channels:
        return found.at.put(f"padding{rank}d", x, padding=margins[:-1], mode=mode)
    y = found.at.put("reshape", x, part="of_one_channel", shape=[*free(x.shape), 1])
    y = found.at.put(f"padding{rank}d", y, part="margins", padding=margins, mode=mode)
    return found.at.put("reshape", y, shape=free(y.shape[:-1]))


@operation("depthtospace", "spacetodepth")
def blocks(found: Operation) -> Value:
    """Channels that become squares of pixels, or the other way."""
    x, told = valued(found, "block_size")
    n, sizes = whole(found, "block_size", told, 1), [size for size in x.shape if size is not None]
    if found.option("data_format", default="NHWC") != "NHWC" or len(x.shape) != 3 or len(sizes) != 3:
        raise Unfit(f"{found.name} of {[*x.shape]} is supported of pictures of a known size, channels last")
    high, wide, channels = sizes
    if found.name == "depthtospace":
        inner, shape = [high, wide, n, n, channels // n**2], [high * n, wide * n, channels // n**2]
    else:
        inner, shape = [high // n, n, wide // n, n, channels], [high // n, wide // n, channels * n**2]
    if math.prod(inner) != math.prod(sizes):
        raise Unfit(f"{found.name} of {sizes} by {n} leaves something over")
    y = found.at.put("reshape", x, part="blocks", shape=inner)
    y = found.at.put("permute", y, part="turned", axes=[1, 3, 2, 4, 5])
    return found.at.put("reshape", y, shape=shape)


NAMES = ("Tile", "Repeat", "BroadcastTo", "Roll", "Take", "Split", "Unstack", "Pad")
translates(*(f"ops.{name}" for name in NAMES))(of_keras)
