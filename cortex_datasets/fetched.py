"""Data sets that lie in published files: looked for on this machine, and fetched into the cache."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from cortex_compute.errors import DataError
from cortex_datasets import fetch
from cortex_datasets.published import Published, cache_folder, check, data_folder
from cortex_datasets.source import DataSet, Stream


@dataclass(frozen=True, repr=False)
class FetchedSet(DataSet):
    """A set of files in the folder ``folder`` of CORTEX_DATA, or else of the cache.

    What is not there is fetched into the cache from ``sources``, in their order.
    """

    folder: str
    sources: tuple[fetch.FileSource, ...]

    @abstractmethod
    def published(self) -> Sequence[Published]:
        """All files of the set."""

    @property
    def paths(self) -> tuple[str, ...]:
        """Where the files lie, relative to CORTEX_DATA and to the cache."""
        return tuple(f"{self.folder}/{file.name}" for file in self.published())

    def present(self) -> bool:
        return self.where() is not None

    def where(self) -> Path | None:
        return next((folder for folder in self._folders() if not self._missing(folder)), None)

    def fetch(self, progress: bool = True) -> Path:
        """Make the data present and check all of it; what is damaged in the cache is fetched again.

        Raises DataError that says where the data was looked for, and what each source answered.
        """
        given = data_folder()
        if given is not None and not self._missing(given / self.folder):
            for file in self.published():
                self.check(given / self.folder, file)
            return given / self.folder
        folder = cache_folder() / self.folder
        try:
            fetch.fetch(self.published(), folder, self.sources, progress)
        except fetch.CacheError:
            raise
        except DataError as error:
            raise DataError(self._not_found(str(error))) from None
        return folder

    def find(self, folder: Path, file: Published) -> Path | None:
        """Where a file of the set lies in ``folder``."""
        path = folder / file.name
        return path if path.is_file() else None

    def check(self, folder: Path, file: Published) -> None:
        """Raises DataError, which says what to do, where a file of the set is not as it was published."""
        try:
            check(folder / file.name, file)
        except DataError as error:
            raise self.damaged(folder, error) from None

    def damaged(self, folder: Path, error: DataError) -> DataError:
        """What is wrong with a file of ``folder``, and what to do."""
        if folder == (data_folder() or Path()) / self.folder:
            remedy = "Replace this file, or unset CORTEX_DATA and run"
        else:
            remedy = "To fetch it anew run"
        return DataError(f"{error}. {remedy} `cortex data fetch {self.name}`")

    def _folders(self) -> list[Path]:
        return [folder / self.folder for folder in (data_folder(), cache_folder()) if folder is not None]

    def _missing(self, folder: Path) -> list[str]:
        return [file.name for file in self.published() if self.find(folder, file) is None]

    def _not_found(self, answers: str) -> str:
        lines = [f"{self.name} is not on this machine, and could not be fetched. Looked in:"]
        if data_folder() is None:
            lines.append("  CORTEX_DATA, which is not set")
        for folder in self._folders():
            lacks = f"lacks {', '.join(self._missing(folder))}" if folder.is_dir() else "does not exist"
            lines.append(f"  {folder}, which {lacks}")
        return "\n".join(
            [
                *lines,
                "Tried:",
                answers,
                f"With a network in reach, run `cortex data fetch {self.name}`; or put these files into a"
                f" folder {self.folder!r} and set CORTEX_DATA to the folder around it.",
            ]
        )


@dataclass(frozen=True, repr=False, kw_only=True)
class FileSet(FetchedSet):
    """Files as people have them, which a description reads with a reader: a table, a text.

    ``use`` is what to write there for ``train.data``.
    """

    files: tuple[Published, ...]
    use: str
    streams: Mapping[str, Stream] = field(default_factory=dict, init=False)
    lengths: Mapping[str, int] = field(default_factory=dict, init=False)

    def published(self) -> Sequence[Published]:
        return self.files

    def load(self, split: str) -> NoReturn:
        raise DataError(
            f"{self.name} is files, which have to be read: write `data: {self.use}`. What brings them is"
            f" `cortex data fetch {self.name}`"
        )
