"""What `x + 3.0` and calls of single functions become in a file: operations without weights.

Keras 3 writes them as ``ops.Add``, tf.keras as TFOpLambda with the name of a function, its first versions as
TensorFlowOpLayer with a node of TensorFlow's graph.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

from cortex_core.exchange.keras.arithmetic import Operation, translated
from cortex_core.exchange.keras.at import At, translates
from cortex_core.exchange.keras.build import Unfit, Value

FIRST_OPERANDS = ("x", "x1", "a", "input", "features", "value", "values", "input_tensor", "t")
SECOND_OPERANDS = ("y", "x2", "b", "bias", "xs")
OPERANDS = FIRST_OPERANDS + SECOND_OPERANDS
"""Keywords under which operands come, those of the first before those of the second."""

OF_TYPES = ("T", "Tidx", "SrcT", "N")
"""Attributes of nodes that tell of the types and of the number of operands."""


def operands(at: At) -> list[Any]:
    """Values and numbers that a function is called with, in order; those of a list one by one."""
    found: list[Any] = []
    for x in (*at.inputs, *map(at.keyword, OPERANDS)):
        several = isinstance(x, (list, tuple)) and any(isinstance(part, Value) for part in x)
        found += x if several else [] if x is None else [x]
    return found


def options(at: At) -> dict[str, Any]:
    """What else it is called with."""
    return {key: at.keyword(key) for key in at.keywords if key not in OPERANDS}


@translates("TFOpLambda")
def function_of_tensorflow(at: At) -> Value:
    return translated(Operation(at, str(at.get("function")), operands(at), options(at)))


@translates("TensorFlowOpLayer")
def node_of_tensorflow(at: At) -> Value:
    """``constants`` are operands by their places among all."""
    node = at.get("node_def")
    if not isinstance(node, Mapping) or "op" not in node:
        raise Unfit("its node_def is text, which is not read")
    values, constants = operands(at), at.get("constants", None) or {}
    places = [str(place) for place in range(len(values) + len(constants))]
    if not isinstance(constants, Mapping) or not {str(key) for key in constants} <= {*places}:
        raise Unfit(f"its constants are {constants!r:.60}; expected operands by their places: {places}")
    told = {str(key): value for key, value in constants.items()}
    ordered = [told[place] if place in told else values.pop(0) for place in places]
    return translated(Operation(at, str(node["op"]), ordered, _of_node(node.get("attr") or {})))


def _of_node(attributes: Any) -> dict[str, Any]:
    """The attributes of a node, which stand as ``{"keep_dims": {"b": true}}``."""
    if not isinstance(attributes, Mapping):
        raise Unfit(f"its attributes are {attributes!r:.60}; expected a mapping")
    told = {key: x for key, x in attributes.items() if key not in OF_TYPES and not key.startswith("_")}
    return {key: _attribute(x) for key, x in told.items()}


def _attribute(said: Mapping[str, Any]) -> Any:
    """A flag, a number or a name; text is in base64."""
    ((kind, value),) = said.items()
    return base64.b64decode(value).decode() if kind == "s" else value


def of_keras(at: At) -> Value:
    """An operation of Keras 3: its configuration has what it was made with."""
    told = {key: at.get(key) for key in at.layer.config if key != "name"}
    return translated(Operation(at, at.kind, operands(at), {**told, **options(at)}))


KERAS = (
    "Add Subtract Multiply Divide TrueDivide Power Maximum Minimum Clip Negative Square Sqrt Rsqrt Reciprocal"
    " Absolute Abs Exp Relu ReLU Relu6 LeakyRelu Elu Selu Celu Gelu Silu Sigmoid LogSigmoid HardSigmoid"
    " HardSilu Tanh TanhShrink HardTanh SoftShrink HardShrink Softplus Softsign Squareplus SparsePlus"
    " SparseSigmoid Softmax LogSoftmax StopGradient Cast ConvertToTensor Mean Sum Concatenate Copy"
)
translates(*(f"ops.{name}" for name in KERAS.split()))(of_keras)
