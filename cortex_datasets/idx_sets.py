"""Sets of labelled grey images in idx files: MNIST, and those that took over its format."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cortex_compute.errors import DataError
from cortex_datasets import fetch, idx
from cortex_datasets.idx import IdxFile
from cortex_datasets.source import ArraySource, DataSet


@dataclass(frozen=True)
class IdxSet(DataSet):
    """Streams ``image`` float32 (height, width, 1) in 0..1 and ``label`` int64.

    ``files``: split -> its images and its labels.  They are looked for, compressed or not, in the folder
    ``name`` of CORTEX_DATA and then of the cache; else fetched into the cache from ``sources``, in order.
    """

    files: Mapping[str, tuple[IdxFile, IdxFile]]
    sources: tuple[fetch.FileSource, ...]

    def load(self, split: str) -> ArraySource:
        self.check_split(split)
        folder = self.where() or self.fetch()
        images, labels = (self._read(folder, file) for file in self.files[split])
        try:
            return ArraySource(
                {"image": images[..., np.newaxis], "label": labels.astype(np.int64)},
                {name: stream.classes for name, stream in self.streams.items() if stream.classes},
            )
        except DataError as error:
            raise DataError(f"{folder}: {error}") from None

    def present(self) -> bool:
        return self.where() is not None

    def where(self) -> Path | None:
        return next((folder for folder in self._folders() if not self._missing(folder)), None)

    def fetch(self, progress: bool = True) -> Path:
        """Make the data present and check all of it; what is damaged in the cache is fetched again.

        Takes up to 60 MB in the cache.  Raises DataError that says where the data was looked for, and what
        each mirror answered.
        """
        given = fetch.data_folder()
        if given is not None and not self._missing(given / self.name):
            for file in self._all_files():
                self._read(given / self.name, file)
            return given / self.name
        folder = fetch.cache_folder() / self.name
        try:
            fetch.fetch(self._all_files(), folder, self.sources, progress)
        except fetch.CacheError:
            raise
        except DataError as error:
            raise DataError(self._not_found(str(error))) from None
        return folder

    def _read(self, folder: Path, file: IdxFile) -> np.ndarray:
        path = _find(folder, file)
        assert path is not None
        try:
            return idx.read(path, file)
        except DataError as error:
            if folder.parent == fetch.data_folder():
                remedy = "Replace this file, or unset CORTEX_DATA and run"
            else:
                remedy = "To fetch it anew run"
            raise DataError(f"{error}. {remedy} `cortex data fetch {self.name}`") from None

    def _all_files(self) -> list[IdxFile]:
        return [file for pair in self.files.values() for file in pair]

    def _folders(self) -> list[Path]:
        given = fetch.data_folder()
        return [folder / self.name for folder in (given, fetch.cache_folder()) if folder is not None]

    def _missing(self, folder: Path) -> list[str]:
        return [file.name for file in self._all_files() if _find(folder, file) is None]

    def _not_found(self, answers: str) -> str:
        lines = [f"{self.name} is not on this machine, and could not be fetched. Looked in:"]
        if fetch.data_folder() is None:
            lines.append("  CORTEX_DATA, which is not set")
        for folder in self._folders():
            lacks = f"lacks {', '.join(self._missing(folder))}" if folder.is_dir() else "does not exist"
            lines.append(f"  {folder}, which {lacks}")
        return "\n".join(
            [
                *lines,
                "Tried:",
                answers,
                f"With a network in reach, run `cortex data fetch {self.name}`; or put these files, as .gz or"
                f" unpacked, into a folder {self.name!r} and set CORTEX_DATA to the folder around it.",
            ]
        )


def _find(folder: Path, file: IdxFile) -> Path | None:
    # Unpacked first: that is what fetch writes, and what it wrote must win over a damaged .gz beside it.
    candidates = (folder / file.name, folder / f"{file.name}.gz")
    return next((path for path in candidates if path.is_file()), None)
