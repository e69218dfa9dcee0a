"""Tensors from nothing: constants, ranges, random numbers, in PyTorch's words.

Sizes are given one by one or as one sequence: ``zeros(2, 3)`` is ``zeros((2, 3))``.  Without ``dtype``
numbers are float32, and ranges of whole numbers int64.  ``device`` is "cpu", the name of a backend, or None:
that of new tensors.  Random numbers come from `cortex_core.generator`: the same after `manual_seed`, on every
backend.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

import numpy as np

from cortex_compute.errors import DTypeError, ShapeError
from cortex_compute.types import DEFAULT, broadcast, dtype, float32, float64, int64
from cortex_core.generator import next_key
from cortex_core.machine import using
from cortex_core.ops.array import Array
from cortex_core.ops.lift import as_array
from cortex_core.ops.pointwise import cast, floor, log
from cortex_core.ops.random import random_normal, random_uniform
from cortex_core.ops.reduce import argmax
from cortex_core.ops.sorting import argsort, topk
from cortex_core.ops.views import unsqueeze
from cortex_core.tensor import Tensor

__all__ = [
    "arange", "as_tensor", "bernoulli", "empty", "empty_like", "eye", "from_dlpack", "from_numpy",
    "full", "full_like", "is_tensor", "linspace", "multinomial", "normal", "ones", "ones_like", "rand",
    "rand_like", "randint", "randint_like", "randn", "randn_like", "randperm", "tensor", "zeros",
    "zeros_like",
]  # fmt: skip

_dtype = dtype  # the word is an argument of what follows
T = TypeVar("T")


def _on_device(f: Callable[..., T]) -> Callable[..., T]:
    """``f`` with the argument ``device``, of which it need not know."""

    @wraps(f)
    def make(*args: Any, device: Any = None, **keywords: Any) -> T:
        if device in (None, "cpu"):
            return f(*args, **keywords)
        with using(str(device)):
            return f(*args, **keywords)

    return make


@_on_device
def tensor(data: Any, dtype: object = None, requires_grad: bool = False) -> Tensor:
    """A Tensor with a copy of ``data``; `as_tensor` and `from_numpy` share an array's memory."""
    made = as_tensor(data, dtype)
    return Tensor(made.numpy().copy(), made.dtype, requires_grad)


def as_tensor(data: Any, dtype: object = None, device: object = None) -> Tensor:
    """``data`` as a Tensor; an array or a Tensor of the right type is not copied."""
    made = data if isinstance(data, Tensor) else Tensor(data, dtype)
    wanted = [x for x in (device, dtype) if x is not None]
    return made.to(*wanted) if wanted else made


def from_numpy(array: np.ndarray) -> Tensor:
    """A Tensor that shares the memory of an array."""
    return Tensor(array)


def from_dlpack(x: Any) -> Tensor:
    """A Tensor that shares the memory of another library's array, by the DLPack protocol."""
    return Tensor(np.from_dlpack(x))


@_on_device
def full(size: Any, fill_value: Any, dtype: object = None, requires_grad: bool = False) -> Tensor:
    """One number everywhere; without ``dtype`` it is of the number's kind: bool, int64 or float32."""
    kind = _dtype(DEFAULT[Tensor(fill_value).dtype.kind] if dtype is None else dtype)
    return Tensor(np.full(_sizes("full", (size,)), fill_value, kind.storage), kind, requires_grad)


@_on_device
def zeros(*size: Any, dtype: object = float32, requires_grad: bool = False) -> Tensor:
    """Zeros."""
    return full(_sizes("zeros", size), 0, dtype or float32, requires_grad)


@_on_device
def ones(*size: Any, dtype: object = float32, requires_grad: bool = False) -> Tensor:
    """Ones."""
    return full(_sizes("ones", size), 1, dtype or float32, requires_grad)


@_on_device
def empty(*size: Any, dtype: object = float32, requires_grad: bool = False) -> Tensor:
    """Memory to be filled; the numbers are 0 until then, so that a mistake shows the same every time."""
    return full(_sizes("empty", size), 0, dtype or float32, requires_grad)


