"""What only training does."""

from __future__ import annotations

from cortex_core.exchange.to_keras.at import At, exports
from cortex_core.exchange.to_keras.graph import Tensor

SPATIAL = ("spatial_dropout1d", "spatial_dropout2d", "spatial_dropout3d")


@exports("dropout", to="`Dropout`")
def dropout(at: At) -> Tensor:
    return at.put("Dropout", at.x, rate=at.layer.rate)


@exports("stochastic_depth", to="`Dropout` of whole examples, by its `noise_shape`")
def stochastic_depth(at: At) -> Tensor:
    return at.put("Dropout", at.x, rate=at.layer.rate, noise_shape=[None, *(1 for _ in at.x.shape)])


@exports("alpha_dropout", to="`AlphaDropout`")
def alpha_dropout(at: At) -> Tensor:
    return at.put("AlphaDropout", at.x, rate=at.layer.rate)


@exports(*SPATIAL, to="`SpatialDropout1D` to `3D`")
def spatial_dropout(at: At) -> Tensor:
    return at.put(f"SpatialDropout{at.kind[-2:].upper()}", at.x, rate=at.layer.rate)


@exports("gaussian_noise", to="`GaussianNoise`")
def gaussian_noise(at: At) -> Tensor:
    return at.put("GaussianNoise", at.x, stddev=at.layer.deviation)


@exports("gaussian_dropout", to="`GaussianDropout`")
def gaussian_dropout(at: At) -> Tensor:
    return at.put("GaussianDropout", at.x, rate=at.layer.rate)


@exports("sampling", to="`Identity`, which it is in prediction: a note says so")
def sampling(at: At) -> Tensor:
    at.note("it draws in training here, and gives the mean in Keras in training, too")
    return at.put("Identity", at.x)
