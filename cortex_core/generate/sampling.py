"""Drawing a token from scores: temperature, top-k and top-p, in float64."""

from __future__ import annotations

import math
from numbers import Integral, Real
from typing import Any

import numpy as np

from cortex_compute.errors import NotFiniteError, SpecError
from cortex_core.ops.random import stream_of

Array = np.ndarray[Any, Any]


def log_softmax(logits: Array) -> Array:
    """The logarithms of the probabilities that scores (n,) mean; -inf stays -inf."""
    shifted = logits.astype(np.float64) - logits.max()
    found: Array = shifted - np.log(np.exp(shifted).sum())
    return found


def distribution(logits: Array, temperature: float, top_k: int | None, top_p: float | None) -> Array:
    """The probabilities from which a token is drawn, (n,) float64.

    The softmax of ``logits / temperature``, of the ``top_k`` most probable tokens alone, and of these the
    fewest, most probable first, that hold ``top_p`` of what is left (the nucleus; Holtzman et al., 2020).  Of
    equally probable tokens the first counts as the more probable.  At temperature 0 the most probable token
    has 1.
    """
    found = np.zeros(len(logits))
    if temperature == 0:
        found[np.argmax(logits)] = 1.0
        return found
    logs = logits.astype(np.float64) - logits.max()
    with np.errstate(over="ignore"):  # the quotient of a tiny temperature: minus infinity, which is right
        p = np.exp(logs / temperature)
    order = np.argsort(-p, kind="stable")[: top_k or None]
    if top_p is not None:
        before = np.cumsum(p[order]) - p[order]
        order = order[before < top_p * p[order].sum()]
    found[order] = p[order] / p[order].sum()
    return found


class Sampler:
    """Draws tokens, one uniform number for each: Philox4x64-10 by ``seed``, the same on every machine.

    Raises `SpecError` for a temperature below 0, a top_k below 0 (0: all tokens), a top_p that is not above 0
    and at most 1, and a seed that is no whole number of 64 bits.
    """

    def __init__(
        self,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        seed: int = 0,
    ) -> None:
        if not _number(temperature) or temperature < 0:
            raise SpecError(f"temperature is {temperature!r:.60}: expected a number, at least 0 (0: greedy)")
        if top_k is not None and (not is_whole(top_k) or top_k < 0):
            raise SpecError(f"top_k is {top_k!r:.60}: expected a whole number, at least 0 (0: all tokens)")
        if top_p is not None and (not _number(top_p) or not 0 < top_p <= 1):
            raise SpecError(
                f"top_p is {top_p!r:.60}: expected a number above 0 and at most 1 (1: all tokens)"
            )
        if not is_whole(seed) or not 0 <= seed < 2**64:
            raise SpecError(f"seed is {seed!r:.60}: expected a whole number from 0 to 2**64 - 1")
        self.temperature, self.top_k, self.top_p, self.seed = float(temperature), top_k, top_p, int(seed)
        self._generator = np.random.Generator(np.random.Philox(key=[self.seed, stream_of("generate")]))

    def draw(self, logits: Array) -> int:
        """A token for scores (n,); one of -inf is never drawn.  Raises `NotFiniteError` for NaN."""
        if not math.isfinite(logits.max()):
            raise NotFiniteError(
                f"the scores of the next token hold {logits.max()}: the network has diverged"
            )
        p = distribution(logits, self.temperature, self.top_k, self.top_p)
        total = np.cumsum(p)
        # What is behind the last token with a probability would be drawn where the sum is rounded up.
        place = int(np.searchsorted(total, self._generator.random() * total[-1], side="right"))
        return min(place, int(np.flatnonzero(p)[-1]))


def is_whole(x: object) -> bool:
    """Whether x is a whole number."""
    return isinstance(x, Integral) and not isinstance(x, bool)


def _number(x: object) -> bool:
    try:
        return isinstance(x, Real) and not isinstance(x, bool) and math.isfinite(x)
    except OverflowError:  # a whole number beyond all floats
        return False
