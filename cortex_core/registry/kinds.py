"""The kinds of value that a field may hold: how each is read, printed, described and put into a JSON schema.

A kind reads plain data (what YAML or Python gives) and returns the value that a layer holds, or raises
:class:`Invalid` with one :class:`Fault` per mistake.  ``data`` is the way back, to canonical data.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any

from cortex_compute.frozen import frozen
from cortex_core.registry.faults import Fault, Invalid, Path, clipped, shown
from cortex_core.registry.nearest import nearest

Schema = dict[str, Any]


LARGEST = 2**63 - 1  # what a shape, a count or a seed can be: a signed 64-bit number
MOST_FAULTS = 20  # that are told of one list


@frozen
class Limits:
    """Bounds of a number: ``minimum`` and ``maximum`` include their ends, ``above`` and ``below`` do not."""

    minimum: float | None = None
    maximum: float | None = None
    above: float | None = None
    below: float | None = None

    def hold(self, number: float) -> bool:
        """Whether the number lies within."""
        return (
            (self.minimum is None or number >= self.minimum)
            and (self.maximum is None or number <= self.maximum)
            and (self.above is None or number > self.above)
            and (self.below is None or number < self.below)
        )

    @property
    def words(self) -> str:
        """Such as ``, at least 0 and below 1``."""
        named = (
            ("at least", self.minimum),
            ("above", self.above),
            ("at most", self.maximum),
            ("below", self.below),
        )
        parts = [f"{word} {limit:g}" for word, limit in named if limit is not None]
        return f", {' and '.join(parts)}" if parts else ""

    def broken(self, number: float) -> str:
        """How a number that does not hold is wrong, such as ``-1 is too small``."""
        lower = Limits(minimum=self.minimum, above=self.above)
        shown = clipped(int(number) if number == int(number) else number)
        return f"{shown} is too {'large' if lower.hold(number) else 'small'}"

    @property
    def schema(self) -> Schema:
        """JSON schema's keywords."""
        keys = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")
        limits = (self.minimum, self.maximum, self.above, self.below)
        return {key: limit for key, limit in zip(keys, limits) if limit is not None}


NONE = Limits()


class Kind:
    """What a field may hold."""

    @property
    def words(self) -> str:
        """What is right, as in ``expected a whole number``."""
        raise NotImplementedError

    def read(self, value: Any) -> Any:
        """The value that the field holds; raises :class:`Invalid`."""
        raise NotImplementedError

    def data(self, value: Any) -> Any:
        """Canonical data of a value that :meth:`read` returned."""
        return value

    def schema(self) -> Schema:
        """JSON schema (draft 2020-12) of what :meth:`read` accepts."""
        raise NotImplementedError

    def refuse(self, value: object, hint: str = "", path: Path = ()) -> Invalid:
        """The error for a value that is not of this kind."""
        return Invalid([Fault(path, shown(value), f"expected {self.words}", hint)])


@frozen
class Whole(Kind):
    """A whole number of at most 64 bits."""

    limits: Limits = NONE

    @property
    def words(self) -> str:
        return f"a whole number{self.limits.words}"

    def read(self, value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, numbers.Integral):
            if isinstance(value, str) and len(value) < 40 and value.replace("_", "").isdigit():
                raise self.refuse(value, f"Write {value.replace('_', '')}, without quotes or underscores")
            whole = isinstance(value, float) and value.is_integer() and abs(value) <= LARGEST
            raise self.refuse(value, f"Write {int(value)}" if whole else "")
        number = int(value)
        if abs(number) > LARGEST:
            expected = f"expected {self.words}, of at most 64 bits"
            raise Invalid([Fault((), f"{clipped(number)} is too large", expected)])
        if not self.limits.hold(number):
            raise Invalid([Fault((), self.limits.broken(number), f"expected {self.words}")])
        return number

    def schema(self) -> Schema:
        return {"type": "integer", **self.limits.schema}


