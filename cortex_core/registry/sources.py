"""Fields that name other values of a network, such as ``mask: words.mask``, and fields that hold a layer.

A layer gets the values that it names as keywords of its ``forward``.  Those that a layer inside another names
(``bidirectional: {layer: {lstm: {units: 8, mask: words.mask}}}``) are handed to the outer one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Annotated, Any

from cortex_compute.frozen import frozen
from cortex_core.registry.classes import LAYERS, STREAMS, Field, fields_of
from cortex_core.registry.kinds import FromClass, Kind, Optional_, Schema, read_items
from cortex_core.registry.named import Named

Path = tuple[str, ...]


@frozen
class SourceKind(Kind):
    """The id of a layer, ID.OUTPUT or the name of an input; ``several``: one or a list of them."""

    several: bool = False

    @property
    def words(self) -> str:
        one = "the id of a layer or the name of an input"
        return f"{one}, or a list of them" if self.several else one

    def read(self, value: Any) -> Any:
        if self.several:
            return read_items(SourceKind(), value if isinstance(value, (list, tuple)) and value else [value])
        if isinstance(value, bool) or not isinstance(value, (str, int)) or value == "":
            raise self.refuse(value)
        return str(value)

    def data(self, value: Any) -> Any:
        return list(value) if self.several else value

    def schema(self) -> Schema:
        one: Schema = {"type": ["string", "integer"]}
        return {"anyOf": [one, {"type": "array", "items": one, "minItems": 1}]} if self.several else one


Source = Annotated[str, FromClass(lambda limits, rank: SourceKind())]
"""Another value of the network, by name: ``forward`` gets it as a keyword."""

Sources = Annotated[tuple[str, ...], FromClass(lambda limits, rank: SourceKind(True))]
"""One or several of them; ``forward`` gets a tuple."""


@frozen
class StreamKind(Kind):
    """The name of a stream of the data, or what is made of one: ``{index: label}``."""

    words = "a stream of the data, such as label"

    def read(self, value: Any) -> Any:
        if isinstance(value, str) and value:
            return value
        if isinstance(value, (str, bool, int, float)) or value is None:
            raise self.refuse(value)
        return Named(STREAMS, "stream").read(value)

    def data(self, value: Any) -> Any:
        return value if isinstance(value, str) else Named(STREAMS, "stream").data(value)

    def schema(self) -> Schema:
        return {"anyOf": [{"type": "string", "minLength": 1}, Named(STREAMS, "stream").schema()]}


Stream = Annotated[Any, FromClass(lambda limits, rank: StreamKind())]
"""A stream of the data, of which a loss gets each batch as a keyword."""


def name_of_stream(used: Any) -> str:
    """The stream of the data behind what a `Stream` field holds."""
    return used if isinstance(used, str) else str(used.of)


def streams_of(loss: Any) -> dict[str, Any]:
    """What the `Stream` fields of a loss hold, by field."""
    fields = {f.name: getattr(loss, f.attribute) for f in fields_of(type(loss)).values() if _is_stream(f)}
    return {name: used for name, used in fields.items() if used is not None}


def _is_stream(field: Field) -> bool:
    return isinstance(_kind(field), StreamKind)


Layer = Annotated[Any, FromClass(lambda limits, rank: Named(LAYERS, "layer"))]
"""A layer inside another, such as ``{lstm: {units: 8}}``."""


def _kind(field: Field) -> Kind:
    return field.kind.inner if isinstance(field.kind, Optional_) else field.kind


def _held(field: Field) -> bool:
    """Whether a field holds a layer (an activation has no sources)."""
    kind = _kind(field)
    return isinstance(kind, Named) and kind.registry is LAYERS and not kind.only


def sources_of(layer: Any) -> Iterator[tuple[Path, Any]]:
    """What a layer names, itself and inside: the path of the field in canonical data, the name or names."""
    for field in fields_of(type(layer)).values():
        value = getattr(layer, field.attribute)
        if value is not None and isinstance(_kind(field), SourceKind):
            yield (field.name,), value
        elif value is not None and _held(field):
            yield from (((field.name, value.kind, *path), found) for path, found in sources_of(value))


def with_sources(layer: Any, found: Mapping[str, Any]) -> Any:
    """The layer with other names in the fields that name values."""
    changed = {}
    for field in fields_of(type(layer)).values():
        value = getattr(layer, field.attribute)
        if value is not None and isinstance(_kind(field), SourceKind):
            changed[field.attribute] = found[field.name]
        elif value is not None and _held(field):
            changed[field.attribute] = with_sources(value, found)
    return replace(layer, **changed) if changed else layer
