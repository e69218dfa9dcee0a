"""What `cortex data show` prints or draws: the first examples of a training."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from cortex_compute.errors import DataError
from cortex_core.registry import AUGMENTATIONS
from cortex_core.registry.named import load_plugins
from cortex_core.training.data import Data
from cortex_core.training.files import write_atomically
from cortex_viz.page import plain

SHADES = " .:-=+*#%@"
Array = np.ndarray[Any, Any]


def lines(data: Data, count: int) -> Iterator[str]:
    """The first examples as text, as the first epoch sees them."""
    source = data.train
    yield f"{data.what}, train: {len(source):,} examples"
    for note in data.notes:
        yield f"note: {plain(note, 1000)}"
    for row in range(min(count, len(source))):
        yield ""
        for name, value in _example(source, row).items():
            yield from _value(name, value, data)


def _example(source: Any, row: int) -> dict[str, Array]:
    lengths = getattr(source, "lengths", None)
    length = 0 if lengths is None else int(lengths[row])
    arrays: dict[str, Array] = {}
    for name, s in source.streams.items():
        arrays[name] = np.empty([1, *(length if k is None else k for k in s.shape)], s.dtype)
    source.gather(np.array([row]), arrays)
    return {name: array[0] for name, array in arrays.items()}


def _value(name: str, value: Array, data: Data) -> Iterator[str]:
    """A picture as letters; classes and tokens as what they stand for; other numbers as they are."""
    if value.ndim == 3 and value.shape[2] in (1, 3):
        shades = np.clip(value.mean(axis=2) * len(SHADES), 0, len(SHADES) - 1).astype(int)
        yield f"{name}:"
        for line in shades:
            yield "  " + "".join(SHADES[s] * 2 for s in line).rstrip()
    elif data.streams[name].classes and value.dtype.kind == "i":
        yield f"{name}: {plain(str(data.learned.decode(name, value[None])[0]), 1000)}"
    else:
        with np.printoptions(precision=4, threshold=20):
            yield f"{name}: {value}"


def sheet(data: Data, path: Path, count: int) -> None:
    """Writes a .png of the first pictures, each beside what the first epochs see of it.

    Raises `DataError` where the network reads no pictures.  Of several streams of them the first is drawn.
    """
    if path.suffix.lower() != ".png":
        raise DataError(f"{path}: expected a name that ends in .png")
    pictures = [name for name in data.inputs if len(data.streams[name].shape) == 3]
    if not pictures:
        shapes = ", ".join(f"{name!r} {list(data.streams[name].shape)}" for name in data.inputs)
        raise DataError(f"{data.what}: no input is a picture (height, width, channels), but {shapes}")
    draw = load_plugins(AUGMENTATIONS.group).get("sheet")
    if draw is None:
        raise DataError("nothing that is installed draws sheets; expected the package cortex_datasets")
    content = io.BytesIO()
    draw(data.plain, data.train, pictures[0], count).save(content, format="PNG")
    write_atomically(path, content.getvalue())
