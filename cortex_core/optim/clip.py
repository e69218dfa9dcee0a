"""Gradients cut to size before a step."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from cortex_compute.errors import ArgumentError, GradientError
from cortex_compute.expression import E, build
from cortex_compute.primitives.elementwise import Elementwise
from cortex_core.ops.pointwise import maximum, minimum
from cortex_core.tensor import Tensor, assign


def _kernel(formula: Callable[[E, E], Any]) -> Elementwise:
    built = build(formula, 2)
    return Elementwise(built.code, built.literals)


SCALE = _kernel(lambda g, factor: g * factor)
LIMIT = _kernel(lambda g, limit: minimum(maximum(g, -limit), limit))


def clip_grad_norm_(
    parameters: Tensor | Iterable[Tensor],
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
) -> Tensor:
    """Scales all gradients by one factor, so that their norm together is at most ``max_norm``, and gives the
    norm that they had.

    ``norm_type`` is the p of the norm, or infinity.  The factor is max_norm / (norm + 1e-6), as PyTorch has
    it.  A norm that is not finite makes the gradients NaN or 0; with ``error_if_nonfinite`` it is a
    GradientError, and nothing is scaled.
    """
    if not max_norm >= 0:
        raise ArgumentError(f"clip_grad_norm_: max_norm is {max_norm!r:.60}, expected a number of 0 or more")
    if not norm_type > 0:
        raise ArgumentError(
            f"clip_grad_norm_: norm_type is {norm_type!r:.60}, expected a number above 0 or inf"
        )
    gradients = _gradients(parameters)
    norms = [np.linalg.norm(_wide(g.data.reshape(-1)), norm_type) for g in gradients]
    total = np.asarray(np.linalg.norm(norms, norm_type) if norms else 0.0)
    if error_if_nonfinite and not np.isfinite(total):
        raise GradientError(
            f"clip_grad_norm_: the norm of the gradients is {total}; detect_anomaly() finds where it comes "
            "from, error_if_nonfinite=False goes on"
        )
    factor = np.minimum(max_norm / (total + 1e-6), 1.0)
    if factor != 1:
        _rewrite(SCALE, gradients, factor)
    return Tensor(total.astype(gradients[0].data.dtype if gradients else np.float32))


def clip_grad_value_(parameters: Tensor | Iterable[Tensor], clip_value: float) -> None:
    """Brings every number of the gradients into -clip_value .. clip_value."""
    if not clip_value >= 0:
        raise ArgumentError(
            f"clip_grad_value_: clip_value is {clip_value!r:.60}, expected a number of 0 or more"
        )
    _rewrite(LIMIT, _gradients(parameters), np.asarray(clip_value))


def _gradients(parameters: Tensor | Iterable[Tensor]) -> list[Tensor]:
    given = [parameters] if isinstance(parameters, Tensor) else parameters
    return [p.grad for p in given if p.grad is not None]


def _wide(x: np.ndarray) -> np.ndarray:
    """float16 as float32: the squares of 300 would be infinite."""
    return x.astype(np.float32) if x.dtype == np.float16 else x


def _rewrite(primitive: Elementwise, gradients: list[Tensor], number: np.ndarray) -> None:
    for g in gradients:
        assign(primitive, [g, number.astype(g.data.dtype)], [g])
