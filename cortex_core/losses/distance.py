"""Losses that measure how far a node is from its target."""

from __future__ import annotations

from typing import Any

from cortex_core.losses.common import like, mean_of_sample
from cortex_core.ops.losses import absolute_difference, squared_difference
from cortex_core.registry import loss


@loss("mse")
class MeanSquaredError:
    """(x - t)², mean over all but the batch axis."""

    def per_sample(self, x: Any, target: Any) -> tuple[Any, Any | None]:
        return mean_of_sample(squared_difference(x, like(self, x, target))), None


@loss("mae")
class MeanAbsoluteError:
    """|x - t|, mean over all but the batch axis."""

    def per_sample(self, x: Any, target: Any) -> tuple[Any, Any | None]:
        return mean_of_sample(absolute_difference(x, like(self, x, target))), None
