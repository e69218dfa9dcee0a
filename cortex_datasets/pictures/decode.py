"""One picture file to pixels.

What is not 8-bit grey or RGB becomes it by these rules.  The orientation that a camera wrote beside the
picture is applied.  Transparent pixels show white.  16-bit grey is divided by 257 and rounded; pixels of 32
bits and floating-point ones are refused.  Palettes, CMYK and other colour spaces become RGB, and RGB becomes
grey by the luma of ITU-R BT.601, both as Pillow does.  Of several frames the first is taken.  A JPEG of more
than four times the size that is asked for is decoded at a half, a quarter or an eighth of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cortex_compute.errors import DataError

if TYPE_CHECKING:
    from PIL.Image import Image

Array = np.ndarray[Any, Any]

SUFFIXES = (".png", ".jpg", ".jpeg", ".jpe", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm", ".pbm")
# Formats that hold pixels and nothing else: no PostScript that would be run, no other file that is opened.
FORMATS = ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP", "PPM")
# Pixels in one picture, as Pillow limits them: a small file may unpack to more than any memory holds.
LARGEST = 89_478_485


@dataclass(frozen=True)
class Form:
    """What every picture becomes: (height, width), or None for the size it has; 1 or 3 channels.

    ``fit`` says how a picture of other proportions gets this size: "stretch"; "crop" cuts what is too much
    from both sides; "pad" puts black bars on both sides.
    """

    size: tuple[int, int] | None
    channels: int
    fit: str


class Unreadable(Exception):
    """A file that gives no picture; the message says why, without its name."""


def is_picture(name: str) -> bool:
    """Whether a file's name is one of a picture."""
    return Path(name).suffix.lower() in SUFFIXES


def need_pillow() -> None:
    """Raises DataError where Pillow is not installed."""
    try:
        import PIL.Image  # noqa: F401
    except ImportError:
        raise DataError("pictures need Pillow: pip install 'cortex-nn[datasets]'") from None


def decode(path: Path, form: Form) -> Array:
    """The pixels of a picture, uint8 (height, width, channels).  Raises `Unreadable`."""
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with Image.open(path, formats=FORMATS) as image:
            if image.width * image.height > LARGEST:
                raise Unreadable(
                    f"has {image.width} x {image.height} pixels, more than the {LARGEST:,} that are read"
                )
            if form.size is not None:  # JPEG decodes to 1/2, 1/4 or 1/8 for a fraction of the time
                image.draft(None, (2 * max(form.size),) * 2)
            ImageOps.exif_transpose(image, in_place=True)
            made = _fitted(_plain(image, form.channels), form)
    except Unreadable:
        raise
    except UnidentifiedImageError:
        empty = path.stat().st_size == 0
        raise Unreadable("is empty" if empty else "is no picture, or its beginning is damaged") from None
    except MemoryError:
        raise
    except Exception as error:  # damaged files lead Pillow's readers to errors of any kind
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())[:160]
        raise Unreadable(f"cannot be read: {reason or type(error).__name__}") from None
    return np.asarray(made, np.uint8).reshape(made.height, made.width, form.channels)


def _plain(image: Image, channels: int) -> Image:
    """8 bits a channel, without transparency."""
    from PIL import Image as images

    if image.mode == "F":
        raise Unreadable("has floating-point pixels; convert it to 8 or 16 bits")
    if image.mode.startswith("I"):
        levels = np.asarray(image).astype(np.int64)
        # "I" has 32 bits: Pillow reads 16-bit PGM, and in some versions PNG, into it, and TIFF of 32 bits,
        # whose values may mean anything
        sixteen = image.mode != "I" or image.format in ("PNG", "PPM")
        if not sixteen or levels.min() < 0 or levels.max() > 65535:
            raise Unreadable("has pixels of more than 16 bits; convert it to 8 or 16 bits")
        image = images.fromarray(((levels + 128) // 257).astype(np.uint8))
    elif "transparency" in image.info or image.mode.lower() in ("rgba", "la", "pa"):
        white = images.new("RGBA", image.size, "white")
        image = images.alpha_composite(white, image.convert("RGBA")).convert("RGB")
    return image.convert("L" if channels == 1 else "RGB")


def _fitted(image: Image, form: Form) -> Image:
    """The picture in the size that is asked for, by bilinear interpolation over all pixels that it covers."""
    from PIL import Image as images
    from PIL import ImageOps

    if form.size is None:
        return image
    size = form.size[::-1]
    if form.fit == "crop":
        return ImageOps.fit(image, size, images.Resampling.BILINEAR)
    if form.fit == "pad":
        return ImageOps.pad(image, size, images.Resampling.BILINEAR, color=0)
    return image.resize(size, images.Resampling.BILINEAR)
