"""Data types by ONNX's numbers."""

from __future__ import annotations

from cortex_compute.types import DType

_CODES = {
    **{"float32": 1, "uint8": 2, "int8": 3, "uint16": 4, "int16": 5, "int32": 6, "int64": 7, "bool": 9},
    **{"float16": 10, "float64": 11, "uint32": 12, "uint64": 13, "bfloat16": 16},
}


def code_of(d: DType) -> int:
    """The number of a data type in `onnx.TensorProto`."""
    return _CODES[d.name]
