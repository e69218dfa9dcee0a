"""Decoded pictures and what was told of each, before anything is learned."""

from __future__ import annotations

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
            return np.array(self.listing.files)[self.kept]
        return self.texts(name, np.arange(len(self)))

    def texts(self, name: str, rows: Array) -> Array:
        """What a column says of some examples.  Raises DataError for an unknown column or an empty cell."""
        if name not in self.listing.columns:
            raise DataError(self._unknown(name))
        files = self.kept[rows]
        texts = self.listing.columns[name][files]
        for i in np.flatnonzero(texts == ""):
            where = self.listing.place(int(files[i]))
            raise DataError(f"{where}: {name!r} is empty; fill it, or leave the line out")
        return texts

    def _unknown(self, name: str) -> str:
        known = [IMAGE, *self.listing.columns]
        if not self.listing.columns:
            return f"{name!r} is not known of these pictures: they do not lie in one folder for each class"
        told = f"{name!r} is no stream of these pictures; they have {', '.join(known)}"
        return f"{told}. {nearest(name, known)}".rstrip(". ")

    def learn(self, rows: Array, inputs: Sequence[str], targets: Sequence[str]) -> PictureEncoding:
        """The size of the pictures and the names of the classes: those of the whole training part of the
        files, of which ``rows`` may be some."""
        asked = list(dict.fromkeys([*self.numbers, *inputs, *targets]))
        training = np.union1d(rows, self.parts["train"])
        texts = {name: self.texts(name, training) for name in asked if name != IMAGE}
        classes: dict[str, tuple[str, ...]] = {}
        notes = []
        for name in [name for name in texts if name not in self.numbers]:
            names, counts = np.unique(texts[name], return_counts=True)
            if len(names) == 1:
                raise DataError(
                    f"all pictures have the {name} {str(names[0])!r}; at least two classes are needed"
                )
            classes[name] = tuple(sorted(names.tolist(), key=_order))
            if single := names[counts == 1].tolist():
                more = ", ..." if len(single) > 5 else ""
                notes.append(f"classes with one picture: {len(single)} ({', '.join(single[:5])}{more})")
        return PictureEncoding(tuple(self.pixels.shape[1:]), classes, self.numbers, notes)


def _order(name: str) -> tuple[int, int, str]:
    """Whole numbers by their value, before other names."""
    return (0, int(name), name) if name.isascii() and name.isdigit() and len(name) < 19 else (1, 0, name)
