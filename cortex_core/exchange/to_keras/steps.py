"""A layer at each step of a sequence."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from cortex_core.exchange.to_keras import translators
from cortex_core.exchange.to_keras.archive import grouped, model
from cortex_core.exchange.to_keras.at import At, Whole, exports
from cortex_core.exchange.to_keras.graph import Graph, Layer, Tensor, Weights
from cortex_core.exchange.to_keras.masks import truths
from cortex_core.exchange.to_keras.order import listed

FUNCTIONAL = "Functional"


@exports(
    "time_distributed",
    to="`TimeDistributed` of a layer, or of a model where one is several in Keras",
    refuses="what its layer refuses; a layer that gives several values",
)
def time_distributed(at: At) -> Tensor:
    held, weights = _held(at)
    mask = truths(at, at.named.get("mask"))
    if mask is not None and held.kind == FUNCTIONAL:
        at.fail("what its mask is for is several layers in Keras; train it without what makes them several")
    found = at.put("TimeDistributed", at.x, weights=weights, keywords={"mask": mask}, layer=held)
    return replace(found, mask=str(at.source("mask")))


def _held(at: At) -> tuple[Layer, Weights]:
    """The layer for one step, or the model that stands for it, and its weights by where they lie."""
    graph, kind = Graph(), at.layer.layer.kind
    graph.input("x", at.x.shape[1:], at.x.dtype)
    notes: list[str] = []
    found = translators.translated(_inside(at, graph, notes))
    y, *others = [found] if isinstance(found, Tensor) else found.values()
    if others:
        at.fail("its layer gives several values at each step; Keras takes one: 'return: sequence' or last")
    for note in notes:
        at.note(note)
    layers = [layer for layer in listed(graph.layers, [y]) if layer.kind != "InputLayer"]
    if len(layers) == 1 and not layers[0].is_operation:
        return layers[0], {_path("layer", part): own for part, own in layers[0].weights.items()}
    config = model(graph, [y], kind)["config"]
    places = {
        _path(f"layer/layers/{group}", part): own
        for layer, group in grouped(layers)
        for part, own in layer.weights.items()
    }
    return Layer(kind, "keras.src.models.functional", FUNCTIONAL, config), places


def _path(*parts: str) -> str:
    return "/".join(filter(None, parts))


def _inside(at: At, graph: Graph, notes: list[str]) -> At:
    """The layer of one step, called as its kind, of the input of a graph of its own."""
    held = at.layer.layer
    node = replace(at.node, id=held.kind, kind=held.kind, layer=held, keywords=(), shared=())

    def array(name: str) -> np.ndarray:
        return at.array(name.partition("/")[2])

    shapes = {held.kind: at.shape[1:]}
    shapes |= {
        f"{held.kind}.{name}": at.whole.shapes[f"{at.node.id}.{name}"][1:]
        for name in held.outputs
        if f"{at.node.id}.{name}" in at.whole.shapes
    }
    whole = Whole(graph, {node.id: node}, array, shapes, {node.id: at.dtype}, notes, {})
    return At(node, graph.inputs, {}, whole)
