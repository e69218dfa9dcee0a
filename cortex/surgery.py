"""`cortex.surgery`: networks with parts added, removed, replaced, frozen or resized, and their weights."""

from __future__ import annotations

from cortex_core.surgery import *  # noqa: F403
from cortex_core.surgery import __all__ as __all__
