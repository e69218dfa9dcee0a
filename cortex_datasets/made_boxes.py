"""Pictures of shapes with the boxes around them: made, not read, and the same on every machine."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

SHAPES = ("rectangle", "ellipse", "triangle")
SIDE, MOST, TRIES = 48, 3, 8  # pixels; shapes in a picture; places tried for each before it is left out
SMALLEST, LARGEST = 9, 24  # pixels of a width or height
GAP = 2  # pixels between two shapes
WORDS = 1 + MOST * (4 + 4 * TRIES)  # random words of a picture, beside those of its noise


def boxed_shapes(count: int) -> dict[str, Array]:
    """Rectangles, ellipses and triangles, one to three, with noise over all; and (class, x, y, width, height)
    of each: the centre and size of its box as fractions of the picture.  Class -1 is no box.
    """
    words = np.random.Philox(key=0).random_raw(count * WORDS).reshape(count, WORDS)
    wanted = 1 + _below(words[:, 0], MOST)
    own = words[:, 1:].reshape(count, MOST, 4 + 4 * TRIES)
    kinds = _below(own[:, :, 0], len(SHAPES))
    spans = _placed(own[:, :, 4:].reshape(count, MOST, TRIES, 4), wanted)
    image, colours = _noise(count), 70 + _below(own[:, :, 1:4], 170).astype(np.uint8)
    for i, k in np.argwhere(spans[..., 2] > 0):
        left, top, width, height = spans[i, k]
        inside = _inside(SHAPES[kinds[i, k]], width, height)
        image[i, top : top + height, left : left + width][inside] += colours[i, k]
    there = spans[..., 2:3] > 0
    centre = spans[..., :2] + spans[..., 2:] / 2
    boxes = np.concatenate([kinds[..., None], centre / SIDE, spans[..., 2:] / SIDE], 2)
    empty = np.array([-1.0, 0, 0, 0, 0])
    return {"image": image, "boxes": np.where(there, boxes, empty).astype(np.float32)}


def _below(words: Array, n: int) -> Array:
    """Numbers from 0 to n - 1."""
    found: Array = (words % np.uint64(n)).astype(np.int64)
    return found


def _placed(words: Array, wanted: Array) -> Array:
    """Left, top, width and height in pixels of each shape, (pictures, MOST, 4); zeros where there is none.

    Each takes the first of its places that keeps the gap to the shapes before it.
    """
    size = SMALLEST + _below(words[..., 2:], LARGEST - SMALLEST + 1)
    corner = (words[..., :2] % (SIDE + 1 - size).astype(np.uint64)).astype(np.int64)
    spans = np.zeros((*words.shape[:2], 4), np.int64)
    for k in range(MOST):
        searching = wanted > k
        for place in range(TRIES):
            tried = np.concatenate([corner[:, k, place], size[:, k, place]], 1)
            free = searching & ~_touching(tried, spans[:, :k])
            spans[free, k] = tried[free]
            searching &= ~free
    return spans


def _touching(tried: Array, spans: Array) -> Array:
    """Whether a span is nearer than the gap to one of others, (pictures,)."""
    a, b = tried[:, None], spans
    apart = (a[..., :2] + a[..., 2:] + GAP <= b[..., :2]) | (b[..., :2] + b[..., 2:] + GAP <= a[..., :2])
    found: Array = (~apart.any(-1) & (b[..., 2] > 0)).any(1)
    return found


def _inside(shape: str, width: int, height: int) -> Array:
    """The pixels of a shape in its box, (height, width) of bool."""
    across, down = (np.arange(width) + 0.5) / width, ((np.arange(height) + 0.5) / height)[:, None]
    if shape == "ellipse":
        return (2 * across - 1) ** 2 + (2 * down - 1) ** 2 < 1
    if shape == "triangle":  # upright
        return np.abs(2 * across - 1) < down
    return np.ones((height, width), bool)


def _noise(count: int) -> Array:
    """A dark ground with noise, 0 to 15."""
    size = count * SIDE * SIDE * 3
    words = np.random.Philox(key=1).random_raw(-(-size // 8)).astype("<u8")
    return (words.view(np.uint8)[:size] % 16).reshape(count, SIDE, SIDE, 3)
