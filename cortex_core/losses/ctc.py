"""Connectionist temporal classification: labels of a sequence, without where they are in it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from cortex_compute.types import TensorType, int64
from cortex_core.losses.common import Wrong, refuse, whole
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
        for name, counts in (("frames", frames), ("labels", labels)):
            if counts is not None and (counts.dtype.kind != "int" or counts.size != x.shape[0]):
                told = f"they are {counts.shape[1:]} {counts.dtype}"
                refuse(self, f"{name} to be one whole number for each sample, and {told}", x, target)
        values = ctc(log_softmax(x, -1), whole(self, target), frames, labels, self.blank)
        return (select(equal(values, np.inf), 0.0, values) if self.zero_infinity else values), None

    def wrong(
        self,
        x: TensorType,
        target: np.ndarray,
        frames: np.ndarray | None = None,
        labels: np.ndarray | None = None,
    ) -> Wrong:
        """The first example whose labels, or whose numbers of labels or frames, cannot be, and why."""
        given = [one for one in (frames, labels) if one is not None]
        integers = target.ndim == 2 and target.dtype.kind in "iu"
        if not integers or len(x.shape) != 3 or any(one.size != len(target) for one in given):
            return None  # which per_sample refuses
        ended = np.cumsum((target < 0) | (target == self.blank), 1) > 0
        count = (~ended).sum(1) if labels is None else labels.reshape(-1)
        steps = np.full(len(target), x.shape[1]) if frames is None else frames.reshape(-1)
        for bad, told in self._faults(x, target, count, steps, labels is None):
            if bad.any():
                i = int(np.argmax(bad))
                return i, f"{told.format(count=count[i], steps=steps[i])}: {target[i].tolist()}"
        return None

    def _faults(
        self, x: TensorType, target: np.ndarray, count: np.ndarray, steps: np.ndarray, padded: bool
    ) -> Iterator[tuple[np.ndarray, str]]:
        """Which examples have a fault, and what to say of it."""
        (size,), (_, most, classes) = target.shape[1:], x.shape
        yield (
            (count < 0) | (count > size),
            f"has {{count}} labels; expected 0 to {size}, what the target holds",
        )
        yield (steps < 1) | (steps > most), f"has {{steps}} frames; expected 1 to {most}, what the node has"
        real, blank = np.arange(size) < count[:, None], target == self.blank
        unknown = (real & ((target < 0) | (target >= classes) | blank)).any(1)
        yield unknown, f"has a label that is none of 0 to {classes - 1} without the blank, {self.blank}"
        if padded:
            behind = (~real & (target >= 0) & ~blank).any(1)
            yield behind, "has a label behind its end, the first blank or negative"
        needed = count + (real[:, 1:] & (target[:, 1:] == target[:, :-1])).sum(1)
        if not self.zero_infinity:
            yield (
                needed > steps,
                "has {steps} frames, too few for its {count} labels, with a blank between equal ones",
            )
