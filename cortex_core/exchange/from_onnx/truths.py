"""Truths: what is compared, and what is made of such."""

from __future__ import annotations

from cortex_core.exchange.build import Unfit
from cortex_core.exchange.from_onnx.arithmetic import split, together
from cortex_core.exchange.from_onnx.at import At
from cortex_core.exchange.from_onnx.operators import operator
from cortex_core.exchange.from_onnx.value import Value


@operator("And", "Or", since=(7,))
def both(at: At) -> Value:
    values, numbers = split(at)
    if numbers:
        raise Unfit("truths that are constant are not supported")
    return together(at, {"And": "logical_and", "Or": "logical_or"}[at.op], values)
