"""Activations, and softmax along an axis."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cortex_core.exchange.build import Unfit
from cortex_core.exchange.from_onnx.at import At
from cortex_core.exchange.from_onnx.layers import joined
from cortex_core.exchange.from_onnx.operators import operator
from cortex_core.exchange.from_onnx.value import Mixed, Value

Written = tuple[str, dict[str, Any]]
PLAIN = {
    **{"Relu": "relu", "Sigmoid": "sigmoid", "Tanh": "tanh", "Exp": "exponential", "Softplus": "softplus"},
    **{"Softsign": "softsign", "HardSwish": "hard_swish", "Mish": "mish"},
}


@operator("Relu", since=(6, 13, 14))
@operator("Sigmoid", "Tanh", "Exp", since=(6, 13))
@operator("Softplus", "Softsign", since=(1, 22))
@operator("HardSwish", since=(14, 22))
@operator("Mish", since=(18, 22))
def plain(at: At) -> Value:
    return at.put(PLAIN[at.op], at.value())


def rectifier(at: At) -> Written:
    return "leaky_relu", {"slope": at.attribute("alpha", 0.01)}


def elu(at: At) -> Written:
    return "elu", {"alpha": at.attribute("alpha", 1.0)}


def celu(at: At) -> Written:
    return "celu", {"alpha": at.attribute("alpha", 1.0)}


def gelu(at: At) -> Written:
    return {"none": "gelu", "tanh": "gelu_tanh"}[at.expect("approximate", "none", "tanh")], {}


def thresholded(at: At) -> Written:
    return "clipped_relu", {"threshold": at.attribute("alpha", 1.0)}


FIELDS: dict[str, Callable[[At], Written]] = {
    **{"LeakyRelu": rectifier, "Elu": elu, "Celu": celu, "Gelu": gelu, "ThresholdedRelu": thresholded},
}


@operator("LeakyRelu", since=(6, 16))
@operator("Elu", since=(6, 22))
@operator("Celu", since=(12, 28))
@operator("Gelu", since=(20,))
@operator("ThresholdedRelu", since=(10, 22))
def with_fields(at: At) -> Value:
    kind, fields = FIELDS[at.op](at)
    return at.put(kind, at.value(), **fields)


@operator("Selu", since=(6, 22))
def selu(at: At) -> Value:
    """gamma elu(x), with the numbers of our selu unless others are given."""
    alpha, gamma = at.attribute("alpha", 1.6732632), at.attribute("gamma", 1.0507009)
    if abs(alpha - 1.6732632) < 1e-4 and abs(gamma - 1.0507009) < 1e-4:
        return at.put("selu", at.value())
    return at.put("scale", at.put("elu", at.value(), part="elu", alpha=alpha), factor=gamma)


@operator("HardSigmoid", since=(6, 22))
def hard_sigmoid(at: At) -> Value:
    """min(max(alpha x + beta, 0), 1)."""
    alpha, beta = at.attribute("alpha", 0.2), at.attribute("beta", 0.5)
    if beta == 0.5:
        return at.put("hard_sigmoid", at.value(), slope=alpha)
    return at.put(
        "clip", at.put("scale", at.value(), part="line", factor=alpha, offset=beta), minimum=0, maximum=1
    )


@operator("Swish", since=(24,))
def swish(at: At) -> Value:
    """x sigmoid(alpha x)."""
    x, alpha = at.value(), at.attribute("alpha", 1.0)
    if alpha == 1:
        return at.put("silu", x)
    gate = at.put("sigmoid", at.put("scale", x, part="steeper", factor=alpha), part="gate")
    return at.put("multiply", [x, gate])


@operator("Shrink", since=(9,))
def shrink(at: At) -> Value:
    """x nearer to 0 by the bias, where |x| is more than lambd; 0 elsewhere."""
    limit, bias = at.attribute("lambd", 0.5), at.attribute("bias", 0.0)
    if bias not in (0, limit):
        raise Unfit(f"bias is {bias:g}, lambd {limit:g}; supported is a bias of 0, or as lambd")
    return at.put("soft_shrink" if bias else "hard_shrink", at.value(), threshold=limit)


@operator("PRelu", since=(7, 9, 16))
def prelu(at: At) -> Value:
    """Slopes for each channel become those of the layer; others those of elements, that may share them."""
    x, slope = at.value(), at.weights(1)
    slope = slope.reshape((1,) * (x.rank - slope.ndim) + slope.shape)
    varying = [a for a in range(x.rank) if slope.shape[a] > 1]
    if slope.ndim > x.rank or x.batch in varying:
        raise Unfit(f"its slopes have the shape {[*slope.shape]}; expected one for each element or channel")
    lying = (
        at.plain(x) if len(varying) != 1 else at.lay(x, [*(a for a in x.lying if a not in varying), *varying])
    )
    if len(varying) == 1:
        return at.put("prelu", lying, weights={"slope": slope.reshape(-1)})
    shape = [slope.shape[a] for a in lying.lying]
    shared = [i for i, n in enumerate(shape, 1) if n == 1]
    return at.put("prelu", lying, weights={"slope": slope.reshape(shape)}, per="element", shared=shared)


@operator("Softmax", "LogSoftmax", since=(1, 11, 13))
def softmax(at: At) -> Value:
    """Along an axis; before opset 13 along all axes from one on."""
    x, kind = at.value(), {"Softmax": "softmax", "LogSoftmax": "log_softmax"}[at.op]
    axis = x.axis(at.attribute("axis", -1 if at.version >= 13 else 1))
    together = [axis] if at.version >= 13 else [*range(axis, x.rank)]
    if x.batch in together:
        raise Mixed(f"axis is {axis}: the examples along axis {x.batch} stay apart here")
    if len(together) == 1:
        lying = at.lay(x, [*(a for a in x.lying if a != axis), axis])
        return at.put(kind, lying)
    return _together(at, kind, x, together)


def _together(at: At, kind: str, x: Value, axes: list[int]) -> Value:
    """Along several axes as if they were one."""
    others = [a for a in range(x.rank) if a not in axes and x.order[a] != 0]
    lying = at.lay(x, [*others, *axes])
    kept = lying.shape[: len(others)]
    flat = at.reshape(lying, [*kept, joined(lying.shape[len(kept) :])], tuple(range(len(kept) + 2)), "joined")
    return at.reshape(at.put(kind, flat), lying.shape, lying.order, "apart")
