"""A network drawn: from its inputs at the top down to its losses and outputs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cortex_compute.errors import SpecError
from cortex_core.network import outline
from cortex_core.summary import totals
from cortex_viz.drawing.parts import Part, in_rows, parts_of
from cortex_viz.drawing.svg import (
    INSIDE,
    LETTER,
    ROW,
    Drawing,
    box,
    columns,
    document,
    frame,
    line,
    short,
    size,
    text,
)
from cortex_viz.layered import lay_out
from cortex_viz.page import plain

MOST = 2_000  # boxes in one drawing
LABEL = 18.0  # the height of the row below a box that says what leaves it
LONGEST = 36  # letters in a row


def draw(x: Any, unfold: bool = False) -> Drawing:
    """A network as a picture for notebooks and files; ``x`` is one, or whatever `cortex.network` takes.

    A block is one box, and blocks that follow one another and are alike are one, too; with ``unfold`` each
    layer is drawn, inside the frame of its block.  The line that leaves a box says the shape of one example
    there, and how many parameters the box has.  No data is read, but for a shape that is left to it.
    Raises `SpecError` for more than 2,000 boxes.
    """
    network = outline(x)
    drawn = _arrange(_within(parts_of(network), unfold), unfold)
    count = len(network.description.layers)
    facts = f"{count:,} layer{'s' if count != 1 else ''}, {totals(network)}"
    title = f"{network.name}: {facts}; on the lines: shape · parameters"
    return Drawing(document(title, drawn.svg, drawn.width, drawn.height), title)


def network_svg(x: Any, unfold: bool = False) -> str:
    """The text of `draw`."""
    return str(draw(x, unfold))


def _within(parts: Sequence[Part], unfold: bool) -> Sequence[Part]:
    count = _count(parts) if unfold else len(parts := in_rows(parts))
    if count > MOST:
        hint = "leave out unfold" if unfold else "write what repeats as a block"
        raise SpecError(f"a drawing of {count:,} boxes: nobody could read more than {MOST:,}; {hint}")
    return parts


def _count(parts: Sequence[Part]) -> int:
    return sum(1 + _count(part.inside) for part in parts)


@dataclass(frozen=True)
class _Drawn:
    svg: list[str]
    width: float
    height: float


@dataclass(frozen=True)
class _Face:
    """How a part looks: a box, or a frame around others; below it stands what leaves it."""

    part: Part
    rows: tuple[str, ...]
    inner: _Drawn | None
    label: str
    width: float
    height: float

    @property
    def cell(self) -> tuple[float, float]:
        """The room that it takes: the label stands to the right of the line."""
        if not self.label:
            return self.width, self.height
        return max(self.width, 2 * (columns(self.label) * LETTER + INSIDE)), self.height + LABEL


def _arrange(parts: Sequence[Part], unfold: bool) -> _Drawn:
    used = {source for part in parts for source in part.sources}
    faces = {part.key: _face(part, part.key in used, unfold) for part in parts}
    edges = [(source, part.key) for part in parts for source in part.sources]
    layout = lay_out({key: faces[key].cell for key in reversed(faces)}, edges)
    drawn = [line(piece) for piece in layout.lines]
    for key, face in faces.items():
        drawn += _show(face, layout.centres[key])
    return _Drawn(drawn, layout.width, layout.height)


def _face(part: Part, used: bool, unfold: bool) -> _Face:
    label = ""
    if used:
        count = f"{part.parameters:,}" if part.parameters else ""
        label = short(" · ".join(filter(None, [part.shape, count])), LONGEST)
    rows = tuple(short(plain(row), LONGEST) for row in (part.name, *part.rows))
    if not (unfold and part.inside):
        return _Face(part, rows, None, label, *size(rows))
    name = short(f"{part.name}, {', '.join(part.rows)}", LONGEST + 20)
    inner = _arrange(part.inside, unfold)
    width = max(inner.width, columns(name) * LETTER + 2 * INSIDE)
    return _Face(part, (name,), inner, label, width, inner.height + ROW)


def _show(face: _Face, centre: tuple[float, float]) -> list[str]:
    """A box or a frame at the top of its cell, and below it the line with what leaves it."""
    x, top = centre[0], centre[1] - face.cell[1] / 2
    part, bottom = face.part, top + face.height
    if face.inner is None:
        heavy, dashed = part.style == "loss", part.frozen
        drawn = [box(part.style, (x, top + face.height / 2), face.rows, part.about, heavy, dashed)]
    else:
        left = x - face.width / 2
        middle = left + (face.width - face.inner.width) / 2
        moved = f'<g transform="translate({middle:.1f} {top + ROW:.1f})">'
        inside = "\n".join([moved, *face.inner.svg, "</g>"])
        drawn = [frame((left, top, face.width, face.height), face.rows[0], inside, part.about)]
    if face.label:
        drawn.append(f'<path class="line" d="M{x:.1f} {bottom:.1f}V{bottom + LABEL:.1f}"/>')
        drawn.append(text(x + INSIDE / 2, bottom + 0.78 * LABEL, face.label, anchor="start"))
    return drawn
