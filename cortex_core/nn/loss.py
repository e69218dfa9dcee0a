"""Losses as modules.  ``reduction``: "mean", "sum" or "none"."""

from __future__ import annotations

from typing import Any

from cortex_core.nn import functional as F
from cortex_core.nn.functional.loss import REDUCTIONS, checked
from cortex_core.nn.module import Module


class Loss(Module):
    """The base: keeps the reduction."""

    choices: tuple[str, ...] = REDUCTIONS

    def __init__(self, reduction: str = "mean") -> None:
        super().__init__()
        self.reduction = checked(type(self).__name__, reduction, self.choices)


class MSELoss(Loss):
    """(x - t)²"""

    def forward(self, input: Any, target: Any) -> Any:
        return F.mse_loss(input, target, self.reduction)


class L1Loss(Loss):
    """|x - t|"""

    def forward(self, input: Any, target: Any) -> Any:
        return F.l1_loss(input, target, self.reduction)


class SmoothL1Loss(Loss):
    """(x - t)² / (2 beta) where |x - t| < beta, |x - t| - beta / 2 elsewhere"""

    def __init__(self, reduction: str = "mean", beta: float = 1.0) -> None:
        super().__init__(reduction)
        self.beta = beta

    def forward(self, input: Any, target: Any) -> Any:
        return F.smooth_l1_loss(input, target, self.reduction, self.beta)


class HuberLoss(Loss):
    """(x - t)² / 2 where |x - t| < delta, delta (|x - t| - delta / 2) elsewhere.  Huber, 1964"""

    def __init__(self, reduction: str = "mean", delta: float = 1.0) -> None:
        super().__init__(reduction)
        self.delta = delta

    def forward(self, input: Any, target: Any) -> Any:
        return F.huber_loss(input, target, self.reduction, self.delta)


class SoftMarginLoss(Loss):
    """log(1 + exp(-t x)) for targets t of -1 and 1"""

    def forward(self, input: Any, target: Any) -> Any:
        return F.soft_margin_loss(input, target, self.reduction)


class GaussianNLLLoss(Loss):
    """(log v + (x - t)² / v) / 2 of a mean x and a variance v, at least ``eps``; see `gaussian_nll_loss`"""

    def __init__(self, *, full: bool = False, eps: float = 1e-6, reduction: str = "mean") -> None:
        super().__init__(reduction)
        self.full, self.eps = full, eps

    def forward(self, input: Any, target: Any, var: Any) -> Any:
        return F.gaussian_nll_loss(input, target, var, self.full, self.eps, self.reduction)


class PoissonNLLLoss(Loss):
    """exp(x) - t x, or x - t log(x + eps) where x is no logarithm; see `functional.poisson_nll_loss`"""

    def __init__(
        self, log_input: bool = True, full: bool = False, *, eps: float = 1e-8, reduction: str = "mean"
    ) -> None:
        super().__init__(reduction)
        self.log_input, self.full, self.eps = log_input, full, eps

    def forward(self, input: Any, target: Any) -> Any:
        return F.poisson_nll_loss(input, target, self.log_input, self.full, self.eps, self.reduction)


class HingeLoss(Loss):
    """max(0, 1 - t x) for targets t of -1 and 1"""

    def forward(self, input: Any, target: Any) -> Any:
        return F.hinge_loss(input, target, self.reduction)


class HingeEmbeddingLoss(Loss):
    """x where the target is 1, max(0, margin - x) where it is -1; x is a distance"""

    def __init__(self, margin: float = 1.0, reduction: str = "mean") -> None:
        super().__init__(reduction)
        self.margin = margin

    def forward(self, input: Any, target: Any) -> Any:
        return F.hinge_embedding_loss(input, target, self.margin, self.reduction)


class KLDivLoss(Loss):
    """t (log t - x) of log-probabilities x; with ``log_target`` the target is log t.

    ``reduction`` may be "batchmean" too: the sum, divided by the size of the first axis.
    """

    choices = (*REDUCTIONS, "batchmean")

    def __init__(self, reduction: str = "mean", log_target: bool = False) -> None:
        super().__init__(reduction)
        self.log_target = log_target

    def forward(self, input: Any, target: Any) -> Any:
        return F.kl_div(input, target, self.reduction, self.log_target)


class BCELoss(Loss):
    """-(t log p + (1 - t) log(1 - p)) of probabilities p, times ``weight``"""

    def __init__(self, weight: Any = None, reduction: str = "mean") -> None:
        super().__init__(reduction)
        self.register_buffer("weight", weight)

    def forward(self, input: Any, target: Any) -> Any:
        return F.binary_cross_entropy(input, target, self.weight, self.reduction)


class BCEWithLogitsLoss(Loss):
    """-(w t log p + (1 - t) log(1 - p)) with p = sigmoid(x) and w = pos_weight, times ``weight``"""

    def __init__(self, weight: Any = None, reduction: str = "mean", pos_weight: Any = None) -> None:
        super().__init__(reduction)
        self.register_buffer("weight", weight)
        self.register_buffer("pos_weight", pos_weight)

    def forward(self, input: Any, target: Any) -> Any:
        return F.binary_cross_entropy_with_logits(input, target, self.weight, self.reduction, self.pos_weight)


class NLLLoss(Loss):
    """-x[target] of log-probabilities.   input (N, C, d1, ...), target (N, d1, ...), weight (C,)"""

    def __init__(self, weight: Any = None, ignore_index: int = -100, reduction: str = "mean") -> None:
        super().__init__(reduction)
        self.register_buffer("weight", weight)
        self.ignore_index = ignore_index

    def forward(self, input: Any, target: Any) -> Any:
        return F.nll_loss(input, target, self.weight, self.ignore_index, self.reduction)


class CrossEntropyLoss(Loss):
    """-sum(t log softmax(x)) of logits.   input (N, C, d1, ...), target (N, d1, ...) or like input

    See `functional.cross_entropy`.
    """

    def __init__(
        self,
        weight: Any = None,
        ignore_index: int = -100,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__(reduction)
        self.register_buffer("weight", weight)
        self.ignore_index, self.label_smoothing = ignore_index, label_smoothing

    def forward(self, input: Any, target: Any) -> Any:
        return F.cross_entropy(
            input, target, self.weight, self.ignore_index, self.reduction, self.label_smoothing
        )
