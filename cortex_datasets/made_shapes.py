"""Pictures of discs and squares that are made, with the class of every pixel: a task of segmentation."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

SIDE = 48
SHAPES = 3  # in each picture; a later one lies over the earlier ones
CLASSES = ("background", "disc", "square")
SMALLEST, SIZES = 5, 6  # a disc's radius, half a square's side, in pixels: from the smallest, so many
TURNS = np.array(
    [(1, 0, 1), (24, 7, 25), (12, 5, 13), (4, 3, 5), (3, 4, 5), (5, 12, 13), (7, 24, 25)], np.int32
)
"""Angles as a, b with a² + b² = c²: squares are turned in whole numbers, the same on every machine."""


def shapes_on_noise(count: int) -> dict[str, Array]:
    """``image`` uint8 (count, 48, 48, 1), bright and dark shapes on grey under noise; ``mask`` uint8
    (count, 48, 48), the class of every pixel.

    All of it comes from raw words of Philox, which NumPy keeps the same in all versions.
    """
    mask = np.zeros((count, SIDE, SIDE), np.uint8)
    level = np.empty((count, SIDE, SIDE), np.int16)
    words = np.random.Philox(key=0).random_raw((1 + SHAPES) * count).reshape(count, 1 + SHAPES)
    level[...] = 64 + _below(words[:, 0], 64)[0]
    for shape in range(1, 1 + SHAPES):
        square, size, y, x, turn, bright, grey = _below(
            words[:, shape], 2, SIZES, SIDE, SIDE, len(TURNS), 2, 48
        )
        covered = inside(square, SMALLEST + size, y, x, turn)
        np.copyto(mask, (1 + square).astype(np.uint8), where=covered)
        np.copyto(level, np.where(bright, 160 + grey, grey // 2).astype(np.int16), where=covered)
    noise = np.random.Philox(key=1).random_raw(mask.size // 8).view(np.uint8).reshape(mask.shape)
    image = np.clip(level + (noise % 64).astype(np.int16) - 32, 0, 255).astype(np.uint8)
    return {"image": image[..., None], "mask": mask}


def _below(words: Array, *sizes: int) -> list[Array]:
    """Of each word a number below each of ``sizes``, as int32 (count, 1, 1)."""
    found = []
    for size in sizes:
        words, rest = np.divmod(words, np.uint64(size))
        found.append(rest.astype(np.int32)[:, None, None])
    return found


def inside(square: Array, half: Array, y: Array, x: Array, turn: Array) -> Array:
    """Which pixels (count, 48, 48) are in each disc of radius ``half``, or square of twice that side.

    All arguments are (count, 1, 1); ``turn`` is an index into `TURNS`.
    """
    place = np.arange(SIDE, dtype=np.int32)
    dy, dx = place[:, None] - y, place - x
    a, b, c = np.moveaxis(TURNS[turn], -1, 0)
    disc = dy * dy + dx * dx <= half * half
    return np.where(square, np.maximum(abs(a * dy + b * dx), abs(a * dx - b * dy)) <= half * c, disc)
