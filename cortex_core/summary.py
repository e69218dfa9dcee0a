"""The table of layers: output shapes, parameters and the work of a forward pass."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cortex_core.declared import CHECK_BATCH, OTHER, free_length, traced_declarations
from cortex_core.graph.value import Value, flops, is_leaf
from cortex_core.network import Network
from cortex_core.ops.array import Node
from cortex_core.trace import Traced, has_free_axes


@dataclass(frozen=True)
class LayerRow:
    """One layer: its output (without the batch axis; a free axis is None), and its cost per example.

    ``output`` is None where a mistake leaves the shape unknown.  ``flops`` are those of a prediction.
    """

    id: str
    kind: str
    sources: tuple[str, ...]
    output: tuple[int | None, ...] | None
    parameters: int
    trainable: bool
    flops: float

    def as_data(self) -> dict[str, Any]:
        """The entry of ``cortex check --json``."""
        return {
            "id": self.id,
            "kind": self.kind,
            "from": list(self.sources),
            "output": None if self.output is None else list(self.output),
            "parameters": self.parameters,
            "trainable": self.trainable,
            "flops": self.flops,
        }


def rows(description: Any) -> list[LayerRow]:
    """A row for each layer, in the order of the description."""
    declared, traced = traced_declarations(description, free_length(description), training=False)
    free = has_free_axes(description)
    other = traced_declarations(description, OTHER, training=False)[1] if free else traced
    counts = _flops(description, traced)
    parameters: dict[str, int] = {}
    for name, d in declared.items():
        if name in traced.parameters:
            parameters[d.layer.id] = parameters.get(d.layer.id, 0) + d.type.size
    return [
        LayerRow(
            id=node.id,
            kind=node.kind,
            sources=node.sources,
            output=_output(traced.values.get(node.id), other.values.get(node.id)),
            parameters=parameters.get(node.id, 0),
            trainable=node.trainable,
            flops=counts.get(node.id, 0) / CHECK_BATCH,
        )
        for node in description.layers
    ]


def _output(value: Value | None, other: Value | None) -> tuple[int | None, ...] | None:
    """The shape without the batch axis; an axis that follows a free one is free."""
    if value is None or other is None or len(value.shape) != len(other.shape):
        return None
    return tuple(n if n == m else None for n, m in zip(value.shape[1:], other.shape[1:]))


def _flops(description: Any, traced: Traced) -> dict[str, int]:
    """The operations that each layer adds to what its sources have computed, for a batch of CHECK_BATCH."""
    seen: set[Node] = set()
    counts: dict[str, int] = {}
    for layer in description.layers:
        value = traced.values.get(layer.id)
        pending = [] if value is None else [value.node]
        counts[layer.id] = 0
        while pending:
            node = pending.pop()
            if node in seen:
                continue
            seen.add(node)
            if not is_leaf(node):
                counts[layer.id] += flops(node)
                pending += [x.node for x in node.inputs]
    return counts


def table(network: Network) -> str:
    """The table of layers of a network, its totals, and where it was imported."""
    layers = lines(network.description, rows(network.description))
    return "\n".join([*layers, totals(network), *imported(network)])


def imported(network: Network) -> list[str]:
    """Where the parameters of a network came from, whether it gives what it gave there, and what does not."""
    told = network.origin
    if not told:
        return []
    notes = told.get("notes")  # a file may hold anything there
    notes = notes if isinstance(notes, list) else []
    first = f"imported from {told.get('file')}: {told.get('proof')}"
    return [first, *(f"note: {note}" for note in notes)]


def totals(network: Network) -> str:
    """How many parameters there are, and how many of them are trained."""
    count = sum(s.type.size for s in network.slots.values())
    trained = sum(s.type.size for s in network.slots.values() if s.segment.trainable)
    frozen = f", {count - trained:,} of them frozen" if trained != count else ""
    return f"{count:,} parameters{frozen}"


NUMBERS = (4, 5)  # the columns of `cells` that stand flush right


def cells(description: Any, layers: Sequence[LayerRow]) -> list[tuple[str, ...]]:
    """The table of layers: its head, then inputs, then layers."""
    shown: list[tuple[str, ...]] = [("id", "layer", "from", "output", "parameters", "MFLOP")]
    shown += [(x.name, "input", "", _shape(x.shape), "", "") for x in description.inputs]
    before = description.inputs[0].name if len(description.inputs) == 1 else ""
    for row in layers:
        sources = "" if row.sources == (before,) else ", ".join(row.sources)
        parameters = f"{row.parameters:,}" if row.parameters else ""
        parameters += " (frozen)" if row.parameters and not row.trainable else ""
        work = f"{row.flops / 1e6:,.3f}" if row.flops else ""
        shown.append((row.id, row.kind, sources, _shape(row.output), parameters, work))
        before = row.id
    return shown


def lines(description: Any, layers: Sequence[LayerRow]) -> Iterator[str]:
    """The table of layers as text, numbers flush right."""
    yield from align(cells(description, layers), right=NUMBERS)


def _shape(shape: tuple[int | None, ...] | None) -> str:
    if shape is None:
        return "?"
    return " x ".join("any" if n is None else str(n) for n in shape) or "scalar"


def align(table: Sequence[Sequence[str]], right: Sequence[int] = ()) -> Iterator[str]:
    """Rows of text in columns, the first row underlined; columns that are empty throughout are left out."""
    columns = [i for i in range(len(table[0])) if any(row[i] for row in table[1:])]
    width: Mapping[int, int] = {i: max(len(row[i]) for row in table) for i in columns}
    for number, row in enumerate(table):
        cells = [row[i].rjust(width[i]) if i in right else row[i].ljust(width[i]) for i in columns]
        yield "  ".join(cells).rstrip()
        if number == 0:
            yield "  ".join("-" * width[i] for i in columns)


def readable_bytes(count: int) -> str:
    """``1,234,567 bytes (1.2 MB)``"""
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{count:,} bytes ({count / size:.1f} {unit})"
    return f"{count:,} bytes"


def html(network: Any) -> str:
    """The table for notebooks."""
    from cortex_core import displays  # which loads the names of HTML's characters

    facts = [f"Network {network.name}", totals(network)]
    try:
        head, *body = cells(network.description, rows(network.description))
    except Exception:  # a layer of the user's own, that cannot be traced again
        return displays.paragraph(facts)
    used = [i for i in range(len(head)) if any(row[i] for row in body)]
    right = tuple(used.index(i) for i in NUMBERS if i in used)
    shown = [[row[i] for i in used] for row in body]
    return displays.paragraph(facts) + displays.table(shown, [head[i] for i in used], right)
