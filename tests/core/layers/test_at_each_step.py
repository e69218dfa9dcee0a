"""Masks and further results of a layer that works at each step."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import cortex
from cortex_compute.errors import ShapeError, SpecError
from cortex_core.registry import LAYERS
from tests.core.layers.use import Used

RNG = np.random.default_rng(5)
X = RNG.normal(size=(2, 3, 5, 4))
MASK = RNG.random((2, 3, 5)) < 0.6


def alone(inner: Any, used: Used, step: int, **named: np.ndarray) -> Used:
    """The layer of one step, with the same parameters."""
    values = {name: np.asarray(value) for name, value in used.parameters.items()}
    return Used(inner, X[:, step], values=values, **named)


@pytest.mark.parametrize("kind", ["lstm", "bidirectional"])
def test_a_mask_and_states(kind: str) -> None:
    inner = LAYERS["lstm"](units=3, gives="both")
    inner = inner if kind == "lstm" else LAYERS[kind](layer=inner)
    used = Used(LAYERS["time_distributed"](layer=inner, mask="m"), X, mask=MASK)
    unmasked = Used(LAYERS["time_distributed"](layer=inner), X)
    assert np.abs(used.y - unmasked.y).max() > 0.01
    for step in range(3):
        right = alone(inner, used, step, mask=MASK[:, step])
        np.testing.assert_allclose(used.y[:, step], right.y, rtol=1e-12)
        for name in ("last", "cell"):
            found, one = (np.asarray(given.others[name]) for given in (used, right))
            np.testing.assert_allclose(found[:, step], one, rtol=1e-12)


def test_the_mask_that_a_layer_gives() -> None:
    x = X * MASK[..., None]
    used = Used(LAYERS["time_distributed"](layer=LAYERS["masking"]()), x)
    np.testing.assert_array_equal(np.asarray(used.others["mask"]), MASK)
    embedding = LAYERS["embedding"](tokens=9, units=2, mask_zero=True)
    used = Used(LAYERS["time_distributed"](layer=embedding), MASK.astype(np.int64))
    assert [*used.others] == ["mask"]
    np.testing.assert_array_equal(np.asarray(used.others["mask"]), MASK)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"layer": {"lstm": {"units": 2, "mask": "m"}}}, "expected 'mask' beside 'layer'"),
        ({"layer": {"dense": 2}, "mask": "m"}, "mask: dense takes no mask"),
        ({"layer": {"lstm": 2}, "mask": "n"}, "needs a mask of \\(length, ...\\) with the 3 steps"),
    ],
)
def test_descriptions_that_are_wrong(fields: Any, words: str) -> None:
    inputs = {"x": [3, 5, 4], "m": {"shape": [3, 5], "dtype": "bool"}, "n": {"shape": [3], "dtype": "bool"}}
    used = {name: given for name, given in inputs.items() if name == "x" or f"'{name}'" in repr(fields)}
    layers = [{"time_distributed": {**fields, "from": "x"}}]
    with pytest.raises(SpecError, match=words):
        cortex.network({"cortex": 1, "inputs": used, "layers": layers})


@pytest.mark.parametrize("name", ["last", "cell", "mask"])
def test_results_that_are_not_there(name: str) -> None:
    layers = [{"time_distributed": {"layer": {"gru": 2}, "id": "a"}}, {"linear": {"from": f"a.{name}"}}]
    with pytest.raises(SpecError, match=f"'a' gives no {name}"):
        cortex.network({"cortex": 1, "inputs": {"x": [3, 5, 4]}, "layers": layers})


def test_a_mask_of_other_steps() -> None:
    with pytest.raises(ShapeError, match="with the 3 steps of its input"):
        Used(LAYERS["time_distributed"](layer=LAYERS["lstm"](units=2), mask="m"), X, mask=MASK[:, :2])
