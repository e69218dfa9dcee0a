"""The loss of connectionist temporal classification as a module."""

from __future__ import annotations

from typing import Any

from cortex_core.nn.functional.ctc import ctc_loss
from cortex_core.nn.loss import Loss


class CTCLoss(Loss):
    """-log p(targets) over all alignments of the targets to the frames; see `functional.ctc_loss`."""

    def __init__(self, blank: int = 0, reduction: str = "mean", zero_infinity: bool = False) -> None:
        super().__init__(reduction)
        self.blank, self.zero_infinity = blank, zero_infinity

    def forward(self, log_probs: Any, targets: Any, input_lengths: Any, target_lengths: Any) -> Any:
        lengths = input_lengths, target_lengths
        return ctc_loss(log_probs, targets, *lengths, self.blank, self.reduction, self.zero_infinity)
