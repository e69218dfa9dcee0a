"""Boxes around things in pictures: x and y of the centre, width and height, as fractions of the picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from cortex_core.ops import reduce
from cortex_core.ops.indexing import concatenate, pad
from cortex_core.ops.pointwise import (
    cast,
    equal,
    exp,
    floor,
    logical_and,
    logical_not,
    maximum,
    minimum,
    pointwise,
    select,
    sigmoid,
)
from cortex_core.ops.softmax import softmax
from cortex_core.ops.views import narrow, reshape

Anchors = Sequence[Sequence[float]]


def decoded(x: Any, anchors: Anchors) -> Any:
    """The boxes that a grid of cells tells.   x (B, H, W, A (5 + n)) -> (B, H W A, 5 + n)

    Each cell has a box for each anchor (width, height, in cells): tx, ty, tw, th, to and a number for each of
    n classes.  With c the cell's corner and p the anchor, b = sigmoid(t) + c is the centre and p exp(t) the
    size, in cells; sigmoid(to) is the confidence, and softmax gives the classes.  Redmon and Farhadi, 2016.
    """
    batch, height, width, _ = x.shape
    cells = np.array([width, height], x.dtype.storage)
    places = np.indices((height, width))[::-1].transpose(1, 2, 0).reshape(1, height * width, 1, 2)
    corners = places.astype(x.dtype.storage)
    t = reshape(x, (batch, height * width, len(anchors), -1))
    centre = _centre(narrow(t, 3, 0, 2), corners, cells)
    size = _size(narrow(t, 3, 2, 2), np.array(anchors, x.dtype.storage), cells)
    classes = softmax(narrow(t, 3, 5, t.shape[3] - 5), -1)
    boxes = concatenate([centre, size, sigmoid(narrow(t, 3, 4, 1)), classes], 3)
    return reshape(boxes, (batch, height * width * len(anchors), -1))


@pointwise
def _centre(t: Any, corner: Any, cells: Any) -> Any:
    return (sigmoid(t) + corner) / cells


@pointwise
def _size(t: Any, anchor: Any, cells: Any) -> Any:
    return anchor * exp(t) / cells


def iou(a: Any, b: Any) -> Any:
    """The area that two boxes share, as a part of what they cover together.   (..., 4), (..., 4) -> (...)

    Axes broadcast: (B, n, 1, 4) and (B, 1, m, 4) give all pairs.  Of boxes without an area it is 0.
    """
    parts = [_column(box, k) for k in range(4) for box in (a, b)]
    return _iou(*parts)


def _column(box: Any, k: int) -> Any:
    return reshape(narrow(box, len(box.shape) - 1, k, 1), box.shape[:-1])


@pointwise
def _iou(ax: Any, bx: Any, ay: Any, by: Any, aw: Any, bw: Any, ah: Any, bh: Any) -> Any:
    shared = _overlap(ax, aw, bx, bw) * _overlap(ay, ah, by, bh)
    covered = aw * ah + bw * bh - shared
    return select(covered > 0, shared / select(covered > 0, covered, 1.0), 0.0)


def _overlap(a: Any, size_a: Any, b: Any, size_b: Any) -> Any:
    """The length that two intervals share, given by their centres and sizes."""
    end = minimum(a + 0.5 * size_a, b + 0.5 * size_b)
    start = maximum(a - 0.5 * size_a, b - 0.5 * size_b)
    return maximum(end - start, 0.0)


class Told(NamedTuple):
    """Which of a grid's boxes tell the true ones, (B, M) of each but ``place``."""

    number: Any  # which of all H W A, int64; 0 where there is none
    anchor: Any  # which of the A
    place: Any  # the centre inside its cell, from 0 to 1, (B, M, 2)
    there: Any  # whether there is such a box, and no other one before it has the same number


def told(boxes: Any, there: Any, anchors: Anchors, height: int, width: int) -> Told:
    """The grid's box for each true one: in the cell of its centre, at the anchor of the most similar shape.

    boxes (B, M, 4), there (B, M) bool.  Shapes are compared by the IoU of two boxes around one point.
    """
    kind, (batch, many) = boxes.dtype.storage, boxes.shape[:2]
    cells = np.array([width, height], kind)
    centre = narrow(boxes, 2, 0, 2) * cells
    corner = minimum(floor(centre), cells - 1)
    column, row = (cast(_column(corner, k), "int64") for k in (0, 1))
    size = reshape(narrow(boxes, 2, 2, 2) * cells, (batch, many, 1, 2))
    anchor = reduce.argmax(iou(_centred(size), _centred(np.array(anchors, kind))), -1)
    number = select(there, (row * width + column) * len(anchors) + anchor, 0)
    same = equal(reshape(number, (batch, many, 1)), reshape(number, (batch, 1, many)))
    earlier = logical_and(reshape(there, (batch, 1, many)), np.tri(many, k=-1, dtype=bool))
    first = logical_not(reduce.any(logical_and(same, earlier), 2))
    return Told(number, anchor, centre - corner, logical_and(there, first))


def _centred(sizes: Any) -> Any:
    """Boxes of these sizes, (..., 2), around one point."""
    return pad(sizes, [*([0, 0] for _ in sizes.shape[1:]), [2, 0]])
