"""Functions of functions, against closed forms and against what JAX answers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cortex_compute.errors import ArgumentError, DTypeError, GradientError, ShapeError
from cortex_core.autograd import older
from cortex_core.function import Function
from cortex_core.modes import mode, no_grad
from cortex_core.ops.linear import matmul
from cortex_core.ops.pointwise import exp, sin, tanh
from cortex_core.ops.reduce import sum as total
from cortex_core.tensor import Tensor
from cortex_core.tracing import trace
from cortex_core.transforms import grad, hessian, hvp, jacobian, jvp, value_and_grad, vjp

RNG = np.random.default_rng(0)
A = RNG.standard_normal((3, 3))
X = RNG.standard_normal(3)
V = RNG.standard_normal(3)


def quadratic(x: Any) -> Any:
    """x' A' A x: its gradient is 2 A' A x, its Hessian 2 A' A."""
    y = matmul(A, x)
    return total(y * y)


def vector(x: Any) -> Any:
    return sin(x) * x[0]


JACOBIAN = np.diag(np.cos(X) * X[0]) + np.outer(np.sin(X), [1, 0, 0])


def close(a: Any, b: Any) -> None:
    np.testing.assert_allclose(np.asarray(a), b, rtol=1e-12, atol=1e-12)


def test_grad_takes_tensors_arrays_and_numbers() -> None:
    close(grad(quadratic)(Tensor(X)), 2 * A.T @ A @ X)
    close(grad(quadratic)(X), 2 * A.T @ A @ X)
    g = grad(lambda x: x**3)(2.0)
    assert (g.item(), g.dtype.name, g.shape) == (12.0, "float32", ())
    assert grad(lambda x: x * x)(3).item() == 6.0
    assert grad(lambda x: x * x)(np.float64(3)).dtype.name == "float64"


@pytest.mark.parametrize(("order", "wanted"), [(1, 256.0), (2, 192.0), (3, 96.0), (4, 24.0), (5, 0.0)])
def test_any_order(order: int, wanted: float) -> None:
    f: Any = lambda x: x**4  # noqa: E731
    for _ in range(order):
        f = grad(f)
    assert f(np.float64(4.0)).item() == wanted


def test_perturbations_are_not_confused() -> None:
    """d/dx (x * d/dy (x + y) at y = x) = d/dx (x * 1) = 1: JAX's answer; 2 where the two x are confused."""
    assert grad(lambda x: x * grad(lambda y: x + y)(x))(3.0).item() == 1.0


def test_inner_derivatives_see_what_they_close_over() -> None:
    """d/dx (d/dy x y^2 at y = x^2) = d/dx 2 x^3."""
    assert grad(lambda x: grad(lambda y: x * y * y)(x * x))(2.0).item() == 24.0


def test_several_arguments() -> None:
    f = lambda a, b: total(a * b * b)  # noqa: E731
    a, b = RNG.standard_normal((2, 3))
    close(grad(f, 1)(a, b), 2 * a * b)
    close(grad(f, -1)(a, b), 2 * a * b)
    da, db = grad(f, (0, 1))(a, b)
    close(da, b * b)
    close(db, 2 * a * b)


def test_arguments_may_be_trees() -> None:
    p = {"w": Tensor(X), "b": [Tensor(V)]}
    g = grad(lambda p: total(p["w"] * p["w"] * p["b"][0]))(p)
    close(g["w"], 2 * X * V)
    close(g["b"][0], X * X)


def test_values_and_what_comes_along() -> None:
    value, g = value_and_grad(quadratic)(X)
    close(value, X @ A.T @ A @ X)
    close(g, 2 * A.T @ A @ X)
    (value, aux), g = value_and_grad(lambda x: (total(x * x), {"twice": x * 2, "n": 3}), has_aux=True)(X)
    close(aux["twice"], 2 * X)
    assert aux["n"] == 3
    g, aux = grad(lambda x: (total(x * x), x), has_aux=True)(X)
    close(g, 2 * X)
    assert not aux.requires_grad
    j, aux = jacobian(lambda x: (x * x, 5), has_aux=True)(X)
    close(j, np.diag(2 * X))
    assert aux == 5


def test_nothing_flows() -> None:
    close(grad(lambda x: 3.0)(X), np.zeros(3))
    close(grad(lambda x, y: total(y), (0, 1))(X, V)[0], np.zeros(3))
    close(jacobian(lambda x: Tensor(A))(X), np.zeros((3, 3, 3)))
    value, tangent = jvp(lambda x: Tensor(V), X, V)
    close(value, V)
    close(tangent, np.zeros(3))


