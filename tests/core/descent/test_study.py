"""`study`: what it keeps, when it ends, how it counts, and what it says of functions that are none."""

from __future__ import annotations

import math
import weakref
from typing import Any

import numpy as np
import pytest

from cortex_compute.errors import ArgumentError, CortexError, GradientError, ShapeError
from cortex_core.descent import (
    FUNCTIONS,
    Log,
    Moment,
    State,
    any_of,
    every,
    limit_gradient,
    limit_steps,
    limit_value,
    review,
    study,
)
from cortex_core.descent.methods import FIRST, WITHOUT, names
from cortex_core.modes import no_grad
from cortex_core.ops.pointwise import log as logarithm
from cortex_core.ops.pointwise import sqrt
from cortex_core.optimizers import Adam
from cortex_core.tensor import Tensor

ROSENBROCK = FUNCTIONS["rosenbrock"]
START = [-1.2, 1.0]


def bowl(x: Any) -> Any:
    return (x * x).sum()


class Counted:
    """A function of NumPy arrays with its gradient, which count how often they are called."""

    def __init__(self) -> None:
        self.values = self.gradients = 0

    def f(self, x: np.ndarray) -> float:
        self.values += 1
        return float(np.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2))

    def gradient(self, x: np.ndarray) -> np.ndarray:
        self.gradients += 1
        a, b = x
        return np.array([-400 * a * (b - a * a) - 2 * (1 - a), 200 * (b - a * a)])


def test_every_state_is_kept() -> None:
    found = study(bowl, "sgd", [1.0, -2.0], limit_steps(3), learning_rate=0.25)
    np.testing.assert_array_equal(found.log.xs, [[1, -2], [0.5, -1], [0.25, -0.5], [0.125, -0.25]])
    np.testing.assert_array_equal(found.log.values, [5, 1.25, 5 / 16, 5 / 64])
    np.testing.assert_allclose(found.log.norms, 2 * np.sqrt(found.log.values))
    np.testing.assert_array_equal(found.x, [0.125, -0.25])
    np.testing.assert_array_equal(found.gradient, [0.25, -0.5])
    assert found.value == 5 / 64
    assert [state.step for state in found.log] == [0, 1, 2, 3]
    assert [state.calls for state in found.log] == [1, 2, 3, 4]
    assert (found.stopped, found.log.stopped) == ("3 steps", "3 steps")
    assert (found.log.optimizer, found.log.function) == ("sgd(learning_rate=0.25)", "bowl")
    seconds = [state.seconds for state in found.log]
    assert seconds == sorted(seconds)
    with pytest.raises(ValueError, match="read-only"):
        found.x[0] = 1.0


def test_the_best_state_need_not_be_the_last() -> None:
    found = study(bowl, "sgd", [1.0], limit_steps(2), learning_rate=lambda step: 0.5 if step == 1 else 1.5)
    found_up = study(lambda x: bowl(x - 3), "sgd", [1.0], limit_steps(2), learning_rate=1.25)
    assert found.best.step == 1
    assert found.best.value == 0
    assert found_up.best.step == 0
    assert found_up.value > found_up.best.value


def test_the_shape_of_x_is_kept() -> None:
    start = np.arange(6).reshape(2, 3)  # whole numbers become floating ones
    for optimizer in ("adam", "lbfgs", "scipy:BFGS", "scipy:Nelder-Mead", "scipy:trust-exact"):
        found = study(bowl, optimizer, start, limit_steps(2))
        assert found.x.shape == (2, 3)
        assert found.x.dtype == np.float64
        assert found.log.xs.shape == (3, 6)
    np.testing.assert_array_equal(start, np.arange(6).reshape(2, 3))
    assert study(lambda x: x * x, "lbfgs", 3.0).x.shape == ()


def test_gradients_flow_where_those_around_do_not() -> None:
    with no_grad():
        assert study(bowl, "sgd", [1.0], limit_steps(1), learning_rate=0.5).value == 0


def test_a_tensor_is_a_start() -> None:
    start = Tensor(np.array([1.0]), requires_grad=True)
    assert study(bowl, "sgd", start, limit_steps(1), learning_rate=0.5).value == 0
    assert start.grad is None


@pytest.mark.parametrize("optimizer", names())
def test_every_optimizer_goes_down(optimizer: str) -> None:
    rate = {"sgd": 1e-4, "radam": 1e-4, "adadelta": 1.0}.get(optimizer, 0.1)
    options = {} if ":" in optimizer else {"learning_rate": rate}
    found = study(ROSENBROCK, optimizer, START, any_of(limit_steps(200), limit_gradient(1e-9)), **options)
    valley = {"radam": 24, "lion": 1, "adam": 1, "adamw": 1, "rmsprop": 1, "scipy:COBYLA": 4}
    by_lines = optimizer == "lbfgs" or ":" in optimizer
    assert found.best.value < valley.get(optimizer, 1e-6 if by_lines else 4.2)
    assert found.log[0].value == pytest.approx(24.2)
    assert len(found.log) == found.log[-1].step + 1
    assert np.isnan(found.log.norms).all() == (optimizer.partition(":")[2] in WITHOUT)


