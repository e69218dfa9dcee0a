"""`cortex.nn.init`: first numbers for parameters, in place, with PyTorch's names."""

from __future__ import annotations

from cortex_core.nn.init import *  # noqa: F403
from cortex_core.nn.init import __all__ as __all__