def test_jacobians() -> None:
    close(jacobian(vector)(X), JACOBIAN)
    close(jacobian(lambda x: total(x))(X), np.ones(3))
    by_row = jacobian(lambda x: {"a": vector(x), "b": x * x})(X)
    close(by_row["a"], JACOBIAN)
    close(by_row["b"], np.diag(2 * X))
    x, y = RNG.standard_normal((2, 3)), RNG.standard_normal((3, 2))
    dx, dy = jacobian(matmul, (0, 1))(x, y)
    close(dx, np.einsum("ik,lj->ijkl", np.eye(2), y))
    close(dy, np.einsum("jl,ik->ijkl", np.eye(2), x))
    assert jacobian(lambda x: x[:0])(X).shape == (0, 3)


def test_hessians() -> None:
    close(hessian(quadratic)(X), 2 * A.T @ A)
    (aa, ab), (ba, bb) = hessian(lambda a, b: total(a * a * b), (0, 1))(X, V)
    close(aa, np.diag(2 * V))
    close(ab, np.diag(2 * X))
    close(ba, np.diag(2 * X))
    close(bb, np.zeros((3, 3)))
    assert hessian(lambda x: x**3)(2.0).item() == 12.0


def test_a_derivative_of_a_hessian() -> None:
    third = jacobian(hessian(lambda x: total(x**3)))(X)
    wanted = np.zeros((3, 3, 3))
    wanted[range(3), range(3), range(3)] = 6
    close(third, wanted)


def test_forward_mode() -> None:
    value, tangent = jvp(vector, X, V)
    close(value, np.sin(X) * X[0])
    close(tangent, JACOBIAN @ V)
    value, tangent = jvp(lambda a, b: a * b, (X, V), (V, X))
    close(tangent, V * V + X * X)
    _, (dfirst, dsecond) = jvp(lambda x: (exp(x), x * 2), X, V)
    close(dfirst, np.exp(X) * V)
    close(dsecond, 2 * V)
    _, tangent = jvp(lambda x: x * x, 3.0, 1.0)
    assert tangent.item() == 6.0


def test_vector_jacobian_products() -> None:
    value, product = vjp(vector, X, V)
    close(value, np.sin(X) * X[0])
    close(product, V @ JACOBIAN)
    _, (by_a, by_b) = vjp(lambda a, b: {"ab": a * b, "a": a}, (X, V), {"ab": V, "a": X})
    close(by_a, V * V + X)
    close(by_b, V * X)
    close(grad(lambda x: total(vjp(lambda y: y**3, x, V)[1]))(X), 6 * X * V)
    with pytest.raises(ShapeError, match=r"vjp: the result is float64\[3\], its direction float64\[2\]"):
        vjp(vector, X, V[:2])
    with pytest.raises(ShapeError, match="vjp: the vector has not the structure of the result"):
        vjp(vector, X, (V, V))


def test_forward_over_forward_and_over_reverse() -> None:
    _, second = jvp(lambda x: jvp(lambda y: y**3, x, 1.0)[1], 2.0, 1.0)
    assert second.item() == 12.0
    _, product = jvp(grad(quadratic), X, V)
    close(product, 2 * A.T @ A @ V)
    close(grad(lambda x: total(jvp(lambda y: y * y, x, V)[1]))(X), 2 * V)


def test_hessian_vector_products() -> None:
    close(hvp(quadratic, X, V), 2 * A.T @ A @ V)
    pa, pb = hvp(lambda a, b: total(a * a * b), (X, V), (V, X))
    close(pa, 2 * V * V + 2 * X * X)
    close(pb, 2 * X * V)
    close(hvp(lambda x: total(x), X, V), np.zeros(3))


def test_results_have_a_history_only_where_it_leads_outside() -> None:
    w = Tensor(V, requires_grad=True)
    g = grad(lambda x: total(w * x * x))(X)
    total(g).backward()
    close(w.grad, 2 * X)
    assert not grad(quadratic)(Tensor(X)).requires_grad
    assert not grad(lambda x: total(w) + total(x * x))(X).requires_grad
    assert not jvp(vector, Tensor(X), V)[1].requires_grad
    x = Tensor(X, requires_grad=True)
    total(grad(lambda x: total(x**3))(x)).backward()
    close(x.grad, 6 * X)
    with no_grad():
        assert not grad(lambda x: total(w * x * x))(X).requires_grad
        close(hessian(quadratic)(x), 2 * A.T @ A)


