"""Where examples come from: the protocol of data, arrays of the user's, and data sets by name.

Core knows data sets only by their shape.  `find` asks the entry points of the group ``cortex.data``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np

from cortex_compute.errors import DataError
from cortex_core.registry import nearest

Array = np.ndarray[Any, Any]
GROUP = "cortex.data"
LONGEST = 100  # characters of a name


class Stream(Protocol):
    """What one stream of examples looks like: the shape of one example (without the batch axis) and its
    dtype.

    ``classes`` names the classes of a stream of labels, or is None.
    """

    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def dtype(self) -> str: ...
    @property
    def classes(self) -> tuple[str, ...] | None: ...


class Source(Protocol):
    """Random access to examples, in any number of streams of equal length.

    Where examples differ in length, the shape of a stream has None for it, and an attribute ``lengths`` holds
    the padded length of each example (few different ones): all examples of a batch have one length, which
    ``out`` has, too.  A source whose examples are the same in every epoch may say so by an attribute
    ``fixed``: such data, where they are small, are kept on a GPU.  ``running`` may say whether each example
    goes on where the one before it ended.  ``notes`` may say what was counted, one line each.
    """

    @property
    def streams(self) -> Mapping[str, Any]:
        """name -> `Stream`"""

    def __len__(self) -> int: ...

    def gather(self, indices: Array, out: Mapping[str, Array], *, epoch: int = 0) -> None:
        """Writes rows ``indices`` of each stream named in ``out`` into ``out[name][:len(indices)]``."""

    def select(self, indices: Array) -> Source:
        """The examples ``indices``, in that order."""


class DataSet(Protocol):
    """What an entry point of the group ``cortex.data`` names: streams and lengths of splits, known without
    reading."""

    @property
    def name(self) -> str: ...
    @property
    def streams(self) -> Mapping[str, Any]: ...
    @property
    def lengths(self) -> Mapping[str, int]: ...

    def load(self, split: str) -> Source:
        """The examples of a split ("train", "test")."""


class ArrayStream:
    """The `Stream` of an array."""

    classes: tuple[str, ...] | None = None

    def __init__(self, array: Array) -> None:
        self.shape: tuple[int, ...] = array.shape[1:]
        self.dtype = array.dtype.name


class Arrays:
    """A `Source` over arrays in memory: {name: array (examples, ...)}, all of one length.

    Floats are served as float32, integers and booleans as int64; the numbers are not scaled.  Raises
    `DataError` for other dtypes, unequal lengths, and numbers that are not finite, but for NaN in the streams
    ``gaps``, where it says that a number is missing.  An array that needs no conversion is shared.
    """

    fixed = True

    def __init__(self, arrays: Mapping[str, Any], gaps: Iterable[str] = ()) -> None:
        if not arrays:
            raise DataError("the data holds no arrays; expected a dict such as {'image': x, 'label': y}")
        gaps = set(gaps)
        self.arrays = {
            str(name): _converted(str(name), value, name in gaps) for name, value in arrays.items()
        }
        self.streams: Mapping[str, ArrayStream] = {n: ArrayStream(a) for n, a in self.arrays.items()}
        lengths = {name: len(array) for name, array in self.arrays.items()}
        if len(set(lengths.values())) > 1:
            counts = ", ".join(f"{name!r} has {n}" for name, n in lengths.items())
            raise DataError(f"the arrays of one data set need equally many examples, but {counts}")
        self.rows = np.arange(next(iter(lengths.values())))

    def __len__(self) -> int:
        return len(self.rows)

    def gather(self, indices: Array, out: Mapping[str, Array], *, epoch: int = 0) -> None:
        """Copies rows; every epoch sees the same examples."""
        rows = self.rows.take(indices)  # raises IndexError for a row that does not exist
        for name, target in out.items():
            self.arrays[name].take(rows, axis=0, out=target[: len(rows)], mode="clip")

    def select(self, indices: Array) -> Arrays:
        """Some of the examples, over the same memory."""
        part = object.__new__(Arrays)
        part.arrays, part.streams = self.arrays, self.streams
        part.rows = self.rows.take(np.asarray(indices, np.intp))
        return part

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {len(self):,} examples of {', '.join(self.streams)}>"

    def _repr_html_(self) -> str:
        from cortex_core.displays import source_html

        return source_html(self)


def _converted(name: str, value: Any, gaps: bool) -> Array:
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise DataError(f"stream {name!r}: {error}") from None
    if array.ndim == 0 or array.dtype.kind not in "fiub":
        raise DataError(
            f"stream {name!r}: found {array.dtype.name} of shape {array.shape}, expected an array "
            "(examples, ...) of numbers; columns of text are for tables: give a DataFrame, or a file"
        )
    with np.errstate(over="ignore"):  # what is too large for float32 is reported below
        made = np.ascontiguousarray(array, np.float32 if array.dtype.kind == "f" else np.int64)
    # The sum tells without a mask of the whole array; only where it is not finite (or overflows) is one made.
    if made.dtype == np.float32 and not np.isfinite(made.sum(dtype=np.float64)):
        bad = np.flatnonzero(np.isinf(made) | (np.isnan(made) & (not gaps)))
        if len(bad):
            first = int(bad[0])
            raise DataError(
                f"stream {name!r}: example {first // math.prod(made.shape[1:])} holds {array.flat[first]}, "
                "which is not finite in float32; fill or drop such examples before training"
            )
    return made


_registered: dict[str, DataSet] = {}


def register(dataset: DataSet) -> DataSet:
    """Makes a data set of the user's own known by its name, until the program ends."""
    _registered[dataset.name] = dataset
    return dataset


@lru_cache(maxsize=1)
def _entry_points() -> dict[str, Any]:
    from importlib.metadata import entry_points

    return {point.name: point for point in entry_points(group=GROUP)}


def registered() -> set[str]:
    """The names of the data sets that `register` made known."""
    return set(_registered)


def known() -> list[str]:
    """The names of all data sets that are installed or registered."""
    return sorted({**_entry_points(), **_registered})


def find(name: str) -> DataSet:
    """The data set of that name.  Reads no data.  Raises `DataError` for an unknown name."""
    if name in _registered:
        return _registered[name]
    point = _entry_points().get(name)
    if point is None:
        names = ", ".join(known()) or "none: the package is not installed"
        hint = nearest(name, known())
        if Path(name[:LONGEST]).is_dir():
            hint = f"A folder of pictures is {{images: {name}}}, one of arrays {{arrays: {name}}}."
        raise DataError(f"unknown data set {name!r}. {hint + ' ' if hint else ''}Known are {names}")
    return cast(DataSet, point.load())


def is_present(dataset: DataSet) -> bool:
    """Whether the data can be read without fetching anything; a set that does not say so can."""
    return bool(getattr(dataset, "present", lambda: True)())


def as_source(data: Any, gaps: Iterable[str] = ()) -> Source:
    """A dict of arrays as a source, with NaN where ``gaps`` allows it; a source as it is."""
    if isinstance(data, Mapping):
        return Arrays(data, gaps)
    if all(hasattr(data, part) for part in ("streams", "gather", "select", "__len__")):
        return cast(Source, data)
    raise DataError(
        f"data is a {type(data).__name__}; expected the name of a data set, a file, a DataFrame, a dict of "
        "arrays, or a source"
    )
