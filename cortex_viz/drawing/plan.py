"""The plan of a program drawn: its kernels from top to bottom, and beside them the memory that they share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from math import log10
from typing import Any, cast

from cortex_compute.backends import get
from cortex_compute.errors import ArgumentError
from cortex_compute.expression import Code
from cortex_core.compiled import PURPOSES, Compiled, Purpose
from cortex_core.graph.plan import Instruction, Plan
from cortex_core.network import Network, check_batch_size, outline
from cortex_viz.drawing.arena import Span, live, spans
from cortex_viz.drawing.svg import INSIDE, LETTER, Drawing, document, short, text, xml
from cortex_viz.page import size

ROW = 18.0
NUMBER, KERNEL, LAYER = 5, 36, 22  # the columns on the left, in letters
ARENA = 440.0  # the width of all bytes
MARGIN = 60.0  # to the right of it
COLOURS = {  # in light and in dark
    "activation": ("#56b4e9", "#2a7fb8"),
    "gradient": ("#e69f00", "#b57c00"),
    "workspace": ("#a8adb3", "#6f767d"),
    "other": ("#cc79a7", "#a3487f"),
}
NOTES = {
    "prologue": "the above once for each version of the weights",
    "tail": "from here only if the loss is finite",
    "end": "from here always",
}


def draw_plan(
    x: Any, backend: str = "auto", batch_size: int | None = None, purpose: str | None = None
) -> Drawing:
    """The plan of a network's program; ``x`` is a network, or whatever `cortex.network` takes.

    On the left the kernels in their order, with what is fused into each, and the layer that it belongs to; on
    the right the bytes of the arena: each value from the kernel that writes it to its last reader.  Nothing
    is computed, and no memory taken.  ``purpose`` is "train", "evaluate" or "predict", by default "train"
    where there is a loss; for another one raises `ArgumentError`, otherwise as `cortex.compile`.
    """
    network = outline(x)
    if purpose is None:
        purpose = "train" if network.description.losses else "predict"
    if purpose not in PURPOSES:
        raise ArgumentError(f"purpose is {purpose!r}; known are {', '.join(PURPOSES)}")
    if batch_size is not None:
        check_batch_size(batch_size)
    compiled = Compiled(network, get(backend), cast(Purpose, purpose))
    batch = batch_size or network.training.batch_size
    plan, _ = compiled.plan(compiled.types(batch))
    return _draw(plan, network, f"to {purpose} on batches of {batch} ({compiled.backend.name})")


def plan_svg(x: Any, backend: str = "auto", batch_size: int | None = None, purpose: str | None = None) -> str:
    """The text of `draw_plan`."""
    return str(draw_plan(x, backend, batch_size, purpose))


@dataclass(frozen=True)
class _Sheet:
    """Where things go: the top of each instruction, and bytes as x."""

    plan: Plan
    tops: Sequence[float]
    notes: Mapping[float, str]
    bottom: float
    left: float = (NUMBER + KERNEL + LAYER) * LETTER + 2 * INSIDE

    def x(self, byte: float) -> float:
        """The place of a byte of the arena."""
        return self.left + ARENA * byte / max(1, self.plan.arena)


def _draw(plan: Plan, network: Network, what: str) -> Drawing:
    found = spans(plan)
    count = len(plan.instructions)
    taken = live(found, count)
    peak = max(range(count), key=taken.__getitem__, default=0)
    sheet = _sheet(plan)
    names = _names(network)
    drawn = [*_axis(sheet), *_legend(sheet)]
    for t, x in enumerate(plan.instructions):
        drawn += _kernel(sheet, t, x, names)
    drawn += [_span(sheet, span, names) for span in found]
    drawn += _marks(sheet, peak, taken)
    title = f"{network.name}: {count:,} kernels {what}; an arena of {plan.arena:,} bytes"
    if taken:
        title += f", of which {taken[peak]:,} are in use at the peak, by kernel {peak}"
    if plan.kept:
        title += f"; beside it {plan.kept:,} bytes that outlive a run"
    width = sheet.left + ARENA + MARGIN
    return Drawing(document(title, drawn, width, sheet.bottom + INSIDE, _style()), title)


def _style() -> str:
    faint = "svg.drawing .faint { opacity: 0.3; }"
    dark = ["@media (prefers-color-scheme: dark) {", *_colours(1, "#16181b"), "}"]
    return "\n".join([faint, *_colours(0, "#ffffff"), *dark])


def _colours(which: int, edge: str) -> Iterator[str]:
    yield f"svg.drawing .span {{ stroke: {edge}; stroke-width: 0.5; }}"
    for kind, colours in COLOURS.items():
        yield f"svg.drawing .{kind} {{ fill: {colours[which]}; }}"


def _sheet(plan: Plan) -> _Sheet:
    """Notes have a row of their own."""
    y, tops, notes = 3 * ROW, [], {}
    for t in range(len(plan.instructions) + 1):
        for name in ("prologue", "tail", "end"):
            guarded = name == "prologue" or plan.predicate is not None
            inside = 0 < t < len(plan.instructions) or name == "tail"
            if t == getattr(plan, name) and guarded and inside:
                notes[y] = NOTES[name]
                y += ROW
        tops.append(y)
        y += ROW
    return _Sheet(plan, tops, notes, tops[-1])


def _axis(sheet: _Sheet) -> Iterator[str]:
    """The bytes of the arena: a line at each round number of them."""
    for byte in _round_numbers(sheet.plan.arena):
        x = sheet.x(byte)
        yield f'<path class="line faint" d="M{x:.1f} {2.6 * ROW:.1f}V{sheet.bottom:.1f}"/>'
        yield text(x, 2.3 * ROW, size(byte), "soft")


def _round_numbers(most: int) -> list[int]:
    """Up to five numbers from 0 on, at equal distances of 1, 2 or 5 times a power of ten."""
    if most < 5:
        return [0]
    power = 10 ** int(log10(most / 4))
    step = next(power * n for n in (1, 2, 5, 10) if power * n * 4 >= most)
    return list(range(0, most + 1, step))


def _legend(sheet: _Sheet) -> Iterator[str]:
    x = sheet.left
    for kind in COLOURS:
        yield f'<rect class="{kind}" x="{x:.1f}" y="{0.5 * ROW:.1f}" width="12" height="12"/>'
        yield text(x + 18, 0.5 * ROW + 10, kind, anchor="start")
        x += 18 + len(kind) * LETTER + 2 * INSIDE


def _names(network: Network) -> dict[str, str]:
    """The layer, loss or metric of each place; the layers of a block that is used twice share theirs."""
    found: dict[str, set[str]] = {}
    nodes = [(node.place, node.id) for node in network.description.layers]
    nodes += [(node.place, node.name) for node in network.description.losses]
    nodes += [(node.place, node.name) for node in network.training.metrics]
    for place, name in nodes:
        found.setdefault(str(place), set()).add(name)
    return {place: _common(names) for place, names in found.items()}


def _common(names: set[str]) -> str:
    """``u0/main``; of several ``*/main``."""
    local = {name.rpartition("/")[2] for name in names}
    return f"*/{local.pop()}" if len(names) > 1 and len(local) == 1 else " or ".join(sorted(names))


def _owner(x: Instruction, names: Mapping[str, str]) -> str:
    """The layer that a kernel belongs to; of one that belongs to none, the state that it writes."""
    if x.place is not None:
        return names.get(str(x.place), x.place.path)
    states = [where.buffer.removeprefix("state:") for where in x.outputs if where.buffer.startswith("state:")]
    return states[0] if states else ""


def kernel(x: Instruction) -> str:
    """What a kernel computes, and what is fused into it: ``Conv + add, relu``."""
    p: Any = x.primitive
    flags = [f.name for f in fields(p) if getattr(p, f.name) is True and not f.name.startswith("transpose")]
    code, epilogue, body = (getattr(p, name, None) for name in ("code", "epilogue", "body"))
    words = _operations(code) if isinstance(code, Code) else f"{p.name} {getattr(p, 'kind', '')}".strip()
    if body is not None:
        words += f" of {_operations(body)}"
    fused = [*flags, *([_operations(epilogue)] if epilogue is not None else [])]
    return f"{words} + {', '.join(fused)}" if fused else words


def _operations(code: Code) -> str:
    return ", ".join(str(instruction[0]) for instruction in code.instructions)


def _kernel(sheet: _Sheet, t: int, x: Instruction, names: Mapping[str, str]) -> Iterator[str]:
    y, owner = sheet.tops[t] + 0.72 * ROW, _owner(x, names)
    place = "" if x.place is None else str(x.place)
    about = " | ".join(filter(None, [str(x.primitive), x.offer.implementation, place]))
    left = INSIDE + NUMBER * LETTER
    shown = owner if len(owner) < LAYER else "…" + owner[2 - LAYER :]
    yield (
        f"<g><title>{xml(about)}</title>{text(left - LETTER, y, str(t), 'soft', 'end')}"
        f"{text(left, y, short(kernel(x), KERNEL - 1), anchor='start')}"
        f"{text(left + KERNEL * LETTER, y, shown, 'soft', 'start')}</g>"
    )


def _span(sheet: _Sheet, span: Span, names: Mapping[str, str]) -> str:
    """A value; one that is written over where it is read last ends in the middle of that row."""
    writer = sheet.plan.instructions[span.first]
    top = sheet.tops[span.first] + 1
    bottom = sheet.tops[span.last] + ROW - 1
    if span.replaced:
        bottom -= ROW / 2
    if span.over:
        top += ROW / 2
    about = (
        f"{span.kind} {span.type}: {span.nbytes:,} bytes from byte {span.start:,} on | written by kernel "
        f"{span.first}, {kernel(writer)} {_owner(writer, names)} | read last by kernel {span.last}"
    )
    return (
        f'<rect class="span {span.kind}" x="{sheet.x(span.start):.2f}" y="{top:.1f}" '
        f'width="{max(1.0, sheet.x(span.end) - sheet.x(span.start)):.2f}" height="{bottom - top:.1f}">'
        f"<title>{xml(about)}</title></rect>"
    )


def _marks(sheet: _Sheet, peak: int, taken: Sequence[int]) -> Iterator[str]:
    right = sheet.left + ARENA
    for y, note in sheet.notes.items():
        yield f'<path class="line" stroke-dasharray="4 4" d="M{INSIDE} {y:.1f}H{right:.1f}"/>'
        yield text(INSIDE + NUMBER * LETTER, y + 0.72 * ROW, note, "soft", "start")
    if taken:
        y = sheet.tops[peak]
        yield f'<rect class="line" x="{sheet.left:.1f}" y="{y:.1f}" width="{ARENA:.1f}" height="{ROW:.1f}"/>'
        yield text(right + 8, y + 0.72 * ROW, "peak", "name", "start")
