"""`cortex.optim.lr_scheduler`: schedules of learning rates, with PyTorch's names and numbers."""

from __future__ import annotations

from cortex_core.optim.lr_scheduler import *  # noqa: F403
from cortex_core.optim.lr_scheduler import __all__ as __all__
