"""Random expressions over random shapes: against central differences, and against PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cortex_core.ops.differentiate import differentiate
from cortex_core.ops.table import face
from cortex_core.tensor import Tensor
from tests.core.ops.gradients import check_gradients

# What keeps numbers small, for exact differences; each takes the functions of a language.
UNARY: dict[str, Callable[[Any, Any], Any]] = {
    "tanh": lambda f, x: f.tanh(x),
    "sin": lambda f, x: f.sin(x),
    "sigmoid": lambda f, x: f.sigmoid(x),
    "softplus": lambda f, x: f.log(f.exp(x) + 1.0),
    "bell": lambda f, x: f.exp(-(x * x)),
    "erf": lambda f, x: f.erf(x),
    "root": lambda f, x: f.sqrt(x * x + 1.0),
    "cube": lambda f, x: (x * 0.5) ** 3,
    "power": lambda f, x: (x * x + 0.5) ** (x * 0.3),
    "sum": lambda f, x: x.sum(-1, True) * 0.3,
    "mean": lambda f, x: x.mean(0),
    "softmax": lambda f, x: f.softmax(x, -1),
    "logsumexp": lambda f, x: f.logsumexp(x, -1),
    "var": lambda f, x: f.var(f.cat([x, x * 2.0], -1), -1),
    "cumsum": lambda f, x: f.cumsum(x, -1) * 0.3,
    "flip": lambda f, x: f.flip(x, (0,)),
    "roll": lambda f, x: f.roll(x, 1, -1),
    "flat": lambda f, x: x.reshape(-1),
    "column": lambda f, x: x.unsqueeze(-1),
    "turn": lambda f, x: x.transpose(0, -1),
    "first": lambda f, x: x[0],
    "rows": lambda f, x: x[[0, 0, -1]],
    "back": lambda f, x: x[..., None, :],
    "twice": lambda f, x: f.stack([x, x * x * 0.3], 0),
    "triangle": lambda f, x: f.tril(f.outer(x.reshape(-1), x.reshape(-1))) * 0.3,
    "gram": lambda f, x: f.einsum("...i,...i->...", x, x) * 0.3,
    "repeat": lambda f, x: f.tile(x, (2,)),
    "norm": lambda f, x: (x * x + 0.1).norm(),
}
BINARY: dict[str, Callable[[Any, Any, Any], Any]] = {
    "add": lambda f, a, b: a + b,
    "sub": lambda f, a, b: a - b,
    "mul": lambda f, a, b: a * b * 0.5,
    "div": lambda f, a, b: a / (b * b + 1.0),
    "pow": lambda f, a, b: (a * a + 0.5) ** (b * 0.3),
    "where": lambda f, a, b: f.where(a + b > -9.0, a, b * 2.0),
    "outer": lambda f, a, b: f.outer(a.reshape(-1)[:3], b.reshape(-1)[:3]),
    "matmul": lambda f, a, b: (a.reshape(-1, 1) @ b.reshape(1, -1))[:3, :3] * 0.5,
}
SHAPES = [(), (1,), (3,), (2, 3), (2, 1), (3, 1, 2)]
NEEDS_AXIS = {
    "sum", "mean", "softmax", "logsumexp", "var", "cumsum", "flip", "roll", "turn", "first", "rows", "back",
    "gram", "repeat",
}  # fmt: skip
Step = tuple[str, int, int]


@st.composite
def expressions(draw: Any) -> tuple[list[tuple[int, ...]], list[Step], int]:
    """Shapes of the leaves; steps, each with the values that it reads, counted from the newest; a seed."""
    shapes = draw(st.lists(st.sampled_from(SHAPES), min_size=1, max_size=3))
    step = st.tuples(st.sampled_from([*UNARY, *BINARY]), st.integers(0, 4), st.integers(0, 4))
    return shapes, draw(st.lists(step, min_size=1, max_size=7)), draw(st.integers(0, 99))


def value(language: Any, steps: list[Step], leaves: list[Any]) -> Any:
    """The expression's value: the sum of all that was made, smoothly bounded.

    A step that its operands' shapes do not allow is left out: which ones depends on shapes alone.
    """
    values = list(leaves)
    for name, i, j in steps:
        a, b = values[-1 - i % len(values)], values[-1 - j % len(values)]
        if name in UNARY:
            if len(a.shape) or name not in NEEDS_AXIS:
                values.append(UNARY[name](language, a))
        elif name in ("outer", "matmul") or fits(a.shape, b.shape):
            values.append(BINARY[name](language, a, b))
        if np.prod(values[-1].shape) > 200:
            values.pop()
    return sum(language.tanh(v).sum() for v in values)


def fits(a: Any, b: Any) -> bool:
    try:
        return len(np.broadcast_shapes(tuple(a), tuple(b))) <= 4
    except ValueError:
        return False


class Ours:
    """The functions of the face."""

    def __getattr__(self, name: str) -> Any:
        return face()[name]


def start(shapes: list[tuple[int, ...]], seed: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [np.asarray(rng.standard_normal(shape)) for shape in shapes]


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(expressions())
def test_against_central_differences(case: Any) -> None:
    shapes, steps, seed = case
    check_gradients(lambda *xs: value(Ours(), steps, list(xs)), *start(shapes, seed), tolerance=2e-5)


@pytest.mark.peers
@settings(max_examples=300, deadline=None)
@given(expressions())
def test_against_pytorch(case: Any) -> None:
    torch = pytest.importorskip("torch")
    shapes, steps, seed = case
    given = start(shapes, seed)
    ours = [Tensor(a, requires_grad=True) for a in given]
    theirs = [torch.tensor(a, requires_grad=True) for a in given]
    y, z = value(Ours(), steps, ours), value(torch, steps, theirs)
    np.testing.assert_allclose(y.numpy(), z.detach(), rtol=1e-10, atol=1e-12)
    first = differentiate([y], [Tensor(1.0, "float64")], ours)
    others = torch.autograd.grad(z, theirs, create_graph=True)
    for g, h in zip(first, others):
        np.testing.assert_allclose(g.numpy(), h.detach(), rtol=1e-8, atol=1e-10)
    ours_second = differentiate([g.sum() for g in first], [Tensor(1.0, "float64")] * len(first), ours)
    theirs_second = torch.autograd.grad(sum(h.sum() for h in others), theirs, allow_unused=True)
    for g, h in zip(ours_second, theirs_second):
        h = 0.0 if h is None else h
        np.testing.assert_allclose(0.0 if g is None else g.numpy(), h, rtol=1e-6, atol=1e-8)
