"""Where the boxes of a directed graph go: in layers from top to bottom (Sugiyama, Tagawa and Toda 1981).

A box stands one layer above its lowest user.  An edge over several layers runs through points of its own, and
the edges of one box share them.  Within a layer, boxes are sorted by the mean place of their neighbours, to
and fro; then each is put as close to that mean as its neighbours in the layer leave room for.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from cortex_compute.errors import SpecError

GAP = 24.0  # between boxes of a layer
RISE = 36.0  # between layers
SWEEPS = 8
MOST = 50_000  # points that edges run through
Point = tuple[float, float]
Key = Hashable


class Line(NamedTuple):
    """A part of an edge: from ``start`` to ``end``, at the end of which a box begins if it is ``last``.

    It runs straight down to the height ``leave``, and from ``arrive`` on: between these is no box.
    """

    start: Point
    end: Point
    last: bool
    leave: float
    arrive: float


@dataclass(frozen=True)
class Layout:
    """The middle of each box, the lines between them, and the size of it all."""

    centres: Mapping[Key, Point]
    lines: Sequence[Line]
    width: float
    height: float


def lay_out(sizes: Mapping[Key, tuple[float, float]], edges: Iterable[tuple[Key, Key]]) -> Layout:
    """Places boxes of these sizes (width, height).

    An edge leads from a box to one of its users.  ``sizes`` names users before what they use.  Raises
    `SpecError` where edges run past others at more than 50,000 places.
    """
    inputs: dict[Key, list[Key]] = {key: [] for key in sizes}
    users: dict[Key, list[Key]] = {key: [] for key in sizes}
    for source, target in dict.fromkeys(edges):
        inputs[target].append(source)
        users[source].append(target)
    rank: dict[Key, int] = {}
    for key in sizes:
        rank[key] = max((rank[user] + 1 for user in users[key]), default=0)
    _expect_few(rank, users)
    wide = {key: size[0] for key, size in sizes.items()}
    links = _links(rank, inputs, wide)
    layers: list[list[Key]] = [[] for _ in range(max(rank.values(), default=-1) + 1)]
    for key in _by_depth(sizes, inputs):
        layers[rank[key]].append(key)
    for key in rank.keys() - sizes.keys():
        layers[rank[key]].append(key)
    xs = _place(layers, links, wide)
    return _measure(layers, xs, links, sizes)


def _expect_few(rank: Mapping[Key, int], users: Mapping[Key, Sequence[Key]]) -> None:
    found = sum(rank[key] - 1 - min(rank[user] for user in own) for key, own in users.items() if own)
    if found > MOST:
        raise SpecError(
            f"a drawing of {len(rank):,} boxes whose lines run past others at {found:,} places: nobody could "
            f"follow more than {MOST:,}; write what repeats as a block, or draw a part"
        )


def _links(
    rank: dict[Key, int], inputs: Mapping[Key, Sequence[Key]], wide: dict[Key, float]
) -> list[tuple[Key, Key]]:
    """The edges as steps of one layer each; what they run through is added to ``rank`` and ``wide``."""
    links: dict[tuple[Key, Key], None] = {}
    for target, sources in inputs.items():
        for source in sources:
            above: Key = source
            for r in range(rank[source] - 1, rank[target], -1):
                point = ("through", source, r)
                rank[point], wide[point] = r, 0.0
                links[above, point] = None
                above = point
            links[above, target] = None
    return list(links)


def _by_depth(sizes: Iterable[Key], inputs: Mapping[Key, Sequence[Key]]) -> list[Key]:
    """Each box after the first of its users, with what that uses close by."""
    seen: dict[Key, None] = {}
    for root in sizes:
        stack = [root]
        while stack:
            key = stack.pop()
            if key not in seen:
                seen[key] = None
                stack += reversed(inputs[key])
    return list(seen)


def _place(
    layers: list[list[Key]], links: Sequence[tuple[Key, Key]], wide: Mapping[Key, float]
) -> dict[Key, float]:
    """Sorts each layer, and gives each key its x."""
    near: dict[Key, list[Key]] = {key: [] for key in wide}
    for above, below in links:
        near[above].append(below)
        near[below].append(above)
    depth = {key: i for i, layer in enumerate(layers) for key in layer}
    xs = {key: float(i) for layer in layers for i, key in enumerate(layer)}
    for sweep in range(SWEEPS):
        step = -1 if sweep % 2 else 1
        for layer in layers[::step]:
            passed = {key: [xs[n] for n in near[key] if depth[n] == depth[key] - step] for key in layer}
            place = {key: _mean(passed[key], xs[key]) for key in layer}
            layer.sort(key=place.__getitem__)
            xs.update((key, float(i)) for i, key in enumerate(layer))
    for layer in layers:
        xs.update(zip(layer, _apart([0.0] * len(layer), [wide[key] for key in layer])))
    for sweep in range(SWEEPS + 1):  # the last one upwards: what is used once stands above its user
        step = -1 if sweep % 2 else 1
        for layer in layers[::step]:
            passed = {key: [xs[n] for n in near[key] if depth[n] == depth[key] - step] for key in layer}
            wanted = [_mean(passed[key], xs[key]) for key in layer]
            xs.update(zip(layer, _apart(wanted, [wide[key] for key in layer])))
    return xs


def _mean(numbers: Sequence[float], otherwise: float) -> float:
    return sum(numbers) / len(numbers) if numbers else otherwise


def _apart(wanted: Sequence[float], widths: Sequence[float]) -> list[float]:
    """The places closest to the wanted ones (least squares) in this order, with GAP between the boxes.

    Less what stands before it, each place may only grow: an isotonic regression, by pooling neighbours.
    """
    before = [0.0]
    for left, right in pairwise(widths):
        before.append(before[-1] + (left + right) / 2 + GAP)
    pools: list[tuple[float, int]] = []
    for want, offset in zip(wanted, before):
        mean, count = want - offset, 1
        while pools and pools[-1][0] > mean:
            other, n = pools.pop()
            mean, count = (mean * count + other * n) / (count + n), count + n
        pools.append((mean, count))
    free = [mean for mean, count in pools for _ in range(count)]
    return [x + offset for x, offset in zip(free, before)]


def _measure(
    layers: Sequence[Sequence[Key]],
    xs: Mapping[Key, float],
    links: Sequence[tuple[Key, Key]],
    sizes: Mapping[Key, tuple[float, float]],
) -> Layout:
    """From ranks to heights; the last layer lies at the top."""
    centres: dict[Key, Point] = {}
    half: dict[Key, float] = {}
    band: dict[Key, tuple[float, float]] = {}  # the heights between which its layer lies
    y = GAP
    left = min((xs[key] - sizes[key][0] / 2 for key in sizes), default=0.0) - GAP
    right = max((xs[key] + sizes[key][0] / 2 for key in sizes), default=0.0) + GAP
    lines_too = [x + side for x in xs.values() for side in (-GAP / 2, GAP / 2)]
    left, right = min([left, *lines_too]), max([right, *lines_too])
    for layer in reversed(layers):
        height = max((sizes[key][1] for key in layer if key in sizes), default=0.0)
        for key in layer:
            centres[key] = (xs[key] - left, y + height / 2)
            half[key] = sizes[key][1] / 2 if key in sizes else 0.0
            band[key] = (y, y + height)
        y += height + RISE
    lines: list[Line] = []
    arriving: dict[Key, list[Key]] = {}
    for above, below in links:
        arriving.setdefault(below, []).append(above)
    for below, sources in arriving.items():
        (x, top), wide = centres[below], sizes[below][0] if below in sizes else 0.0
        sources.sort(key=xs.__getitem__)
        step = min(16.0, wide / (len(sources) + 1))
        for i, above in enumerate(sources):
            (x0, y0), shift = centres[above], (i - (len(sources) - 1) / 2) * step
            start, end = (x0, y0 + half[above]), (x + shift, top - half[below])
            lines.append(Line(start, end, below in sizes, band[above][1], band[below][0]))
    shown = {key: centres[key] for key in sizes}
    return Layout(shown, lines, right - left, max(y - RISE, GAP) + GAP)
