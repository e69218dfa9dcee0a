"""Layers that change the shape: margins, sizes, parts, and the same elements otherwise arranged."""

from __future__ import annotations

from typing import Any

from cortex_core.exchange.to_keras.at import At, exports
from cortex_core.exchange.to_keras.convolution import margins, rank
from cortex_core.exchange.to_keras.graph import Tensor
from cortex_core.exchange.to_keras.pooling import RANKS, bordered

WHOLE = slice(None)


@exports("flatten", to="`Flatten`")
def flatten(at: At) -> Tensor:
    return at.put("Flatten", at.x)


@exports("reshape", to="`Reshape`")
def reshape(at: At) -> Tensor:
    return at.put("Reshape", at.x, target_shape=[*at.layer.shape])


@exports("permute", to="`Permute`")
def permute(at: At) -> Tensor:
    return at.put("Permute", at.x, dims=[*at.layer.axes])


@exports("repeat_vector", to="`RepeatVector`; of more than vectors `Reshape`, and the function `tile`")
def repeat_vector(at: At) -> Tensor:
    if rank(at) == 0:
        return at.put("RepeatVector", at.x, n=at.layer.times)
    shape = [1, *(-1 if n is None else n for n in at.x.shape)]
    if shape.count(-1) > 1:
        at.known(at.x, "two axes of any length cannot be repeated in Keras")
    one = at.put("Reshape", at.x, part="one", shape=(1, *at.x.shape), target_shape=shape)
    return at.op("Tile", one, repeats=[1, at.layer.times, *(1 for _ in at.x.shape)])


@exports("flip", to="the function `flip`")
def flip(at: At) -> Tensor:
    return at.op("Flip", at.x, axis=at.layer.axis)


@exports("take", to="the function `take`")
def take(at: At) -> Tensor:
    return at.op("Take", at.x, [*at.layer.indices], axis=at.layer.axis % (len(at.x.shape) + 1))


@exports("slice", "select", to="what `x[:, key]` is")
def part(at: At) -> Tensor:
    layer = at.layer
    axis = layer.axis % (len(at.x.shape) + 1)
    if at.kind == "select":
        key: Any = layer.place
    else:
        key = slice(layer.start, layer.stop, None if layer.stride == 1 else layer.stride)
    return at.op("GetItem", at.x, [*(WHOLE,) * axis, key])


@exports(
    *(f"padding{n}d" for n in RANKS),
    to="`ZeroPadding1D` to `3D`; `replicate` as copies of the border, `reflect` as the function `pad`",
)
def padding(at: At) -> Tensor:
    pairs = at.layer.padding
    if at.layer.mode == "replicate":
        return bordered(at, at.x, pairs)
    if at.layer.mode == "reflect":
        return at.op("Pad", at.x, pad_width=[[0, 0], *map(list, pairs), [0, 0]], mode="reflect")
    return at.put(f"ZeroPadding{len(pairs)}D", at.x, padding=margins(pairs))


@exports(*(f"cropping{n}d" for n in RANKS), to="`Cropping1D` to `3D`")
def cropping(at: At) -> Tensor:
    return at.put(f"Cropping{rank(at)}D", at.x, cropping=margins(at.layer.cropping))


@exports(
    *(f"upsampling{n}d" for n in RANKS),
    to="`UpSampling1D` to `3D`; linear as the bilinear one of a picture of one column",
    refuses="trilinear",
)
def upsampling(at: At) -> Tensor:
    size, mode = [*at.layer.size], at.layer.mode
    if mode == "trilinear":
        at.fail("Keras has no trilinear volumes; train it with the mode nearest")
    if mode == "linear":
        return _line(at, size[0])
    if rank(at) == 2:
        return at.put("UpSampling2D", at.x, size=size, interpolation=mode)
    return at.put(f"UpSampling{rank(at)}D", at.x, size=size if rank(at) > 1 else size[0])


def _line(at: At, size: int) -> Tensor:
    length, channels = at.x.shape
    higher = length if length is None else length * size
    free = [-1 if length is None else length, 1, channels]
    x = at.put("Reshape", at.x, part="column", shape=(length, 1, channels), target_shape=free)
    config: dict[str, Any] = {"size": [size, 1], "interpolation": "bilinear"}
    y = at.put("UpSampling2D", x, part="larger", shape=(higher, 1, channels), **config)
    return at.put("Reshape", y, target_shape=[-1, channels])


@exports("resize2d", to="`Resizing`")
def resize(at: At) -> Tensor:
    height, width = at.layer.size
    return at.put("Resizing", at.x, height=height, width=width, interpolation=at.layer.mode)
