"""The reader ``arrays``: .npz files, folders of .npy files, or single .npy files, mapped into memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from cortex_compute.errors import DataError
from cortex_core.registry import Fault, Plain, field, nearest, reader
from cortex_datasets.npz import read_npy, read_npz
from cortex_datasets.source import ArraySource, Stream

Array = np.ndarray[Any, Any]
Find = Callable[[str], Path]
FORMS = "an .npz, a folder of .npy files, or {stream: file.npy}"
ONE = ""  # the name of an array that was given without one


@reader("arrays", main="files", suffixes=(".npz",))
class Arrays:
    """Arrays (examples, ...) in files, one for each stream; they may be larger than memory.

    uint8 of shape (examples, height, width, 1 or 3) is pixels, served as float32 in 0..1; other whole numbers
    are served as int64, floats as float32.  Members of an .npz are mapped where they are not compressed.
    """

    learns: ClassVar[bool] = False

    files: Plain = field(doc=f"the training part: {FORMS}")
    test: Plain = field(default=None, doc="the test part, in the same form")
    validation: Plain = field(default=None, doc="the validation part, in the same form")

    def check(self) -> Iterator[Fault]:
        for name in ("files", "test", "validation"):
            given = getattr(self, name)
            texts = [*given.values()] if isinstance(given, Mapping) and given else [given]
            if not all(isinstance(text, str) for text in texts) and (given is not None or name == "files"):
                yield Fault((name,), "this names no files", f"expected {FORMS}")

    def open(self, find: Find) -> ArrayExamples:
        """Its own arrays.  Reads nothing but their headers."""
        named = {"train": self.files, "test": self.test, "validation": self.validation}
        notes: list[str] = []
        parts = {part: _read(files, find, notes) for part, files in named.items() if files is not None}
        return ArrayExamples(parts, notes)

    def read(self, given: Any, find: Find) -> ArrayExamples:
        """Arrays from elsewhere: a path (.npz, folder or .npy), a mapping of arrays, or one array."""
        notes: list[str] = []
        if isinstance(given, (str, Path)):
            path = find(str(given))
            arrays = {ONE: read_npy(path, notes)} if path.suffix == ".npy" else _read(str(given), find, notes)
        elif isinstance(given, Mapping):
            arrays = {str(name): np.asarray(array) for name, array in given.items()}
        else:
            arrays = {ONE: np.asarray(given)}
        return ArrayExamples({"train": arrays}, notes)

    def restore(self, state: Mapping[str, Any]) -> ArrayEncoding:
        """What was learned, from the plain data of a model file."""
        try:
            known = {name: Known(tuple(x["shape"]), x["dtype"], x["pixels"]) for name, x in state.items()}
            good = all(
                all(type(n) is int and n >= 0 for n in x.shape)
                and x.dtype in ("float32", "int64")
                and type(x.pixels) is bool
                for x in known.values()
            )
        except (KeyError, TypeError, AttributeError):
            good = False
        if not good:
            raise DataError("what the model file says of its arrays is damaged; take another copy of it")
        return ArrayEncoding(known)


def _read(files: Any, find: Find, notes: list[str]) -> dict[str, Array]:
    if isinstance(files, Mapping):
        return {name: read_npy(find(file), notes) for name, file in files.items()}
    path = find(files)
    if path.is_dir():
        found = {file.stem: read_npy(file, notes) for file in sorted(path.glob("[!.]*.npy"))}
        if not found:
            raise DataError(f"{path}: holds no .npy files")
        return found
    if path.suffix != ".npz":
        raise DataError(f"{path}: expected {FORMS}")
    return read_npz(path, notes)


@dataclass(frozen=True)
class Known:
    """What is known of a stream: shape of an example, dtype, and whether uint8 pixels became it."""

    shape: tuple[int, ...]
    dtype: str
    pixels: bool


def _known(name: str, array: Array) -> Known:
    pixels = array.dtype == np.uint8 and array.ndim == 4 and array.shape[-1] in (1, 3)
    if array.ndim == 0 or array.dtype.kind not in "fiub":
        raise DataError(
            f"stream {name!r}: found {array.dtype.name} of shape {array.shape}, expected an array"
            " (examples, ...) of numbers"
        )
    dtype = "float32" if pixels or array.dtype.kind == "f" else "int64"
    return Known(array.shape[1:], dtype, pixels)


class ArrayExamples:
    """The arrays of each part, by name; rows count on from part to part."""

    def __init__(self, arrays: Mapping[str, Mapping[str, Array]], notes: Sequence[str] = ()) -> None:
        self.arrays, self.notes = arrays, notes
        lengths = {part: _length(part, own) for part, own in arrays.items()}
        ends = np.cumsum([0, *lengths.values()])
        self.parts = {part: np.arange(ends[i], ends[i + 1]) for i, part in enumerate(lengths)}
        self._sources: dict[tuple[object, ...], ArraySource] = {}

    def __len__(self) -> int:
        return sum(map(len, self.parts.values()))

    def column(self, name: str) -> Array:
        """The numbers of a stream with one for each example."""
        for part, own in self.arrays.items():
            if name not in own or own[name].size != len(self.parts[part]):
                flat = [n for n, a in own.items() if a.size == len(self.parts[part])]
                known = ", ".join(flat) or "none"
                raise DataError(f"{name!r} is no stream with one number for each example; there are {known}")
        return np.concatenate([own[name].reshape(-1) for own in self.arrays.values()])

    def learn(self, rows: Array, inputs: Sequence[str], targets: Sequence[str]) -> ArrayEncoding:
        """Shapes and data types; no number is looked at."""
        own = self.arrays["train"]
        for name in (*inputs, *targets):
            if name not in own:
                hint = nearest(name, own)
                raise DataError(
                    f"{name!r} is no array of the data; it has {', '.join(own)}. {hint}".strip(" .")
                )
        return ArrayEncoding({name: _known(name, own[name]) for name in dict.fromkeys((*inputs, *targets))})

    def source(self, part: str, encoding: ArrayEncoding, names: Sequence[str]) -> ArraySource:
        """All examples of a part.  Its numbers are looked at once."""
        key = (part, *((name, encoding.known[name]) for name in names))
        if key not in self._sources:
            own = self.arrays[part]
            arrays = {name: own[ONE] if ONE in own and len(names) == 1 else own.get(name) for name in names}
            if absent := [name for name, array in arrays.items() if array is None]:
                has = ", ".join(own) if ONE not in own else "one array without a name"
                raise DataError(f"there is no array {absent[0]!r}; there is {has}")
            self._sources[key] = encoding.serve({n: a for n, a in arrays.items() if a is not None})
        return self._sources[key]


def _length(part: str, arrays: Mapping[str, Array]) -> int:
    lengths = {name: len(array) for name, array in arrays.items() if array.ndim}
    if len(set(lengths.values())) > 1:
        counts = ", ".join(f"{name!r} has {length}" for name, length in lengths.items())
        raise DataError(f"the arrays of one data set need equally many examples, but {counts}")
    if not any(lengths.values()):
        raise DataError(f"the part {part!r} of the data has no examples")
    return next(iter(lengths.values()))


class ArrayEncoding:
    """What the arrays of the training part look like; nothing else is learned of them."""

    notes: Sequence[str] = ()

    def __init__(self, known: Mapping[str, Known]) -> None:
        self.known = dict(known)
        self.streams = {name: Stream(x.shape, x.dtype) for name, x in self.known.items()}

    def state(self) -> dict[str, Any]:
        """Plain data for a model file."""
        return {name: {**asdict(x), "shape": list(x.shape)} for name, x in self.known.items()}

    def encode(self, examples: ArrayExamples, rows: Array, names: Sequence[str]) -> ArraySource:
        """The streams ``names`` of some rows of one part, converted as they are gathered.

        Raises DataError for arrays of another shape or kind, and for numbers that are not finite.
        """
        part = next(part for part, own in examples.parts.items() if own[0] <= rows[0] <= own[-1])
        source = examples.source(part, self, names)
        whole = examples.parts[part]
        return source if np.array_equal(rows, whole) else source.select(rows - whole[0])

    def serve(self, arrays: Mapping[str, Array]) -> ArraySource:
        """Whole arrays as these streams."""
        served = {}
        for name, array in arrays.items():
            expected, found = self.known[name], _known(name, array)
            if found.shape != expected.shape:
                raise DataError(f"{name!r} has examples of {found.shape}, expected {expected.shape}")
            if found.pixels and not expected.pixels and expected.dtype == "float32":
                raise DataError(f"{name!r} was learned as floats, as they were: give no uint8, but floats")
            if expected.pixels and not found.pixels and not _is_scaled(array):
                raise DataError(f"{name!r} was learned as pixels: give uint8, or floats in 0..1")
            if not (expected.pixels and found.pixels):
                served[name] = expected.dtype
        return ArraySource(arrays, served=served)

    def decode(self, name: str, values: Array) -> Array:
        """The numbers are what they were."""
        return values


def _is_scaled(array: Array) -> bool:
    return array.dtype.kind == "f" and bool(array.min() >= 0 and array.max() <= 1)
