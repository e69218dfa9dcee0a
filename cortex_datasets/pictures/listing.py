"""Which pictures there are, in which part, and what is known of each: from folders, or from a list."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from cortex_compute.errors import DataError
from cortex_core.registry import nearest
from cortex_datasets.pictures.decode import SUFFIXES, is_picture

Array = np.ndarray[Any, Any]
PARTS = {  # what people call the parts, in small letters
    **{"train": "train", "training": "train", "test": "test", "testing": "test"},
    **{"validation": "validation", "valid": "validation", "val": "validation"},
}
SHOWN = 5  # names in a message


@dataclass(frozen=True)
class Listing:
    """Picture files, before any is opened.

    ``files`` are relative to ``folder``; ``parts`` maps "train", and what else there is, to their indices;
    ``columns`` hold one text for each file ("" where there is none), ``places`` where a file was named.
    """

    folder: Path
    files: Sequence[str]
    parts: Mapping[str, Array]
    columns: Mapping[str, Array] = field(default_factory=dict)
    places: Sequence[str] = ()
    notes: Sequence[str] = ()

    def place(self, index: int) -> str:
        """Where messages say that a file was named."""
        return self.places[index] if self.places else str(self.folder / self.files[index])


def _counted(names: Sequence[str]) -> str:
    """How many names there are, and the first."""
    more = ", ..." if len(names) > SHOWN else ""
    return f"{len(names)} ({', '.join(names[:SHOWN])}{more})"


def from_folder(folder: Path) -> Listing:
    """The pictures of a folder: one folder for each class in it, else without classes.

    Folders ``train`` and ``test`` or ``validation`` are parts, each with its classes (also ``training``,
    ``testing``, ``valid``, ``val``, in large letters or small).  Pictures in deeper folders belong to the
    class around them; they are counted, and so are files that are no pictures.  Hidden files are ignored.
    Raises DataError where there is no picture, a class has none, or what looks like classes are parts.
    """
    tops = _parts(folder)
    others: list[str] = []
    found = {part: list(_classified(folder, name, others)) for part, name in tops.items()}
    if not any(found.values()):
        raise DataError(f"{folder}: holds no pictures ({' '.join(SUFFIXES)}){_arrays(others)}")
    if empty := [tops[part] for part, files in found.items() if not files]:
        raise DataError(f"{folder / empty[0]}: holds no pictures; remove this folder, or fill it")
    labels = [label for files in found.values() for _, label in files]
    if any(labels) and not all(labels):
        flat = next(tops[part] for part, files in found.items() if not files[0][1])
        raise DataError(f"{folder / flat}: has no folders of classes, though another part has them")
    notes = [f"files that are no pictures of a class, passed by: {_counted(others)}"] if others else []
    if count := sum(_deeper(folder, tops[part], files) for part, files in found.items()):
        notes.append(f"pictures in deeper folders, which belong to the class around them: {count}")
    ends = np.cumsum([0, *map(len, found.values())])
    return Listing(
        folder,
        [name for files in found.values() for name, _ in files],
        {part: np.arange(ends[i], ends[i + 1]) for i, part in enumerate(found)},
        {"label": np.array(labels, object)} if any(labels) else {},
        notes=notes,
    )


def _arrays(others: Sequence[str]) -> str:
    """What to write for a folder of arrays."""
    if not any(name.lower().endswith(".npy") for name in others):
        return ""
    return "; its arrays are read by `data: {arrays: FOLDER}`, and described one file at a time"


def _deeper(root: Path, part: str, files: Sequence[tuple[str, str]]) -> int:
    """How many pictures lie deeper than in the folder of their class.

    Raises DataError where all do, in folders that several "classes" have: those are parts, or the like.
    """
    inner: dict[str, set[str]] = {}  # folders within a class -> classes that have one of this name
    deep = 0
    for name, label in files:
        below = name.split("/")[bool(part) + 1 : -1] if label else []
        deep += bool(below)
        if below:
            inner.setdefault(below[0], set()).add(label)
    repeated = sorted(name for name, labels in inner.items() if len(labels) > 1)
    if repeated and deep == len(files):
        labels = sorted(set.union(*(inner[name] for name in repeated)))
        raise DataError(
            f"{root / part}: the folders {_counted(labels)} hold no pictures of their own, and have the same"
            f" folders in them: {_counted(repeated)}. If they are parts of the data, name them train, test"
            " and validation; if they are classes, move the pictures up into them, or write a `list`"
        )
    return deep


def _parts(folder: Path) -> dict[str, str]:
    """The folder of each part; the folder itself holds the training part where it has no such folders."""
    inside = _folders(folder)
    named = [name for name in inside if name.lower() in PARTS]
    meant = [PARTS[name.lower()] for name in named]
    if "train" not in meant or not (len(set(meant)) > 1 or len(inside) == 1):
        return {"train": ""}  # one folder of that name among others is a class
    if other := [name for name in inside if name not in named]:
        raise DataError(
            f"{folder}: {_counted(other)} beside {', '.join(named)}: move it into a part, or away"
        )
    if len(set(meant)) < len(named):
        twice = [name for name, part in zip(named, meant) if meant.count(part) > 1]
        raise DataError(f"{folder}: has both {' and '.join(twice)}; one is enough")
    found = dict(zip(meant, named))
    return {part: found[part] for part in dict.fromkeys(PARTS.values()) if part in found}


def _classified(root: Path, part: str, others: list[str]) -> Iterator[tuple[str, str]]:
    """The pictures of one part, each with its class ("" where there are none); what is no picture, or lies
    beside the folders of classes, goes to ``others``."""
    top = root / part
    classes = {name: list(_below(root, f"{part}/{name}".lstrip("/"), others)) for name in _folders(top)}
    direct: list[str] = []
    for entry in sorted(e.name for e in os.scandir(top) if e.is_file() and not e.name.startswith(".")):
        name = f"{part}/{entry}".lstrip("/")
        (direct if is_picture(entry) else others).append(name)
    if not any(classes.values()):
        if classes and not direct:
            raise DataError(f"{top / next(iter(classes))}: holds no pictures; a class needs some")
        yield from ((name, "") for name in direct)
        return
    others += direct
    for label, files in classes.items():
        if not files:
            raise DataError(f"{top / label}: holds no pictures; fill the folder of this class, or remove it")
        yield from ((name, label) for name in files)


def _below(root: Path, name: str, others: list[str]) -> Iterator[str]:
    """The pictures at any depth, in the order of their names."""
    for folder, inner, files in os.walk(root / name):
        inner[:] = sorted(n for n in inner if not n.startswith("."))
        for file in sorted(n for n in files if not n.startswith(".")):
            path = Path(folder, file).relative_to(root).as_posix()
            if is_picture(file):
                yield path
            else:
                others.append(path)


def _folders(folder: Path) -> list[str]:
    try:
        return sorted(e.name for e in os.scandir(folder) if e.is_dir() and not e.name.startswith("."))
    except OSError as error:
        raise DataError(f"{folder}: cannot be read: {error.strerror}") from None


def from_list(path: Path) -> Listing:
    """The pictures of a CSV with a column ``file`` (relative to it), columns of labels, and ``part``, if it
    has one.

    Raises DataError that names the line where the list is wrong, or a file does not exist.
    """
    header, rows, lines = _table(path)
    if "file" not in header:
        hint = nearest("file", header)
        raise DataError(
            f"{path}: the first line has no column 'file'; it has {', '.join(header)}. {hint}".rstrip(". ")
        )
    # objects: one long text would make every cell of an array of texts as long
    columns = {name: np.array([row[i] for row in rows], object) for i, name in enumerate(header)}
    files, told = columns.pop("file").tolist(), columns.pop("part", None)
    places = [f"{path}:{line}" for line in lines]
    missing = [i for i, name in enumerate(files) if not (path.parent / name).is_file()]
    if missing:
        more = f" (nor are {len(missing) - 1} more)" if len(missing) > 1 else ""
        raise DataError(f"{places[missing[0]]}: there is no file {files[missing[0]]!r} beside the list{more}")
    parts = {"train": np.arange(len(files))}
    if told is not None:
        for i, part in enumerate(told):
            if part.lower() not in PARTS:
                raise DataError(f"{places[i]}: part is {part!r}, expected {', '.join(PARTS)}")
        named = np.array([PARTS[part.lower()] for part in told])
        parts = {part: np.flatnonzero(named == part) for part in dict.fromkeys(["train", *named.tolist()])}
        if not len(parts["train"]):
            raise DataError(f"{path}: no picture is of the part 'train'")
    return Listing(path.parent, files, parts, columns, places)


def _table(path: Path) -> tuple[list[str], list[list[str]], list[int]]:
    """The header of a CSV, its rows, and the line in which each begins."""
    header: list[str] = []
    rows, lines = [], []
    try:
        text = path.read_bytes().decode("utf-8-sig")
        reader, line = csv.reader(io.StringIO(text, newline=""), strict=True), 1
        for row in reader:
            cells = [cell.strip() for cell in row]
            if any(cells) and not header:
                header = cells
            elif any(cells):
                if len(cells) != len(header):
                    raise DataError(f"{path}:{line}: has {len(cells)} cells, the first line {len(header)}")
                rows.append(cells)
                lines.append(line)
            line = reader.line_num + 1
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: byte {error.start} is no UTF-8; save the list as UTF-8") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from None
    except csv.Error as error:
        raise DataError(f"{path}:{line}: {error}") from None
    if not rows:
        raise DataError(f"{path}: names no pictures; expected a column 'file' and a line for each")
    if twice := [name for i, name in enumerate(header) if name in header[:i]]:
        raise DataError(f"{path}: the first line has the column {twice[0]!r} twice")
    if "image" in header:
        raise DataError(f"{path}: rename the column 'image': the pixels have this name")
    return header, rows, lines


def from_paths(paths: Sequence[str | Path]) -> Listing:
    """Pictures by their paths, in this order."""
    for path in paths:
        if not Path(path).is_file():
            raise DataError(f"{path}: there is no such picture")
    return Listing(Path(), [str(path) for path in paths], {"train": np.arange(len(paths))})