@frozen
class Real(Kind):
    """A finite number."""

    limits: Limits = NONE

    @property
    def words(self) -> str:
        return f"a number{self.limits.words}"

    def read(self, value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, numbers.Real):
            raise self.refuse(value, _as_number(value))
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if not math.isfinite(number):
            raise Invalid([Fault((), f"{number} is not finite", f"expected {self.words}")])
        if not self.limits.hold(number):
            raise Invalid([Fault((), self.limits.broken(number), f"expected {self.words}")])
        return number

    def schema(self) -> Schema:
        return {"type": "number", **self.limits.schema}


def _as_number(value: object) -> str:
    """How to write text that was meant as a number: ``0,5``, ``10%``, ``1_000``, ``"0.5"``."""
    if not isinstance(value, str) or len(value) > 40:
        return ""
    text = value.strip().replace("_", "")
    percent = text.endswith("%")
    try:
        number = float(text.rstrip("% ").replace(",", "."))
    except ValueError:
        return ""
    return f"Write {number / 100 if percent else number:g}" if math.isfinite(number) else ""


@frozen
class Flag(Kind):
    """true or false."""

    words = "true or false"

    def read(self, value: Any) -> bool:
        if isinstance(value, bool):
            return value
        meant = {"yes": "true", "on": "true", "1": "true", "no": "false", "off": "false", "0": "false"}
        word = meant.get(str(value).lower()) if isinstance(value, (str, int)) else None
        raise self.refuse(value, f"Write {word}" if word else "")

    def schema(self) -> Schema:
        return {"type": "boolean"}


@frozen
class Text(Kind):
    """A name or a text."""

    words = "text"

    def read(self, value: Any) -> str:
        if isinstance(value, str) and not value:
            raise Invalid([Fault((), "this text is empty", f"expected {self.words}")])
        if not isinstance(value, str):
            name = str(value).lower() if isinstance(value, bool) else value
            scalar = isinstance(value, (bool, int, float))
            raise self.refuse(value, f'Write "{name}" in quotes if it is a name' if scalar else "")
        return value

    def schema(self) -> Schema:
        return {"type": "string", "minLength": 1}


@frozen
class Choice(Kind):
    """One of a few words (or numbers)."""

    options: tuple[Any, ...]

    @property
    def words(self) -> str:
        if len(self.options) == 1:
            return f"{self.options[0]}"
        return f"{', '.join(map(str, self.options[:-1]))} or {self.options[-1]}"

    def read(self, value: Any) -> Any:
        for option in self.options:
            if value == option and isinstance(value, bool) == isinstance(option, bool):
                return option
        raise self.refuse(value, nearest(value, map(str, self.options)) if isinstance(value, str) else "")

    def schema(self) -> Schema:
        return {"enum": list(self.options)}


@frozen
class Optional_(Kind):
    """What another kind reads, or null."""

    inner: Kind

    @property
    def words(self) -> str:
        return f"{self.inner.words} or null"

    def read(self, value: Any) -> Any:
        return None if value is None else self.inner.read(value)

    def data(self, value: Any) -> Any:
        return None if value is None else self.inner.data(value)

    def schema(self) -> Schema:
        return {"anyOf": [self.inner.schema(), {"type": "null"}]}


@frozen
class Either(Kind):
    """One of two kinds: the first that reads the value.  ``validation: 0.1`` or ``validation: test``."""

    kinds: tuple[Kind, ...]

    @property
    def words(self) -> str:
        return " or ".join(kind.words for kind in self.kinds)

    def read(self, value: Any) -> Any:
        for kind in self.kinds:
            try:
                return kind.read(value)
            except Invalid:
                continue
        raise self.refuse(value)

    def schema(self) -> Schema:
        return {"anyOf": [kind.schema() for kind in self.kinds]}


@frozen
class Many(Kind):
    """A list, each item of one kind; ``length`` items where that is given."""

    item: Kind
    length: int | None = None

    @property
    def words(self) -> str:
        count = "" if self.length is None else f"{self.length} of: "
        return f"a list of {count}{self.item.words}"

    def read(self, value: Any) -> tuple[Any, ...]:
        if not isinstance(value, (list, tuple)) or (self.length is not None and len(value) != self.length):
            raise self.refuse(value)
        return read_items(self.item, value)

    def data(self, value: Any) -> Any:
        return [self.item.data(item) for item in value]

    def schema(self) -> Schema:
        count = {} if self.length is None else {"minItems": self.length, "maxItems": self.length}
        return {"type": "array", "items": self.item.schema(), **count}


