"""Sequences of numbers, each of its own length."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cortex_compute.errors import DataError
from cortex_core.registry import field, reader
from cortex_datasets.npz import each_npz
from cortex_datasets.source import LARGEST, Stream
from cortex_datasets.text.files import Find
from cortex_datasets.text.options import expect_streams
from cortex_datasets.text.padded import (
    MOST_BUCKETS,
    PaddedSource,
    Ragged,
    padded_lengths,
    restored_lengths,
)

Array = np.ndarray[Any, Any]

EXACT = 1 << 24  # float32 holds every whole number up to here


@reader("sequences", main="file")
class Sequences:
    """Sequences of numbers: `values` (length, features), padded with 0, and `length`; from an .npz.

    Whole numbers are int64, such as the ids that an embedding takes, all others float32.  The file holds
    ``values``, all sequences one behind the other, (numbers,) or (numbers, features), and ``lengths``, one
    for each; every other array in it, one row for each sequence, is a stream of its name.
    """

    file: str | None = field(default=None, doc="an .npz with the arrays values and lengths")
    length: int | None = field(
        default=None, doc="what longer sequences are cut to; default: the longest in training", minimum=1
    )
    buckets: int = field(default=1, doc="lengths that are padded to", minimum=1, maximum=MOST_BUCKETS)

    @staticmethod
    def takes(given: Any) -> bool:
        """Whether this is a list of sequences, or a dict as in the file."""
        if isinstance(given, Mapping):
            return "values" in given and ("lengths" in given or isinstance(given["values"], (list, tuple)))
        return isinstance(given, (list, tuple)) and bool(given) and _is_sequence(given[0])

    def open(self, find: Find) -> SequenceExamples:
        """The sequences of its file."""
        if self.file is None:
            raise DataError("the reader 'sequences' names no file; give one, as in data: {sequences: x.npz}")
        return self.read(self.file, find)

    def read(self, given: Any, find: Find) -> SequenceExamples:
        """Other sequences: a path, a list of arrays, or a dict of arrays as in the file.

        In a dict ``values`` may also be a list of arrays, without ``lengths``.
        """
        origin = "the sequences"
        if isinstance(given, (str, Path)):
            origin = str(given)
            given = {name: np.array(array) for name, array in each_npz(find(origin), [])}
        elif not isinstance(given, Mapping):
            given = {"values": given}
        return SequenceExamples(self, *_parted(dict(given), origin))

    def restore(self, state: Mapping[str, Any]) -> SequenceEncoding:
        """The encoding that a file holds."""
        edges = restored_lengths(state.get("lengths"))
        saved = state.get("streams")
        if not isinstance(saved, Mapping) or not {"values", "length"} <= saved.keys():
            raise DataError(f"the saved streams are {saved!r}; expected 'values', 'length' and others")
        return SequenceEncoding({name: _restored(name, told, edges) for name, told in saved.items()}, edges)


class SequenceExamples:
    """Sequences one behind the other, and arrays with one row for each."""

    notes: Sequence[str] = ()

    def __init__(self, reader: Sequences, values: Array, lengths: Array, others: dict[str, Array]) -> None:
        self._reader = reader
        starts = np.cumsum(lengths) - lengths
        self.sequences = Ragged(values, starts, lengths)
        self.arrays = {**others, "length": lengths}
        self.parts = {"train": np.arange(len(lengths))}

    def __len__(self) -> int:
        return len(self.sequences.lengths)

    def column(self, name: str) -> Array:
        """An array with one number for each sequence."""
        flat = [name for name, array in self.arrays.items() if array.ndim == 1]
        if name not in flat:
            raise DataError(f"the sequences have no column {name!r}; they have {', '.join(flat)}")
        return self.arrays[name]

    def learn(self, rows: Array, inputs: Sequence[str], targets: Sequence[str]) -> SequenceEncoding:
        """The lengths to pad to."""
        edges = padded_lengths(self.sequences.lengths[rows], self._reader.buckets, self._reader.length)
        first = edges[0] if len(edges) == 1 else None
        values = self.sequences.values
        streams = {"values": Stream((first, *values.shape[1:]), values.dtype.name)}
        for name, array in self.arrays.items():
            streams[name] = Stream(array.shape[1:], array.dtype.name)
        expect_streams([*inputs, *targets], list(streams), "the sequences")
        return SequenceEncoding(streams, edges)


class SequenceEncoding:
    """What the streams look like, and the lengths to pad to."""

    def __init__(self, streams: Mapping[str, Stream], edges: Sequence[int]) -> None:
        self.streams, self.edges = streams, edges
        self.notes = [f"sequences are padded to {' or '.join(map(str, edges))}"]

    def state(self) -> dict[str, Any]:
        told = {name: {"shape": list(s.shape), "dtype": s.dtype} for name, s in self.streams.items()}
        return {"streams": told, "lengths": list(self.edges)}

    def encode(self, examples: SequenceExamples, rows: Array, names: Sequence[str]) -> PaddedSource:
        """The streams ``names`` of these rows; what is longer than the longest length is cut."""
        expect_streams(names, list(self.streams), "the sequences")
        self._compare(examples, names)
        values, starts, lengths = examples.sequences
        cut = np.minimum(lengths[rows], self.edges[-1])
        ragged = {"values": Ragged(values, starts[rows], cut)}
        arrays = {name: array[rows] for name, array in examples.arrays.items()} | {"length": cut}
        notes = []
        if count := int((lengths[rows] > cut).sum()):
            notes.append(f"{count:,} of {len(rows):,} sequences are longer than {self.edges[-1]} and cut")
        streams = {name: self.streams[name] for name in names}
        return PaddedSource(streams, ragged, arrays, cut, self.edges, notes)

    def without(self, names: Sequence[str]) -> SequenceEncoding:
        """The same but for the arrays ``names``, of which nothing is known then."""
        streams = {name: stream for name, stream in self.streams.items() if name not in names}
        return SequenceEncoding(streams, self.edges)

    def completed(self, learned: SequenceEncoding, names: Sequence[str]) -> SequenceEncoding:
        """The same, and the arrays ``names`` as another one learned them."""
        return SequenceEncoding({**self.streams, **{n: learned.streams[n] for n in names}}, self.edges)

    def decode(self, name: str, values: Array) -> Array:
        """The numbers as they are."""
        return values

    def _compare(self, examples: SequenceExamples, names: Sequence[str]) -> None:
        """Raises DataError where an array is missing, or has rows of another shape than in training."""
        given = {**examples.arrays, "values": examples.sequences.values}
        for name in names:
            inner = self.streams[name].shape[1:] if name == "values" else self.streams[name].shape
            if name not in given:
                raise DataError(f"these sequences have no {name!r}; expected rows of the shape {inner}")
            if given[name].shape[1:] != inner:
                raise DataError(
                    f"{name!r} has rows of the shape {given[name].shape[1:]}, in training {inner}"
                )
            _check_type(name, given[name], self.streams[name].dtype)


def _check_type(name: str, array: Array, dtype: str) -> None:
    """Raises DataError for numbers that a stream of this dtype would not hold as they are."""
    if array.dtype == dtype or not array.size:
        return
    if dtype == "int64":
        raise DataError(f"{name!r} has fractions ({array.dtype}), in training whole numbers; convert it")
    if array.max() > EXACT or array.min() < -EXACT:
        raise DataError(f"{name!r} has whole numbers beyond {EXACT:,}, which float32 does not hold; scale it")


def _restored(name: Any, told: Any, edges: Sequence[int]) -> Stream:
    """A stream that a file holds.  Raises DataError where it is damaged."""
    shape = told.get("shape") if isinstance(told, Mapping) else None
    if isinstance(name, str) and isinstance(shape, list) and told.get("dtype") in ("float32", "int64"):
        inner = shape[1:] if name == "values" else shape
        begin = [edges[0] if len(edges) == 1 else None] if name == "values" else []
        if shape == begin + inner and all(type(n) is int and n >= 0 for n in inner):
            return Stream(tuple(shape), told["dtype"])
    raise DataError(f"the saved stream {name!r} is damaged: {told!r}")


def _is_sequence(piece: Any) -> bool:
    return isinstance(piece, list) or (isinstance(piece, np.ndarray) and piece.ndim in (1, 2))


def _parted(given: dict[str, Any], origin: str) -> tuple[Array, Array, dict[str, Array]]:
    """Values, lengths and the other arrays, checked.  Raises DataError."""
    if "values" not in given:
        raise DataError(f"{origin}: there is no 'values'; expected the sequences under this name")
    values = given.pop("values")
    if "lengths" in given:
        lengths = _array(given.pop("lengths"), "lengths", origin)
    else:
        if not isinstance(values, (list, tuple)) and np.ndim(values) == 0:
            raise DataError(f"{origin}: found {type(values).__name__}; expected a list of arrays, or an .npz")
        pieces = [_array(piece, f"sequence {i}", origin) for i, piece in enumerate(values)]
        if len({piece.shape[1:] for piece in pieces}) != 1 or any(piece.ndim == 0 for piece in pieces):
            raise DataError(f"{origin}: expected arrays (length, features) with equally many features")
        lengths, values = np.array([len(piece) for piece in pieces]), np.concatenate(pieces)
    values = _numbers(values, "values", origin)
    if lengths.ndim != 1 or lengths.dtype.kind not in "iu" or not len(lengths) or (lengths < 0).any():
        raise DataError(f"{origin}: 'lengths' are {lengths.dtype} {lengths.shape}; expected whole numbers")
    if lengths.max() > len(values) or lengths.sum() != len(values):
        raise DataError(
            f"{origin}: the lengths add up to {lengths.sum()}, but there are {len(values)} values"
        )
    others = {str(name): _numbers(array, str(name), origin) for name, array in given.items()}
    for name, array in others.items():
        if len(array) != len(lengths):
            raise DataError(f"{origin}: {name!r} has {len(array)} rows for {len(lengths)} sequences")
    return values, lengths.astype(np.int64), others


def _array(given: Any, name: str, origin: str) -> Array:
    try:
        return np.asarray(given)
    except (ValueError, TypeError, OverflowError):
        raise DataError(f"{origin}: {name!r} is no array: its rows differ in shape") from None


def _numbers(given: Any, name: str, origin: str) -> Array:
    """An array of finite numbers, (rows, ...), as float32 or int64."""
    array = _array(given, name, origin)
    if array.ndim == 0 or array.dtype.kind not in "fiub":
        raise DataError(f"{origin}: {name!r} is {array.dtype} {array.shape}; expected an array of numbers")
    if array.dtype.kind == "u" and array.size and array.max() > LARGEST:
        raise DataError(f"{origin}: {name!r} reaches {array.max()}, which is too large for int64")
    with np.errstate(over="ignore"):
        made = np.asarray(array, np.float32 if array.dtype.kind == "f" else np.int64)
    if made.dtype == np.float32 and not np.isfinite(made).all():
        first = int(np.argwhere(~np.isfinite(made))[0][0])
        raise DataError(f"{origin}: row {first} of {name!r} is not finite in float32; fill or drop it")
    return made
