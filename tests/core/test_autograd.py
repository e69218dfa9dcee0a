"""backward and what belongs to it: accumulation, kept graphs, modes, NaN, other libraries."""

from __future__ import annotations

import copy
import math
import sys
import threading
from typing import Any

import numpy as np
import pytest

import cortex
from cortex_compute.errors import (
    BackendError,
    CortexError,
    DTypeError,
    GradientError,
    NotFiniteError,
    ShapeError,
)
from cortex_compute.primitives.matrix import Gemm
from cortex_compute.types import TensorType, float64
from cortex_core import changes
from cortex_core.autograd import backward, grad
from cortex_core.graph.value import input_value
from cortex_core.modes import detect_anomaly, enable_grad, is_grad_enabled, no_grad, set_grad_enabled
from cortex_core.ops.differentiate import RULES, differentiate
from cortex_core.ops.linear import matmul
from cortex_core.ops.pointwise import cos, exp, log, maximum, sin, sqrt, tanh
from cortex_core.ops.reduce import sum as total
from cortex_core.ops.softmax import log_softmax
from cortex_core.tensor import Tensor

X = np.array([0.5, -1.0, 2.0])


def leaf(x: Any = X) -> Tensor:
    return Tensor(np.array(x, np.float64), requires_grad=True)


# The promise.

LINES = """
import cortex
x = cortex.Tensor([2.0, 3.0], requires_grad=True)
y = cortex.Tensor([4.0, 5.0], requires_grad=True)
z = x * y + x ** 2
loss = z.sum()
loss.backward()
print(x.grad)                    # [8. 11.]
print(y.grad)                    # [2. 3.]
cortex.visualize_graph(loss)     # a drawing in a notebook, without graphviz installed

import cortex.nn as nn
import cortex.optim as optim
model = nn.Sequential(nn.Linear(in_dim, hidden_dim), nn.ReLU(), nn.Linear(hidden_dim, out_dim))
criterion = nn.MSELoss()
optimizer = optim.SGD(model.parameters(), weight_decay=1e-3, momentum=0.9)
for epoch in range(100):
    optimizer.zero_grad()
    loss = criterion(model(inputs), targets)
    loss.backward()
    optimizer.step()
    print(f"Epoch: {epoch+1} | Loss: {loss.item():.2f}")
"""


def test_these_lines_as_they_stand(capsys: pytest.CaptureFixture[str]) -> None:
    cortex.manual_seed(0)
    rng = np.random.default_rng(0)
    inputs = cortex.Tensor(rng.standard_normal((64, 3)).astype("f"))
    targets = cortex.Tensor((3 * inputs.numpy()[:, :1]).astype("f"))
    exec(LINES, {"in_dim": 3, "hidden_dim": 8, "out_dim": 1, "inputs": inputs, "targets": targets})
    first, second, *epochs = capsys.readouterr().out.splitlines()
    assert (first, second) == ("[8. 11.]", "[2. 3.]")
    assert len(epochs) == 100
    losses = [float(line.split("Loss: ")[1]) for line in epochs]
    assert epochs[0].startswith("Epoch: 1 | Loss: ")
    assert losses[-1] < 0.05 * losses[0]


# Where gradients go.


def test_gradients_accumulate() -> None:
    x = leaf()
    total(x * 2.0).backward()
    total(x * 3.0).backward()
    np.testing.assert_array_equal(x.grad, [5, 5, 5])
    x.grad = None
    total(x * 3.0).backward()
    np.testing.assert_array_equal(x.grad, [3, 3, 3])


def test_a_value_with_several_consumers_gets_the_sum() -> None:
    x = leaf()
    y = x * x
    total(y * y + y + x).backward()
    np.testing.assert_allclose(x.grad, 4 * X**3 + 2 * X + 1, rtol=1e-15)


def test_the_same_operand_twice() -> None:
    x = leaf(np.eye(2) * 3)
    total(matmul(x, x)).backward()
    np.testing.assert_array_equal(x.grad, np.full((2, 2), 6.0))


