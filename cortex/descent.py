"""`cortex.descent`: instrumented gradient descent, and the test functions of the literature."""

from __future__ import annotations

from cortex_core.descent import *  # noqa: F403
from cortex_core.descent import __all__ as __all__
