"""A description as it is put together, layer by layer, with the shapes of its values and its weights."""

from __future__ import annotations

import math
import re
from collections.abc import Container, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from cortex_compute.errors import DTypeError, ShapeError
from cortex_compute.types import TensorType, float32
from cortex_core.graph.value import input_value, state_value
from cortex_core.layers.scope import Parameter
from cortex_core.place import Place
from cortex_core.registry import LAYERS, build, data_of, fields_of, sources_of
from cortex_core.registry.faults import Fault, Invalid
from cortex_core.spec.description import ALL, LayerNode, flat
from cortex_core.trace import Declaration, Traced, batch_type, run_layer

BATCH = 2
LARGEST = 2**31
"""How many numbers of one example a layer may give: 8 GiB, so that a file of few bytes asks for no more."""
LONGEST_NAME = 80
SIZES = (64, 96)
"""Two lengths of an axis of any length: what differs between them depends on it."""

Shape = tuple[int | None, ...]
Sources = str | Sequence[str]


class Unfit(Exception):
    """A layer that cannot be put: its message says what is wrong, and what is needed."""


class Builder:
    """Collects inputs, layers and weights, and knows the shape of each value.

    Layers are traced as they come, so that a mistake is that of the layer that is being put.
    """

    def __init__(self) -> None:
        self.inputs: dict[str, Any] = {}
        self.layers: list[dict[str, Any]] = []
        self.weights: dict[str, np.ndarray] = {}
        self._given: Mapping[str, np.ndarray] = {}  # those of the layer that is put
        self._traced = [Traced(), Traced()]
        self._declared: dict[str, dict[str, Declaration]] = {}  # by the id of a layer, its own by name
        self._takes: dict[str, tuple[str, ...]] = {}  # by the id of a layer, what it takes
        self._used: set[str] = {"input"}  # which has a meaning of its own there
        self._numbers: dict[str, int] = {}  # the last number behind each name

    def input(self, name: str, shape: Shape, dtype: str, others: Container[str] = ()) -> str:
        """Declares an input; gives its name here, which is none of ``others``: those inputs take it."""
        id_ = self.name(name, others)
        given = [*shape]
        self.inputs[id_] = given if dtype == "float32" else {"shape": given, "dtype": dtype}
        for traced, size in zip(self._traced, SIZES):
            traced.values[id_] = input_value(id_, batch_type(shape, dtype, BATCH, size), Place())
        return id_

    def name(self, wanted: str, others: Container[str] = ()) -> str:
        """A name that is free, and that a description can say; of ``others`` only the one that is wanted."""
        base = re.sub(r"[^A-Za-z0-9_\-]+", "_", wanted)
        if base != wanted or base.startswith("-"):  # else it stays, as `_x` does
            base = base.strip("_-")
        found = base = base[:LONGEST_NAME] or "layer"
        while found in self._used or (found != wanted and found in others):
            self._numbers[base] = self._numbers.get(base, 1) + 1
            found = f"{base}_{self._numbers[base]}"
        self._used.add(found)
        return found

    def put(
        self,
        id_: str,
        kind: str,
        fields: Mapping[str, Any],
        sources: Sequence[str],
        weights: Mapping[str, np.ndarray],
        share: str = "",
        common: Mapping[str, Any] | None = None,
    ) -> str:
        """Adds a layer of the registry, with fields as a description writes them; gives its id.

        ``share`` is the id of the layer whose parameters it has; else ``weights`` are its own, by name.
        ``common`` are the fields that any layer may have.  Raises `Unfit`.
        """
        layer = self._made(kind, fields)
        keywords = tuple((path[-1], found) for path, found in sources_of(layer))
        shared = ((ALL, share),) if share else ()
        all_sources = (*sources, *flat(named for _, named in keywords))
        node = LayerNode(id_, kind, layer, all_sources, True, 1.0, (), Place(), keywords, shared)
        self._given = {} if share else weights
        self._trace(node)
        if not share:
            self._take(id_, weights)
        self._takes[id_] = (*all_sources, share)
        self.layers.append(_written(kind, id_, layer, fields, sources, share, common or {}))
        return id_

    def keep(self, outputs: Iterable[str]) -> set[str]:
        """Drops the layers that lead to none of these values, such as masks that nobody takes; gives the
        names that are left.
        """
        kept, left = set(self.inputs), [*outputs]
        while left:
            id_ = left.pop().partition(".")[0]
            if id_ not in kept:
                kept.add(id_)
                left += self._takes.get(id_, ())
        self.layers = [entry for entry in self.layers if _id(entry) in kept]
        self.weights = {name: w for name, w in self.weights.items() if name.rpartition("/")[0] in kept}
        return kept

    def shape(self, source: str) -> Shape:
        """The shape of a value as it is here, without the batch axis."""
        one, other = self.sizes(source)
        return tuple(a if a == b else None for a, b in zip(one, other))

    def sizes(self, source: str) -> tuple[tuple[int, ...], ...]:
        """The shape without the batch axis, for each of `SIZES`."""
        return tuple(traced.values[source].shape[1:] for traced in self._traced)  # type: ignore[union-attr]

    def dtype(self, source: str) -> str:
        return str(self._traced[0].values[source].dtype)  # type: ignore[union-attr]

    def knows(self, source: str) -> bool:
        """Whether there is such a value."""
        return source in self._traced[0].values

    def _made(self, kind: str, fields: Mapping[str, Any]) -> Any:
        try:
            return build(LAYERS[kind], fields)
        except Invalid as invalid:
            raise Unfit(f"{kind}: {'; '.join(map(_told, invalid.faults))}") from None

    def _trace(self, node: LayerNode) -> None:
        for traced in self._traced:
            try:
                made = run_layer(node, False, self._fetch, traced, float32)
            except (ShapeError, DTypeError) as error:
                shown = ", ".join(str([*self.shape(s)]) for s in node.positional)
                raise Unfit(f"{getattr(error, 'reason', error)} (its input is {shown})") from None
            traced.values[node.id] = made
            size = [*made.shape[1:]]
            if math.prod(size) > LARGEST:
                raise Unfit(f"it gives {size!r:.80} for each example: more than {LARGEST} numbers")

    def _fetch(self, name: str, declaration: Declaration, layer: Any) -> Any:
        id_, _, own = name.rpartition("/")
        known = self._declared.setdefault(id_, {}).setdefault(own, declaration)
        if known.shape != declaration.shape:
            raise ShapeError(
                f"{name} is {[*known.shape]} here and {[*declaration.shape]} there: one size is needed"
            )
        given = self._given.get(own)
        if given is not None and given.shape != declaration.shape:  # before a layer makes tables of its sizes
            raise Unfit(f"{own} has shape {[*given.shape]}; expected {[*declaration.shape]}")
        return state_value(name, TensorType(declaration.shape, float32))

    def _take(self, id_: str, weights: Mapping[str, np.ndarray]) -> None:
        """Keeps the weights of a layer, if they are those that it declares; their shapes are known to be."""
        wanted = self._declared.get(id_, {})
        lacking = [name for name, d in wanted.items() if name not in weights and isinstance(d, Parameter)]
        if lacking or weights.keys() - wanted.keys():
            told = f"has the weights {', '.join(weights) or 'none'}"
            raise Unfit(f"{told}; expected {', '.join(wanted) or 'none'}")
        self.weights |= {f"{id_}/{name}": array for name, array in weights.items()}


