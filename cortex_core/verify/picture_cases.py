"""The cases of the gradient suite for pictures: margins, sizes, windows, channels that fall or are damped."""

from __future__ import annotations

from cortex_core.verify.case import apart, cases, of_layer
from cortex_core.verify.cases import Made, Rng, layer


@cases("layer", "padding2d")
def padding2d(rng: Rng) -> Made:
    x, uneven = rng.normal(size=(2, 3, 4, 2)), [[2, 0], [1, 3]]
    yield of_layer("zero", layer("padding2d", padding=uneven), x, rng=rng)
    yield of_layer("reflect", layer("padding2d", padding=uneven, mode="reflect"), x, rng=rng)
    yield of_layer("replicate", layer("padding2d", padding=[[0, 4], [1, 0]], mode="replicate"), x, rng=rng)


@cases("layer", "padding1d")
def padding1d(rng: Rng) -> Made:
    yield of_layer("zero", layer("padding1d", padding=[[2, 0]]), rng.normal(size=(2, 3, 2)), rng=rng)


@cases("layer", "padding3d")
def padding3d(rng: Rng) -> Made:
    x, uneven = rng.normal(size=(2, 2, 3, 2, 1)), [[1, 0], [0, 2], [1, 1]]
    yield of_layer("reflect", layer("padding3d", padding=uneven, mode="reflect"), x, rng=rng)
    yield of_layer("replicate", layer("padding3d", padding=uneven, mode="replicate"), x, rng=rng)


@cases("layer", "cropping2d")
def cropping2d(rng: Rng) -> Made:
    yield of_layer(
        "uneven", layer("cropping2d", cropping=[[1, 0], [0, 2]]), rng.normal(size=(2, 3, 4, 2)), rng=rng
    )


@cases("layer", "upsampling2d")
def upsampling2d(rng: Rng) -> Made:
    x = rng.normal(size=(2, 3, 2, 2))
    for mode in ("nearest", "bilinear"):
        yield of_layer(mode, layer("upsampling2d", size=[2, 3], mode=mode), x, rng=rng)


@cases("layer", "upsampling1d")
def upsampling1d(rng: Rng) -> Made:
    x = rng.normal(size=(2, 3, 2))
    yield of_layer("linear", layer("upsampling1d", size=3, mode="linear"), x, rng=rng)


@cases("layer", "upsampling3d")
def upsampling3d(rng: Rng) -> Made:
    x = rng.normal(size=(2, 2, 1, 3, 1))
    yield of_layer("trilinear", layer("upsampling3d", size=[2, 1, 3], mode="trilinear"), x, rng=rng)


@cases("layer", "adaptive_avg_pool2d")
def adaptive_avg_pool2d(rng: Rng) -> Made:
    x = rng.normal(size=(2, 4, 5, 2))
    yield of_layer("whole windows", layer("adaptive_avg_pool2d", size=[2, 1]), x, rng=rng)
    yield of_layer("overlapping", layer("adaptive_avg_pool2d", size=[3, 2]), x, rng=rng)
    yield of_layer("larger", layer("adaptive_avg_pool2d", size=[6, 5]), x, rng=rng)


@cases("layer", "adaptive_max_pool2d")
def adaptive_max_pool2d(rng: Rng) -> Made:
    x = apart(rng, (2, 4, 5, 2))
    yield of_layer("whole windows", layer("adaptive_max_pool2d", size=[2, 1]), x, rng=rng)
    yield of_layer("overlapping", layer("adaptive_max_pool2d", size=[3, 2]), x, rng=rng)


@cases("layer", "local_response_normalization")
def local_response_normalization(rng: Rng) -> Made:
    x = 2 * rng.normal(size=(2, 2, 2, 6))
    strong = layer("local_response_normalization", alpha=0.3, k=1)
    yield of_layer("images", strong, x, rng=rng)
    yield of_layer("wider than all channels", layer("local_response_normalization", size=15), x, rng=rng)
    alone = layer("local_response_normalization", size=1, alpha=1, beta=0.5, k=0.5)
    yield of_layer("each channel", alone, x[:, 0, 0], rng=rng)


@cases("layer", "spatial_dropout1d")
def spatial_dropout1d(rng: Rng) -> Made:
    x = rng.normal(size=(3, 2, 4))
    yield of_layer("training", layer("spatial_dropout1d", rate=0.4), x, rng=rng)
    yield of_layer("prediction", layer("spatial_dropout1d", rate=0.4), x, rng=rng, training=False)


@cases("layer", "spatial_dropout2d")
def spatial_dropout2d(rng: Rng) -> Made:
    x = rng.normal(size=(3, 2, 2, 4))
    yield of_layer("training", layer("spatial_dropout2d", rate=0.4), x, rng=rng)