def test_only_leaves_have_gradients() -> None:
    x, plain = leaf(), Tensor(X)
    y = x * plain
    total(y).backward()
    assert y.grad is None
    assert plain.grad is None
    assert x.grad is not None
    assert not x.grad.requires_grad


def test_the_gradient_of_one_output_among_several() -> None:
    x = leaf()
    _, b = cortex.split(x, [1, 2])
    total(b * 2.0).backward()
    np.testing.assert_array_equal(x.grad, [0, 2, 2])


def test_named_inputs_only() -> None:
    x, w = leaf(), leaf()
    h = x * w
    total(h * 2.0).backward(inputs=[w, h])
    assert x.grad is None
    np.testing.assert_array_equal(w.grad, 2 * X)
    np.testing.assert_array_equal(h.grad, [2, 2, 2])


def test_an_input_that_is_named_twice_counts_once() -> None:
    x = leaf()
    total(x * 3.0).backward(inputs=[x, x])
    assert x.grad is not None
    np.testing.assert_array_equal(x.grad.data, np.full(3, 3.0))


def test_several_outputs_at_once() -> None:
    x = leaf()
    backward([total(x * x), x * 3.0], [None, Tensor(np.ones(3))])
    np.testing.assert_allclose(x.grad, 2 * X + 3, rtol=1e-15)


def test_a_gradient_that_is_given() -> None:
    x = leaf()
    (x * x).backward(Tensor(np.array([1.0, 10.0, 100.0])))
    np.testing.assert_array_equal(x.grad, [1, -20, 400])
    x.grad = None
    (x * x).backward([1.0, 10.0, 100.0])
    np.testing.assert_array_equal(x.grad, [1, -20, 400])


def test_grad_leaves_grad_alone() -> None:
    x, w = leaf(), leaf()
    dx, dw = grad(total(x * x * w), (x, w))
    np.testing.assert_allclose(dx, 2 * X * X, rtol=1e-15)
    np.testing.assert_allclose(dw, X * X, rtol=1e-15)
    assert x.grad is None
    assert w.grad is None


def test_grad_of_an_inner_tensor() -> None:
    x = leaf()
    h = x * 2.0
    (dh,) = grad(total(h * h), h)
    np.testing.assert_array_equal(dh, 4 * X)


def test_grad_of_what_is_not_used() -> None:
    x, w = leaf(), leaf()
    with pytest.raises(GradientError, match=r"do not depend on input 1; with allow_unused=True"):
        grad(total(x), (x, w))
    assert grad(total(x), (x, w), allow_unused=True)[1] is None


def test_a_leaf_differentiates_to_itself() -> None:
    x = leaf([2.0])
    x.backward()
    np.testing.assert_array_equal(x.grad, [1])


def test_detached_and_integer_ways_carry_nothing() -> None:
    x = leaf()
    total(x * x.detach()).backward()
    np.testing.assert_array_equal(x.grad, X)
    assert not x.long().requires_grad
    assert not (x > 0.0).requires_grad


# What a graph keeps.


def test_a_graph_is_freed() -> None:
    x = leaf()
    loss = total(x * x)
    loss.backward()
    with pytest.raises(GradientError, match=r"graph was freed by a backward before.*retain_graph=True"):
        loss.backward()


def test_a_graph_is_kept() -> None:
    x = leaf()
    loss = total(x * x)
    loss.backward(retain_graph=True)
    loss.backward()
    np.testing.assert_array_equal(x.grad, 4 * X)
    with pytest.raises(GradientError, match="freed"):
        loss.backward()


def test_a_part_that_two_losses_share_is_freed_with_the_first() -> None:
    x = leaf()
    h = exp(x)
    a, b = total(h * 2.0), total(h * 3.0)
    a.backward()
    with pytest.raises(GradientError, match="freed"):
        b.backward()


