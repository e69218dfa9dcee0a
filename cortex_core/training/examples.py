"""Examples as they lie in files, and what is learned from them before a network can read them.

A *reader* (registered by name, with its options as fields) opens files and gives `Examples`: rows in parts.
From the rows of the training part an `Encoding` is learned: scales, categories, a vocabulary.  It makes
streams of numbers of any examples, goes into the model file as plain data, and turns raw rows into inputs
when the model predicts.  Core knows readers and encodings only by these protocols.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np

from cortex_compute.errors import DataError
from cortex_core.registry import READERS
from cortex_core.registry.named import load_plugins
from cortex_core.spec.train import is_file
from cortex_core.training.source import LONGEST, Array, DataSet, Source, as_source, find, known

Find = Callable[[str], Path]
FILES = ("file", "files", "folder", "list", "test", "validation")  # fields of readers that say where data lie


class MissingFile(DataError):
    """A file that a description names is in none of the places where such files lie."""


class Encoding(Protocol):
    """What was learned from the training part, for the streams that a network reads.

    ``streams`` says what they look like, ``notes`` what was decided while learning and is worth saying.  One
    of text has its ``vocabulary``, and may have a ``separator``: the token that begins and ends a sequence.

    For surgery one may have ``without(names)``, itself without the targets ``names``; ``completed(learned,
    names)``, itself with these as another one learned them; ``resized(name, shape)``, itself for examples of
    another shape.
    """

    @property
    def streams(self) -> Mapping[str, Any]: ...
    @property
    def notes(self) -> Sequence[str]: ...

    def state(self) -> dict[str, Any]:
        """All of it as plain JSON data."""

    def encode(self, examples: Any, rows: Array, names: Sequence[str]) -> Source:
        """The streams ``names`` of some rows.  The source's ``notes`` say what was counted on the way."""

    def decode(self, name: str, values: Array) -> Array:
        """Numbers of a stream back to what people wrote: classes by name, values in their unit."""


class Examples(Protocol):
    """Examples before anything is learned: ``parts`` maps "train", and what else the files say, to rows.

    ``notes`` say what was counted and done while reading.  A class may have ``allow(gaps)``: NaN in these
    streams says that a number is missing.
    """

    @property
    def parts(self) -> Mapping[str, Array]: ...
    @property
    def notes(self) -> Sequence[str]: ...

    def __len__(self) -> int:
        """All rows, of all parts."""

    def column(self, name: str) -> Array:
        """One value for each row, to stratify or group by."""

    def learn(self, rows: Array, inputs: Sequence[str], targets: Sequence[str]) -> Encoding:
        """What these rows teach; nothing else is looked at."""


class Reader(Protocol):
    """What ``train.data: {NAME: fields}`` builds.

    A class may have ``takes(given)``, which says whether it reads such objects in memory (a DataFrame), and
    ``learns = False``: its numbers are served as they are, to networks too that were trained on other data.
    """

    kind: str

    def open(self, find: Find) -> Examples:
        """The examples in its own files; ``find`` tells where a file lies."""

    def read(self, given: Any, find: Find) -> Examples:
        """Examples of the same kind from elsewhere: a path, or an object that the reader knows."""

    def restore(self, state: Mapping[str, Any]) -> Encoding:
        """The encoding that a file holds.  Raises `DataError` where it is damaged."""


class AsTheyAre:
    """Sources in the shape of `Examples`: their numbers are served as they are, and nothing is learned.

    Nothing is loaded before somebody asks for rows: the streams and lengths of a named data set are known.
    """

    notes: Sequence[str] = ()

    def __init__(self, data: DataSet | Source) -> None:
        self.named = cast(DataSet, data) if hasattr(data, "load") else None
        if self.named is not None and "train" not in self.named.lengths:
            self.named.load("train")  # says how such data are used
        self._sources: dict[str, Source] = {} if self.named is not None else {"train": cast(Source, data)}
        lengths = self.named.lengths if self.named is not None else {"train": len(self._sources["train"])}
        ends = np.cumsum([0, *lengths.values()])
        self.parts = {part: np.arange(ends[i], ends[i + 1]) for i, part in enumerate(lengths)}
        self.streams: Mapping[str, Any] = data.streams

    def __len__(self) -> int:
        return sum(map(len, self.parts.values()))

    def source(self, part: str) -> Source:
        """All examples of a part."""
        if part not in self._sources:
            assert self.named is not None
            self._sources[part] = self.named.load(part)
        return self._sources[part]

    def column(self, name: str) -> Array:
        """The numbers of a stream with one for each example."""
        if name not in self.streams or self.streams[name].shape != ():
            flat = [n for n, s in self.streams.items() if s.shape == ()]
            raise DataError(f"{name!r} is no stream with one number for each example; there are {flat}")
        pieces = []
        for part in self.parts:
            source = self.source(part)
            pieces.append(np.empty(len(source), source.streams[name].dtype))
            source.gather(np.arange(len(source)), {name: pieces[-1]})
        return np.concatenate(pieces)

    def learn(self, rows: Array, inputs: Sequence[str], targets: Sequence[str]) -> AsTheyAre:
        return self

    def state(self) -> dict[str, Any]:
        return {}

    def encode(self, examples: AsTheyAre, rows: Array, names: Sequence[str]) -> Source:
        """Rows of one part, over the memory that is there."""
        if not len(rows):
            return examples.source("train").select(rows)
        part = next(p for p, own in examples.parts.items() if len(own) and own[0] <= rows[0] <= own[-1])
        source, first = examples.source(part), examples.parts[part][0]
        if len(rows) == len(source) and rows[0] == first and (np.diff(rows) == 1).all():
            return source
        return source.select(rows - first)

    def decode(self, name: str, values: Array) -> Array:
        """Classes by name."""
        classes = self.streams[name].classes
        return np.asarray(classes)[values] if classes else values


