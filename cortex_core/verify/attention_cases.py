"""The cases of the gradient suite for attention, positions and tied tables."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from cortex_core.registry import LAYERS
from cortex_core.verify.case import Case, cases, of_layer

Rng = np.random.Generator
Made = Iterator[Case]


@cases("layer", "multi_head_attention")
def multi_head_attention(rng: Rng) -> Made:
    attention = LAYERS["multi_head_attention"]
    x, memory = 0.5 * rng.normal(size=(2, 3, 4)), 0.5 * rng.normal(size=(2, 2, 3))
    yield of_layer("causal", attention(heads=2, causal=True), x, rng=rng)
    yield of_layer("shared keys, turned", attention(heads=2, key_heads=1, rotary=True), x, rng=rng)
    mask = np.array([[True, False, True], [False, False, False]])
    yield of_layer("masked keys", attention(heads=1, mask="m", use_bias=False), x, rng=rng, mask=mask)
    yield of_layer("memory", attention(heads=2, size=1, units=3), x, memory, rng=rng)
    pairs = np.array([[[1, 0], [0, 1], [1, 1]], [[0, 0], [1, 1], [1, 0]]])
    values = rng.normal(size=(2, 2, 2))
    yield of_layer("masked pairs", attention(heads=2, mask="m"), x, memory, values, rng=rng, mask=pairs)
    named = {"mask": "m", "query_mask": "q", "unseen": "mean", "value_size": 1}
    keys, asked = np.array([[True, False], [False, False]]), np.array([[1, 0, 1], [1, 1, 1]])
    means = attention(heads=2, key_heads=1, **named)
    yield of_layer("means", means, x, memory, values, rng=rng, mask=keys, query_mask=asked)


def plain(name: str) -> None:
    """The cases of an attention without projections."""

    @cases("layer", name)
    def generator(rng: Rng) -> Made:
        kind = LAYERS[name]
        x, memory, values = (rng.normal(size=shape) for shape in ((2, 3, 2), (2, 4, 2), (2, 4, 3)))
        yield of_layer("causal", kind(causal=True, use_scale=True), x, rng=rng)
        seen, asked = np.arange(4) < [[2], [0]], np.arange(3) < [[3], [1]]
        named = kind(mask="m", query_mask="q", use_scale=False)
        yield of_layer("masks", named, x, memory, values, rng=rng, mask=seen, query_mask=asked)


plain("attention")
plain("additive_attention")


@cases("layer", "positional_encoding")
def positional_encoding(rng: Rng) -> Made:
    encoding, x = LAYERS["positional_encoding"], rng.normal(size=(2, 3, 5))
    yield of_layer("sinusoidal", encoding(), x, rng=rng)
    yield of_layer("learned", encoding(form="learned", length=4), x, rng=rng)


@cases("layer", "unembedding")
def unembedding(rng: Rng) -> Made:
    table = rng.normal(size=(5, 3))
    yield of_layer("", LAYERS["unembedding"](table="t"), rng.normal(size=(2, 2, 3)), rng=rng, table=table)
