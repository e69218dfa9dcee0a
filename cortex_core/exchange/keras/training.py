"""What a file says of the training of a model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cortex_core.exchange.keras.at import At


def penalty(at: At, weight: str) -> Any:
    """What a penalty of a description says for the regularizer of a weight; None where there is none."""
    return None


def constraint(at: At, weight: str) -> Any:
    """What a constraint of a description says for that of a weight; None where there is none."""
    return None