def read_items(kind: Kind, values: Sequence[Any]) -> tuple[Any, ...]:
    """Reads each item of a list and collects the faults of all, of a long list the first ones."""
    good: list[Any] = []
    faults: list[Fault] = []
    for index, value in enumerate(values):
        try:
            good.append(kind.read(value))
        except Invalid as invalid:
            faults += [fault.under(index) for fault in invalid.faults]
            if len(faults) >= MOST_FAULTS:
                break
    if faults:
        raise Invalid(faults[:MOST_FAULTS])
    return tuple(good)


def read_as(outer: Kind, inner: Kind, value: Any) -> Any:
    """What ``inner`` reads; what it refuses is not of the ``outer`` kind, of which it is one form."""
    try:
        return inner.read(value)
    except Invalid as invalid:
        expected = f"expected {outer.words}"
        raise Invalid(replace(fault, expected=expected) for fault in invalid.faults) from None


@frozen
class SizeKind(Kind):
    """One whole number per spatial axis, or one for all of them: ``5`` is ``[5, 5]`` in two dimensions."""

    rank: int
    limits: Limits = Limits(minimum=1)

    @property
    def words(self) -> str:
        one = Whole(self.limits).words
        return one if self.rank == 1 else f"{one}, or a list of {self.rank} of them"

    def read(self, value: Any) -> tuple[int, ...]:
        if isinstance(value, (list, tuple)):
            if len(value) != self.rank:
                raise self.refuse(value)
            return read_items(Whole(self.limits), value)
        return (read_as(self, Whole(self.limits), value),) * self.rank

    def data(self, value: Any) -> Any:
        return list(value)

    def schema(self) -> Schema:
        whole = Whole(self.limits)
        return {"anyOf": [whole.schema(), Many(whole, self.rank).schema()]}


@frozen
class MarginKind(Kind):
    """One number for all sides, or [before, after] for each spatial axis."""

    rank: int

    @property
    def words(self) -> str:
        pairs = ", ".join(["[before, after]"] * self.rank)
        return f"a whole number of at least 0, or [{pairs}]"

    def read(self, value: Any) -> Any:
        side = Whole(Limits(minimum=0))
        if not isinstance(value, (list, tuple)):
            return ((read_as(self, side, value),) * 2,) * self.rank
        flat = len(value) == self.rank and not any(isinstance(pair, (list, tuple)) for pair in value)
        if flat or len(value) != self.rank:
            hint = f"Write [{', '.join(f'[{v}, {v}]' for v in value)}]" if flat else ""
            raise self.refuse(value, hint)
        return read_items(Many(side, 2), value)

    def data(self, value: Any) -> Any:
        return [list(pair) for pair in value]

    def schema(self) -> Schema:
        side = Whole(Limits(minimum=0))
        return {"anyOf": [side.schema(), Many(Many(side, 2), self.rank).schema()]}


@frozen
class PaddingKind(MarginKind):
    """``valid``, ``same``, or a margin."""

    @property
    def words(self) -> str:
        return f"valid, same, {super().words}"

    def read(self, value: Any) -> str | tuple[tuple[int, int], ...]:
        if isinstance(value, str):
            if value not in ("valid", "same"):
                raise self.refuse(value, nearest(value, ("valid", "same")))
            return value
        pairs: tuple[tuple[int, int], ...] = super().read(value)
        return pairs if any(map(any, pairs)) else "valid"

    def data(self, value: Any) -> Any:
        return value if isinstance(value, str) else super().data(value)

    def schema(self) -> Schema:
        return {"anyOf": [{"enum": ["valid", "same"]}, *super().schema()["anyOf"]]}