def test_numbers_of_inner_results_outlive_the_graph() -> None:
    x = leaf()
    h = x * 2.0
    total(h).backward()
    np.testing.assert_array_equal(h.numpy(), 2 * X)


# Gradients of gradients.


@pytest.mark.parametrize(
    ("f", "wanted"),
    [
        (lambda x: x**4, lambda x: (4 * x**3, 12 * x**2, 24 * x)),
        (exp, lambda x: (np.exp(x),) * 3),
        (sin, lambda x: (np.cos(x), -np.sin(x), -np.cos(x))),
        (log, lambda x: (1 / x, -1 / x**2, 2 / x**3)),
        (
            tanh,
            lambda x: (
                1 - np.tanh(x) ** 2,
                -2 * np.tanh(x) * (1 - np.tanh(x) ** 2),
                (1 - np.tanh(x) ** 2) * (6 * np.tanh(x) ** 2 - 2),
            ),
        ),
        (lambda x: 1.0 / x, lambda x: (-1 / x**2, 2 / x**3, -6 / x**4)),
        (
            lambda x: x[[0, 0, 2]] ** 3,
            lambda x: [np.array([2, 0, 1]) * d for d in (3 * x**2, 6 * x, 6 + 0 * x)],
        ),
    ],
    ids=["power", "exp", "sin", "log", "tanh", "reciprocal", "indices"],
)
def test_third_order(f: Any, wanted: Any) -> None:
    at = np.array([0.5, 1.0, 2.0])
    x = leaf(at)
    y = f(x)
    for derivative in wanted(at):
        (y,) = grad(total(y), x, create_graph=True)
        np.testing.assert_allclose(y.numpy(), derivative, rtol=1e-13, atol=1e-13)


def test_backward_that_creates_a_graph() -> None:
    x = leaf()
    total(x**3).backward(create_graph=True)
    first = x.grad
    assert first is not None
    assert first.requires_grad
    x.grad = None
    total(first * first).backward()
    np.testing.assert_allclose(x.grad, 36 * X**3, rtol=1e-14)


def test_a_penalty_on_a_gradient() -> None:
    """|d/dx (w x^2)|^2 = 4 w^2 x^2; by w: 8 w x^2."""
    x, w = leaf(), leaf([1.5])
    (g,) = grad(total(w * x * x), x, create_graph=True)
    total(g * g).backward()
    np.testing.assert_allclose(w.grad, [np.sum(8 * 1.5 * X**2)], rtol=1e-14)


# Modes.


def test_modes_as_contexts_and_decorators() -> None:
    x = leaf()

    @no_grad()
    def f(y: Tensor) -> Tensor:
        return y * 2.0

    @enable_grad()
    def g(y: Tensor) -> Tensor:
        return y * 2.0

    assert not f(x).requires_grad
    with no_grad():
        assert not is_grad_enabled()
        assert not (x * 2.0).requires_grad
        assert g(x).requires_grad
        with enable_grad():
            assert (x * 2.0).requires_grad
        assert not (x * 2.0).requires_grad
    assert is_grad_enabled()
    with set_grad_enabled(False):
        assert not (x * 2.0).requires_grad


def test_a_decorated_function_may_call_itself() -> None:
    x = leaf()

    @no_grad()
    def f(n: int) -> bool:
        return (x * 2.0).requires_grad or (n > 0 and f(n - 1))

    assert not f(3)
    assert is_grad_enabled()


def test_a_mode_ends_with_an_error() -> None:
    with pytest.raises(ZeroDivisionError), no_grad():
        raise ZeroDivisionError
    assert is_grad_enabled()


def test_each_thread_has_its_own_mode() -> None:
    x, inside, seen = leaf(), threading.Event(), []

    def other() -> None:
        inside.wait(10)
        y = total(x * 2.0)
        seen.append(y.requires_grad)
        seen.append(grad(y, x)[0].tolist())

    thread = threading.Thread(target=other)
    thread.start()
    with no_grad():
        inside.set()
        thread.join(10)
    assert seen == [True, [2.0, 2.0, 2.0]]


