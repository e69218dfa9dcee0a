"""Published files: where they lie on this machine, and the check that one is what its authors published."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import Protocol, cast

from cortex_compute.errors import DataError

CHUNK = 1 << 20
GZIP_MAGIC = b"\x1f\x8b"


class Published(Protocol):
    """What must be in one published file, as it is kept on this machine.

    Kept uncompressed, unless ``name`` ends in ``.gz``.  ``size``: its bytes, or None where nobody published
    them.  ``checksum`` of these bytes: the SHA-256 in hexadecimal, or another one after its name ("md5:...").
    """

    @property
    def name(self) -> str: ...
    @property
    def size(self) -> int | None: ...
    @property
    def checksum(self) -> str: ...


@dataclass(frozen=True)
class File:
    """A `Published` file of any format."""

    name: str
    size: int | None
    checksum: str


def data_folder() -> Path | None:
    """The folder that the variable CORTEX_DATA names."""
    return Path(value).expanduser() if (value := os.environ.get("CORTEX_DATA")) else None


def cache_folder() -> Path:
    """The folder that the variable CORTEX_CACHE names, else the user's cache of this platform."""
    if value := os.environ.get("CORTEX_CACHE"):
        return Path(value).expanduser()
    import platformdirs

    return Path(platformdirs.user_cache_dir("cortex", appauthor=False))


def check(path: Path, file: Published) -> None:
    """Raises DataError where the file at ``path`` cannot be read, or holds anything but ``file``."""
    try:
        with open(path, "rb") as stream:
            for _ in checked(chunks(stream), file, str(path)):
                pass
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error


def checked(content: Iterable[bytes], file: Published, origin: str) -> Iterator[bytes]:
    """The content, passed on as it comes.  ``origin`` names it in errors.

    Raises DataError where it is a web page, is cut short, goes on after its end, or has another checksum: the
    last three are known only when everything was passed on.
    """
    import hashlib

    algorithm, _, expected = file.checksum.rpartition(":")
    digest, done = hashlib.new(algorithm or "sha256"), 0
    for chunk in content:
        if done == 0 and chunk.lstrip()[:9].lower().startswith((b"<!doctype", b"<html")):
            raise DataError(f"{origin}: a web page came in its place; perhaps a network asks for a login")
        done += len(chunk)
        if file.size is not None and done > file.size:
            raise DataError(f"{origin}: goes on after the {file.size:,} bytes that it should hold")
        digest.update(chunk)
        yield chunk
    if file.size is not None and done < file.size:
        raise DataError(f"{origin}: cut short: ends after {done:,} of {file.size:,} bytes")
    if digest.hexdigest() != expected:
        name = (algorithm or "sha-256").upper()
        raise DataError(
            f"{origin}: the content was altered: its {name} is {digest.hexdigest()}, expected {expected}"
        )


def chunks(stream: BufferedReader) -> Iterator[bytes]:
    """What is left in ``stream``, in blocks of at most a megabyte."""
    while block := stream.read(CHUNK):
        yield block


def unpacked(stream: BufferedReader, origin: str) -> Iterator[bytes]:
    """The blocks of ``stream``, decompressed where it starts as gzip does.

    Raises DataError where the compressed content is cut short or damaged.
    """
    if stream.peek(2)[:2] != GZIP_MAGIC:
        yield from chunks(stream)
        return
    import gzip
    import zlib

    done = 0
    try:
        for block in chunks(cast(BufferedReader, gzip.GzipFile(fileobj=stream))):
            yield block
            done += len(block)
    except EOFError:
        raise DataError(f"{origin}: cut short: ends after {done:,} bytes") from None
    except (zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{origin}: damaged after {done:,} bytes: {error}") from None
