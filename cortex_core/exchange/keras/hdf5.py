"""HDF5 files whose author nobody knows, opened so that they can do no harm.

All links are walked before anything is read: what leaves the file, loops, or needs code from outside is
refused, and so is what takes far more memory than its file has bytes.  After that, arrays and groups are
known by their paths, with "/" between names also where Windows wrote backslashes.
"""

from __future__ import annotations

import io
import math
import mmap
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from cortex_compute.errors import CortexError, SpecError
from cortex_core.exchange.keras.arrays import (
    BFLOAT16,
    MOST_CHUNKS,
    NUMBERS,
    chunk_of,
    chunks,
    no_numbers,
    read_array,
    refusal,
    unpacking,
)
from cortex_core.exchange.keras.heaps import Texts, longest, texts
from cortex_core.exchange.keras.model import Weight

SIGNATURE = b"\x89HDF\r\n\x1a\n"
MOST_OBJECTS = 100_000
DEEPEST = 64
LONGEST_TEXT = 1 << 24
"""Bytes of a text: the configuration of the largest models takes one of these sixteen megabytes."""
LONGEST_NAME = 1 << 12
"""Bytes of a path."""
MOST_TEXT = 1 << 25
"""Bytes of all paths together, and of the entries of a list."""
MOST_NAMES = 4 * MOST_OBJECTS
"""Entries of all lists together, each as often as it is read."""
EXPANSION, SPARE = 32, 1 << 24
"""A file may hold this many times its size in numbers, and so many bytes more: zeros compress well."""

Link = tuple[Any, bytes, str, str, tuple[Any, ...]]