@pytest.mark.parametrize("optimizer", ["adam", "lbfgs", *(f"scipy:{name}" for name in (*FIRST, *WITHOUT))])
def test_calls_are_counted_as_the_function_counts_them(optimizer: str) -> None:
    counted = Counted()
    found = study(counted.f, optimizer, START, limit_steps(30), gradient=counted.gradient)
    assert (found.profile.f_calls, found.profile.gradient_calls) == (counted.values, counted.gradients)
    assert found.log[-1].calls == counted.values
    assert found.profile.hessian_calls == 0


@pytest.mark.parametrize("optimizer", ["adam", "scipy:BFGS", "scipy:dogleg", "scipy:COBYLA"])
def test_calls_of_a_function_of_tensors(optimizer: str) -> None:
    calls = 0

    def f(x: Any) -> Any:
        nonlocal calls
        calls += 1
        return ROSENBROCK(x)

    profile = study(f, optimizer, [0.5, 0.6], limit_steps(10)).profile
    assert profile.f_calls == calls
    assert (profile.hessian_calls > 0) == (optimizer == "scipy:dogleg")
    parts = profile.f_seconds + profile.gradient_seconds + profile.hessian_seconds
    assert 0 < parts <= profile.seconds


@pytest.mark.parametrize(("optimizer", "most"), [("scipy:Nelder-Mead", 0), ("scipy:SLSQP", 1), ("adam", 1)])
def test_what_f_computed_is_not_kept(optimizer: str, most: int) -> None:
    """At one point at most, which may be asked for its gradient; at none where no gradient is used."""
    scales: list[Any] = []

    def f(x: Any) -> Any:
        scale = x * 100.0  # which the recording of the product below keeps
        scales.append(weakref.ref(scale))
        return (scale * x).sum()

    kept: list[int] = []

    def count(state: State) -> None:
        kept.append(sum(scale() is not None for scale in scales))

    study(f, optimizer, START, limit_steps(40), observers=[count])
    assert len(scales) > len(kept) > 1 or optimizer == "adam"
    assert max(kept) <= most


def test_differences_call_the_function() -> None:
    counted = Counted()
    found = study(counted.f, "sgd", START, limit_steps(5), gradient="differences", learning_rate=1e-3)
    assert found.profile.f_calls == counted.values == 6 * (1 + 4)
    assert found.profile.gradient_calls == 6
    exact = study(ROSENBROCK, "sgd", START, limit_steps(5), learning_rate=1e-3)
    np.testing.assert_allclose(found.log.xs, exact.log.xs, rtol=1e-8)


def test_a_function_of_arrays_needs_no_gradient_where_none_is_used() -> None:
    found = study(lambda x: math.cosh(x[0] - 2), "scipy:Nelder-Mead", [0.0])
    assert found.x[0] == pytest.approx(2, abs=1e-3)
    assert found.stopped == "SciPy: Optimization terminated successfully."


def test_values_that_are_not_finite_end_it() -> None:
    risen = study(ROSENBROCK, "sgd", START, learning_rate=1.0)
    assert risen.stopped.startswith("the value is ")
    assert not np.isfinite(risen.value)
    assert np.isfinite(risen.log.values[:-1]).all()
    assert risen.best.step < risen.log[-1].step
    with np.errstate(invalid="ignore"):
        beyond = study(lambda x: logarithm(x).sum(), "sgd", [0.5], learning_rate=1.0)
    assert beyond.stopped == "the value is nan at step 1"
    steep = study(lambda x: sqrt(x).sum(), "sgd", [0.0])
    assert steep.stopped == "the gradient is not finite at step 0"


def test_an_end_that_the_method_sees_itself() -> None:
    assert study(bowl, "lbfgs", [3.0]).stopped == "no number of the gradient is above 1e-14"
    assert not study(bowl, "lbfgs", [0.0]).log.interrupted
    assert study(bowl, "lbfgs", [0.0]).stopped == "no number of the gradient is above 1e-14"
    assert study(bowl, "scipy:CG", [3.0]).stopped == "SciPy: Optimization terminated successfully."


def test_ctrl_c_keeps_the_log() -> None:
    def press(state: State) -> None:
        if state.step == 4:
            raise KeyboardInterrupt

    for optimizer in ("adam", "scipy:BFGS", "scipy:TNC", "scipy:COBYLA"):
        found = study(ROSENBROCK, optimizer, START, observers=[press])
        assert found.stopped == "interrupted after step 4"
        assert found.log.interrupted
        assert len(found.log) == 5


