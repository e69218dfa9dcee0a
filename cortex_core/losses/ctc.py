"""Connectionist temporal classification: labels of a sequence, without where they are in it."""

from __future__ import annotations

from typing import Any

import numpy as np

from cortex_compute.errors import DTypeError
from cortex_compute.types import TensorType, int64
from cortex_core.losses.common import refuse
from cortex_core.ops.ctc import ctc
from cortex_core.ops.pointwise import equal, select
from cortex_core.ops.softmax import log_softmax, softmax
from cortex_core.registry import Stream, field, loss


@loss("ctc", logits=True)
class Ctc:
    """-log of the probability of the labels over all alignments.   x (B, T, n); target indices (B, S)

    An alignment gives each frame a class: each label one frame or more, the blank between and around them,
    at least one between equal labels.  A target ends at its first blank or negative index, or where
    ``labels`` says.  A target that needs more frames than there are is refused.

    Graves, Fernández, Gomez and Schmidhuber, 2006, equations 3 to 8, in logarithms.

    Example:
        inputs: {sound: [5, 2]}
        layers: [dense: 3]
        loss: {ctc: {target: word}}
    """

    blank: int = field(default=0, doc="index of the class that is no label", minimum=0)
    frames: Stream | None = field(default=None, doc="how many frames each sequence has; else all")
    labels: Stream | None = field(default=None, doc="how many labels each target has")
    zero_infinity: bool = field(default=False, doc="a target that fits nowhere counts 0, instead of an error")

    def target_type(self, x: TensorType) -> TensorType:
        return TensorType((x.shape[0], max(1, x.shape[1] // 2)), int64)

    def prediction(self, x: Any) -> Any:
        return softmax(x)

    def per_sample(
        self, x: Any, target: Any, frames: Any | None = None, labels: Any | None = None
    ) -> tuple[Any, None]:
        if len(x.shape) != 3 or len(target.shape) != 2:
            refuse(self, "a node (frames, classes) and a target (labels,)", x, target)
        if self.blank >= x.shape[2]:
            refuse(self, f"a node of more classes than blank, {self.blank}", x, target)
        if target.dtype.kind != "int":
            raise DTypeError(f"ctc needs whole class indices, the target is {target.dtype}")
        values = ctc(log_softmax(x, -1), target, frames, labels, self.blank)
        return (select(equal(values, np.inf), 0.0, values) if self.zero_infinity else values), None

    def wrong(
        self,
        x: TensorType,
        target: np.ndarray,
        frames: np.ndarray | None = None,
        labels: np.ndarray | None = None,
    ) -> tuple[int, str] | None:
        """The first example whose lengths, labels or number of frames cannot be, and why."""
        if target.ndim != 2 or target.dtype.kind not in "iu" or len(x.shape) != 3:
            return None  # which per_sample refuses
        size, (_, most, classes) = target.shape[1], x.shape
        counted = labels is not None
        ended = np.cumsum((target < 0) | (target == self.blank), 1) > 0
        count = np.reshape(labels, len(target)) if counted else size - ended.sum(1)
        steps = np.full(len(target), most) if frames is None else np.reshape(frames, len(target))
        real = np.arange(size) < count[:, None]
        unknown = real & ((target < 0) | (target >= classes) | (target == self.blank))
        behind = ~real & (target >= 0) & (target != self.blank) & (not counted)
        needed = count + (real[:, 1:] & (target[:, 1:] == target[:, :-1])).sum(1)
        faults = (
            ((count < 0) | (count > size), "has {count} labels; expected 0 to {size}, what the target holds"),
            ((steps < 1) | (steps > most), "has {steps} frames; expected 1 to {most}, what the node has"),
            (unknown.any(1), "has a label that is none of 0 to {last} without the blank, {blank}: {target}"),
            (behind.any(1), "has a label behind its end, the first blank or negative: {target}"),
            (
                (needed > steps) & (not self.zero_infinity),
                "has {steps} frames; its labels need {needed}: {target}",
            ),
        )
        bad = np.any([fault for fault, _ in faults], 0)
        if not bad.any():
            return None
        i = int(np.argmax(bad))
        told = next(words for fault, words in faults if fault[i])
        each = {"count": count[i], "steps": steps[i], "needed": needed[i], "target": target[i].tolist()}
        return i, told.format(**each, size=size, most=most, last=classes - 1, blank=self.blank)
