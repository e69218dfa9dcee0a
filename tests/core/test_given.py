"""What a batch may hold: tokens that there are, lengths of one step at least."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import cortex
from cortex_compute.errors import DataError

SPEC: dict[str, Any] = {
    "cortex": 1,
    "inputs": {"x": [5, 2], "n": {"shape": [], "dtype": "int64"}},
    "layers": [{"gru": {"units": 3, "lengths": "n", "from": "x", "id": "g"}}, {"dense": {"units": 1}}],
    "loss": {"mse": {"target": "y"}},
    "train": {"batch_size": 2},
}
X, Y = np.ones((2, 5, 2), np.float32), np.ones((2, 1), np.float32)


@pytest.mark.parametrize("bad", [0, 6, -1])
def test_a_length_of_no_step_or_of_too_many(bad: int, tmp_path: Any) -> None:
    batch = {"x": X, "n": np.array([5, bad]), "y": Y}
    told = rf"input 'n': example 1 has length {bad}; expected 1 to 5, as many steps as 'g' reads"
    with pytest.raises(DataError, match=told):
        cortex.compile(SPEC).run(batch)
    with pytest.raises(DataError, match=told):
        cortex.train(SPEC, data=batch, out=tmp_path / "run", report=False)


def test_what_lies_behind_a_length_does_not_count() -> None:
    network = cortex.network(SPEC)
    whole = network.predict({"x": X, "n": np.array([1, 5])})
    changed = X.copy()
    changed[0, 1:] = 7.0
    np.testing.assert_array_equal(network.predict({"x": changed, "n": np.array([1, 5])}), whole)


WORDS: dict[str, Any] = {"embedding": {"tokens": 9, "units": 4, "id": "words"}}
DISTRIBUTED: dict[str, Any] = {
    "time_distributed": {"layer": {"embedding": {"tokens": 9, "units": 4}}, "id": "words"}
}


@pytest.mark.parametrize("bad", [9, -1, 10**12])
@pytest.mark.parametrize(
    "layers",
    [
        [WORDS],
        [{"reshape": [6]}, WORDS],
        [{"permute": [2, 1]}, "flatten", WORDS],
        [{"concatenate": {"axis": -1, "from": ["t", "t"]}}, WORDS],
        [DISTRIBUTED],
        [{"time_distributed": {"layer": {"reshape": [3, 1]}}}, DISTRIBUTED],
    ],
)
def test_a_token_that_no_embedding_has(layers: list[Any], bad: int, tmp_path: Any) -> None:
    """Also where layers that move numbers stand between."""
    spec = {
        "cortex": 1,
        "inputs": {"t": {"shape": [2, 3], "dtype": "int64"}},
        "layers": [*layers, "flatten", {"dense": 1}],
        "loss": {"mse": {"target": "y"}},
        "train": {"batch_size": 2},
    }
    good = np.array([[[0, 1, 2], [3, 4, 5]], [[6, 7, 8], [8, 0, 1]]])
    wrong = good.copy()
    wrong[1, 0, 2] = bad
    network = cortex.network(spec)
    assert network.predict(good).shape == (2, 1)
    told = rf"input 't': example 1 has token {bad}, the tokens of 'words' are 0 to 8"
    with pytest.raises(DataError, match=told):
        network.predict(wrong)
    with pytest.raises(DataError, match=told):
        cortex.train(spec, data={"t": wrong, "y": Y}, out=tmp_path / "run", report=False)
