"""Augmentations that move what a picture shows: flip, shift, crop; rotate, scale, shear.

Those that move whole pixels are index maps, one for the lines and one for the columns; neighbours in the list
are chained and the pixels copied once.  The others are affine maps; neighbours are multiplied and the picture
is resampled once.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Literal

import numpy as np

from cortex_core.registry import Fault, augmentation, base, field
from cortex_datasets.augment.draw import Array, Draws
from cortex_datasets.augment.resample import (
    identity,
    inside,
    radians,
    rotation,
    scaling,
    shearing,
    translation,
)

Fill = Literal["edge", "zero", "reflect"]
Maps = tuple[Array, Array]


@base
class Pixels:
    """Moves whole pixels: ``apply`` gives rows (samples, height) and columns (samples, width), for each line
    of the result the line of the picture, -1 for outside."""

    stage: ClassVar[str] = "pixels"


@base
class Affine:
    """Moves by an affine map: ``apply`` gives (samples, 3, 3), (y, x, 1) of the result from the centre -> of
    the picture."""

    stage: ClassVar[str] = "affine"

    fill: Fill = field(default="edge", doc="what lies outside: edge, zero or reflect")
    probability: float = field(default=1.0, doc="of being applied", minimum=0, maximum=1)

    def sometimes(self, draw: Draws, maps: Array) -> Array:
        """The maps, or the identity where it does not happen."""
        keep = draw.happens(self.probability)[:, None, None]
        return np.where(keep, maps, identity(len(maps)))


@augmentation("flip", main="axis")
class Flip(Pixels):
    """Mirrors the picture: out[y, x] = in[y, width - 1 - x].  ``both`` draws for each axis on its own."""

    axis: Literal["horizontal", "vertical", "both"] = field(default="horizontal", doc="which way")
    probability: float = field(default=0.5, doc="of being mirrored", minimum=0, maximum=1)

    def apply(self, draw: Draws, height: int, width: int) -> Maps:
        sideways, upright = draw.happens(self.probability), draw.happens(self.probability)
        rows = _mirrored(height, upright & (self.axis != "horizontal"))
        return rows, _mirrored(width, sideways & (self.axis != "vertical"))


def _mirrored(size: int, where: Array) -> Array:
    line = np.arange(size)
    return np.where(where[:, None], line[::-1], line)


@augmentation("crop", main="padding")
class Crop(Pixels):
    """A window of the picture's own size at a random place in the picture, which is padded before.

    out[y, x] = in[y + dy - padding, x + dx - padding], dy and dx from 0 .. 2 padding.  He et al., 2016.
    """

    padding: int = field(doc="pixels on each side", minimum=1)
    fill: Fill = field(default="zero", doc="what the padding holds: edge, zero or reflect")

    def apply(self, draw: Draws, height: int, width: int) -> Maps:
        return _moved(draw, height, self.padding, self.fill), _moved(draw, width, self.padding, self.fill)


def _moved(draw: Draws, size: int, most: int, fill: str) -> Array:
    offset = draw.below(2 * most + 1) - most
    return inside(np.arange(size) + offset[:, None], size, fill)


@augmentation("shift", main="pixels")
class Shift:
    """Moves the picture by up to ``pixels`` each way: whole pixels are copied, parts of them interpolated.

    out[y, x] = in[y - dy, x - dx], dy and dx from -pixels .. pixels.
    """

    pixels: float = field(doc="the farthest, in each direction", above=0)
    whole: bool = field(default=True, doc="whether by whole pixels only")
    fill: Fill = field(default="edge", doc="what lies outside: edge, zero or reflect")

    @property
    def stage(self) -> str:
        return "pixels" if self.whole else "affine"

    def check(self) -> Iterator[Fault]:
        if self.whole and not self.pixels.is_integer():
            found = f"{self.pixels:g} is no whole number"
            yield Fault(("pixels",), found, "expected one where whole is true", "Write whole: false")

    def apply(self, draw: Draws, height: int, width: int) -> Maps | Array:
        if self.whole:
            most = int(self.pixels)
            return _moved(draw, height, most, self.fill), _moved(draw, width, most, self.fill)
        return translation(draw.uniform(-self.pixels, self.pixels), draw.uniform(-self.pixels, self.pixels))


@augmentation("rotate", main="degrees")
class Rotate(Affine):
    """Turns the picture about its centre by an angle from -degrees .. degrees."""

    degrees: float = field(doc="the largest angle", above=0, maximum=180)

    def apply(self, draw: Draws, height: int, width: int) -> Array:
        return self.sometimes(draw, rotation(radians(draw.uniform(-self.degrees, self.degrees))))


@augmentation("scale", main="amount")
class Scale(Affine):
    """Enlarges the picture about its centre by a factor from 1 - amount .. 1 + amount."""

    amount: float = field(doc="the largest change of size", above=0, below=1)

    def apply(self, draw: Draws, height: int, width: int) -> Array:
        return self.sometimes(draw, scaling(draw.uniform(1 - self.amount, 1 + self.amount)))


@augmentation("shear", main="degrees")
class Shear(Affine):
    """Slants the picture by an angle from -degrees .. degrees: out[y, x] = in[y, x + y tan(angle)]."""

    degrees: float = field(doc="the largest angle", above=0, maximum=80)

    def apply(self, draw: Draws, height: int, width: int) -> Array:
        return self.sometimes(draw, shearing(radians(draw.uniform(-self.degrees, self.degrees))))
