"""Changes in place: recorded as what they mean, noticed where they destroy what a gradient needs."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
import pytest

from cortex_compute.errors import DTypeError, GradientError, ShapeError
from cortex_core.autograd import grad
from cortex_core.changes import CHANGES
from cortex_core.modes import no_grad, set_grad_enabled
from cortex_core.ops.linear import matmul
from cortex_core.ops.pointwise import exp, sin
from cortex_core.ops.reduce import sum as total
from cortex_core.tensor import Tensor

X = np.array([[0.5, -1.0, 2.0], [1.5, 0.25, -0.75]])
Y = np.array([1.0, -2.0, 3.0])
MASK = X > 0


def leaf(x: Any = X) -> Tensor:
    return Tensor(np.array(x, np.float64), requires_grad=True)


# What they mean.


@pytest.mark.parametrize(
    ("change", "value", "dx", "dy"),
    [
        (operator.iadd, X + Y, np.ones((2, 3)), np.full(3, 2.0)),
        (operator.isub, X - Y, np.ones((2, 3)), np.full(3, -2.0)),
        (operator.itruediv, X / Y, np.ones((2, 3)) / Y, -X.sum(0) / Y**2),
        (lambda x, y: x.copy_(y), np.stack([Y, Y]), None, np.full(3, 2.0)),
        (operator.imul, X * Y, np.stack([Y, Y]), X.sum(0)),
        (lambda x, y: x.pow_(2.0), X**2, 2 * X, None),
        (lambda x, y: x.sin_(), np.sin(X), np.cos(X), None),
        (lambda x, y: x.clamp_(0.0, 1.0), X.clip(0, 1), (X > 0) * (X < 1) * 1.0, None),
        (lambda x, y: x.exp_(), np.exp(X), np.exp(X), None),
    ],
)
def test_a_change_is_the_op_that_it_stands_for(change: Any, value: Any, dx: Any, dy: Any) -> None:
    x, y = leaf(), leaf(Y)
    h = x * 1.0
    memory = h.numpy()
    same = change(h, y)
    assert same is h
    assert h.numpy() is memory
    np.testing.assert_allclose(h.numpy(), value, rtol=1e-15)
    total(h).backward()
    for g, wanted in ((x.grad, dx), (y.grad, dy)):
        assert (g is None) == (wanted is None)
        if g is not None:
            np.testing.assert_allclose(g, wanted, rtol=1e-14)


def test_several_changes_in_a_row() -> None:
    x, y = leaf(Y), leaf(Y)
    h = x * 2.0
    h += y
    h -= 1.0
    h.sin_()
    h += h
    total(h).backward()
    np.testing.assert_allclose(x.grad, 4 * np.cos(3 * Y - 1), rtol=1e-14)
    np.testing.assert_allclose(y.grad, 2 * np.cos(3 * Y - 1), rtol=1e-14)


@pytest.mark.parametrize(
    ("index", "value"),
    [
        (0, np.array([7.0, 8.0, 9.0])),
        ((0, 1), 5.0),
        ((slice(None), slice(1, None)), np.array([[7.0], [8.0]])),
        ((slice(None, None, -1), 0), np.array([7.0, 8.0])),
        (MASK, 3.0),
        (MASK, np.arange(MASK.sum()) * 1.5),
        (([1, 0], [2, 2]), np.array([4.0, 5.0])),
        (..., np.full((2, 3), 2.0)),
    ],
)
def test_an_assignment_differentiates_to_both(index: Any, value: Any) -> None:
    weights = np.arange(1.0, 7).reshape(2, 3)
    x, v = leaf(), leaf(value)
    h = x * 1.0
    h[index] = v * 2.0
    wanted, dx = X.copy(), weights.copy()
    wanted[index] = np.asarray(value) * 2
    dx[index] = 0
    np.testing.assert_array_equal(h.numpy(), wanted)
    total(h * weights).backward()
    np.testing.assert_array_equal(x.grad, dx)
    dv = np.broadcast_to(2 * weights[index], np.broadcast_shapes(weights[index].shape, v.shape))
    extra = tuple(range(dv.ndim - v.ndim))
    kept = tuple(i for i, n in enumerate(v.shape) if n == 1 and dv.sum(extra).shape[i] != 1)
    np.testing.assert_array_equal(v.grad, dv.sum(extra).sum(kept, keepdims=True) if kept else dv.sum(extra))


def test_filling_rows_one_by_one() -> None:
    x = leaf()
    rows = Tensor(np.zeros((2, 3)))
    for i in range(2):
        rows[i] = sin(x[i]) * float(i + 1)
    total(rows).backward()
    np.testing.assert_allclose(x.grad, np.cos(X) * [[1], [2]], rtol=1e-14)


def test_ops_before_a_change_see_the_numbers_of_then() -> None:
    x = leaf(Y)
    h = x * 1.0
    before = h + 0.0
    h += 1.0
    after = h * 3.0
    total(before * 5.0 + after).backward()
    np.testing.assert_array_equal(before.numpy(), Y)
    np.testing.assert_array_equal(x.grad, [8, 8, 8])


def test_an_operand_without_history_gets_one() -> None:
    y = leaf(Y)
    buffer = Tensor(np.zeros(3))
    early = buffer + 1.0
    buffer += y
    assert buffer.requires_grad
    assert not early.requires_grad
    total(buffer * buffer).backward()
    np.testing.assert_array_equal(y.grad, 2 * Y)


def test_a_change_without_gradients_is_a_plain_write() -> None:
    x = Tensor(X.copy())
    view = x[0]
    x += 1.0
    view *= 2.0
    x[1, 1:] = 0.0
    np.testing.assert_array_equal(x.numpy(), [(X[0] + 1) * 2, [X[1, 0] + 1, 0, 0]])
    assert not x.requires_grad


# What they destroy.


def test_what_only_the_result_needs_may_be_changed() -> None:
    """exp needs its result, a product its operands, a sum neither."""
    x = leaf(Y)
    h = x * 2.0
    y = exp(h)
    h += 1.0
    total(y + h).backward()
    np.testing.assert_allclose(x.grad, 2 * np.exp(2 * Y) + 2, rtol=1e-14)


@pytest.mark.parametrize(
    ("need", "change"),
    [
        (sin, lambda h: h.add_(1.0)),
        (sin, lambda h: h.mul_(2.0)),
        (lambda h: h * h, lambda h: h.copy_(0.0)),
        (lambda h: matmul(leaf(np.eye(2)), h), lambda h: h.zero_()),
        (lambda h: h**2, lambda h: h.__setitem__((0, 0), 1.0)),
        (lambda h: sin(h[0]), lambda h: h.add_(1.0)),
        (lambda h: sin(h.reshape(3, 2)), lambda h: h.add_(1.0)),
    ],
)
@pytest.mark.parametrize("recorded", [True, False])
def test_a_change_of_what_a_gradient_needs_names_its_line(need: Any, change: Any, recorded: bool) -> None:
    x = leaf()
    h = x * 1.0
    loss = total(need(h))
    with set_grad_enabled(recorded):
        change(h)
    with pytest.raises(GradientError) as caught:
        loss.backward()
    here = f"{__file__}:{change.__code__.co_firstlineno}"
    assert f"changed in place at {here}; change a clone()" in str(caught.value)


def test_the_first_of_several_changes_is_named() -> None:
    h = leaf() * 1.0
    loss = total(sin(h))
    first = lambda: h.add_(1.0)  # noqa: E731
    first()
    h.mul_(2.0)
    with pytest.raises(GradientError, match=rf"test_inplace\.py:{first.__code__.co_firstlineno};"):
        loss.backward()


def test_a_result_that_its_gradient_needs() -> None:
    x = leaf()
    y = exp(x)
    loss = total(y * 1.0)
    y += 1.0
    with pytest.raises(GradientError, match=r"changed in place at .*test_inplace\.py"):
        loss.backward()


@pytest.mark.parametrize(
    ("change", "dx"),
    [
        (lambda h: operator.imul(h, h), 2 * Y),
        (lambda h: operator.iadd(h, h), [2, 2, 2]),
        (lambda h: operator.imul(h, h[1]), [-2, Y.sum() + Y[1], -2]),
        (lambda h: operator.iadd(h, h[::-1] * 2.0), [3, 3, 3]),
        (lambda h: h.__setitem__(0, h[1] * 3.0), [0, 4, 1]),
    ],
)
def test_a_change_by_what_is_changed(change: Any, dx: Any) -> None:
    x = leaf(Y)
    h = x * 1.0
    change(h)
    total(h).backward()
    np.testing.assert_array_equal(x.grad, dx)


def test_a_view_in_a_change_of_its_base_keeps_its_numbers() -> None:
    x = leaf(Y)
    h = x * 1.0
    square = h[1] * h[2]
    h[0] = square  # which needs h[1] and h[2] as they were
    with pytest.raises(GradientError, match=r"changed in place at .*test_inplace\.py"):
        total(h).backward()


def test_a_constant_ends_the_history() -> None:
    h = leaf() * 1.0
    h.fill_(7.0)
    assert not h.requires_grad
    h += leaf()
    h.zero_()
    np.testing.assert_array_equal(h.numpy(), np.zeros((2, 3)))
    assert not h.requires_grad


def test_a_step_taken_too_early_is_noticed() -> None:
    w = leaf(Y)
    loss = total(sin(w * w))
    with no_grad():
        w -= 0.1
    with pytest.raises(GradientError, match=r"changed in place at .*test_inplace\.py"):
        loss.backward()
    loss = total(sin(w * w))
    loss.backward()
    assert w.grad is not None


def test_a_change_through_a_view_without_recording_is_noticed() -> None:
    x = leaf()
    h = x * 1.0
    loss = total(h * h)
    with no_grad():
        h[0].add_(1.0)
    with pytest.raises(GradientError, match=r"changed in place at .*test_inplace\.py"):
        loss.backward()


def test_a_change_of_the_array_below_through_another_tensor_is_noticed() -> None:
    array = X.copy()
    x = leaf()
    a, b = Tensor(array), Tensor(array)
    loss = total(x * a)
    b += 1.0
    with pytest.raises(GradientError, match=r"changed in place at .*test_inplace\.py"):
        loss.backward()


# What is refused.


def test_a_leaf_is_refused() -> None:
    x = leaf()
    with pytest.raises(GradientError, match=r"a leaf that requires gradients cannot be changed in place"):
        x += 1.0
    with pytest.raises(GradientError, match=r"use no_grad\(\)"):
        x[0] = 1.0
    with no_grad():
        x += 1.0
    np.testing.assert_array_equal(x.numpy(), X + 1)
    assert x.is_leaf


def test_a_view_of_something_that_others_see_is_refused() -> None:
    h = leaf() * 1.0
    for view in (h[0], h[:, 1:], h.T, h.reshape(6)):
        with pytest.raises(GradientError, match=r"view of another one.*write base\[...\] = value"):
            view += 1.0
    x = Tensor(X.copy())
    with pytest.raises(GradientError, match=r"share the memory of this one"):
        x[0].add_(leaf(Y))


def test_a_sibling_view_must_be_taken_again() -> None:
    x = leaf()
    h = x * 1.0
    first = h[0]
    h += 1.0
    with pytest.raises(GradientError, match=r"shares memory with one that was changed in place at .*again"):
        sin(first)
    total(sin(h[0])).backward()
    np.testing.assert_allclose(x.grad, [np.cos(X[0] + 1), np.zeros(3)], rtol=1e-14)


def test_memory_that_others_see_gets_no_history() -> None:
    for look in (lambda b: b[0], lambda b: b.detach(), lambda b: b.numpy(), lambda b: b.reshape(6)):
        buffer = Tensor(np.zeros((2, 3)))
        other = look(buffer)
        with pytest.raises(GradientError, match=r"share the memory of this one.*change a clone\(\)"):
            buffer += leaf()
        assert not np.asarray(other).any()
    array = np.zeros((2, 3))
    buffer = Tensor(array.reshape(3, 2))
    with pytest.raises(GradientError, match=r"share the memory"):
        buffer += leaf(X.T)


def test_another_type_is_refused() -> None:
    x = Tensor(X.copy())
    with pytest.raises(ShapeError, match=r"an in-place change cannot make float64\[2, 3\] of float64\[3\]"):
        x[0].add_(x)
    n = Tensor([1, 2])
    with pytest.raises((ShapeError, DTypeError), match=r"in-place change cannot make float.* of int64\[2\]"):
        n += 0.5
    with pytest.raises(ShapeError, match=r"\(2, 3\)|\[2, 3\]"):
        x[:] = np.ones(4)


# Beyond first order.


def test_gradients_of_gradients_through_changes() -> None:
    x = leaf(Y)
    h = x * x
    h += x
    h[0] = 0.0
    (g,) = grad(total(h * x), x, create_graph=True)
    np.testing.assert_allclose(g.numpy(), [0, *(3 * Y**2 + 2 * Y)[1:]], rtol=1e-14)
    (gg,) = grad(total(g), x)
    np.testing.assert_allclose(gg, [0, *(6 * Y + 2)[1:]], rtol=1e-14)


def test_hooks_and_retained_gradients_belong_to_the_new_value() -> None:
    x = leaf(Y)
    h = x * 2.0
    h += 1.0
    h.retain_grad()
    total(h * 3.0).backward()
    np.testing.assert_array_equal(h.grad, [3, 3, 3])
    np.testing.assert_array_equal(x.grad, [6, 6, 6])


def test_memory_of_another_library_is_watched_and_not_held() -> None:
    before = set(CHANGES)
    x, w = Tensor(np.from_dlpack(np.ones(3))), Tensor(np.ones(2), requires_grad=True)
    y = (Tensor(x.data[1:]) * w).sum()
    x.add_(1.0)
    with pytest.raises(GradientError, match="needs the old numbers"):
        y.backward()
    del x, y
    assert set(CHANGES) <= before


def test_a_buffer_that_is_used_again_and_again_forgets_what_it_was() -> None:
    w = Tensor([1.0, 2.0], requires_grad=True)
    buffer = Tensor([0.0, 0.0])
    for _ in range(400):
        buffer.zero_()
        buffer.add_(w)
        (buffer * 2.0).sum().backward()
    assert w.grad is not None
    assert w.grad.tolist() == [800.0, 800.0]
    assert buffer._extra is not None
    assert len(buffer._extra.past) < 400


def test_what_a_graph_still_needs_is_not_forgotten() -> None:
    w = Tensor([1.0, 2.0], requires_grad=True)
    buffer, losses = Tensor([0.0, 0.0]), []
    for _ in range(300):
        buffer.zero_()
        buffer.add_(w)
        losses.append((buffer * 2.0).sum())
    for loss in losses:
        loss.backward()
    assert w.grad is not None
    assert w.grad.tolist() == [600.0, 600.0]
