"""How the optimisers move: PyTorch's and SciPy's iterates, from outside."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from scipy import optimize

from cortex_compute.errors import ArgumentError
from cortex_core.descent import FUNCTIONS, any_of, limit_gradient, limit_steps, study
from cortex_core.descent.methods import FIRST, SECOND, WITHOUT

ROSENBROCK = FUNCTIONS["rosenbrock"]
START = [-1.2, 1.0]

# Ours, PyTorch's name, options there; those here are the same unless the third says otherwise.
ALIKE: list[tuple[str, str, dict[str, Any], dict[str, Any]]] = [
    ("sgd", "SGD", {"lr": 1e-3}, {"learning_rate": 1e-3}),
    ("sgd", "SGD", {"lr": 1e-4, "momentum": 0.9, "nesterov": True},
     {"learning_rate": 1e-4, "momentum": 0.9, "nesterov": True}),
    ("sgd", "SGD", {"lr": 1e-4, "momentum": 0.9, "dampening": 0.5},
     {"learning_rate": 1e-4, "momentum": 0.9, "dampening": 0.5}),
    ("adam", "Adam", {"lr": 0.05}, {"learning_rate": 0.05}),
    ("adam", "Adam", {"lr": 0.05, "amsgrad": True, "weight_decay": 0.1},
     {"learning_rate": 0.05, "amsgrad": True, "weight_decay": 0.1}),
    ("adamw", "AdamW", {"lr": 0.05, "weight_decay": 0.01}, {"learning_rate": 0.05}),
    ("radam", "RAdam", {"lr": 1e-3}, {"learning_rate": 1e-3}),
    ("rmsprop", "RMSprop", {"lr": 0.01, "alpha": 0.9}, {"learning_rate": 0.01}),
    ("adagrad", "Adagrad", {"lr": 0.1}, {"learning_rate": 0.1}),
    ("adadelta", "Adadelta", {"rho": 0.95}, {}),
    ("adamax", "Adamax", {"lr": 0.05, "eps": 1e-30}, {"learning_rate": 0.05, "epsilon": 1e-30}),
    ("nadam", "NAdam", {"lr": 0.05}, {"learning_rate": 0.05}),
]  # fmt: skip


def torch_function(x: Any) -> Any:
    return (100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum()


def torch_iterates(optimizer: str, steps: int, **options: Any) -> np.ndarray:
    """x at each step of PyTorch's optimiser on Rosenbrock's function, (steps + 1, 2)."""
    import torch

    x = torch.tensor(START, dtype=torch.float64, requires_grad=True)
    walker = getattr(torch.optim, optimizer)([x], **options)

    def closure() -> Any:
        walker.zero_grad()
        value = torch_function(x)
        value.backward()
        return value

    rows = [x.detach().numpy().copy()]
    for _ in range(steps):
        walker.step(closure)
        rows.append(x.detach().numpy().copy())
    return np.array(rows)


@pytest.mark.peers
@pytest.mark.parametrize(("ours", "theirs", "their_options", "options"), ALIKE)
def test_the_iterates_are_pytorchs(
    ours: str, theirs: str, their_options: dict[str, Any], options: dict[str, Any]
) -> None:
    found = study(ROSENBROCK, ours, START, limit_steps(50), **options)
    np.testing.assert_allclose(found.log.xs, torch_iterates(theirs, 50, **their_options), rtol=1e-9)


@pytest.mark.peers
def test_lbfgs_makes_the_iterations_of_pytorchs() -> None:
    known = torch_iterates("LBFGS", 30, line_search_fn="strong_wolfe", max_iter=1, max_eval=25)
    found = study(ROSENBROCK, "lbfgs", START, limit_steps(30))
    np.testing.assert_allclose(found.log.xs[:11], known[:11], rtol=1e-6)
    np.testing.assert_allclose(found.log.xs, known[: len(found.log)], atol=1e-6)


@pytest.mark.peers
def test_lbfgs_is_where_ten_iterations_of_pytorchs_in_one_step_end() -> None:
    known = torch_iterates("LBFGS", 1, line_search_fn="strong_wolfe", max_iter=10, max_eval=250)
    found = study(ROSENBROCK, "lbfgs", START, limit_steps(10))
    np.testing.assert_allclose(found.x, known[-1], rtol=1e-6)


def test_lbfgs_needs_few_gradients() -> None:
    found = study(ROSENBROCK, "lbfgs", START, any_of(limit_steps(1000), limit_gradient(1e-8)))
    assert found.stopped.startswith("the gradient's norm")
    assert found.profile.gradient_calls < 60
    assert found.profile.f_calls == found.profile.gradient_calls
    np.testing.assert_allclose(found.x, [1, 1], rtol=1e-8)


def test_lbfgs_without_a_line_search_takes_its_rate() -> None:
    options = {"line_search": "none", "learning_rate": 0.5}
    found = study(lambda x: (x * x).sum(), "lbfgs", [4.0], limit_steps(2), **options)
    assert found.log[1].x[0] == 4.0 - 0.5 / 8 * 8  # the first step is the rate over the sum of |g|, times g
    assert found.log[2].x[0] == pytest.approx(3.5 - 0.5 * 3.5)  # then the curvature is known


def test_lbfgs_goes_to_the_end_of_float64() -> None:
    found = study(ROSENBROCK, "lbfgs", START)
    assert found.stopped == "no lower point along the direction was found"
    assert found.value < 1e-18


@pytest.mark.slow
@pytest.mark.parametrize("name", [*FIRST, *SECOND, *WITHOUT])
def test_scipys_methods_move_as_by_themselves(name: str) -> None:
    """With SciPy's own function, gradient and Hessian."""
    rows = [np.array(START)]
    derivatives: dict[str, Any] = {}
    if name not in WITHOUT:
        derivatives["jac"] = optimize.rosen_der
    if name in SECOND:
        derivatives["hess"] = optimize.rosen_hess

    def seen(x: np.ndarray, *_: Any) -> None:
        rows.append(x.copy())

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        known = optimize.minimize(optimize.rosen, START, method=name, callback=seen, **derivatives)
    found = study(ROSENBROCK, f"scipy:{name}", START)
    several = 4 if name == "TNC" else 10  # TNC takes differences of gradients, which magnify rounding
    np.testing.assert_allclose(found.log.xs[:several], rows[:several], rtol=1e-6)
    np.testing.assert_allclose(found.x, known.x, atol=1e-3)
    assert found.stopped == f"SciPy: {known.message}"


