"""Normalisation."""

from __future__ import annotations

import math

import numpy as np

from cortex_core.exchange.to_keras.at import At, exports
from cortex_core.exchange.to_keras.graph import Tensor
from cortex_core.layers.normalization import SHORTEST


def _learned(at: At, *more: str) -> list[np.ndarray]:
    """gamma and beta where it has them, and further arrays."""
    return at.arrays(*(["scale"] if at.layer.scale else []), *(["shift"] if at.layer.center else []), *more)


@exports("batch_norm", to="`BatchNormalization`; with statistics of each element between two `Reshape`")
def batch_norm(at: At) -> Tensor:
    layer, x = at.layer, at.x
    weights = _learned(at, "moving_mean", "moving_variance")
    config = {key: getattr(layer, key) for key in ("momentum", "epsilon", "center", "scale")}
    if layer.mode == "spatial" or len(x.shape) == 1:
        return at.put("BatchNormalization", x, weights=weights, axis=-1, **config)
    sizes = at.known(x, "each element has statistics of its own")
    flat = (math.prod(sizes),)
    line = at.put("Reshape", x, part="elements", shape=flat, target_shape=[*flat])
    of_elements = [array.reshape(-1) for array in weights]
    y = at.put("BatchNormalization", line, weights=of_elements, shape=flat, axis=-1, **config)
    return at.put("Reshape", y, part="again", target_shape=[*sizes])


def _last(at: At) -> list[int]:
    return [*range(-at.layer.axes, 0)]


@exports("layer_norm", to="`LayerNormalization`")
def layer_norm(at: At) -> Tensor:
    config = {key: getattr(at.layer, key) for key in ("epsilon", "center", "scale")}
    return at.put("LayerNormalization", at.x, weights=_learned(at), axis=_last(at), **config)


@exports("rms_norm", to="`RMSNormalization`, which older Keras 3 lacks")
def rms_norm(at: At) -> Tensor:
    """It has always a gamma in Keras."""
    config = {"axis": _last(at), "epsilon": at.layer.epsilon}
    if at.layer.scale:
        return at.put("RMSNormalization", at.x, weights=at.arrays("scale"), **config)
    ones = np.ones(at.known(at.x, "its gamma has the size of them")[-at.layer.axes :], np.float32)
    return at.put("RMSNormalization", at.x, weights=[ones], trainable=False, **config)


@exports("group_norm", to="`GroupNormalization`")
def group_norm(at: At) -> Tensor:
    config = {key: getattr(at.layer, key) for key in ("groups", "epsilon", "center", "scale")}
    return at.put("GroupNormalization", at.x, weights=_learned(at), axis=-1, **config)


@exports("unit_norm", to="`UnitNormalization`; with another `shortest` the function `normalize`")
def unit_norm(at: At) -> Tensor:
    axis, shortest = at.layer.axis, at.layer.shortest
    if shortest == SHORTEST:
        return at.put("UnitNormalization", at.x, axis=axis)
    return at.op("Normalize", at.x, module="nn", axis=axis, order=2, epsilon=shortest)


@exports(
    "local_response_normalization", to="functions, and a `Dense` whose kernel is the window over the channels"
)
def local_response(at: At) -> Tensor:
    """x (k + alpha s)^-beta: s is the square times a matrix that is 1 near its diagonal."""
    layer, x = at.layer, at.x
    places = np.arange(x.shape[-1] or 0)
    near = abs(places[:, None] - places) <= layer.size // 2
    weights = [np.float32(layer.alpha) * near, np.full(len(places), layer.k, np.float32)]
    square = at.op("Square", x, part="square")
    sums = at.put("Dense", square, part="sums", weights=weights, units=len(places), trainable=False)
    return at.op("Multiply", x, at.op("Power", sums, -layer.beta, part="factor"))


@exports("prelu", to="`PReLU`")
def prelu(at: At) -> Tensor:
    layer, last = at.layer, len(at.x.shape)
    slope = at.array("slope")
    if layer.per == "channel":
        slope, shared = slope.reshape(*(1,) * (last - 1), -1), [*range(1, last)]
    else:
        shared = [*layer.shared]
    return at.put("PReLU", at.x, weights=[slope], shared_axes=shared or None)
