"""Weights as Keras 3 lays them out (and 2.12 and later in ``.keras`` files): groups numbered by class.

The second Dense of a model has its weights in ``layers/dense_1/vars/0``, ``.../vars/1``, whatever it is
called.  What a layer is made of lies in groups inside, by attribute: ``lstm/cell/vars``,
``bidirectional/forward_layer/cell/vars``.  A layer that two models share has one group.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from cortex_core.exchange.keras.config import SHARED
from cortex_core.exchange.keras.hdf5 import Hdf5
from cortex_core.exchange.keras.model import Layer, Model
from cortex_core.exchange.keras.named import Given, Weights

CONTAINERS = ("layers", "_layer_checkpoint_dependencies")
"""The second one until 2.13: there each layer with weights took two numbers."""

GROUPS = {"GroupQueryAttention": "grouped_query_attention"}
"""What the weights of a class lie under, where that is not its public name."""

KEPT = ("CuDNNGRU", "CuDNNLSTM", "SyncBatchNormalization")
"""Classes that are others here, and which Keras still had when it began to number."""

Key = tuple[Any, Any]
OWN = "vars"
PARTS = (
    "forward_layer", "backward_layer", "layer", "cell", "query_dense", "_query_dense", "key_dense",
    "_key_dense", "value_dense", "_value_dense", "output_dense", "_output_dense",
)  # fmt: skip
"""What layers are made of, in the order of their weights."""

NO_WEIGHTS = re.compile(r"_?(seed|random)_generator\w*|optimizer|_?metrics|loss(_tracker)?|_compile_\w+")


def is_numbered(file: Hdf5) -> bool:
    """Whether weights lie as here."""
    return any(OWN in path.split("/") for path in file.arrays)


def by_number(file: Hdf5, model: Model) -> Given:
    """Which layer has which weights.  Raises `SpecError` where arrays are left over."""
    found = _Found(file)
    found.model(model, "")
    found.share()
    found.check()
    return found.given


def numbered_weights(file: Hdf5) -> dict[str, Weights]:
    """The weights of each layer by its name, or by that of its group; inner ones as ``outer/inner``."""
    found: dict[str, Weights] = {}
    for name, group in _labelled(file, "", ""):
        found[name if name not in found else group] = gathered(file, group)
    return found


def gathered(file: Hdf5, group: str) -> Weights:
    """The weights of a layer: its own, then those of its parts."""
    inner = file.inner.get(group, [])
    own = [name for name in file.inner.get(f"{group}/{OWN}", []) if name.isdecimal()] if OWN in inner else []
    weights = [file.weight(f"{group}/{OWN}/{name}") for name in sorted(own, key=int)]
    for part in sorted(inner, key=_place):
        twin = part == "layer" and "forward_layer" in inner  # what Bidirectional was made from
        if part != OWN and not twin and not NO_WEIGHTS.fullmatch(part):
            weights += gathered(file, f"{group}/{part}")
    return tuple(weights)


def _place(part: str) -> tuple[int, str, int]:
    known = PARTS.index(part) if part in PARTS else len(PARTS)
    stem, _, number = part.rpartition("_")
    return (known, stem, int(number)) if number.isdecimal() else (known, part, 0)


def snake_case(kind: str) -> str:
    """What Keras makes of the name of a class: ``Conv2D`` is ``conv2d``, ``ReLU`` is ``re_lu``."""
    kind = re.sub(r"\W+", "", kind.rpartition(">")[2])
    return re.sub("([a-z])([A-Z])", r"\1_\2", re.sub("(.)([A-Z][a-z]+)", r"\1_\2", kind)).lower()


def group_of(kind: str) -> str:
    """What the weights of the first layer of a class lie under."""
    return GROUPS.get(kind) or snake_case(kind)


class _Found:
    """Goes through a model and its groups side by side."""

    def __init__(self, file: Hdf5) -> None:
        self.file = file
        self.given: Given = {}
        self._seen: dict[Key, list[tuple[int | None, Weights]]] = {}
        self._without: list[Layer] = []

    def model(self, model: Model, group: str) -> None:
        start = f"{group}/" if group else ""
        container = next((c for c in CONTAINERS if start + c in self.file.inner), CONTAINERS[0])
        groups = self._groups(model, start + container)
        for layer in model.layers:
            inner = groups.get(layer.name)
            if layer.model is not None:
                inner = inner or f"{start}{container}/?"
                self.model(layer.model, f"{inner}/layer" if layer.kind == "TimeDistributed" else inner)
                continue
            found = gathered(self.file, inner) if inner else ()
            if found:
                self.given[id(layer)] = found
                for key, shared in _objects(layer):
                    self._seen.setdefault(key, []).append((shared, found))
            else:
                self._without.append(layer)

    def share(self) -> None:
        """Keras writes what models or wrappers share once: under the first one."""
        for layer in self._without:
            found = (weights for key, shared in _objects(layer) for weights in self._of(key, shared))
            self.given[id(layer)] = next(found, ())

    def _of(self, key: Key, shared: int | None) -> Iterator[Weights]:
        """The weights of an object that is there once more; where it is first, its number may lack."""
        if shared is not None:
            yield from (weights for number, weights in self._seen.get(key, ()) if number in (None, shared))

    def check(self) -> None:
        used = {weight.name for weights in self.given.values() for weight in weights}
        for path in self.file.arrays:
            outside = any(map(NO_WEIGHTS.fullmatch, path.split("/")))
            if path not in used and not outside and "forward_layer" not in self._beside(path):
                self.file.refuse(path, "the file has these weights, but the model has no layer for them")

    def _beside(self, path: str) -> list[str]:
        outer, _, inside = path.partition("/layer/")
        return self.file.inner.get(outer, []) if inside else []

    def _groups(self, model: Model, container: str) -> dict[str, str]:
        """The group of each layer, by the layer's name."""
        present = dict.fromkeys(self.file.inner.get(container, ()))
        stems = _by_stem(present)
        told = {name: f"{container}/{g}" for g in present if (name := self._told(f"{container}/{g}"))}
        found: dict[str, str] = {}
        for kind, own in _by_class(model).items():
            skips = container.rpartition("/")[2] == CONTAINERS[1]
            numbered = (
                sorted(stems.get(kind, ()), key=_place)
                if skips
                else [kind if i == 0 else f"{kind}_{i}" for i in range(len(own))]
            )
            found |= {n: f"{container}/{g}" for n, g in zip(own, numbered) if g in present}
        names = {layer.name for layer in model.layers}
        return found | {name: g for name, g in told.items() if name in names}

    def _told(self, group: str) -> str:
        """The name of a layer, which its group has from 3.5 on."""
        return self.file.text(f"{group}/{OWN}", "name")


