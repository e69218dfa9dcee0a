"""The reader ``arrays``: .npz files, folders of .npy files, or single .npy files, mapped into memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
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
MOST_CLASSES = 100_000  # that are named by their number
ONE = ""  # the name of an array that was given without one


@reader("arrays", main="files", suffixes=(".npz",))
class Arrays:
    """Arrays (examples, ...) in files, one for each stream; they may be larger than memory.

    uint8 of shape (examples, height, width, 1 or 3) is pixels, and so is an input of shape (examples, height,
    width): served as float32 in 0..1.  Other whole numbers are served as int64, floats as float32.  Members
    of an .npz are mapped where they are not compressed.
    """

    learns: ClassVar[bool] = False

    files: Plain = field(doc=f"the training part: {FORMS}")
    test: Plain = field(default=None, doc="the test part, in the same form")
    validation: Plain = field(default=None, doc="the validation part, in the same form")

    classes: Plain = field(
        default=None,
        doc="names of classes, or how many: {label: [cat, dog]}, {label: 10}",
    )

    def check(self) -> Iterator[Fault]:
        for name in ("files", "test", "validation"):
            given = getattr(self, name)
            texts = [*given.values()] if isinstance(given, Mapping) and given else [given]
            if not all(isinstance(text, str) for text in texts) and (given is not None or name == "files"):
                yield Fault((name,), "this names no files", f"expected {FORMS}")
        given = {} if self.classes is None else self.classes
        if not isinstance(given, Mapping) or not all(map(_names, given.values())):
            found = "these are no classes"
            yield Fault(
                ("classes",), found, "expected {label: [name, name, ...]}, or {label: how many, from 2}"
            )

    def open(self, find: Find) -> ArrayExamples:
        """Its own arrays.  Reads nothing but their headers."""
        named = {"train": self.files, "test": self.test, "validation": self.validation}
        notes: list[str] = []
        parts = {part: _read(files, find, notes) for part, files in named.items() if files is not None}
        return ArrayExamples(parts, notes, {name: _names(x) for name, x in (self.classes or {}).items()})

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
            known = {
                name: Known(
                    tuple(x["shape"]),
                    x["dtype"],
                    x["pixels"],
                    _names(x.get("classes") or []),
                    x.get("gaps", False),
                )
                for name, x in state.items()
            }
            good = all(
                all(type(n) is int and n >= 0 for n in x.shape)
                and x.dtype in ("float32", "int64")
                and type(x.pixels) is type(x.gaps) is bool
                and list(x.classes) == (state[name].get("classes") or [])
                for name, x in known.items()
            )
        except (KeyError, TypeError, AttributeError):
            good = False
        if not good:
            raise DataError("what the model file says of its arrays is damaged; take another copy of it")
        return ArrayEncoding(known)


def _names(given: Any) -> tuple[str, ...]:
    """The names of classes; none where they are not told as they should be."""
    if type(given) is int and 2 <= given <= MOST_CLASSES:
        return tuple(map(str, range(given)))
    good = isinstance(given, (list, tuple)) and all(isinstance(name, str) for name in given)
    return tuple(given) if good and len(set(given)) == len(given) >= 2 else ()


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
    """What is known of a stream: shape of an example, dtype, whether uint8 pixels became it, the names of
    classes, and whether NaN says that a number is missing."""

    shape: tuple[int, ...]
    dtype: str
    pixels: bool
    classes: tuple[str, ...] = ()
    gaps: bool = False


def _is_pixels(array: Array, is_input: bool) -> bool:
    if array.dtype != np.uint8:
        return False
    return (array.ndim == 4 and array.shape[-1] in (1, 3)) or (array.ndim == 3 and is_input)


def _known(name: str, array: Array, pixels: bool, classes: tuple[str, ...] = ()) -> Known:
    if array.ndim == 0 or array.dtype.kind not in "fiub":
        names = (
            "; write names as 0, 1, ..., and `classes` for what these mean"
            if array.dtype.kind in "US"
            else ""
        )
        raise DataError(
            f"stream {name!r}: found {array.dtype.name} of shape {array.shape}, expected an array"
            f" (examples, ...) of numbers{names}"
        )
    dtype = "float32" if pixels or array.dtype.kind == "f" else "int64"
    if classes and (dtype != "int64" or array.ndim != 1):
        raise DataError(
            f"stream {name!r}: found {array.dtype.name} of shape {array.shape}, expected one whole number for"
            " each example, as `classes` names it"
        )
    return Known(array.shape[1:], dtype, pixels, classes)


def _told(name: str, array: Array, pixels: bool) -> Iterator[str]:
    """What to say of uint8 that could be meant otherwise."""
    shape = " x ".join(map(str, array.shape[1:]))
    if array.dtype == np.uint8 and array.ndim == 3 and pixels:
        yield f"{name}: uint8 of {shape} is pixels, served as float32 in 0..1; save whole numbers as int64"
    elif array.dtype == np.uint8 and array.ndim > 2 and not pixels:
        yield f"{name}: uint8 of {shape} is whole numbers, served as int64; save other numbers as float32"


class ArrayExamples:
    """The arrays of each part, by name; rows count on from part to part."""

    def __init__(
        self,
        arrays: Mapping[str, Mapping[str, Array]],
        notes: Sequence[str] = (),
        classes: Mapping[str, tuple[str, ...]] | None = None,
    ) -> None:
        self.arrays, self.notes, self.classes = arrays, notes, classes or {}
        self.gaps: frozenset[str] = frozenset()
        lengths = {part: _length(part, own) for part, own in arrays.items()}
        ends = np.cumsum([0, *lengths.values()])
        self.parts = {part: np.arange(ends[i], ends[i + 1]) for i, part in enumerate(lengths)}
        self._sources: dict[tuple[object, ...], ArraySource] = {}

    def __len__(self) -> int:
        return sum(map(len, self.parts.values()))

    def allow(self, gaps: Iterable[str]) -> None:
        """NaN in the streams ``gaps`` says that a number is missing; elsewhere it is refused."""
        self.gaps = frozenset(gaps)

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
        for name in (*inputs, *targets, *self.classes):
            if name not in own:
                hint = nearest(name, own)
                raise DataError(
                    f"{name!r} is no array of the data; it has {', '.join(own)}. {hint}".strip(" .")
                )
        known: dict[str, Known] = {}
        notes: list[str] = []
        for name in dict.fromkeys((*inputs, *targets)):
            pixels = _is_pixels(own[name], name in inputs)
            learned = _known(name, own[name], pixels, self.classes.get(name, ()))
            known[name] = replace(learned, gaps=name in self.gaps)
            notes += _told(name, own[name], pixels)
        return ArrayEncoding(known, notes)

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

    def __init__(self, known: Mapping[str, Known], notes: Sequence[str] = ()) -> None:
        self.known, self.notes = dict(known), notes
        self.streams = {name: Stream(x.shape, x.dtype, x.classes or None) for name, x in self.known.items()}

    def state(self) -> dict[str, Any]:
        """Plain data for a model file."""
        lists = {name: {"shape": list(x.shape), "classes": list(x.classes)} for name, x in self.known.items()}
        return {name: {**asdict(x), **lists[name]} for name, x in self.known.items()}

    def encode(self, examples: ArrayExamples, rows: Array, names: Sequence[str]) -> ArraySource:
        """The streams ``names`` of some rows of one part, converted as they are gathered.

        Raises DataError for arrays of another shape or kind, and for numbers that are not finite.
        """
        first = rows[0] if len(rows) else 0
        part = next(part for part, own in examples.parts.items() if own[0] <= first <= own[-1])
        source = examples.source(part, self, names)
        whole = examples.parts[part]
        return source if np.array_equal(rows, whole) else source.select(rows - whole[0])

    def serve(self, arrays: Mapping[str, Array]) -> ArraySource:
        """Whole arrays as these streams."""
        served = {}
        for name, array in arrays.items():
            expected, whole = self.known[name], array.dtype == np.uint8
            found = _known(name, array, expected.pixels and whole)
            if found.shape != expected.shape:
                raise DataError(f"{name!r} has examples of {found.shape}, expected {expected.shape}")
            if _is_pixels(array, True) and not expected.pixels and expected.dtype == "float32":
                raise DataError(f"{name!r} was learned as floats, as they were: give no uint8, but floats")
            if expected.pixels and not whole and not _is_scaled(array):
                raise DataError(f"{name!r} was learned as pixels: give uint8, or floats in 0..1")
            if not found.pixels:
                served[name] = expected.dtype
        classes = {name: self.known[name].classes for name in arrays if self.known[name].classes}
        return ArraySource(arrays, classes, served=served, gaps=[n for n in arrays if self.known[n].gaps])

    def without(self, names: Sequence[str]) -> ArrayEncoding:
        """The same but for the streams ``names``, of which nothing is known then."""
        return ArrayEncoding({name: x for name, x in self.known.items() if name not in names}, self.notes)

    def completed(self, learned: ArrayEncoding, names: Sequence[str]) -> ArrayEncoding:
        """The same, and the streams ``names`` as another one learned them."""
        return ArrayEncoding({**self.known, **{name: learned.known[name] for name in names}}, self.notes)

    def resized(self, name: str, shape: tuple[int, ...]) -> ArrayEncoding:
        """The same, with examples of another shape in one stream."""
        return ArrayEncoding({**self.known, name: replace(self.known[name], shape=shape)}, self.notes)

    def decode(self, name: str, values: Array) -> Array:
        """Classes by name, where they have names; other numbers are what they were."""
        return np.array(self.known[name].classes)[values] if self.known[name].classes else values


def _is_scaled(array: Array) -> bool:
    return array.dtype.kind == "f" and bool(array.min() >= 0 and array.max() <= 1)
