"""Pictures made for a test."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from cortex_datasets.source import ArraySource

RNG = np.random.default_rng(3)


def noise(height: int = 6, width: int = 8, channels: int = 3) -> np.ndarray:
    """Pixels, uint8 (height, width, channels)."""
    return RNG.integers(0, 256, (height, width, channels), dtype=np.uint8)


def save(path: Path, pixels: np.ndarray, **options: Any) -> np.ndarray:
    """Writes a picture; returns its pixels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).save(path, **options)
    return pixels


def folder_of(root: Path, counts: Mapping[str, int], **shape: int) -> dict[str, np.ndarray]:
    """``counts``: folder -> how many pictures; returns their pixels by relative path."""
    made = {}
    for folder, count in counts.items():
        for i in range(count):
            made[f"{folder}/{i}.png"] = save(root / folder / f"{i}.png", noise(**shape))
    return made


def beside(root: Path) -> Callable[[str], Path]:
    """Finds files as a description beside them does."""
    return lambda name: root / name


def rows_of(source: ArraySource) -> dict[str, np.ndarray]:
    """All examples of a source."""
    out = {n: np.empty((len(source), *s.shape), s.dtype) for n, s in source.streams.items()}  # type: ignore[arg-type]
    source.gather(np.arange(len(source)), out)
    return out


def write_list(path: Path, *lines: str) -> None:
    """A list of pictures."""
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
