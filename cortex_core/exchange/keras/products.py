"""Products of matrices, and of arrays by the names of their axes."""

from __future__ import annotations

from typing import Any

import numpy as np

from cortex_core.exchange.build import Unfit
from cortex_core.exchange.keras.arithmetic import Operation, array, operation
from cortex_core.exchange.keras.at import translates
from cortex_core.exchange.keras.functions import of_keras
from cortex_core.exchange.keras.value import Value

LETTERS = "abcdefghijklmnopqrstuvwxyz"


@operation("matmul", "batchmatmulv2")
def matmul(found: Operation) -> Value:
    """Of matrices for each example, or of each of their rows with a constant matrix."""
    given = [found.at.plain(x) if isinstance(x, Value) else x for x in found.operands]
    first = bool(found.option("transpose_a", "adj_x", default=False))
    second = bool(found.option("transpose_b", "adj_y", default=False))
    if len(given) != 2 or not isinstance(given[0], Value):
        raise Unfit(f"{found.name} is supported of a value with another, or with a constant matrix")
    a, b = given
    if not isinstance(b, Value):
        return _of_rows(found, a, b, first, second)
    rank = len(a.shape) + 1
    if rank < 3 or len(b.shape) + 1 != rank:
        raise Unfit(f"{found.name} of {[*a.shape]} and {[*b.shape]}: supported are matrices for each example")
    if rank == 3:
        return found.at.put("dot", [a, b], axes=[1 if first else 2, 2 if second else 1])
    batch = LETTERS[: rank - 2]
    left, right = "zx" if first else "xz", "yz" if second else "zy"
    return found.at.put("einsum", [a, b], equation=f"{batch}{left},{batch}{right}->{batch}xy")


def _of_rows(found: Operation, x: Value, matrix: Any, turned: bool, transposed: bool) -> Value:
    """A dense layer whose kernel training leaves as it is."""
    kernel = array(matrix).astype(np.float32)
    if kernel.ndim != 2 or turned:
        raise Unfit(f"{found.name} with a constant of shape {[*kernel.shape]}: a matrix is, behind a value")
    kernel = kernel.T if transposed else kernel
    fields = {"units": kernel.shape[1], "use_bias": False}
    return found.at.put("dense", x, weights={"kernel": kernel}, fixed=True, **fields)


@operation("einsum")
def einsum(found: Operation) -> Value:
    """Of values whose first axis, of the examples, is the first of what comes of them."""
    given = [found.at.plain(x) for x in found.operands if isinstance(x, Value)]
    told = [x for x in found.operands if not isinstance(x, Value)]
    equation = told.pop(0) if told and isinstance(told[0], str) else found.option("subscripts", "equation")
    if told or not given or not isinstance(equation, str):
        raise Unfit("einsum is supported of values that the model computes")
    equation = equation.replace(" ", "")
    if len(given) > 1:
        return found.at.put("einsum", given, equation=equation)
    before, _, behind = equation.partition("->")
    if before[:1] != behind[:1] or sorted(before) != sorted(behind) or len({*before}) < len(before):
        raise Unfit(f"einsum of one value by {equation!r:.60} is not supported: another order of its axes is")
    if before == behind:
        return given[0]
    return found.at.put("permute", given[0], axes=[before.index(name) for name in behind[1:]])


translates("ops.Matmul", "ops.Einsum")(of_keras)
