"""A graph lives as long as somebody leads to it, and not longer: with the garbage collector off."""

from __future__ import annotations

import gc
import tracemalloc
import weakref
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from cortex_compute.errors import GradientError
from cortex_core import changes
from cortex_core.autograd import grad
from cortex_core.modes import no_grad
from cortex_core.ops.linear import matmul
from cortex_core.ops.pointwise import exp, sin
from cortex_core.ops.reduce import sum as total
from cortex_core.tensor import Tensor
from cortex_core.transforms import hessian, jvp

X = np.linspace(-1.0, 1.0, 5)


@pytest.fixture(autouse=True)
def without_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def leaf(x: Any = X) -> Tensor:
    return Tensor(np.array(x, np.float64), requires_grad=True)


def test_the_graph_goes_with_the_loss() -> None:
    x = leaf()
    h = sin(x)
    loss = total(exp(h) * h)
    things = [weakref.ref(t) for t in (h.node, h.numpy(), loss.node, loss.node.inputs[0].numpy())]
    del h
    assert all(thing() is not None for thing in things)
    del loss
    assert all(thing() is None for thing in things)


def test_backward_gives_the_memory_back_while_the_loss_lives() -> None:
    x = leaf()
    h = sin(x)
    kept, buffer = weakref.ref(h.node), weakref.ref(h.numpy())
    loss = total(exp(h))
    del h
    loss.backward()
    assert buffer() is None
    assert kept() is not None  # what the graph looked like can still be seen
    assert loss.item() == pytest.approx(np.exp(np.sin(X)).sum())
    del loss
    assert kept() is None


def test_a_tensor_holds_what_made_it_and_nothing_that_it_made() -> None:
    x = leaf()
    h = sin(x)
    user = exp(h)
    node = weakref.ref(user.node)
    del user
    assert node() is None
    total(h).backward()
    np.testing.assert_allclose(x.grad, np.cos(X))


def test_gradients_hold_no_graph_unless_it_was_asked_for() -> None:
    x = leaf()
    loss = total(exp(x))
    node = weakref.ref(loss.node)
    loss.backward()
    del loss
    assert node() is None
    loss = total(exp(x))
    node = weakref.ref(loss.node.inputs[0].node)
    (g,) = grad(loss, x, create_graph=True)
    del loss
    assert node() is not None
    del g
    assert node() is None


@pytest.mark.parametrize(
    "use",
    [
        lambda x: x.register_hook(lambda g: g * 2.0),
        lambda x: x.retain_grad(),
        lambda x: x.add_(1.0),
        lambda x: x.__setitem__(0, 3.0),
        lambda x: x[1:],
        lambda x: x.backward(np.ones(5)),
        lambda x: grad(total(x * x), x, create_graph=True),
        lambda x: hessian(lambda y: total(sin(y)))(x),
        lambda x: jvp(sin, x, X),
    ],
    ids=["hook", "retain", "change", "assign", "view", "backward", "grad", "hessian", "jvp"],
)
def test_nothing_makes_a_circle(use: Any) -> None:
    h = leaf() * 1.0
    node, buffer = weakref.ref(h.node), weakref.ref(h.numpy())
    use(h)
    del h
    assert node() is None
    assert buffer() is None


def test_an_error_in_the_middle_leaves_nothing_behind() -> None:
    h = leaf() * 1.0
    node = weakref.ref(h.node)
    try:
        matmul(h, np.ones((3, 3)))
    except ValueError as error:
        error.__traceback__ = None
    del h
    assert node() is None


def step(x: Tensor, backward: bool) -> None:
    h = sin(x * 2.0)
    h += 1.0
    loss = total(exp(h) * h)
    if backward:
        loss.backward()
        with no_grad():
            x -= x.grad
        x.grad = None


@pytest.mark.slow
@pytest.mark.parametrize("backward", [False, True], ids=["an unused forward", "a step"])
def test_a_thousand_rounds_leak_nothing(backward: bool) -> None:
    x = leaf()
    for _ in range(20):
        step(x, backward)
    gc.collect()
    tracemalloc.start()
    try:
        before, known = tracemalloc.get_traced_memory()[0], len(changes.CHANGES)
        for _ in range(1000):
            step(x, backward)
        circles = gc.collect()  # which also empties what Python keeps of freed tuples
        after = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert circles == 0
    assert len(changes.CHANGES) == known
    assert after - before < 1000 * 64  # a node and its array are some 500 bytes; NumPy keeps a few of its own


@pytest.mark.slow
def test_a_chain_of_100_000_ops() -> None:
    x = leaf([1.0])
    y = x
    for _ in range(100_000):
        y = y + 1.0
    first = weakref.ref(y.node)
    total(y * 2.0).backward(retain_graph=True)
    np.testing.assert_array_equal(x.grad, [2.0])
    del y
    assert first() is None


@pytest.mark.slow
def test_a_chain_of_20_000_changes() -> None:
    x = leaf([1.0])
    y = x * 1.0
    for _ in range(20_000):
        y += 1.0
    assert y.item() == 20_001.0
    y.backward()
    np.testing.assert_array_equal(x.grad, [1.0])


def test_memory_that_is_gone_is_not_watched() -> None:
    known = len(changes.CHANGES)
    array = np.ones(5)
    x = Tensor(array)
    x += 1.0
    assert len(changes.CHANGES) == known + 1
    del x, array
    assert len(changes.CHANGES) == known


def test_a_kept_loss_keeps_no_batch() -> None:
    w = Tensor([2.0], requires_grad=True)
    batch = np.ones(1000, np.float32)
    seen = weakref.ref(batch)
    loss = (Tensor(batch) * w).sum()
    loss.backward()
    del batch
    assert seen() is None
    assert loss.item() == 2000.0
    (product,) = loss.children
    emptied = product.children[0]
    with pytest.raises(GradientError, match="given these numbers back"):
        emptied * 2.0
    with pytest.raises(GradientError, match="were given back by backward"):
        emptied.numpy()
    assert repr(emptied) == "Tensor(float32[1000], given back by backward)"