def test_no_more_is_recorded_than_can_be_asked_for() -> None:
    nodes: list[Any] = []
    with mode(watch=nodes.append):
        grad(quadratic)(X)
        jvp(quadratic, X, V)
    forward = ["Gemm", "Elementwise", "Reduce"]
    names = [node.primitive.name for node in nodes if node.primitive.name in forward]
    assert names[:3] == forward
    assert names.count("Gemm") == 3  # forward; forward and back
    w = Tensor(V, requires_grad=True)
    value, _ = value_and_grad(lambda x: total(w * x))(X)
    assert older([value], 0) == [w]


def test_the_arguments_stay_as_they_are() -> None:
    x = Tensor(X.copy(), requires_grad=True)
    value_and_grad(quadratic)(x)
    assert x.grad is None
    assert x.is_leaf
    y = Tensor(X.copy())
    value_and_grad(quadratic)(y)
    assert not y.requires_grad


def test_changes_in_place_inside() -> None:
    def f(x: Any) -> Any:
        y = x * x
        y += x
        y[0] = 1.0
        return total(y)

    close(grad(f)(X), [0, *2 * X[1:] + 1])
    close(hessian(f)(X), np.diag([0, 2, 2]))
    close(jvp(f, X, V)[1], (2 * X[1:] + 1) @ V[1:])


def test_changes_in_place_inside_a_gradient() -> None:
    class Cube(Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            ctx.save_for_backward(x)
            return x * x * x

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            (x,) = ctx.saved_tensors
            y = x * x - x
            y += x
            return g * y * 3.0

    close(jvp(Cube.apply, X, V)[1], 3 * X * X * V)
    close(hvp(lambda x: total(Cube.apply(x)), X, V), 6 * X * V)
    close(jvp(grad(lambda x: total(Cube.apply(x))), X, V)[1], 6 * X * V)


def test_programs_have_derivatives_too() -> None:
    step = trace(lambda x: matmul(hessian(lambda y: total(tanh(y) * x))(x), x), X)
    eager = matmul(hessian(lambda y: total(tanh(y) * X))(X), X)
    close(step(X), eager)
    along = trace(lambda x, v: jvp(vector, x, v), X, V)
    close(along(X, V)[1], JACOBIAN @ V)


@pytest.mark.parametrize(
    ("call", "error", "told"),
    [
        (lambda: grad(vector)(X), GradientError, r"must give one number, it gave float64\[3\].*jacobian"),
        (lambda: grad(lambda x: (x[0], x[1]))(X), GradientError, "must give one number"),
        (lambda: grad(quadratic)(np.arange(3)), DTypeError, r"argument 0 is int64\[3\]; only floating"),
        (lambda: grad(quadratic)([1.0, 2.0]), DTypeError, r"argument 0 .* holds no array"),
        (lambda: grad(quadratic)(True), DTypeError, "holds no array"),
        (lambda: grad(quadratic, 1)(X), ArgumentError, "argnums=1, but there are 1 positional"),
        (lambda: grad(lambda x: x[0] > 0)(X), DTypeError, "gave bool.*no gradient"),
        (lambda: grad(quadratic, has_aux=True)(X), GradientError, r"gives \(result, aux\)"),
        (
            lambda: jvp(vector, X, V[:2]),
            ShapeError,
            r"is float64\[3\], its direction float64\[2\]",
        ),
        (lambda: jvp(vector, X, V.astype("f")), DTypeError, "its direction float32"),
        (lambda: jvp(vector, X, (V, V)), ShapeError, "structure of the arguments"),
        (lambda: hvp(vector, X, V), GradientError, "must give one number"),
    ],
)
def test_errors(call: Any, error: type[Exception], told: str) -> None:
    with pytest.raises(error, match=told):
        call()


@pytest.mark.parametrize("transform", [grad, value_and_grad, jacobian, hessian])
def test_the_argument_in_the_place_of_its_number(transform: Any) -> None:
    with pytest.raises(
        ValueError, match=rf"{transform.__name__}: argnums is .*write {transform.__name__}\(f\)\(x\)"
    ):
        transform(lambda x: x.sum(), Tensor([1.0]))
