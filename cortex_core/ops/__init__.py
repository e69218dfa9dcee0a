"""The language of operations.  Each op takes Tensors or symbolic Values and returns the same kind.

An op's docstring derives its gradient; the rule stands beside it.
"""

from __future__ import annotations
