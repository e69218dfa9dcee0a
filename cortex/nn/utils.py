"""`cortex.nn.utils`: what is done to gradients before a step."""

from __future__ import annotations

from cortex_core.optim.clip import clip_grad_norm_, clip_grad_value_

__all__ = ["clip_grad_norm_", "clip_grad_value_"]
