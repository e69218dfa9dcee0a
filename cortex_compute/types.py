"""Data types by name, tensor types, and the one rule of promotion.

A `DType` is not NumPy's: bfloat16 has no NumPy dtype, its buffers are 16-bit memory.  A `TensorType` is a
shape and a dtype; strides and layouts belong to the memory plan, never to a type.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from cortex_compute.errors import DTypeError, ShapeError

RANK = {"bool": 0, "int": 1, "float": 2}


class DType:
    """A data type: ``name``, ``kind`` (bool, int or float), ``itemsize`` in bytes, ``storage`` for NumPy.

    There is exactly one object for each name, so that comparison is by identity.
    """

    __slots__ = ("itemsize", "kind", "name", "storage")

    def __init__(self, name: str, kind: str, storage: str | None = None) -> None:
        self.name = name
        self.kind = kind
        self.storage = np.dtype(storage or name)
        self.itemsize = self.storage.itemsize

    def __repr__(self) -> str:
        return self.name

    def __reduce__(self) -> tuple[object, ...]:
        return dtype, (self.name,)

    @property
    def eps(self) -> float:
        """The distance from 1 to the next larger number; 0 for integers and booleans."""
        if self.kind != "float":
            return 0.0
        return 2.0**-7 if self.name == "bfloat16" else float(np.finfo(self.storage).eps)


bool_ = DType("bool", "bool")
int8, int16, int32, int64 = (DType(f"int{n}", "int") for n in (8, 16, 32, 64))
uint8, uint16, uint32, uint64 = (DType(f"uint{n}", "int") for n in (8, 16, 32, 64))
float16, float32, float64 = (DType(f"float{n}", "float") for n in (16, 32, 64))
bfloat16 = DType("bfloat16", "float", "uint16")

DTYPES = {
    d.name: d
    for d in (
        bool_, int8, int16, int32, int64, uint8, uint16, uint32, uint64, float16, bfloat16, float32, float64
    )
}  # fmt: skip
DEFAULT = {"bool": bool_, "int": int64, "float": float32}
_BY_NUMPY = {d.storage: d for d in DTYPES.values() if d is not bfloat16}


def dtype(x: object) -> DType:
    """The `DType` named by a string, a NumPy dtype or type, or a DType itself."""
    if isinstance(x, DType):
        return x
    if isinstance(x, str) and x in DTYPES:
        return DTYPES[x]
    try:
        return _BY_NUMPY[np.dtype(x)]  # type: ignore[call-overload]
    except (KeyError, TypeError):
        raise DTypeError(f"unknown data type {x!r}; known are {', '.join(DTYPES)}") from None


class TensorType(NamedTuple):
    """The shape and the data type of an array."""

    shape: tuple[int, ...]
    dtype: DType = float32

    @property
    def rank(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize

    def __repr__(self) -> str:
        return f"{self.dtype}[{', '.join(map(str, self.shape))}]"


def promote(dtypes: Iterable[DType], literals: Iterable[str] = (), widen: bool = False) -> DType:
    """The data type of a pointwise result.

    ``dtypes`` are those of arrays, ``literals`` the kinds of Python numbers, which are weak: they decide
    only where no array has their kind.  bool < int < float; an integer with a float gives that float; two
    different widths of one kind are an error, so that nothing becomes float64 unseen.  With ``widen`` two
    integers give the one that holds both, if there is one: a comparison loses nothing by it.
    """
    best: DType | None = None
    for d in dtypes:
        if best is None or RANK[d.kind] > RANK[best.kind]:
            best = d
        elif d is not best and d.kind == best.kind:
            if widen and d.kind == "int" and (wide := np.promote_types(best.storage, d.storage)).kind in "iu":
                best = dtype(wide)
                continue
            raise DTypeError(f"{best} and {d} do not mix: use cast(x, {best.name!r}) or cast(x, {d.name!r})")
    for kind in literals:
        if best is None or RANK[kind] > RANK[best.kind]:
            best = DEFAULT[kind]
    if best is None:
        raise DTypeError("a pointwise result needs at least one operand")
    return best


def broadcast(shapes: Iterable[tuple[int, ...]], what: str = "operands") -> tuple[int, ...]:
    """The common shape under NumPy's broadcasting; a `ShapeError` names the two shapes that do not fit."""
    result: tuple[int, ...] = ()
    for shape in shapes:
        if shape == result:
            continue
        if len(shape) < len(result):
            long, short = result, shape
        else:
            long, short = shape, result
        offset = len(long) - len(short)
        merged = list(long)
        for i, n in enumerate(short, offset):
            if merged[i] == 1:
                merged[i] = n
            elif n not in (1, merged[i]):
                raise ShapeError(f"{what}: shapes {result} and {shape} do not broadcast")
        result = tuple(merged)
    return result


def normalize_axis(axis: int, rank: int, what: str) -> int:
    """``axis`` counted from the front; a `ShapeError` that names ``what`` if there is no such axis."""
    if not -rank <= axis < rank:
        raise ShapeError(f"{what}: axis {axis} does not exist in an array of {rank} axes")
    return axis % rank


def normalize_axes(axes: int | Iterable[int] | None, rank: int, what: str) -> tuple[int, ...]:
    """Axes counted from the front, sorted; None means all; an axis given twice is a `ShapeError`."""
    if axes is None:
        return tuple(range(rank))
    listed = (axes,) if isinstance(axes, (int, np.integer)) else tuple(axes)
    result = sorted(normalize_axis(a, rank, what) for a in listed)
    if len(set(result)) != len(result):
        raise ShapeError(f"{what}: axes {listed} name one axis twice")
    return tuple(result)


def contiguous_strides(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Row-major strides, in elements."""
    strides = [1] * len(shape)
    for i in range(len(shape) - 1, 0, -1):
        strides[i - 1] = strides[i] * shape[i]
    return tuple(strides)
