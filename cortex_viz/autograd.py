"""Drawings of what eager code recorded, as SVG text: nothing else needs to be installed."""

from __future__ import annotations

from cortex_compute.types import TensorType
from cortex_compute.types import dtype as dtype_of
from cortex_core.eager_graph import EagerGraph, GraphNode, Names, graph_of
from cortex_core.tensor import Tensor
from cortex_viz.drawing.svg import Drawing, box, document, line, short, size
from cortex_viz.layered import Layout, lay_out

MOST = 300  # operations in one drawing


def visualize_graph(*outputs: Tensor | EagerGraph, names: Names = (), values: bool = False) -> Drawing:
    """Draws what ``outputs`` were computed from: leaves at the top, the outputs at the bottom.

    Leaves are boxes, operations round ones; each shows its type, and has the rest as a tooltip.  ``names``
    (a dict, or ``model.named_parameters()``) and ``values`` (show small numbers, and gradients as far as they
    are there) are those of `graph_of`, whose graph is taken too.  Of more than 300 operations the last 300
    are drawn, and the drawing says so.
    """
    if len(outputs) == 1 and isinstance(outputs[0], EagerGraph):
        graph = outputs[0]
    else:
        graph = graph_of(*outputs, names=names, values=values)  # type: ignore[arg-type]
    operations = [node for node in graph.topological() if not node.is_leaf]
    shown = {node.id for node in operations[:MOST]} | set(graph.outputs)
    shown |= {e.source for e in graph.edges if e.target in shown and graph[e.source].is_leaf}
    boxes = [node for node in graph if node.id in shown]
    edges = [(e.source, e.target) for e in graph.edges if e.source in shown and e.target in shown]
    cut = {e.target for e in graph.edges if e.target in shown and e.source not in shown}
    labels = {node.id: _label(node) for node in boxes}
    title = f"{_count(len(operations), 'operation')} on {_count(len(graph) - len(operations), 'leaf')}"
    if cut:
        title += f"; the {len(operations) - MOST:,} operations before the last {MOST} are left out"
    layout = lay_out({id: size(rows) for id, rows in labels.items()}, edges)
    drawn = [line(part) for part in layout.lines]
    drawn += [_box(node, labels[node.id], layout, node.id in graph.outputs, node.id in cut) for node in boxes]
    return Drawing(document(title, drawn, layout.width, layout.height), title)


def _count(n: int, word: str) -> str:
    return f"{n:,} {word if n == 1 else {'leaf': 'leaves'}.get(word, word + 's')}"


def _kind(node: GraphNode) -> str:
    if not node.is_leaf:
        return "operation"
    return "parameter" if node.requires_grad else "input"


def _label(node: GraphNode) -> list[str]:
    """The rows of a box: what it is, what it was given, its type, its numbers."""
    what = _kind(node) if node.is_leaf else short(node.operation)
    first = node.name if node.name and node.is_leaf else f"{node.name} = {what}" if node.name else what
    rows = [first, node.detail if len(node.detail) <= 32 else "", _type(node)]
    rows += [f"{word} {text}" for word, text in (("value", node.value), ("gradient", node.gradient)) if text]
    return [row for row in rows if row]


def _type(node: GraphNode) -> str:
    return str(TensorType(node.shape, dtype_of(node.dtype)))


def _box(node: GraphNode, rows: list[str], layout: Layout, output: bool, cut: bool) -> str:
    facts = (node.name, node.operation, node.detail, _type(node), node.place)
    about = " | ".join(fact for fact in facts if fact)
    return box(_kind(node), layout.centres[node.id], rows, about, output, cut)
