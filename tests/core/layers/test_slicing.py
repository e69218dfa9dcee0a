"""Parts and places of axes, beside NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import cortex
from cortex_compute.errors import ShapeError, SpecError
from cortex_core.registry import LAYERS
from tests.core.layers.use import Used

X = np.random.default_rng(0).normal(size=(2, 5, 4))


@pytest.mark.parametrize(
    ("fields", "key"),
    [
        ({"start": 1}, np.s_[:, 1:]),
        ({"stop": -2}, np.s_[:, :-2]),
        ({"start": 1, "stop": 9, "stride": 2}, np.s_[:, 1:9:2]),
        ({"stride": -2, "axis": -1}, np.s_[..., ::-2]),
        ({"start": -2, "stop": 0, "stride": -1, "axis": 1}, np.s_[:, -2:0:-1]),
    ],
)
def test_slice(fields: Any, key: Any) -> None:
    np.testing.assert_array_equal(Used(LAYERS["slice"](**fields), X).y, X[key])


@pytest.mark.parametrize(("place", "axis"), [(0, 1), (-1, 1), (2, -1), (-4, 2)])
def test_select(place: int, axis: int) -> None:
    np.testing.assert_array_equal(Used(LAYERS["select"](place=place, axis=axis), X).y, X.take(place, axis))


@pytest.mark.parametrize(("places", "axis"), [([4, 0, -1, 4], 1), ([2], -1), ([-4, 3], 2)])
def test_take(places: list[int], axis: int) -> None:
    used = Used(LAYERS["take"](indices=places, axis=axis), X)
    np.testing.assert_array_equal(used.y, X.take(places, axis))
    used.output.sum().backward()
    counts = np.bincount(np.array(places) % X.shape[axis], minlength=X.shape[axis])
    shape = [1, 5, 1] if axis == 1 else [1, 1, 4]
    np.testing.assert_array_equal(
        used.inputs[0].grad.numpy(), np.broadcast_to(counts.reshape(shape), X.shape)
    )


@pytest.mark.parametrize(
    ("kind", "fields", "words"),
    [
        ("slice", {"start": 5}, "slice finds nothing at 5::1 of 5 places along axis 1"),
        ("slice", {"axis": 3}, r"slice has no axis 3 to take from \(0 is the batch\)"),
        ("select", {"place": 4, "axis": 2}, "select finds no place 4 among 4 along axis 2"),
        ("select", {"place": 0, "axis": -3}, "select has no axis -3"),
        ("take", {"indices": [0, 5]}, "take finds no place 5 among 5 along axis 1"),
        ("take", {"indices": [0], "axis": 3}, "take has no axis 3"),
    ],
)
def test_what_is_not_there(kind: str, fields: Any, words: str) -> None:
    with pytest.raises(ShapeError, match=words):
        Used(LAYERS[kind](**fields), X)


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ({"slice": {"axis": 0}}, "axis 0 is the batch"),
        ({"slice": {"step": 0}}, "slice.step: 0 goes nowhere"),
        ({"select": {"index": 0, "axis": 0}}, "axis 0 is the batch"),
        ("select", "index"),
        ({"take": []}, "expected one at least"),
        ({"take": {"indices": [0], "axis": 0}}, "axis 0 is the batch"),
    ],
)
def test_descriptions_that_are_wrong(written: Any, words: str) -> None:
    with pytest.raises(SpecError, match=words):
        cortex.network({"cortex": 1, "inputs": {"x": [4, 2]}, "layers": [written]})


def test_a_description() -> None:
    layers = [{"slice": {"start": 1, "step": 2}}, {"select": -1}]
    found = cortex.network({"cortex": 1, "inputs": {"x": [5, 4]}, "layers": layers}).predict(X)
    np.testing.assert_array_equal(found, np.float32(X[:, 1::2][:, -1]))
