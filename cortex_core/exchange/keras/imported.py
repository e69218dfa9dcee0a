"""A Keras file becomes a network, with what is needed to compare it layer by layer."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cortex_compute.errors import ArgumentError, SpecError
from cortex_compute.frozen import frozen
from cortex_core.declared import declare
from cortex_core.exchange.keras.classes import text
from cortex_core.exchange.keras.convert import Converted, convert
from cortex_core.exchange.keras.model import File, Model
from cortex_core.exchange.keras.order import INPUT
from cortex_core.exchange.keras.said import shortest
from cortex_core.exchange.keras.training import train_section
from cortex_core.exchange.keras.value import Value
from cortex_core.network import Network
from cortex_core.spec import Description, read
from cortex_core.spec.sections import default_name
from cortex_core.spec.write import to_yaml

if TYPE_CHECKING:
    from cortex_core.exchange.keras.at import Translator
    from cortex_core.exchange.keras.custom import Given

DESCRIPTIONS = (".yaml", ".yml")
OF_BACKENDS = {
    "theano": "its kernels are taken for those of Theano, which turns them by 180 degrees",
    "tensorflow": "its kernels are taken for those of TensorFlow; Theano turns them by 180 degrees",
}
SAY_BACKEND = (
    "and the file does not say on which of the two Keras ran: a recording of the outputs (--outputs) does, "
    'or the JSON of the architecture with "backend" in it'
)
Name = str | os.PathLike[str]


@frozen
class Part:
    """A value that a layer of Keras gives, and what it is here."""

    path: str
    kind: str
    call: int
    index: int
    value: Value

    @property
    def key(self) -> tuple[str, int, int]:
        return self.path, self.call, self.index


@dataclass
class Imported:
    """A network, and where the values of the Keras model are in it.

    ``file`` says what was imported, and ``yaml`` is its description, for people.  ``inputs`` are named as in
    Keras.  ``whole``: ``parts`` are all that the Keras model computes, as its file says; else they are the
    layers here, and those are compared that have the same name there.  ``unused`` are layers that lead to no
    output, which are left out here.
    """

    file: str
    network: Network
    yaml: str
    inputs: dict[str, Value]
    parts: list[Part]
    whole: bool = True
    unused: frozenset[str] = frozenset()
    notes: list[str] = field(default_factory=list)
    converted: Converted | None = None

    def tell(self, proof: str) -> None:
        """Writes into the network where it is from, see `Network`."""
        told: dict[str, Any] = {"file": self.file, "proof": proof}
        self.network.origin = told | ({"notes": self.notes} if self.notes else {})


def from_keras(
    path: Name,
    weights: Name | None = None,
    maps: Mapping[str, Given] | None = None,
    outputs: Name | None = None,
    tolerance: float | None = None,
) -> Network:
    """The network of a Keras file: HDF5 or .keras, of any version; TensorFlow is not needed.

    ``weights``: a file of weights for an architecture (JSON) or a description (YAML), or in place of those
    that a model has.  ``maps``: for layers that are not known here, such as Lambda, by their name or class
    a block: its file, or what would stand in it as a dict, such as ``{"layers": ["silu"]}``.  ``outputs``: a
    recording that the script of ``cortex keras-recorder`` made, with which every layer is compared;
    ``tolerance``: how far a layer may depart, relative to its largest value (0.0001).

    Example::

        network = cortex.from_keras("model.h5", outputs="recording.npz")
        network.origin["proof"]  # "proved: 2 of 2 layers within 1e-6 of Keras, on 4 examples"
        network.predict(x)

    What the comparison found is in ``network.origin["proof"]``; a warning says where nothing was proved, or
    a layer departs.  What is not as it was in Keras, ``network.summary()`` tells, and
    ``network.origin["notes"]``.

    Raises `SpecError` with every layer that cannot be imported, and `DataError` for outputs of another model.
    Nothing in the file is executed.
    """
    if outputs is None and tolerance is None:
        return load(path, weights, maps).network
    from cortex_core.exchange.keras.proof import PROVED, load_proved

    found, proof = load_proved(path, weights, maps, outputs, tolerance)
    if proof.verdict != PROVED:
        warnings.warn(f"{path}: {proof}", stacklevel=2)
    return found.network


def load(
    path: Name, weights: Name | None = None, maps: Mapping[str, Given] | None = None, backend: str = ""
) -> Imported:
    """As `from_keras`, with what a proof needs; ``backend`` as in `reader.read`."""
    place = Path(path)
    described = place.suffix.lower() in DESCRIPTIONS
    found = _assigned(place, weights, maps, backend) if described else _read(place, weights, maps, backend)
    found.tell("unproved")
    return found


def _read(place: Path, weights: Name | None, maps: Mapping[str, Given] | None, backend: str) -> Imported:
    """A file of Keras that says what its layers are."""
    from cortex_core.exchange.keras import reader

    file = reader.read(place, weights, backend)
    translators = _translators(maps)
    converted = convert(file, translators)
    data, description = _described(converted, file, default_name(place.name))
    network = _network(description, converted)
    name = text((place if weights is None else Path(weights)).name)
    if file.assumed:
        told = f"no version of Keras is said; it is read as one of Keras {file.version or '1'}"
        converted.notes.append(f"{name}: {told}")
    if file.guessed:
        converted.notes.append(f"{name}: {OF_BACKENDS[file.backend]}, {SAY_BACKEND}")
    resumable = bool(file.optimizer and file.optimizer.weights) and description.train is not None
    if file.replaced and weights is not None and not place.samefile(weights):
        anew = "; the optimizer starts anew" if resumable else ""
        told = f"the weights are those of this file, not of {text(place.name)}{anew}"
        converted.notes.append(f"{text(Path(weights).name)}: {told}")
    elif resumable:
        from cortex_core.exchange.keras.optimizer import resume

        converted.notes.append(resume(network, file, converted, translators))
    kinds = dict(_kinds(file.model, ""))
    return Imported(
        _told(place, weights, "" if file.assumed else file.version),
        network,
        to_yaml(data),
        dict(zip((out.layer for out in file.model.inputs), converted.inputs)),
        list(_parts(converted, kinds)),
        unused=frozenset(kinds.keys() - converted.results.keys()),
        notes=[note for note in dict.fromkeys(converted.notes) if note],
        converted=converted,
    )


def _assigned(place: Path, weights: Name | None, maps: Mapping[str, Given] | None, backend: str) -> Imported:
    """A description of ours with the weights of a file."""
    from cortex_core.exchange.keras.assign import assign
    from cortex_core.exchange.keras.reader import has_state
    from cortex_core.summary import rows

    if weights is None:
        raise ArgumentError(
            f"{place}: this is a description; give the file of its weights (--weights, in Python weights=)"
        )
    network = assign(place, Path(weights), maps, backend)
    yaml = to_yaml(network.description.canonical) if maps else place.read_text(encoding="utf-8-sig")
    inputs = {x.name: Value(x.name, x.shape, str(x.dtype)) for x in network.description.inputs}
    shapes = [(row.id, row.kind, row.output) for row in rows(network.description)]
    parts = [Part(id_, kind, 0, 0, Value(id_, shape)) for id_, kind, shape in shapes if shape is not None]
    anew = f"{text(Path(weights).name)}: it holds the state of an optimizer, which starts anew"
    notes = [anew] if has_state(weights) else []
    return Imported(_told(place, weights), network, yaml, inputs, parts, whole=False, notes=notes)


def _told(place: Path, weights: Name | None, version: str = "") -> str:
    """What was imported, on one line whatever the files are called and say; long names are shortened."""
    names = ", ".join(text(Path(file).name) for file in (place, weights) if file is not None)
    return f"{names} (Keras {text(version)})" if version else names


def _translators(maps: Mapping[str, Given] | None) -> dict[str, Translator]:
    if maps is None or maps == {}:
        return {}
    from cortex_core.exchange.keras.custom import blocks, translator

    return {name: translator(block) for name, block in blocks(maps).items()}


def _described(converted: Converted, file: File, name: str) -> tuple[dict[str, Any], Description]:
    """The description, as data and as read; without the training where that is not possible here."""
    data = _short(converted.description(name))
    losses, train = train_section(file, converted) or ([], {})
    said = {key: _short(section) for key, section in (("loss", losses), ("train", train)) if section}
    for kept in (("loss", "train"), ("loss",), ("train",)):
        whole = data | {key: said[key] for key in kept if key in said}
        try:
            return whole, read(whole)
        except SpecError as error:
            if whole == data:
                raise
            if len(kept) == 2:
                converted.notes.append(f"how it was trained is not all imported: {error}")
    return data, read(data)


def _short(data: Any) -> Any:
    """The data with 0.001 for 0.0010000000474974513, which is as it is in float32."""
    if isinstance(data, dict):
        return {key: _short(value) for key, value in data.items()}
    if isinstance(data, list):
        return [_short(value) for value in data]
    return shortest(data) if isinstance(data, float) else data


def _network(description: Description, converted: Converted) -> Network:
    """The network, which takes the weights over: a large model's are not held twice for long."""
    network = Network.blank(description, declare(description))
    weights = converted.builder.weights
    for name in [*weights]:
        network.store.write(placed(network, name), weights.pop(name))
    return network


def placed(network: Network, name: str) -> str:
    """What a parameter is called in the network: a loss of logits has taken the softmax off its layer."""
    id_, _, own = name.rpartition("/")
    return name if name in network.declared else f"{id_}/logits/{own}"


def _kinds(model: Model, prefix: str) -> Iterator[tuple[str, str]]:
    """The class of each layer by its path."""
    for layer in model.layers:
        yield prefix + layer.name, layer.kind
        if layer.model is not None:
            yield from _kinds(layer.model, f"{prefix}{layer.name}/")


def _parts(converted: Converted, kinds: Mapping[str, str]) -> Iterator[Part]:
    for path, calls in converted.results.items():
        if kinds.get(path) == INPUT:
            continue
        for call, results in enumerate(calls):
            for index, value in enumerate(results):
                yield Part(path, kinds.get(path, ""), call, index, value)
