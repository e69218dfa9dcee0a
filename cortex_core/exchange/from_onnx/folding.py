"""Operators of numbers that depend on no input: computed by NumPy while the model is read.

Exporters compute shapes in the graph.  What depends on the size of a batch is computed for two sizes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from cortex_core.exchange.build import Unfit
from cortex_core.exchange.from_onnx.at import At
from cortex_core.exchange.from_onnx.stacked import Given, Stacked
from cortex_core.exchange.from_onnx.tensors import TYPES, type_name
from cortex_core.exchange.from_onnx.value import Known

MOST = 2**24
"""So many numbers are the most that are computed in this way."""

VIEWS = (
    *("Cast", "Constant", "Flatten", "Identity", "Reshape", "Shape", "Size", "Slice", "Split", "Squeeze"),
    *("Transpose", "Unsqueeze"),
)
"""What makes no more numbers than the file has, weights of any size among them."""

Folder = Callable[..., Any]
FOLDS: dict[str, Folder] = {}


def folds(*names: str) -> Callable[[Folder], Folder]:
    """Registers how operators of these names are computed: of the node, and the arrays of its inputs."""

    def decorate(fold: Folder) -> Folder:
        FOLDS.update(dict.fromkeys(names, fold))
        return fold

    return decorate


def folded(at: At) -> list[Known]:
    """What a node gives whose inputs are all known, or that asks for the shape of a value."""
    given = at.given
    one = _computed(at, given, 0)
    same = all(x is None or (isinstance(x, Known) and x.fixed) for x in given)
    other = one if same else _computed(at, given, 1)
    return [Known(a, b) for a, b in zip(one, other)]


def _computed(at: At, given: Sequence[Given], variant: int) -> list[np.ndarray]:
    arrays = [_array(at, x, variant) for x in given]
    with np.errstate(all="ignore"):
        found = FOLDS[at.op](at, *arrays)
    results = [np.asarray(x) for x in found] if isinstance(found, list) else [np.asarray(found)]
    return results


def _array(at: At, x: Given, variant: int) -> Any:
    """The array of a constant; of a value the sizes, as many as it has axes."""
    if x is None:
        return None
    if isinstance(x, Known):
        found = (x.one, x.other)[variant]
        if at.op not in VIEWS:
            _expect_few(found.size)
        return found
    if isinstance(x, Stacked):
        return np.array(x.merged(at.concrete(x.value, variant)), np.int64)
    return np.array(at.concrete(x, variant), np.int64)


def _expect_few(*sizes: int) -> None:
    if max(sizes, default=0) > MOST:
        raise Unfit(f"it computes {max(sizes):,} constant numbers; at most {MOST:,} are computed at import")


# Constants and shapes


@folds("Constant")
def constant(at: At) -> Any:
    names = ("value", "value_float", "value_floats", "value_int", "value_ints")
    found = {name: x for name in names if (x := at.attribute(name, None)) is not None}
    if len(found) != 1:
        raise Unfit(f"it has {len(found)} values; supported is one, of {', '.join(names)}")
    ((name, x),) = found.items()
    return x if name == "value" else np.asarray(x, np.float32 if "float" in name else np.int64)


@folds("Shape")
def shape(at: At, sizes: np.ndarray) -> Any:
    sizes = np.array(sizes.shape, np.int64) if isinstance(at.given[0], Known) else sizes
    return sizes[at.attribute("start", 0) : at.attribute("end", None)]


@folds("Size")
def size(at: At, sizes: np.ndarray) -> Any:
    return np.int64(sizes.size if isinstance(at.given[0], Known) else np.prod(sizes))


@folds("ConstantOfShape")
def constant_of_shape(at: At, sizes: np.ndarray) -> Any:
    value = at.attribute("value", np.zeros(1, np.float32))
    return np.full(_shape(sizes), np.asarray(value).reshape(-1)[0])


@folds("Range")
def range_(at: At, start: Any, limit: Any, delta: Any) -> Any:
    start, limit, delta = (x.reshape(())[()] for x in (start, limit, delta))
    _expect_few(max(0, math.ceil((float(limit) - float(start)) / float(delta))))
    return np.arange(start, limit, delta, dtype=start.dtype)


@folds("Expand")
def expand(at: At, x: np.ndarray, sizes: np.ndarray) -> Any:
    wanted = np.broadcast_shapes(x.shape, _shape(sizes))
    _expect_few(math.prod(wanted))
    return np.broadcast_to(x, wanted)


@folds("Tile")
def tile(at: At, x: np.ndarray, times: np.ndarray) -> Any:
    _expect_few(x.size * math.prod(_shape(times)))
    return np.tile(x, times)


def _shape(sizes: np.ndarray) -> tuple[int, ...]:
    found = tuple(int(n) for n in np.asarray(sizes).reshape(-1))
    if any(n < 0 for n in found):
        raise Unfit(f"the shape {[*found]} has sizes below 0")
    _expect_few(math.prod(found))
    return found


@folds("Cast")
def cast(at: At, x: np.ndarray) -> Any:
    name = type_name(at.attribute("to"))
    at.attribute("saturate", 1), at.attribute("round_mode", "up")
    if name not in TYPES or name == "BFLOAT16":
        raise Unfit(f"a cast to {name} is not supported")
    return x.astype(TYPES[name])


# The same elements elsewhere


@folds("Identity")
def identity(at: At, x: np.ndarray) -> Any:
    return x


@folds("Reshape")
def reshape(at: At, x: np.ndarray, sizes: np.ndarray) -> Any:
    zero = at.attribute("allowzero", 0)
    told = [int(n) for n in sizes]
    return x.reshape([x.shape[i] if n == 0 and not zero else n for i, n in enumerate(told)])


@folds("Transpose")
def transpose(at: At, x: np.ndarray) -> Any:
    return x.transpose(at.attribute("perm", None))


@folds("Flatten")
def flatten(at: At, x: np.ndarray) -> Any:
    axis = at.attribute("axis", 1)
    return x.reshape(math.prod(x.shape[:axis]), -1)


@folds("Unsqueeze")
def unsqueeze(at: At, x: np.ndarray, *axes: Any) -> Any:
    return np.expand_dims(x, tuple(_ints(at, "axes", *axes)))


@folds("Squeeze")
def squeeze(at: At, x: np.ndarray, *axes: Any) -> Any:
    found = _ints(at, "axes", *axes)
    return np.squeeze(x, tuple(found) if found else None)


@folds("Concat")
def concat(at: At, *xs: np.ndarray) -> Any:
    _expect_few(sum(x.size for x in xs))
    return np.concatenate(xs, at.attribute("axis"))


@folds("Gather")
def gather(at: At, x: np.ndarray, places: np.ndarray) -> Any:
    _expect_few(x.size * max(1, places.size))
    return np.take(x, places, at.attribute("axis", 0))


@folds("Slice")
def slice_(at: At, x: np.ndarray, *parts: Any) -> Any:
    starts, ends = (_ints(at, name, part) for name, part in zip(("starts", "ends"), (*parts[:2], None, None)))
    axes = _ints(at, "axes", *parts[2:3]) or [*range(len(starts))]
    steps = [int(n) for n in parts[3]] if len(parts) > 3 and parts[3] is not None else [1] * len(starts)
    key = [slice(None)] * x.ndim
    for start, end, axis, step in zip(starts, ends, axes, steps):
        key[axis] = slice(start, None if step < 0 and end < -x.shape[axis] else end, step)
    return x[tuple(key)]


@folds("Split")
def split(at: At, x: np.ndarray, *parts: Any) -> list[Any]:
    axis, count = at.attribute("axis", 0), len(at.node.outputs)
    at.attribute("num_outputs", count)
    sizes = _ints(at, "split", *parts)
    if not sizes:
        each = -(-x.shape[axis] // count)
        sizes = [each] * count
    return list(np.split(x, np.cumsum(sizes)[:-1], axis))


def _ints(at: At, name: str, given: Any = None) -> list[int]:
    """Whole numbers that older definitions have as an attribute."""
    found = at.attribute(name, []) if given is None else np.asarray(given).reshape(-1)
    return [int(n) for n in found]


# Arithmetic


def _divided(a: np.ndarray, b: np.ndarray) -> Any:
    """Of whole numbers towards 0."""
    return np.trunc(a / b).astype(a.dtype) if a.dtype.kind in "iu" else a / b


BINARY: dict[str, Callable[..., Any]] = {
    **{"Add": np.add, "Sub": np.subtract, "Mul": np.multiply, "Div": _divided, "Pow": np.power},
    **{"Equal": np.equal, "Greater": np.greater, "GreaterOrEqual": np.greater_equal, "Less": np.less},
    **{"LessOrEqual": np.less_equal, "And": np.logical_and, "Or": np.logical_or, "Xor": np.logical_xor},
    **{"Max": np.maximum, "Min": np.minimum},
}
UNARY: dict[str, Callable[..., Any]] = {
    **{"Abs": np.abs, "Ceil": np.ceil, "Cos": np.cos, "Exp": np.exp, "Floor": np.floor, "Log": np.log},
    **{"Neg": np.negative, "Not": np.logical_not, "Reciprocal": np.reciprocal, "Round": np.round},
    **{"Sin": np.sin, "Sqrt": np.sqrt},
}
REDUCED: dict[str, Callable[..., Any]] = {
    **{"ReduceMax": np.max, "ReduceMin": np.min, "ReduceProd": np.prod, "ReduceSum": np.sum},
    "ReduceMean": np.mean,
}


@folds(*BINARY)
def binary(at: At, *xs: np.ndarray) -> Any:
    _expect_few(math.prod(np.broadcast_shapes(*(x.shape for x in xs))))
    found = xs[0]
    for x in xs[1:]:
        found = BINARY[at.op](found, x)
    return found.astype(xs[0].dtype) if at.op == "Pow" else found


@folds(*UNARY)
def unary(at: At, x: np.ndarray) -> Any:
    return UNARY[at.op](x)


@folds("Mod")
def mod(at: At, a: np.ndarray, b: np.ndarray) -> Any:
    _expect_few(math.prod(np.broadcast_shapes(a.shape, b.shape)))
    return np.fmod(a, b) if at.attribute("fmod", 0) else np.mod(a, b)


@folds(*REDUCED)
def reduced(at: At, x: np.ndarray, *axes: Any) -> Any:
    found, keeps = _ints(at, "axes", *axes), bool(at.attribute("keepdims", 1))
    if at.attribute("noop_with_empty_axes", 0) and not found:
        return x
    return REDUCED[at.op](x, tuple(found) if found else None, keepdims=keeps).astype(x.dtype)


@folds("Where")
def where(at: At, condition: np.ndarray, x: np.ndarray, y: np.ndarray) -> Any:
    _expect_few(math.prod(np.broadcast_shapes(condition.shape, x.shape, y.shape)))
    return np.where(condition, x, y)


@folds("Trilu")
def trilu(at: At, x: np.ndarray, k: Any = None) -> Any:
    part = np.triu if at.attribute("upper", 1) else np.tril
    return part(x, 0 if k is None else int(k.reshape(())))
