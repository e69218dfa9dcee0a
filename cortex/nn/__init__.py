"""`cortex.nn`: modules, losses and functions with PyTorch's names, defaults, shapes and weight layouts."""

from __future__ import annotations

from cortex.nn import functional, init, utils
from cortex_core.nn import *  # noqa: F403
from cortex_core.nn import __all__ as _names
from cortex_core.nn.from_spec import from_spec

__all__ = [*_names, "from_spec", "functional", "init", "utils"]