def _id(entry: Mapping[str, Any]) -> str:
    """The id of an entry of a description."""
    (fields,) = entry.values()
    return str(fields["id"])


def _told(fault: Fault) -> str:
    return ": ".join(part for part in (".".join(map(str, fault.path)), fault.found, fault.expected) if part)


def _written(
    kind: str,
    id_: str,
    layer: Any,
    fields: Mapping[str, Any],
    sources: Sequence[str],
    share: str,
    common: Mapping[str, Any],
) -> dict[str, Any]:
    """The entry of a description."""
    told = _told_fields(layer, fields)
    from_ = sources[0] if len(sources) == 1 else [*sources]
    return {kind: {**told, "id": id_, "from": from_, **({"share": share} if share else {}), **common}}


def _told_fields(layer: Any, given: Mapping[str, Any]) -> dict[str, Any]:
    """The given fields that differ from the defaults, within layers in layers too; a word stays one."""
    data, known = data_of(layer), fields_of(type(layer))
    return {
        name: _told_value(getattr(layer, known[name].attribute), value, data[name])
        for name, value in given.items()
        if name in data and not _is_default(known[name], data, layer)
    }


def _told_value(own: Any, given: Any, data: Any) -> Any:
    if isinstance(given, str):
        return given
    within = given.get(getattr(own, "kind", "")) if isinstance(given, Mapping) else None
    return {own.kind: _told_fields(own, within)} if isinstance(within, Mapping) else data


def _is_default(field: Any, data: Mapping[str, Any], layer: Any) -> bool:
    """Whether a field says what it would say unwritten."""
    if field.required:
        return False
    if field.like:
        return bool(data[field.name] == data[field.like])
    try:
        return bool(getattr(layer, field.attribute) == field.kind.read(field.default))
    except Invalid:
        return getattr(layer, field.attribute) is field.default
