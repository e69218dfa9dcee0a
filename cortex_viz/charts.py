"""Charts for a page: HTML that holds the numbers, drawn in the browser by `SCRIPT` at the width there is.

Names, axes and captions are plain text.  NaN, infinity and None are gaps, and numbers beyond 1e300 are, too;
those below 1e-300 are 0.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from cortex_compute.errors import DataError
from cortex_viz.page import plain, text
from cortex_viz.sprite import Sprite

# What draws the charts of a page: `page(title, body, scripts=[charts.SCRIPT])`.
SCRIPT = "".join(
    (Path(__file__).parent / f"web/{name}.js").read_text("utf-8")
    for name in ("charts", "lines", "scatter", "matrix")
)
CAPTION = 200  # letters
LARGEST, SMALLEST = 1e300, 1e-300  # the distance of two numbers has to be one, and its inverse, too
_ESCAPED = {ord(c): f"\\u{ord(c):04x}" for c in "<>&"}


class Series(NamedTuple):
    """One line: ``y`` over ``x``.  ``colour`` counts through `figure.COLOURS`; else the place does."""

    name: str
    x: Sequence[float]
    y: Sequence[float | None]
    dashed: bool = False
    points: bool = False
    colour: int | None = None


def lines(
    series: Sequence[Series],
    x: str = "",
    y: str = "",
    log: bool = False,
    marks: Sequence[tuple[float, str]] = (),
) -> str:
    """Lines over common axes, named ``x`` and ``y``; ``marks`` are named places on the x axis.

    ``log`` starts with a logarithmic y axis; where all numbers are positive the reader may switch.
    """
    data, found, odd = [], False, []
    for i, s in enumerate(series):
        if len(s.x) != len(s.y):
            raise DataError(f"the series {plain(s.name)} has {len(s.x)} x and {len(s.y)} y")
        xs, ys = [_number(v) for v in s.x], [_number(v) for v in s.y]
        found = found or any(a is not None and b is not None for a, b in zip(xs, ys))
        if lost := sum(v is not None and b is None for v, b in zip(s.y, ys)):
            odd.append(f"{plain(s.name)}: {lost:,} of {len(s.y):,}")
        made = {"name": plain(s.name), "x": xs, "y": ys, "colour": i if s.colour is None else s.colour}
        data.append({**made, "dashed": s.dashed, "points": s.points})
    if not found:
        return _nothing("no finite number", y or ", ".join(plain(s.name) for s in series))
    told = f'<p class="small soft">Not finite, drawn as gaps: {escape("; ".join(odd))}.</p>' if odd else ""
    marked = [[_number(at), plain(name)] for at, name in marks if _number(at) is not None]
    axes = {"x": _axis(x), "y": _axis(y), "log": log, "marks": marked}
    return chart("lines", {**axes, "series": data}) + told


def scatter(
    points: Any,
    groups: Sequence[int] | None = None,
    names: Sequence[str] = (),
    sprite: Sprite | None = None,
    captions: Sequence[str] = (),
    x: str = "",
    y: str = "",
) -> str:
    """Points (n, 2), coloured by ``groups``, whose names are ``names``; at most about 20,000.

    The one under the pointer shows picture i of ``sprite`` and caption i.  Without names of the axes both
    have the same scale, and no ticks: an embedding.
    """
    places = np.asarray(points, dtype=float)
    if places.ndim != 2 or places.shape[1] != 2:
        raise DataError(f"points are (n, 2); these are {places.shape}")
    for what, many in (("groups", groups), ("captions", captions or None)):
        if many is not None and len(many) != len(places):
            raise DataError(f"there are {len(places)} points and {len(many)} {what}")
    if not (np.abs(places) < LARGEST).all(axis=1).any():
        return _nothing("no point with two finite numbers", y)
    data = {
        "x": _axis(x),
        "y": _axis(y),
        "points": [[_rounded(a), _rounded(b)] for a, b in places.tolist()],
        "groups": None if groups is None else [int(g) for g in groups],
        "names": [plain(name) for name in names],
        **_pictured(sprite, captions),
    }
    return chart("scatter", data)


def matrix(
    counts: Any,
    names: Sequence[str],
    sprite: Sprite | None = None,
    pictures: Mapping[tuple[int, int], Sequence[int]] | None = None,
    captions: Sequence[str] = (),
    totals: Sequence[int] | None = None,
) -> str:
    """A confusion matrix: counts (true class, predicted class), coloured by their share of the true class.

    ``totals``: how many examples each true class has, where some lie outside of this matrix.  A click on a
    cell opens its ``pictures``: indices into the sprite and the captions.
    """
    table = np.asarray(counts)
    if table.ndim != 2 or table.shape != (len(names), len(names)):
        raise DataError(f"{len(names)} classes need counts {(len(names),) * 2}; these are {table.shape}")
    if not table.any():
        return _nothing("no example", "the confusion matrix")
    cells = [[int(i), int(j), table[i, j].item()] for i, j in zip(*np.nonzero(table))]
    opened = {f"{i},{j}": [int(at) for at in found] for (i, j), found in (pictures or {}).items()}
    of = table.sum(axis=1) if totals is None else np.asarray(totals)
    data = {"names": [plain(name) for name in names], "totals": of.tolist(), "cells": cells}
    return chart("matrix", {**data, "pictures": opened, **_pictured(sprite, captions)})


def gallery(items: Iterable[tuple[int | None, str]], sprite: Sprite | None = None) -> str:
    """Pictures of the sprite with captions, in plain text; an item without a picture is its caption."""
    shown = (
        (sprite.thumb(index, caption) if sprite and index is not None else "") + text(caption, CAPTION)
        for index, caption in items
    )
    made = "".join(f"<li>{item}</li>" for item in shown)
    return f'<ul class="gallery">{made}</ul>' if made else _nothing("no example", "")


def chart(kind: str, data: Mapping[str, Any]) -> str:
    """What a script of the page draws: JSON, with the ``kind`` by which ``cortex.kinds`` knows it."""
    made = json.dumps(data, allow_nan=False, separators=(",", ":")).translate(_ESCAPED)
    return (
        f'<div class="chart" data-kind="{kind}"><script type="application/json">{made}</script>'
        "<noscript><p>This chart is drawn by a script, which this browser did not run.</p></noscript></div>"
    )


def _nothing(why: str, what: str) -> str:
    return f'<p class="soft">Nothing to draw{f" of {text(what)}" if what else ""}: there is {why}.</p>'


def _axis(name: str) -> str:
    return plain(name) if name else ""


def _number(value: float | None) -> float | None:
    if value is None or not abs(float(value)) < LARGEST:
        return None
    return float(value) if abs(value) > SMALLEST else 0.0


def _rounded(value: float) -> float | None:
    """Five digits: more than a screen has."""
    known = _number(value)
    return None if known is None else float(f"{known:.5g}")


def _pictured(sprite: Sprite | None, captions: Sequence[str]) -> dict[str, Any]:
    made = {"captions": [plain(caption, CAPTION) for caption in captions]}
    return {**made, "sprite": sprite.place() if sprite else None}
