"""`cortex.nn.functional`: layers, activations and losses as functions, with PyTorch's names."""

from __future__ import annotations

from cortex_core.nn.functional import *  # noqa: F403
from cortex_core.nn.functional import __all__ as __all__
