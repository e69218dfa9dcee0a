"""Examples as people see them: as a picture where an input is one, and in words."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from cortex_compute.errors import DataError
from cortex_core.network import Network
from cortex_core.training.examples import Encoding, Examples
from cortex_core.training.pieces import pieces
from cortex_core.training.source import Source
from cortex_viz.sprite import shrunk

Array = np.ndarray[Any, Any]
CELLS = 8  # of a table's row
NUMBERS = 6  # of an array
LOOKED_AT = 64  # examples, for the lowest and the highest number of pictures
LONGEST = 160  # characters of an example in words
FRACTION = re.compile(r"[-+]?\d*\.\d{5,}(e[-+]?\d+)?", re.IGNORECASE)  # more digits than people read


class Shown:
    """Shows examples of a source that a network reads.

    ``cells``: name -> (examples,), what people wrote of each, where that is known.
    """

    def __init__(self, network: Network, source: Source, cells: Mapping[str, Array] | None = None) -> None:
        self.source, self.encoding, self.cells = source, network.encoding, dict(cells or {})
        self.inputs = [x.name for x in network.description.inputs]
        self.picture = next((name for name in self.inputs if _is_picture(source.streams[name].shape)), None)

    def select(self, rows: Array) -> Shown:
        """The same of some examples."""
        made = object.__new__(Shown)
        made.__dict__.update(self.__dict__)
        made.source = self.source.select(rows)
        made.cells = {name: column[rows] for name, column in self.cells.items()}
        return made

    @property
    def channels(self) -> int:
        """Of the pictures: 1, or 3; 0 where no input is a picture."""
        if self.picture is None:
            return 0
        return 3 if (self.source.streams[self.picture].shape[-1] or 0) >= 3 else 1

    def pictures(self, rows: Array, longest: int = 64) -> Array | None:
        """Of some examples, bytes (n, height, width, 1 or 3), shrunk until the longer edge has at most
        ``longest`` pixels; None where no input is a picture, or where there is no example.

        One scale for all examples: numbers within 0..1 as they are, others between the lowest and the highest
        of some.  NaN is black.
        """
        made: Array | None = None
        if self.picture is None:
            return made
        low, high = self._range
        for own, arrays in pieces(self.source.select(rows), [self.picture]):
            small = shrunk(arrays[self.picture][..., : self.channels], longest)
            if made is None:
                made = np.empty((len(rows), *small.shape[1:]), np.uint8)
            scaled = np.nan_to_num((small - low) * (255 / (high - low)))
            made[own] = np.rint(np.clip(scaled, 0, 255))
        return made

    @cached_property
    def _range(self) -> tuple[float, float]:
        """The numbers that are shown black and white."""
        assert self.picture is not None
        some = np.unique(np.linspace(0, len(self.source) - 1, LOOKED_AT).astype(np.intp))
        values = gathered(self.source.select(some), [self.picture])[self.picture]
        if values.dtype == np.uint8:
            return 0.0, 255.0
        known = values[np.isfinite(values)]
        low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 1.0)
        return (0.0, 1.0) if low >= 0 and high <= 1 else (low, high if high > low else low + 1 + abs(low))

    def words(self, rows: Array) -> list[str]:
        """A line for each of some examples: cells, texts or numbers; nothing where a picture says it all."""
        if self.cells:
            columns = list(self.cells.items())[:CELLS]
            return [_short(" · ".join(_cell(name, c[row]) for name, c in columns)) for row in rows]
        if self.picture is not None:
            return [""] * len(rows)
        return [self._inputs(int(row)) for row in rows]

    def _inputs(self, row: int) -> str:
        arrays = gathered(self.source.select(np.array([row])), self.inputs)
        told = [self._told(name, array) for name, array in arrays.items()]
        return _short(told[0] if len(told) == 1 else " · ".join(map(_cell, arrays, told)))

    def _told(self, name: str, value: Array) -> str:
        """One example of a stream, (1, ...): its text or class, else its first numbers."""
        if value.dtype.kind == "i" and self.encoding is not None:
            try:
                return " ".join(str(self.encoding.decode(name, value)[0]).split())
            except (DataError, IndexError):
                pass  # it stands for nothing but itself
        flat = value.reshape(-1)
        return " ".join(f"{x:.4g}" for x in flat[:NUMBERS]) + (" …" if flat.size > NUMBERS else "")


def cells_of(
    examples: Examples, rows: Array, encoding: Encoding | None, inputs: Sequence[str]
) -> dict[str, Array]:
    """What people wrote of some rows: the names of files, the cells of the columns that a network reads."""
    found: dict[str, Array] = {}
    for name in dict.fromkeys(("file", *getattr(encoding, "features", ()), *inputs)):
        if name == "file" or hasattr(encoding, "features"):
            try:
                found[name] = examples.column(name)[rows]
            except DataError:
                continue  # such examples have no such column
    return found


def gathered(source: Source, names: Sequence[str]) -> dict[str, Array]:
    """Streams of all examples of a source, in order.  Raises `DataError` where they differ in length."""
    whole: dict[str, Array] = {}
    for rows, arrays in pieces(source, names):
        for name, part in arrays.items():
            made = whole.setdefault(name, np.empty((len(source), *part.shape[1:]), part.dtype))
            if made.shape[1:] != part.shape[1:]:
                raise DataError(f"stream {name!r} differs in length from example to example")
            made[rows] = part
    return whole


def _is_picture(shape: tuple[int | None, ...]) -> bool:
    return len(shape) == 3 and None not in shape and min(n or 0 for n in shape[:2]) > 1


def _cell(name: str, value: Any) -> str:
    told = str(value)
    if isinstance(value, (float, np.floating)) or FRACTION.fullmatch(told):
        told = f"{float(value):.4g}"
    return told if name == "file" else f"{name} {told or '–'}"


def _short(words: str) -> str:
    return words if len(words) <= LONGEST else words[: LONGEST - 1] + "…"
