"""checkpoint: the same numbers and gradients as without it, from less memory."""

from __future__ import annotations

import gc
import tracemalloc
import weakref
from typing import Any

import numpy as np
import pytest

from cortex_compute.errors import GradientError
from cortex_core import generator, nn
from cortex_core.autograd import grad
from cortex_core.gradcheck import gradcheck
from cortex_core.modes import no_grad
from cortex_core.nn import functional as F
from cortex_core.ops.pointwise import sin, tanh
from cortex_core.ops.reduce import sum as total
from cortex_core.recompute import checkpoint
from cortex_core.tensor import Tensor
from cortex_core.tracing import trace

RNG = np.random.default_rng(0)
X = RNG.standard_normal((4, 3))


def leaf(x: Any = X) -> Tensor:
    return Tensor(np.array(x, np.float64), requires_grad=True)


def plain(f: Any, *args: Any, **keywords: Any) -> Any:
    return f(*args, **keywords)


def same(f: Any, *leaves: Tensor) -> None:
    """``f(call)`` gives a loss; its gradients are those without checkpoint, bit for bit."""
    for call in (plain, checkpoint):
        generator.manual_seed(3)
        loss = f(call)
        found = grad(loss, leaves)
        if call is plain:
            wanted = loss.item(), [g.numpy() for g in found if g is not None]
    assert loss.item() == wanted[0]
    for g, w in zip(found, wanted[1]):
        np.testing.assert_array_equal(g, w)


def test_the_same_gradients() -> None:
    x, w = leaf(), leaf()
    same(lambda call: total(call(lambda a, k: sin(a * k) * w, x * 2.0, k=3.0)), x, w)
    same(lambda call: total(call(lambda a, b: a * b, x, x)), x)

    def older_than_the_call(call: Any) -> Any:
        h = x * 2.0
        return total(call(lambda a: tanh(a) * h * x, h * 3.0))

    same(older_than_the_call, x)


def test_modules_that_it_closes_over() -> None:
    model = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Dropout(0.5), nn.Linear(5, 2)).double()
    x = leaf()
    same(lambda call: total(call(model, x) ** 2), x, *model.parameters())
    same(lambda call: total(call(model, Tensor(X)) ** 2), *model.parameters())


def test_the_same_random_numbers_and_the_ones_after() -> None:
    x = leaf(np.ones(64))

    def f(call: Any) -> Any:
        y = call(lambda a: F.dropout(F.dropout(a, 0.5, True), 0.5, True), x)
        return total(y * F.dropout(x, 0.5, True))

    same(f, x)
    generator.manual_seed(0)
    y = checkpoint(lambda a: F.dropout(a, 0.5, True), x)
    after = generator.next_key()[1]
    total(y).backward()
    assert generator.next_key()[1] == after + 1
    np.testing.assert_array_equal(x.grad, y.numpy())


def test_one_inside_another() -> None:
    x, w = leaf(), leaf()

    def f(call: Any) -> Any:
        def inner(a: Any) -> Any:
            return sin(F.dropout(a, 0.5, True) * w)

        return total(call(lambda a: call(inner, call(inner, a) * a), x))

    same(f, x, w)


def test_trees_go_in_and_come_out() -> None:
    x = leaf()
    out = checkpoint(lambda p, scale: {"y": [p["a"] * scale, p["b"]], "n": 3}, {"a": x, "b": X}, scale=X)
    assert out["n"] == 3
    assert not isinstance(out["y"][1], Tensor) or not out["y"][1].requires_grad
    total(out["y"][0]).backward()
    np.testing.assert_array_equal(x.grad, X)


def test_several_results_of_which_one_has_no_gradient() -> None:
    x = leaf()
    y, places, z = checkpoint(lambda a: (a * 2.0, a > 0.0, sin(a)), x)
    assert not places.requires_grad
    total(y).backward(retain_graph=True)
    total(z).backward()
    np.testing.assert_allclose(x.grad, 2 + np.cos(X), rtol=1e-14)


def test_gradients_of_gradients() -> None:
    w = leaf()
    assert gradcheck(lambda x: checkpoint(lambda a: sin(a * w) * a, x * 2.0), X, order=2)
    x = leaf()
    loss = total(checkpoint(lambda a: sin(a) * w, x))
    (g,) = grad(loss, x, create_graph=True)
    second = grad(total(g), (x, w))
    np.testing.assert_allclose(second[0], -np.sin(X) * X, rtol=1e-13)
    np.testing.assert_allclose(second[1], np.cos(X), rtol=1e-13)


