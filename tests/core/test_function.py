"""The user's own ops."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import numpy as np
import pytest

from cortex_compute.errors import DTypeError, GradientError, NotFiniteError, ShapeError
from cortex_core.autograd import grad
from cortex_core.function import Function
from cortex_core.gradcheck import gradcheck
from cortex_core.modes import detect_anomaly, no_grad
from cortex_core.ops.pointwise import exp
from cortex_core.ops.reduce import sum as total
from cortex_core.tensor import Tensor
from cortex_core.tracing import trace
from cortex_core.transforms import hessian, hvp, jvp

X = np.random.default_rng(0).standard_normal((2, 3))


def leaf(x: Any = X) -> Tensor:
    return Tensor(np.array(x, np.float64), requires_grad=True)


class NumpyExp(Function):
    """Its forward is none of ours; its backward is made of ops, of the result."""

    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        y = Tensor(np.exp(x.numpy()))
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        (y,) = ctx.saved_tensors
        return g * y


class Scale(Function):
    """By a number that is no Tensor; saves an argument and something that is neither argument nor result."""

    @staticmethod
    def forward(ctx: Any, x: Any, factor: float) -> Any:
        square = Tensor(x.numpy() ** 2)
        ctx.save_for_backward(x, None, square)
        ctx.factor = factor
        return x * square * factor

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        x, nothing, square = ctx.saved_tensors
        assert nothing is None
        assert isinstance(square, Tensor)
        return g * x * x * (3 * ctx.factor), None


class SortWithPlaces(Function):
    @staticmethod
    def forward(ctx: Any, x: Any, y: Any) -> Any:
        order = np.argsort(x.numpy())
        ctx.order = order
        rounded = Tensor(np.round(x.numpy()))
        ctx.mark_non_differentiable(rounded)
        return Tensor(x.numpy()[order]), Tensor(order), rounded, y * 2.0

    @staticmethod
    def backward(ctx: Any, *gs: Any) -> Any:
        assert all(isinstance(g, Tensor) for g in gs)
        ctx.seen = [g.numpy() for g in gs]
        return gs[0][np.argsort(ctx.order)], gs[3] * 2.0


def own(forward: Any, backward: Any) -> Any:
    return type(
        "Own", (Function,), {"forward": staticmethod(forward), "backward": staticmethod(backward)}
    ).apply


def test_one_node_with_the_written_gradient() -> None:
    x = leaf()
    y = NumpyExp.apply(x)
    assert (y.operation, y.children) == ("NumpyExp", (x,))
    np.testing.assert_array_equal(y.numpy(), np.exp(X))
    total(y * 3.0).backward()
    np.testing.assert_allclose(x.grad, 3 * np.exp(X), rtol=1e-15)


def test_gradients_of_gradients() -> None:
    assert gradcheck(NumpyExp.apply, X, order=2)
    assert gradcheck(lambda x: Scale.apply(x, 2.5), X, order=2)
    x = leaf([2.0])
    y = NumpyExp.apply(x)
    for _ in range(3):
        (y,) = grad(y, x, create_graph=True)
    np.testing.assert_allclose(y.numpy(), np.exp([2.0]), rtol=1e-15)


class NumpyCube(Function):
    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        ctx.x = x.numpy()
        return Tensor(ctx.x**3)

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        return Tensor(3 * ctx.x**2 * g.numpy())


@pytest.mark.parametrize(
    "twice",
    [
        lambda x: hessian(lambda y: total(NumpyCube.apply(y)))(x),
        lambda x: jvp(lambda y: total(NumpyCube.apply(y)), x, np.ones_like(x)),
        lambda x: hvp(lambda y: total(NumpyCube.apply(y) * y), x, np.ones_like(x)),
        lambda x: grad(total(NumpyCube.apply(x := leaf(x)) * x), x, create_graph=True),
    ],
)
def test_a_backward_that_computes_with_numbers_has_no_second_derivative(twice: Any) -> None:
    assert gradcheck(NumpyCube.apply, X)
    with pytest.raises(GradientError, match=r"NumpyCube\.backward: gradient 0 was computed with numbers"):
        twice(X)


def test_a_linear_function_has_a_second_derivative_of_zero() -> None:
    double = own(lambda ctx, x: Tensor(2.0 * x.numpy()), lambda ctx, g: 2.0 * g)
    second = hessian(lambda x: total(double(x)))(np.ones(2))
    np.testing.assert_array_equal(second.numpy(), np.zeros((2, 2)))
    assert not second.requires_grad


def test_several_results_and_what_has_no_gradient() -> None:
    x, y = leaf([3.2, 1.4, 2.0]), Tensor(np.ones(3))
    values, places, rounded, doubled = SortWithPlaces.apply(x, y)
    assert (values.requires_grad, places.requires_grad, rounded.requires_grad) == (True, False, False)
    total(values * np.array([1.0, 2.0, 3.0])).backward()
    np.testing.assert_array_equal(x.grad, [3, 1, 2])
    assert doubled.requires_grad


def test_absent_gradients_are_zeros() -> None:
    seen: list[Any] = []

    def backward(ctx: Any, a: Any, b: Any) -> Any:
        seen.append((a.numpy(), b.numpy()))
        return a

    first, _ = own(lambda ctx, x: (x * 1.0, x[0]), backward)(leaf())
    total(first).backward()
    np.testing.assert_array_equal(seen[0][0], np.ones((2, 3)))
    np.testing.assert_array_equal(seen[0][1], np.zeros(3))


def test_needs_input_grad() -> None:
    seen: list[Any] = []

    def forward(ctx: Any, a: Any, b: Any, n: int) -> Any:
        seen.append(ctx.needs_input_grad)
        return a + b

    def backward(ctx: Any, g: Any) -> Any:
        seen.append(ctx.needs_input_grad)
        return None, g, None

    total(own(forward, backward)(Tensor(X), leaf(), 3)).backward()
    assert seen == [(False, True, False)] * 2


def test_nothing_is_recorded_where_nothing_is_wanted() -> None:
    assert not NumpyExp.apply(Tensor(X)).requires_grad
    with no_grad():
        assert not NumpyExp.apply(leaf()).requires_grad
    inside: list[bool] = []

    def forward(ctx: Any, x: Any) -> Any:
        inside.append((x * 2.0).requires_grad)
        return x * 6.0

    x = leaf()
    assert own(forward, lambda ctx, g: g * 6.0)(x).children == (x,)
    assert inside == [False]


def test_an_argument_may_be_the_result() -> None:
    x = leaf()
    y = own(lambda ctx, x: x, lambda ctx, g: g * 5.0)(x)
    total(y).backward()
    np.testing.assert_array_equal(x.grad, np.full((2, 3), 5.0))
    assert x.is_leaf


def test_a_result_has_memory_of_its_own() -> None:
    x = leaf()
    same, row = own(lambda ctx, x: (x, x[0]), lambda ctx, g, h: g)(x)
    same += 1.0
    row += 1.0
    np.testing.assert_array_equal(x.numpy(), X)


def test_an_array_may_be_the_gradient() -> None:
    x = leaf()
    total(own(lambda ctx, x: x * 1.0, lambda ctx, g: np.full((2, 3), 7.0))(x)).backward()
    np.testing.assert_array_equal(x.grad, np.full((2, 3), 7.0))


def test_a_backward_in_place_on_what_it_makes() -> None:
    def backward(ctx: Any, g: Any) -> Any:
        g = g.clone()
        g[0] = 0.0
        return g * 2.0

    x = leaf()
    total(own(lambda ctx, x: x * 2.0, backward)(x)).backward()
    np.testing.assert_array_equal(x.grad, [[0, 0, 0], [2, 2, 2]])


@pytest.mark.parametrize("which", ["argument", "result"])
def test_a_change_in_place_of_what_was_saved(which: str) -> None:
    x = leaf()
    a = x * 1.0
    y = NumpyExp.apply(a) if which == "result" else Scale.apply(a, 2.0)
    loss = total(y * 1.0)
    with no_grad():
        (y if which == "result" else a).add_(1.0)  # the line that is named
    with pytest.raises(GradientError, match=r"changed in place at .*test_function\.py:\d+"):
        loss.backward()


def test_a_recorded_change_of_a_saved_argument() -> None:
    a = leaf() * 1.0
    loss = total(Scale.apply(a, 2.0))
    a += 1.0
    with pytest.raises(GradientError, match=r"changed in place at .*test_function\.py:\d+"):
        loss.backward()


def test_a_change_of_what_was_not_saved_is_none_of_its_business() -> None:
    x = leaf()
    a = x * 1.0
    loss = total(NumpyExp.apply(a))
    with no_grad():
        a.add_(1.0)
    loss.backward()
    np.testing.assert_allclose(x.grad, np.exp(X), rtol=1e-15)


def test_a_stale_view_as_an_argument() -> None:
    h = leaf() * 1.0
    row = h[0]
    h += 1.0
    with pytest.raises(GradientError, match=r"take the view again after the change"):
        NumpyExp.apply(row)


def test_backward_gives_the_memory_of_what_was_saved_back() -> None:
    kept: list[Any] = []

    def forward(ctx: Any, x: Any) -> Any:
        y, square = x * 2.0, x * x
        ctx.save_for_backward(y, square)
        kept.extend([weakref.ref(y.numpy()), weakref.ref(square.numpy())])
        return y

    loss = total(own(forward, lambda ctx, g: g * 2.0)(leaf()) * 1.0)
    assert all(memory() is not None for memory in kept)
    loss.backward()
    assert all(memory() is None for memory in kept)


def test_a_freed_graph() -> None:
    y = total(NumpyExp.apply(leaf()))
    y.backward(retain_graph=True)
    y.backward()
    with pytest.raises(GradientError, match="freed"):
        y.backward()


def test_the_graph_goes_with_the_result() -> None:
    gc.disable()
    try:
        x = leaf()
        y = NumpyExp.apply(x)
        node, memory = weakref.ref(y.node), weakref.ref(y.numpy())
        del y
        assert node() is None
        assert memory() is None
    finally:
        gc.enable()


def test_a_nan_is_named() -> None:
    def forward(ctx: Any, x: Any) -> Any:
        return Tensor(np.full(3, np.nan))

    with (
        detect_anomaly(),
        pytest.raises(NotFiniteError, match=r"NaN in the result of Own, at .*test_f"),
    ):
        own(forward, None)(leaf(np.ones(3)))


@pytest.mark.parametrize(
    ("answer", "error", "told"),
    [
        (lambda g: (g, None), GradientError, r"Own.backward gave 2 gradients, forward took 1 arguments"),
        (
            lambda g: g[0],
            ShapeError,
            r"Own.backward: argument 0 is float64\[2, 3\], its gradient float64\[3\]",
        ),
        (lambda g: g.float(), DTypeError, r"argument 0 is float64\[2, 3\], its gradient float32\[2, 3\]"),
        (lambda g: 3.0, TypeError, r"Own.backward: gradient 0 is a float, needs a Tensor"),
    ],
)
def test_wrong_gradients(answer: Any, error: type[Exception], told: str) -> None:
    y = own(lambda ctx, x: x * 1.0, lambda ctx, g: answer(g))(leaf())
    with pytest.raises(error, match=told):
        total(y).backward()


def test_a_gradient_of_what_is_no_tensor() -> None:
    y = own(lambda ctx, x, n: x * n, lambda ctx, g: (g, g))(leaf(), 2.0)
    with pytest.raises(GradientError, match=r"argument 1 is no Tensor, its gradient must be None"):
        total(y).backward()


def test_wrong_use() -> None:
    with pytest.raises(TypeError, match=r"Own.forward gave ndarray, needs Tensor"):
        own(lambda ctx, x: x.numpy(), None)(leaf())
    with pytest.raises(TypeError, match=r"save_for_backward takes Tensors, got ndarray: set an attribute"):
        own(lambda ctx, x: ctx.save_for_backward(x.numpy()), None)(leaf())
    with pytest.raises(NotImplementedError, match="forward"):
        Function.apply(leaf())


def test_programs_are_made_of_ops() -> None:
    with pytest.raises(TypeError, match=r"NumpyExp: a Function computes with numbers.*write it in ops"):
        trace(lambda x: NumpyExp.apply(x), X)
    y = NumpyExp.apply(leaf())
    with pytest.raises(TypeError, match="NumpyExp: a Function computes with numbers"):
        trace(lambda x: exp(x) * y, X)