@_on_device
def eye(n: int, m: int | None = None, dtype: object = float32, requires_grad: bool = False) -> Tensor:
    """1 on the diagonal of an (n, m) matrix, 0 elsewhere."""
    (rows,), (columns,) = _sizes("eye", (n,)), _sizes("eye", (n if m is None else m,))
    kind = _dtype(dtype or float32)
    return Tensor(np.eye(rows, columns, dtype=kind.storage), kind, requires_grad)


@_on_device
def arange(
    start: float, end: float | None = None, step: float = 1, dtype: object = None, requires_grad: bool = False
) -> Tensor:
    """start, start + step, ... below ``end``; ``arange(n)`` counts from 0.  Whole numbers give int64."""
    first, last = (0, start) if end is None else (start, end)
    if step == 0 or (last - first) * step < 0:
        raise ShapeError(f"arange: steps of {step} do not lead from {first} to {last}")
    whole = all(isinstance(x, (int, np.integer)) for x in (first, last, step))
    kind = _dtype(dtype) if dtype is not None else int64 if whole else float32
    count = np.arange(math.ceil((last - first) / step)).astype(np.int64 if whole else np.float64)
    numbers = count * step + first
    return Tensor(numbers.astype(kind.storage), kind, requires_grad)


@_on_device
def linspace(
    start: float, end: float, steps: int, dtype: object = float32, requires_grad: bool = False
) -> Tensor:
    """``steps`` numbers at equal distances, from ``start`` to ``end``, both included."""
    (count,) = _sizes("linspace", (steps,))
    kind = _dtype(dtype or float32)
    return Tensor(np.linspace(start, end, count).astype(kind.storage), kind, requires_grad)


@_on_device
def rand(*size: Any, dtype: object = float32, requires_grad: bool = False) -> Any:
    """Uniform in [0, 1): multiples of 2^-24."""
    return _drawn("rand", random_uniform, _sizes("rand", size), dtype, requires_grad)


@_on_device
def randn(*size: Any, dtype: object = float32, requires_grad: bool = False) -> Any:
    """Normal with mean 0 and variance 1."""
    return _drawn("randn", random_normal, _sizes("randn", size), dtype, requires_grad)


@_on_device
def randint(
    low: int, high: Any = None, size: Any = None, dtype: object = int64, requires_grad: bool = False
) -> Any:
    """Whole numbers from ``low`` to ``high`` - 1, equally likely; ``randint(high, size)`` counts from 0."""
    if size is None:
        low, high, size = 0, low, high
    if size is None or not 0 < high - low <= 2**32:
        raise ShapeError(
            f"randint: needs low < high, at most 2**32 apart, and a size; got {low}, {high}, {size}"
        )
    drawn = floor(_fine(_sizes("randint", (size,))) * float(high - low))
    return _leaf(cast(cast(drawn, "int64") + int(low), dtype or int64), requires_grad)


@_on_device
def randperm(n: int) -> Any:
    """0 to n - 1 in a random order, int64."""
    return argsort(_fine(_sizes("randperm", (n,))))


def is_tensor(x: Any) -> bool:
    """Whether x is a Tensor."""
    return isinstance(x, Tensor)


def normal(
    mean: Any = 0.0, std: Any = 1.0, size: Any = None, dtype: object = float32, requires_grad: bool = False
) -> Any:
    """Normal with ``mean`` and ``std``: of ``size``, or of the shape and type of one that is a tensor."""
    arrays = [x for x in (mean, std) if isinstance(x, Array)]
    if size is None and not arrays:
        raise ShapeError("normal: needs a size, or a tensor as mean or std")
    if arrays:
        size, dtype = broadcast([x.shape for x in arrays], "normal"), arrays[0].dtype
    return _leaf(randn(size, dtype=dtype) * std + mean, requires_grad)


def bernoulli(p: Any) -> Any:
    """1 with the probability that stands in p, else 0, in the shape and type of p."""
    p = as_array(p)
    return cast(_fine(p.shape) < cast(p, "float64"), p.dtype)