@frozen
class ShapeKind(Kind):
    """A list of whole numbers; a single number is a list of one."""

    limits: Limits = Limits(minimum=1)

    @property
    def words(self) -> str:
        return f"a list of whole numbers{self.limits.words}"

    def read(self, value: Any) -> tuple[int, ...]:
        if isinstance(value, (list, tuple)):
            return read_items(Whole(self.limits), value)
        return (read_as(self, Whole(self.limits), value),)

    def data(self, value: Any) -> Any:
        return list(value)

    def schema(self) -> Schema:
        whole = Whole(self.limits).schema()
        return {"anyOf": [whole, {"type": "array", "items": whole}]}


MAX_DEPTH = 5  # axes of an array


@frozen
class ArrayKind(Kind):
    """A number, or lists of them within lists, as numpy.array takes them; held as tuples."""

    depth: int = MAX_DEPTH

    words = "a number, or lists of numbers, of one length at each depth"

    def read(self, value: Any) -> Any:
        if not isinstance(value, (list, tuple)):
            return read_as(self, Real(), value)
        if not self.depth:
            raise Invalid([Fault((), f"a list within {MAX_DEPTH} others", f"expected {self.words}")])
        if not value:
            raise self.refuse(value)
        items = read_items(ArrayKind(self.depth - 1), value)
        if len({*map(lengths, items)}) > 1:
            raise self.refuse(value)
        return items

    def data(self, value: Any) -> Any:
        return [self.data(item) for item in value] if isinstance(value, tuple) else value

    def schema(self) -> Schema:
        number = Real().schema()
        if not self.depth:
            return number
        items = {"type": "array", "items": ArrayKind(self.depth - 1).schema(), "minItems": 1}
        return {"anyOf": [number, items]}


def lengths(array: Any) -> tuple[int, ...]:
    """The shape of what an `ArrayKind` holds."""
    return (len(array), *lengths(array[0])) if isinstance(array, tuple) else ()


@frozen
class PlainKind(Kind):
    """Plain data of any form, kept as it is: what another package reads and checks."""

    words = "plain data: mappings, lists, text, finite numbers, true, false, null"

    def read(self, value: Any) -> Any:
        if isinstance(value, Mapping):
            return {str(key): self._inside(str(key), item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [self._inside(index, item) for index, item in enumerate(value)]
        if isinstance(value, float) and not math.isfinite(value):
            raise self.refuse(value)
        if value is None or isinstance(value, (bool, int, float, str)):
            return value
        raise self.refuse(value)

    def _inside(self, key: str | int, value: Any) -> Any:
        try:
            return self.read(value)
        except Invalid as invalid:
            raise Invalid(fault.under(key) for fault in invalid.faults) from None

    def schema(self) -> Schema:
        return {}


@frozen
class FromClass:
    """Marks an annotation whose kind is made from the limits and the rank of the layer that has the field."""

    make: Callable[[Limits | None, int], Kind]


Size = Annotated[tuple[int, ...], FromClass(lambda limits, rank: SizeKind(rank, limits or Limits(minimum=1)))]
"""One whole number per spatial axis: written as one number or a list, held as a tuple."""

Padding = Annotated[Any, FromClass(lambda limits, rank: PaddingKind(rank))]
"""``"valid"``, ``"same"`` or ``((before, after), ...)``."""

Margin = Annotated[tuple[tuple[int, int], ...], FromClass(lambda limits, rank: MarginKind(rank))]
"""(before, after) for each spatial axis: written as one number for all sides, or as pairs."""

Shape = Annotated[tuple[int, ...], FromClass(lambda limits, rank: ShapeKind(limits or Limits(minimum=1)))]
"""A list of whole numbers, held as a tuple."""

Fraction = Annotated[Any, FromClass(lambda limits, rank: Either((Real(Limits(minimum=0, below=1)), Text())))]
"""A part of the data, from 0 up to but without 1, or the name of other data."""

Array = Annotated[Any, FromClass(lambda limits, rank: ArrayKind())]
"""A number, or an array of them: lists within lists, held as tuples."""

Plain = Annotated[Any, FromClass(lambda limits, rank: PlainKind())]
"""Any plain data, kept as it is."""
