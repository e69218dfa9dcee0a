"""What `x + 3.0` and calls of single functions become in a file of Keras 3: operations without weights."""

from __future__ import annotations

from typing import Any

from cortex_core.exchange.keras.arithmetic import Operation, translated
from cortex_core.exchange.keras.at import At, Result, translates
from cortex_core.exchange.keras.value import Value

FIRST_OPERANDS = ("condition", "x", "x1", "a", "input", "features", "value", "values", "input_tensor", "t")
SECOND_OPERANDS = ("y", "x2", "b", "bias", "xs", "inputs")
OPERANDS = FIRST_OPERANDS + SECOND_OPERANDS
"""Keywords under which operands come, those of the first before those of the second."""


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


def of_keras(at: At) -> Result:
    """An operation of Keras 3: its configuration has what it was made with."""
    told = {key: at.get(key) for key in at.layer.config if key != "name"}
    return translated(Operation(at, at.kind, operands(at), {**told, **options(at)}))


KERAS = (
    "Add Subtract Multiply Divide TrueDivide Power Maximum Minimum Clip Negative Square Sqrt Rsqrt Reciprocal"
    " Absolute Abs Exp Relu ReLU Relu6 LeakyRelu Elu Selu Celu Gelu Silu Sigmoid LogSigmoid HardSigmoid"
    " HardSilu Tanh TanhShrink HardTanh SoftShrink HardShrink Softplus Softsign Squareplus SparsePlus"
    " SparseSigmoid Softmax LogSoftmax StopGradient Cast ConvertToTensor Concatenate Copy"
    " Log Log1p Expm1 Sin Cos Erf"
)
translates(*(f"ops.{name}" for name in KERAS.split()))(of_keras)
