"""Layers that Keras 1 had, and no version after it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from cortex_core.exchange.build import Unfit
from cortex_core.exchange.keras.activations import activation
from cortex_core.exchange.keras.at import At, translates
from cortex_core.exchange.keras.core import free
from cortex_core.exchange.keras.model import Layer
from cortex_core.exchange.keras.value import Value

OF_PENALTIES = ("_regularizer", "_constraint")


@translates("Highway")
def highway(at: At) -> Value:
    """t h(x) + (1 - t) x = x + t (h(x) - x), with a gate t for each feature.   Srivastava et al., 2015"""
    x = at.one()
    at.get("transform_bias", None)  # the first bias of the gate
    at.get("use_bias", True)  # the arrays tell it
    units = x.shape[-1]
    names = ["kernel", "gate_kernel"] if at.left() == 2 else ["kernel", "gate_kernel", "bias", "gate_bias"]
    if len(at.layer.weights) == 4 and len(at.layer.weights[1].shape) == 1:  # of the first versions
        names = ["kernel", "bias", "gate_kernel", "gate_bias"]
    arrays = dict(zip(names, at.arrays(*names)))
    own: dict[str, np.ndarray] = {name: arrays[name] for name in ("kernel", "bias") if name in arrays}
    gate = {name: arrays[f"gate_{name}"] for name in own}
    fields: dict[str, Any] = {"units": units, "use_bias": "bias" in own}
    h = at.put("dense", x, part="transform", weights=own, activation=activation(at), **fields)
    t = _unpenalised(at).put("dense", x, part="gate", weights=gate, activation="sigmoid", **fields)
    change = at.put("subtract", [h, x], part="change")
    return at.put("add", [x, at.put("multiply", [t, change], part="share")])


def _unpenalised(at: At) -> At:
    """The same call, for weights that the regularizers of the configuration do not mean."""
    config = {key: value for key, value in at.layer.config.items() if not key.endswith(OF_PENALTIES)}
    return at.within(Layer(at.layer.name, at.kind, config, ()))


@translates("MaxoutDense")
def maxout_dense(at: At) -> Value:
    """The largest of several dense layers, for each unit.   Goodfellow et al., 2013"""
    x, units, count = at.one(), at.get("units"), at.get("nb_feature", 4)
    at.get("use_bias", True)  # the arrays tell it
    names = ("kernel", "bias")[: at.left()]
    arrays = dict(zip(names, at.arrays(*(names or ("kernel",)))))
    kernel = arrays["kernel"]
    if kernel.ndim != 3:
        raise Unfit(f"its kernel has shape {[*kernel.shape]}; expected 3 axes")
    weights: dict[str, np.ndarray] = {"kernel": kernel.transpose(1, 0, 2).reshape(kernel.shape[1], -1)}
    weights |= {name: array.reshape(-1) for name, array in arrays.items() if name == "bias"}
    fields = {"units": count * units, "use_bias": "bias" in weights}
    y = at.put("dense", x, part="all", weights=weights, **fields)
    y = at.put("reshape", y, part="each", shape=[count, units])
    return at.put("global_max_pool1d", y)


@translates("ParametricSoftplus", masks=True)
def parametric_softplus(at: At) -> Value:
    """alpha log(1 + exp(beta x)), with an alpha and a beta for each element.   McFarland et al., 2013"""
    x = at.one()
    for key in ("alpha_init", "beta_init", "alpha_initializer", "beta_initializer", "shared_axes"):
        at.get(key, None)
    alpha, beta = at.arrays("alpha", "beta")
    found = _scaled(at, x, beta, "beta")
    found = at.put("softplus", found, part="softplus")
    return replace(_scaled(at, found, alpha, ""), mask=x.mask)


def _scaled(at: At, x: Value, factor: np.ndarray, part: str) -> Value:
    """The product with a learned factor for each element, or for each channel."""
    if factor.size == factor.shape[-1] == x.shape[-1]:
        return at.put("layer_scale", x, part=part, weights={"scale": factor.reshape(-1)})
    if factor.shape != x.shape:
        raise Unfit(f"its factors have shape {[*factor.shape]}, its input {[*x.shape]}: not supported")
    y = at.put("flatten", x, part=f"{part or 'alpha'}_elements")
    y = at.put("layer_scale", y, part=part or "alpha", weights={"scale": factor.reshape(-1)})
    return at.put("reshape", y, part=f"{part}_shape" if part else "", shape=free(x.shape))


@translates("Merge")
def cosine(at: At) -> Value:
    """The cosine of two vectors, as (B, 1, 1); what else a Merge may be has classes of its own."""
    given: Any = at.several()
    at.expect("mode", "cos")
    at.get("arguments", None)  # of functions
    axes = at.get("dot_axes", -1)
    if len(given) != 2 or any(len(x.shape) != 1 for x in given) or axes not in (-1, 1, [1, 1], [-1, -1]):
        shapes = ", ".join(str([*x.shape]) for x in given)
        raise Unfit(f"the cosine along axes {axes!r:.40} of {shapes}; supported: of two vectors")
    y = at.put("dot", given, part="cosine", axes=[1, 1], normalize=True)
    return at.put("reshape", y, shape=[1, 1])
