"""Random programs of the language, drawn as data, so that both interpreters run the same one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import strategies as st

from cortex_core.ops import (
    convolution,
    indexing,
    linear,
    normalization,
    pointwise,
    pooling,
    reduce,
    softmax,
    views,
)
from cortex_core.ops.indexing import concatenate

ROWS, COLUMNS = 4, 6
KERNEL = np.random.default_rng(9).standard_normal((3, 3, 2, 2)) * 0.3
EDGES = ((1, 0), (0, 1))


def image(x: Any) -> Any:
    return views.reshape(x, (2, 2, 3, 2))


def table(x: Any) -> Any:
    return views.reshape(x, (ROWS, COLUMNS))


def flat(*parts: Any) -> Any:
    return concatenate([views.reshape(p, (p.size,)) for p in parts], 0)


def places(x: Any) -> Any:
    """Whole numbers, some of them out of range."""
    return pointwise.cast(pointwise.floor(x * 2.0), "int64")


# Steps that keep the shape (ROWS, COLUMNS).
UNARY: dict[str, Callable[[Any], Any]] = {
    "relu": pointwise.relu,
    "tanh": pointwise.tanh,
    "square": lambda x: x * x * 0.1,
    "neg_exp": lambda x: pointwise.exp(-(x * x)),
    "transpose_twice": lambda x: views.transpose(pointwise.tanh(views.transpose(x))),
    "flip": lambda x: views.flip(x, 1),
    "backwards": lambda x: table(flat(x)[::-1]),
    "halves": lambda x: concatenate([x[:, COLUMNS // 2 :] * 2.0, x[:, : COLUMNS // 2]], 1),
    "flat_halves": lambda x: table(flat(pointwise.tanh(x[:2]), x[2:] * 2.0)),
    "sum_rows": lambda x: x + reduce.sum(x, 0),
    "less_max": lambda x: x - reduce.max(x, 1, True),
    "times_prod": lambda x: x + reduce.prod(x[:, :3], 1, True) * 0.1,
    "times_mean": lambda x: x * reduce.mean(x),
    "corner": lambda x: x + views.broadcast_to(x[:1, :1], (ROWS, COLUMNS)),
    "reshape_back": lambda x: table(views.reshape(x, (COLUMNS, ROWS)) * 1.5),
    "conv": lambda x: table(convolution.conv(image(x), type(x).lift(KERNEL), padding=1)),
    "conv_itself": lambda x: table(convolution.conv(image(x), views.reshape(x[:2, :2], (1, 1, 2, 2)))),
    "max_pool": lambda x: table(pooling.max_pool(image(x), 2, 1, EDGES)),
    "avg_pool": lambda x: table(pooling.avg_pool(image(x), 2, 1, EDGES)),
    "batch_norm": lambda x: normalization.batch_norm(x, x[0], x[1])[0],
    "variance": lambda x: x + normalization.batch_norm(x, None, None)[2],
    "layer_norm": lambda x: normalization.layer_norm(x, x[0], x[1]),
    "softmax": softmax.softmax,
    "log_softmax": lambda x: softmax.log_softmax(x, 0),
    "entropy": lambda x: x * softmax.softmax_cross_entropy(x, places(x[:, 0])).reshape(ROWS, 1),
    "gather": lambda x: indexing.gather(x, places(x[:, 0])),
    "scatter": lambda x: indexing.scatter_add(x, places(x[:2, 0]), x[:2] * 0.5),
    "take_along": lambda x: indexing.take_along(x, reduce.argmax(x, 1, True), 1) * x,
    "top_k": lambda x: concatenate([indexing.top_k(x, 3, largest)[0] for largest in (True, False)], 1),
    "one_hot": lambda x: indexing.one_hot(places(x[:, 1]), COLUMNS, "float64") * x,
    "pad": lambda x: indexing.pad(x[1:, :-2], ((1, 0), (2, 0)), 0.5),
    "shift": lambda x: indexing.pad(x, ((-1, 1), (1, -1))),
    "cumsum": lambda x: indexing.cumsum(x, 1) * 0.3,
    "select": lambda x: pointwise.select(pointwise.logical_and(x > 0.1, pointwise.isfinite(x)), x, 1.0),
    "cast": lambda x: pointwise.cast(x > 0.0, "float64") * x + pointwise.cast(places(x), "float64") * x,
}

# Steps that join two values of this shape.
BINARY: dict[str, Callable[[Any, Any], Any]] = {
    "add": lambda a, b: a + b,
    "mul": lambda a, b: a * b * 0.3,
    "sub": lambda a, b: a - b,
    "div": lambda a, b: a / (1.0 + b * b),
    "max": pointwise.maximum,
    "select": lambda a, b: pointwise.select(a > b, a, b * 0.5),
    "gram": lambda a, b: linear.matmul(linear.matmul(a, b, False, True), a) * 0.05,
    "join": lambda a, b: concatenate([a, b], 0)[1 : ROWS + 1],
    "join_flat": lambda a, b: table(flat(a * 1.5, pointwise.tanh(b))[12:36]),
    "stack": lambda a, b: reduce.mean(indexing.stack([a, b, a], 0), 0),
}

Step = tuple[str, int, int]


@st.composite
def steps(draw: Any) -> list[Step]:
    """Names of steps, with the values that each reads, counted back from the newest."""
    count = draw(st.integers(1, 14))
    made = []
    for _ in range(count):
        name = draw(st.sampled_from([f"1 {name}" for name in UNARY] + [f"2 {name}" for name in BINARY]))
        made.append((name, draw(st.integers(0, 5)), draw(st.integers(0, 5))))
    return made


def run(program: list[Step], leaves: list[Any]) -> tuple[Any, Any]:
    """The loss of a program over its leaves, of shape (ROWS, COLUMNS) each, and the last value."""
    values = list(leaves)
    for name, i, j in program:
        a, b = values[-1 - i % len(values)], values[-1 - j % len(values)]
        operands, _, short = name.partition(" ")
        values.append(UNARY[short](a) if operands == "1" else BINARY[short](a, b))
    out = values[-1] + values[len(values) // 2] * 0.1
    return pointwise.tanh(reduce.mean(out * out)), values[-1]


def start(seed: int, count: int) -> list[np.ndarray]:
    """Numbers for the leaves."""
    generator = np.random.default_rng(seed)
    return [generator.standard_normal((ROWS, COLUMNS)) for _ in range(count)]
