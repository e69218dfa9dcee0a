"""Decoded pictures as one memory-mapped array, made once for the same files and the same options.

A folder of the cache holds ``pixels.npy``, uint8 (files, height, width, channels), and ``damaged.json``: the
files that could not be read (their pixels are 0), and why.  It is made under another name and then renamed:
who finds it finds all of it, and two processes that make the same one do not disturb each other.  Nothing
clears it away: the folder ``pictures`` of the cache may be removed at any time.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import tempfile
import warnings
from collections import deque
from collections.abc import Generator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from cortex_compute.errors import DataError
from cortex_datasets.pictures.decode import Form, Unreadable, decode, need_pillow
from cortex_datasets.pictures.listing import Listing
from cortex_datasets.published import cache_folder

Array = np.ndarray[Any, Any]
VERSION = 2  # of the rules by which files become pixels
MANY = 1000  # pictures whose decoding is announced
WORKERS = min(8, os.cpu_count() or 1)
AHEAD = 4 * WORKERS  # pictures decoded before their turn
PIXELS, DAMAGED = "pixels.npy", "damaged.json"


def cached(listing: Listing, form: Form) -> tuple[Array, dict[int, str]]:
    """The pixels of all files, from the cache or brought into it, and the damaged ones with the reason.

    Raises DataError where pictures have different sizes and none is asked for, where no picture can be read,
    and where the cache cannot be written.
    """
    folder = cache_folder() / "pictures" / _key(listing, form)
    found = _open(folder, len(listing.files))
    if found is not None:
        return found
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".making-", dir=folder.parent) as scratch:
            made = Path(scratch) / "made"
            made.mkdir()
            _make(made, listing, form)
            try:
                os.rename(made, folder)
            except OSError:  # another process was faster, or a damaged one lies there
                if _open(folder, len(listing.files)) is None:
                    shutil.rmtree(folder)
                    os.rename(made, folder)
    except OSError as error:
        raise DataError(
            f"{folder}: decoded pictures cannot be written: {error.strerror or error}. Make room there, set"
            " CORTEX_CACHE to a folder that can be written, or say `cache: false`"
        ) from None
    found = _open(folder, len(listing.files))
    if found is None:
        raise DataError(f"{folder}: changed while it was made; try again")
    return found


def uncached(listing: Listing, form: Form) -> tuple[Array, dict[int, str]]:
    """The same from a temporary file, which goes with the array."""
    try:
        with tempfile.TemporaryFile() as file:
            shape, start, damaged = _write(file, listing, form)
            file.flush()
            return np.memmap(file, np.uint8, "r", start, shape), damaged
    except OSError as error:
        raise DataError(
            f"{tempfile.gettempdir()}: decoded pictures cannot be written: {error.strerror or error}. Make"
            " room there, or set TMPDIR to another folder"
        ) from None


def _key(listing: Listing, form: Form) -> str:
    """Changes with every file's path, size and time, and with every option."""
    options = (VERSION, str(listing.folder.resolve()), form.size, form.channels, form.fit)
    digest = hashlib.sha256(repr(options).encode(errors="surrogateescape"))
    for name in listing.files:
        try:
            status = os.stat(listing.folder / name)
            told = (status.st_size, status.st_mtime_ns)
        except OSError:  # a link to nowhere: told as damaged when it is to be decoded
            told = (-1, -1)
        digest.update(f"{name}\0{told}\n".encode(errors="surrogateescape"))
    return digest.hexdigest()[:32]


def _open(folder: Path, count: int) -> tuple[Array, dict[int, str]] | None:
    try:
        pixels = np.load(folder / PIXELS, mmap_mode="r", allow_pickle=False)
        damaged = {int(i): str(why) for i, why in json.loads((folder / DAMAGED).read_text()).items()}
    except (OSError, ValueError, AttributeError):  # not there, or damaged: then it is made anew
        return None
    good = pixels.dtype == np.uint8 and pixels.ndim == 4 and len(pixels) == count
    return (pixels, damaged) if good and all(0 <= i < count for i in damaged) else None


