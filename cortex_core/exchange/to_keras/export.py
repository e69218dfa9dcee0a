"""A network becomes a file of Keras 3."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cortex_compute.errors import ArgumentError, SpecError
from cortex_core.declared import OTHER, free_length, traced_declarations
from cortex_core.exchange.to_keras.archive import archive, grouped, weights
from cortex_core.exchange.to_keras.at import At, Shape, Unfit, Whole
from cortex_core.exchange.to_keras.graph import Graph, Tensor, valid
from cortex_core.exchange.to_keras.order import listed
from cortex_core.exchange.to_keras.outputs import shown
from cortex_core.exchange.to_keras.translators import load, translated
from cortex_core.graph.value import Value
from cortex_core.spec.description import InputNode, LayerNode, owner
from cortex_core.trace import has_free_axes
from cortex_core.training.files import write_atomically

if TYPE_CHECKING:
    from cortex_core.network import Network

WHOLE, ALONE = ".keras", ".weights.h5"
MOST_TOLD = 50
"""Of so many layers that cannot be exported it is said why."""

TYPES = {"int64": "int32"}
"""What Keras calls an input's type, where it is another one: whole numbers have 32 bits there."""


def to_keras(network: Any, path: str | os.PathLike[str], raw: bool = False) -> list[str]:
    """Writes a network as a model of Keras 3 (``.keras``), or its weights alone (``.weights.h5``).

    ``network`` is one, or the path of a ``.cortex`` file or of the folder of a run.  The model has the inputs
    of the network by name, and gives what `Network.predict` does; with ``raw`` what the layers give, such as
    logits.  Keras is not needed.

    Example::

        cortex.to_keras(network, "model.keras")
        # where Keras is: keras.models.load_model("model.keras").predict(x)

    Gives notes: what is not as it was here, though predictions are the same; for weights alone also which
    layer they are of.  Raises `SpecError` with every layer that Keras cannot say, and writes nothing then.
    """
    from cortex_core.network import network as opened

    place = Path(path)
    if not place.name.endswith((WHOLE, ALONE)):
        raise ArgumentError(f"{place}: expected a name that ends in {WHOLE}, or in {ALONE} for weights alone")
    made = exported(opened(network), raw)
    if place.name.endswith(WHOLE):
        write_atomically(place, archive(made.graph, made.outputs, made.name))
        return made.notes
    write_atomically(place, weights(made.graph, made.outputs, made.name))
    return [*made.notes, *_places(made)]


@dataclass
class Exported:
    """The model of Keras, and what people should know of it."""

    name: str
    graph: Graph
    outputs: list[Tensor]
    notes: list[str]


def exported(network: Network, raw: bool = False) -> Exported:
    """The model of Keras that a network is.  Raises `SpecError`."""
    walk = _Walk(network)
    outputs = walk.outputs(raw)
    if walk.faults:
        lines = [f"  {fault}" for fault in islice(walk.faults, MOST_TOLD)]
        more = len(walk.faults) - len(lines)
        lines += [f"  and {more:,} more"] if more else []
        told = f"{len(walk.faults):,} of the network's layers cannot be said in Keras:"
        raise SpecError("\n".join((told, *lines)))
    graph, notes = walk.whole.graph, walk.whole.notes
    reached = {layer.name for layer in listed(graph.layers, outputs)}
    aside = [x.layer for x in graph.inputs if x.layer not in reached]
    notes += [f"the model does not take '{name}', which leads to no output" for name in aside]
    graph.inputs = [x for x in graph.inputs if x.layer in reached]
    return Exported(valid(network.name), graph, outputs, list(dict.fromkeys(notes)))


def _places(made: Exported) -> Iterator[str]:
    """Which layer the arrays of a group are of: who builds the model gives it layers in this order."""
    for layer, group in grouped(listed(made.graph.layers, made.outputs)):
        if layer.weights:
            yield f"layers/{group} has the weights of {layer.name} ({layer.kind})"


