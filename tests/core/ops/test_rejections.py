"""What bad input gets: the op, what was given, what would be right."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cortex_compute.errors import DTypeError, PlaceError, ShapeError
from cortex_core.ops.table import face
from cortex_core.tensor import Tensor

X = Tensor(np.arange(6.0).reshape(2, 3))
F: Any = type("F", (), {name: staticmethod(f) for name, f in face().items()})

CASES: dict[str, tuple[Any, type[Exception], str]] = {
    "broadcast": (
        lambda: X + np.zeros((2, 2)),
        ShapeError,
        r"add: shapes \(2, 3\) and \(2, 2\) do not broad",
    ),
    "where": (lambda: F.where(X > 0, X, np.zeros(4)), ShapeError, r"\(2, 3\) and \(4,\) do not broadcast"),
    "dtypes": (
        lambda: X * np.zeros(3, np.float32),
        DTypeError,
        r"mul: float64 and float32 do not mix: use cast",
    ),
    "matmul dtypes": (lambda: X @ np.zeros((3, 1), np.float32), DTypeError, "float64, b is float32"),
    "matmul": (lambda: X @ X, ShapeError, "inner sizes differ"),
    "mm": (lambda: F.mm(X, X[0]), ShapeError, r"mm: needs 2 axes, got shape \(3,\)"),
    "bmm": (lambda: F.bmm(np.zeros((2, 3, 4)), np.zeros((1, 4, 2))), ShapeError, "matmul broadcasts"),
    "axis": (lambda: X.sum(2), ShapeError, "sum: axis 2 does not exist in an array of 2 axes"),
    "dim": (lambda: X.softmax(dim=-3), ShapeError, "axis -3 does not exist"),
    "axis twice": (lambda: X.mean((0, -2)), ShapeError, "name one axis twice"),
    "correction twice": (lambda: X.var(correction=0, unbiased=True), TypeError, "give one of them"),
    "take_along below": (
        lambda: F.take_along_axis(X, np.array([[-1], [0]]), 1),
        PlaceError,
        "there is no place -1 on an axis of 3",
    ),
    "repeats": (lambda: X.repeat_interleave([1, 2], 0), ShapeError, "needs one whole number"),
    "both words": (lambda: X.sum(dim=0, axis=0), TypeError, "axis and dim are one argument"),
    "keyword": (lambda: X.var(dim=0, ddoff=1), TypeError, "no argument 'ddoff'; it takes x, axis"),
    "no bounds": (lambda: X.clip(), TypeError, "clip: give min, max, or both"),
    "reshape": (lambda: X.reshape(4, -1), ShapeError, r"reshape: \(2, 3\) cannot become \(4, -1\)"),
    "reshape negative": (lambda: X.reshape(-2, -3), ShapeError, "one size may be -1, the others not"),
    "reshape sizes": (lambda: X.reshape(4), ShapeError, "has 6 elements"),
    "flatten": (lambda: X.flatten(1, 0), ShapeError, "start_dim 1 lies behind end_dim 0"),
    "transpose": (lambda: X.permute(0, 0), ShapeError, "are no order of the 2 axes"),
    "moveaxis": (lambda: F.moveaxis(X, (0, 1), 0), ShapeError, "must name as many axes"),
    "expand": (lambda: X.expand(3), ShapeError, r"expand: shape \(2, 3\) cannot become \(3,\)"),
    "expand sizes": (lambda: X.expand(4, 3), ShapeError, r"\(2, 3\).*\(4, 3\)"),
    "narrow": (lambda: X.narrow(1, 2, 2), ShapeError, r"narrow: 2 \+ 2 leaves axis 1"),
    "split": (lambda: X.split([1, 1], 1), ShapeError, "do not add up to axis 1"),
    "chunk": (lambda: X.chunk(0), ShapeError, "0 pieces"),
    "gather": (lambda: X.gather(1, [[3]]), PlaceError, "gather: there is no place 3 on an axis of 3"),
    "gather shape": (lambda: X.gather(0, [0]), ShapeError, r"index \(1,\) must fit into x \(2, 3\)"),
    "scatter_add": (lambda: X.scatter_add(1, [[0, 1]], np.ones((1, 1))), ShapeError, "reaches beyond src"),
    "index_select": (lambda: X.index_select(0, [-1]), PlaceError, "no place -1 on an axis of 2"),
    "tile": (lambda: X.tile((-1,)), ShapeError, "cannot repeat"),
    "repeat": (lambda: X.repeat(2), ShapeError, "no number for each axis"),
    "roll": (lambda: X.roll((1, 2), 0), ShapeError, "2 shifts for 1 axes"),
    "tril": (lambda: X[0].tril(), ShapeError, "at least two axes"),
    "unfold": (lambda: X.unfold(1, 4, 1), ShapeError, "windows of 4, step 1, do not fit"),
    "topk": (lambda: X.topk(4), ShapeError, "k is 4"),
    "norm": (lambda: X.norm("nuc"), ValueError, "norm: p is 'nuc'"),
    "cat of one": (lambda: F.cat(X), ShapeError, r"cat: needs a list of tensors, cat\(\[a, b\]\)"),
    "cat of two": (lambda: F.cat(X, X), ShapeError, "cat: needs a list of tensors"),
    "stack of one": (lambda: F.stack(X), ShapeError, "stack: needs a list of tensors"),
    "stack of none": (lambda: F.stack([]), ShapeError, "stack: needs at least one array"),
    "one axis": (lambda: X.transpose(0), ShapeError, "transpose: one axis, 0, .*give two"),
    "t": (lambda: X[None].t(), ShapeError, r"t: needs at most two axes, got shape \(1, 2, 3\)"),
    "unflatten": (lambda: X.unflatten(1, (2, -1)), ShapeError, r"axis 1 of .* cannot become \(2, -1\)"),
    "diag": (lambda: X[None].diag(), ShapeError, "diag: needs one or two axes"),
    "meshgrid": (lambda: F.meshgrid(X[0], indexing="yx"), ValueError, "known are 'ij' and 'xy'"),
    "scatter": (lambda: X.scatter(1, [[0, 1]], np.ones((1, 1))), ShapeError, "scatter: .*reaches beyond src"),
    "index_fill": (lambda: X.index_fill(1, [3], 0), PlaceError, "index_fill: there is no place 3"),
    "empty median": (lambda: X[:0].median(0), ShapeError, "median: of none"),
    "bincount": (lambda: F.bincount(X), DTypeError, "bincount: needs one axis of whole numbers"),
    "max of two": (lambda: X.max(X), ShapeError, r"max: the axis is a tensor .*take maximum\(a, b\)"),
    "axis a tensor": (lambda: X.sum(X), ShapeError, "sum: the axis is a tensor .*needs whole numbers$"),
    "np.sum": (lambda: np.sum(X), TypeError, r"sum: .*a function of NumPy's takes x\.numpy\(\)"),
    "axis a fraction": (lambda: X.sum(1.5), ShapeError, "sum: the axis is 1.5; needs whole numbers"),
    "size a fraction": (lambda: X.reshape(1.5), ShapeError, "got 1.5; sizes and axes are whole numbers"),
    "sizes fractions": (lambda: X.view(2, 3.0), ShapeError, r"got \(2, 3.0\); sizes and axes are whole"),
    "empty max": (lambda: X[:0].max(0), ShapeError, "max of an empty axis"),
}


@pytest.mark.parametrize("name", CASES)
def test_rejections(name: str) -> None:
    make, error, words = CASES[name]
    with pytest.raises(error, match=words):
        make()
