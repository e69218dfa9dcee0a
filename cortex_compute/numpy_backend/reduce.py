"""Reductions: a block at a time, reduced into the result.

Floating sums are products with a vector of ones, which BLAS takes several times faster than a ufunc's
reduction.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from cortex_compute.numpy_backend import direct, pointwise
from cortex_compute.numpy_backend.backend import kernel, offers
from cortex_compute.numpy_backend.elementwise import BANDWIDTH, sequence
from cortex_compute.numpy_backend.memory import carve, scratch_size
from cortex_compute.numpy_backend.pointwise import BLOCK, block_slices, coalesce
from cortex_compute.primitives.reduce import Reduce
from cortex_compute.protocol import Offer, Operand, Refusal
from cortex_compute.types import TensorType, float16, float32, uint8

LARGE = 16 * BLOCK  # elements of a block that is only read
ROWS = 2048  # BLAS adds rows one after the other: after more of them rounding errors have added up

UFUNCS = {"sum": np.add, "mean": np.add, "prod": np.multiply, "max": np.maximum, "min": np.minimum}
EMPTY = {"sum": 0, "mean": math.nan, "prod": 1}

Call = Callable[[], Any]


@offers(Reduce)
def reduce(p: Reduce, operands: Sequence[Operand]) -> Offer | Refusal:
    types = [o.type for o in operands]
    if p.kind in ("argmax", "argmin"):
        return _place_of(p, operands[0])
    reduction = Reduction(p, types, dense=all(o.layout.strides is None for o in operands))
    workspace = scratch_size(reduction.scratch)
    cost = p.nbytes(*types) / BANDWIDTH
    return kernel(reduction.bind, workspace=workspace, cost=cost, direct=partial(direct.reduce, p, types))


class Reduction:
    """A reduction of operands of given types: the sizes of its scratch, and how its calls are laid out."""

    def __init__(self, p: Reduce, types: Sequence[TensorType], dense: bool) -> None:
        self.p, self.types = p, types
        self.space = p.space(*types)
        (result,) = p.infer(*types)
        # A sum of float16 may leave their range before a mean divides it, and loses digits on its way.
        self.widened = result.dtype is float16 and p.kind in ("sum", "mean", "prod")
        self.result = TensorType(result.shape, float32) if self.widened else result
        # Integers and booleans are added up in int64; what BLAS might not read as it lies is copied.
        spread = not dense and p.body is None and p.kind in ("sum", "mean")
        self.copies = spread or self.space.dtype is not self.result.dtype
        self.limit = LARGE if dense and p.body is None and not self.copies else BLOCK
        block = min(self.limit, self.space.size)
        body = 0 if p.body is None else pointwise.workspace_size(p.body, p.literals, types)
        self.scratch = [
            TensorType((body,), uint8),
            TensorType((0 if p.body is None else block,), self.space.dtype),
            TensorType((block if self.copies else 0,), self.result.dtype),
            TensorType((min(block, self.result.size),), self.result.dtype),
            TensorType((LARGE // ROWS + min(block, self.result.size),), self.result.dtype),
            TensorType((self.result.size if self.widened else 0,), self.result.dtype),
        ]

    def bind(self, inputs: Sequence[Any], outputs: Sequence[Any], workspace: Any) -> Callable[[], None]:
        p, shape = self.p, self.space.shape
        if self.space.size == 0:
            return partial(outputs[0].fill, EMPTY.get(p.kind, 0))
        scratch = carve(workspace, self.scratch)
        whole = _shaped(scratch[5], outputs[0].shape) if self.widened else outputs[0]
        kept = whole.reshape([1 if i in p.axes else n for i, n in enumerate(shape)])
        strides = [0 if i in p.axes else s for i, s in enumerate(kept.strides)]
        arrays = [np.broadcast_to(a, shape) for a in inputs] + [as_strided(kept, shape, strides)]
        arrays, marks = coalesce(shape, arrays, [i in p.axes for i in range(len(shape))])
        reduced = tuple(i for i, mark in enumerate(marks) if mark is True)
        calls: list[Call] = []
        for index in block_slices(arrays[0].shape, self.limit):
            value = self._value(calls, [a[index] for a in arrays[:-1]], scratch)
            piece = arrays[-1][tuple(slice(0, 1) if i in reduced else s for i, s in enumerate(index))]
            if all(index[i].start == 0 for i in reduced):
                calls += fold(p.kind, value, reduced, piece, scratch[4])
            else:
                part = _shaped(scratch[3], piece.shape)
                calls += fold(p.kind, value, reduced, part, scratch[4])
                calls.append(partial(UFUNCS[p.kind], piece, part, out=piece))
        if p.kind == "mean":
            count = self.result.dtype.storage.type(self.space.size // self.result.size)
            calls.append(partial(np.divide, kept, count, kept))
        if self.widened:
            calls.append(partial(np.copyto, outputs[0], whole, "same_kind"))
        return sequence(calls)

    def _value(self, calls: list[Call], blocks: list[np.ndarray], scratch: list[np.ndarray]) -> np.ndarray:
        """One block of what is reduced, in the data type of the result."""
        p, value = self.p, blocks[0]
        if p.body is not None:
            value = _shaped(scratch[1], value.shape)
            dtypes = [t.dtype for t in self.types]
            calls += pointwise.bind(p.body, p.literals, blocks, [value], scratch[0], dtypes)
        if self.copies:
            wide = _shaped(scratch[2], value.shape)
            calls.append(partial(np.copyto, wide, value, "unsafe"))
            value = wide
        return value


def _shaped(memory: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    return memory[: math.prod(shape)].reshape(shape)


def fold(
    kind: str, value: np.ndarray, axes: tuple[int, ...], out: np.ndarray, scratch: np.ndarray
) -> list[Call]:
    """The calls that reduce ``value`` over ``axes`` into ``out``, which keeps them with size 1."""
    if not axes:
        return [partial(np.copyto, out, value)]
    if kind in ("sum", "mean") and value.dtype in (np.float32, np.float64):
        product = _product_with_ones(value, axes, out, scratch)
        if product is not None:
            return product
    return [partial(UFUNCS[kind].reduce, value, axes, None, out, True)]


def _product_with_ones(
    value: np.ndarray, axes: tuple[int, ...], out: np.ndarray, scratch: np.ndarray
) -> list[Call] | None:
    """A sum over one axis as a matrix product; None where BLAS could not read the matrices as they lie."""
    long = [i for i, n in enumerate(value.shape) if n != 1]
    reduced = [i for i in long if i in axes]
    if len(reduced) != 1 or len(long) > 3 or (len(long) == 3 and reduced[0] != long[1]):
        return None
    x, n = value.squeeze(), value.shape[reduced[0]]
    if not _blas_reads(x):
        return None
    y = out.reshape([out.shape[i] for i in long if i not in axes])
    if long[-1] in axes:
        return [partial(np.matmul, x, _ones(n, x.dtype), y)]
    return add_rows(x, y[..., None, :], scratch)


def sums_of_rows(x: TensorType) -> TensorType:
    """The type of the scratch that `add_rows` takes for (rows, columns)."""
    rows, columns = x.shape
    return TensorType((-(-rows // ROWS) * columns if rows > ROWS else 0,), x.dtype)


def add_rows(x: np.ndarray, y: np.ndarray, scratch: np.ndarray) -> list[Call]:
    """The sum over axis -2 of ``x`` (..., rows, columns) into ``y`` (..., 1, columns), in groups."""
    *batch, n, columns = x.shape
    ones = _ones(min(n, ROWS), x.dtype)[None, :]
    if n <= ROWS:
        return [partial(np.matmul, ones, x, y)]
    groups, rest = divmod(n, ROWS)
    parts = _shaped(scratch, (*batch, groups + (rest > 0), columns))
    whole = x[..., : groups * ROWS, :].reshape((*batch, groups, ROWS, columns))
    calls: list[Call] = [partial(np.matmul, ones, whole, parts[..., :groups, None, :])]
    if rest:
        calls.append(partial(np.matmul, ones[:, :rest], x[..., groups * ROWS :, :], parts[..., groups:, :]))
    return [*calls, partial(np.matmul, _ones(parts.shape[-2], x.dtype)[None, :], parts, y)]


def _blas_reads(x: np.ndarray) -> bool:
    """Whether BLAS can read a vector, or the matrices of the last two axes, as they lie."""
    if x.ndim == 1:
        return x.strides[0] == x.itemsize
    (rows, columns), (m, n) = x.strides[-2:], x.shape[-2:]
    dense = columns == x.itemsize and rows >= n * x.itemsize and rows % x.itemsize == 0
    turned = rows == x.itemsize and columns >= m * x.itemsize and columns % x.itemsize == 0
    return dense or turned


def _ones(n: int, storage: np.dtype[Any]) -> np.ndarray:
    return _power_of_two_ones(1 << (n - 1).bit_length(), storage)[:n]


@lru_cache(maxsize=64)
def _power_of_two_ones(n: int, storage: np.dtype[Any]) -> np.ndarray:
    return np.ones(n, storage)


def _place_of(p: Reduce, operand: Operand) -> Offer | Refusal:
    """argmax and argmin.  an operand whose axis is not the last, dense one is copied, as NumPy would."""
    if p.body is not None:
        return Refusal(f"numpy's {p.kind} takes no body")
    function = np.argmax if p.kind == "argmax" else np.argmin
    x, axis = operand.type, p.axes[0]
    copies = operand.layout.strides is not None or axis != x.rank - 1
    moved = TensorType((*x.shape[:axis], *x.shape[axis + 1 :], x.shape[axis]), x.dtype)

    def bound(inputs: Sequence[Any], outputs: Sequence[Any], workspace: Any) -> Callable[[], None]:
        out = outputs[0].reshape(moved.shape[:-1])
        if not copies:
            return sequence([partial(function, inputs[0], axis, out)])
        (rows,) = carve(workspace, [moved])
        turned = np.moveaxis(inputs[0], axis, -1)
        return sequence([partial(np.copyto, rows, turned), partial(function, rows, -1, out)])

    workspace = scratch_size([moved]) if copies else 0
    return kernel(bound, workspace=workspace, cost=x.nbytes / BANDWIDTH)
