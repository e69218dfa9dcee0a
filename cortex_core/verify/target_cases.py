"""The cases of the gradient suite for losses whose targets are lists: of labels, of boxes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from cortex_core.registry import LOSSES
from cortex_core.verify.case import Case, cases, of_loss


@cases("loss", "ctc")
def ctc(rng: np.random.Generator) -> Iterator[Case]:
    x, target = rng.normal(size=(3, 4, 3)), np.array([[1, 1], [2, -1], [1, 2]])
    yield of_loss("padded", LOSSES["ctc"](), x, target)
    yield of_loss("last blank", LOSSES["ctc"](blank=2), x, np.array([[1, 0], [0, 2], [2, 2]]))
    lengths = np.array([4, 2, 1]), np.array([2, 1, 2])  # the last target is too long for its frames

    def counted(x: Any, target: Any, frames: Any, labels: Any) -> Any:
        return LOSSES["ctc"](zero_infinity=True).per_sample(x, target, frames=frames, labels=labels)[0]

    yield Case("lengths", counted, (x, target, *lengths))


@cases("loss", "yolo2")
def yolo2(rng: np.random.Generator) -> Iterator[Case]:
    loss = LOSSES["yolo2"](classes=2, anchors=[[0.8, 1.2], [1.5, 0.5]])
    boxes = [
        [[0, 0.2, 0.3, 0.3, 0.2], [1, 0.9, 0.8, 0.2, 0.5]],
        [[1, 0.3, 0.7, 0.4, 0.4], [-1, 0, 0, 0, 0]],
    ]
    yield of_loss("", loss, rng.normal(size=(2, 2, 2, 14)), np.array(boxes))
