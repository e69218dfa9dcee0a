"""Activations: as layers of their own, and as fields of others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cortex_compute.frozen import frozen
from cortex_core.exchange.to_keras.at import At, Unfit, exports
from cortex_core.exchange.to_keras.graph import LAYERS, Layer, Tensor

NAMES = {
    **{name: name for name in ("linear", "relu", "relu6", "selu", "gelu", "silu", "sigmoid", "tanh", "mish")},
    **{name: name for name in ("softplus", "softsign", "exponential", "hard_tanh", "log_sigmoid")},
    **{name: name for name in ("tanh_shrink", "sparse_plus")},
    "hard_swish": "hard_silu",
}
"""What has a name in Keras, and no fields."""


@frozen
class Function:
    """A function of Keras that no ``activation`` field can name: an operation with a configuration."""

    kind: str
    config: dict[str, Any]


Written = str | Layer | Function


def written(activation: Any) -> Written:
    """What Keras has for an activation: a name, a layer, or a function."""
    kind = "linear" if activation is None else activation.kind
    if kind in NAMES:
        return NAMES[kind]
    found: Written = PARAMETRIC[kind](activation)
    return found


def _layer(kind: str, **config: Any) -> Layer:
    return Layer(kind.lower(), LAYERS, kind, config)


def _named(name: str, is_default: bool, otherwise: Layer | Function) -> Written:
    return name if is_default else otherwise


def _hard_sigmoid(a: Any) -> str | Function:
    known = {1 / 6: "hard_sigmoid", 0.5: "sparse_sigmoid"}
    return known.get(a.slope) or Function("HardSigmoid", {"slope": a.slope})


def _rectifier(a: Any) -> Layer:
    return _layer("ReLU", max_value=a.maximum, negative_slope=a.slope, threshold=a.threshold)


PARAMETRIC: dict[str, Callable[[Any], Written]] = {
    "leaky_relu": lambda a: _layer("LeakyReLU", negative_slope=a.slope),
    "elu": lambda a: _named("elu", a.alpha == 1, _layer("ELU", alpha=a.alpha)),
    "clipped_relu": _rectifier,
    "softmax": lambda a: _named("softmax", a.axis == -1, _layer("Softmax", axis=a.axis)),
    "log_softmax": lambda a: _named("log_softmax", a.axis == -1, Function("LogSoftmax", {"axis": a.axis})),
    "hard_sigmoid": _hard_sigmoid,
    "gelu_tanh": lambda a: Function("Gelu", {"approximate": True}),
    "celu": lambda a: _named("celu", a.alpha == 1, Function("Celu", {"alpha": a.alpha})),
    "soft_shrink": lambda a: _shrunk("soft_shrink", "SoftShrink", a.threshold),
    "hard_shrink": lambda a: _shrunk("hard_shrink", "HardShrink", a.threshold),
    "squareplus": lambda a: _named("squareplus", a.b == 4, Function("Squareplus", {"b": a.b})),
}
"""What has fields: by kind, what Keras has for one."""


def _shrunk(name: str, kind: str, threshold: float) -> Written:
    return _named(name, threshold == 0.5, Function(kind, {"threshold": threshold}))


def inner(layer: Any, field: str) -> str | Layer:
    """The activation in a field of a layer that has it inside of one of Keras.  Raises `Unfit`."""
    activation = getattr(layer, field)
    found = written(activation)
    if isinstance(found, Function):
        told = f"{activation.kind}, which {layer.kind} has inside, is no activation of Keras as it is"
        raise Unfit(
            f"{told}; train it with another {field}, such as tanh, sigmoid, hard_sigmoid of slope 1/6"
        )
    return found


def ending(at: At) -> str | Layer:
    """The ``activation`` of a layer of Keras; linear where `behind` has to follow."""
    found = written(at.layer.activation)
    return "linear" if isinstance(found, Function) else found


def behind(at: At, y: Tensor) -> Tensor:
    """What the activation in the field makes of y, unless `ending` has said it already."""
    found = written(at.layer.activation)
    return applied(at, found, y, "activation") if isinstance(found, Function) else y


def applied(at: At, found: Written, y: Tensor, part: str = "") -> Tensor:
    """An activation as a layer, or as functions."""
    kept: dict[str, Any] = {"shape": y.shape, "part": part}
    if isinstance(found, str):
        return at.put("Activation", y, activation=found, **kept)
    if isinstance(found, Layer):
        return at.put(found.kind, y, **kept, **found.config)
    if found.kind != "HardSigmoid":
        return at.op(found.kind, y, module="nn", **kept, **found.config)
    line = at.put("Rescaling", y, part="line", shape=y.shape, scale=found.config["slope"], offset=0.5)
    return at.op("Clip", line, **kept, x_min=0.0, x_max=1.0)


@exports(*NAMES, to="`Activation` of that name")
def of_a_name(at: At) -> Tensor:
    return applied(at, written(at.layer), at.x)


@exports(
    *PARAMETRIC,
    to="`Activation`, `LeakyReLU`, `ELU`, `ReLU`, `Softmax`, or the function of `keras.ops`",
    refuses="in recurrent layers what is a function there: `gelu_tanh`, `hard_sigmoid` but of 1/6 and 1/2",
)
def of_fields(at: At) -> Tensor:
    return applied(at, written(at.layer), at.x)
