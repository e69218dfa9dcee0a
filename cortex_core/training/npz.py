"""Data files that a description names: an .npz, one array (examples, ...) for each input and each target."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from cortex_compute.errors import DataError
from cortex_core.training.source import Array, Arrays


def is_file(name: str) -> bool:
    """Whether a name under ``data`` means a file, not a data set."""
    return "." in name or "/" in name


def open_file(name: str, description: str) -> Arrays:
    """The examples in a data file, which is looked for beside the description, here, in CORTEX_DATA, in
    the cache.

    ``description`` is the path of the description's own file.  Raises `DataError` where the file is in none
    of these places, is of another kind, or is damaged.
    """
    if not name.endswith(".npz"):
        raise DataError(f"data file {name!r}: expected an .npz with one array for each input and each target")
    places = list(dict.fromkeys(_places(name, description)))
    for place in places:
        if place.is_file():
            return Arrays(read_npz(place))
    raise DataError(f"there is no data file {name!r}; looked for {', '.join(map(str, places))}")


def _places(name: str, description: str) -> Iterator[Path]:
    yield Path(description).parent / name
    yield Path(name)  # as typed, where an override or an argument names it
    for variable in ("CORTEX_DATA", "CORTEX_CACHE"):
        if folder := os.environ.get(variable):
            yield Path(folder).expanduser() / name
    if "CORTEX_CACHE" not in os.environ:
        import platformdirs

        yield Path(platformdirs.user_cache_dir("cortex", appauthor=False)) / name


def read_npz(file: Path) -> dict[str, Array]:
    """The arrays of an .npz file, by name."""
    try:
        with file.open("rb") as stream, np.load(stream, allow_pickle=False) as content:
            return {name: content[name] for name in content.files}
    except FileNotFoundError:
        raise DataError(f"{file}: there is no such file") from None
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"{file}: damaged, or no .npz file of plain arrays: {error}") from None
