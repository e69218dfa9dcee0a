"""Layers that make one value of several."""

from __future__ import annotations

from cortex_core.exchange.to_keras.at import At, exports
from cortex_core.exchange.to_keras.graph import Tensor

MERGES = ("add", "subtract", "multiply", "average", "maximum", "minimum")


@exports(*MERGES, to="`Add`, `Subtract`, `Multiply`, `Average`, `Maximum`, `Minimum`")
def merge(at: At) -> Tensor:
    return at.put(at.kind.capitalize(), at.inputs)


@exports("divide", to="the function `divide`")
def divide(at: At) -> Tensor:
    return at.op("Divide", *at.inputs)


@exports("concatenate", to="`Concatenate`")
def concatenate(at: At) -> Tensor:
    return at.put("Concatenate", at.inputs, axis=at.layer.axis)


@exports("dot", to="`Dot`")
def dot(at: At) -> Tensor:
    return at.put("Dot", at.inputs, axes=[*at.layer.axes], normalize=at.layer.normalize)


@exports("einsum", to="the function `einsum`")
def einsum(at: At) -> Tensor:
    return at.op("Einsum", *at.inputs, subscripts=at.layer.equation)


@exports("where", to="the function `where`")
def where(at: At) -> Tensor:
    condition, *given = at.inputs
    rest = iter(given)
    sides = [next(rest) if number is None else number for number in (at.layer.then, at.layer.otherwise)]
    return at.op("Where", condition, *sides)


@exports("matmul", to="the function `matmul`")
def matmul(at: At) -> Tensor:
    return at.op("Matmul", *at.inputs)