def test_errors_of_the_function_are_its_own() -> None:
    def broken(x: Any) -> Any:
        raise ZeroDivisionError("mine")

    for optimizer in ("adam", "scipy:SLSQP"):
        with pytest.raises(ZeroDivisionError, match="mine"):
            study(broken, optimizer, START)


@pytest.mark.parametrize("optimizer", ["sgd", "lbfgs", "scipy:BFGS", "scipy:SLSQP", "scipy:Nelder-Mead"])
@pytest.mark.parametrize("raised", [ValueError, OverflowError, np.linalg.LinAlgError])
def test_an_arithmetic_error_keeps_the_log(optimizer: str, raised: type[Exception]) -> None:
    counted = Counted()

    def f(x: np.ndarray) -> float:
        if counted.values == 12:
            raise raised("beyond the domain")
        return counted.f(x)

    options = {"learning_rate": 1e-3} if optimizer == "sgd" else {}
    found = study(f, optimizer, START, gradient=counted.gradient, **options)
    assert len(found.log) > 1
    assert np.isfinite(found.log.values).all()
    assert found.stopped == f"{raised.__name__} after step {found.log[-1].step}: beyond the domain"
    assert found.profile.seconds > 0


def test_other_errors_are_raised() -> None:
    def late(error: Exception) -> Any:
        def fail(state: Any, log: Any = None) -> None:
            if getattr(state, "step", 0) == 3:
                raise error

        return fail

    with pytest.raises(ValueError, match="an observer's"):
        study(bowl, "adam", [1.0], observers=[late(ValueError("an observer's"))])
    with pytest.raises(ZeroDivisionError, match="a rule's"):
        study(ROSENBROCK, "scipy:BFGS", START, late(ZeroDivisionError("a rule's")))
    shapes = iter([(), (), (2,)])
    with pytest.raises(ShapeError, match="expected one number"):
        study(lambda x: np.ones(next(shapes)), "sgd", [1.0], gradient=np.ones_like)


def test_observers_see_every_state() -> None:
    seen: list[State] = []
    some: list[int] = []
    found = study(
        bowl, "adam", [1.0], limit_steps(4), observers=[seen.append, every(2, lambda s: some.append(s.step))]
    )
    assert seen == list(found.log)
    assert some == [0, 2, 4]


def test_an_optimizer_of_descriptions_is_one() -> None:
    by_name = study(ROSENBROCK, "adam", START, limit_steps(5), learning_rate=0.1, beta1=0.8)
    found = study(ROSENBROCK, Adam(learning_rate=0.1, beta1=0.8), START, limit_steps(5))
    np.testing.assert_array_equal(found.log.xs, by_name.log.xs)
    assert found.log.optimizer == by_name.log.optimizer == "adam(learning_rate=0.1, beta1=0.8)"
    with pytest.raises(TypeError, match="'beta2' stands beside an optimizer"):
        study(ROSENBROCK, Adam(), START, beta2=0.9)


@pytest.mark.parametrize(
    ("optimizer", "options", "said"),
    [
        ("adamm", {}, "there is no optimizer 'adamm'. Did you mean 'adam'?"),
        ("scipy:bfgs", {}, "Did you mean 'scipy:BFGS'?"),
        ("zzzz", {}, "Known are sgd, adam"),
        ("adam", {"lr": 0.1}, "adam has no option 'lr'. Did you mean 'learning_rate'?"),
        ("sgd", {"zzzz": 1}, "Expected learning_rate, momentum"),
        ("adam", {"beta1": 2.0}, "beta1"),
        ("lbfgs", {"history": 5}, "lbfgs has no option 'history'"),
        ("lbfgs", {"line_search": "armijo"}, "line_search"),
        ("scipy:BFGS", {"gtoll": 1e-9}, "scipy:BFGS has no option 'gtoll'. Did you mean 'gtol'?"),
        ("scipy:trust-constr", {"zzzz": 1}, "scipy:trust-constr has no option 'zzzz'"),
        ("scipy:CG", {"zzzz": 1}, r"scipy.optimize.show_options\('minimize', 'cg'\) lists them"),
    ],
)
def test_optimizers_and_options_that_there_are_not(
    optimizer: str, options: dict[str, Any], said: str
) -> None:
    with pytest.raises(CortexError, match=said):
        study(bowl, optimizer, [1.0], **options)


def test_options_of_scipy_are_its() -> None:
    coarse, fine = (study(ROSENBROCK, "scipy:BFGS", START, gtol=tol) for tol in (1e-1, 1e-9))
    assert len(coarse.log) < len(fine.log)


