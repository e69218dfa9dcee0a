"""Optimisers over Tensors, and schedules of their rates, under PyTorch's names and with its numbers."""

from __future__ import annotations

from cortex_core.optim import lr_scheduler as lr_scheduler
from cortex_core.optim.clip import clip_grad_norm_, clip_grad_value_
from cortex_core.optim.lbfgs import LBFGS
from cortex_core.optim.optimizer import Optimizer
from cortex_core.optim.pointwise import (
    SGD,
    Adadelta,
    Adagrad,
    Adam,
    Adamax,
    AdamW,
    Lion,
    NAdam,
    RAdam,
    RMSprop,
)

__all__ = [
    "LBFGS",
    "SGD",
    "Adadelta",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "Lion",
    "NAdam",
    "Optimizer",
    "RAdam",
    "RMSprop",
    "clip_grad_norm_",
    "clip_grad_value_",
]
