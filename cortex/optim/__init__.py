"""`cortex.optim`: optimisers over Tensors, with PyTorch's names, options and numbers."""

from __future__ import annotations

from cortex.optim import lr_scheduler
from cortex_core.optim import *  # noqa: F403
from cortex_core.optim import __all__ as _names

__all__ = [*_names, "lr_scheduler"]
