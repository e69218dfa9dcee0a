"""Layers that change the shape: margins, sizes, and the same elements otherwise arranged."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from cortex_core.exchange.build import Unfit
from cortex_core.exchange.keras.at import At, translates
from cortex_core.exchange.keras.convolution import numbers
from cortex_core.exchange.keras.value import Value

BEFORE_2_3 = (
    "bilinear up-sampling before Keras 2.3 is that of its TensorFlow, which the file does not tell: for "
    "TensorFlow 2 the block is upsampling2d with mode bilinear; for TensorFlow 1, where elements are points, "
    "upsampling2d with mode nearest, padding2d with mode replicate of size - 1 behind, avg_pool2d of this "
    "size with stride 1"
)


def _margins(given: Any, rank: int) -> list[list[int]]:
    """[before, after] for each axis, of one number, of one for each axis, or of pairs."""
    if not isinstance(given, (list, tuple)):
        return [[given, given]] * rank
    if all(isinstance(pair, (list, tuple)) for pair in given):
        return [list(pair) for pair in given]
    return [list(given)] if rank == 1 and len(given) == 2 else [[n, n] for n in given]


@translates("ZeroPadding1D", "ZeroPadding2D", "ZeroPadding3D")
def zero_padding(at: At) -> Value:
    x = at.channels(at.any())
    rank = len(x.shape) - 1
    return at.put(f"padding{rank}d", x, padding=_margins(at.get("padding"), rank))


@translates("Cropping1D", "Cropping2D", "Cropping3D")
def cropping(at: At) -> Value:
    x = at.channels(at.any())
    rank = len(x.shape) - 1
    return at.put(f"cropping{rank}d", x, cropping=_margins(at.get("cropping"), rank))


@translates("UpSampling1D", "UpSampling2D", "UpSampling3D")
def up_sampling(at: At) -> Value:
    x = at.channels(at.any())
    rank = len(x.shape) - 1
    mode = at.expect("interpolation", "nearest", "bilinear") if rank == 2 else "nearest"
    if mode == "bilinear" and at.version < (2, 3):
        raise Unfit(f"{BEFORE_2_3}; map it to one of them")
    return at.put(f"upsampling{rank}d", x, size=numbers(at, "size", rank), mode=mode)


@translates("Flatten")
def flatten(at: At) -> Value:
    """Channels last, where it says that they come first: the order of what follows is that of Keras."""
    x = at.channels(at.any())
    return at.put("flatten", replace(x, moved=False))


@translates("Reshape")
def reshape(at: At) -> Value:
    return at.put("reshape", at.one(), shape=list(at.get("target_shape")))


@translates("Permute")
def permute(at: At) -> Value:
    return at.put("permute", at.one(), axes=list(at.get("dims")))


@translates("RepeatVector")
def repeat_vector(at: At) -> Value:
    return at.put("repeat_vector", at.one(), times=at.get("n"))
