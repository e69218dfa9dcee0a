"""Boxes, lines and text as SVG, which needs nothing to be installed; light or dark as the reader has it.

Letters have one width, and each text says how long it is: no font makes it longer than its box.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from textwrap import wrap
from typing import Any
from unicodedata import east_asian_width

from cortex_compute.errors import ArgumentError
from cortex_core.training.files import write_atomically
from cortex_viz.layered import Line

LETTER, ROW, INSIDE = 7.3, 17.0, 10.0  # the width of a letter, the height of a row, the margin in a box
CAPTION = 44  # letters of a line of the caption, or as many as the drawing is wide
ROUND = {"operation": 10, "input": 10, "output": 10, "loss": 10}
_NO_XML = re.compile("[^\t\n -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

# Each kind of box: the fill and the border, in light and in dark.
_COLOURS = {
    "operation": ("#eaf3fb", "#0072b2", "#13293a", "#56b4e9"),
    "layer": ("#eaf3fb", "#0072b2", "#13293a", "#56b4e9"),
    "block": ("#e6f5ef", "#00775a", "#10302a", "#2fc19a"),
    "frame": ("#f6fbf9", "#00775a", "#121d1b", "#2fc19a"),
    "parameter": ("#fff3e0", "#a65e00", "#33240d", "#e69f00"),
    "input": ("#f2f2f2", "#595959", "#26292d", "#9aa2ab"),
    "output": ("#f2f2f2", "#595959", "#26292d", "#9aa2ab"),
    "loss": ("#fbeef5", "#a3487f", "#371d2d", "#dd94bf"),
}
_TEXT = "text { font: 12px ui-monospace, Menlo, Consolas, 'DejaVu Sans Mono', monospace"


def _style() -> str:
    """The page around a drawing may have rules for text and shapes of its own: these are more specific."""
    here = "svg.drawing"
    light = [f"{here} {_TEXT}; fill: #1a1a1a; }}", f"{here} text.name {{ font-weight: bold; }}"]
    light += [f"{here} .ground {{ fill: #ffffff; }}", f"{here} .line {{ fill: none; stroke: #595959; }}"]
    light += [f"{here} .head {{ fill: #595959; }}", f"{here} .soft {{ fill: #595959; }}"]
    dark = [f"{here} text {{ fill: #e6e8ea; }}", f"{here} .ground {{ fill: #16181b; }}"]
    dark += [f"{here} .line {{ stroke: #9aa2ab; }}", f"{here} .head, {here} .soft {{ fill: #9aa2ab; }}"]
    for kind, (fill, border, dark_fill, dark_border) in _COLOURS.items():
        light.append(f"{here} .{kind} > rect {{ fill: {fill}; stroke: {border}; }}")
        dark.append(f"{here} .{kind} > rect {{ fill: {dark_fill}; stroke: {dark_border}; }}")
    return "\n".join([*light, "@media (prefers-color-scheme: dark) {", *dark, "}"])


class Drawing:
    """An SVG picture that a notebook shows; ``str(drawing)`` is its text."""

    def __init__(self, svg: str, title: str) -> None:
        self.svg, self.title = svg, title

    def save(self, path: str | Path) -> None:
        """Writes the file, whole or not at all.  Raises `ArgumentError` for any format but .svg."""
        if Path(path).suffix.lower() != ".svg":
            raise ArgumentError(f"{path}: the drawing is SVG text; save it as {Path(path).stem}.svg")
        write_atomically(Path(path), str(self).encode())

    def _repr_svg_(self) -> str:
        return self.svg

    def __str__(self) -> str:
        return self.svg

    def __repr__(self) -> str:
        return f"<Drawing: {self.title}>"


def document(title: str, drawn: Iterable[str], width: float, height: float, style: str = "") -> str:
    """A whole drawing, with its title as the caption below; ``style`` is CSS besides the common rules."""
    rows = wrap(title, max(CAPTION, int((width - 2 * INSIDE) / LETTER)))
    width = max(width, max(map(columns, rows), default=0) * LETTER + 2 * INSIDE)
    whole = height + len(rows) * ROW + INSIDE / 2
    caption = [text(INSIDE, height + (i + 0.5) * ROW, row, anchor="start") for i, row in enumerate(rows)]
    body = "\n".join([*drawn, *caption])
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="drawing" width="{width:.0f}" height="{whole:.0f}" '
        f'viewBox="0 0 {width:.0f} {whole:.0f}" role="img" aria-label="{xml(title)}">\n'
        f"<style>{_style()}\n{style}</style>\n<title>{xml(title)}</title>\n"
        f'<rect class="ground" width="100%" height="100%"/>\n{body}\n</svg>\n'
    )


def size(rows: Sequence[str]) -> tuple[float, float]:
    """Width and height of a box with these rows of text."""
    return max(map(columns, rows)) * LETTER + 2 * INSIDE, len(rows) * ROW + INSIDE


def box(
    kind: str,
    centre: tuple[float, float],
    rows: Sequence[str],
    about: str = "",
    heavy: bool = False,
    dashed: bool = False,
) -> str:
    """A box around rows of text, of which the first is its name; ``about`` shows where the pointer rests."""
    (x, y), (width, height) = centre, size(rows)
    top = y - height / 2 + INSIDE / 2 + 0.72 * ROW
    inside = "".join(text(x, top + i * ROW, row, "" if i else "name") for i, row in enumerate(rows))
    return _group(kind, about, (x - width / 2, y - height / 2, width, height), inside, heavy, dashed)


def frame(place: tuple[float, float, float, float], name: str, inside: str, about: str = "") -> str:
    """A frame (x, y, width, height) around other boxes, its name in the upper left corner."""
    x, y = place[:2]
    words = text(x + INSIDE, y + INSIDE / 2 + 0.72 * ROW, name, "name", "start")
    return _group("frame", about, place, words + inside)


def _group(
    kind: str,
    about: str,
    place: tuple[float, float, float, float],
    inside: str,
    heavy: bool = False,
    dashed: bool = False,
) -> str:
    x, y, width, height = place
    dashes = ' stroke-dasharray="5 3"' if dashed else ""
    return (
        f'<g class="{kind}">{f"<title>{xml(about)}</title>" if about else ""}'
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" rx="{ROUND.get(kind, 2)}" '
        f'stroke-width="{2.5 if heavy else 1.2}"{dashes}/>{inside}</g>'
    )


def line(part: Line) -> str:
    """A part of an edge, with its head where it ends at a box."""
    (x0, y0), (x1, y1) = part.start, part.end
    end = y1 - 6 if part.last else y1
    arrive = min(part.arrive, end)
    middle = (part.leave + arrive) / 2
    head = f'<path class="head" d="M{x1:.1f} {y1:.1f}l-4 -7h8z"/>' if part.last else ""
    return (
        f'<path class="line" d="M{x0:.1f} {y0:.1f}V{part.leave:.1f}'
        f'C{x0:.1f} {middle:.1f} {x1:.1f} {middle:.1f} {x1:.1f} {arrive:.1f}V{end:.1f}"/>{head}'
    )


def text(x: float, y: float, words: str, style: str = "", anchor: str = "middle") -> str:
    """One row of text that begins, ends, or has its middle, at ``x``."""
    if not words:
        return ""
    class_ = f' class="{style}"' if style else ""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" textLength="{columns(words) * LETTER:.1f}" '
        f'lengthAdjust="spacingAndGlyphs"{class_}>{xml(words)}</text>'
    )


def columns(words: str) -> int:
    """How many letters wide a text is drawn; those of East Asia count twice."""
    return sum(2 if east_asian_width(letter) in "WF" else 1 for letter in words)


def short(words: str, most: int = 32) -> str:
    """At most so many letters of a text."""
    return words if len(words) <= most else words[: most - 1] + "…"


def xml(words: Any) -> str:
    """Text of others as XML."""
    return escape(_NO_XML.sub("\ufffd", str(words)))
