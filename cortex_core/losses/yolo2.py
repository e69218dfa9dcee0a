"""Boxes around things in pictures, told by a grid of cells."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from cortex_compute.types import TensorType, dtype
from cortex_core.losses.common import Wrong, refuse
from cortex_core.ops.boxes import Told, decoded, told
from cortex_core.ops.indexing import gather, one_hot, take_along
from cortex_core.ops.pointwise import cast, exp, floor, pointwise, select, sigmoid, sqrt
from cortex_core.ops.reduce import sum as total
from cortex_core.ops.softmax import softmax
from cortex_core.ops.views import broadcast_to, narrow, reshape
from cortex_core.registry import Fault, field, loss

VOC = ((1.08, 1.19), (3.42, 4.41), (6.63, 11.38), (9.42, 5.11), (16.62, 10.52))


@loss("yolo2")
class Yolo2:
    """Squared errors of boxes, confidences and classes.   x (B, H, W, A (5 + n)), target boxes (B, M, 5)

    A true box is (class, x, y, width, height): centre and size as fractions of the picture; class -1 is
    padding.  The cell that holds its centre tells it, at the anchor of the most similar shape.  There
    scale_coordinates ((x - x')² + (y - y')² in cells + (√w - √w')² + (√h - √h')²) + scale_confidence
    (1 - confidence)² + scale_class sum((p - p')²) counts, at all others scale_noobject confidence².
    A prediction is decoded, (B, H W A, 5 + n): x, y, width, height, confidence, and the classes.

    Redmon et al., 2016, equation 3, with the boxes of Redmon and Farhadi, 2017, figure 3.  The confidence of
    a box learns 1, not its overlap.

    Example:
        inputs: {image: [2, 2, 2]}
        layers: [conv2d: {filters: 7, kernel: 1}]
        loss: {yolo2: {target: boxes, classes: 2, anchors: [[0.8, 1.2]]}}
    """

    classes: int = field(doc="n, how many classes there are", minimum=1)
    anchors: tuple[tuple[float, ...], ...] = field(
        default=VOC,
        doc="width and height in cells, of the shapes that a cell tells; as found in VOC",
        above=0,
    )
    scale_noobject: float = field(default=0.5, doc="weight of confidence where nothing is", minimum=0)
    scale_confidence: float = field(default=5.0, doc="weight of confidence where a box is", minimum=0)
    scale_coordinates: float = field(default=5.0, doc="weight of place and size", minimum=0)
    scale_class: float = field(default=1.0, doc="weight of the classes", minimum=0)

    def check(self) -> Iterator[Fault]:
        """Each anchor has a width and a height."""
        if not self.anchors:
            yield Fault(("anchors",), "there are no anchors", "expected at least one")
        for index, anchor in enumerate(self.anchors):
            if len(anchor) != 2:
                found = f"an anchor of {len(anchor)} numbers"
                yield Fault(("anchors", index), found, "expected 2: its width and height in cells")

    def with_channels(self, channels: int) -> Yolo2:
        """The same loss of a node with so many channels: of as many classes as these leave room for."""
        each, rest = divmod(channels, len(self.anchors))
        return self if rest or each < 6 else replace(self, classes=each - 5)

    def target_type(self, x: TensorType) -> TensorType:
        return TensorType((x.shape[0], 1, 5), dtype("float32"))

    def prediction(self, x: Any) -> Any:
        return decoded(x, self.anchors)

    def per_sample(self, x: Any, target: Any) -> tuple[Any, None]:
        self._check(x, target)
        batch, height, width, _ = x.shape
        t = reshape(x, (batch, height * width * len(self.anchors), 5 + self.classes))
        target = cast(target, x.dtype)
        kind, boxes = _one(target, 0), narrow(target, 2, 1, 4)
        to = told(boxes, kind > -0.5, self.anchors, height, width)
        own = take_along(t, broadcast_to(_row(to.number), (*kind.shape, t.shape[2])), 1)
        each = self.scale_coordinates * self._coordinates(own, to, boxes, height, width)
        each = each + self.scale_confidence * _squared(1.0, sigmoid(_one(own, 4)))
        hot = one_hot(cast(floor(kind + 0.5), "int64"), self.classes, x.dtype)
        each = each + self.scale_class * total(_squared(softmax(narrow(own, 2, 5, self.classes), -1), hot), 2)
        taken = total(one_hot(select(to.there, to.number, -1), t.shape[1], x.dtype), 1)
        nothing = total((1.0 - taken) * sigmoid(_one(t, 4)) ** 2, 1)
        return total(select(to.there, each, 0.0), 1) + self.scale_noobject * nothing, None

    def _coordinates(self, own: Any, to: Told, boxes: Any, height: int, width: int) -> Any:
        """The squared errors of centre and size, (B, M)."""
        anchors = np.array(self.anchors, own.dtype.storage) / np.array([width, height], own.dtype.storage)
        centre = _squared(sigmoid(narrow(own, 2, 0, 2)), to.place)
        root = gather(np.sqrt(anchors), to.anchor) * exp(0.5 * narrow(own, 2, 2, 2))
        return total(centre + _squared(root, _root(narrow(boxes, 2, 2, 2))), 2)

    def _check(self, x: Any, target: Any) -> None:
        filters = len(self.anchors) * (5 + self.classes)
        if len(x.shape) != 4 or x.shape[3] != filters:
            of = f"{len(self.anchors)} anchors x (5 + {self.classes} classes) = {filters}"
            refuse(self, f"a node (height, width, {of})", x, target)
        if len(target.shape) != 3 or target.shape[2] != 5:
            refuse(self, "a target (boxes, 5): class, x, y, width, height of each", x, target)

    def wrong(self, x: TensorType, target: np.ndarray) -> Wrong:
        """The first example with a box that is none, and why."""
        if target.ndim != 3 or target.shape[2] != 5:
            return None  # which per_sample refuses
        kind, boxes = target[..., 0], target[..., 1:]
        real = kind != -1
        named = (kind >= 0) & (kind < self.classes) & (np.floor(kind) == kind)
        inside = ((boxes >= 0) & (boxes <= 1)).all(-1) & (boxes[..., 2:] > 0).all(-1)
        bad = real & ~(named & inside)
        if not bad.any():
            return None
        i, j = (int(k) for k in np.argwhere(bad)[0])
        if not named[i, j]:
            return i, f"has a box of class {kind[i, j]:g}; expected 0 to {self.classes - 1}, or -1 for no box"
        box = ", ".join(f"{v:g}" for v in boxes[i, j])
        return i, f"has a box ({box}); expected x, y, width, height from 0 to 1, with an area"

    def example_target(self, x: TensorType, rng: np.random.Generator) -> np.ndarray:
        """One box in each picture, away from the borders of cells."""
        cells = rng.integers(0, [x.shape[2], x.shape[1]], (x.shape[0], 2)) + rng.uniform(
            0.2, 0.8, (x.shape[0], 2)
        )
        kind = rng.integers(0, self.classes, (x.shape[0], 1))
        size = rng.uniform(0.2, 0.6, (x.shape[0], 2))
        return np.concatenate([kind, cells / [x.shape[2], x.shape[1]], size], 1)[:, None]


def _row(number: Any) -> Any:
    return reshape(number, (*number.shape, 1))


def _one(t: Any, k: int) -> Any:
    """Number k of each box."""
    return reshape(narrow(t, 2, k, 1), t.shape[:2])


@pointwise
def _squared(a: Any, b: Any) -> Any:
    return (a - b) ** 2


@pointwise
def _root(x: Any) -> Any:
    """The square root, with a gradient of 0 where there is no box."""
    return select(x > 0, sqrt(select(x > 0, x, 1.0)), 0.0)