def test_functions_that_are_none() -> None:
    with pytest.raises(ShapeError, match=r"f gave shape \(2,\), expected one number: take its sum"):
        study(lambda x: x * x, "adam", [1.0, 2.0])
    with pytest.raises(ArgumentError, match="f gave None, expected one number"):
        study(lambda x: None, "adam", [1.0])
    with pytest.raises(GradientError, match=r"f has no gradient: .*Write f with the ops of Tensors"):
        study(lambda x: np.cos(x[0]), "adam", [1.0])
    with pytest.raises(GradientError, match="of a Tensor f gave a float"):
        study(lambda x: float(x[0]) ** 2, "adam", [1.0])
    with pytest.raises(GradientError, match="does not depend on x"):
        study(lambda x: (x.detach() * x.detach()).sum(), "adam", [1.0])
    with pytest.raises(TypeError, match="f is a int"):
        study(3, "adam", [1.0])  # type: ignore[arg-type]
    with pytest.raises(GradientError, match="second derivatives need an f of Tensors"):
        study(bowl, "scipy:trust-exact", [1.0], gradient=lambda x: 2 * x)


def test_other_arguments_that_are_none() -> None:
    with pytest.raises(ArgumentError, match="expected a rule such as"):
        study(bowl, "adam", [1.0], 100)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match=r"x0 is .*nan.*expected finite numbers"):
        study(bowl, "adam", [np.nan])
    with pytest.raises(ArgumentError, match="x0 is an array of <U1"):
        study(bowl, "adam", ["a"])
    with pytest.raises(ArgumentError, match="x0 is no array"):
        study(bowl, "adam", [[1.0], [1.0, 2.0]])
    with pytest.raises(ArgumentError, match="expected some numbers"):
        study(bowl, "adam", [])
    with pytest.raises(ArgumentError, match="gradient is 'numeric', expected a function or 'differences'"):
        study(bowl, "adam", [1.0], gradient="numeric")
    with pytest.raises(ShapeError, match=r"gradient gave shape \(\), expected that of x, \(1,\)"):
        study(bowl, "adam", [1.0], gradient=lambda x: 1.0)
    with pytest.raises(TypeError, match="optimizer is a int"):
        study(bowl, 3, [1.0])


def test_a_rule_that_gives_no_words() -> None:
    def low_enough(state: State, log: Log) -> Any:
        return np.True_ if state.step == 2 else False

    assert study(bowl, "adam", [1.0], low_enough).stopped == "low_enough gave True"


@pytest.mark.parametrize("observers", [print, [3], 3])
def test_observers_are_functions_in_a_list(observers: Any) -> None:
    with pytest.raises(ArgumentError, match="expected functions in a list"):
        study(bowl, "adam", [1.0], observers=observers)


def test_review_side_by_side() -> None:
    slow = study(bowl, "sgd", [1.0], limit_steps(3), learning_rate=0.1)
    fast = study(bowl, "sgd", [1.0], limit_value(0.5), learning_rate=0.25)
    seen: list[Moment] = []
    review({"slow": slow.log, "fast": fast.log}, seen.append)
    assert [moment.step for moment in seen] == [0, 1, 2, 3]
    assert seen[1].states == {"slow": slow.log[1], "fast": fast.log[1]}
    assert seen[2].states == {"slow": slow.log[2], "fast": None}
    assert str(seen[2]).splitlines()[1] == "fast  ended"

    some: list[Moment] = []
    review([slow.log, slow.log, fast.log], every(2, some.append))
    assert [moment.step for moment in some] == [0, 2]
    assert list(some[0].states) == [
        "sgd(learning_rate=0.1)", "sgd(learning_rate=0.1) #2", "sgd(learning_rate=0.25)"
    ]  # fmt: skip
    with pytest.raises(ArgumentError, match="a Study, expected the log of a study"):
        review([slow])  # type: ignore[list-item]
    with pytest.raises(ArgumentError, match="a Study, expected the log of a study"):
        review(slow)  # type: ignore[arg-type]
    review({0.1: slow.log}, seen.append)  # type: ignore[dict-item]
    assert list(seen[-1].states) == ["0.1"]


def test_what_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    found = study(bowl, "sgd", [1.0, -2.0], limit_steps(1), learning_rate=0.25)
    review(found.log)
    line = "step     1  value 1.250000e+00  gradient 2.236e+00  x [ 0.5, -1. ]"
    assert capsys.readouterr().out.splitlines()[1] == f"sgd(learning_rate=0.25)  {line}"
    assert str(found).splitlines()[:2] == ["bowl by sgd(learning_rate=0.25): 1 step", line]
    assert str(found.profile).startswith("f 2 times in ")
    assert repr(found.log) == "<bowl by sgd(learning_rate=0.25): 2 states, 1 step>"
    assert repr(Log("adam", "f")) == "<f by adam: 0 states, going on>"
    assert "gradient" not in str(study(bowl, "scipy:Powell", [1.0], limit_steps(1)).log[0])
