"""Pairs of pictures of the same class or of different ones: what a siamese network learns from."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from cortex_compute.errors import DataError
from cortex_datasets.source import Array, DataSet, Stream

SAME = ("different", "same")
KEYS = {"train": 0, "test": 1}


@dataclass(frozen=True, repr=False, kw_only=True)
class PairSet(DataSet):
    """Example i is picture i of the set ``of``, ``image`` and ``label`` as they are there, and a partner.

    ``other`` is the partner: for about half of the examples another picture of the same class, for the rest
    one of another class.  ``same`` int64 is 1 for those and 0 for these.  Pairs do not change from epoch to
    epoch, and nothing of the training part is a partner in the test part.
    """

    of: DataSet
    streams: Mapping[str, Stream] = field(init=False)
    lengths: Mapping[str, int] = field(init=False)

    def __post_init__(self) -> None:
        given = self.of.streams
        pair = {"other": given["image"], "same": Stream((), "int64", SAME)}
        object.__setattr__(self, "streams", {"image": given["image"], "label": given["label"], **pair})
        object.__setattr__(self, "lengths", self.of.lengths)

    def load(self, split: str) -> Pairs:
        source = self.of.load(split)
        labels = np.empty(len(source), np.int64)
        source.gather(np.arange(len(source)), {"label": labels})
        return Pairs(source, self.streams, *partners(labels, KEYS[split]))

    def fetch(self, progress: bool = True) -> Path | None:
        return self.of.fetch(progress)

    def where(self) -> Path | None:
        return self.of.where()

    def present(self) -> bool:
        return self.of.present()


class Pairs:
    """A source of pairs over the pictures of ``source``: row i, and row ``partner[i]`` beside it."""

    fixed = True

    def __init__(self, source: Any, streams: Mapping[str, Stream], partner: Array, same: Array) -> None:
        self.source, self.streams = source, streams
        self.notes = getattr(source, "notes", ())
        self._partner, self._same = partner, same
        self._rows = np.arange(len(source))

    def __len__(self) -> int:
        return len(self._rows)

    def gather(self, indices: Array, out: Mapping[str, Array], *, epoch: int = 0) -> None:
        """Writes rows ``indices`` of each stream named in ``out`` into ``out[name][:len(indices)]``."""
        rows = self._rows.take(indices)  # raises IndexError for a row that does not exist
        self.source.gather(rows, {n: array for n, array in out.items() if n in self.source.streams})
        if "other" in out:
            self.source.gather(self._partner[rows], {"image": out["other"]})
        if "same" in out:
            out["same"][: len(rows)] = self._same[rows]

    def select(self, indices: Array) -> Pairs:
        """The pairs ``indices``, in that order.  A partner may be of any row of the whole source."""
        part = copy.copy(self)
        part._rows = self._rows.take(indices)
        return part


def partners(labels: Array, key: int) -> tuple[Array, Array]:
    """A partner for each example, never itself, and 1 where it is of the same class.

    What is drawn comes from the raw words of Philox with ``key``, which NumPy keeps the same in all versions.
    Raises DataError where an example has nobody of its class, or nobody else.
    """
    classes, number, size = np.unique(labels, return_inverse=True, return_counts=True)
    if len(classes) < 2 or size.min() < 2:
        raise DataError("pairs need at least two classes, and at least two examples of each")
    count = len(labels)
    order = np.argsort(labels, kind="stable")  # class after class
    start = (np.cumsum(size) - size)[number]
    own = size[number]
    place = np.empty(count, np.int64)
    place[order] = np.arange(count)
    coin, word = np.random.Philox(key=key).random_raw(2 * count).reshape(2, count)
    same = (coin >> np.uint64(63)).astype(np.int64)
    steps = np.where(same == 1, own - 1, count - own).astype(np.uint64)
    further = (word % steps).astype(np.int64)
    within = start + (place - start + 1 + further) % own  # round the own class, past the example itself
    beyond = (start + own + further) % count  # round all others
    return order[np.where(same == 1, within, beyond)], same
