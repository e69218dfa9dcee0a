"""Random programs of functions, views and changes in place: gradients are right, or refused; never wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from cortex_compute.errors import GradientError
from cortex_core.modes import no_grad
from cortex_core.ops.pointwise import exp, sin
from cortex_core.tensor import Tensor

A = np.array([[0.5, -1.0, 2.0], [1.5, 0.25, -0.75]])
B = np.array([[1.25, 0.5, -0.5], [-1.0, 2.0, 0.75]])


class Library(NamedTuple):
    sin: Any
    exp: Any
    silent: Callable[[Any], AbstractContextManager[Any]]  # changes of x in it have no derivative


@contextmanager
def real_part_only(x: np.ndarray) -> Iterator[None]:
    kept = x.imag.copy()
    yield
    x.imag[...] = kept


NUMPY = Library(np.sin, np.exp, real_part_only)
OURS = Library(sin, exp, lambda x: no_grad())

FUNCTIONS = {
    "sin": lambda lib, x, y: lib.sin(x),
    "exp": lambda lib, x, y: lib.exp(x * 0.3),
    "add": lambda lib, x, y: x + y,
    "mul": lambda lib, x, y: x * y,
    "row": lambda lib, x, y: x[0],
    "rest": lambda lib, x, y: x[..., 1:],
    "turn": lambda lib, x, y: x.T if len(x.shape) == 2 else x[None],
}


def _assign(x: Any, index: Any, value: Any) -> None:
    x[index] = value


def _mask(x: Any) -> np.ndarray:
    return np.indices(x.shape).sum(0) % 2 == 0


CHANGES = {
    "add_": lambda lib, x, y: x.__iadd__(y),
    "mul_": lambda lib, x, y: x.__imul__(y),
    "sub_": lambda lib, x, y: x.__isub__(1.5),
    "scale_": lambda lib, x, y: x.__imul__(0.5),
    "all": lambda lib, x, y: _assign(x, ..., y),
    "row_": lambda lib, x, y: _assign(x, 0, y[0] if y.shape else y),
    "mask_": lambda lib, x, y: _assign(x, _mask(x), 0.25),
}


class Step(NamedTuple):
    kind: str
    x: int
    y: int


def run(lib: Library, a: Any, b: Any, steps: list[Step], ends: list[int]) -> Any:
    """The loss of a program: it starts from a, b and a product, and ends in a sum of some of its results."""
    xs = [a, b, a * 2.0]
    for kind, i, j in steps:
        x, y = xs[i % len(xs)], xs[j % len(xs)]
        y = y if y.shape == x.shape else y.sum()
        if kind in FUNCTIONS:
            if kind not in ("row", "rest") or (len(x.shape) > 0 and x.shape[-1] > 1):
                xs.append(FUNCTIONS[kind](lib, x, y))
        elif x is not a and x.shape:
            silent = kind.startswith("silent ")
            with lib.silent(x) if silent else nullcontext():
                CHANGES[kind.removeprefix("silent ")](lib, x, y)
    parts = [lib.sin(xs[k % len(xs)]).sum() * float(n + 1) for n, k in enumerate([*ends, -1])]
    return sum(parts[1:], parts[0])


def ours(steps: list[Step], ends: list[int]) -> np.ndarray:
    a = Tensor(A.copy(), requires_grad=True)
    loss = run(OURS, a, Tensor(B.copy()), steps, ends)
    if loss.requires_grad:
        loss.backward()
    return np.zeros((2, 3)) if a.grad is None else a.grad.numpy()


def by_complex_steps(steps: list[Step], ends: list[int]) -> np.ndarray:
    """d f / d a = Im f(a + ih) / h: exact, by NumPy's own notion of what a change in place does."""
    found = np.zeros((2, 3))
    for place in np.ndindex(2, 3):
        a = A.astype(complex)
        a[place] += 1e-40j
        found[place] = run(NUMPY, a, B.astype(complex), steps, ends).imag / 1e-40
    return found


KINDS = [*FUNCTIONS, *CHANGES, *(f"silent {kind}" for kind in CHANGES)]
STEPS = st.builds(Step, st.sampled_from(KINDS), st.integers(0, 9), st.integers(0, 9))
programs = given(st.lists(STEPS, min_size=1, max_size=7), st.lists(st.integers(0, 9), max_size=2))


@programs
@settings(max_examples=300, deadline=None)
def test_gradients_are_those_of_the_numbers(steps: list[Step], ends: list[int]) -> None:
    try:
        found = ours(steps, ends)
    except GradientError:
        event("refused")
        return
    event("computed")
    np.testing.assert_allclose(found, by_complex_steps(steps, ends), rtol=1e-9, atol=1e-9)


@pytest.mark.peers
@programs
@settings(max_examples=500, deadline=None)
def test_gradients_are_pytorchs(steps: list[Step], ends: list[int]) -> None:
    torch = pytest.importorskip("torch")
    a = torch.tensor(A, requires_grad=True)
    wanted = None
    try:
        lib = Library(torch.sin, torch.exp, lambda x: torch.no_grad())
        loss = run(lib, a, torch.tensor(B), steps, ends)
        if loss.requires_grad:
            loss.backward()
        wanted = torch.zeros(2, 3, dtype=torch.float64) if a.grad is None else a.grad
    except RuntimeError:
        event("PyTorch refuses")
    try:
        found = ours(steps, ends)
    except GradientError as error:
        event("refused")
        views = any(said in str(error) for said in ("view of another", "share the memory", "shares memory"))
        if wanted is not None and not views:
            raise AssertionError(f"PyTorch does not refuse: {error}") from error
        return
    event("computed")
    if wanted is not None:
        np.testing.assert_allclose(found, wanted.numpy(), rtol=1e-9, atol=1e-9)


def test_most_programs_are_not_refused() -> None:
    """What is compared is not too little."""
    rng, computed = np.random.default_rng(0), 0
    for _ in range(100):
        steps = [Step(KINDS[rng.integers(len(KINDS))], *rng.integers(0, 10, 2)) for _ in range(4)]
        try:
            found = ours(steps, [])
        except GradientError:
            continue
        computed += 1
        np.testing.assert_allclose(found, by_complex_steps(steps, []), rtol=1e-9, atol=1e-9)
    assert computed > 40
