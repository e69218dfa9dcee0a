"""Pictures that are prepared inside a model: sizes, the middle, and what varies them in training alone."""

from __future__ import annotations

from dataclasses import replace

from cortex_core.exchange.build import Unfit
from cortex_core.exchange.keras.at import At, translates
from cortex_core.exchange.keras.value import Value

VARIED = (
    "AugMix", "CutMix", "MixUp", "RandAugment", "RandomBrightness", "RandomColorDegeneration",
    "RandomColorJitter", "RandomContrast", "RandomElasticTransform", "RandomErasing", "RandomFlip",
    "RandomGaussianBlur", "RandomGrayscale", "RandomHeight", "RandomHue", "RandomInvert", "RandomPerspective",
    "RandomPosterization", "RandomRotation", "RandomSaturation", "RandomSharpness", "RandomShear",
    "RandomTranslation", "RandomWidth", "RandomZoom", "Solarization",
)  # fmt: skip
"""What these do at random, they do in training; predictions have the picture as it is."""


@translates(*VARIED)
def varied(at: At) -> Value:
    for key in at.layer.config:
        at.get(key)
    at.notes.append(f"{at.path}: training no longer varies its pictures; 'train.augment' does, outside")
    return replace(at.any(), mask=None)


@translates("Resizing")
def resizing(at: At) -> Value:
    x = at.channels(at.any())
    mode = at.expect("interpolation", "bilinear", "nearest")
    size = [at.get("height"), at.get("width")]
    at.expect("antialias", False)
    if at.get("crop_to_aspect_ratio", False):
        x = _middle(at, x, _of_ratio(at, x, size))
    elif at.get("pad_to_aspect_ratio", False):
        at.expect("fill_mode", "constant")
        at.expect("fill_value", 0.0)
        x = _padded(at, x, size)
    at.get("fill_mode", None), at.get("fill_value", None)
    return at.put("resize2d", x, size=size, mode=mode)


@translates("CenterCrop")
def center_crop(at: At) -> Value:
    """The middle; of a smaller picture its largest part of that shape, made larger."""
    x = at.channels(at.any())
    size = [at.get("height"), at.get("width")]
    known = _known(x)
    if all(n >= m for n, m in zip(known, size)):
        return _middle(at, x, size, part="")
    return at.put("resize2d", _middle(at, x, _of_ratio(at, x, size)), size=size)


@translates("RandomCrop")
def random_crop(at: At) -> Value:
    x = at.channels(at.any())
    size = [at.get("height"), at.get("width")]
    if _known(x) != size:
        raise Unfit(f"it makes {size} of {_known(x)}, in predictions in another way in each version of Keras")
    return x


def _known(x: Value) -> list[int]:
    sizes = [n for n in x.there[:-1] if n is not None]
    if len(sizes) != 2:
        raise Unfit(f"its input is {[*x.there]}; expected pictures of a known size")
    return sizes


def _of_ratio(at: At, x: Value, size: list[int]) -> list[int]:
    """The largest part of the picture that has the ratio of sides of the size."""
    (high, wide), (height, width) = _known(x), size
    sides = int(wide * height / width), int(high * width / height)
    return [max(1, min(n, side)) for n, side in zip((high, wide), sides)]


def _middle(at: At, x: Value, size: list[int], part: str = "middle") -> Value:
    """The middle of the picture, of this size; where there is an odd one it stays behind."""
    pairs = [[(n - m) // 2, n - m - (n - m) // 2] for n, m in zip(_known(x), size)]
    return at.put("cropping2d", x, part=part, cropping=pairs) if any(map(any, pairs)) or not part else x


def _padded(at: At, x: Value, size: list[int]) -> Value:
    """The picture between margins of zeros, so that it has the ratio of sides of the size."""
    (high, wide), (height, width) = _known(x), size
    more = int(wide * height / width) - high, int(high * width / height) - wide
    pairs = [[max(0, n) // 2] * 2 for n in more]  # as Keras has it: as many before as behind
    return at.put("padding2d", x, part="margins", padding=pairs) if any(map(any, pairs)) else x
