"""Attention: values from the formula, derivatives against central differences and PyTorch."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from cortex_compute.errors import ArgumentError, DTypeError, ShapeError
from cortex_compute.primitives.attention import Attention
from cortex_core.ops.apply import apply
from cortex_core.ops.attention import attention
from cortex_core.ops.differentiate import DECOMPOSITIONS
from cortex_core.ops.reduce import sum as total
from cortex_core.tensor import Tensor
from tests.core.ops.gradients import check_gradients

RNG = np.random.default_rng(29)


def heads(b: int, tq: int, tk: int, n: int, m: int, d: int, e: int) -> list[np.ndarray]:
    return [RNG.standard_normal(s) for s in ((b, tq, n, d), (b, tk, m, d), (b, tk, m, e))]


# The shapes, the mask's shape, causal
SETTINGS: dict[str, tuple[tuple[int, ...], tuple[int, ...] | None, bool]] = {
    "plain": ((2, 3, 4, 2, 2, 2, 3), None, False),
    "causal": ((1, 4, 4, 2, 2, 3, 2), None, True),
    "causal, more keys": ((1, 2, 4, 1, 1, 2, 2), None, True),
    "causal, fewer keys": ((1, 4, 2, 1, 1, 2, 2), None, True),
    "padding": ((2, 3, 4, 2, 2, 2, 2), (2, 1, 1, 4), False),
    "padding, causal": ((2, 3, 3, 2, 2, 2, 2), (2, 1, 1, 3), True),
    "heads share a mask": ((2, 3, 2, 2, 2, 2, 2), (2, 1, 3, 2), False),
    "a mask for each head": ((2, 2, 3, 4, 2, 2, 2), (1, 4, 2, 3), False),
    "grouped 4:2": ((2, 3, 3, 4, 2, 2, 3), None, True),
    "grouped 4:1": ((1, 2, 3, 4, 1, 3, 2), None, False),
}


def mask_of(shape: tuple[int, ...] | None) -> np.ndarray | None:
    """A mask that lets each query see the first key, if any, so that no row is empty."""
    if shape is None:
        return None
    mask = np.random.default_rng(5).random(shape) < 0.6
    mask[..., 0] = True
    return mask


@pytest.mark.parametrize("name", SETTINGS)
def test_first_and_second_derivatives(name: str) -> None:
    shapes, mask, causal = SETTINGS[name]
    seen = mask_of(mask)
    check_gradients(lambda q, k, v: attention(q, k, v, seen, causal, 0.6), *heads(*shapes), tolerance=1e-6)


def test_derivatives_through_the_logarithms() -> None:
    mask = mask_of((2, 1, 1, 4))
    check_gradients(
        lambda q, k, v: apply(Attention(0.5, True, True), q, k, v, mask), *heads(2, 3, 4, 2, 1, 2, 2)
    )


def test_a_worked_example() -> None:
    """Scores log 1 and log 3: a quarter of the first value and three quarters of the second."""
    q, k = np.ones((1, 1, 1, 1)), np.log([1.0, 3.0]).reshape(1, 2, 1, 1)
    v = np.array([[4.0, 0.0], [8.0, 1.0]]).reshape(1, 2, 1, 2)
    y = attention(Tensor(q), Tensor(k), Tensor(v), scale=1.0)
    np.testing.assert_allclose(y.data.ravel(), [7.0, 0.75], rtol=1e-15)


def test_the_scale_is_that_of_the_paper() -> None:
    q, k, v = map(Tensor, heads(2, 3, 5, 2, 2, 16, 4))
    np.testing.assert_array_equal(attention(q, k, v).data, attention(q, k, v, scale=1 / math.sqrt(16)).data)


@pytest.mark.parametrize("second", [False, True])
def test_a_query_that_sees_no_key_gives_nothing_and_gets_nothing(second: bool) -> None:
    q, k, v = (Tensor(a, requires_grad=True) for a in heads(2, 3, 4, 2, 2, 2, 2))
    mask = np.ones((2, 1, 3, 4), bool)
    mask[0, 0, 1] = mask[1] = False
    y = attention(q, k, v, mask)
    assert not y.data[0, 1].any()
    assert not y.data[1].any()
    total(y * y + y).backward(create_graph=second)
    if second:
        gradients = q.grad, k.grad, v.grad
        q.grad = k.grad = v.grad = None
        total(sum(total(g * g) for g in gradients if g is not None)).backward()
    for x in (q, k, v):
        assert x.grad is not None
        assert np.isfinite(x.grad.data).all()
        assert not x.grad.data[1].any()
        assert x.grad.data[0].any()
    assert not q.grad.data[0, 1].any()  # type: ignore[union-attr]


@pytest.mark.parametrize("name", SETTINGS)
def test_the_decomposition_is_the_primitive(name: str) -> None:
    shapes, mask, causal = SETTINGS[name]
    seen = mask_of(mask)
    p = Attention(0.7, causal, seen is not None)
    operands = [*map(Tensor, heads(*shapes)), *([] if seen is None else [Tensor(seen)])]
    for a, b in zip(apply(p, *operands), DECOMPOSITIONS[Attention](p, *operands)):
        np.testing.assert_allclose(a.data, b.data, rtol=1e-12, atol=1e-14)


def test_what_does_not_fit_is_refused() -> None:
    q, k, v = map(Tensor, heads(2, 3, 4, 4, 2, 2, 2))
    for scale in (math.nan, math.inf):
        with pytest.raises(ArgumentError, match=f"scale is {scale}, expected a finite number"):
            attention(q, k, v, scale=scale)
    with pytest.raises(ShapeError, match=r"q has shape \(\)"):
        attention(Tensor(np.array(1.0)), k, v)
    with pytest.raises(ShapeError, match="N a multiple of M"):
        attention(k, q, v)
    with pytest.raises(ShapeError, match="N a multiple of M"):
        attention(q, k, Tensor(v.data[:, 1:]))
    with pytest.raises(ShapeError, match=r"mask has shape \(2, 4\)"):
        attention(q, k, v, np.ones((2, 4), bool))
    with pytest.raises(DTypeError, match="the mask is float64; needs bool"):
        attention(q, k, v, np.ones((2, 1, 1, 4)))
    with pytest.raises(ShapeError, match="nothing to attend to"):
        attention(q, Tensor(k.data[:, :0]), Tensor(v.data[:, :0]))


def first(x: Any) -> Any:
    """Heads before positions, as PyTorch has them."""
    return x.transpose(1, 2)


@pytest.mark.peers
@pytest.mark.parametrize("name", SETTINGS)
def test_derivatives_are_pytorchs(name: str) -> None:
    torch = pytest.importorskip("torch")
    shapes, mask_shape, causal = SETTINGS[name]
    b, tq, tk, n, m, *_ = shapes
    arrays = heads(b, tq, tk, *shapes[3:])
    mask = mask_of(mask_shape)
    ours = tuple(Tensor(a, requires_grad=True) for a in arrays)
    theirs = [torch.tensor(a, requires_grad=True) for a in arrays]
    y = attention(ours[0], ours[1], ours[2], mask, causal, 0.8)
    seen = torch.ones(b, n, tq, tk, dtype=torch.bool)
    if causal:
        seen = seen & torch.tensor(np.tri(tq, tk, dtype=bool))
    if mask is not None:
        seen = seen & torch.tensor(mask)
    q, k, v = map(first, theirs)
    k, v = (x.repeat_interleave(n // m, 1) for x in (k, v))
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        z = first(torch.nn.functional.scaled_dot_product_attention(q, k, v, seen, scale=0.8))
    np.testing.assert_allclose(y.data, z.detach(), rtol=1e-10, atol=1e-10)

    total(y * y * y).backward(create_graph=True)
    found = [x.grad for x in ours]
    wanted = torch.autograd.grad((z * z * z).sum(), theirs, create_graph=True)
    for g, h in zip(found, wanted):
        assert g is not None
        np.testing.assert_allclose(g.data, h.detach(), rtol=1e-9, atol=1e-10)

    for x in ours:
        x.grad = None
    total(sum(total(g * g) for g in found if g is not None)).backward()
    for x, h in zip(ours, torch.autograd.grad(sum((h * h).sum() for h in wanted), theirs)):
        assert x.grad is not None
        np.testing.assert_allclose(x.grad.data, h, rtol=1e-8, atol=1e-8)
