"""What a description says about the columns of a table: kinds by name, with their options as fields.

A kind *learns* from the cells of the training rows what encodes the column from then on: a record of plain
fields that goes into the model file.  Both are checked by the same fields, whoever wrote the data.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Protocol, TypeVar

from cortex_core.registry import Invalid, Named, Registry, field, record
from cortex_core.registry.kinds import FromClass, Kind, Schema, Text
from cortex_datasets.source import Stream
from cortex_datasets.table.column import Array, Column, written

if TYPE_CHECKING:
    from typing_extensions import dataclass_transform
else:

    def dataclass_transform(**_: object) -> Callable[[Any], Any]:
        return lambda decorator: decorator


T = TypeVar("T")

Where = Callable[[int], str]  # where a row of the column stands, for messages

KINDS = Registry("kind of column")
LEARNED = Registry("encoding of a column")


class Learned(Protocol):
    """What the training rows taught about one column.

    ``fill_in`` and ``values`` look at a column's cells once each, and spread what they find over its rows.
    Both append to ``notes`` what was counted, and raise DataError for what the rules do not allow.
    """

    kind: str

    def parts(self) -> list[str]:
        """What each column of the features says, such as ``female``; as many as the features are wide."""

    def fill_in(self, column: Column, where: Where, notes: list[str], out: Array) -> None:
        """Writes the share of `features` into all of ``out``, float32 (rows, width)."""

    def stream(self) -> Stream:
        """The stream of this column alone."""

    def values(self, column: Column, where: Where, notes: list[str]) -> Array:
        """(rows, ...): the numbers of that stream."""

    def decode(self, values: Array) -> Array:
        """What people wrote, from the numbers of that stream."""


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(field,))
def kind(name: str, main: str | None = None) -> Callable[[type[T]], type[T]]:
    """Registers a kind of column that a description may declare."""
    return _registered(KINDS, name, main)


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(field,))
def learned(name: str) -> Callable[[type[T]], type[T]]:
    """Registers what a kind of column learns."""
    return _registered(LEARNED, name, None)


def _registered(registry: Registry, name: str, main: str | None) -> Callable[[type[T]], type[T]]:
    def decorate(cls: type[T]) -> type[T]:
        made: Any = record(cls)
        made.kind, made.main = name, main
        registry.add(name, made)
        return cls

    return decorate


class ColumnsKind(Kind):
    """A mapping from names of columns to their kinds."""

    words = "a mapping from names of columns to number, category, date, text, label or skip"
    one = Named(KINDS, "kind of column")

    def read(self, value: Any) -> dict[str, Any]:
        if value is None:
            return {}
        if not isinstance(value, Mapping):
            raise self.refuse(value)
        good, faults = {}, []
        for name, item in value.items():
            try:
                good[str(name)] = self.one.read(item)
            except Invalid as invalid:
                faults += [fault.under(str(name)) for fault in invalid.faults]
        if faults:
            raise Invalid(faults)
        return good

    def data(self, value: Any) -> Any:
        return {name: self.one.data(item) for name, item in value.items()}

    def schema(self) -> Schema:
        return {"type": "object", "additionalProperties": {"type": ["string", "object", "array"]}}


class CellKind(Text):
    """A cell as people write it; a number stands for its text."""

    words = "text or a number"

    def read(self, value: Any) -> str:
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        return super().read(written(float(value)) if number else value)

    def schema(self) -> Schema:
        return {"type": ["string", "number"]}


Cell = Annotated[Any, FromClass(lambda limits, rank: CellKind())]
"""What a cell may hold."""

Columns = Annotated[Any, FromClass(lambda limits, rank: ColumnsKind())]
"""Kinds of column by the name of the column."""
