"""Curves by step: which of the numbers they show, and on which axis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cortex_viz.descent.surface import Array

SPREAD = 20.0  # times the least number above 0: what ranges further is drawn on a logarithmic axis


@dataclass(frozen=True)
class Curves:
    """One curve for each path: ``values`` (k,) at its states, NaN where nothing is drawn, over ``steps``
    (k,); ``log``: on a logarithmic axis."""

    title: str
    steps: Sequence[Array]
    values: Sequence[Array]
    log: bool


def curves(title: str, steps: Sequence[Array], values: Sequence[Array], seen: Sequence[Array]) -> Curves:
    """The curves of numbers (k,) at these steps (k,), where they are ``seen`` (k,) and finite."""
    shown = [np.where(np.isfinite(v) & s, v, np.nan) for v, s in zip(values, seen)]
    finite = np.concatenate([v[~np.isnan(v)] for v in shown])
    positive = finite[finite > 0]
    log = positive.size and finite.min() >= 0 and positive.max() / SPREAD > positive.min()
    return Curves(title, steps, shown, bool(log))
