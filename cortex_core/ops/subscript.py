"""Indexing as NumPy has it: `getitem` is x[key], `assign` a copy of x after x[key] = value.

Slices, integers, None and Ellipsis alone make a view; with index arrays or masks it is one `gather`.  Of a
key whose numbers are known every place is checked; symbolic places must lie on their axis, symbolic masks
cannot index, for the shape of the result would depend on numbers.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from cortex_compute.errors import DTypeError, PlaceError, ShapeError
from cortex_compute.types import broadcast, normalize_axis
from cortex_core.ops.array import Array
from cortex_core.ops.indexing import check_places, corner, elements, gather
from cortex_core.ops.lift import as_array, known, owned
from cortex_core.ops.pointwise import NUMBERS, cast, less, select
from cortex_core.ops.table import booleans, integers, normal, op, sample
from cortex_core.ops.views import broadcast_to, index, permute, reshape

WHOLE = slice(None)
Places = list[tuple[int, Any]]  # for each index array the axis that it indexes, and itself


@op(
    sample(normal(4, 3), (slice(0, 3, 2), None, 1)),
    sample(normal(2, 3, 4), (..., 2)),
    sample(normal(4, 3), integers(2, 5, below=4)),
    sample(normal(4, 3), (slice(None), integers(2, below=3))),
    sample(normal(4, 3, 2), (integers(5, below=4), slice(None), integers(5, below=2))),
    sample(normal(4, 3, 2), (slice(None), integers(2, 1, below=3), integers(2, below=2))),
    sample(normal(3, 4), ([2, 0, -3], slice(1, 3))),
    torch=lambda torch, x, key: x[key],
    method=False,
)
def getitem(x: Any, key: Any) -> Any:
    """x[key]: integers, slices, None, Ellipsis, index arrays and masks, in any mixture, as NumPy has it.

    The axes of several index arrays stand where the first stood; in front, if something stands between them.
    dx = g added to zeros at the places that were taken: one that is taken twice gets both
    """
    if type(key) is int or type(key) is slice:
        return index(x, key)
    keys = key if isinstance(key, tuple) else (key,)
    if not any(isinstance(k, (list, np.ndarray, Array, bool, np.bool_)) for k in keys):
        return index(x, key)
    basic, places, apart = _planned(x.shape, keys)
    y = index(x, basic)
    if len(places) == 1:
        axis, ids = places[0]
        return gather(y, ids, axis)
    axes = [axis for axis, _ in places]
    if apart:
        y = permute(y, [*axes, *(a for a in range(len(y.shape)) if a not in axes)])
        axes = list(range(len(axes)))
    first, sizes = axes[0], y.shape[axes[0] : axes[-1] + 1]
    broadcast((np.shape(ids) if known(ids) else ids.shape for _, ids in places), "index arrays")
    flat = sum(ids * math.prod(sizes[i + 1 :]) for i, (_, ids) in enumerate(places))
    return gather(reshape(y, (*y.shape[:first], math.prod(sizes), *y.shape[axes[-1] + 1 :])), flat, first)


def _planned(shape: tuple[int, ...], keys: tuple[Any, ...]) -> tuple[tuple[Any, ...], Places, bool]:
    """The basic part of a key, that leaves whole what arrays index; these; whether something is between."""
    used = sum(_axes_of(k) for k in keys)
    if used > len(shape):
        raise PlaceError(f"index: {used} indices for shape {shape}")
    dots = [k is Ellipsis for k in keys].count(True)
    if dots > 1:
        raise ShapeError("index: more than one Ellipsis does not say which axes it stands for")
    if not dots:
        keys = (*keys, Ellipsis)
    basic: list[Any] = []
    places: Places = []
    standing = [i for i, k in enumerate(keys) if _is_array(k)]
    axis = 0
    for k in keys:
        if k is Ellipsis:
            basic += [WHOLE] * (len(shape) - used)
            axis += len(shape) - used
        elif not _is_array(k):
            basic.append(k)
            axis += k is not None
        elif isinstance(k, (bool, np.bool_)):  # a mask of no axes: a new axis of one place, or of none
            places.append((len(basic), np.zeros(int(k), np.int64)))
            basic.append(None)
        else:
            for ids in _places(k, shape, axis):
                places.append((len(basic), ids))
                basic.append(WHOLE)
                axis += 1
    return tuple(basic), places, standing[-1] - standing[0] >= len(standing)


def _is_array(k: Any) -> bool:
    return not (k is None or k is Ellipsis or isinstance(k, slice))


def _axes_of(k: Any) -> int:
    """How many axes an index takes."""
    if k is None or k is Ellipsis or isinstance(k, (bool, np.bool_)):
        return 0
    if isinstance(k, Array):
        return k.ndim if k.dtype.kind == "bool" else 1
    return np.ndim(k) if isinstance(k, (list, np.ndarray)) and np.asarray(k).dtype == bool else 1


def _places(k: Any, shape: tuple[int, ...], axis: int) -> list[Any]:
    """An index array as places from 0 on; a mask as one such array for each of its axes."""
    if not known(k):
        if k.dtype.kind == "bool":
            raise DTypeError(
                "index: the shape of x[mask] depends on numbers, which a symbolic value does not have yet; "
                "use where(mask, x, 0)"
            )
        wide = cast(k, "int64")
        return [select(less(wide, 0), wide + shape[axis], wide)]
    ids = np.asarray(k)
    if ids.dtype == bool:
        if ids.shape != shape[axis : axis + ids.ndim]:
            raise ShapeError(f"index: a mask of shape {ids.shape} at axis {axis} of shape {shape}")
        return list(np.nonzero(ids))
    if ids.size and ids.dtype.kind not in "iu":
        raise DTypeError(f"index: an array of {ids.dtype}; needs integers or booleans")
    n, ids = shape[axis], ids.astype(np.int64)
    if ids.size and not (ids.min() >= -n and ids.max() < n):
        found = ids.min() if ids.min() < -n else ids.max()
        raise PlaceError(f"index: there is no place {found} on axis {axis} of shape {shape}")
    return [np.where(ids < 0, ids + n, ids)]


def _set(torch: Any, base: Any, key: Any, value: Any) -> Any:
    y = base.clone()
    y[key] = value
    return y


@op(
    sample(normal(4, 3), (slice(0, 2), 1), normal(2)),
    sample(normal(4, 3), ([3, 0],), normal(2, 3)),
    sample(normal(4, 3), ([2, 2], 1), 0.5),
    sample(normal(4), slice(None, None, 2), normal()),
    torch=_set,
    method=False,
)
def assign(base: Any, key: Any, value: Any) -> Any:
    """A copy of ``base`` with ``value`` at [key]; where a place is named twice the last value stands.

    ``value`` broadcasts to the shape of base[key], and takes the data type of ``base``.
    dbase = g, but 0 at the places;  dvalue = g at the places, summed where a value stands at several
    """
    base = as_array(base)
    if not isinstance(value, NUMBERS):
        value = as_array(value)
        value = value if value.dtype is base.dtype else cast(value, base.dtype)
    elif base.dtype.kind != "float":  # a float would make floats of all of them
        value = bool(value) if base.dtype.kind == "bool" else int(value)
    if not all(known(k) for k in (key if isinstance(key, tuple) else (key,))):
        return _masked(base, key, value)
    places = _flat_places(base.shape, key)
    source = np.full(math.prod(base.shape), -1)
    source[places.reshape(-1)] = np.arange(places.size)
    source = source.reshape(base.shape)
    if isinstance(value, NUMBERS):
        return select(source >= 0, value, base)
    extra = len(value.shape) - places.ndim
    if extra > 0 and set(value.shape[:extra]) == {1}:
        value = reshape(value, value.shape[extra:])
    if broadcast((places.shape, value.shape), "assign: the place and the value") != places.shape:
        raise ShapeError(f"assign: a value of shape {value.shape} at a place of shape {places.shape}")
    if not places.size:
        return owned(base, base)
    spread = reshape(broadcast_to(value, places.shape), (places.size,))
    return select(source >= 0, gather(spread, np.maximum(source, 0)), base)


def _flat_places(shape: tuple[int, ...], key: Any) -> np.ndarray:
    """The places that [key] names, counted in row-major order.  NumPy indexes views that take no memory."""
    listed = key if isinstance(key, tuple) else (key,)
    keys = tuple(np.asarray(k) if isinstance(k, Array) else k for k in listed)
    found = 0
    try:
        for axis, n in enumerate(shape):
            along = np.arange(n).reshape([n if a == axis else 1 for a in range(len(shape))])
            found = found + math.prod(shape[axis + 1 :]) * np.broadcast_to(along, shape)[keys]
        return np.asarray(found if shape else np.zeros((), np.int64)[keys])
    except IndexError as error:
        raise PlaceError(f"assign: {error}; the shape is {shape}") from None


def _masked(base: Any, key: Any, value: Any) -> Any:
    """By a symbolic mask one number can be assigned: it is where(mask, value, base)."""
    mask = key[0] if isinstance(key, tuple) and len(key) == 1 else key
    if not isinstance(mask, Array) or mask.dtype.kind != "bool" or mask.shape != base.shape[: mask.ndim]:
        raise DTypeError("assign: places that are symbolic cannot be assigned to; use scatter_add, or where")
    if not isinstance(value, NUMBERS):
        if math.prod(value.shape) != 1:
            raise DTypeError("assign: a symbolic mask takes one number; use where(mask, values, base)")
        value = reshape(value, ())
    return select(reshape(mask, mask.shape + (1,) * (len(base.shape) - mask.ndim)), value, base)


@op(
    sample(normal(4, 3), 1, np.array([[2, 0], [1, 2]]), normal(2, 2)),
    sample(normal(4, 3), 0, np.array([[3, 0, 1]]), 0.5),
    symbolic=False,
)
def scatter(x: Any, dim: int, index: Any, src: Any) -> Any:
    """x with src[..., i, ...] at [..., index[..., i, ...], ...]; of several at one place the last stands.

    ``index`` may be shorter than x and ``src``, which may be a number.   dx = g, but 0 at the places;
    dsrc = g at the places, else 0
    """
    at, index = elements("scatter", x, dim, index)
    if not isinstance(src, NUMBERS):
        src = corner("scatter", as_array(src), index)
    along = np.indices(index.shape, sparse=True)
    return assign(x, tuple(index if a == at else along[a] for a in range(len(x.shape))), src)


@op(
    sample(normal(4, 3), 0, np.array([2, 0]), 0.5),
    sample(normal(2, 3), -1, np.array([1]), normal()),
    symbolic=False,
)
def index_fill(x: Any, dim: int, index: Any, value: Any) -> Any:
    """x with ``value``, a number or a 0-d array, in the slices ``index`` along ``dim``.

    dx = g, but 0 in the slices;  dvalue = the sum of g in them
    """
    at = normalize_axis(dim, len(x.shape), "index_fill")
    check_places("index_fill", index, x.shape[at])
    return assign(x, (*[WHOLE] * at, as_array(index)), value)


@op(sample(normal(3, 4), booleans(3, 4)), sample(normal(3, 4), booleans(4)), symbolic=False)
def masked_select(x: Any, mask: Any) -> Any:
    """The elements of x where the mask, broadcast with x, holds, as one axis.   dx = g there, else 0"""
    x, mask = as_array(x), as_array(mask)
    shape = broadcast((x.shape, mask.shape), "masked_select")
    return getitem(broadcast_to(x, shape), broadcast_to(mask, shape))


@op(sample(integers(5, 2, below=2)), aliases=("argwhere",), gradient=False, symbolic=False)
def nonzero(x: Any) -> Any:
    """The places of the elements that are not 0: int64 (count, axes).   No gradient: places have none."""
    if not known(x):
        raise DTypeError("nonzero: a symbolic value has no numbers yet that could be counted; use where")
    return as_array(np.argwhere(np.asarray(x)))
