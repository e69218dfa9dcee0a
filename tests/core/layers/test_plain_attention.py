"""Attention without projections, and what queries find that see no key, beside NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cortex_compute.errors import ShapeError
from cortex_core.registry import LAYERS
from tests.core.layers.use import Used

RNG = np.random.default_rng(8)
X, MEMORY, VALUES = (RNG.standard_normal(shape) for shape in ((3, 4, 2), (3, 5, 2), (3, 5, 3)))
KEYS = np.arange(5) < np.array([5, 2, 0])[:, None]
QUERIES = np.arange(4) < np.array([1, 4, 3])[:, None]
each_kind = pytest.mark.parametrize("kind", ["attention", "additive_attention"])


def scores(kind: str, q: np.ndarray, k: np.ndarray, scale: Any) -> np.ndarray:
    if kind == "attention":
        return np.einsum("bqc,bkc->bqk", q, k) * scale
    found: np.ndarray = (np.tanh(q[:, :, None] + k[:, None]) * scale).sum(-1)
    return found


def found(score: np.ndarray, v: np.ndarray, seen: Any) -> np.ndarray:
    """Of a query that sees no key the mean of all values."""
    seen = np.broadcast_to(seen, score.shape)
    seen = seen | ~seen.any(-1, keepdims=True)
    score = np.where(seen.any(-1, keepdims=True), score, 0)
    power = np.where(seen, np.exp(score), 0)
    return power / power.sum(-1, keepdims=True) @ v


def means(y: np.ndarray, v: np.ndarray, blind: np.ndarray) -> np.ndarray:
    return np.where(blind[..., None], v.mean(1, keepdims=True), y)


@each_kind
@pytest.mark.parametrize("count", [1, 2, 3])
def test_scores(kind: str, count: int) -> None:
    given = (X, MEMORY, VALUES)[:count]
    query, key, value = given + given[-1:] * (3 - count)
    plain = Used(LAYERS[kind](use_scale=False), *given)
    np.testing.assert_allclose(plain.y, found(scores(kind, query, key, 1.0), value, True), rtol=1e-10)
    scale = np.float64(0.7) if kind == "attention" else np.array([0.7, -1.2])
    learnt = Used(LAYERS[kind](use_scale=True), *given, values={"scale": np.asarray(scale)})
    np.testing.assert_allclose(learnt.y, found(scores(kind, query, key, scale), value, True), rtol=1e-10)


@each_kind
def test_masks(kind: str) -> None:
    named = {"mask": KEYS, "query_mask": QUERIES.astype(int)}
    used = Used(LAYERS[kind](mask="m", query_mask="q", use_scale=False), X, MEMORY, VALUES, **named)
    score = scores(kind, X, MEMORY, 1.0)
    right = means(found(score, VALUES, KEYS[:, None]), VALUES, ~KEYS.any(1)[:, None] & np.ones((3, 4), bool))
    np.testing.assert_allclose(used.y, right * QUERIES[..., None], rtol=1e-10)
    causal = Used(LAYERS[kind](causal=True, use_scale=False), X, MEMORY, VALUES)
    right = found(score, VALUES, np.tri(4, 5, dtype=bool))
    np.testing.assert_allclose(causal.y, right, rtol=1e-10)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("unseen", ["zero", "mean"])
def test_queries_that_see_no_key(causal: bool, unseen: str) -> None:
    """Of heads that share keys, with values of a size of their own."""
    fields = {"heads": 2, "key_heads": 1, "size": 2, "value_size": 3, "use_bias": False}
    masks = {"mask": KEYS, "query_mask": QUERIES}
    layer = LAYERS["multi_head_attention"](mask="m", query_mask="q", unseen=unseen, causal=causal, **fields)
    used = Used(layer, X, MEMORY, VALUES, **masks)
    p = {name: np.asarray(value) for name, value in used.parameters.items()}
    q, k, v = (a @ p[f"{n}_kernel"] for n, a in (("query", X), ("key", MEMORY), ("value", VALUES)))
    seen = KEYS[:, None] & QUERIES[..., None] & (np.tri(4, 5, dtype=bool) if causal else True)
    heads = []
    for part in np.split(q, 2, -1):
        score = np.einsum("bqc,bkc->bqk", part, k) / np.sqrt(2)
        y = means(found(score, v, seen), v, ~seen.any(-1))
        heads.append(y if unseen == "mean" else y * seen.any(-1)[..., None])
    np.testing.assert_allclose(used.y, np.concatenate(heads, -1) @ p["output_kernel"], rtol=1e-9, atol=1e-12)


@each_kind
def test_what_does_not_fit(kind: str) -> None:
    layer = LAYERS[kind]()
    with pytest.raises(ShapeError, match=rf"{kind} needs \(length, channels\)"):
        Used(layer, X[:, 0])
    with pytest.raises(ShapeError, match=f"{kind} needs queries and keys of as many channels"):
        Used(layer, X, VALUES)
    with pytest.raises(ShapeError, match=f"{kind} needs as many values as keys"):
        Used(layer, X, MEMORY, VALUES[:, :2])
    with pytest.raises(ShapeError, match=f"{kind} needs a mask of one truth for each of 4 positions"):
        Used(LAYERS[kind](mask="m"), X, mask=KEYS)
