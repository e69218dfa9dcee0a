"""L-BFGS: the path on Rosenbrock's function against PyTorch's, quadratics against their solution."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cortex_compute.errors import ArgumentError, CheckpointError
from cortex_core.optim import LBFGS
from cortex_core.optim.lbfgs import Trial, strong_wolfe
from cortex_core.tensor import Tensor

START = [-1.5, 2.0, -0.5, 1.0]
OPTIONS: list[dict[str, Any]] = [
    {"line_search_fn": "strong_wolfe"},
    {"line_search_fn": "strong_wolfe", "history_size": 2},
    {"line_search_fn": "strong_wolfe", "lr": 0.5, "max_iter": 3},
    {"line_search_fn": "strong_wolfe", "max_iter": 8, "max_eval": 5},
    {"lr": 1e-3},
    {"lr": 1e-3, "max_iter": 4, "history_size": 3},
    {"lr": 1e-3, "tolerance_change": 1e-4},
    {"lr": 1e-3, "tolerance_grad": 300.0},
]


def rosenbrock(x: Any) -> Any:
    """Sum of 100 (x[i+1] - x[i]²)² + (1 - x[i])²: a bent valley, least at ones."""
    a, b = x[:-1], x[1:]
    return (100 * (b - a * a) * (b - a * a) + (1 - a) * (1 - a)).sum()


def closure(optimizer: Any, p: Any, function: Any = rosenbrock) -> Any:
    def evaluate() -> Any:
        optimizer.zero_grad()
        loss = function(p)
        loss.backward()
        return loss

    return evaluate


def parameter(start: Any = START, dtype: str = "float64") -> Tensor:
    return Tensor(np.array(start, dtype), requires_grad=True)


@pytest.mark.peers
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_the_path_is_pytorchs(options: dict[str, Any]) -> None:
    torch = pytest.importorskip("torch")
    ours, theirs = parameter(), torch.tensor(START, dtype=torch.float64, requires_grad=True)
    mine, other = LBFGS([ours], **options), torch.optim.LBFGS([theirs], **options)
    for _ in range(10):
        loss = mine.step(closure(mine, ours))
        known = other.step(closure(other, theirs))
        np.testing.assert_allclose(ours.numpy(), theirs.detach().numpy(), rtol=1e-6)
        assert loss.item() == pytest.approx(known.item(), rel=1e-6)
    state, kept = mine.state_dict()["state"][0], other.state_dict()["state"][0]
    assert [state[k] for k in ("func_evals", "n_iter")] == [kept[k] for k in ("func_evals", "n_iter")]


@pytest.mark.peers
def test_each_iteration_is_pytorchs() -> None:
    torch = pytest.importorskip("torch")
    ours, theirs = parameter(), torch.tensor(START, dtype=torch.float64, requires_grad=True)
    options = {"line_search_fn": "strong_wolfe", "max_iter": 1, "max_eval": 25}
    mine, other = LBFGS([ours], **options), torch.optim.LBFGS([theirs], **options)
    for _ in range(25):
        mine.step(closure(mine, ours))
        other.step(closure(other, theirs))
        np.testing.assert_allclose(ours.numpy(), theirs.detach().numpy(), rtol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_it_finds_the_bottom_of_the_valley(dtype: str) -> None:
    p = parameter([-1.2, 1.0], dtype)  # in more dimensions there is a second minimum
    optimizer = LBFGS([p], line_search_fn="strong_wolfe", max_iter=100, tolerance_change=1e-15)
    for _ in range(3):
        optimizer.step(closure(optimizer, p))
    np.testing.assert_allclose(p.numpy(), 1.0, rtol=1e-3 if dtype == "float32" else 1e-5)


def test_a_quadratic_is_solved_in_as_many_steps_as_axes() -> None:
    matrix = np.array([[3.0, 1.0, 0.0], [1.0, 2.0, 0.5], [0.0, 0.5, 1.0]])
    target = np.array([1.0, -2.0, 3.0])
    p, q = parameter([0.0, 0.0]), parameter([[0.0]])
    optimizer = LBFGS([p, q], line_search_fn="strong_wolfe", max_iter=12, tolerance_grad=1e-12)

    def evaluate() -> Tensor:
        optimizer.zero_grad()
        x = np.concatenate([p.numpy(), q.numpy().reshape(-1)])
        g = matrix @ x - target
        p.grad, q.grad = Tensor(g[:2]), Tensor(g[2:].reshape(1, 1))
        return Tensor(0.5 * x @ matrix @ x - target @ x)

    optimizer.step(evaluate)
    found = np.concatenate([p.numpy(), q.numpy().reshape(-1)])
    np.testing.assert_allclose(found, np.linalg.solve(matrix, target), rtol=1e-6)


def test_a_parameter_without_gradient_stays() -> None:
    p, q = parameter([3.0]), parameter([5.0])
    optimizer = LBFGS([p, q], line_search_fn="strong_wolfe")
    optimizer.step(closure(optimizer, p, lambda x: (x * x).sum()))
    assert abs(p.item()) < 1e-6
    assert q.item() == 5.0


def test_a_line_that_leaves_the_finite_numbers_is_searched_nearer() -> None:
    def at(t: float) -> Trial:
        loss = (t - 1) ** 2 if t < 4 else float("nan")
        return Trial(t, loss, np.array([2 * (t - 1)]), 2 * (t - 1))

    found, count = strong_wolfe(at, 16.0, at(0.0), 1.0, 1e-9, 25)
    assert found.loss < 0.1
    assert 1 < count < 15


def test_a_loaded_state_goes_on_with_the_same_bits() -> None:
    options = {"line_search_fn": "strong_wolfe", "max_iter": 4, "history_size": 3}
    whole, p = parameter(), parameter()
    one, first = LBFGS([whole], **options), LBFGS([p], **options)
    for i in range(6):
        one.step(closure(one, whole))
        if i < 3:
            first.step(closure(first, p))
    saved, resumed = first.state_dict(), Tensor(p.numpy().copy(), requires_grad=True)
    first.step(closure(first, p))  # what was saved is a copy
    second = LBFGS([resumed])
    second.load_state_dict(saved)
    for _ in range(3):
        second.step(closure(second, resumed))
    np.testing.assert_array_equal(whole.numpy(), resumed.numpy())


def test_a_state_of_another_size_is_refused() -> None:
    p, q = parameter(), parameter([1.0])
    optimizer = LBFGS([p], max_iter=2)
    optimizer.step(closure(optimizer, p))
    with pytest.raises(CheckpointError, match=r"parameter 0: d has shape \(4,\), expected \(1,\)"):
        LBFGS([q]).load_state_dict(optimizer.state_dict())


@pytest.mark.parametrize(
    ("make", "error", "match"),
    [
        (lambda: LBFGS([parameter()]).step(), TypeError, "closure"),
        (lambda: LBFGS([{"params": [parameter()]}, {"params": [parameter()]}]), ArgumentError, "one group"),
        (lambda: LBFGS([parameter(), parameter(dtype="float32")]), ArgumentError, "several data types"),
        (lambda: LBFGS([parameter()], line_search_fn="armijo"), ArgumentError, "'armijo'.*'strong_wolfe'"),
        (lambda: LBFGS([parameter()], max_iter=0), ArgumentError, "max_iter is 0"),
        (lambda: LBFGS([parameter()], history_size=0), ArgumentError, "history_size is 0"),
        (lambda: LBFGS([parameter()], lr=-1), ArgumentError, "lr is -1"),
        (lambda: LBFGS([parameter()], momentum=0.9), TypeError, "momentum"),
    ],
)
def test_what_is_wrong_is_said(make: Any, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        make()
