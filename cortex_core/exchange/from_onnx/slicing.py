"""Parts of values, rows of tables, and margins."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from cortex_core.exchange.build import Unfit
from cortex_core.exchange.from_onnx.arithmetic import MOST_PLACES
from cortex_core.exchange.from_onnx.at import At
from cortex_core.exchange.from_onnx.layers import joined
from cortex_core.exchange.from_onnx.operators import operator
from cortex_core.exchange.from_onnx.value import Known, Mixed, Value, shown

ENDLESS = 2**31 - 1
"""Where exporters say that a part ends where the axis does."""
MODES = {"reflect": "reflect", "edge": "replicate"}


def along(at: At, x: Value, axis: int) -> tuple[Value, int]:
    """The value and where an axis of ONNX is here."""
    if x.order[axis] == 0:
        raise Mixed(f"a part of {shown(x)} along axis {axis}: the examples stay apart here")
    lying = at.lay(x, [*x.lying, axis]) if x.order[axis] is None else x
    return lying, lying.order[axis] or 0


def part_of(
    at: At, x: Value, axis: int, start: int, stop: int | None, step: int = 1, part: str = ""
) -> Value:
    """x[start:stop:step] along an axis, as Python has it; no layer where that is all of it."""
    size = x.sizes[axis]
    whole = isinstance(size, int) and range(size)[start:stop:step] == range(size)
    everything = (start, step) == (0, 1) and (stop is None or stop >= ENDLESS)
    if whole or everything:
        return x
    lying, here = along(at, x, axis)
    return at.put("slice", lying, part=part, axis=here, start=start, stop=stop, step=step)


@operator("Slice", since=(1, 10, 11, 13))
def slice_(at: At) -> Value:
    x = at.value()
    starts, stops = at.whole_numbers("starts", 1), at.whole_numbers("ends", 2)
    axes = at.whole_numbers("axes", 3, [*range(len(starts))])
    steps = [int(n) for n in at.constant(4)] if at.has(4) else [1] * len(starts)
    for number, (start, stop, axis, step) in enumerate(zip(starts, stops, axes, steps), 1):
        place = x.axis(axis)
        size = x.sizes[place]
        if isinstance(size, int):
            start, stop = _clamped(start, size, step), _clamped(stop, size, step)
        before = stop == -1 if isinstance(size, int) else stop <= -ENDLESS
        end = None if step < 0 and before else stop
        x = part_of(at, x, place, start, end, step, "" if number == len(starts) else f"part_{number}")
    return x


def _clamped(place: int, size: int, step: int) -> int:
    """Where a part begins or ends, counted from the first; going backwards -1 is before the first."""
    place = place + size if place < 0 else place
    return min(max(place, 0), size) if step > 0 else min(max(place, -1), size - 1)


@operator("Split", since=(2, 11, 13, 18))
def split(at: At) -> list[Value]:
    x = at.value()
    axis, count = x.axis(at.attribute("axis", 0)), len(at.node.outputs)
    at.attribute("num_outputs", count)
    size = x.sizes[axis]
    sizes = at.whole_numbers("split", 1, [])
    if not sizes:
        if not isinstance(size, int):
            raise Unfit(f"{shown(x)} along axis {axis}, whose size is not known")
        each = -(-size // count)
        sizes = [min(each, size - i * each) for i in range(count)]
    if len(sizes) != count or any(n < 1 for n in sizes) or (isinstance(size, int) and sum(sizes) != size):
        raise Unfit(f"{shown(x)} along axis {axis} into parts of {sizes}; expected {count} of at least 1")
    starts = np.cumsum([0, *sizes])
    return [
        part_of(at, x, axis, int(a), int(b), part=f"{i}" if i else "")
        for i, (a, b) in enumerate(pairwise(starts))
    ]


@operator("Gather", since=(1, 11, 13))
def gather(at: At) -> Value:
    """Places of a value that are constant; or rows of a constant table, which is an embedding."""
    x, places = at.any(0), at.any(1)
    if isinstance(x, Known):
        return _embedded(at, at.value(1))
    if isinstance(places, Value):
        raise Unfit("places that the model computes are supported of a constant table alone")
    axis, index = x.axis(at.attribute("axis", 0)), at.constant(1)
    lying, here = along(at, x, axis)
    if index.ndim == 0:
        order = tuple(a and a - (a > here) for i, a in enumerate(lying.order) if i != axis)
        return at.put("select", lying, axis=here, index=int(index), order=order)
    if index.size > MOST_PLACES:
        raise Unfit(f"it gathers {index.size:,} places; at most {MOST_PLACES:,} are supported")
    found = at.put("take", lying, axis=here, indices=[int(n) for n in index.reshape(-1)])
    return found if index.ndim == 1 else _parted(at, found, axis, index.shape)


def _parted(at: At, x: Value, axis: int, sizes: Sequence[int]) -> Value:
    """The value with several axes in the place of one."""
    here = x.order[axis] or 0
    more = len(sizes) - 1
    moved = [a + more if a and a > here else a for a in x.order]
    order = (*moved[:axis], *range(here, here + len(sizes)), *moved[axis + 1 :])
    return at.reshape(x, [*x.shape[: here - 1], *sizes, *x.shape[here:]], order, "shape")


def _embedded(at: At, x: Value) -> Value:
    """Rows of a table along its first axis."""
    table = at.weights(0)
    axis = at.attribute("axis", 0)
    if axis != 0 or table.ndim < 1 or x.dtype != "int64":
        raise Unfit(f"rows along axis {axis} of a table {[*table.shape]}; supported is the axis 0")
    rows = table.reshape(len(table), -1)
    order = (*x.order, len(x.shape) + 1)
    tokens, units = rows.shape
    y = at.put("embedding", x, weights={"table": rows}, order=order, tokens=tokens, units=units)
    if table.ndim == 2:
        return y
    inner = range(len(x.shape) + 1, len(x.shape) + table.ndim)
    return at.reshape(y, [*x.shape, *table.shape[1:]], (*x.order, *inner), "shape")


@operator("Pad", since=(2, 11, 13, 18, 19, 21, 23, 24, 25))
def pad(at: At) -> Value:
    """Margins along any axes but that of the examples; those below 0 cut."""
    x, mode = at.value(), at.expect("mode", "constant", "reflect", "edge")
    pads = at.whole_numbers("pads", 1)
    value = at.attribute("value", 0.0) if at.version < 11 else at.number(2, 0)
    axes = [int(a) for a in at.constant(3)] if at.has(3) else [*range(x.rank)]
    if len(pads) != 2 * len(axes):
        raise Unfit(f"pads are {pads!r:.60} of {len(axes)} axes; expected two for each")
    if mode == "constant" and value and not np.isfinite(value):
        raise Unfit(f"a margin of {value:g} is not supported")
    shifted = bool(mode == "constant" and value)
    x = at.put("scale", x, part="shifted", offset=-value) if shifted else x
    for number, axis in enumerate(axes):
        x = margin(at, x, x.axis(axis), pads[number], pads[len(axes) + number], mode)
    return at.put("scale", x, offset=value) if shifted else x


def margin(at: At, x: Value, axis: int, before: int, behind: int, mode: str = "constant") -> Value:
    """More before and behind along one axis, or less where that is below 0."""
    if before < 0 or behind < 0:
        x = part_of(at, x, axis, max(0, -before), behind if behind < 0 else None, part=f"cut_{axis}")
    before, behind = max(0, before), max(0, behind)
    if not before and not behind:
        return x
    lying, here = along(at, x, axis)
    lead, size, rest = lying.shape[: here - 1], lying.shape[here - 1], lying.shape[here:]
    flat = at.reshape(lying, [joined(lead), size, joined(rest)], (0, 1, 2, 3), f"flat_{axis}")
    pairs = [[0, 0], [before, behind]]
    y = at.put("padding2d", flat, part=f"{axis}", padding=pairs, mode=MODES.get(mode))
    made = [*lead, None if size is None else size + before + behind, *rest]
    return at.reshape(y, made, lying.order, f"axes_{axis}")