def test_a_tensor_made_without_recording_can_be_a_leaf() -> None:
    with no_grad():
        w = Tensor(X) * 2.0
    w.requires_grad = True
    total(w * w).backward()
    np.testing.assert_array_equal(w.grad, 4 * X)


# What bad input gets.


@pytest.mark.parametrize(
    ("call", "error", "told"),
    [
        (lambda x: Tensor([1.0]).backward(), GradientError, "does not depend on one with requires_grad=True"),
        (lambda x: Tensor([1]).backward(), GradientError, "integers have no gradient"),
        (lambda x: (x > 0.0).backward(), GradientError, "bool.*integers have no gradient"),
        (lambda x: (x * 2.0).backward(), GradientError, r"of shape \(3,\) needs a gradient.*sum\(\)"),
        (lambda x: (x * 2.0).backward(np.ones(2)), ShapeError, r"is float64\[3\], the gradient float64\[2\]"),
        (lambda x: (x * 2.0).backward(np.ones(3, "f")), DTypeError, r"the gradient float32\[3\]"),
        (lambda x: grad(total(x), Tensor(X)), GradientError, r"input 0 \(float64\[3\]\) was not made with"),
        (lambda x: backward([total(x)], [1.0, 2.0]), GradientError, "1 outputs need as many gradients"),
        (lambda x: x + np.ones(2), ShapeError, r"\(3,\)|\[3\]"),
        (lambda x: x + np.ones(3, "f"), DTypeError, "float64.*float32|float32.*float64"),
        (
            lambda x: Tensor([1, 2], requires_grad=True),
            DTypeError,
            "only floating tensors have gradients.*int64",
        ),
        (lambda x: setattr(x * 2.0, "requires_grad", False), GradientError, r"use detach\(\)"),
        (lambda x: total(x, axis=2), ShapeError, "axis"),
        (lambda x: total(x, size=2), TypeError, "no argument 'size'"),
        (lambda x: x + Tensor(X).to("numpy"), BackendError, r"bring them together by to\('numpy'\)"),
    ],
)
def test_errors(call: Any, error: type[Exception], told: str) -> None:
    with pytest.raises(error, match=told):
        call(leaf())


def test_gradients_cross_backends() -> None:
    x = leaf()
    y = exp(x.to("numpy") * 2.0).to("cpu") * 2.0
    total(y).backward()
    np.testing.assert_allclose(x.grad, 4 * np.exp(2 * X), rtol=1e-12)
    assert x.grad is not None
    assert x.grad.backend == x.backend


# NaN.


def here() -> str:
    """FILE:LINE of the caller's line before."""
    import sys

    frame = sys._getframe(1)
    return f"test_autograd.py:{frame.f_lineno - 1}"


def test_a_nan_names_its_op_and_line() -> None:
    with detect_anomaly(), pytest.raises(NotFiniteError) as caught:
        log(Tensor(X))
    assert f"at {__file__}:" in str(caught.value)
    assert "log" in str(caught.value)
    assert "its operands are finite" in str(caught.value)


def test_a_nan_of_a_nan_names_the_operand() -> None:
    with detect_anomaly(), pytest.raises(NotFiniteError, match=r"not finite already: operand 0"):
        Tensor(np.array([np.nan])) * 2.0


def test_a_nan_in_a_gradient_names_the_op_and_the_line_that_made_it() -> None:
    x = leaf([0.0])
    with detect_anomaly():
        y = sqrt(x) * 0.0
        line = here()
        with pytest.raises(NotFiniteError) as caught:
            total(y).backward()
    assert "NaN in the gradient of Elementwise(sqrt)" in str(caught.value)
    assert line in str(caught.value)


def test_no_nan_is_looked_for_by_default() -> None:
    assert math.isnan(log(Tensor([-1.0])).item())


# Beside other libraries.


