"""Which data types the operators of ONNX run in: opset 17 has these, and onnxruntime has them on a CPU."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from cortex_compute.types import DType, dtype
from cortex_core.exchange.to_onnx.types import code_of
from cortex_core.exchange.to_onnx.unsaid import Unsaid
from cortex_core.exchange.to_onnx.writer import Writer

FLOATS = frozenset({"float32", "float16", "float64"})
SHORT = frozenset({"float32", "float16"})
SUMMED = FLOATS | {"int32", "int64"}
BYTES = frozenset({"int8", "uint8"})
NUMBERS = SUMMED | BYTES | {"int16", "uint16", "uint32", "uint64"}
KERNELS = {
    **dict.fromkeys(("Add", "Sub", "Mul", "Div", "Abs"), NUMBERS),
    **dict.fromkeys(("Less", "LessOrEqual", "Greater", "GreaterOrEqual"), NUMBERS),
    **dict.fromkeys(("Max", "Min"), NUMBERS - {"int16", "uint16"}),
    **dict.fromkeys(("Pow", "ReduceSum", "ReduceMean", "ReduceProd", "CumSum"), SUMMED),
    **dict.fromkeys(("ReduceMax", "ReduceMin", "ArgMax", "ArgMin"), SUMMED | BYTES),
    **dict.fromkeys(("Floor", "Relu", "Neg", "Exp", "Log", "Sqrt", "Tanh", "Sigmoid", "Sin", "Cos"), FLOATS),
    **dict.fromkeys(("Reciprocal", "Softmax", "LogSoftmax", "LayerNormalization", "Gemm"), FLOATS),
    **dict.fromkeys(("Erf", "Atanh", "Conv", "ConvTranspose"), SHORT),
    **dict.fromkeys(("AveragePool", "GlobalAveragePool", "GlobalMaxPool"), SHORT),
    "BatchNormalization": FLOATS,
    "IsInf": FLOATS - {"float16"},
    "MatMul": SUMMED | {"uint32", "uint64"},
    "MaxPool": FLOATS | BYTES,
    "Pad": NUMBERS - {"int16", "uint16"} | {"bool"},
    "TopK": NUMBERS - {"uint16", "uint32", "uint64"},
    "Where": NUMBERS - {"int16", "uint16", "uint64"},
}
"""Operators that are not here take all types."""
WIDER = ("int32", "int64", "float32", "float64")


def running(op: str, d: DType) -> DType:
    """The data type itself, or the first one that holds its numbers and that ``op`` runs in.

    Raises `Unsaid` where there is none.
    """
    known = KERNELS.get(op)
    if known is None or d.name in known:
        return d
    for name in WIDER:
        wide = dtype(name)
        if name in known and wide.itemsize > d.itemsize and np.can_cast(d.storage, wide.storage):
            return wide
    raise Unsaid(f"onnxruntime has no {op} of {d.name}", way="cast to float32 or int32 before it, by `cast`")


def run(
    w: Writer, op: str, d: DType, operands: Sequence[str], *more: str, back: bool = True, **fields: Any
) -> str:
    """A node over ``operands`` of one data type, in a wider one where it has to be; ``more`` are as they are.

    ``back``: whether the result is of their type too.
    """
    wide = running(op, d)
    given = [cast(w, name, d, wide) for name in operands]
    made = w.emit(op, *given, *more, **fields)
    return cast(w, made, wide, d) if back else made


def cast(w: Writer, name: str, given: DType, wanted: DType) -> str:
    """The same numbers in another data type."""
    return name if given is wanted else w.emit("Cast", name, to=code_of(wanted))
