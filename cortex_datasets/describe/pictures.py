"""A description of a folder of pictures: classes, sizes, and which ones are damaged."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np

from cortex_compute.errors import DataError
from cortex_datasets.describe.report import Count, PictureClass, PicturesReport
from cortex_datasets.pictures.decode import FORMATS, Form, Unreadable, decode, need_pillow
from cortex_datasets.pictures.listing import Listing, from_folder

DECODED = 20_000  # pictures of a folder
WORKERS = 2
SHOWN = 20


class _Look(NamedTuple):
    """What one file is; ``problem`` says why it cannot be read, or is empty."""

    name: str
    size: str = ""
    mode: str = ""
    format: str = ""
    problem: str = ""


def describe_pictures(folder: Path) -> PicturesReport:
    """The report of a folder of pictures, read as ``data: {images: folder}`` reads it.

    Every picture is decoded, since only that shows damage; of more than 20,000, a random 20,000.  Raises
    `DataError` for what is no folder of pictures.
    """
    need_pillow()
    if not folder.is_dir():
        raise DataError(f"{folder}: is no folder; expected a folder of pictures")
    listing = from_folder(folder)
    notes, names = list(listing.notes), list(listing.files)
    if len(names) > DECODED:
        notes.append(
            f"sizes, modes and damage are those of {DECODED:,} pictures, drawn at random (seed 0) from "
            f"{len(names):,}"
        )
        drawn = np.sort(np.random.default_rng(0).choice(len(names), DECODED, replace=False))
        names = [names[i] for i in drawn]
    with ThreadPoolExecutor(WORKERS) as pool, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's, about what is odd in a file and can be read all the same
        looks = list(pool.map(lambda name: _look(folder, name), names))
    readable = [look for look in looks if not look.problem]
    sizes = Counter(look.size for look in readable)
    return {
        "file": str(folder),
        "bytes": sum((folder / name).stat().st_size for name in listing.files),
        "notes": notes,
        "kind": "pictures",
        "pictures": len(listing.files),
        "classes": _classes(listing),
        "sizes": _ranked(sizes),
        "different_sizes": len(sizes),
        "modes": _ranked(Counter(look.mode for look in readable)),
        "formats": _ranked(Counter(look.format for look in readable)),
        "damaged": [{"file": look.name, "problem": look.problem} for look in looks if look.problem],
    }


def _look(folder: Path, name: str) -> _Look:
    from PIL import Image

    try:
        height, width, _ = decode(folder / name, Form(None, 3, "stretch")).shape
    except Unreadable as error:
        return _Look(name, problem=str(error))
    with Image.open(folder / name, formats=FORMATS) as image:
        return _Look(name, f"{height} x {width}", image.mode, image.format or "")


def _classes(listing: Listing) -> list[PictureClass]:
    labels = listing.columns.get("label")
    parts = listing.parts if len(listing.parts) > 1 else {"": np.arange(len(listing.files))}
    made: list[PictureClass] = []
    for part, rows in parts.items():
        counts = Counter(labels[rows].tolist() if labels is not None else [""] * len(rows))
        made += [{"part": part, "name": name, "count": counts[name]} for name in sorted(counts)]
    return made


def _ranked(counts: Counter[str]) -> list[Count]:
    ranked: Iterable[str] = sorted(counts, key=lambda value: (-counts[value], value))
    return [{"value": value, "count": counts[value]} for value in list(ranked)[:SHOWN]]