def test_nothing_is_recorded_where_nothing_is_wanted() -> None:
    assert not checkpoint(sin, Tensor(X)).requires_grad
    with no_grad():
        assert not checkpoint(sin, leaf()).requires_grad


def test_it_is_called_once_more_for_each_gradient() -> None:
    calls = []
    x = leaf()

    def f(a: Any) -> Any:
        calls.append(0)
        return sin(a)

    y = total(checkpoint(f, x))
    assert len(calls) == 1
    y.backward(retain_graph=True)
    y.backward()
    assert len(calls) == 3
    with pytest.raises(GradientError, match="freed"):
        y.backward()


def test_hooks_inside_see_the_gradient() -> None:
    seen: list[Any] = []
    x = leaf()

    def f(a: Any) -> Any:
        h = a * 2.0
        h.register_hook(lambda g: seen.append(g.numpy()))
        return h * 3.0

    total(checkpoint(f, x)).backward()
    assert [g.tolist() for g in seen] == [np.full((4, 3), 3.0).tolist()]


def test_changes_in_place_inside() -> None:
    x = leaf()

    def f(call: Any) -> Any:
        def inner(a: Any) -> Any:
            mask = Tensor(np.ones((4, 3)))
            mask[0] = 0.0
            h = a * 2.0
            h += a
            return h * mask

        return total(call(inner, x))

    same(f, x)


def test_a_second_walk_draws_the_same_numbers() -> None:
    x = leaf(np.ones(64))
    y = checkpoint(lambda a: F.dropout(a, 0.5, True), x)
    for n in (1, 2):
        total(y).backward(retain_graph=True)
        np.testing.assert_array_equal(x.grad, n * y.numpy())


def test_a_result_that_is_an_argument_has_memory_of_its_own() -> None:
    x = leaf()
    y, row = checkpoint(lambda a: (a, a[0]), x)
    y += 1.0
    row += 1.0
    np.testing.assert_array_equal(x.numpy(), X)
    total(y * 2.0).backward()
    np.testing.assert_array_equal(x.grad, np.full((4, 3), 2.0))


def test_what_a_constant_took_away_is_found() -> None:
    x, w = leaf(), leaf()

    def f(call: Any) -> Any:
        def inner(a: Any) -> Any:
            h = w * 2.0
            early = h + a
            h.zero_()
            return early

        return total(call(inner, x))

    same(f, x, w)


def test_changes_in_place_that_reach_what_is_older() -> None:
    x, w = leaf(), leaf()

    def f(call: Any) -> Any:
        def inner(a: Any) -> Any:
            h = a * 2.0
            early = sin(h + 0.0)
            h += w  # early does not depend on w
            return early + h

        return total(call(inner, x))

    same(f, x, w)


@pytest.mark.parametrize("what", ["argument", "closure", "no gradient"])
def test_a_change_of_what_it_depends_on_is_an_error(what: str) -> None:
    x, w, k = leaf(), leaf(), Tensor(X.copy())
    loss = total(checkpoint(lambda a, k: a * w * k, x, k))
    with no_grad():
        {"argument": x, "closure": w, "no gradient": k}[what].mul_(2.0)
    with pytest.raises(GradientError, match=r"changed in place at .*test_recompute\.py:\d+"):
        loss.backward()


def test_in_a_program_it_is_a_plain_call() -> None:
    model = nn.Sequential(nn.Linear(3, 5), nn.Tanh()).double()
    program = trace(lambda x: checkpoint(model, x), X)
    np.testing.assert_allclose(program(X), model(Tensor(X)).detach(), rtol=1e-14)


def test_intermediate_results_are_gone() -> None:
    kept: list[Any] = []

    def f(a: Any) -> Any:
        h = sin(a)
        kept.append(weakref.ref(h.node))
        return sin(h)

    gc.disable()
    try:
        y = checkpoint(f, leaf())
        assert kept[0]() is None
        total(y).backward()
        assert kept[1]() is None
    finally:
        gc.enable()


def test_a_deep_chain_takes_less_memory() -> None:
    """64 layers of 80 kB: all of them without it; with it 8 results and 8 layers, and what the walk needs."""
    x, size = leaf(np.full(10_000, 0.5)), 80_000

    def block(a: Any) -> Any:
        for _ in range(8):
            a = sin(a)
        return a

    def peak(call: Any) -> float:
        x.grad = None
        tracemalloc.start()
        try:
            y = x
            for _ in range(8):
                y = call(block, y)
            total(y).backward()
            return tracemalloc.get_traced_memory()[1] / size
        finally:
            tracemalloc.stop()

    assert peak(plain) > 64
    assert peak(checkpoint) < 25