def test_numpy_sees_tensors() -> None:
    x = leaf()
    y = x * 2.0
    np.testing.assert_array_equal(np.asarray(y), 2 * X)
    assert np.asarray(y, np.float32).dtype == np.float32
    assert np.shares_memory(np.asarray(x), x.numpy())
    assert isinstance(np.ones(3) * y, Tensor)
    total(np.ones(3) * y).backward()
    np.testing.assert_array_equal(x.grad, [2, 2, 2])


def test_dlpack_both_ways() -> None:
    x = Tensor(X.copy())
    theirs = np.from_dlpack(x)
    assert np.shares_memory(theirs, x.numpy())
    assert x.__dlpack_device__() == (1, 0)
    with pytest.raises(GradientError, match=r"use detach\(\)"):
        np.from_dlpack(leaf())


@pytest.mark.peers
def test_dlpack_with_pytorch() -> None:
    torch = pytest.importorskip("torch")
    x = Tensor(X.copy())
    theirs = torch.from_dlpack(x)
    theirs[0] = 7.0
    assert x[0].item() == 7.0
    ours = cortex.from_dlpack(torch.arange(3.0))
    assert (ours.tolist(), ours.dtype.name) == ([0.0, 1.0, 2.0], "float32")
    np.testing.assert_array_equal(Tensor(torch.arange(3.0)), [0, 1, 2])


def test_copies_are_deep() -> None:
    x = leaf()
    total(x).backward()
    y = copy.deepcopy({"a": x, "b": x})
    assert y["a"] is y["b"]
    assert y["a"].requires_grad
    y["a"].numpy()[0] = 9.0
    assert x[0].item() == X[0]
    np.testing.assert_array_equal(y["a"].grad, [1, 1, 1])
    with pytest.raises(GradientError, match="only leaves"):
        copy.deepcopy(x * 2.0)


def test_formats_and_iteration() -> None:
    assert f"{Tensor(2.5):.2f}" == "2.50"
    assert f"{Tensor([1.0, 2.0])}" == "[1. 2.]"
    rows = list(leaf(np.eye(2)))
    assert [r.tolist() for r in rows] == [[1, 0], [0, 1]]
    assert all(r.requires_grad for r in rows)
    with pytest.raises(TypeError):
        list(Tensor(1.0))
    assert [10, 20, 30][Tensor(1)] == 20
    assert (float(Tensor(2.0)), int(Tensor(2.0)), bool(Tensor(0.0))) == (2.0, 2, False)
    with pytest.raises(ValueError, match="neither true nor false"):
        bool(Tensor([1.0, 2.0]))
    with pytest.raises(ValueError, match="holds 2 numbers"):
        Tensor([1.0, 2.0]).item()


def test_nothing_watches_when_nobody_changes() -> None:
    before = dict(changes.CHANGES)
    x = leaf()
    total(maximum(log_softmax(cos(x), 0), x)).backward()
    assert before == changes.CHANGES


def test_threads_draw_different_numbers() -> None:
    from cortex_core.generator import Generator

    source, drawn = Generator(0), []
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [
            threading.Thread(target=lambda: drawn.extend([source.next()[1] for _ in range(5000)]))
            for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert sorted(drawn) == list(range(1, 20001))


# One table of rules.


def _value() -> Any:
    return input_value("x", TensorType((2, 2), float64))


@pytest.mark.parametrize("make", [lambda: leaf(np.eye(2)), _value])
def test_no_gradient_is_written_twice(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without its rule a product has no gradient, neither in eager code nor in a program."""
    x = make()
    y = total(matmul(x, x))
    seed = lift(y, np.ones(()))
    assert differentiate([y], [seed], [x])[0] is not None
    monkeypatch.delitem(RULES, Gemm)
    with pytest.raises(CortexError, match="Gemm has neither a gradient rule nor a decomposition"):
        differentiate([y], [seed], [x])


def lift(like: Any, array: np.ndarray) -> Any:
    return like.kind.lift(array)
