"""What changes no number in prediction."""

from __future__ import annotations

from dataclasses import replace

from cortex_core.exchange.build import Unfit
from cortex_core.exchange.from_onnx.at import At
from cortex_core.exchange.from_onnx.operators import operator
from cortex_core.exchange.from_onnx.tensors import TYPES, type_name
from cortex_core.exchange.from_onnx.value import Known, Value

FLOATS = ("FLOAT", "DOUBLE", "FLOAT16", "BFLOAT16")
WHOLE = ("INT64", "INT32")


@operator("Identity", since=(1, 13, 14, 16, 19, 21, 23, 24, 25))
def identity(at: At) -> Value:
    return at.value()


@operator("Dropout", since=(7, 10, 12, 13, 22))
def dropout(at: At) -> Value:
    """Training drops as many here as there; before opset 12 the rate is an attribute."""
    x, rate = at.value(), at.attribute("ratio", 0.5) if at.version < 12 else at.number(1, 0.5)
    at.attribute("seed", 0)
    if at.version >= 12 and at.number(2, False) and rate:
        raise Unfit("it drops at random in prediction too (training_mode); supported is false")
    return at.put("dropout", x, rate=rate) if 0 <= rate < 1 else x


@operator("Cast", since=(6, 9, 13, 19, 21, 23, 24, 25, 28))
def cast(at: At) -> Value:
    at.attribute("saturate", 1), at.attribute("round_mode", "up")
    return converted(at, at.value(), type_name(at.attribute("to")))


@operator("CastLike", since=(15, 19, 21, 23, 24, 25))
def cast_like(at: At) -> Value | Known:
    """To the type of another value, or of numbers."""
    at.attribute("saturate", 1), at.attribute("round_mode", "up")
    x, other = at.any(0), at.any(1)
    name = str(other.one.dtype) if isinstance(other, Known) else other.whole or other.dtype
    if isinstance(x, Known):
        return Known(x.one.astype(name), x.other.astype(name))
    return converted(at, x, {own: told for told, own in TYPES.items()}[name])


def converted(at: At, x: Value, to: str) -> Value:
    """The value in another type of ONNX."""
    if to in FLOATS:
        if to != "FLOAT":
            at.notes.append(f"{at.path}: a cast to {to}; here all is computed in float32")
        return replace(at.put("cast", x), whole="") if x.dtype != "float32" else x
    if to == "BOOL":
        return (
            x
            if x.dtype == "bool"
            else at.put("compare", replace(x, whole=""), operation="not_equal", value=0)
        )
    if to in WHOLE and x.dtype == "int64":
        return replace(x, whole="")
    raise Unfit(f"a cast of {x.whole or x.dtype} to {to} is not supported")
