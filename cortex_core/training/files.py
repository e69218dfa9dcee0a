"""Files that are whole or not there."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cortex_compute.errors import CortexError, DTypeError


def expect_path(path: Any, function: str, call: str) -> Path:
    """A path that ``function`` was given; raises `DTypeError` for what is none, and shows the ``call``."""
    if not isinstance(path, (str, os.PathLike)):
        raise DTypeError(f"{function}: got a {type(path).__name__} where the path stands, expected {call}")
    return Path(path)


def write_atomically(path: Path, content: bytes) -> None:
    """Makes a file whole or not at all: written beside its place, flushed to the disk, then renamed.

    Where that fails (a full disk, a folder that may not be written), what was there before stays, nothing is
    left beside it, and a `CortexError` says so.  What is no file (a pipe, /dev/null) is written straight.
    """
    write_together({path: content})


def write_together(contents: Mapping[Path, bytes]) -> None:
    """Makes several files as `write_atomically` makes one: all of them are written before one is renamed."""
    partials: dict[Path, Path] = {}  # by the place, what is renamed to it
    path = Path()
    try:
        for path, content in contents.items():
            place = path.resolve()  # a link stays a link
            if place.is_dir():
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
            if place.exists() and not place.is_file():
                place.write_bytes(content)
                continue
            place.parent.mkdir(parents=True, exist_ok=True)
            partials[place] = place.with_name(f".{place.name}.partial")
            with open(partials[place], "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        for path, partial in partials.items():
            os.replace(partial, path)
        for folder in {place.parent for place in partials}:
            _sync_folder(folder)
    except OSError as error:
        raise CortexError(
            f"{path}: cannot be written ({error.strerror or error}); what was there before is untouched. "
            "Free some space, or give another folder"
        ) from error
    finally:
        for partial in partials.values():
            partial.unlink(missing_ok=True)


def append(path: Path, content: bytes) -> None:
    """Adds to the end of a file, which a crash may cut short there; a `CortexError` where it cannot be
    written."""
    try:
        with path.open("ab") as file:
            file.write(content)
    except OSError as error:
        raise CortexError(
            f"{path}: cannot be written ({error.strerror or error}). Free some space, or give another folder"
        ) from error


def _sync_folder(folder: Path) -> None:
    """The new name reaches the disk too, where the system can open folders."""
    if hasattr(os, "O_DIRECTORY"):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
