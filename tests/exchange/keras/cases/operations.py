"""Operations: what `x + 3.0` and functions of `keras.ops` write."""

from __future__ import annotations

from typing import Any

from tests.exchange.keras.cases.table import BOTH, LINE, PICTURE, Call, among, case, together


def operation(names: str, *shapes: Any, call: Call = lambda op, *xs: op(*xs), **settings: Any) -> None:
    """Registers a case for each of these, whose settings are what is no operand."""
    named = " ".join(f"ops.{name}" for name in names.split())
    case(named, *shapes, how={"call": call, "module": "keras.src.ops"}, **settings)


def _positive(op: Any, x: Any) -> Any:
    import keras

    return op(keras.ops.abs(x) + 0.5)


def _with_numbers(op: Any, x: Any, *others: Any) -> Any:
    return op(op(1.5, x), *others) if others else op(op(x, 0.25), -0.5)


def _truth(x: Any) -> Any:
    """True here and there."""
    import keras

    return keras.ops.not_equal(keras.ops.relu(x - 1.0), 0)


def _of_truths(op: Any, *xs: Any) -> Any:
    import keras

    return keras.ops.cast(op(*map(_truth, xs)), "float32")


def _constant(op: Any, x: Any) -> Any:
    import keras

    beside = keras.ops.logical_and if "ones" in op.name else keras.ops.logical_or
    return keras.ops.cast(beside(op(x), _truth(x)), "float32")


def _compared(op: Any, x: Any) -> Any:
    import keras

    return keras.ops.cast(op(keras.ops.relu(x), 0), "float32")


OF_ONE = (
    "Abs Absolute Exp HardSigmoid HardSilu HardTanh LogSigmoid Negative Relu Relu6 Selu Sigmoid Silu "
    "Softplus Softsign SparsePlus SparseSigmoid Square StopGradient Tanh TanhShrink Copy"
)
operation(OF_ONE, LINE)
operation(
    "ConvertToTensor",
    LINE,
    dtype=among(None, "float32"),
    sparse=among(None, False),
    ragged=among(None, False),
)
operation("Celu Elu", LINE, alpha=among(1.0, 0.5))
operation("Gelu", LINE, approximate=BOTH)
operation("LeakyRelu", LINE, negative_slope=among(0.2, 0.05))
operation("HardShrink SoftShrink", LINE, threshold=among(0.5, 0.2))
operation("Softmax LogSoftmax", LINE, axis=among(-1, 1))
operation("Squareplus", LINE, b=among(4, 1.0))
operation(
    "ReLU", LINE, threshold=among(0.0, 0.5), negative_slope=among(0.0, 0.1), max_value=among(None, 6.0, 1.0)
)
operation("Reciprocal Rsqrt Sqrt", LINE, call=_positive)
operation("Add Subtract Multiply Divide TrueDivide Maximum Minimum", LINE, (LINE, LINE), call=_with_numbers)
operation("Clip", LINE, x_min=among(-0.5, 0.0), x_max=among(0.5, 6.0))
operation("Power", LINE, call=lambda op, x: op(x, 2))
operation("Mean Sum", PICTURE, axis=among((1, 2), -1, 1), keepdims=BOTH)
operation("Concatenate", (LINE, LINE), call=together, axis=among(-1, 1))
operation("Cast", LINE, dtype="float32")
operation("ExpandDims", LINE, axis=among(1, 2, -1))
operation("NotEqual", LINE, call=_compared)
operation("Any", LINE, call=lambda op, x: _of_truths(op, x - 0.5), axis=among(1, -1), keepdims=BOTH)
operation("LogicalAnd LogicalOr", (LINE, LINE), call=_of_truths)
operation("OnesLike ZerosLike", LINE, call=_constant, dtype="bool")
