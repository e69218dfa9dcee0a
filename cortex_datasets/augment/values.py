"""Augmentations that change values where they stand: brightness, contrast, noise, erase.

Pictures hold 0..1, and stay there.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import ClassVar

import numpy as np

from cortex_core.registry import Fault, augmentation, base, field
from cortex_datasets.augment.draw import Array, Draws


@base
class Values:
    """Changes examples (samples, ...), float32, in place.

    ``bounded``: whether pictures have to lie in 0..1, and are clipped to it afterwards.
    """

    stage: ClassVar[str] = "values"
    bounded: ClassVar[bool] = True
    takes: ClassVar[str] = "pictures"

    probability: float = field(default=1.0, doc="of being applied", minimum=0, maximum=1)


@augmentation("brightness", main="amount")
class Brightness(Values):
    """Adds one number from -amount .. amount to all of a picture."""

    amount: float = field(doc="the largest change", above=0, maximum=1)

    def apply(self, draw: Draws, examples: Array) -> None:
        change = np.where(draw.happens(self.probability), draw.uniform(-self.amount, self.amount), 0)
        _flat(examples)[...] += change[:, None].astype(np.float32)


@augmentation("contrast", main="amount")
class Contrast(Values):
    """Moves all values of a picture away from their mean, or towards it: mean + factor (x - mean), with a
    factor from 1 - amount .. 1 + amount."""

    amount: float = field(doc="the largest change of the factor", above=0, maximum=1)

    def apply(self, draw: Draws, examples: Array) -> None:
        factor = np.where(draw.happens(self.probability), draw.uniform(1 - self.amount, 1 + self.amount), 1)
        flat = _flat(examples)
        mean = flat.mean(axis=1)
        flat *= factor[:, None].astype(np.float32)
        flat += (mean * (1 - factor))[:, None].astype(np.float32)


@augmentation("noise", main="deviation")
class Noise(Values):
    """Adds normal noise to every value, each with its own; also to inputs that are no pictures."""

    takes: ClassVar[str] = "numbers"

    deviation: float = field(doc="standard deviation, in the units of the input", above=0)

    def apply(self, draw: Draws, examples: Array) -> None:
        noise = np.empty_like(examples)
        draw.normal(noise)
        size = np.where(draw.happens(self.probability), self.deviation, 0).astype(np.float32)
        _flat(noise)[...] *= size[:, None]
        examples += noise


@augmentation("erase", main="probability")
class Erase(Values):
    """Overwrites a rectangle at a random place.  Random erasing, Zhong et al., 2017.

    Its area is a fraction of the picture's, its height / width is drawn evenly on a logarithmic scale; a side
    that would be longer than the picture's is cut.
    """

    bounded: ClassVar[bool] = False

    probability: float = field(default=0.5, doc="of being applied", minimum=0, maximum=1)
    area: tuple[float, ...] = field(default=(0.02, 0.33), doc="least and largest area", above=0, maximum=1)
    aspect: tuple[float, ...] = field(default=(0.3, 3.3), doc="least and largest height / width", above=0)
    value: float = field(default=0.0, doc="what it is overwritten with")

    def check(self) -> Iterator[Fault]:
        for name, limits in (("area", self.area), ("aspect", self.aspect)):
            if len(limits) != 2 or limits[0] > limits[1]:
                yield Fault((name,), f"{list(limits)} is no range", "expected [least, largest]")

    def apply(self, draw: Draws, examples: Array) -> None:
        top, bottom, left, right = self.rectangles(draw, *examples.shape[1:3])
        for picture, y0, y1, x0, x1 in zip(examples, top, bottom, left, right):
            picture[y0:y1, x0:x1] = self.value

    def rectangles(self, draw: Draws, height: int, width: int) -> tuple[list[int], ...]:
        """Top, bottom, left and right of each sample's rectangle, empty where nothing happens."""
        happens = draw.happens(self.probability)
        area = draw.uniform(*self.area) * (height * width)
        aspect = np.exp(draw.uniform(*map(math.log, self.aspect)))
        tall = np.rint(np.sqrt(area * aspect)).clip(1, height).astype(np.int64)
        wide = np.rint(np.sqrt(area / aspect)).clip(1, width).astype(np.int64)
        top, left = draw.below(height - tall + 1), draw.below(width - wide + 1)
        bottom = np.where(happens, top + tall, top)
        return top.tolist(), bottom.tolist(), left.tolist(), (left + wide).tolist()


def _flat(examples: Array) -> Array:
    """(samples, values of one), over the same memory."""
    return examples.reshape(len(examples), -1)