def test_lion_moves_by_the_sign() -> None:
    """Chen and others, Symbolic discovery of optimization algorithms, 2023, algorithm 2, in NumPy."""
    x, mean, rows = np.array(START), np.zeros(2), [np.array(START)]
    for _ in range(50):
        g = optimize.rosen_der(x)
        x = x - 0.01 * (np.sign(0.9 * mean + 0.1 * g) + 0.1 * x)
        mean = 0.99 * mean + 0.01 * g
        rows.append(x)
    found = study(ROSENBROCK, "lion", START, limit_steps(50), learning_rate=0.01, weight_decay=0.1)
    np.testing.assert_allclose(found.log.xs, rows, rtol=1e-9)


@pytest.mark.parametrize("optimizer", ["adam", "scipy:BFGS", "scipy:Nelder-Mead", "scipy:SLSQP"])
def test_warnings_of_the_function_are_heard(optimizer: str) -> None:
    def f(x: np.ndarray) -> float:
        warnings.warn("mine", UserWarning, stacklevel=1)
        return float((x * x).sum())

    with pytest.warns(UserWarning, match="mine"):
        study(f, optimizer, [1.0, 2.0], limit_steps(2), gradient=lambda x: 2 * x)


def test_what_scipy_warns_of_is_said_in_the_end() -> None:
    """Warnings are errors here."""
    found = study(
        lambda x: (x * np.array([1.0, 2.0])).sum(), "scipy:trust-constr", [1.0, 2.0], limit_steps(40)
    )
    assert len(found.log) > 2
    endless = study(lambda x: (x * np.array([1.0, 2.0])).sum(), "scipy:Powell", [1.0, 2.0])
    assert endless.stopped.startswith("SciPy: No valid bracket was found")


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("BFGS", {"gtol": "x"}),
        ("Nelder-Mead", {"initial_simplex": [[1.0]]}),
        ("trust-constr", {"initial_tr_radius": "far"}),
    ],
)
def test_options_of_another_kind_than_scipys(name: str, options: dict[str, Any]) -> None:
    with pytest.raises(ArgumentError, match=rf"SciPy does not take the options of scipy:{name}\("):
        study(lambda x: (x * x).sum(), f"scipy:{name}", [1.0], **options)


