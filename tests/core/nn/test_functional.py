"""Functions that no module has: against PyTorch's, and what they refuse."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cortex_compute.errors import ArgumentError, ShapeError
from cortex_core.generator import manual_seed
from cortex_core.nn import functional as F
from cortex_core.tensor import Tensor
from cortex_core.tracing import trace

SEEN = np.random.default_rng(1).random((4, 6)) < 0.6
SEEN[2] = False  # a query without keys
ATTENTION: dict[str, dict[str, Any]] = {
    "plain": {},
    "causal": {"is_causal": True},
    "scaled": {"scale": 0.3},
    "masked": {"attn_mask": SEEN},
    "biased": {"attn_mask": np.random.default_rng(2).standard_normal((3, 4, 6))},
    "masked by head": {"attn_mask": np.random.default_rng(7).random((3, 1, 6)) < 0.7},
}


@pytest.mark.peers
@pytest.mark.parametrize("name", ATTENTION)
def test_attention_is_pytorchs(name: str) -> None:
    torch = pytest.importorskip("torch")
    rng, options = np.random.default_rng(3), ATTENTION[name]
    arrays = [rng.standard_normal(shape) for shape in ((2, 3, 4, 5), (2, 3, 6, 5), (2, 3, 6, 2))]
    ours = [Tensor(x, requires_grad=True) for x in arrays]
    theirs = [torch.tensor(x, requires_grad=True) for x in arrays]
    y = F.scaled_dot_product_attention(*ours, **options)
    other = {k: torch.tensor(v) if isinstance(v, np.ndarray) else v for k, v in options.items()}
    z = torch.nn.functional.scaled_dot_product_attention(*theirs, **other)
    np.testing.assert_allclose(y.numpy(), z.detach().numpy(), rtol=1e-10, atol=1e-12)
    weights = rng.standard_normal(y.shape)
    (y * Tensor(weights)).sum().backward()
    (z * torch.tensor(weights)).sum().backward()
    for a, b in zip(ours, theirs):
        assert a.grad is not None
        np.testing.assert_allclose(a.grad.numpy(), b.grad.numpy(), rtol=1e-9, atol=1e-12)


@pytest.mark.peers
@pytest.mark.parametrize(
    ("query", "key", "options"),
    [
        ((4, 5), (6, 5), {"is_causal": True}),
        ((3, 4, 5), (3, 6, 5), {"attn_mask": SEEN}),
        ((2, 1, 3, 4, 5), (2, 1, 3, 6, 5), {"attn_mask": SEEN}),
        ((2, 3, 4, 5), (1, 3, 6, 5), {}),
        ((2, 6, 4, 5), (2, 2, 6, 5), {"enable_gqa": True}),
        ((2, 6, 4, 5), (2, 2, 6, 5), {"enable_gqa": True, "attn_mask": np.ones((4, 6))}),
    ],
)
def test_attention_of_any_rank_is_pytorchs(
    query: tuple[int, ...], key: tuple[int, ...], options: dict[str, Any]
) -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(8)
    arrays = [rng.standard_normal(shape) for shape in (query, key, (*key[:-1], 2))]
    other = {k: torch.tensor(v) if isinstance(v, np.ndarray) else v for k, v in options.items()}
    y = F.scaled_dot_product_attention(*map(Tensor, arrays), **options)
    z = torch.nn.functional.scaled_dot_product_attention(*map(torch.tensor, arrays), **other)
    np.testing.assert_allclose(y.numpy(), z.numpy(), rtol=1e-10, atol=1e-12)


def test_a_query_without_keys_gets_nothing() -> None:
    q, v = Tensor(np.ones((1, 2)), requires_grad=True), Tensor([[5.0], [7.0]], dtype="float64")
    y = F.scaled_dot_product_attention(q, Tensor(np.eye(2)), v, attn_mask=np.zeros((1, 2), bool))
    assert y.tolist() == [[0.0]]
    y.sum().backward()
    assert q.grad is not None
    assert q.grad.tolist() == [[0.0, 0.0]]


def test_attention_drops_weights() -> None:
    manual_seed(4)
    q = Tensor(np.zeros((1, 3)))
    y = F.scaled_dot_product_attention(q, Tensor(np.zeros((64, 3))), Tensor(np.eye(64)), dropout_p=0.5)
    assert set(np.round(y.numpy().ravel() * 64, 6)) == {0.0, 2.0}


@pytest.mark.peers
@pytest.mark.parametrize("options", [{}, {"p": 1.0, "dim": 0}, {"p": 3.0, "dim": -1, "eps": 0.5}])
def test_normalize_is_pytorchs(options: dict[str, Any]) -> None:
    torch = pytest.importorskip("torch")
    x = np.random.default_rng(5).standard_normal((3, 4))
    ours, theirs = Tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
    y, z = F.normalize(ours, **options), torch.nn.functional.normalize(theirs, **options)
    np.testing.assert_allclose(y.numpy(), z.detach().numpy(), rtol=1e-12)
    (y * y * y).sum().backward()
    (z * z * z).sum().backward()
    assert ours.grad is not None
    np.testing.assert_allclose(ours.grad.numpy(), theirs.grad.numpy(), rtol=1e-9, atol=1e-12)


def test_attention_refuses() -> None:
    q, k = Tensor(np.zeros((4, 5))), Tensor(np.zeros((6, 5)))
    with pytest.raises(ShapeError, match=r"key \(6, 5\), value \(4, 5\)"):
        F.scaled_dot_product_attention(q, k, q)
    with pytest.raises(ArgumentError, match="is_causal"):
        F.scaled_dot_product_attention(q, k, k, attn_mask=SEEN, is_causal=True)
    heads = Tensor(np.zeros((3, 4, 5)))
    with pytest.raises(ShapeError, match="the heads of the query a multiple"):
        F.scaled_dot_product_attention(heads, heads[:2], heads[:2], enable_gqa=True)


def test_interpolate_refuses() -> None:
    x = Tensor(np.zeros((1, 2, 3, 4)))
    with pytest.raises(ArgumentError, match="2 axes take 'nearest' or 'bilinear'"):
        F.interpolate(x, 2, mode="linear")
    with pytest.raises(ShapeError, match="size or scale_factor"):
        F.interpolate(x, 2, scale_factor=2.0)
    with pytest.raises(ShapeError, match="needs sizes above 0"):
        F.interpolate(x, scale_factor=0.3)
    with pytest.raises(ShapeError, match="not one number for each"):
        F.interpolate(x, (1, 2, 3))
    with pytest.raises(ArgumentError, match="align_corners"):
        F.interpolate(x, 2, align_corners=True)
    with pytest.raises(ShapeError, match=r"do not split into 2 \* 2"):
        F.pixel_shuffle(x, 2)
    with pytest.raises(ShapeError, match=r"does not split into 2 \* 2"):
        F.pixel_unshuffle(x, 2)


@pytest.mark.parametrize("name", ATTENTION)
def test_attention_can_be_traced(name: str) -> None:
    rng, options = np.random.default_rng(6), ATTENTION[name]
    q, k, v = (Tensor(rng.standard_normal(shape)) for shape in ((3, 4, 5), (3, 6, 5), (3, 6, 2)))
    traced = trace(
        lambda q, k, v: F.scaled_dot_product_attention(q, k, v, **options), q, k, v, backend="numpy"
    )
    expected = F.scaled_dot_product_attention(q, k, v, **options)
    np.testing.assert_allclose(traced(q, k, v).numpy(), expected.numpy(), rtol=1e-12, atol=1e-15)
