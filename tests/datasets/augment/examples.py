"""Sources that the tests vary."""

from __future__ import annotations

from typing import Any

import numpy as np

from cortex_core.registry import AUGMENTATIONS
from cortex_datasets.augment import augmented
from cortex_datasets.augment.draw import Array, Draws, draw, key_of
from cortex_datasets.source import ArraySource

CLASSES = ("ant", "bee", "cat", "dog")


def pictures(count: int = 40, shape: tuple[int, ...] = (8, 8, 3), seed: int = 0) -> ArraySource:
    """Pictures in 0..1 with labels of four classes, row r with label r % 4."""
    image = np.random.default_rng(seed).random((count, *shape), dtype=np.float32)
    return ArraySource({"image": image, "label": np.arange(count) % 4}, {"label": CLASSES})


def table(count: int = 40) -> ArraySource:
    features = np.random.default_rng(1).normal(size=(count, 5)).astype(np.float32)
    return ArraySource({"features": features, "label": np.arange(count) % 4}, {"label": CLASSES})


def made(kind: str, **fields: Any) -> Any:
    return AUGMENTATIONS[kind](**fields)


def vary(source: Any, *augmentations: Any, seed: int = 0) -> Any:
    """Of the first stream, with the label as the target."""
    name = next(iter(source.streams))
    return augmented(source, augmentations, seed, [name], ["label"], ["label"])


def take(source: Any, rows: Any = None, epoch: int = 0, names: Any = None) -> dict[str, Array]:
    """The streams of these rows, all of them without a list."""
    rows = np.arange(len(source)) if rows is None else np.asarray(rows, np.intp)
    streams = source.streams
    out = {n: np.empty((len(rows), *streams[n].shape), streams[n].dtype) for n in names or streams}
    source.gather(rows, out, epoch=epoch)
    return out


def draws_of(kind: str, count: int, seed: int = 0, position: int = 0, epoch: int = 0) -> Draws:
    """What the augmentation at this position draws for rows 0 .. count - 1."""
    return draw([key_of(seed, position, kind)], np.arange(count), epoch)[0]
