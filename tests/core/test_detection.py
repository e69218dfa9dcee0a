"""Boxes: the loss yolo2 beside the equation in loops, and what is found beside cases counted by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from cortex_compute.errors import ShapeError, SpecError
from cortex_compute.types import TensorType, float32
from cortex_core import detection
from cortex_core import metrics as _metrics  # noqa: F401  (registers them)
from cortex_core.registry import LOSSES, METRICS
from cortex_core.tensor import Tensor

ANCHORS = [[1.0, 2.0], [2.0, 1.0], [0.5, 0.5]]
SCALES = {"scale_noobject": 0.3, "scale_confidence": 4.0, "scale_coordinates": 7.0, "scale_class": 2.0}


def sigmoid(t: float) -> float:
    return 1 / (1 + math.exp(-t))


def softmax(t: np.ndarray) -> np.ndarray:
    power: np.ndarray = np.exp(t - t.max())
    return power / power.sum()


def shape_iou(w: float, h: float, anchor: list[float]) -> float:
    shared = min(w, anchor[0]) * min(h, anchor[1])
    return shared / (w * h + anchor[0] * anchor[1] - shared)


def equation_3(x: np.ndarray, boxes: np.ndarray, classes: int) -> float:
    """Equation 3 of Redmon et al., 2016, cell by cell, for one picture; x (H, W, A, 5 + classes)."""
    height, width, many, _ = x.shape
    responsible: dict[tuple[int, int, int], np.ndarray] = {}
    for box in boxes:
        if box[0] < 0:
            continue
        row, column = min(int(box[2] * height), height - 1), min(int(box[1] * width), width - 1)
        overlaps = [shape_iou(box[3] * width, box[4] * height, anchor) for anchor in ANCHORS[:many]]
        responsible.setdefault((row, column, int(np.argmax(overlaps))), box)
    total = 0.0
    for (row, column, a), t in ((i, x[i]) for i in np.ndindex(height, width, many)):
        confidence = sigmoid(t[4])
        found = responsible.get((row, column, a))
        if found is None:
            total += SCALES["scale_noobject"] * confidence**2
            continue
        kind, bx, by, bw, bh = found
        w, h = ANCHORS[a][0] * math.exp(t[2]) / width, ANCHORS[a][1] * math.exp(t[3]) / height
        centre = (sigmoid(t[0]) - (bx * width - column)) ** 2 + (sigmoid(t[1]) - (by * height - row)) ** 2
        size = (math.sqrt(w) - math.sqrt(bw)) ** 2 + (math.sqrt(h) - math.sqrt(bh)) ** 2
        total += SCALES["scale_coordinates"] * (centre + size)
        total += SCALES["scale_confidence"] * (1 - confidence) ** 2
        total += SCALES["scale_class"] * float(((softmax(t[5:]) - np.eye(classes)[int(kind)]) ** 2).sum())
    return total


PADDING = [-1.0, 0, 0, 0, 0]
BOXES = np.array(
    [
        [[1, 0.3, 0.4, 0.2, 0.5], [2, 0.32, 0.41, 0.21, 0.52], PADDING],  # the second has no box of its own
        [[0, 1.0, 1.0, 0.5, 0.1], PADDING, [1, 0.9, 0.9, 0.1, 0.6]],  # one cell, two anchors
        [PADDING, PADDING, PADDING],
    ]
)


def yolo2(**fields: Any) -> Any:
    return LOSSES["yolo2"](classes=3, anchors=ANCHORS, **SCALES, **fields)


def test_the_loss_is_the_papers() -> None:
    x = 1.5 * np.random.default_rng(0).normal(size=(3, 3, 4, 24))
    values, weights = yolo2().per_sample(Tensor(x), Tensor(BOXES))
    wanted = [equation_3(x[i].reshape(3, 4, 3, 8), BOXES[i], 3) for i in range(3)]
    assert weights is None
    np.testing.assert_allclose(values.numpy(), wanted, rtol=1e-12)


def test_a_target_of_no_boxes_is_one_of_padding() -> None:
    x = np.random.default_rng(2).normal(size=(2, 3, 4, 24))
    none, padded = (yolo2().per_sample(Tensor(x), Tensor(BOXES[[2, 2], :m]))[0].numpy() for m in (0, 1))
    np.testing.assert_array_equal(none, padded)
    shown = np.asarray(yolo2().prediction(Tensor(x)))
    assert counted(shown, BOXES[[2, 2], :0]) == counted(shown, BOXES[[2, 2], :1])


def test_each_scale_weighs_its_part() -> None:
    x = np.random.default_rng(1).normal(size=(3, 3, 4, 24))
    whole = yolo2().per_sample(Tensor(x), Tensor(BOXES))[0].numpy().sum()
    parts = 0.0
    for name, scale in SCALES.items():
        alone = LOSSES["yolo2"](classes=3, anchors=ANCHORS, **dict.fromkeys(SCALES, 0) | {name: scale})
        part = alone.per_sample(Tensor(x), Tensor(BOXES))[0].numpy().sum()
        assert part > 0.1
        parts += part
    assert parts == pytest.approx(whole, rel=1e-12)


def test_a_prediction_is_what_the_loss_wants() -> None:
    """Where the node says a box exactly, its loss is 0, and decoding it gives that box."""
    x = np.full((1, 2, 2, 1 * 7), -40.0)
    box = np.array([1, 0.65, 0.3, 0.4, 0.25])
    inside = np.array([0.65 * 2 - 1, 0.3 * 2])
    x[0, 0, 1] = [
        *np.log(inside / (1 - inside)),
        math.log(0.4 * 2 / 0.8),
        math.log(0.25 * 2 / 1.2),
        40,
        -40,
        40,
    ]
    loss = LOSSES["yolo2"](classes=2, anchors=[[0.8, 1.2]])
    assert loss.per_sample(Tensor(x), Tensor(box[None, None]))[0].numpy()[0] < 1e-12
    (found,) = detection.found(loss.prediction(Tensor(x)).numpy())
    np.testing.assert_allclose(found, [[*box, 1.0]], rtol=1e-12)
    assert detection.decode(x, [[0.8, 1.2]]).shape == (1, 4, 7)


def test_a_target_that_is_no_box_is_told() -> None:
    loss, x = yolo2(), TensorType((3, 3, 4, 24), float32)
    assert loss.wrong(x, BOXES) is None

    def changed(place: int, value: float) -> Any:
        boxes = BOXES.copy()
        boxes[1, 2, place] = value
        return loss.wrong(x, boxes)

    expected = "expected 0 to 2, or -1 for no box"
    assert changed(0, 3) == (1, f"has a box of class 3; {expected}")
    assert changed(0, 0.5) == (1, f"has a box of class 0.5; {expected}")
    for place, value in ((1, 1.1), (3, 0), (4, -0.1), (2, np.nan)):
        index, told = changed(place, value)
        assert index == 1
        assert "expected x, y, width, height from 0 to 1, with an area" in told


def test_misfits_are_refused() -> None:
    with pytest.raises(ShapeError, match=r"3 anchors x \(5 \+ 3 classes\) = 24"):
        yolo2().per_sample(Tensor(np.zeros((1, 2, 2, 23))), Tensor(BOXES[:1]))
    with pytest.raises(ShapeError, match=r"a target \(boxes, 5\)"):
        yolo2().per_sample(Tensor(np.zeros((1, 2, 2, 24))), Tensor(BOXES[:1, :, :4]))
    with pytest.raises(SpecError, match="an anchor of 3 numbers"):
        LOSSES["yolo2"](classes=1, anchors=[[1, 2, 3]])
    with pytest.raises(SpecError, match="there are no anchors"):
        LOSSES["yolo2"](classes=1, anchors=[])


def test_iou_counts_pixels() -> None:
    """Boxes of whole pixels on a grid of 20 x 20, painted and counted."""
    rng = np.random.default_rng(2)
    boxes, masks = [], []
    for _ in range(12):
        (x0, y0), (w, h) = rng.integers(0, 12, 2), rng.integers(1, 9, 2)
        mask = np.zeros((20, 20), bool)
        mask[y0 : y0 + h, x0 : x0 + w] = True
        boxes.append([(x0 + w / 2) / 20, (y0 + h / 2) / 20, w / 20, h / 20])
        masks.append(mask)
    wanted = [[(a & b).sum() / (a | b).sum() for b in masks] for a in masks]
    assert 20 < np.count_nonzero(wanted) < 144
    np.testing.assert_allclose(detection.iou(boxes, boxes), wanted, atol=1e-12)
    assert detection.iou([[0.5, 0.5, 0, 0]], boxes[:1]).tolist() == [[0.0]]


def test_suppression_keeps_the_most_confident() -> None:
    boxes = np.array(
        [
            [0, 0.50, 0.5, 0.2, 0.2, 0.7],  # overlaps the third by 0.6
            [1, 0.50, 0.5, 0.2, 0.2, 0.6],  # another class
            [0, 0.55, 0.5, 0.2, 0.2, 0.9],
            [0, 0.45, 0.5, 0.2, 0.2, 0.8],  # overlaps the third by a third
            [0, 0.90, 0.9, 0.1, 0.1, 0.1],
        ]
    )
    kept = detection.non_max_suppression(boxes, 0.5)
    assert kept[:, 5].tolist() == [0.9, 0.8, 0.6, 0.1]
    assert detection.non_max_suppression(boxes, 0.2)[:, 5].tolist() == [0.9, 0.6, 0.1]
    assert detection.non_max_suppression(boxes[:0]).shape == (0, 6)


TRUE = [
    np.array([[0, 0.2, 0.2, 0.2, 0.2], [0, 0.7, 0.7, 0.2, 0.2], PADDING]),
    np.array([[1, 0.5, 0.5, 0.4, 0.4], PADDING, PADDING]),
]
FOUND = [
    np.array(
        [
            [0, 0.20, 0.2, 0.2, 0.2, 0.9],  # right
            [0, 0.21, 0.2, 0.2, 0.2, 0.8],  # the same thing once more
            [0, 0.70, 0.7, 0.2, 0.2, 0.6],  # right
            [1, 0.20, 0.2, 0.2, 0.2, 0.7],  # of another class
        ]
    ),
    np.zeros((0, 6)),
]


def test_what_is_right_is_counted() -> None:
    assert detection.matched(FOUND[0], TRUE[0]).tolist() == [True, False, True, False]
    assert not detection.matched(FOUND[0][3:], TRUE[0][:2], overlap=0).any()  # of another class
    counted = detection.scores(FOUND, TRUE)
    assert counted == {"precision": 2 / 4, "recall": 2 / 3, "f1": 4 / 7}
    assert all(math.isnan(v) for v in detection.scores([FOUND[1]], [TRUE[0][2:]]).values())


def test_average_precision_is_the_area_under_the_envelope() -> None:
    """Class 0: right, wrong, right of two: 1 up to recall 1/2, then 2/3.  Class 1: nothing right."""
    assert detection.average_precision(FOUND, TRUE) == {0: pytest.approx(0.5 + 0.5 * 2 / 3), 1: 0.0}


def counted(x: np.ndarray, true: np.ndarray, **fields: float) -> list[float]:
    """The sums of the metric: found, told, true."""
    metric = METRICS["detection_f1"](**fields)
    return [float(s.numpy()) for s in metric.sums(Tensor(x), Tensor(true), None)]


def test_the_metric_counts_as_by_hand() -> None:
    """What is found of the first picture, given as a prediction of four boxes and two classes."""
    x = np.zeros((2, 4, 7))
    x[0, :, :4], x[0, :, 4] = FOUND[0][:, 1:5], FOUND[0][:, 5]
    x[0, range(4), 5 + FOUND[0][:, 0].astype(int)] = 1
    true = np.stack(TRUE)
    assert counted(x, true, suppress=1) == [2, 4, 3]
    assert counted(x, true) == [2, 3, 3]  # without the second, which is the first once more
    assert counted(x, true, confidence=0.75) == [1, 1, 3]
    assert counted(x[:, 1:], true) == [2, 3, 3]
    assert counted(x[:, 1:], true, overlap=0.92) == [1, 3, 3]  # its IoU is 0.905
    assert METRICS["detection_f1"]().result(*map(np.array, (2, 3, 3))) == pytest.approx(2 / 3)
    assert math.isnan(METRICS["detection_f1"]().result(*np.zeros(3)))


@pytest.mark.parametrize("suppress", [1.0, 0.5])
def test_the_metric_counts_as_what_is_found(suppress: float) -> None:
    """Many boxes near true ones; where none is hidden twice over, one after the other gives the same."""
    rng = np.random.default_rng(6)
    true = np.concatenate(
        [rng.integers(0, 3, (40, 4, 1)), rng.uniform(0.2, 0.8, (40, 4, 2)), np.full((40, 4, 2), 0.2)], 2
    )
    x = np.zeros((40, 8, 8))
    x[..., :4] = np.repeat(true[..., 1:], 2, 1) + 0.03 * rng.normal(size=(40, 8, 4))
    x[..., 4], x[..., 5:] = rng.uniform(size=(40, 8)), rng.dirichlet([0.3] * 3, (40, 8))
    found = detection.found(x, confidence=0.3, overlap=suppress)
    wanted = detection.scores(found, list(true))
    right, told, there = counted(x, true, confidence=0.3, suppress=suppress)
    assert right > 20
    assert {"precision": right / told, "recall": right / there} == pytest.approx(
        {name: wanted[name] for name in ("precision", "recall")}
    )


def test_predictions_of_another_shape_are_refused() -> None:
    with pytest.raises(ShapeError, match="expected"):
        detection.found(np.zeros((3, 7)))
    with pytest.raises(ShapeError, match="detection_f1 needs the boxes of a yolo2"):
        counted(np.zeros((2, 3)), np.stack(TRUE))
