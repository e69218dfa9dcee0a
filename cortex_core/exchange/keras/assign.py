"""Weights of a Keras file for a network that a description says: where no architecture stands beside them.

A layer of the file belongs to the layer of the description whose id is its name (``fire2/squeeze1x1`` too),
or to the block: then its arrays go to the layers in it, one after the other.  Those of a model in a model go
to the layers whose ids begin with its name, as the import calls them.  Where no id is the name of a layer of
the file, the layers that have arrays are taken in order, as Keras does.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from cortex_compute.errors import ArgumentError, SpecError
from cortex_compute.frozen import frozen
from cortex_core.declared import is_carried
from cortex_core.exchange.keras.custom import WEIGHTS, Block, Given, blocks
from cortex_core.exchange.keras.legacy import modern_weights
from cortex_core.exchange.keras.model import Layer, Weight
from cortex_core.exchange.keras.named import dealt
from cortex_core.exchange.keras.reader import read_weights
from cortex_core.exchange.weights import ATTENTION, GATES, from_keras
from cortex_core.layers.scope import Variable
from cortex_core.network import Network, network
from cortex_core.place import OVERRIDE
from cortex_core.spec.resolve import needed

PLAIN = {f"conv{n}d": f"Conv{n}D" for n in (1, 2, 3)}
CLASSES = PLAIN | {f"conv_transpose{n}d": f"Conv{n}DTranspose" for n in (1, 2, 3)}
CLASSES |= {f"separable_conv{n}d": f"SeparableConv{n}D" for n in (1, 2)}
CLASSES |= {"depthwise_conv2d": "DepthwiseConv2D", "conv_lstm2d": "ConvLSTM2D", "lstm": "LSTM", "gru": "GRU"}
CLASSES |= {f"locally_connected{n}d": f"LocallyConnected{n}D" for n in (1, 2)}
CLASSES |= {"bidirectional": "Bidirectional", "time_distributed": "TimeDistributed"}
"""What Keras calls the layers whose arrays lie otherwise in old files; those of others have never changed."""

CHANNELWISE = ("depthwise", "separable")

Weights = tuple[Weight, ...]


@frozen
class Owner:
    """A layer of the description that has numbers: their names in it and their shapes, in order.

    ``variables``: how many of them are never trained, and ``trainable`` whether the others are.
    """

    id: str
    layer: Any
    shapes: Mapping[str, tuple[int, ...]]
    variables: int = 0
    trainable: bool = True

    @property
    def count(self) -> int:
        """How many arrays of Keras it takes: there a gru has both of its biases in one."""
        return sum(not name.endswith("recurrent_bias") for name in self.shapes)


def assign(
    description: Any,
    weights_path: str | Path,
    maps: Mapping[str, Given] | None = None,
    backend: str = "",
) -> Network:
    """The network of a description, with the weights of a file of Keras.

    ``maps`` are blocks, in files or as dicts, for the names that the description uses and does not explain.
    A file whose kernels are (out, in, ...) is taken for one of Theano, where neither it nor ``backend`` says
    what Keras ran on: there they are turned by 180 degrees.  Raises `SpecError` with all that does not fit,
    and for a block that the description does not need.
    """
    made = _made(description, {} if maps is None else blocks(maps))
    stored = read_weights(weights_path)
    owners = list(_owners(made))
    pairs, faults = _pairs({name: w for name, w in stored.layers.items() if w}, owners)
    first = any(_is_first(owner, weights) for owner, weights in pairs)
    ran_on = stored.backend or backend or ("theano" if first else "")
    for owner, weights in pairs:
        kind, config = _of_keras(owner.layer, "channels_first" if first else "channels_last")
        weights = modern_weights(Layer(owner.id, kind, config, ()), weights, stored.version, ran_on)
        try:
            for name, array in _fitting(owner, weights):
                made.store.write(f"{owner.id}/{name}", array)
        except ArgumentError as error:
            faults.append(f"{owner.id}: {error}")
    if faults:
        lines = "\n".join(f"  {fault}" for fault in faults)
        raise SpecError(f"{weights_path}: its weights do not fit the description:\n{lines}")
    return made


def _made(description: Any, maps: Mapping[str, Block]) -> Network:
    """The network of a description with these blocks, each of which it must need."""
    given = {name: block.data for name, block in maps.items()}
    unused = given.keys() - needed(description, given) if given else ()
    for name, block in maps.items():
        if WEIGHTS in block.data:
            told = "in a description arrays go to the layers of a block in their order"
            raise SpecError(f"{block.where}: {WEIGHTS}: {told}; expected none here")
        if name in unused:
            told = f"no layer of the description is called '{name}' and needs a block"
            raise SpecError(f"{block.where}: {told}; map only names that it uses and does not explain")
    try:
        return network(description, [f"blocks.{name}={json.dumps(block)}" for name, block in given.items()])
    except SpecError as error:
        problems = tuple(_in_block(problem, maps) for problem in error.problems)
        raise SpecError("\n".join(map(str, problems)) or str(error), problems) from None


def _in_block(problem: Any, blocks: Mapping[str, Block]) -> Any:
    """What is wrong in a block stands in the file of that."""
    place = problem.place
    name = re.match(r"blocks\.([\w/\-]+)", place.path)
    if place.file != OVERRIDE or name is None or name[1] not in blocks:
        return problem
    return replace(problem, place=replace(place, file=blocks[name[1]].where))


def _owners(made: Network) -> Iterator[Owner]:
    """The layers that have numbers, in order."""
    shapes: dict[str, dict[str, tuple[int, ...]]] = {}
    variables: Counter[str] = Counter()
    for name, declared in made.declared.items():
        if not is_carried(declared):
            id_, _, own = name.rpartition("/")
            shapes.setdefault(id_, {})[own] = declared.type.shape
            variables[id_] += isinstance(declared.declaration, Variable)
    for node in made.description.layers:
        if node.id in shapes:
            yield Owner(node.id, node.layer, shapes[node.id], variables[node.id], node.trainable)


def _pairs(
    stored: Mapping[str, Weights], owners: Sequence[Owner]
) -> tuple[list[tuple[Owner, Weights]], list[str]]:
    """The arrays of each owner, and what is left over on either side."""
    found = {name: [o for o in owners if _said(name) in _paths(o.id)] for name in stored}
    nested = _nested(stored, found, owners)
    if not any(found.values()) and not nested:
        return _in_order(list(stored.items()), owners)
    pairs: list[tuple[Owner, Weights]] = []
    faults: list[str] = []
    for name, inside in found.items():
        if name in nested:
            try:
                pairs += zip(nested[name], _of_nested(name, nested[name], stored[name]))
            except SpecError as error:
                faults.append(str(error))
        elif not inside:
            faults.append(f"the file has weights for '{name}'; the description has no layer of this id")
        pairs += _shared_out(stored[name], inside)
    with_weights = {owner.id for owner, _ in pairs}
    faults += [f"the file has no weights for '{o.id}'" for o in owners if o.id not in with_weights]
    return pairs, faults


def _in_order(
    stored: Sequence[tuple[str, Weights]], owners: Sequence[Owner]
) -> tuple[list[tuple[Owner, Weights]], list[str]]:
    if len(stored) != len(owners):
        there, here = (", ".join(names) for names in ([name for name, _ in stored], [o.id for o in owners]))
        told = f"the file has weights for {len(stored)} layers ({there:.200}), the description {len(owners)}"
        return [], [f"{told} ({here:.200}); expected as many, or ids that are names of the file"]
    return [(owner, weights) for owner, (_, weights) in zip(owners, stored)], []


def _said(name: str) -> str:
    """A name of the file as an id may be written."""
    return re.sub(r"[^A-Za-z0-9_\-]+", "_", name).strip("_")


def _paths(id_: str) -> set[str]:
    """The layer and the blocks that it is in."""
    parts = id_.split("/")
    return {_said("/".join(parts[:n])) for n in range(1, len(parts) + 1)}


def _shared_out(weights: Weights, owners: Sequence[Owner]) -> Iterator[tuple[Owner, Weights]]:
    """The arrays of one layer of the file for the layers of a block: by the names that stand before those of
    the arrays, else as many to each as it takes."""
    groups = _groups(weights)
    names = [owner.id.rpartition("/")[2] for owner in owners]
    if len(owners) > 1 and groups.keys() == set(names):
        yield from ((owner, groups[name]) for owner, name in zip(owners, names))
        return
    for owner in owners[:-1]:
        yield owner, weights[: owner.count]
        weights = weights[owner.count :]
    yield from ((owner, weights) for owner in owners[-1:])


def _nested(
    stored: Mapping[str, Weights], found: Mapping[str, Sequence[Owner]], owners: Sequence[Owner]
) -> dict[str, list[Owner]]:
    """The layers of each model in a model, ``tower_dense`` of ``tower``: those whose ids begin with its name,
    and with no longer one, and are no names of the file themselves.  Some must end in what its arrays are
    called: the arrays of ``dense`` are not for ``dense_new``."""
    taken = {owner.id for inside in found.values() for owner in inside}
    groups = sorted((name for name, inside in found.items() if not inside), key=len)
    nested: dict[str, list[Owner]] = {}
    for owner in owners:
        outer = [name for name in groups if owner.id.startswith(f"{_said(name)}_") and owner.id not in taken]
        if outer:
            nested.setdefault(outer[-1], []).append(owner)
    told = {name: _layers(stored[name]) for name in nested}
    return {name: inside for name, inside in nested.items() if any(_leaf(o.id, told[name]) for o in inside)}


def _of_nested(group: str, owners: Sequence[Owner], weights: Weights) -> Iterator[Weights]:
    """The arrays of a model in a model for its layers."""
    names = _layers(weights)
    leaves = [Layer(_leaf(o.id, names) or o.id, "", {"trainable": o.trainable}, ()) for o in owners]
    return dealt(group, leaves, [(o.count - o.variables, o.variables) for o in owners], weights)


def _layers(weights: Weights) -> dict[str, str]:
    """What the names of arrays, ``dense/kernel:0``, or ``dense_W`` of Keras 1, call layers, by how an id says
    it; also without the number that TensorFlow puts behind a name that it has seen before."""
    parts = {part for w in weights for part in w.name.split("/")[:-1] or [w.name.rpartition("_")[0]]}
    return {_said(name): name for part in sorted(parts) for name in (part, re.sub(r"_\d+$", "", part))}


def _leaf(id_: str, names: Mapping[str, str]) -> str:
    """What Keras calls a layer: its id here ends in it.  Empty where the names of the arrays do not tell."""
    told = [said for said in names if said and id_.partition("/")[0].endswith(f"_{said}")]
    return names[max(told, key=len)] if told else ""


def _groups(weights: Weights) -> dict[str, Weights]:
    """The arrays by the name of the layer in theirs: ``conv1`` for "block/conv1/kernel:0"."""
    found: dict[str, Weights] = {}
    for weight in weights:
        layer = weight.name.rpartition("/")[0].rpartition("/")[2]
        found[layer] = (*found.get(layer, ()), weight)
    return found


def _is_first(owner: Owner, weights: Weights) -> bool:
    """Whether a kernel lies as (out, in, ...), which says that channels were first."""
    if owner.layer.kind not in PLAIN:
        return False
    *_, into, out = owner.shapes["kernel"]
    shape = next((w.shape for w in weights), ())
    return shape[:2] == (out, into) and shape[-2:] != (into, out)


def _of_keras(layer: Any, order: str) -> tuple[str, dict[str, Any]]:
    """The class of Keras, and what of its configuration says how weights lie."""
    config: dict[str, Any] = {"data_format": order, "filters": getattr(layer, "filters", None)}
    kernel: Any = getattr(layer, "kernel", ())
    config["kernel_size"] = kernel[0] if len(kernel) == 1 else kernel
    if hasattr(layer, "layer"):
        kind, inner = _of_keras(layer.layer, order)
        config["layer"] = {"class_name": kind, "config": inner}
    return CLASSES.get(layer.kind, ""), config


def _fitting(owner: Owner, weights: Weights) -> Iterator[tuple[str, np.ndarray]]:
    """The numbers of a layer by their names in it."""
    arrays = [np.asarray(weight.read(), np.float32) for weight in weights]
    kind = _inner(owner.layer).kind
    if kind in GATES or kind == ATTENTION:
        found = from_keras(kind, arrays)
    else:
        found = dict(zip(owner.shapes, arrays))
    if len(arrays) != owner.count or found.keys() != owner.shapes.keys():
        told = f"the file has {len(arrays)} arrays for it"
        raise ArgumentError(f"{told}; expected {owner.count}: {', '.join(owner.shapes)}")
    for name, array in found.items():
        wanted = owner.shapes[name]
        if kind.startswith(CHANNELWISE) and array.size == np.prod(wanted):
            array = array.reshape(wanted)  # the same numbers in the same order
        if array.shape != wanted:
            raise ArgumentError(f"{name} has shape {[*array.shape]} in the file; expected {[*wanted]}")
        yield name, array


def _inner(layer: Any) -> Any:
    """The layer in a wrapper."""
    return getattr(layer, "layer", layer)
