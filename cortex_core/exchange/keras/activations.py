"""Activations: as layers of their own, and as fields of others."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from cortex_core.exchange.build import Unfit
from cortex_core.exchange.keras.at import At, translates
from cortex_core.exchange.keras.value import Value

Written = tuple[str, dict[str, Any]]
"""What a description says of an activation: its name, and its fields."""

LINEAR: Written = ("linear", {})
ALONG = ("softmax", "log_softmax")
"""These work along an axis, the others on each element by itself."""
NAMED: dict[str, Written] = {
    **{name: (name, {}) for name in ("relu", "relu6", "elu", "selu", "celu", "gelu", "silu", "mish")},
    **{name: (name, {}) for name in ("sigmoid", "tanh", "softplus", "softsign", "softmax", "log_softmax")},
    **{name: (name, {}) for name in ("log_sigmoid", "hard_tanh", "tanh_shrink", "soft_shrink")},
    **{name: (name, {}) for name in ("hard_shrink", "squareplus", "sparse_plus", "exponential")},
    "linear": LINEAR,
    "log_softmax_v2": ("log_softmax", {}),  # as tf.keras 2.6 to 2.12 writes it
    "swish": ("silu", {}),
    "leaky_relu": ("leaky_relu", {"slope": 0.2}),
    "hard_sigmoid": ("hard_sigmoid", {}),
    "hard_sigmoid_0.2": ("hard_sigmoid", {"slope": 0.2}),
    "hard_silu": ("hard_swish", {}),
    "hard_swish": ("hard_swish", {}),
    "sparse_sigmoid": ("hard_sigmoid", {"slope": 0.5}),
}
"""What Keras's functions of these names are, called with nothing but a value."""


def rectifier(maximum: float | None, slope: float, threshold: float) -> Written:
    """A relu, in the plainest of our words that say it."""
    if maximum is None and not threshold:
        return ("leaky_relu", {"slope": float(slope)}) if slope else ("relu", {})
    if maximum == 6 and not slope and not threshold:
        return "relu6", {}
    limits = {"maximum": maximum, "slope": float(slope), "threshold": float(threshold)}
    return "clipped_relu", {name: value for name, value in limits.items() if value is not None}


Get = Callable[..., Any]
LAYERS: dict[str, Callable[[Get], Written]] = {
    "ReLU": lambda get: rectifier(
        get("max_value", None), get("negative_slope", 0.0) or 0.0, get("threshold", 0.0) or 0.0
    ),
    "LeakyReLU": lambda get: rectifier(None, get("negative_slope", 0.3), 0.0),
    "ThresholdedReLU": lambda get: rectifier(None, 0.0, get("theta", 1.0)),
    "ELU": lambda get: ("elu", {"alpha": float(get("alpha", 1.0))}),
    "Softmax": lambda get: ("softmax", {"axis": _axis(get("axis", -1))}),
    "Activation": lambda get: written(get("activation", "linear")),
}
"""What Keras's layers of these classes are; ``get`` reads their configuration."""


def written(given: Any) -> Written:
    """What a description says for an activation in a configuration: a name, or a layer.  Raises `Unfit`."""
    if given is None:
        return LINEAR
    if isinstance(given, Mapping):
        kind, config = given.get("class_name"), given.get("config") or {}
        if kind not in LAYERS or not isinstance(config, Mapping):
            raise Unfit(f"its activation is {kind!r:.60}; supported as an activation: {', '.join(LAYERS)}")
        return LAYERS[kind](lambda key, default: config.get(key, default))
    if given not in NAMED:
        raise Unfit(f"its activation is {given!r:.60}; supported: {', '.join(sorted(NAMED))}")
    return NAMED[given]


def activation(at: At, key: str = "activation", moved: bool = False) -> Any:
    """What the field ``activation`` of a layer of ours says for one in the configuration; None for linear.

    ``moved``: the channels of what it is applied to are last here, and not in Keras.
    """
    name, fields = written(at.get(key, None))
    if moved and name in ALONG:
        raise Unfit(f"{name} along the last axis of a value whose channels are first is not supported here")
    if name == "linear":
        return None
    return {name: fields} if fields else name


def applied(at: At, found: Written, x: Value, part: str = "") -> Value:
    """The activation as a layer; linear is none."""
    name, fields = found
    if name == "linear":
        return x
    return at.put(name, at.plain(x) if name in ALONG else x, part=part, **fields)


@translates(*LAYERS, masks=True)
def activation_layer(at: At) -> Value:
    """A layer that only activates."""
    x = at.any()
    if at.kind == "Softmax" and (x.mask or at.keyword("mask") is not None):
        raise Unfit("a softmax over the valid steps of a masked value is not supported")
    return applied(at, LAYERS[at.kind](at.get), x)


@translates("PReLU", masks=True)
def prelu(at: At) -> Value:
    """Slopes have the shape of an example, with 1 along axes that share them."""
    x = at.any()
    at.get("shared_axes", None)
    (slope,) = at.arrays("alpha")
    if slope.ndim != len(x.shape):
        raise Unfit(f"alpha has shape {[*slope.shape]}; its input is {[*x.shape]}")
    slope = np.moveaxis(slope, 0, -1) if x.moved else slope
    if x.there[-1] == slope.shape[-1] == slope.size:
        return at.put("prelu", x, weights={"slope": slope.reshape(-1)})
    pairs = enumerate(zip(slope.shape, x.there), 1)
    shared = [axis for axis, (mine, all_) in pairs if mine == 1 and all_ != 1]
    return at.put("prelu", x, weights={"slope": slope}, per="element", shared=shared or None)


def _axis(given: Any) -> int:
    """An axis, which may stand in a list of one."""
    found = given[0] if isinstance(given, (list, tuple)) and len(given) == 1 else given
    if not isinstance(found, int):
        raise Unfit(f"axis is {given!r:.60}; one axis is supported")
    return found