def _make(folder: Path, listing: Listing, form: Form) -> None:
    with open(folder / PIXELS, "wb") as file:
        _, _, damaged = _write(file, listing, form)
        _flush(file)
    with open(folder / DAMAGED, "wb") as file:
        file.write(json.dumps(damaged).encode())
        _flush(file)


def _flush(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def _write(file: Any, listing: Listing, form: Form) -> tuple[tuple[int, ...], int, dict[int, str]]:
    """Writes an .npy; gives its shape, where its data begin, and the damaged files."""
    need_pillow()
    if len(listing.files) >= MANY:  # it may take minutes, in which nothing else is told
        print(f"decoding {len(listing.files):,} pictures of {listing.folder}", file=sys.stderr)
    paths = [listing.folder / name for name in listing.files]
    damaged: dict[int, str] = {}
    first, shape, start = 0, (0, 0, 0), 0
    with closing(_decoded(paths, form)) as decoded:
        for index, pixels in enumerate(decoded):
            if isinstance(pixels, Unreadable):
                damaged[index] = str(pixels)
                continue
            if not start:
                first, shape = index, pixels.shape
                header = {"descr": "|u1", "fortran_order": False, "shape": (len(paths), *shape)}
                np.lib.format.write_array_header_1_0(file, header)
                start = file.tell()
            elif pixels.shape != shape:
                sizes = [
                    f"{paths[i]} is {h} x {w}" for i, (h, w, _) in ((first, shape), (index, pixels.shape))
                ]
                raise DataError(
                    f"{' and '.join(sizes)} (height x width): resize them, or give the description a size "
                    "to train with, such as `size: [64, 64]`"
                )
            file.seek(start + index * pixels.nbytes)
            file.write(pixels.data)
    if not start:
        others = f"; nor can any other of {len(paths)} pictures be read" if len(paths) > 1 else ""
        raise DataError(f"{paths[0]}: {damaged[0]}{others}")
    file.truncate(start + len(paths) * int(np.prod(shape)))
    return (len(paths), *shape), start, damaged


def _decoded(paths: Sequence[Path], form: Form) -> Generator[Array | Unreadable, None, None]:
    """The pixels of each file in turn, decoded by several threads (Pillow lets others run meanwhile)."""
    from tqdm import tqdm

    ahead: deque[Future[Array | Unreadable]] = deque()
    with warnings.catch_warnings(), ThreadPoolExecutor(WORKERS) as pool:
        warnings.simplefilter("ignore")  # of Pillow, about what is odd in a file and yet can be read
        for path in tqdm(paths, "pictures", leave=False, disable=None):
            ahead.append(pool.submit(_tried, path, form))
            if len(ahead) > AHEAD:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()


def _tried(path: Path, form: Form) -> Array | Unreadable:
    try:
        return decode(path, form)
    except Unreadable as error:
        return error


def left_out(listing: Listing, damaged: Mapping[int, str]) -> list[str]:
    """The note that says which pictures are damaged; none where none is."""
    if not damaged:
        return []
    told = [f"{listing.folder / listing.files[i]}: {why}" for i, why in list(damaged.items())[:5]]
    more = f"; and {len(damaged) - len(told)} more" if len(damaged) > len(told) else ""
    return [f"damaged pictures left out: {len(damaged)} of {len(listing.files)}: {'; '.join(told)}{more}"]


def refuse(listing: Listing, damaged: Mapping[int, str], remedy: str) -> None:
    """Raises DataError where a picture is damaged."""
    for first, why in damaged.items():
        more = f" ({len(damaged) - 1} more of {len(listing.files)} are damaged)" if len(damaged) > 1 else ""
        raise DataError(
            f"{listing.folder / listing.files[first]}: {why}{more}. Replace the picture, {remedy}"
        )
