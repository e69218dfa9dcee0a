"""Losses: what a description may name under ``loss``.

``of``, ``target``, ``weight``, ``name`` and ``sample_weight`` belong to the place where a loss stands, not to
the loss.

``per_sample(x, target)`` gives one value for each sample, (B,), and weights, (B,) or None; the mean
sum(weight value) / sum(weight) is taken by the step.  What fields of the loss name (`Source`, `Stream`) and
its scope ``p``, where it has ``parameters(x)``, come as keywords.  ``target_type(x)`` is what a target is
where no data says it, and ``prediction(x)`` what people want to see of the node.

``wrong(x, target)`` finds the first example whose target the loss cannot take, ``absent(target)`` tells which
examples have none, where NaN says so; both look at the numbers of the data before training.
"""

from __future__ import annotations

from cortex_core.losses.common import (
    like as like,
)
from cortex_core.losses.common import (
    mean_of_sample as mean_of_sample,
)
from cortex_core.losses.common import (
    of_each_sample as of_each_sample,
)
from cortex_core.losses.common import (
    refuse as refuse,
)

KINDS = {
    "cross_entropy": "softmax_cross_entropy binary_cross_entropy kl_divergence",
    "ctc": "ctc",
    "dice": "dice",
    "distance": "mse mae huber hinge censor_loss",
    "embeddings": "contrastive triplet batch_hard_triplet center_loss",
    "focal": "focal binary_focal",
    "penalties": "l1 l2 gaussian_kl",
    "yolo2": "yolo2",
}
"""The names that each module registers, which is imported when one of them is needed."""
