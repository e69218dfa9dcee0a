"""Augmentations that mix two examples, labels and all: mixup and cutmix."""

from __future__ import annotations

from functools import lru_cache
from typing import ClassVar

import numpy as np

from cortex_core.registry import augmentation, base, field
from cortex_datasets.augment.draw import Array, Draws

Boxes = tuple[list[int], ...]


@base
class Mix:
    """Mixes each example with a partner.

    ``apply`` gives the share (samples,) that an example keeps of itself, and, where a box is pasted in
    instead of mixing all values, top, bottom, left and right of the boxes.
    """

    stage: ClassVar[str] = "mix"
    takes: ClassVar[str] = "pictures"

    alpha: float = field(default=1.0, doc="the share is drawn from Beta(alpha, alpha)", above=0, maximum=100)
    probability: float = field(default=1.0, doc="of being applied", minimum=0, maximum=1)


@augmentation("mixup", main="alpha")
class Mixup(Mix):
    """share x + (1 - share) partner, of all inputs and of the targets.  Zhang et al., 2018."""

    takes: ClassVar[str] = "numbers"

    alpha: float = field(default=0.2, doc="the share is drawn from Beta(alpha, alpha)", above=0, maximum=100)

    def apply(self, draw: Draws, height: int, width: int) -> tuple[Array, Boxes | None]:
        happens = draw.happens(self.probability)
        return np.where(happens, beta(draw.uniform(), self.alpha), 1), None


@augmentation("cutmix", main="alpha")
class Cutmix(Mix):
    """Pastes a box of the partner into the picture; the targets are mixed by area.  Yun et al., 2019.

    The box covers 1 - Beta(alpha, alpha) of the picture, with sides in proportion and its centre anywhere.
    What hangs over is cut, and the share follows what is left.
    """

    def apply(self, draw: Draws, height: int, width: int) -> tuple[Array, Boxes | None]:
        happens = draw.happens(self.probability)
        side = np.where(happens, np.sqrt(1 - beta(draw.uniform(), self.alpha)), 0)
        top, bottom = _side(draw.below(height), side * height, height)
        left, right = _side(draw.below(width), side * width, width)
        share = 1 - (bottom - top) * (right - left) / (height * width)
        return share, (top.tolist(), bottom.tolist(), left.tolist(), right.tolist())


def _side(centre: Array, length: Array, size: int) -> tuple[Array, Array]:
    half = length.astype(np.int64) // 2
    return (centre - half).clip(0, size), (centre + half).clip(0, size)


def beta(uniform: Array, alpha: float) -> Array:
    """Beta(alpha, alpha) from uniform numbers, by the inverse of its distribution function."""
    power = min(alpha, 1.0)
    scaled, distribution = _half_of_beta(alpha, power)
    lower = np.minimum(uniform, 1 - uniform)  # the distribution is symmetric
    value: Array = np.interp(lower, distribution, scaled) ** (1 / power)
    return np.where(uniform < 0.5, value, 1 - value)


@lru_cache(maxsize=8)
def _half_of_beta(alpha: float, power: float) -> tuple[Array, Array]:
    """x^power for x in 0 .. 1/2, and the distribution function there, 0 .. 1/2.

    The density x^(alpha-1) (1-x)^(alpha-1) dx has a pole at 0 where alpha < 1.  In s = x^power it is
    x^(alpha-power) (1-x)^(alpha-1) ds / power, which has none.
    """
    scaled = np.linspace(0, 0.5**power, 4097)
    x = scaled ** (1 / power)
    density = x ** (alpha - power) * (1 - x) ** (alpha - 1)
    total = np.concatenate([[0.0], np.cumsum(density[1:] + density[:-1])])
    total *= 0.5 / total[-1]
    return scaled, total
