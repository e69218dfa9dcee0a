"""Arithmetic with given numbers, functions of each element, means and sums along axes."""

from __future__ import annotations

import math
from typing import Any

from cortex_core.exchange.to_keras.at import REFUSED, At, exports
from cortex_core.exchange.to_keras.graph import Tensor

REFUSED["affine"] = "Keras has no layer of learned numbers of a shape; layer_scale has them by channel"


@exports("scale", to="`Rescaling`")
def scale(at: At) -> Tensor:
    return at.put("Rescaling", at.x, scale=_lists(at.layer.factor), offset=_lists(at.layer.offset))


def _lists(given: Any) -> Any:
    return [*map(_lists, given)] if isinstance(given, tuple) else given


@exports("layer_scale", to="`DepthwiseConv1D` or `2D` with a window of one element, of lines and of pictures")
def layer_scale(at: At) -> Tensor:
    """A factor for each channel that is learned: Keras has it for windows alone."""
    x, gamma = at.x, at.array("scale")
    rank = len(x.shape) - 1
    space = rank if rank in (1, 2) else 1
    weights = [gamma.reshape(*(1,) * space, -1, 1)]
    config: dict[str, Any] = {"kernel_size": [1] * space, "strides": [1] * space, "use_bias": False}
    if rank == space:
        return at.put(f"DepthwiseConv{space}D", x, weights=weights, **config)
    sizes = at.known(x, "its factors are those of a line in Keras")
    line = (math.prod(sizes[:-1]), sizes[-1])
    flat = at.put("Reshape", x, part="line", shape=line, target_shape=[*line])
    y = at.put("DepthwiseConv1D", flat, weights=weights, shape=line, **config)
    return at.put("Reshape", y, part="again", target_shape=[*sizes])


@exports("clip", to="the functions `clip`, `maximum` or `minimum`")
def clip(at: At) -> Tensor:
    low, high = at.layer.minimum, at.layer.maximum
    if high is None:
        return at.op("Maximum", at.x, low)
    if low is None:
        return at.op("Minimum", at.x, high)
    return at.op("Clip", at.x, x_min=low, x_max=high)


@exports("cast", to="the function `cast`")
def cast(at: At) -> Tensor:
    return at.op("Cast", at.x, module="core", dtype="float32")


@exports("power", to="the function `power`")
def power(at: At) -> Tensor:
    return at.op("Power", at.x, at.layer.exponent)


FUNCTIONS = {
    "cos": "numpy.Cos",
    "erf": "math.Erf",
    "expm1": "numpy.Expm1",
    "log": "numpy.Log",
    "log1p": "numpy.Log1p",
    "sin": "numpy.Sin",
}


@exports("elementwise", to="the function of that name")
def elementwise(at: At) -> Tensor:
    module, _, kind = FUNCTIONS[at.layer.function].partition(".")
    return at.op(kind, at.x, module=module)


@exports("mean", "sum", to="the functions `mean`, `sum`")
def reduction(at: At) -> Tensor:
    return at.op(at.kind.capitalize(), at.x, axis=[*at.layer.axes], keepdims=at.layer.keepdims)
