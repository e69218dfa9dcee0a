"""Losses: what a description may name under ``loss``.

``of``, ``target``, ``weight`` and ``name`` belong to the place where a loss stands, not to the loss.
"""

from __future__ import annotations

from cortex_core.registry import field, loss


@loss("softmax_cross_entropy")
class SoftmaxCrossEntropy:
    """-sum(t log softmax(x)) over the last axis.   x (..., n); target index (...) or t (..., n)"""

    label_smoothing: float = field(default=0.0, doc="part of the target spread evenly", minimum=0, below=1)
    class_weights: tuple[float, ...] | None = field(default=None, doc="one weight per class", minimum=0)
    ignore_index: int | None = field(default=None, doc="class index whose samples do not count")


@loss("binary_cross_entropy")
class BinaryCrossEntropy:
    """-(w t log p + (1 - t) log(1 - p)), mean over all but the batch axis.   x, target (...)"""

    from_logits: bool = field(default=False, doc="the node gives logits, not probabilities")
    positive_weight: float = field(default=1.0, doc="weight w of the positive class", above=0)
    label_smoothing: float = field(default=0.0, doc="pulls targets towards 1/2", minimum=0, below=1)


@loss("mse")
class MeanSquaredError:
    """(x - t)², mean over all but the batch axis."""


@loss("mae")
class MeanAbsoluteError:
    """|x - t|, mean over all but the batch axis."""
