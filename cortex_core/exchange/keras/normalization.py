"""Normalisation with learned numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from cortex_core.exchange.build import Unfit
from cortex_core.exchange.keras import translators
from cortex_core.exchange.keras.at import At, Result, translates
from cortex_core.exchange.keras.model import Layer, Weight
from cortex_core.exchange.keras.value import Value

Weights = dict[str, np.ndarray]
Fields = dict[str, Any]


OF_DEVIATIONS = (1, 0, 6)
"""The last version that kept the deviation of batches, on Theano; those before it did on both."""


def learned(at: At, *more: str) -> Weights:
    """gamma and beta where it has them, and further arrays, by our names."""
    scale, center = at.get("scale", True), at.get("center", True)
    names = [*(["scale"] if scale else []), *(["shift"] if center else []), *more]
    return dict(zip(names, at.arrays(*names)))


def axes_of(at: At, x: Value) -> list[int]:
    """The axes of the configuration, from 1, in order."""
    given, rank = at.get("axis", -1), len(x.shape) + 1
    axes = [given] if isinstance(given, int) else [*(given or ())]
    if not axes or any(not isinstance(a, int) or not 0 < a % rank == a + rank * (a < 0) for a in axes):
        raise Unfit(f"axis is {given!r:.60}; supported: 1 to {rank - 1}, or from the end")
    return sorted({a % rank for a in axes})


def along(at: At, kind: str, x: Value, axes: list[int], weights: Weights, fields: Fields) -> Value:
    """A layer of ours that works along the last axes, of a value whose ``axes`` these are in Keras."""
    rank = len(x.shape)
    if axes == [1] and rank > 1:
        return at.put(kind, at.last(x), weights=weights, **fields)
    x = at.plain(x)
    order = [*(a for a in range(1, rank + 1) if a not in axes), *axes]
    if order == sorted(order):
        return at.put(kind, x, weights=weights, **fields)
    turned = at.put("permute", x, part="turned", axes=order)
    found = at.put(kind, turned, weights=weights, part="norm", **fields)
    return at.put("permute", found, axes=[order.index(a) + 1 for a in range(1, rank + 1)])


@translates("BatchNormalization", masks=True)
def batch_normalization(at: At) -> Value:
    x = at.any()
    axes = axes_of(at, x)
    if len(axes) > 1:
        raise Unfit(f"axis is {axes}; one axis is supported")
    at.expect("renorm", False)
    at.get("renorm_momentum", None), at.get("renorm_clipping", None), at.get("fused", None)
    at.expect("virtual_batch_size", None)
    mode = at.get("mode", 0)
    if mode == 2:
        told = "it normalises predictions by the other examples of their batch"
        raise Unfit(f"mode is 2: {told}, which networks here never do; supported: 0, 1")
    if at.expect("mode", 0, 1) == 1:
        return _each_example(at, at.plain(x))
    if at.keyword("mask") is not None:
        at.notes.append(f"{at.path}: training follows all steps, also those that its mask leaves out")
    weights = learned(at, "moving_mean", "moving_variance")
    fields = {"momentum": at.get("momentum", 0.99), "epsilon": at.get("epsilon", 0.001)}
    if at.version <= OF_DEVIATIONS:
        weights["moving_variance"] = _variance(at, weights["moving_variance"], fields["epsilon"])
    return along(at, "batch_norm", x, axes, weights, fields | _has(weights))


def _variance(at: At, deviation: np.ndarray, epsilon: float) -> np.ndarray:
    """That of which the first versions kept the root: they divided by it plus epsilon."""
    if at.version == OF_DEVIATIONS:
        raise Unfit(
            "Keras 1.0.6 keeps a deviation on Theano, else a variance, and does not say on what it ran"
        )
    return np.asarray((deviation + epsilon) ** 2 - epsilon)


def _each_example(at: At, x: Value) -> Value:
    """Of Keras 1, mode 1: gamma (x - mean) / (s + epsilon) + beta, s = sqrt(variance + epsilon), with the
    mean and the variance of each example; epsilon stands in it twice."""
    epsilon, rank = at.get("epsilon", 0.001), len(x.shape)
    if rank != 1:
        raise Unfit(f"mode is 1, of {[*x.shape]}; supported are vectors")
    at.get("momentum", None)
    weights = dict(zip(("kernel", "bias"), at.arrays("gamma", "beta", "moving_mean", "moving_variance")))
    each: Fields = {"axes": [1], "keepdims": True}
    centred = at.put("subtract", [x, at.put("mean", x, part="mean", **each)], part="centred")
    squares = at.put("power", centred, part="squares", exponent=2)
    variance = at.put("mean", squares, part="variance", **each)
    wide = at.put("scale", variance, part="variance_epsilon", offset=epsilon)
    root = at.put("power", wide, part="root", exponent=0.5)
    divisor = at.put("scale", root, part="root_epsilon", offset=epsilon)
    y = at.put("divide", [centred, divisor], part="normalised")
    y = at.put("reshape", y, part="step", shape=[1, *x.shape])
    kernel = weights["kernel"].reshape(1, 1, -1)
    y = at.put("depthwise_conv1d", y, part="affine", kernel=1, weights={**weights, "kernel": kernel})
    return at.put("reshape", y, shape=[*x.shape])


def _has(weights: Weights) -> Fields:
    return {"scale": "scale" in weights, "center": "shift" in weights}


@translates("LayerNormalization", masks=True)
def layer_normalization(at: At) -> Value:
    x = at.any()
    at.expect("rms_scaling", False)
    axes, weights = axes_of(at, x), learned(at)
    fields = {"axes": len(axes), "epsilon": at.get("epsilon", 0.001), **_has(weights)}
    return along(at, "layer_norm", x, axes, weights, fields)


@translates("RMSNormalization")
def rms_normalization(at: At) -> Value:
    x = at.any()
    axes, (scale,) = axes_of(at, x), at.arrays("scale")
    fields = {"axes": len(axes), "epsilon": at.get("epsilon", 1e-6)}
    return along(at, "rms_norm", x, axes, {"scale": scale}, fields)


@translates("GroupNormalization", masks=True)
def group_normalization(at: At) -> Value:
    x = at.any()
    (axis, *others), groups, weights = axes_of(at, x), at.get("groups", 32), learned(at)
    if others:
        raise Unfit(f"axis is {[axis, *others]}; one axis is supported")
    channels = x.shape[axis - 1]
    fields = {"groups": channels if groups == -1 else groups, "epsilon": at.get("epsilon", 0.001)}
    return along(at, "group_norm", x, [axis], weights, fields | _has(weights))


@translates("UnitNormalization", masks=True)
def unit_normalization(at: At) -> Value:
    x = at.one()
    axis, *others = axes_of(at, x)
    if others:
        raise Unfit(f"axis is {[axis, *others]}; one axis is supported")
    return at.put("unit_norm", x, axis=-1 if axis == len(x.shape) else axis)


@translates("SpectralNormalization", masks=True)
def spectral_normalization(at: At) -> Result:
    """Its layer alone: the kernel in the file is the one that training normalised last."""
    at.get("power_iterations", None)
    told = at.get("layer")
    kind, config = (
        (told.get("class_name", ""), told.get("config")) if isinstance(told, Mapping) else ("", None)
    )
    translator = translators.find(kind)
    if translator is None or not isinstance(config, Mapping):
        raise Unfit(f"its layer is {kind!r:.60}, which is not known")
    inner = at.within(Layer(at.layer.name, kind, config, (), _without_vector(at.layer.weights)))
    found = translator(inner)
    unread = [*inner.unread()]
    if unread or inner.left():
        raise Unfit(f"its layer ({kind}) has {', '.join(unread) or 'more arrays'}, which is not supported")
    at.arrays(*(w.name for w in at.layer.weights))
    at.notes.append(f"{at.path}: training no longer normalises its kernel")
    return found


def _without_vector(weights: tuple[Weight, ...]) -> tuple[Weight, ...]:
    """The weights of the layer inside.  In archives the wrapper has the kernel too, before its vector."""
    rows = [i for i, w in enumerate(weights) if i and w.shape == (1, weights[0].shape[-1])]
    if not rows:
        raise Unfit("its vector_u is not in the file")
    before, behind = weights[: rows[-1]], weights[rows[-1] + 1 :]
    return behind if behind and behind[0].shape == weights[0].shape else before + behind
