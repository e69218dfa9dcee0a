"""Files that are whole or not there."""

from __future__ import annotations

import os
from pathlib import Path

from cortex_compute.errors import CortexError


def write_atomically(path: Path, content: bytes) -> None:
    """Makes a file whole or not at all: written beside its place, flushed to the disk, then renamed.

    Where that fails (a full disk, a folder that may not be written), what was there before stays, nothing is
    left beside it, and a `CortexError` says so.  What is no file (a pipe, /dev/null) is written straight.
    """
    try:
        place = path.resolve()  # a link stays a link
        if place.exists() and not (place.is_file() or place.is_dir()):
            place.write_bytes(content)
            return
        place.parent.mkdir(parents=True, exist_ok=True)
        partial = place.with_name(f".{place.name}.partial")
        try:
            with open(partial, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(partial, place)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise
        _sync_folder(place.parent)
    except OSError as error:
        raise CortexError(
            f"{path}: cannot be written ({error.strerror or error}); what was there before is untouched. "
            "Free some space, or give another folder"
        ) from error


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