def _objects(layer: Layer) -> Iterator[tuple[Key, int | None]]:
    """Class, name and number of a layer, and of the one that it wraps, whose weights are its own."""
    yield (layer.kind, layer.name), layer.shared
    held = layer.config.get("layer") if layer.kind != "Bidirectional" else None
    inner = held.get("config") if isinstance(held, Mapping) else None
    if held and isinstance(inner, Mapping):
        yield (held["class_name"], inner.get("name")), held.get(SHARED)


def _by_class(model: Model) -> dict[str, list[str]]:
    """The names of the layers of each class, in the order in which they are numbered."""
    found: dict[str, list[str]] = {}
    for layer in model.layers:
        if not layer.kind.startswith("ops."):
            kind = layer.written if layer.written in KEPT else layer.kind
            found.setdefault(group_of(kind), []).append(layer.name)
    return found


def _by_stem(groups: Iterable[str]) -> dict[str, list[str]]:
    """The groups by the class that they may be of: ``dense_2`` is the third Dense, or the first Dense_2."""
    found: dict[str, list[str]] = {}
    for group in groups:
        found.setdefault(group, []).append(group)
        stem, _, number = group.rpartition("_")
        if number.isdecimal():
            found.setdefault(stem, []).append(group)
    return found


def _labelled(file: Hdf5, group: str, label: str) -> Iterator[tuple[str, str]]:
    """Names and groups of layers: what has weights of its own, or parts that do."""
    start, before = (f"{group}/" if group else ""), (f"{label}/" if label else "")
    for name in file.inner.get(group, []):
        inner = start + name
        if name == OWN or inner in file.arrays or NO_WEIGHTS.fullmatch(name):
            continue
        inside = file.inner.get(inner, [])
        if name in CONTAINERS:
            yield from _labelled(file, inner, label)
            continue
        told = before + (file.text(f"{inner}/{OWN}", "name") or name)
        if file.inner.get(f"{inner}/{OWN}") or any(part in PARTS for part in inside):
            yield told, inner
        else:
            yield from _labelled(file, inner, told)
