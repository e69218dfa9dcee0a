"""Recurrent layers: ONNX's own, and a Scan of one step where it has none such."""

from __future__ import annotations

from typing import Any

from cortex_compute.types import TensorType
from cortex_core.exchange.to_onnx.at import At, has_translator, translates
from cortex_core.exchange.to_onnx.said import said
from cortex_core.exchange.to_onnx.sizes import Sizes
from cortex_core.exchange.to_onnx.spoken import Recurrent, Walk
from cortex_core.exchange.to_onnx.translate import translate
from cortex_core.exchange.to_onnx.twins import Twins
from cortex_core.exchange.to_onnx.unsaid import at_once
from cortex_core.exchange.to_onnx.writer import Body
from cortex_core.graph.value import Graph, input_value
from cortex_core.ops.array import Node
from cortex_core.ops.pointwise import select
from cortex_core.ops.recurrence import Cell
from cortex_core.ops.views import reshape


@translates(Recurrent, "RNN", "LSTM", "GRU")
def _recurrent(at: At) -> list[str | None]:
    p = at.p
    x, w, u, b, *begun = at.names
    fields: dict[str, Any] = {"hidden_size": at.types[2].shape[2], "activations": list(p.activations)}
    if p.reverse:
        fields["direction"] = "reverse"
    if p.slope:  # of the first activation; the others have none
        fields |= {"activation_alpha": [p.slope], "activation_beta": [0.5]}
    if p.reset_after:
        fields["linear_before_reset"] = 1
    states = ["", *begun] if begun else []
    return [*at.writer.several(p.kind, [x, w, u, b, *states], len(at.node.types), **fields)]


@translates(Walk, "Scan", free=("of",))
def _walk(at: At) -> list[str | None]:
    """Scan carries the states through a body that is one step; it sees the weights around it."""
    p, named = at.p, dict(zip(at.p.names, at.names[1:]))
    graphs = [said(_step(node), has_translator) for node in at.twins.of(at.node)]
    writer = at.writer.inner()
    walked = [*p.states, "a", *(["mask"] if "mask" in named else [])]
    inside = {name: writer.unique(f"{at.writer.where}/{name}") for name in walked}
    twins = Twins(graphs)
    results, problems = translate(twins, writer, Sizes(writer), {**named, **inside}, {})
    if problems:
        at_once(problems)
    types = {name: x.type for name, x in zip(("a", *p.names), at.node.inputs)}
    outputs = [writer.emit("Identity", results[name]) for name in (*p.states, "y")]
    body = Body(
        f"{at.writer.where}/step",
        writer.nodes,
        [(inside[name], types[name].dtype) for name in walked],
        [(name, at.types[0].dtype) for name in outputs],
    )
    scanned = [at.names[0], *([named["mask"]] if "mask" in named else [])]
    *last, y = at.writer.several(
        "Scan",
        [*(named[name] for name in p.states), *scanned],
        len(outputs),
        body=body,
        num_scan_inputs=len(scanned),
    )
    return [y, *last]


def _step(node: Node) -> Graph:
    """One step of a recurrence as a graph: the states and y of what stands before it."""
    walk: Walk = node.primitive
    a, *rest = (x.type for x in node.inputs)
    types = {"a": _at_one_place(a), **dict(zip(walk.names, rest))}
    if "mask" in types:
        types["mask"] = _at_one_place(types["mask"])
    given = {name: input_value(name, t, node.place) for name, t in types.items()}
    old = [given[name] for name in walk.states]
    new = Cell(walk.of, {"x": given["a"], **given})(given["a"], *old)
    y = new[0]
    if "mask" in given:
        seen = reshape(given["mask"], (given["mask"].shape[0], 1))
        y, new = select(seen, y, 0.0), tuple(select(seen, b, a) for a, b in zip(old, new))
    return Graph(tuple(given.values()), {**dict(zip(walk.states, new)), "y": y})


def _at_one_place(t: TensorType) -> TensorType:
    return TensorType(t.shape[1:], t.dtype)
