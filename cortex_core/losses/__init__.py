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

from cortex_core.losses import (
    cross_entropy as cross_entropy,
)
from cortex_core.losses import (
    ctc as ctc,
)
from cortex_core.losses import (
    dice as dice,
)
from cortex_core.losses import (
    distance as distance,
)
from cortex_core.losses import (
    embeddings as embeddings,
)
from cortex_core.losses import (
    focal as focal,
)
from cortex_core.losses import (
    penalties as penalties,
)
from cortex_core.losses import (
    yolo2 as yolo2,
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
