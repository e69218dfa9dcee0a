"""The cases of the gradient suite for convolutions: of volumes, transposed, of each channel or place."""

from __future__ import annotations

from cortex_core.verify.case import cases, of_layer
from cortex_core.verify.cases import Made, Rng, layer


@cases("layer", "conv3d")
def conv3d(rng: Rng) -> Made:
    x = rng.normal(size=(1, 3, 4, 3, 2))
    yield of_layer("valid", layer("conv3d", filters=2, kernel=2), x, rng=rng)
    strided = layer("conv3d", filters=2, kernel=[1, 3, 2], stride=[1, 2, 1], padding="same", groups=2)
    yield of_layer("same, stride 2, groups", strided, x, rng=rng)


@cases("layer", "conv_transpose1d")
def conv_transpose1d(rng: Rng) -> Made:
    x = rng.normal(size=(2, 4, 2))
    yield of_layer("valid", layer("conv_transpose1d", filters=3, kernel=3, stride=2), x, rng=rng)
    uneven = layer("conv_transpose1d", filters=1, kernel=3, padding=[[2, 0]], dilation=2, use_bias=False)
    yield of_layer("uneven padding, dilated", uneven, x, rng=rng)
    gaps = layer("conv_transpose1d", filters=2, kernel=1, stride=3, padding="same", groups=2)
    yield of_layer("same, gaps, groups", gaps, x, rng=rng)


@cases("layer", "conv_transpose2d")
def conv_transpose2d(rng: Rng) -> Made:
    x = rng.normal(size=(2, 2, 3, 2))
    yield of_layer("valid", layer("conv_transpose2d", filters=1, kernel=[2, 3]), x, rng=rng)
    same = layer("conv_transpose2d", filters=2, kernel=3, stride=2, padding="same", activation="tanh")
    yield of_layer("same, stride 2, tanh", same, x, rng=rng)
    fields = {"stride": [2, 3], "padding": 1, "output_padding": [1, 2], "groups": 2}
    yield of_layer("output padding", layer("conv_transpose2d", filters=2, kernel=3, **fields), x, rng=rng)


@cases("layer", "conv_transpose3d")
def conv_transpose3d(rng: Rng) -> Made:
    x = rng.normal(size=(1, 2, 1, 3, 2))
    same = layer("conv_transpose3d", filters=2, kernel=[1, 2, 3], stride=[1, 2, 2], padding="same")
    yield of_layer("same, strided", same, x, rng=rng)


@cases("layer", "depthwise_conv1d")
def depthwise_conv1d(rng: Rng) -> Made:
    fields = {"kernel": 3, "stride": 2, "padding": "same", "multiplier": 2, "activation": "tanh"}
    made = layer("depthwise_conv1d", **fields)
    yield of_layer("same, stride 2, multiplied", made, rng.normal(size=(2, 5, 2)), rng=rng)


@cases("layer", "separable_conv1d")
def separable_conv1d(rng: Rng) -> Made:
    made = layer("separable_conv1d", filters=3, kernel=2, dilation=2, multiplier=2)
    yield of_layer("dilated, multiplied", made, rng.normal(size=(2, 4, 2)), rng=rng)


@cases("layer", "depthwise_conv2d")
def depthwise_conv2d(rng: Rng) -> Made:
    x = rng.normal(size=(2, 4, 3, 2))
    yield of_layer("valid", layer("depthwise_conv2d", kernel=[2, 3]), x, rng=rng)
    fields = {"kernel": 3, "stride": 2, "padding": "same", "multiplier": 2, "activation": "sigmoid"}
    yield of_layer("same, stride 2, multiplied", layer("depthwise_conv2d", **fields), x, rng=rng)
    dilated = layer("depthwise_conv2d", kernel=2, dilation=[3, 1], padding=[[1, 0], [0, 1]], use_bias=False)
    yield of_layer("dilated", dilated, x, rng=rng)


@cases("layer", "separable_conv2d")
def separable_conv2d(rng: Rng) -> Made:
    x = rng.normal(size=(2, 3, 4, 2))
    yield of_layer("valid", layer("separable_conv2d", filters=3, kernel=2), x, rng=rng)
    fields = {"stride": 2, "padding": "same", "multiplier": 2, "activation": "tanh", "use_bias": False}
    yield of_layer("same, multiplied", layer("separable_conv2d", filters=1, kernel=3, **fields), x, rng=rng)


@cases("layer", "locally_connected1d")
def locally_connected1d(rng: Rng) -> Made:
    x = rng.normal(size=(2, 6, 2))
    made = layer("locally_connected1d", filters=2, kernel=3, stride=2, activation="tanh")
    yield of_layer("overlapping, stride 2, tanh", made, x, rng=rng)
    yield of_layer("gaps", layer("locally_connected1d", filters=1, kernel=1, stride=3), x, rng=rng)


@cases("layer", "locally_connected2d")
def locally_connected2d(rng: Rng) -> Made:
    x = rng.normal(size=(2, 3, 5, 2))
    yield of_layer("overlapping", layer("locally_connected2d", filters=2, kernel=[2, 3]), x, rng=rng)
    plain = layer("locally_connected2d", filters=3, kernel=[3, 2], stride=[1, 2], use_bias=False)
    yield of_layer("strided, without bias", plain, x, rng=rng)