class Hdf5:
    """An HDF5 file: ``arrays`` and ``groups`` by path, and the names of what is ``inner`` to each group.

    The arrays are read when they are needed.
    """

    def __init__(self, path: str | os.PathLike[str], content: bytes | None = None) -> None:
        """``content`` is that of a file inside of another one, which ``path`` names."""
        import h5py

        self.path = os.fspath(path)
        self.arrays: dict[str, Weight] = {}
        self.groups: dict[str, str] = {"": "/"}
        self._odd: dict[str, str] = {}
        self._bytes = self._chunks = self._links = self._text = self._names = 0
        self._content = content
        self._texts: Texts = {}
        self._long: dict[str, int] = {}
        self._size = Path(path).stat().st_size if content is None else len(content)
        self._taken = Path(path).stat().st_size  # by all, which an archive may have packed once already
        with self._guarded(""):
            self._file = h5py.File(path if content is None else io.BytesIO(content), "r")
        try:
            with self._guarded(""):
                self._walk()
        except SpecError:
            self._file.close()
            raise
        self.inner = self._tree()

    # What there is

    def weight(self, path: str) -> Weight:
        """An array of numbers."""
        path = path.replace("\\", "/")
        found = self.arrays.get(path)
        if found is None:
            self.refuse(path, self._odd.get(path) or "the file names this array, but does not have it")
        return found

    def text(self, group: str, name: str) -> str:
        """An attribute that is a text; empty where there is none."""
        found = self._attribute(group, name)
        return "" if found is None else self._decoded(found, group, name)

    def texts(self, group: str, name: str) -> list[str] | None:
        """An attribute that is a list of texts, also where Keras has split it; None where there is none."""
        if self._has(group, name):
            return self._list(group, name)
        found, number = None, 0
        while self._has(group, f"{name}{number}"):
            found = (found or []) + self._list(group, f"{name}{number}")
            number += 1
        return found

    def refuse(self, where: str, what: str) -> NoReturn:
        _refuse(self.path, where, what)

    # Attributes

    def _has(self, group: str, name: str) -> bool:
        from h5py import h5a

        if group not in self.groups:
            return False
        with self._guarded(group):
            return bool(h5a.exists(self._object(self.groups[group]), name.encode()))

    def _list(self, group: str, name: str) -> list[str]:
        found = self._attribute(group, name)
        items = found if isinstance(found, np.ndarray) and found.ndim == 1 else None
        if items is None or (items.dtype.kind in NUMBERS and items.size):
            self.refuse(group, f"its '{name}' is no list of names")
        self._names += items.size
        if self._names > MOST_NAMES:
            self.refuse(group, f"its '{name}': the file lists more than {MOST_NAMES} names")
        return [self._decoded(item, group, name) for item in items]

    def _attribute(self, group: str, name: str) -> Any:
        import h5py

        if not self._has(group, name):
            return None
        with self._guarded(group):
            attribute = h5py.h5a.open(self._object(self.groups[group]), name.encode())
            dtype, shape = attribute.dtype, attribute.shape
            if shape is None or (dtype.kind == "O" and h5py.check_string_dtype(dtype) is None):
                self.refuse(group, f"its '{name}' is no text")
            count = math.prod(shape)
            most = MOST_TEXT if shape else LONGEST_TEXT
            large = count * dtype.itemsize > min(self._size, LONGEST_TEXT)
            if large or (dtype.kind == "O" and self._longest(name) > most):
                self.refuse(group, f"its '{name}' is larger than any of Keras's")
            return self._file[self.groups[group]].attrs[name]

    def _longest(self, name: str) -> int:
        """How many bytes of texts the attributes of this name take, at most."""
        if name not in self._long:
            with self._mapped() as data:
                self._texts = self._texts or texts(data)
                self._long[name] = longest(data, name, self._texts)
        return self._long[name]

    @contextmanager
    def _mapped(self) -> Iterator[Any]:
        """The bytes of the file."""
        if self._content is not None:
            yield self._content
            return
        with open(self.path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            yield data

    def _decoded(self, found: Any, group: str, name: str) -> str:
        try:
            text = found.decode("utf-8") if isinstance(found, bytes) else found
            if not isinstance(text, str):
                self.refuse(group, f"its '{name}' is no text")
            text.encode("utf-8")  # h5py hides what is not
        except UnicodeError:
            self.refuse(group, f"its '{name}' is not in UTF-8")
        return text

    def _object(self, path: str) -> Any:
        from h5py import h5o

        return h5o.open(self._file.id, path.encode())

    # The walk

    def _walk(self) -> None:
        """Hard links first: a soft link can lead out only over an external one, which is refused by then."""
        from h5py import h5g

        root = h5g.open(self._file.id, b"/")
        soft: list[Link] = []
        self._group(root, "", "", (_address(root),), soft)
        while soft:
            parent, name, path, real, above = soft.pop()
            if not _leads_somewhere(parent, name):
                self.refuse(path, "a soft link that leads to nothing in this file")
            self._object_at(parent, name, path, real, above, soft)

    def _group(self, group: Any, path: str, real: str, above: tuple[Any, ...], soft: list[Link]) -> None:
        from h5py import h5l

        for name in group:
            told = name.decode("utf-8", "backslashreplace")
            inner = f"{path}/{told}".lstrip("/").replace("\\", "/")
            self._count_link(inner)
            link = group.links.get_info(name).type
            if link == h5l.TYPE_SOFT:
                soft.append((group, name, inner, f"{real}/{told}", above))
            elif link == h5l.TYPE_HARD:
                self._object_at(group, name, inner, f"{real}/{told}", above, soft)
            else:
                self.refuse(inner, "a link out of this file; nothing but the file itself is read")

    def _count_link(self, path: str) -> None:
        self._links, self._text = self._links + 1, self._text + len(path)
        if self._links > MOST_OBJECTS:
            self.refuse(path, f"the file has more than {MOST_OBJECTS} objects")
        if len(path) > LONGEST_NAME or self._text > MOST_TEXT:
            self.refuse(path, "the names of what is in the file are longer than any of Keras's")

    def _object_at(
        self, parent: Any, name: bytes, path: str, real: str, above: tuple[Any, ...], soft: list[Link]
    ) -> None:
        from h5py import h5d, h5g, h5o

        if path in self.groups or path in self.arrays or path in self._odd:
            self.refuse(path, "the file has this name twice")
        found = h5o.open(parent, name)
        if isinstance(found, h5d.DatasetID):
            self._dataset(found, path, real)
            return
        if not isinstance(found, h5g.GroupID):
            self._odd[path] = "it is no array"
            return
        address = _address(found)
        if address in above:
            self.refuse(path, "a group that holds itself")
        if len(above) > DEEPEST:
            self.refuse(path, f"groups nest deeper than {DEEPEST} levels")
        self.groups[path] = real
        self._group(found, path, real, (*above, address), soft)

    def _tree(self) -> dict[str, list[str]]:
        """The names of what lies in each group, and in what is a group only by the names of Windows."""
        found: dict[str, dict[str, None]] = {}
        for path in (*self.groups, *self.arrays):
            while path:
                path, _, name = path.rpartition("/")
                names = found.setdefault(path, {})
                if name in names:
                    break
                names[name] = None
        return {path: [*names] for path, names in found.items()}

    # Arrays

    def _dataset(self, dataset: Any, path: str, real: str) -> None:
        """Notes an array, after all has been checked that reading it would trust in."""
        fault = refusal(dataset)
        if fault:
            self.refuse(path, fault)
        instead = no_numbers(dataset)
        if instead:
            self._odd[path] = f"holds {instead}; expected numbers"
            return
        dtype, shape = dataset.dtype, dataset.shape
        self._count(dataset, path, shape)
        told = "bfloat16" if dtype == BFLOAT16 else str(dtype)
        self.arrays[path] = Weight(path, tuple(shape), told, partial(_read, self._file, real, self.path))

    def _count(self, dataset: Any, path: str, shape: tuple[int, ...]) -> None:
        """Refuses what needs memory, or time, out of all proportion to the file."""
        chunk = chunk_of(dataset)
        self._bytes += max(math.prod(shape), math.prod(chunk) if chunk else 0) * dataset.dtype.itemsize
        if self._bytes > EXPANSION * self._taken + SPARE:
            told = f"shape {[*shape]} in a file of {self._taken} bytes"
            self.refuse(path, f"{told}: its arrays would take more than {EXPANSION} times as much")
        self._chunks += chunks(shape, chunk)
        if self._chunks > MOST_CHUNKS:
            self.refuse(path, f"the file has more than {MOST_CHUNKS} chunks")
        if dataset.get_storage_size() > self._size:
            self.refuse(path, f"declares more bytes than the {self._size} of the file")

    def _guarded(self, where: str) -> AbstractContextManager[None]:
        return _guarded(self.path, where)


def _read(file: Any, real: str, path: str) -> np.ndarray:
    """No method: an `Hdf5` that arrays of its own refer to would stay open until garbage is collected."""
    where = real.lstrip("/")
    with _guarded(path, where):
        dataset = file[real]
        fault = unpacking(dataset.id)
        if fault:
            _refuse(path, where, fault)
        return read_array(dataset)


@contextmanager
def _guarded(path: str, where: str) -> Iterator[None]:
    """What h5py says of a damaged file, as an error of ours."""
    try:
        yield
    except (CortexError, FileNotFoundError, PermissionError):
        raise
    except (OSError, RuntimeError, KeyError, ValueError, TypeError, OverflowError, MemoryError) as error:
        _refuse(path, where, f"the file is damaged or cut short ({error}); get it again")


def _refuse(path: str, where: str, what: str) -> NoReturn:
    told = f"{where!r:.200}: {what}" if where else what
    raise SpecError(f"{path}: {told}") from None


def _leads_somewhere(parent: Any, name: bytes) -> bool:
    from h5py import h5o

    try:
        return bool(h5o.exists_by_name(parent, name))
    except (OSError, RuntimeError, KeyError, ValueError):  # h5py's many ways to say no
        return False


def _address(group: Any) -> tuple[int, int]:
    from h5py import h5o

    info = h5o.get_info(group)
    return (info.fileno, info.addr)
