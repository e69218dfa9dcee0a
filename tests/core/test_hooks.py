"""Who sees a gradient on its way, who may replace it, and whose it is in the end."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import cortex
from cortex_compute.errors import GradientError
from cortex_core.autograd import grad
from cortex_core.modes import no_grad
from cortex_core.ops.pointwise import exp
from cortex_core.ops.reduce import sum as total
from cortex_core.tensor import Tensor
from tests.core.test_autograd import X, leaf

# Hooks.


def test_a_hook_of_a_leaf_sees_and_replaces() -> None:
    x = leaf()
    seen: list[Any] = []
    first = x.register_hook(lambda g: seen.append(g.numpy().copy()))
    second = x.register_hook(lambda g: g * 10.0)
    total(x * 2.0 + x).backward()
    np.testing.assert_array_equal(seen, [[3, 3, 3]])
    np.testing.assert_array_equal(x.grad, [30, 30, 30])
    first.remove()
    second.remove()
    x.grad = None
    total(x * 2.0).backward()
    assert len(seen) == 1
    np.testing.assert_array_equal(x.grad, [2, 2, 2])


def test_a_hook_of_an_inner_tensor_sees_the_whole_gradient_once() -> None:
    x = leaf()
    h = x * 1.0
    seen: list[Any] = []
    h.register_hook(lambda g: seen.append(g.numpy().copy()))
    h.register_hook(lambda g: g * 2.0)
    total(h * 2.0 + h * 3.0).backward()
    np.testing.assert_array_equal(seen, [[5, 5, 5]])
    np.testing.assert_array_equal(x.grad, [10, 10, 10])


def test_a_hook_changes_what_grad_gives() -> None:
    x = leaf()
    h = x * 1.0
    h.register_hook(lambda g: g * 7.0)
    dh, dx = grad(total(h * 2.0), (h, x))
    np.testing.assert_array_equal(dh, [14, 14, 14])
    np.testing.assert_array_equal(dx, [14, 14, 14])


@pytest.mark.parametrize("create_graph", [False, True])
def test_a_hook_may_change_what_it_makes_in_place(create_graph: bool) -> None:
    x = leaf()
    h = exp(x)

    def hook(g: Tensor) -> Tensor:
        doubled = g * 2.0
        doubled += 1.0
        return doubled

    h.register_hook(hook)
    (g,) = grad(total(h * 3.0), x, create_graph=create_graph)
    np.testing.assert_allclose(g.numpy(), 7 * np.exp(X), rtol=1e-14)


def test_hooks_of_an_inner_tensor_at_which_the_walk_ends() -> None:
    x = leaf()
    y = x * 2.0
    y.register_hook(lambda g: g * 5.0)
    y.retain_grad()
    (g,) = grad(total(y * 3.0), y)
    np.testing.assert_array_equal(g.data, np.full(3, 15.0))
    assert y.grad is not None
    np.testing.assert_array_equal(y.grad.data, g.data)


def test_a_removed_hook_of_an_inner_tensor() -> None:
    x = leaf()
    h = x * 1.0
    h.register_hook(lambda g: g * 0.0).remove()
    total(h).backward()
    np.testing.assert_array_equal(x.grad, [1, 1, 1])


def test_retained_gradients() -> None:
    x = leaf()
    h = x * 2.0
    h.retain_grad()
    x.retain_grad()
    total(h * h).backward(retain_graph=True)
    total(h).backward()
    np.testing.assert_array_equal(h.grad, 4 * X + 1)
    np.testing.assert_array_equal(x.grad, 8 * X + 2)


def test_hooks_need_a_gradient() -> None:
    with pytest.raises(GradientError, match=r"register_hook.*has no gradient"):
        Tensor(X).register_hook(print)
    with pytest.raises(GradientError, match=r"retain_grad.*has no gradient"):
        Tensor(X).retain_grad()


# Who holds a gradient.


def _added() -> tuple[Tensor, Tensor, Any]:
    x, y, seed = leaf([1.0, 2.0]), leaf([3.0, 4.0]), np.ones(2)
    (x + y).backward(Tensor(seed))
    return x, y, seed


def _turned() -> tuple[Tensor, Tensor, Any]:
    x, y, seed = leaf([[1.0, 2.0]]), leaf([[3.0], [4.0]]), np.ones((2, 1))
    (x.T + y).backward(Tensor(seed))
    return x, y, seed


def _summed() -> tuple[Tensor, Tensor, Any]:
    x, y = leaf([1.0, 2.0]), leaf([3.0, 4.0])
    (x + y).sum().backward()
    return x, y, np.ones(2)


def _split() -> tuple[Tensor, Tensor, Any]:
    x, y, seed = leaf([1.0, 2.0]), leaf([3.0, 4.0]), np.ones((2, 2))
    cortex.stack([x, y]).backward(Tensor(seed))
    return x, y, seed


def _hooked() -> tuple[Tensor, Tensor, Any]:
    x, kept = leaf([1.0, 2.0]), []
    x.register_hook(kept.append)
    (x * 1.0).backward(Tensor(np.ones(2)))
    return x, kept[0], np.ones(2)


def _retained() -> tuple[Tensor, Tensor, Any]:
    x = leaf([1.0, 2.0])
    y = x * 1.0
    y.retain_grad()
    (y + 0.0).backward(Tensor(np.ones(2)))
    return x, y, np.ones(2)


def _higher() -> tuple[Tensor, Tensor, Any]:
    x, y = leaf([1.0, 2.0]), leaf([3.0, 4.0])
    (x + y).backward(Tensor(np.ones(2)), create_graph=True)
    return x, y, np.ones(2)


@pytest.mark.parametrize("run", [_added, _turned, _summed, _split, _hooked, _retained, _higher])
def test_each_leaf_owns_its_gradient(run: Any) -> None:
    x, y, seed = run()
    with no_grad():
        x.grad.mul_(3.0)
    other = y if y.grad is None else y.grad
    np.testing.assert_array_equal(other.numpy(), np.ones(other.shape))
    np.testing.assert_array_equal(x.grad.numpy(), np.full(x.shape, 3.0))
    np.testing.assert_array_equal(seed, np.ones(seed.shape))


def test_a_gradient_that_nobody_else_holds_is_not_copied() -> None:
    x, seen = leaf(), []
    x.register_hook(lambda g: seen.append(id(g)))
    (x * Tensor(X)).sum().backward()
    assert seen == [id(x.grad)]


@pytest.mark.parametrize("answer", [lambda g: g.numpy(), lambda g: g.sum(), lambda g: g.float()])
@pytest.mark.parametrize("inner", [False, True])
def test_a_hook_gives_a_gradient_of_the_same_type(answer: Any, inner: bool) -> None:
    x = leaf()
    y = x * 2.0
    (y if inner else x).register_hook(answer)
    with pytest.raises(GradientError, match=r"a hook gave .* for a gradient float64\[3\]"):
        y.sum().backward()
