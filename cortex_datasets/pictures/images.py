"""The reader ``images``: folders and lists of picture files."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from cortex_compute.errors import DataError
from cortex_core.registry import Fault, Size, field, reader
from cortex_datasets.pictures.cache import cached, left_out, refuse, uncached
from cortex_datasets.pictures.decode import Form, is_picture
from cortex_datasets.pictures.encoding import PictureEncoding
from cortex_datasets.pictures.examples import PictureExamples
from cortex_datasets.pictures.listing import Listing, from_folder, from_list, from_paths

Array = np.ndarray[Any, Any]
Find = Callable[[str], Path]


@reader("images", main="folder")
class Images:
    """Picture files, decoded once into a cache.

    Gives the stream ``image`` float32 (height, width, channels) in 0..1 and, from a folder with one folder
    for each class, ``label`` int64.  Folders train, test and validation at the top are parts.  A list is a
    CSV with a column ``file``, perhaps ``part``, and columns of labels, each a stream of its own name: int64
    classes, or float32 (1,) where ``numbers`` names the column.
    """

    rank: ClassVar[int] = 2

    folder: str | None = field(default=None, doc="a folder of pictures, one folder for each class in it")
    list: str | None = field(default=None, doc="a CSV that names picture files")
    size: Size | None = field(default=None, doc="height and width; without, all pictures need the same")
    channels: int = field(default=3, choices=(1, 3), doc="1 grey, 3 red, green and blue")
    fit: str = field(
        default="stretch",
        choices=("stretch", "crop", "pad"),
        doc="how another proportion gets the size: crop cuts both sides, pad puts black bars there",
    )
    damaged: str = field(
        default="error", choices=("error", "skip"), doc="what to do with unreadable pictures"
    )
    numbers: tuple[str, ...] = field(default=(), doc="columns of the list that hold numbers, not classes")
    cache: bool = field(default=True, doc="keep decoded pictures in the cache for the next run")

    def check(self) -> Iterator[Fault]:
        if self.folder is not None and self.list is not None:
            yield Fault(("list",), "folder is given too", "expected one of them")
        if self.folder is None and self.list is None:
            yield Fault((), "there are no pictures", "expected folder or list")

    @property
    def form(self) -> Form:
        """What every picture becomes."""
        return Form(None if self.size is None else (self.size[0], self.size[1]), self.channels, self.fit)

    def open(self, find: Find) -> PictureExamples:
        """Its own pictures.  Raises DataError as the parts of this package do."""
        if self.list is not None:
            listing = from_list(find(self.list))
        else:
            listing = from_folder(find(self.folder or ""))
        pixels, damaged = (cached if self.cache else uncached)(listing, self.form)
        if self.damaged == "error":
            refuse(listing, damaged, "or leave out such with `damaged: skip`")
        notes = [*listing.notes, *left_out(listing, damaged)]
        return PictureExamples(listing, pixels, damaged, self.numbers, notes)

    def read(self, given: Any, find: Find) -> PictureExamples:
        """Pictures from elsewhere: the path of one, of a folder or of a list, a list of paths, or an array
        (examples, height, width, channels) of uint8, or of floats in 0..1.

        A damaged picture is an error here, whatever ``damaged`` says: each of them gets its prediction.
        """
        if isinstance(given, np.ndarray):
            return _of_array(given)
        listing = _listed(given, find)
        pixels, damaged = uncached(listing, self.form)
        refuse(listing, damaged, "or do not ask for it: each that is asked for gets its prediction")
        return PictureExamples(listing, pixels, {}, self.numbers, listing.notes)

    def restore(self, state: Mapping[str, Any]) -> PictureEncoding:
        """What was learned, from the plain data of a model file."""
        return PictureEncoding.restored(state)


def _listed(given: Any, find: Find) -> Listing:
    if isinstance(given, (list, tuple)) and given and all(isinstance(x, (str, Path)) for x in given):
        return from_paths(given)
    if not isinstance(given, (str, Path)):
        raise DataError(f"found {type(given).__name__}, expected a path, a list of paths, or an array")
    path = find(str(given))
    if path.is_dir():
        return from_folder(path)
    if path.suffix.lower() == ".csv":
        return from_list(path)
    if not is_picture(path.name):
        raise DataError(f"{path}: expected a picture, a folder of pictures, or a .csv that names them")
    return from_paths([path])


def _of_array(array: Array) -> PictureExamples:
    floats = array.dtype.kind == "f"
    if array.ndim != 4 or not (floats or array.dtype == np.uint8):
        raise DataError(
            f"found {array.dtype} of shape {array.shape}, expected pictures (examples, height, width,"
            " channels) of uint8, or of floats in 0..1"
        )
    if floats and array.size and not (array.min() >= 0 and array.max() <= 1):
        raise DataError("pictures of floats need values in 0..1; give 0..255 as uint8")
    listing = Listing(Path(), [str(i) for i in range(len(array))], {"train": np.arange(len(array))})
    return PictureExamples(listing, array, {}, (), [])
