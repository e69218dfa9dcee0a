"""Sequences of different lengths: padded to one length, or to one of a few."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from cortex_compute.errors import DataError
from cortex_datasets.source import Stream

Array = np.ndarray[Any, Any]

MOST_BUCKETS = 4


class Ragged(NamedTuple):
    """Sequences one behind the other: ``values`` (all of them, ...); where each starts, and its length."""

    values: Array
    starts: Array
    lengths: Array


class PaddedSource:
    """Random access to sequences in memory, each padded with zeros behind.

    ``streams`` says what is served: the sequences in ``ragged``, and the ``arrays`` (examples, ...) that have
    one shape for all.  ``counts``: how long each example is.  ``edges``: the lengths to pad to, ascending; an
    example is padded to the first that holds it.  Where there are several, the shapes of sequences begin with
    None, ``lengths`` has the padded length of each example, and all rows of a batch must have the same.
    """

    fixed = True  # every epoch sees the same examples
    running = False  # each example stands by itself

    def __init__(
        self,
        streams: Mapping[str, Stream],
        ragged: Mapping[str, Ragged],
        arrays: Mapping[str, Array],
        counts: Array,
        edges: Sequence[int],
        notes: Sequence[str] = (),
    ) -> None:
        self.streams, self.notes = streams, tuple(notes)
        self._ragged, self._arrays = ragged, arrays
        self._padded = np.asarray(edges)[np.searchsorted(edges, counts)]
        self._several = len(edges) > 1
        self._rows = np.arange(len(counts))

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def lengths(self) -> Array | None:
        """The padded length of each example, (examples,), where they differ."""
        return self._padded.take(self._rows) if self._several else None

    @property
    def padded(self) -> set[str]:
        """The streams with a sequence that is shorter than it is padded to."""
        sizes = self._padded.take(self._rows)
        ragged = {name: self._ragged[name] for name in self.streams if name not in self._arrays}
        return {name for name, own in ragged.items() if (own.lengths.take(self._rows) < sizes).any()}

    def gather(self, indices: Array, out: Mapping[str, Array], *, epoch: int = 0) -> None:
        """Write rows ``indices`` of each stream named in ``out`` into ``out[name][:len(indices)]``.

        Sequences fill the length that ``out`` has.  Raises IndexError for a row that does not exist.
        """
        rows = taken(self._rows, indices)
        for name, target in out.items():
            if name in self._arrays:
                target[: len(rows)] = self._arrays[name].take(rows, axis=0)
            else:
                _pad(self._ragged[name], rows, target[: len(rows)])

    def select(self, indices: Array) -> PaddedSource:
        """The examples ``indices``, in that order, as a source of their own over the same memory."""
        part = copy.copy(self)
        part._rows = taken(self._rows, indices)
        return part


def taken(rows: Array, indices: Array) -> Array:
    """``rows[indices]``; IndexError for what does not exist, negative indices included."""
    if len(indices) and np.min(indices) < 0:
        raise IndexError(f"row {np.min(indices)} asked for, the source has 0 .. {len(rows) - 1}")
    return rows.take(indices)


def _pad(sequences: Ragged, rows: Array, target: Array) -> None:
    """Write sequences, row by row, into a target (rows, length, ...), with zeros behind."""
    if not len(sequences.values):
        target[...] = 0
        return
    columns = np.arange(target.shape[1])
    places = sequences.starts.take(rows)[:, None] + columns
    target[...] = sequences.values.take(places, axis=0, mode="clip")
    target[columns >= sequences.lengths.take(rows)[:, None]] = 0


def padded_lengths(lengths: Array, buckets: int, longest: int | None) -> list[int]:
    """The lengths to pad to: at most ``buckets``, each but the last a quantile of ``lengths``.

    The last is ``longest``, where that is given, or the longest of all.
    """
    cut = np.minimum(lengths, longest or lengths.max())
    parts = np.arange(1, buckets + 1) / buckets
    edges = np.quantile(cut, parts, method="higher")
    edges[-1] = longest or edges[-1]
    return [int(edge) for edge in np.unique(np.maximum(edges, 1))]


def restored_lengths(found: Any) -> list[int]:
    """The lengths to pad to that a file holds; DataError where they are damaged."""
    whole = isinstance(found, list) and found and all(type(length) is int for length in found)
    if not whole or found[0] < 1 or any(a >= b for a, b in itertools.pairwise(found)):
        raise DataError(f"the saved padded lengths are {found!r}; expected whole numbers, ascending")
    return list(found)
