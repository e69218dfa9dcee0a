"""What lies in tar and zip files, and the errors that damaged ones lead to."""

from __future__ import annotations

import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from io import BufferedReader
from pathlib import Path
from typing import IO, cast

from cortex_compute.errors import DataError

ARCHIVE_BYTES = 1 << 28  # more than any archive that is named here has, or unpacks to
DAMAGED = (
    *(tarfile.TarError, zipfile.BadZipFile, EOFError, zlib.error),
    *(RuntimeError, NotImplementedError),  # of zipfile: a member is encrypted, or packed in an unknown way
)

Members = Iterator[tuple[str, int, Callable[[], IO[bytes] | None]]]


def members(archive: Path, wanted: Callable[[str], bool]) -> Iterator[tuple[str, BufferedReader]]:
    """The name and content of each file in a tar or zip file whose name is wanted; nothing is unpacked onto
    the disk.

    Raises DataError where it is damaged, or unpacks to more than any archive that is named here.
    """
    total = 0
    try:
        for name, size, opened in _zipped(archive) if zipfile.is_zipfile(archive) else _tarred(archive):
            total += size
            if total > ARCHIVE_BYTES:
                raise DataError(f"{archive.name}: unpacks to more than {ARCHIVE_BYTES:,} bytes")
            if wanted(name) and (stream := opened()) is not None:
                with stream:
                    yield name, cast(BufferedReader, stream)
    except DAMAGED as error:
        raise DataError(f"{archive.name}: damaged archive: {error}") from None


def _tarred(archive: Path) -> Members:
    with tarfile.open(archive, "r:gz") as tar:
        for member in tar:
            yield member.name, member.size, partial(tar.extractfile, member)


def _zipped(archive: Path) -> Members:
    with zipfile.ZipFile(archive) as content:
        for member in content.infolist():
            yield member.filename, member.file_size, partial(content.open, member)
