"""`cortex.data`: data sets of Tensors, samplers and batches, with PyTorch's names."""

from __future__ import annotations

from cortex_core.eager_data import *  # noqa: F403
from cortex_core.eager_data import __all__ as __all__
