"""The boxes that a network finds in pictures: which of them stay, and how many are right.

A found box is a row (class, x, y, width, height, confidence), a true one the first five of it, as in the
targets of the loss ``yolo2``; x and y are those of the centre, and all are fractions of the picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from cortex_compute.errors import ShapeError
from cortex_compute.types import float64
from cortex_core.losses.common import refuse
from cortex_core.ops import boxes as ops
from cortex_core.ops import reduce
from cortex_core.ops.indexing import one_hot, pad, take_along, top_k
from cortex_core.ops.lift import as_array
from cortex_core.ops.pointwise import cast, equal, logical_and, logical_not, select
from cortex_core.ops.views import broadcast_to, narrow, reshape
from cortex_core.registry import field, metric

Array = np.ndarray[Any, Any]


def decode(x: Any, anchors: Sequence[Sequence[float]]) -> Array:
    """What the node of a ``yolo2`` tells.   x (B, H, W, A (5 + n)) -> (B, H W A, 5 + n), as its prediction

    Each box is x, y, width, height, confidence, and the probabilities of the classes.
    """
    found: Array = np.asarray(ops.decoded(as_array(x), anchors))
    return found


def iou(a: Any, b: Any) -> Array:
    """What two boxes share, as a part of what they cover, of all pairs.   (n, 4), (m, 4) -> (n, m)

    Boxes are x, y, width, height.
    """
    first, second = (np.asarray(x, np.float64).reshape(-1, 4) for x in (a, b))
    found: Array = np.asarray(ops.iou(as_array(first[:, None]), as_array(second[None])))
    return found


def found(predictions: Any, confidence: float = 0.5, overlap: float = 0.5) -> list[Array]:
    """The boxes that stay of each picture, most confident first, (K, 6) each: see `non_max_suppression`.

    ``predictions``: what `decode` or a network's ``predict`` gives.  A box counts for its likeliest class;
    its confidence is that of the box times the probability of the class.  Redmon et al., 2016, equation 1.
    """
    given = np.asarray(predictions, np.float64)
    if given.ndim != 3 or given.shape[2] < 6:
        raise ShapeError(f"predictions have shape {given.shape}; expected (pictures, boxes, 5 + classes)")
    kinds = given[..., 5:].argmax(-1)
    scores = given[..., 4] * given[..., 5:].max(-1)
    rows = np.concatenate([kinds[..., None], given[..., :4], scores[..., None]], 2)
    return [non_max_suppression(row[row[:, 5] >= confidence], overlap) for row in rows]


def non_max_suppression(boxes: Array, overlap: float = 0.5) -> Array:
    """The boxes (K, 6), most confident first, without those that a more confident one of the same class
    overlaps by more than ``overlap`` (IoU).   Greedy, as Felzenszwalb et al., 2010, section 7.2.
    """
    rest = np.asarray(boxes, np.float64).reshape(-1, 6)
    rest = rest[np.argsort(-rest[:, 5], kind="stable")]
    kept = []
    while len(rest):
        best, rest = rest[0], rest[1:]
        kept.append(best)
        rest = rest[(rest[:, 0] != best[0]) | (iou(best[None, 1:5], rest[:, 1:5])[0] <= overlap)]
    return np.array(kept).reshape(-1, 6)


def matched(found: Array, true: Array, overlap: float = 0.5) -> Array:
    """Which of the found boxes of a picture are right, (K,) bool.   found (K, 6), true (M, 5)

    In the order of their confidence each is compared with the true box of its class that it overlaps most; it
    is right where that is at least ``overlap`` and no box before it has matched that one.  Everingham et al.,
    2010 (Pascal VOC), section 4.2.  Rows of true boxes with class -1 are padding.
    """
    right, taken = np.zeros(len(found), bool), np.zeros(len(true), bool)
    shared = iou(found[:, 1:5], true[:, 1:5])
    shared[found[:, :1] != true[None, :, 0]] = -1
    for k in np.argsort(-found[:, 5], kind="stable") if len(true) else ():
        best = int(shared[k].argmax())
        right[k] = shared[k, best] >= overlap and not taken[best]
        taken[best] |= right[k]
    return right


def scores(found: Sequence[Array], true: Sequence[Array], overlap: float = 0.5) -> dict[str, float]:
    """Precision, recall and F1 of the found boxes of some pictures; NaN where nothing was to be counted."""
    right = sum(int(matched(a, b, overlap).sum()) for a, b in zip(found, true, strict=True))
    told, wanted = sum(map(len, found)), sum(int((b[:, 0] >= 0).sum()) for b in true)
    parts = {"precision": (right, told), "recall": (right, wanted), "f1": (2 * right, told + wanted)}
    return {name: a / b if b else float("nan") for name, (a, b) in parts.items()}


def average_precision(
    found: Sequence[Array], true: Sequence[Array], overlap: float = 0.5
) -> dict[int, float]:
    """The area under the curve of precision over recall, for each class that occurs among the true boxes.

    A precision counts as the largest at that recall or beyond.  Pascal VOC since 2010; the mean over the
    classes is known as mAP.  Give boxes of any confidence: ``found(predictions, confidence=0)``.
    """
    right = [matched(a, b, overlap) for a, b in zip(found, true, strict=True)]
    wanted, rows, hits = np.concatenate(true)[:, 0], np.concatenate(found), np.concatenate(right)
    areas = {}
    for kind in np.unique(wanted[wanted >= 0]):
        own = rows[:, 0] == kind
        hit = hits[own][np.argsort(-rows[own, 5], kind="stable")]
        recall = np.cumsum(hit) / np.sum(wanted == kind)
        precision = np.cumsum(hit) / np.arange(1, len(hit) + 1)
        envelope = np.maximum.accumulate(precision[::-1])[::-1]
        areas[int(kind)] = float(np.sum(np.diff(recall, prepend=0.0) * envelope))
    return areas


CONSIDERED = 64


@metric("detection_f1")
class DetectionF1:
    """Harmonic mean of precision and recall of boxes, of the 64 surest of each picture.

    A box is told where its confidence (that of the box times that of its class) is at least ``confidence``,
    and no surer one of its class overlaps it by more than ``suppress``; `found` is greedy instead: there a
    box that is hidden hides no other.  It is right where the true box of its class that it overlaps most is
    overlapped by at least ``overlap``; of several around one true box one is right.

    Redmon et al., 2016, equation 1; Bolya et al., 2019, section 3.3, for what is hidden; Everingham et al.,
    2010, section 4.2, for what is right.
    """

    confidence: float = field(default=0.5, doc="the least that counts, box times class", minimum=0, maximum=1)
    overlap: float = field(default=0.5, doc="the least IoU of a box that is right", above=0, maximum=1)
    suppress: float = field(
        default=0.5, doc="IoU above which a surer box hides one; 1: none", minimum=0, maximum=1
    )

    better: ClassVar[str] = "higher"

    def sums(self, x: Any, target: Any, weight: Any | None) -> tuple[Any, ...]:
        """How many true boxes are found, how many boxes are told, and how many are true."""
        if len(x.shape) != 3 or x.shape[2] < 6 or len(target.shape) != 3 or target.shape[2] != 5:
            refuse(self, "the boxes of a yolo2 (boxes, 5 + classes) and a target (boxes, 5)", x, target)
        boxes, kinds, told = self._told(x)
        if not target.shape[1]:  # of which none is the nearest
            target = pad(target, [[0, 0], [0, 1], [0, 0]], -1)
        kind = _column(target, 0)
        there = kind > -0.5
        alike = logical_and(equal(_pairs(kinds, 2), _pairs(cast(kind, "int64"), 1)), _pairs(there, 1))
        shared = select(alike, ops.iou(_pairs(boxes, 2), _pairs(narrow(target, 2, 1, 4), 1)), 0.0)
        nearest = one_hot(reduce.argmax(shared, 2), kind.shape[1], "bool")
        hits = logical_and(logical_and(nearest, shared >= self.overlap), _pairs(told, 2))
        counts = (reduce.any(hits, 1), told, there)
        each = (reduce.sum(cast(count, float64), 1) for count in counts)
        return tuple(reduce.sum(n if weight is None else n * cast(weight, float64)) for n in each)

    def _told(self, x: Any) -> tuple[Any, Any, Any]:
        """The surest boxes, surest first, their classes, and which of them are told."""
        classes = narrow(x, 2, 5, x.shape[2] - 5)
        scores, places = top_k(reduce.max(classes, 2) * _column(x, 4), min(CONSIDERED, x.shape[1]))
        kinds = take_along(reduce.argmax(classes, 2), places, 1)
        boxes = take_along(narrow(x, 2, 0, 4), broadcast_to(_pairs(places, 2), (*places.shape, 4)), 1)
        alike = equal(_pairs(kinds, 2), _pairs(kinds, 1))
        surer = np.tri(places.shape[1], k=-1, dtype=bool)  # those before it
        over = ops.iou(_pairs(boxes, 2), _pairs(boxes, 1)) > self.suppress
        hidden = reduce.any(logical_and(logical_and(alike, over), surer), 2)
        return boxes, kinds, logical_and(scores >= self.confidence, logical_not(hidden))

    def result(self, right: Array, told: Array, true: Array) -> float:
        both = float(told) + float(true)
        return 2 * float(right) / both if both else float("nan")


def _column(x: Any, k: int) -> Any:
    return reshape(narrow(x, 2, k, 1), x.shape[:2])


def _pairs(x: Any, axis: int) -> Any:
    """With an axis for the other part of pairs: (B, n, 1, ...) at 2, (B, 1, m, ...) at 1."""
    return reshape(x, (*x.shape[:axis], 1, *x.shape[axis:]))
