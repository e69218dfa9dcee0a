"""Gives `Array` its operators and methods, which are the ops themselves."""

from __future__ import annotations

from typing import Any

from cortex_core.ops import (  # noqa: F401
    arrange,
    einsum,
    indexing,
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


BINARY = {
    "add": pointwise.add, "sub": pointwise.subtract, "mul": pointwise.multiply, "truediv": pointwise.divide,
    "pow": pointwise.pow, "and": pointwise.logical_and, "or": pointwise.logical_or,
    "xor": pointwise.logical_xor, "matmul": linear.matmul, "floordiv": pointwise.floor_divide,
    "mod": pointwise.remainder,
}  # fmt: skip
COMPARE = {
    "lt": pointwise.less, "le": pointwise.less_equal, "gt": pointwise.greater, "ge": pointwise.greater_equal,
    "eq": pointwise.equal, "ne": pointwise.not_equal,
}  # fmt: skip
UNARY: dict[str, Any] = {
    "__neg__": pointwise.negative, "__abs__": pointwise.absolute, "__invert__": pointwise.logical_not,
    "__getitem__": subscript.getitem, "T": property(views.transpose),
    "mT": property(lambda x: views.swapaxes(x, -2, -1)),
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
