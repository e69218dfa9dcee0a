"""Gives `Array` its operators and methods, which are the ops themselves."""

from __future__ import annotations

from typing import Any

from cortex_compute.errors import DTypeError
from cortex_compute.types import dtype as as_dtype
from cortex_core.ops import (  # noqa: F401
    arrange,
    einsum,
    formulas,
    indexing,
    inverse,
    linear,
    pointwise,
    reduce,
    softmax,
    sorting,
    subscript,
    views,
)
from cortex_core.ops.array import Array
from cortex_core.ops.table import methods


def _swapped(f: Any) -> Any:
    def call(a: Any, b: Any) -> Any:
        return f(b, a)

    return call


def _of_truth(symbol: str, f: Any) -> Any:
    """A logical function as an operator, which NumPy and PyTorch have for the bits of integers too."""

    def call(*args: Any) -> Any:
        for x in args:
            kind = as_dtype(x.dtype).kind if hasattr(x, "dtype") else type(x).__name__
            if kind != "bool":
                told = f"{symbol} is of truth values, this is {getattr(x, 'dtype', kind)}"
                raise DTypeError(f"{told}; compare it first, or use logical_and, logical_or, logical_not")
        return f(*args)

    call.__doc__ = f.__doc__
    return call


BINARY = {
    "add": pointwise.add, "sub": pointwise.subtract, "mul": pointwise.multiply, "truediv": pointwise.divide,
    "pow": pointwise.pow, "matmul": linear.matmul, "floordiv": formulas.floor_divide,
    "mod": formulas.remainder, "and": _of_truth("&", pointwise.logical_and),
    "or": _of_truth("|", pointwise.logical_or), "xor": _of_truth("^", formulas.logical_xor),
}  # fmt: skip
COMPARE = {
    "lt": pointwise.less, "le": pointwise.less_equal, "gt": pointwise.greater, "ge": pointwise.greater_equal,
    "eq": pointwise.equal, "ne": pointwise.not_equal,
}  # fmt: skip
UNARY: dict[str, Any] = {
    "__neg__": pointwise.negative, "__abs__": pointwise.absolute,
    "__invert__": _of_truth("~", pointwise.logical_not),
    "__getitem__": subscript.getitem, "T": property(views.transpose),
    "mT": property(lambda x: views.swapaxes(x, -2, -1)),
    "where": lambda x, condition, other: pointwise.select(condition, x, other),
    "__hash__": object.__hash__,  # == compares elements, so that identity must be said again
}  # fmt: skip


def attach() -> None:
    """Sets the operators and methods on Array."""
    for name, f in BINARY.items():
        setattr(Array, f"__{name}__", f)
        setattr(Array, f"__r{name}__", _swapped(f))
    for name, f in COMPARE.items():
        setattr(Array, f"__{name}__", f)
    for name, method in methods().items():
        setattr(Array, name, method)
    for name, attribute in UNARY.items():
        setattr(Array, name, attribute)


attach()
