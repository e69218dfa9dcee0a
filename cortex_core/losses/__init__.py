"""Losses: what a description may name under ``loss``.

``of``, ``target``, ``weight`` and ``name`` belong to the place where a loss stands, not to the loss.

``per_sample(x, target)`` gives one value for each sample, (B,), and weights, (B,) or None; the mean
sum(weight value) / sum(weight) is taken by the step.  ``target_type(x)`` is what a target is where no data
says it, and ``prediction(x)`` what people want to see of the node.
"""

from __future__ import annotations

from cortex_core.losses import (
    cross_entropy as cross_entropy,
)
from cortex_core.losses import (
    distance as distance,
)
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