def test_an_error_inside_scipy_on_the_way_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(f: Any, x: np.ndarray, *, callback: Any, **_: Any) -> None:
        callback(x + f(x))
        raise np.linalg.LinAlgError("Singular matrix")

    monkeypatch.setattr(optimize, "minimize", broken)
    found = study(lambda x: (x * x).sum(), "scipy:BFGS", [1.0], gtol=1e-3)
    assert found.stopped == "SciPy: Singular matrix"
    np.testing.assert_array_equal(found.log.xs, [[1.0], [2.0]])


def test_an_error_of_the_function_is_none_of_the_options() -> None:
    def f(x: np.ndarray) -> float:
        if x[0] != 1.0:
            raise TypeError("mine")
        return 1.0

    with pytest.raises(TypeError, match=r"^mine$"):
        study(f, "scipy:Nelder-Mead", [1.0], gradient=np.zeros_like, xatol=1e-3)


def test_a_label_is_one_short_line() -> None:
    simplex = np.random.default_rng(0).normal(size=(3, 2))
    found = study(ROSENBROCK, "scipy:Nelder-Mead", START, limit_steps(1), initial_simplex=simplex)
    assert found.log.optimizer == "scipy:Nelder-Mead(initial_simplex=array (3, 2))"
    written = study(ROSENBROCK, "scipy:Nelder-Mead", START, limit_steps(1), initial_simplex=simplex.tolist())
    assert len(written.log.optimizer) == len("scipy:Nelder-Mead(initial_simplex=)") + 40
    assert written.log.optimizer.endswith("…)")


@pytest.mark.parametrize("evaluations", [1, 2, 5])
def test_a_line_search_looks_as_often_as_it_may(evaluations: int) -> None:
    found = study(ROSENBROCK, "lbfgs", START, limit_steps(20), evaluations=evaluations)
    looks = np.diff([state.calls for state in found.log] + [found.profile.f_calls])
    assert looks.max(initial=0) <= evaluations
    easy = study(lambda x: (x * x).sum(), "lbfgs", [4.0], limit_steps(2), evaluations=evaluations)
    np.testing.assert_array_equal(easy.log.xs, [[4.0], [3.0], [0.0]])  # the rate / |g| first, then Newton's


def test_a_rate_may_be_a_function_of_the_step() -> None:
    found = study(lambda x: x.sum(), "sgd", [0.0], limit_steps(4), learning_rate=lambda step: 1 / step)
    np.testing.assert_allclose(found.log.xs[:, 0], -np.cumsum([0, 1, 1 / 2, 1 / 3, 1 / 4]))


def test_the_rate_of_lbfgs_may_be_one() -> None:
    found = study(
        lambda x: (x * x).sum(), "lbfgs", [4.0], limit_steps(2), line_search="none",
        learning_rate=lambda step: {1: 0.5, 2: 0.25}[step],
    )  # fmt: skip
    np.testing.assert_allclose(found.log.xs[:, 0], [4.0, 3.5, 3.5 - 0.25 * 3.5])


@pytest.mark.parametrize("optimizer", ["adam", "lbfgs"])
@pytest.mark.parametrize("rate", [-1.0, np.nan, np.inf, "fast", None])
def test_rates_that_are_none(optimizer: str, rate: Any) -> None:
    with pytest.raises(ArgumentError, match=r"learning_rate\(1\) gave .*, expected a number of 0 or more"):
        study(ROSENBROCK, optimizer, START, learning_rate=lambda step: rate)


def test_a_line_search_that_overflows_does_not_warn() -> None:
    """Warnings are errors here."""
    assert study(FUNCTIONS["branin"], "lbfgs", [1e75, 1.0]).stopped
