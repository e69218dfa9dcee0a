"""Normalisation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from cortex_core.exchange.build import Unfit
from cortex_core.exchange.from_onnx.arithmetic import magnitude, together
from cortex_core.exchange.from_onnx.at import At
from cortex_core.exchange.from_onnx.layers import joined
from cortex_core.exchange.from_onnx.operators import operator
from cortex_core.exchange.from_onnx.value import Mixed, Value, shown


@operator("BatchNormalization", since=(7, 9, 14, 15))
def batch_normalization(at: At) -> Value:
    """By the moving mean and variance, as in prediction."""
    at.expect("training_mode", 0)
    x = at.value()
    names = ("scale", "shift", "moving_mean", "moving_variance")
    weights = dict(zip(names, (at.weights(i) for i in range(1, 5))))
    fields = {"epsilon": at.attribute("epsilon", 1e-5), "momentum": at.attribute("momentum", 0.9)}
    if at.version < 9 and not at.attribute("spatial", 1):
        lying = at.plain(x)
        shaped = {name: w.reshape([n or 0 for n in lying.shape]) for name, w in weights.items()}
        return at.put("batch_norm", lying, weights=shaped, mode="elementwise", **fields)
    return at.put("batch_norm", at.channels_last(x) if x.rank > 1 else x, weights=weights, **fields)


@operator("InstanceNormalization", since=(6, 22))
def instance_normalization(at: At) -> Value:
    x = at.value()
    weights = {"scale": at.weights(1), "shift": at.weights(2)}
    fields = {"groups": len(weights["scale"]), "epsilon": at.attribute("epsilon", 1e-5)}
    return at.put("group_norm", at.channels_last(x), weights=weights, **fields)


@operator("GroupNormalization", since=(18, 21))
def group_normalization(at: At) -> Value:
    """Scale and bias of each group before opset 21, of each channel from there on."""
    x, groups = at.value(), at.attribute("num_groups")
    at.attribute("stash_type", 1)
    channels = x.sizes[1]
    if not isinstance(channels, int) or channels % groups:
        raise Unfit(f"the channels of {shown(x)} do not divide into {groups} groups")
    each = channels // groups if at.version < 21 else 1
    weights = {name: np.repeat(at.weights(i), each) for i, name in enumerate(("scale", "shift"), 1)}
    fields = {"groups": groups, "epsilon": at.attribute("epsilon", 1e-5)}
    return at.put("group_norm", at.channels_last(x), weights=weights, **fields)


@operator("LayerNormalization", since=(17,))
def layer_normalization(at: At) -> Sequence[Value]:
    x, epsilon = at.value(), at.attribute("epsilon", 1e-5)
    at.attribute("stash_type", 1)
    axes, lying = _last_axes(at, x)
    weights = _of_elements(at, lying, len(axes), ("scale", "shift"))
    fields: dict[str, Any] = {"axes": len(axes), "epsilon": epsilon, "center": "shift" in weights}
    y = at.put("layer_norm", lying, weights=weights, **fields)
    return [y, *_moments(at, lying, axes, epsilon)] if any(at.wanted[1:]) else [y]


def _last_axes(at: At, x: Value) -> tuple[list[int], Value]:
    """The axes from the one that is told on, and the value with them behind all others."""
    first = x.axis(at.attribute("axis", -1))
    axes = [*range(first, x.rank)]
    if x.batch in axes:
        raise Mixed(f"axis is {first} of {shown(x)}: the examples stay apart here")
    return axes, at.lay(x, [*(a for a in range(first) if x.order[a] != 0), *axes])


def _of_elements(at: At, x: Value, count: int, names: Sequence[str]) -> dict[str, np.ndarray]:
    """The weights of each element of the last axes."""
    shape = [n or 0 for n in x.shape[-count:]]
    given = [(name, at.weights(i)) for i, name in enumerate(names, 1) if at.has(i)]
    return {name: np.ascontiguousarray(np.broadcast_to(w, shape)) for name, w in given}


def _moments(at: At, x: Value, axes: Sequence[int], epsilon: float) -> list[Value]:
    """The mean, and 1 / sqrt(variance + epsilon)."""
    here = sorted(x.order[a] or 0 for a in axes)
    mean = at.put("mean", x, part="mean", axes=here, keepdims=True)
    centred = at.put("subtract", [x, mean], part="centred")
    squares = at.put("power", centred, part="squares", exponent=2)
    variance = at.put("mean", squares, part="variance", axes=here, keepdims=True)
    wide = at.put("scale", variance, part="variance_epsilon", offset=epsilon)
    return [mean, at.put("power", wide, part="inverse_deviation", exponent=-0.5)]


@operator("RMSNormalization", since=(23,))
def rms_normalization(at: At) -> Value:
    x, epsilon = at.value(), at.attribute("epsilon", 1e-5)
    at.attribute("stash_type", 1)
    axes, lying = _last_axes(at, x)
    weights = _of_elements(at, lying, len(axes), ("scale",))
    return at.put("rms_norm", lying, weights=weights, axes=len(axes), epsilon=epsilon)


@operator("LRN", since=(1, 13))
def local_response_normalization(at: At) -> Value:
    """alpha stands before the mean there, before the sum here."""
    size = at.attribute("size")
    fields = {"size": size, "alpha": at.attribute("alpha", 1e-4) / size, "beta": at.attribute("beta", 0.75)}
    kind = "local_response_normalization"
    return at.put(kind, at.channels_last(at.value()), k=at.attribute("bias", 1.0), **fields)


@operator("LpNormalization", since=(1, 22))
def lp_normalization(at: At) -> Value:
    """x by its length along an axis, 0 where that is 0."""
    x, p = at.value(), at.expect("p", 2, 1)
    axis = x.axis(at.attribute("axis", -1))
    if x.batch == axis:
        raise Mixed(f"axis is {axis}: the examples stay apart here")
    lying = at.plain(x)
    here = lying.order[axis] or 0
    if p == 2:
        return at.put("unit_norm", lying, axis=-1 if here == len(lying.shape) else here)
    size = at.put("sum", magnitude(at, lying, "magnitude"), part="size", axes=[here], keepdims=True)
    return together(at, "divide", [lying, at.put("clip", size, part="size_above_0", minimum=1e-30)])


@operator("MeanVarianceNormalization", since=(9, 13))
def mean_variance_normalization(at: At) -> Value:
    """Over several axes, without weights."""
    x = at.value()
    axes = sorted(x.axis(a) for a in at.attribute("axes", [0, 2, 3]))
    if x.batch in axes:
        raise Mixed(f"axes are {axes}: the examples along axis {x.batch} stay apart here")
    lying = at.lay(x, [*(a for a in range(x.rank) if a not in axes and x.order[a] != 0), *axes])
    lead = lying.shape[: len(lying.shape) - len(axes)]
    shape = [*lead, joined(lying.shape[len(lead) :])]
    flat = at.reshape(lying, shape, tuple(range(len(shape) + 1)), "flat")
    y = at.put("layer_norm", flat, epsilon=1e-9, scale=False, center=False)
    return at.reshape(y, lying.shape, lying.order, "shape")
