"""Archives of Keras 2.12 and later (``.keras``): a zip file of a configuration and an HDF5 file of weights.

Members are read into memory, never unpacked to a disk, and no more than their sizes allow.
"""

from __future__ import annotations

import io
import os
import struct
import zipfile
import zlib
from pathlib import Path
from typing import NoReturn

from cortex_compute.errors import SpecError
from cortex_compute.frozen import frozen
from cortex_core.exchange.keras.hdf5 import EXPANSION, LONGEST_TEXT, SPARE
from cortex_core.exchange.keras.strangers import of_archive

CONFIG, METADATA, WEIGHTS = "config.json", "metadata.json", "model.weights.h5"
PACKINGS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
ENCRYPTED = 1
LONGEST_DIRECTORY = 1 << 20
"""Bytes of the list of members, of which Keras writes a handful: each takes much more memory than there."""
DAMAGE = (
    zipfile.BadZipFile, zlib.error, struct.error, EOFError, NotImplementedError, OSError, OverflowError,
    RuntimeError, ValueError,
)  # fmt: skip
"""All that zipfile says of archives that are none."""


@frozen
class Archive:
    """The members of an archive; ``metadata`` is empty where it has none."""

    config: bytes
    metadata: bytes
    weights: bytes


def read_archive(path: str | os.PathLike[str]) -> Archive:
    """The members that a model needs.  Raises `SpecError` for an archive that is damaged or does harm."""
    try:
        with _Listed(io.FileIO(path)) as file, zipfile.ZipFile(file) as archive:
            file.listed = True
            members = _Members(os.fspath(path), archive)
            return Archive(
                members.read(CONFIG, LONGEST_TEXT),
                members.read(METADATA, LONGEST_TEXT) if METADATA in members.known else b"",
                members.read(WEIGHTS, EXPANSION * Path(path).stat().st_size + SPARE),
            )
    except (SpecError, FileNotFoundError, PermissionError):
        raise
    except DAMAGE as error:
        raise SpecError(f"{path}: the archive is damaged or cut short ({error}); get it again") from None


class _Listed(io.BufferedReader):
    """A file of which little is read at once, until its members are ``listed``."""

    listed = False

    def read(self, size: int | None = -1, /) -> bytes:
        asked = size if size is not None and size >= 0 else os.fstat(self.fileno()).st_size - self.tell()
        if asked > LONGEST_DIRECTORY and not self.listed:
            raise SpecError(f"{self.name}: its list of members is longer than any of Keras's")
        return super().read(size)


class _Members:
    def __init__(self, path: str, archive: zipfile.ZipFile) -> None:
        self.path, self.archive = path, archive
        self.known: dict[str, zipfile.ZipInfo] = {}
        for info in archive.infolist():
            name = info.filename.replace("\\", "/")
            if name.startswith("/") or ".." in name.split("/") or name[1:2] == ":":
                self._refuse(name, "a name that leads out of the archive")
            if name in self.known:
                self._refuse(name, "the archive has this member twice")
            self.known[name] = info

    def read(self, name: str, most: int) -> bytes:
        """A member, if it has at most so many bytes.  No more than it declares are ever unpacked."""
        info = self.known.get(name)
        if info is None:
            if told := of_archive(self.known):
                raise SpecError(f"{self.path}: {told}")
            there = ", ".join(self.known) or "nothing"
            self._refuse(name, f"an archive of Keras has this member; this one has {there:.200}")
        if info.flag_bits & ENCRYPTED:
            self._refuse(name, "it is encrypted")
        if info.compress_type not in PACKINGS:
            self._refuse(name, f"it is packed by method {info.compress_type}; Keras stores or deflates")
        if info.file_size > most:
            self._refuse(name, f"it declares {info.file_size} bytes; at most {most} are read")
        with self.archive.open(info) as file:
            return file.read(info.file_size + 1)

    def _refuse(self, name: str, what: str) -> NoReturn:
        raise SpecError(f"{self.path}: {name!r:.200}: {what}")