class _Walk:
    """Calls each layer's translator in order, of the layers that lead to an output."""

    def __init__(self, network: Network) -> None:
        load()
        self.network, self.description = network, network.description
        self.nodes = {node.id: node for node in self.description.layers}
        self.faults: dict[str, None] = {}
        self.whole = Whole(Graph(), self.nodes, self._array, *_types(self.description), [], {})
        self.values: dict[str, Tensor] = {}
        for x in self.description.inputs:
            self.values[x.name] = self._input(x)
        needed = self._needed()
        for node in self.description.layers:
            if node.id in needed:
                self._layer(node)

    def _input(self, x: InputNode) -> Tensor:
        if "/" in x.name:
            raise SpecError(f"input '{x.name}': Keras takes no name with '/'; call it otherwise")
        kind = str(x.dtype)
        if kind in TYPES:
            told = f"{TYPES[kind]} in Keras, and numbers of more bits become others"
            self.whole.notes.append(f"the input '{x.name}' is {told}")
        return self.whole.graph.input(x.name, x.shape or (), TYPES.get(kind, kind))

    def outputs(self, raw: bool) -> list[Tensor]:
        """What the model gives."""
        found = []
        for id_ in self.description.outputs:
            x = self.values[id_]
            try:
                x = x if raw else shown(self.network, self.whole.graph, id_, x)
            except Unfit as unfit:
                self.faults[f"{id_}: {unfit}"] = None
            found.append(self.whole.graph.unmasked(x) if x.mask else x)
        return found

    def _array(self, name: str) -> Any:
        network = self.network
        return (network.parameters if name in network.slots else network.variables)[name]

    def _needed(self) -> set[str]:
        """What leads to an output."""
        left, found = [*self.description.outputs], set[str]()
        while left:
            id_ = owner(left.pop(), self.nodes)
            if id_ not in found:
                found.add(id_)
                left += self.nodes[id_].sources if id_ in self.nodes else ()
        return found

    def _layer(self, node: LayerNode) -> None:
        mine = {id_ for field, id_ in node.keywords if field == "mask"}

        def given(source: str) -> Tensor:
            x = self.values[source]
            return self.whole.graph.unmasked(x) if x.mask and x.mask not in mine else x

        tables = getattr(node.layer, "takes_whole", ())
        named = {
            field: given(found) if isinstance(found, str) else [*map(given, found)]
            for field, found in node.keywords
            if field not in tables
        }
        self.whole.notes.extend(_of_training(node))
        try:
            found = translated(At(node, [*map(given, node.positional)], named, self.whole))
        except Unfit as unfit:
            self.faults[f"{node.id} ({node.kind}): {unfit}"] = None
            found = self._unknown(node)
        results = {"": found} if isinstance(found, Tensor) else found
        self.values |= {f"{node.id}.{name}" if name else node.id: x for name, x in results.items()}

    def _unknown(self, node: LayerNode) -> dict[str, Tensor]:
        """Values of the right shapes in place of what cannot be said: what follows is looked at too."""
        shapes, dtypes = self.whole.shapes, self.whole.dtypes
        sources = {node.id: "", **{s: s[len(node.id) + 1 :] for s in shapes if s.startswith(f"{node.id}.")}}
        return {name: Tensor(shapes[s], dtypes[s], "?") for s, name in sources.items()}


def _of_training(node: LayerNode) -> Iterator[str]:
    """What changes no prediction, and is not in the model."""
    rules = [f"{x.kind} of {x.parameter}" for x in node.penalties]
    rules += [f"{x.rule.kind} of {x.parameter}" for x in node.constraints]
    rules += [f"its learning rate times {node.learning_rate:g}"] if node.learning_rate != 1 else []
    if rules:
        yield f"{node.id}: not exported for training: {', '.join(rules)}"


def _types(description: Any) -> tuple[dict[str, Shape], dict[str, str]]:
    """The shape of each value without the batch axis, None for axes of any length, and its type in Keras."""
    length = free_length(description)
    one = traced_declarations(description, length, training=False)[1].values
    other = _of_another_length(description, length) if has_free_axes(description) else one
    shapes, dtypes = {}, {}
    for source, value in one.items():
        twin = other[source]
        assert value is not None
        assert twin is not None
        shapes[source] = tuple(n if n == m else None for n, m in zip(value.shape[1:], twin.shape[1:]))
        dtypes[source] = TYPES.get(str(value.dtype), str(value.dtype))
    return shapes, dtypes


def _of_another_length(description: Any, length: int) -> Mapping[str, Value | None]:
    """The values where axes of any length have another one, which all layers take: what differs is free."""
    for other in (OTHER, length // 2, *range(length - 1, 0, -1)):
        traced = traced_declarations(description, other, training=False)[1]
        if not traced.problems:
            return traced.values
    told = f"an axis of any length has the length {length} for these layers, and no other one"
    raise SpecError(f"{told}; `cortex surgery --resize-input` writes it into the description")
