"""Layers that say which steps count, and those that heed it, beside NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import cortex
from cortex_compute.errors import DTypeError, ShapeError, SpecError
from cortex_core.registry import LAYERS
from tests.core.layers.use import Used

RNG = np.random.default_rng(5)
MASK = np.arange(4) < np.array([4, 2, 0])[:, None]
X = RNG.standard_normal((3, 4, 2))


def test_masking() -> None:
    x = X.copy()
    x[0, 1] = x[1, 3] = 7
    x[0, 2, 0] = 7
    used = Used(LAYERS["masking"](value=7), x)
    seen = np.ones((3, 4), bool)
    seen[0, 1] = seen[1, 3] = False
    np.testing.assert_array_equal(used.others["mask"].data, seen)
    np.testing.assert_array_equal(used.y, x * seen[..., None])


@pytest.mark.parametrize("keepdims", [False, True])
def test_masked_mean(keepdims: bool) -> None:
    used = Used(LAYERS["masked_mean"](mask="m", keepdims=keepdims), X, mask=MASK)
    right = np.stack([X[0].mean(0), X[1, :2].mean(0), np.zeros(2)])
    np.testing.assert_allclose(used.y, right[:, None] if keepdims else right, rtol=1e-12)


def test_truths() -> None:
    flags = RNG.random((3, 4)) < 0.5
    np.testing.assert_array_equal(Used(LAYERS["logical_and"](), MASK, flags).y, MASK & flags)
    np.testing.assert_array_equal(Used(LAYERS["logical_or"](), MASK, flags, MASK[:, :1]).y,
                                  MASK | flags | MASK[:, :1])  # fmt: skip
    np.testing.assert_array_equal(Used(LAYERS["logical_not"](), MASK).y, ~MASK)
    for axis, keepdims in ((1, False), (-1, True)):
        any_ = LAYERS["any"](axis=axis, keepdims=keepdims)
        np.testing.assert_array_equal(Used(any_, MASK).y, MASK.any(axis, keepdims=keepdims))


@pytest.mark.parametrize("axis", [1, 2, -1])
def test_flip(axis: int) -> None:
    np.testing.assert_array_equal(Used(LAYERS["flip"](axis=axis), X).y, np.flip(X, axis))


@pytest.mark.parametrize(("kind", "fields", "inputs", "words"), [
    ("masked_mean", {"mask": "m"}, {"mask": MASK[:, :3]}, r"masked_mean needs a mask of one truth"),
    ("logical_or", {}, [MASK[:, :3]], "logical_or needs equal shapes, or 1 along an axis"),
    ("logical_or", {}, [X], "logical_or needs equal shapes, or 1 along an axis"),
    ("any", {"axis": 3}, [], r"any has no axis 3 \(0 is the batch\)"),
    ("flip", {"axis": 2}, [], r"flip has no axis 2 to turn around"),
])  # fmt: skip
def test_shapes_that_do_not_fit(kind: str, fields: Any, inputs: Any, words: str) -> None:
    named, others = (inputs, []) if isinstance(inputs, dict) else ({}, inputs)
    first = X if kind == "masked_mean" else MASK
    with pytest.raises(ShapeError, match=words):
        Used(LAYERS[kind](**fields), first, *others, **named)


def test_numbers_that_are_no_truths() -> None:
    with pytest.raises(DTypeError, match="any needs truths, not float64; compare makes them"):
        Used(LAYERS["any"](), X)
    with pytest.raises(DTypeError, match="logical_and needs truths, such as masks, not float64"):
        Used(LAYERS["logical_and"](), X, X)
    with pytest.raises(DTypeError, match="logical_not needs truths, such as masks, not float64"):
        Used(LAYERS["logical_not"](), X)
    with pytest.raises(DTypeError, match="masked_mean needs a mask of truths"):
        Used(LAYERS["masked_mean"](mask="m"), X, mask=MASK.astype(int))


@pytest.mark.parametrize("kind", ["flip", "any"])
def test_samples_stay_apart(kind: str) -> None:
    data = {"cortex": 1, "inputs": {"x": [4, 2]}, "layers": [{kind: {"axis": 0}}]}
    with pytest.raises(SpecError, match="axis 0 is the batch"):
        cortex.network(data)