def reader_of(data: Any, own: Any = None) -> Reader | None:
    """The reader that takes an object in memory: the description's ``own``, else one with its defaults; None
    where none does."""
    if isinstance(data, (str, Mapping, np.ndarray)) or hasattr(data, "gather"):
        return None
    if is_reader(own) and takes(own, data):
        return cast(Reader, own)
    load_plugins(READERS.group)
    return next((cast(Reader, cls()) for cls in READERS.values() if takes(cls, data)), None)


def takes(reader: Any, given: Any) -> bool:
    """Whether a reader says that it reads such objects in memory."""
    return bool(getattr(reader, "takes", lambda given: False)(given))


def is_reader(data: Any) -> bool:
    """Whether ``data`` is what a description builds from ``{NAME: fields}``."""
    return READERS.get(getattr(data, "kind", "")) is type(data)


def examples_of(
    data: Any, given: Any, finder: Find, gaps: Iterable[str] = ()
) -> tuple[Examples, Reader | None]:
    """The examples that a description's ``data`` means, or that are ``given`` in its place; their reader.

    Of arrays, in memory or in files, the streams ``gaps`` may hold NaN.
    """
    if given is None and is_reader(data):
        return _allowing(gaps, data.open(finder)), data
    if given is None or isinstance(given, str):
        return cast(Examples, AsTheyAre(find(given or data))), None
    if hasattr(given, "learn"):
        return cast(Examples, given), data if is_reader(data) else None
    reader = reader_of(given, data)
    if reader is not None:
        return _allowing(gaps, reader.read(given, finder)), reader
    return cast(Examples, AsTheyAre(as_source(given, gaps))), None


def _allowing(gaps: Iterable[str], examples: Examples) -> Examples:
    """With NaN in the streams ``gaps``, where they are of a kind that may hold it."""
    if hasattr(examples, "allow"):
        examples.allow(gaps)
    return examples


def is_name(data: Any) -> bool:
    """Whether ``data`` is the name of a data set: one word that is no file and no folder."""
    if not isinstance(data, str) or len(data) > LONGEST or len(data.split()) != 1 or is_file(data):
        return False
    return data in known() or not Path(data).exists()


def is_raw(reader: Any, given: Any, names: Sequence[str]) -> bool:
    """Whether ``given`` is for the reader and its encoding to turn into numbers: a path, what the reader
    takes, a list of such, or a mapping that lacks the streams ``names``; else it is the numbers already."""
    if isinstance(given, str):
        return given not in known()
    if isinstance(given, Path) or takes(reader, given):
        return True
    if isinstance(given, Mapping):
        return not all(name in given for name in names)
    return isinstance(given, (list, tuple)) and bool(given) and isinstance(given[0], (str, Path, Mapping))


def finder_beside(description: Any) -> Find:
    """Finds the files that a description names."""
    return partial(find_file, beside=Path(description.home))


def find_file(name: str, beside: Path = Path()) -> Path:
    """Where a file or folder lies: beside the description, here, in CORTEX_DATA, in the cache.

    Raises `MissingFile` with the places that were looked at, and with what would bring the file.
    """
    here = Path() if beside.absolute() != Path.cwd() else beside
    places = list(dict.fromkeys(place / name for place in (beside, here, *data_folders())))
    for place in places:
        if place.exists():
            return place
    fetched = [n for n in known() if name in getattr(find(n), "paths", ())]
    remedy = f". `cortex data fetch {fetched[0]}` brings it" if fetched else ""
    raise MissingFile(f"there is no data file {name!r}; looked for {', '.join(map(str, places))}{remedy}")


def data_folders() -> Iterator[Path]:
    """The folder CORTEX_DATA, and the cache."""
    for variable in ("CORTEX_DATA", "CORTEX_CACHE"):
        if folder := os.environ.get(variable):
            yield Path(folder).expanduser()
    if not os.environ.get("CORTEX_CACHE"):
        import platformdirs

        yield Path(platformdirs.user_cache_dir("cortex", appauthor=False))
