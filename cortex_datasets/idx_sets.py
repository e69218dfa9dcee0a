"""Sets of labelled grey images in idx files: MNIST, and those that took over its format."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cortex_compute.errors import DataError
from cortex_datasets import idx
from cortex_datasets.fetched import FetchedSet
from cortex_datasets.idx import IdxFile
from cortex_datasets.published import Published
from cortex_datasets.source import Array, ArraySource


@dataclass(frozen=True, repr=False)
class IdxSet(FetchedSet):
    """Streams ``image`` float32 (height, width, 1) in 0..1 and ``label`` int64.

    ``files``: split -> its images and its labels.  Each may lie compressed or not.
    """

    files: Mapping[str, tuple[IdxFile, IdxFile]]

    def load(self, split: str) -> ArraySource:
        self.check_split(split)
        folder = self.where() or self.fetch()
        images, labels = (self._read(folder, file) for file in self.files[split])
        try:
            return ArraySource(
                {"image": images[..., np.newaxis], **self.columns(labels)},
                {name: stream.classes for name, stream in self.streams.items() if stream.classes},
            )
        except DataError as error:
            raise DataError(f"{folder}: {error}") from None

    def columns(self, labels: Array) -> dict[str, Array]:
        """The streams that the file of labels holds."""
        return {"label": labels.astype(np.int64)}

    def published(self) -> Sequence[IdxFile]:
        return [file for pair in self.files.values() for file in pair]

    def find(self, folder: Path, file: Published) -> Path | None:
        # Unpacked first: that is what fetch writes, and what it wrote must win over a damaged .gz beside it.
        candidates = (folder / file.name, folder / f"{file.name}.gz")
        return next((path for path in candidates if path.is_file()), None)

    def check(self, folder: Path, file: Published) -> None:
        self._read(folder, next(own for own in self.published() if own.name == file.name))

    def _read(self, folder: Path, file: IdxFile) -> Array:
        path = self.find(folder, file)
        assert path is not None
        try:
            return idx.read(path, file)
        except DataError as error:
            raise self.damaged(folder, error) from None


class QmnistSet(IdxSet):
    """An `IdxSet` whose labels are rows of eight numbers: the digit, the series of forms, the writer, ...

    The stream ``writer`` int64 is there for splits that keep the writers apart.
    Source: C. Yadav, L. Bottou, "Cold case: the lost MNIST digits", 2019.
    """

    def columns(self, labels: Array) -> dict[str, Array]:
        return {"label": labels[:, 0].astype(np.int64), "writer": labels[:, 2].astype(np.int64)}
