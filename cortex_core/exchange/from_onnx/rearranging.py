"""The same elements in another shape or order.  Most of it puts no layer: it is kept in mind where the axes
lie, until something needs them elsewhere."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from cortex_core.exchange.build import Unfit
from cortex_core.exchange.from_onnx.arithmetic import affine, of_example, of_one, repeated
from cortex_core.exchange.from_onnx.at import At
from cortex_core.exchange.from_onnx.layers import joined
from cortex_core.exchange.from_onnx.operators import operator
from cortex_core.exchange.from_onnx.slicing import margin
from cortex_core.exchange.from_onnx.stacked import Stacked
from cortex_core.exchange.from_onnx.value import BATCH, Known, Mixed, Value, shown

Shape = tuple[int, ...]


@operator("Transpose", since=(1, 13, 21, 23, 24, 25))
def transpose(at: At) -> Value | Stacked:
    x = at.given[0]
    x = x if isinstance(x, Stacked) else at.value()
    perm = at.attribute("perm", [*range(x.rank)][::-1])
    if sorted(perm) != [*range(x.rank)]:
        raise Unfit(f"perm is {perm!r:.60} of {x.rank} axes")
    if isinstance(x, Stacked):
        return x.transposed(perm)
    return replace(x, order=tuple(x.order[a] for a in perm))


@operator("Unsqueeze", since=(1, 11, 13, 21, 23, 24, 25))
def unsqueeze(at: At) -> Value:
    x, given = at.value(), at.whole_numbers("axes", 1)
    places = sorted(x.axis(a, room=len(given)) for a in given)
    order = [*x.order]
    for place in places:
        order.insert(place, None)
    if len({*places}) < len(places):
        raise Unfit(f"axes are {given!r:.60}; expected each once")
    return replace(x, order=tuple(order))


@operator("Squeeze", since=(1, 11, 13, 21, 23, 24, 25))
def squeeze(at: At) -> Value:
    x, given = at.value(), at.whole_numbers("axes", 1, [])
    axes = [x.axis(a) for a in given] or [a for a, n in enumerate(x.sizes) if n == 1]
    if any(x.sizes[a] != 1 for a in axes):
        raise Unfit(f"axes {axes} of {shown(x)} have not the size 1")
    kept = [a for a in x.lying if a not in axes]
    places = {axis: place for place, axis in enumerate(kept, 1)}
    order = tuple(0 if a == 0 else places.get(i) for i, a in enumerate(x.order) if i not in axes)
    return at.reshape(x, [x.shape[(x.order[a] or 0) - 1] for a in kept], order)


@operator("Flatten", since=(1, 9, 11, 13, 21, 23, 24, 25))
def flatten(at: At) -> Value:
    x, axis = at.value(), at.attribute("axis", 1)
    axis = x.axis(axis, room=1) if axis >= 0 else x.axis(axis)
    parts = [[*range(axis)], [*range(axis, x.rank)]]
    held = next((i for i, part in enumerate(parts) if x.batch in part), None)
    if held is not None and any(x.sizes[a] != 1 for a in parts[held] if a != x.batch):
        raise Mixed(f"{shown(x)} from axis {axis} on: the examples would be mixed with other axes")
    lying = at.plain(x)
    sizes = [joined([n for a in part if not isinstance(n := lying.sizes[a], type(BATCH))]) for part in parts]
    order = tuple(0 if i == held else None for i in range(2))
    places = iter(range(1, 3))
    order = tuple(next(places) if i != held else 0 for i in range(2))
    return at.reshape(lying, [n for i, n in enumerate(sizes) if i != held], order)


@operator("Reshape", since=(5, 13, 14, 19, 21, 23, 24, 25))
def reshape(at: At) -> Value | Stacked:
    given, told = at.given[0], at.any(1)
    x = given.value if isinstance(given, Stacked) else at.value()
    zero = at.attribute("allowzero", 0)
    if isinstance(told, Value):
        raise Unfit("its shape is computed by the model; a description holds it as numbers")
    variants = [[int(n) for n in array.reshape(-1)] for array in (told.one, told.other)]
    if len(variants[0]) != len(variants[1]):
        raise Unfit("the number of its axes depends on how many examples there are")
    if not zero:
        variants = [
            [_copied(x, at, v, i, n) for i, n in enumerate(sizes)] for v, sizes in enumerate(variants)
        ]
    return shaped(at, x, variants)


def _copied(x: Value, at: At, variant: int, place: int, n: int) -> int:
    """The size that a shape asks for; 0 is that of the same axis."""
    return n if n else at.concrete(x, variant)[place]


def shaped(at: At, x: Value, variants: Sequence[Sequence[int]]) -> Value | Stacked:
    """The value in a shape that is told for two sizes of the batch; one size may be -1."""
    lying = at.plain(x)
    found = _kept_apart(at, lying, variants)
    if found is not None:
        return found
    for axis, n in _stacks(at, lying, variants):
        for pair in zip(at.batches, (n, n)), zip((n, n), at.batches):
            wide = [[*v[:axis], *two, *v[axis + 1 :]] for v, two in zip(variants, pair)]
            found = _kept_apart(at, lying, wide)
            if found is not None:
                return Stacked(found, axis)
    raise Mixed(f"{shown(x)} as {[*variants[0]]} would mix the examples, or has not as many elements")


def _stacks(at: At, x: Value, variants: Sequence[Sequence[int]]) -> Iterator[tuple[int, int]]:
    """Where in the new shape an axis may be that of the examples and another one in one, and how long that
    other one is."""
    if x.batch is None:
        return
    totals = [math.prod(at.concrete(x, v)) for v in (0, 1)]
    known = [math.prod(n for n in sizes if n != -1) for sizes in variants]
    for axis, pair in enumerate(zip(*variants)):
        sizes = [t // max(k, 1) if n == -1 else n for n, t, k in zip(pair, totals, known)]
        each = [n // b for n, b in zip(sizes, at.batches)]
        if each[0] == each[1] > 1 and all(n % b == 0 for n, b in zip(sizes, at.batches)):
            yield axis, each[0]


def _kept_apart(at: At, lying: Value, variants: Sequence[Sequence[int]]) -> Value | None:
    """The value in a shape in which the examples have an axis of their own; None if it is none such."""
    befores = [at.concrete(lying, v) for v in (0, 1)]
    for place in _places(lying, variants, at.batches):
        sizes = [_fitting(b, lying.batch, s, place) for b, s in zip(befores, variants)]
        if sizes[0] is not None and sizes[1] is not None:
            made = [a if a == b else None for a, b in zip(sizes[0], sizes[1])]
            places = iter(range(1, len(made) + 1))
            order = tuple(0 if i == place else next(places) for i in range(len(variants[0])))
            return at.reshape(lying, made, order)
    return None


def _places(x: Value, variants: Sequence[Sequence[int]], batches: tuple[int, int]) -> Iterator[int | None]:
    """Where in the new shape the examples may lie: where both sizes of the batch stand, or what is left, or
    the one size that the file was made for."""
    if x.batch is None:
        yield None
        return
    pairs = [*zip(*variants)]
    yield from (i for i, pair in enumerate(pairs) if pair == batches)
    yield from (i for i, pair in enumerate(pairs) if pair == (-1, -1))
    yield from (i for i, (a, b) in enumerate(pairs) if a == b > 0)


def _fitting(before: Shape, batch: int | None, wanted: Sequence[int], place: int | None) -> list[int] | None:
    """The sizes of the new shape without that of the examples, where these stay what they are."""
    sizes = [n for i, n in enumerate(wanted) if i != place]
    total = math.prod(n for i, n in enumerate(before) if i != batch)
    if sizes.count(-1) > 1:
        return None
    known = math.prod(n for n in sizes if n != -1)
    if -1 in sizes and known and total % known == 0:
        sizes = [total // known if n == -1 else n for n in sizes]
    if -1 in sizes or math.prod(sizes) != total:
        return None
    ahead = math.prod(before[: batch or 0])
    return sizes if math.prod(sizes[: place or 0]) == ahead or place is None else None


@operator("Expand", since=(8, 13))
def expand(at: At) -> Value:
    """To other sizes along axes of size 1."""
    x, told = at.value(), at.any(1)
    if isinstance(told, Value):
        raise Unfit("its shape is computed by the model; a description holds it as numbers")
    pairs = [*zip(told.one.reshape(-1).tolist(), told.other.reshape(-1).tolist())]
    rank = max(x.rank, len(pairs))
    x = replace(x, order=(None,) * (rank - x.rank) + x.order)
    pairs = [(1, 1)] * (rank - len(pairs)) + pairs
    concrete = [*zip(*(at.concrete(x, v) for v in (0, 1)))]
    for axis, (pair, held) in enumerate(zip(pairs, concrete)):
        if pair in (held, (1, 1)) or axis == x.batch:
            continue
        if held != (1, 1) or pair[0] != pair[1]:
            raise Unfit(f"{shown(x)} cannot be expanded to {[a for a, _ in pairs]}")
        x = repeated(at, x, axis, pair[0])
    return x


@operator("Tile", since=(6, 13))
def tile(at: At) -> Value:
    """Copies one behind the other along each axis."""
    x, times = at.value(), [int(n) for n in at.constant(1)]
    if len(times) != x.rank or any(n < 1 for n in times) or (x.batch is not None and times[x.batch] != 1):
        raise Mixed(f"{shown(x)} so many times: {times}; the examples stay as they are")
    for axis, count in enumerate(times):
        x = repeated(at, x, axis, count)
    return x


@operator("Concat", since=(4, 11, 13))
def concat(at: At) -> Value:
    if any(isinstance(x, Known) for x in at.given):
        return _joined_with_numbers(at)
    values = at.values()
    return _joined(at, values, values[0].axis(at.attribute("axis")))


def _joined(at: At, values: Sequence[Value], axis: int, part: str = "") -> Value:
    """The values one behind the other."""
    if len({(x.rank, x.batch) for x in values}) > 1 or values[0].batch == axis:
        raise Mixed(f"{', '.join(map(shown, values))} along axis {axis}: the examples stay apart here")
    axes = [*values[0].lying, *([axis] if values[0].order[axis] is None else [])]
    axes += [a for a in range(values[0].rank) if a not in axes and any(x.order[a] for x in values)]
    lying = [at.lay(x, axes) for x in values]
    here, last = lying[0].order[axis] or 0, len(lying[0].shape)
    if len(lying) == 1:
        return lying[0]
    return at.put("concatenate", lying, part=part, axis=-1 if here == last else here)


def _joined_with_numbers(at: At) -> Value:
    """Numbers before and behind values, such as the token of a class: added to zeros that are put there."""
    known = [isinstance(x, Known) for x in at.given]
    first, last = known.index(False), len(known) - known[::-1].index(False)
    if any(known[first:last]):
        raise Unfit("constant numbers between values are not supported")
    values = [x for x in at.given[first:last] if isinstance(x, Value)]
    axis = values[0].axis(at.attribute("axis"))
    x = _joined(at, values, axis, "values")
    ends = [
        [of_one(x, of_example(at, k)) for k in part if isinstance(k, Known)]
        for part in (at.given[:first], at.given[last:])
    ]
    counts = [sum(k.shape[axis] for k in end) for end in ends]
    size = x.sizes[axis]
    if not isinstance(size, int) or x.dtype != "float32":
        raise Unfit(f"numbers beside {shown(x)} along axis {axis} are not supported")
    shape = [1 if n is BATCH else n for n in x.sizes]
    between = np.zeros([size if a == axis else 1 for a in range(x.rank)])
    parts = [*ends[0], between, *ends[1]]
    wide = [max(k.shape[a] for k in parts) for a in range(x.rank)]
    if any(a != axis and n not in (1, shape[a]) for a, n in enumerate(wide)):
        raise Unfit(f"numbers of shapes {[[*k.shape] for k in parts]} beside {shown(x)} are not supported")
    whole = [np.broadcast_to(k, [k.shape[a] if a == axis else n for a, n in enumerate(wide)]) for k in parts]
    return affine(at, margin(at, x, axis, *counts), offset=np.concatenate(whole, axis))


@operator("DepthToSpace", since=(1, 11, 13, 28))
def depth_to_space(at: At) -> Value:
    """Channels become places: (block, block, channels) of them, or (channels, block, block) by CRD."""
    x, block = at.value(), at.attribute("blocksize")
    first = at.expect("mode", "DCR", "CRD") == "DCR"
    c, h, w = _picture(x)
    inner = c // block**2
    split = [block, block, inner] if first else [inner, block, block]
    apart = at.reshape(at.plain(x), [*split, h, w], (0, 1, 2, 3, 4, 5), "apart")
    order = [3, 4, 1, 5, 2] if first else [1, 4, 2, 5, 3]
    turned = at.lay(apart, order)
    return at.reshape(replace(turned, order=(0, 1, 2, 3, 4, 5)), [inner, h * block, w * block], (0, 1, 2, 3))


@operator("SpaceToDepth", since=(1, 13, 28))
def space_to_depth(at: At) -> Value:
    x, block = at.value(), at.attribute("blocksize")
    first = at.expect("mode", "DCR", "CRD") == "DCR"
    c, h, w = _picture(x)
    apart = at.reshape(at.plain(x), [c, h // block, block, w // block, block], (0, 1, 2, 3, 4, 5), "apart")
    turned = at.lay(apart, [3, 5, 1, 2, 4] if first else [1, 3, 5, 2, 4])
    made = [c * block**2, h // block, w // block]
    return at.reshape(replace(turned, order=(0, 1, 2, 3, 4, 5)), made, (0, 1, 2, 3))


def _picture(x: Value) -> list[int]:
    sizes = [n for n in x.sizes[1:] if isinstance(n, int)]
    if x.rank != 4 or x.batch != 0 or len(sizes) != 3:
        raise Unfit(f"its input is {shown(x)}; supported are pictures of known sizes, (N, C, H, W)")
    return sizes
