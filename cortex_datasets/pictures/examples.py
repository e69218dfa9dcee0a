"""Decoded pictures and what was told of each, before anything is learned."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cortex_compute.errors import DataError
from cortex_core.registry import nearest
from cortex_datasets.pictures.encoding import IMAGE, PictureEncoding
from cortex_datasets.pictures.listing import Listing

Array = np.ndarray[Any, Any]


class PictureExamples:
    """Decoded pictures, less the damaged ones, and the texts that were told of each."""

    def __init__(
        self,
        listing: Listing,
        pixels: Array,
        damaged: Mapping[int, str],
        numbers: Sequence[str],
        notes: Sequence[str],
    ) -> None:
        self.listing, self.pixels, self.numbers, self.notes = listing, pixels, tuple(numbers), notes
        good = np.ones(len(listing.files), bool)
        good[list(damaged)] = False
        self.kept = np.flatnonzero(good)  # the file of each example
        place = np.cumsum(good) - 1
        self.parts = {part: place[rows[good[rows]]] for part, rows in listing.parts.items()}
        if empty := [part for part, rows in self.parts.items() if not len(rows)]:
            raise DataError(f"{listing.folder}: no picture of the part {empty[0]!r} can be read")

    def __len__(self) -> int:
        return len(self.kept)

    def column(self, name: str) -> Array:
        """What was told of each picture, or the name of its file ("file")."""
        if name == "file":
            return np.array(self.listing.files, object)[self.kept]
        return self.texts(name, np.arange(len(self)))

    def texts(self, name: str, rows: Array) -> Array:
        """What a column says of some examples.  Raises DataError for an unknown column or an empty cell."""
        texts = self._cells(name, rows)
        for i in np.flatnonzero(texts == ""):
            where = self.listing.place(int(self.kept[rows[i]]))
            raise DataError(f"{where}: {name!r} is empty; fill it, or leave the line out")
        return texts

    def _cells(self, name: str, rows: Array) -> Array:
        if name not in self.listing.columns:
            raise DataError(self._unknown(name))
        return np.asarray(self.listing.columns[name][self.kept[rows]])

    def _unknown(self, name: str) -> str:
        known = [IMAGE, *self.listing.columns]
        if not self.listing.columns:
            return f"{name!r} is not known of these pictures: they do not lie in one folder for each class"
        told = f"{name!r} is no stream of these pictures; they have {', '.join(known)}"
        return f"{told}. {nearest(name, known)}".rstrip(". ")

    def learn(self, rows: Array, inputs: Sequence[str], targets: Sequence[str]) -> PictureEncoding:
        """The size of the pictures, and the names of the classes.

        Which classes there are is no statistic of ``rows``: the files declare it, by the folders (or by the
        cells of a list) of their training part, so that it does not hang on how a part of that is held out.
        All that is counted is counted in ``rows`` alone.
        """
        for name in self.numbers:
            self._cells(name, rows[:0])  # an unknown column is an error even where it is not asked for
        classes: dict[str, tuple[str, ...]] = {}
        notes: list[str] = []
        for name in dict.fromkeys([*inputs, *targets]):
            if name != IMAGE and name not in self.numbers:
                classes[name] = self._classes(name, rows, notes)
        return PictureEncoding(tuple(self.pixels.shape[1:]), classes, self.numbers, notes)

    def _classes(self, name: str, rows: Array, notes: list[str]) -> tuple[str, ...]:
        counts = Counter(self.texts(name, rows).tolist())
        declared = {*counts, *self._cells(name, self.parts["train"]).tolist()} - {""}
        if len(declared) == 1:
            raise DataError(
                f"all pictures have the {name} {declared.pop()!r}; at least two classes are needed"
            )
        names = sorted(declared, key=_order)
        for count, what in ((0, "no training picture"), (1, "one picture")):
            if few := [text for text in names if counts[text] == count]:
                more = ", ..." if len(few) > 5 else ""
                notes.append(f"classes with {what}: {len(few)} ({', '.join(few[:5])}{more})")
        return tuple(names)


def _order(name: str) -> tuple[int, int, str]:
    """Whole numbers by their value, before other names."""
    return (0, int(name), name) if name.isascii() and name.isdigit() and len(name) < 19 else (1, 0, name)
