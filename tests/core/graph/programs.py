"""Random programs of the language, drawn as data, so that both interpreters run the same one."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from cortex_core.ops import linear, pointwise, reduce, views
from cortex_core.ops.indexing import concatenate

ROWS, COLUMNS = 4, 6

UNARY = (
    "relu",
    "tanh",
    "square",
    "neg_exp",
    "transpose_twice",
    "flip",
    "halves",
    "sum_rows",
    "reshape_back",
    "scale",
)
BINARY = ("add", "mul", "sub", "max", "gram", "join", "stack")


def unary(name: str, x: Any) -> Any:
    """One step that keeps the shape (ROWS, COLUMNS)."""
    match name:
        case "relu":
            return pointwise.relu(x)
        case "tanh":
            return pointwise.tanh(x)
        case "square":
            return x * x * 0.1
        case "neg_exp":
            return pointwise.exp(-(x * x))
        case "transpose_twice":
            return views.transpose(pointwise.tanh(views.transpose(x)))
        case "flip":
            return views.flip(x, 1)
        case "halves":
            left, right = x[:, : COLUMNS // 2], x[:, COLUMNS // 2 :]
            return concatenate([right * 2.0, left], 1)
        case "sum_rows":
            return x + reduce.sum(x, 0)
        case "reshape_back":
            return views.reshape(views.reshape(x, (COLUMNS, ROWS)) * 1.5, (ROWS, COLUMNS))
        case "scale":
            return x * 0.5
    raise AssertionError(name)


def binary(name: str, a: Any, b: Any) -> Any:
    """One step that joins two values of shape (ROWS, COLUMNS)."""
    match name:
        case "add":
            return a + b
        case "mul":
            return a * b * 0.3
        case "sub":
            return a - b
        case "max":
            return pointwise.maximum(a, b)
        case "gram":
            return linear.matmul(linear.matmul(a, b, False, True), a) * 0.05
        case "join":
            return views.reshape(concatenate([a, b], 0)[1 : ROWS + 1], (ROWS, COLUMNS))
        case "stack":
            return reduce.mean(concatenate([views.reshape(x, (1, ROWS, COLUMNS)) for x in (a, b, a)], 0), 0)
    raise AssertionError(name)


@st.composite
def steps(draw: Any) -> list[tuple[str, int, int]]:
    """Names of steps, with the values that each reads, counted back from the newest."""
    count = draw(st.integers(1, 14))
    made = []
    for _ in range(count):
        name = draw(st.sampled_from(UNARY + BINARY))
        made.append((name, draw(st.integers(0, 5)), draw(st.integers(0, 5))))
    return made


def run(program: list[tuple[str, int, int]], leaves: list[Any]) -> Any:
    """The loss of a program over its leaves, of shape (ROWS, COLUMNS) each."""
    values = list(leaves)
    for name, i, j in program:
        a, b = values[-1 - i % len(values)], values[-1 - j % len(values)]
        values.append(unary(name, a) if name in UNARY else binary(name, a, b))
    out = values[-1] + values[len(values) // 2] * 0.1
    return reduce.mean(out * out)


def start(seed: int, count: int) -> list[np.ndarray]:
    """Numbers for the leaves."""
    generator = np.random.default_rng(seed)
    return [generator.standard_normal((ROWS, COLUMNS)) for _ in range(count)]
