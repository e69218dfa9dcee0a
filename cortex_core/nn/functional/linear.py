"""Products with weights, tables of vectors, and dropout."""

from __future__ import annotations

from typing import Any

from cortex_compute.errors import ArgumentError, ShapeError
from cortex_core.generator import next_key
from cortex_core.layers.dropout import drop
from cortex_core.ops import indexing, reduce
from cortex_core.ops.linear import matmul
from cortex_core.ops.pointwise import equal, select
from cortex_core.ops.random import bernoulli
from cortex_core.ops.views import reshape, transpose


def linear(input: Any, weight: Any, bias: Any = None) -> Any:
    """y = x weightᵀ + bias.   x (..., in), weight (out, in), bias (out,) -> (..., out)"""
    y = matmul(input, weight, transpose_b=True)
    return y if bias is None else y + bias


def bilinear(input1: Any, input2: Any, weight: Any, bias: Any = None) -> Any:
    """y[o] = x1ᵀ weight[o] x2 + bias[o].   (..., in1), (..., in2), weight (out, in1, in2) -> (..., out)"""
    out, in1, in2 = weight.shape
    if input1.shape[:-1] != input2.shape[:-1] or (input1.shape[-1], input2.shape[-1]) != (in1, in2):
        raise ShapeError(
            f"bilinear: the inputs are {input1.shape} and {input2.shape}; the weight {weight.shape} needs "
            f"(..., {in1}) and (..., {in2}) with equal axes before"
        )
    left = matmul(input1, reshape(transpose(weight, (1, 0, 2)), (in1, out * in2)))
    left = reshape(left, (*input1.shape[:-1], out, in2))
    y = reduce.sum(left * reshape(input2, (*input2.shape[:-1], 1, in2)), -1)
    return y if bias is None else y + bias


def embedding(input: Any, weight: Any, padding_idx: int | None = None) -> Any:
    """Rows of a table.   x (...) of whole numbers, weight (n, units) -> (..., units)

    The row ``padding_idx`` gets no gradient.  A symbolic index out of range takes the nearest row, any other
    is a PlaceError.
    """
    rows = indexing.gather(weight, input, 0)
    indexing.check_places("embedding", input, weight.shape[0])
    if padding_idx is None:
        return rows
    at = padding_idx + weight.shape[0] if padding_idx < 0 else padding_idx
    return select(reshape(equal(input, at), (*input.shape, 1)), rows.detach(), rows)


def one_hot(input: Any, num_classes: int) -> Any:
    """1 at the class, 0 elsewhere, int64.   x (...) of whole numbers -> (..., num_classes)"""
    return indexing.one_hot(input, num_classes, "int64")


def dropout(input: Any, p: float = 0.5, training: bool = True) -> Any:
    """In training each element falls to 0 with probability ``p``; the others grow by 1 / (1 - p)."""
    return _dropped("dropout", input, p, training, input.shape)


def dropout1d(input: Any, p: float = 0.5, training: bool = True) -> Any:
    """As `dropout`, for whole channels.   x (N, C, L)"""
    return _dropped("dropout1d", input, p, training, _channels("dropout1d", input, 1))


def dropout2d(input: Any, p: float = 0.5, training: bool = True) -> Any:
    """As `dropout`, for whole channels.   x (N, C, H, W)"""
    return _dropped("dropout2d", input, p, training, _channels("dropout2d", input, 2))


def dropout3d(input: Any, p: float = 0.5, training: bool = True) -> Any:
    """As `dropout`, for whole channels.   x (N, C, D, H, W)"""
    return _dropped("dropout3d", input, p, training, _channels("dropout3d", input, 3))


def _channels(what: str, x: Any, spatial: int) -> tuple[int, ...]:
    """The shape of a mask of whole channels.   x (N, C, *S), or (C, *S)"""
    if len(x.shape) not in (spatial + 1, spatial + 2):
        raise ShapeError(f"{what}: the input has shape {x.shape}; needs (N, C) and {spatial} more axes")
    return (*x.shape[:-spatial], *(1,) * spatial)


def _dropped(what: str, x: Any, p: float, training: bool, shape: tuple[int, ...]) -> Any:
    if not 0 <= p <= 1:
        raise ArgumentError(f"{what}: p={p}; needs a probability, 0 to 1")
    if not training:
        return x

    def draw(keep: float) -> Any:
        key, stream = next_key()
        return bernoulli(key, keep, shape, stream)

    return drop(x, p, draw)
