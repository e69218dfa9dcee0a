"""What is made of all elements along some axes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from cortex_core.exchange.build import Unfit
from cortex_core.exchange.from_onnx.arithmetic import magnitude, together
from cortex_core.exchange.from_onnx.at import At
from cortex_core.exchange.from_onnx.layers import joined
from cortex_core.exchange.from_onnx.operators import operator
from cortex_core.exchange.from_onnx.value import Mixed, Value, shown


def _axes(at: At, x: Value) -> list[int]:
    """The axes; all where none are told."""
    given = at.whole_numbers("axes", 1, [])
    noop = at.attribute("noop_with_empty_axes", 0)
    at.attribute("keepdims", 1)
    axes = sorted({x.axis(a) for a in given} if given or noop else range(x.rank))
    if x.batch in axes:
        raise Mixed(f"axes are {axes} of {shown(x)}: the examples along axis {x.batch} stay apart here")
    return axes


def _reduced(at: At, x: Value, kind: str, axes: Sequence[int], part: str = "") -> Value:
    """The sum or mean along axes of ONNX."""
    keeps = bool(at.attribute("keepdims", 1))
    real = [a for a in axes if x.order[a] is not None]
    if not real:
        return x if keeps else _without(x, axes)
    y = at.put(kind, x, part=part, axes=sorted(x.order[a] or 0 for a in real), keepdims=keeps, order=x.order)
    return y if keeps else _without(y, axes)


def _without(x: Value, axes: Sequence[int]) -> Value:
    """The value whose order knows no more of axes that are gone."""
    left = sorted(a for i, a in enumerate(x.order) if i not in axes and a)
    places = {a: place for place, a in enumerate(left, 1)}
    return replace(x, order=tuple(a and places[a] for i, a in enumerate(x.order) if i not in axes))


@operator("ReduceSum", since=(1, 11, 13))
@operator("ReduceMean", "ReduceSumSquare", "ReduceL1", "ReduceL2", since=(1, 11, 13, 18))
def summed(at: At) -> Value:
    x = at.value()
    axes = _axes(at, x)
    if at.op in ("ReduceSum", "ReduceMean"):
        return _reduced(at, x, at.op.removeprefix("Reduce").lower(), axes) if axes else x
    if at.op == "ReduceL1":
        return _reduced(at, magnitude(at, x, "magnitude"), "sum", axes)
    squares = at.put("power", x, part="squares", exponent=2)
    if at.op == "ReduceSumSquare":
        return _reduced(at, squares, "sum", axes)
    return at.put("power", _reduced(at, squares, "sum", axes, "sum"), exponent=0.5)


@operator("ReduceMax", "ReduceMin", since=(1, 11, 12, 13, 18, 20))
def largest(at: At) -> Value:
    """By a pooling over all of the axes; the smallest by that of -x."""
    x = at.value()
    axes, keeps = _axes(at, x), bool(at.attribute("keepdims", 1))
    if not axes:
        return x
    if x.dtype != "float32":
        raise Unfit(f"{at.op} of {x.whole or x.dtype} is not supported; cast it to float before")
    small = at.op == "ReduceMin"
    x = at.put("scale", x, part="negative", factor=-1) if small else x
    kept = [a for a in x.lying if a not in axes]
    gone = [a for a in axes if x.order[a] is not None]
    lying = at.lay(x, [*gone, *kept])
    sizes = [joined(lying.shape[: len(gone)]), joined(lying.shape[len(gone) :])]
    flat = at.reshape(lying, sizes, (0, 1, 2), "flat")
    y = at.put("global_max_pool1d", flat, order=(0, 1), part="largest" if small else "")
    y = at.put("scale", y, factor=-1) if small else y
    places = {axis: place for place, axis in enumerate(kept, 1)}
    order = tuple(0 if a == 0 else places.get(i) for i, a in enumerate(lying.order))
    y = at.reshape(y, lying.shape[len(gone) :], order, "shape")
    return y if keeps else replace(y, order=tuple(a for i, a in enumerate(order) if i not in axes))


@operator("ReduceLogSumExp", since=(1, 11, 13, 18, 28))
def log_sum_exp(at: At) -> Value:
    """x - log_softmax(x), which is the same at each place along the axes: of the first."""
    x = at.value()
    axes, keeps = _axes(at, x), bool(at.attribute("keepdims", 1))
    if not axes:
        return x
    kept = [a for a in x.lying if a not in axes]
    gone = [a for a in axes if x.order[a] is not None]
    lying = at.lay(x, [*kept, *gone])
    lead = lying.shape[: len(kept)]
    flat = at.reshape(lying, [*lead, joined(lying.shape[len(kept) :])], tuple(range(len(lead) + 2)), "flat")
    less = together(at, "subtract", [flat, at.put("log_softmax", flat, part="logarithms")], part="all")
    places = {axis: place for place, axis in enumerate(kept, 1)}
    order = tuple(0 if a == 0 else places.get(i) for i, a in enumerate(lying.order))
    y = at.put("select", less, axis=len(lead) + 1, index=0, order=order)
    return y if keeps else replace(y, order=tuple(a for i, a in enumerate(order) if i not in axes))
