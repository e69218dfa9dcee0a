"""Small work at once: NumPy's own calls into new memory, where binding would take longer than computing.

Eager ops go this way as long as one core is done in some ten microseconds.  The formulas are those of
`pointwise` and `reduce`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from cortex_compute.expression import Literal
from cortex_compute.numpy_backend.erf import erf_steps
from cortex_compute.numpy_backend.pointwise import BLOCK, UFUNCS
from cortex_compute.numpy_backend.steps import Step, plan
from cortex_compute.numpy_backend.streams import quiet
from cortex_compute.primitives.elementwise import Elementwise
from cortex_compute.primitives.indexing import Concatenate, Cumsum, Gather
from cortex_compute.primitives.matrix import Gemm
from cortex_compute.primitives.reduce import Reduce
from cortex_compute.primitives.softmax import LogSoftmax, Softmax
from cortex_compute.protocol import Direct
from cortex_compute.types import TensorType, broadcast, float16, float32

SMALL = 2048  # elements of a sum: NumPy adds along outer axes one by one, and rounding errors grow
WORK = 1 << 17  # elements, times instructions
FLOPS = 1 << 22  # of a product

Function = Callable[..., Any]


def elementwise(p: Elementwise, types: Sequence[TensorType]) -> Direct | None:
    """The formula as one NumPy call after the other, over whole arrays."""
    shape = broadcast(t.shape for t in types)
    if not types or math.prod(shape) > max(BLOCK, WORK // max(1, len(p.code.instructions))):
        return None
    steps = plan(p.code, tuple(t.dtype for t in types), tuple(x.kind for x in p.literals)).steps
    lines = [(_function(s), s.refs, _casts(s, steps, types), s.compute.storage.type) for s in steps]
    ends = [(ref, t.dtype.storage) for ref, t in zip(p.code.results, p.infer(*types))]
    if len(lines) == 1 and p.code.results == (("t", 0),) and not lines[0][2]:
        return _single(*lines[0], ends[0][1], any(t.shape == shape for t in types), shape)

    def run(p: Any, inputs: Sequence[Any]) -> tuple[Any, ...]:
        values: dict[str, list[Any]] = {"a": list(inputs), "t": []}
        literals: Sequence[Literal] = p.literals
        with quiet():
            for f, refs, casts, storage in lines:
                args = [storage(literals[k].value) if w == "l" else values[w][k] for w, k in refs]
                for i in casts:
                    args[i] = args[i].astype(storage)
                values["t"].append(f(*args))
            return tuple(
                _whole(literals[k].value if w == "l" else values[w][k], storage, shape, w == "a")
                for (w, k), storage in ends
            )

    return run


def _single(
    f: Function,
    refs: Sequence[Any],
    _: Any,
    storage: Any,
    result: np.dtype[Any],
    full: bool,
    shape: tuple[int, ...],
) -> Direct:
    """One instruction, the common case of eager code."""
    straight = all(ref == ("a", k) for k, ref in enumerate(refs))

    def run(p: Any, inputs: Sequence[Any]) -> tuple[Any, ...]:
        with quiet():
            if straight:
                out = f(*inputs)
            else:
                out = f(*[storage(p.literals[k].value) if w == "l" else inputs[k] for w, k in refs])
        return (out,) if full and shape else (_whole(out, result, shape, False),)

    return run


def _whole(value: Any, storage: np.dtype[Any], shape: tuple[int, ...], operand: bool) -> np.ndarray:
    """A result as an array of the full shape, in memory of its own."""
    array = np.asarray(value, storage)
    if array.shape != shape:
        array = np.broadcast_to(array, shape).copy()
    return array.copy() if operand else array


def _casts(step: Step, steps: Sequence[Step], types: Sequence[TensorType]) -> list[int]:
    """Which arguments have another data type than the instruction computes in."""
    if step.op.startswith("cast:"):
        return []
    found = []
    for i, (where, k) in enumerate(step.refs):
        have = None if where == "l" else types[k].dtype if where == "a" else steps[k].result
        if have is not None and have is not step.compute and not (step.op == "select" and i == 0):
            found.append(i)
    return found


def _function(step: Step) -> Function:
    storage = step.compute.storage
    op = step.op
    if op.startswith("cast:"):
        return lambda x: np.asarray(x).astype(step.result.storage)
    if op == "floor" and step.compute.kind != "float":
        return np.copy
    if op == "erf":
        wide = (float32 if step.compute is float16 else step.compute).storage
        return lambda x: _erf(np.asarray(x), wide)
    zero, one = storage.type(0), storage.type(1)
    special: dict[str, Function] = {
        "min": np.minimum,
        "max": np.maximum,
        "relu": lambda x: np.maximum(x, zero),
        "sigmoid": lambda x: one / (one + np.exp(-x)),
        "rsqrt": lambda x: one / np.sqrt(x),
        "select": np.where,
    }
    return special.get(op) or UFUNCS[op]


def _erf(x: np.ndarray, wide: np.dtype[Any]) -> np.ndarray:
    out = np.empty_like(x, order="C")
    for call in erf_steps(x, out, [np.empty(x.shape, wide) for _ in range(4)]):
        call()
    return out


def reduce(p: Reduce, types: Sequence[TensorType]) -> Direct | None:
    """Sums, means, products and extremes."""
    ufuncs: dict[str, Any] = {
        "sum": np.add,
        "mean": np.add,
        "prod": np.multiply,
        "max": np.maximum,
        "min": np.minimum,
    }
    space = p.space(*types)
    (result,) = p.infer(*types)
    if p.kind not in ufuncs or not 0 < space.size <= min(WORK, SMALL * result.size):
        return None
    body = None if p.body is None else elementwise(Elementwise(p.body, p.literals), types)
    if p.body is not None and body is None:
        return None
    storage, axes, kept = result.dtype.storage, p.axes, p.keepdims
    wide = float32.storage if result.dtype is float16 else storage
    f = ufuncs[p.kind].reduce
    count = wide.type(space.size // max(1, result.size)) if p.kind == "mean" else None

    def run(p: Any, inputs: Sequence[Any]) -> tuple[Any, ...]:
        (x,) = inputs if body is None else body(p, inputs)
        with quiet():
            out = f(x, axes, wide, None, kept)
            return (np.asarray(out if count is None else out / count, storage),)

    return run


def gemm(p: Gemm, types: Sequence[TensorType]) -> Direct | None:
    """A plain product of small matrices."""
    if p.epilogue is not None or p.sums or p.flops(*types) > FLOPS:
        return None
    turn_a, turn_b = p.transpose_a, p.transpose_b

    def run(p: Any, inputs: Sequence[Any]) -> tuple[Any, ...]:
        a, b = inputs
        with quiet():
            return (np.matmul(a.swapaxes(-1, -2) if turn_a else a, b.swapaxes(-1, -2) if turn_b else b),)

    return run


def softmax(p: Softmax | LogSoftmax, types: Sequence[TensorType]) -> Direct | None:
    """A few rows, less their largest elements."""
    (x,) = types
    if not 0 < x.size <= SMALL or x.dtype.itemsize < 4:
        return None
    logarithm = isinstance(p, LogSoftmax)

    def run(p: Any, inputs: Sequence[Any]) -> tuple[Any, ...]:
        with quiet():
            rest = inputs[0] - np.maximum.reduce(inputs[0], -1, keepdims=True)
            power = np.exp(rest)
            total = np.add.reduce(power, -1, keepdims=True)
            return (rest - np.log(total) if logarithm else power / total,)

    return run


def gather(p: Gather, types: Sequence[TensorType]) -> Direct | None:
    """A few slices."""
    (result,) = p.infer(*types)
    if not 0 < result.size <= BLOCK:
        return None
    axis = p.axis

    def run(p: Any, inputs: Sequence[Any]) -> tuple[Any, ...]:
        return (np.asarray(np.take(inputs[0], inputs[1], axis, None, "clip")),)

    return run


def concatenate(p: Concatenate, types: Sequence[TensorType]) -> Direct | None:
    """Small arrays, one after the other."""
    if p.infer(*types)[0].size > BLOCK:
        return None
    axis = p.axis

    def run(p: Any, inputs: Sequence[Any]) -> tuple[Any, ...]:
        return (np.concatenate(inputs, axis),)

    return run


def cumsum(p: Cumsum, types: Sequence[TensorType]) -> Direct | None:
    """Running sums of a few elements."""
    (result,) = p.infer(*types)
    if result.size > BLOCK:
        return None
    axis, storage, back = p.axis, result.dtype.storage, p.reverse

    def run(p: Any, inputs: Sequence[Any]) -> tuple[Any, ...]:
        x = np.flip(inputs[0], axis) if back else inputs[0]
        with quiet():
            y = np.add.accumulate(x, axis, storage)
        return (np.ascontiguousarray(np.flip(y, axis)) if back else y,)

    return run