def multinomial(weights: Any, num_samples: int, replacement: bool = False) -> Any:
    """Places drawn with probabilities in the ratio of ``weights``; int64.   (..., n) -> (..., num_samples)

    The place of the largest log(weight) - log(-log(u)) over uniform u is such a draw (Gumbel), and the places
    of the largest few are draws without replacement.
    """
    weights = as_array(weights)
    n, (count,) = weights.shape[-1], _sizes("multinomial", (num_samples,))
    if not (replacement or count <= n):
        raise ShapeError(f"multinomial: {count} of {n} places are only there with replacement=True")
    chances = log(cast(weights, "float64"))
    if not replacement:
        return topk(chances - log(-log(_fine(weights.shape))), count).indices
    return argmax(unsqueeze(chances, -2) - log(-log(_fine((*weights.shape[:-1], count, n)))), -1)


@_on_device
def zeros_like(x: Any, dtype: object = None, requires_grad: bool = False) -> Tensor:
    """Zeros in the shape, and without ``dtype`` in the type, of x."""
    return zeros(x.shape, dtype=dtype or x.dtype, requires_grad=requires_grad)


@_on_device
def ones_like(x: Any, dtype: object = None, requires_grad: bool = False) -> Tensor:
    """Ones in the shape, and without ``dtype`` in the type, of x."""
    return ones(x.shape, dtype=dtype or x.dtype, requires_grad=requires_grad)


@_on_device
def empty_like(x: Any, dtype: object = None, requires_grad: bool = False) -> Tensor:
    """`empty` in the shape, and without ``dtype`` in the type, of x."""
    return empty(x.shape, dtype=dtype or x.dtype, requires_grad=requires_grad)


@_on_device
def full_like(x: Any, fill_value: Any, dtype: object = None, requires_grad: bool = False) -> Tensor:
    """One number everywhere, in the shape, and without ``dtype`` in the type, of x."""
    return full(x.shape, fill_value, dtype or x.dtype, requires_grad)


@_on_device
def rand_like(x: Any, dtype: object = None, requires_grad: bool = False) -> Any:
    """Uniform in [0, 1), in the shape, and without ``dtype`` in the type, of x."""
    return rand(x.shape, dtype=dtype or x.dtype, requires_grad=requires_grad)


@_on_device
def randn_like(x: Any, dtype: object = None, requires_grad: bool = False) -> Any:
    """Normal, in the shape, and without ``dtype`` in the type, of x."""
    return randn(x.shape, dtype=dtype or x.dtype, requires_grad=requires_grad)


@_on_device
def randint_like(x: Any, low: int, high: int | None = None, dtype: object = None) -> Any:
    """Whole numbers from ``low`` to ``high`` - 1, or below ``low``, in the shape and type of x."""
    bounds = (0, low) if high is None else (low, high)
    return randint(*bounds, x.shape, dtype=dtype or x.dtype)


def _sizes(what: str, given: tuple[Any, ...]) -> tuple[int, ...]:
    """Sizes, given as one sequence or one by one."""
    sizes = tuple(given[0]) if len(given) == 1 and np.ndim(given[0]) else given
    for n in sizes:
        if isinstance(n, bool) or not hasattr(n, "__index__") or operator.index(n) < 0:
            raise ShapeError(f"{what}: size {n!r} in {sizes}; needs whole numbers from 0 on")
    return tuple(map(operator.index, sizes))


def _drawn(what: str, draw: Any, sizes: tuple[int, ...], dtype: object, requires_grad: bool) -> Any:
    kind = _dtype(dtype or float32)
    if kind.kind != "float":
        raise DTypeError(f"{what}: {kind} has no such numbers; needs a floating type, or randint")
    key, stream = next_key()
    drawn = draw(key, sizes, stream, float64 if kind is float64 else float32)
    return _leaf(cast(drawn, kind), requires_grad)


def _fine(sizes: tuple[int, ...]) -> Any:
    """Uniform float64 in [0, 1), multiples of 2^-48: fine enough for whole numbers, and to have no equals."""
    key, stream = next_key()
    coarse, rest = random_uniform(key, (2, *sizes), stream, float64)
    return coarse + rest * 2.0**-24


def _leaf(x: Any, requires_grad: bool) -> Any:
    if requires_grad:
        x.requires_grad = True
    return x
