"""gradcheck finds what is wrong, says where, and lets pass what is right."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cortex_compute.errors import ArgumentError, DTypeError, GradientError
from cortex_core.function import Function
from cortex_core.gradcheck import gradcheck
from cortex_core.nn import functional as F
from cortex_core.ops.linear import matmul
from cortex_core.ops.pointwise import exp, tanh
from cortex_core.tensor import Tensor

RNG = np.random.default_rng(0)
X = RNG.standard_normal((2, 3))


def scaled(first: float = 1.0, second: float = 1.0) -> Any:
    """x ** 3 with a gradient, and a gradient of the gradient, that are wrong by these factors."""

    class Slope(Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            ctx.save_for_backward(x)
            return x * x * (3 * first)

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            (x,) = ctx.saved_tensors
            return g * x * (6 * first * second)

    class Cube(Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            ctx.save_for_backward(x)
            return x * x * x

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            return g * Slope.apply(*ctx.saved_tensors)

    return Cube.apply


def test_what_is_right_passes() -> None:
    assert gradcheck(lambda a, b: (tanh(matmul(a, b)), exp(a)), (X, X.T.copy()), order=2)
    assert gradcheck(lambda x: x**3, Tensor(2.0, dtype="float64"), order=2)
    assert gradcheck(lambda x: Tensor(X), X, order=2)
    assert gradcheck(scaled(), X, order=2)


def test_random_numbers_are_the_same_each_time() -> None:
    assert gradcheck(lambda x: F.dropout(x, 0.5, True) * x, X)


def test_integers_and_marked_inputs() -> None:
    ids = np.array([1, 0, 1])
    table = Tensor(X, requires_grad=True)
    assert gradcheck(lambda ids, t: t[ids] * t[ids], (ids, table))
    assert gradcheck(lambda a, b: a * b.detach(), (table, Tensor(X)))
    with pytest.raises(GradientError, match="input 1"):
        gradcheck(lambda a, b: a * b.detach(), (Tensor(X), Tensor(X)))


def test_a_wrong_gradient_is_placed() -> None:
    x = np.array([[1.0, 2.0], [3.0, -4.0]])
    told = r"gradcheck: output 0 at \[1, 1\], input 0 at \[1, 1\]: the gradient is 52.8, .* difference 48"
    with pytest.raises(GradientError, match=told):
        gradcheck(scaled(1.1), x)


def test_a_wrong_second_gradient_is_placed() -> None:
    wrong = scaled(1.0, 1.1)
    assert gradcheck(wrong, X)
    with pytest.raises(GradientError, match=r"gradcheck, order 2: output 0 at \[., .\], input 0"):
        gradcheck(wrong, X, order=2)


def test_a_gradient_that_is_no_number_is_wrong() -> None:
    class Nan(Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            return x * 2.0

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            return g * float("nan")

    with pytest.raises(GradientError, match="the gradient is nan"):
        gradcheck(Nan.apply, X)


def test_errors() -> None:
    with pytest.raises(DTypeError, match=r"input 1 is float32\[3\]; differences need float64: use double"):
        gradcheck(lambda a, b: a, (X, np.zeros(3, np.float32)))
    with pytest.raises(ArgumentError, match="order=3"):
        gradcheck(exp, X, order=3)
    with pytest.raises(DTypeError, match="none of the inputs is floating"):
        gradcheck(exp, np.arange(3))
