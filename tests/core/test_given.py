"""What a batch may hold: tokens that there are, lengths of one step at least."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import cortex
from cortex_compute.errors import DataError
from cortex_datasets.source import ArraySource

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


CLASSES: dict[str, Any] = {
    "cortex": 1,
    "inputs": {"x": [2]},
    "layers": [{"dense": {"units": 3}}],
    "train": {"batch_size": 4, "epochs": 1},
}
MADE: dict[str, Any] = {"one_hot": {"of": "t", "classes": 3}}
SCORES = np.eye(4, dtype=np.float32)[[0, 1, 2, 3]]


@pytest.mark.parametrize(
    ("loss", "stream", "told"),
    [
        ({"mse": {"target": MADE}}, np.array([0, 2, 3, 1]), "example 2 has label 3, the classes are 0 to 2"),
        (
            {"mse": {"target": MADE}},
            np.array([0, -1, 1, 1]),
            "example 1 has label -1, the classes are 0 to 2",
        ),
        ({"softmax_cross_entropy": {"target": {"index": "t"}}}, SCORES, "example 3 has label 3, the classes"),
        (
            {"l2": {"sample_weight": "t"}},
            np.array([1, 1, 0, -0.5]),
            "example 3 has the weight -0.5, expected",
        ),
        ({"binary_cross_entropy": {"target": "t", "from_logits": True}}, 2 * SCORES[:, 1:], "has target 2.0"),
    ],
)
def test_numbers_that_a_loss_cannot_take(loss: Any, stream: np.ndarray, told: str, tmp_path: Any) -> None:
    spec, data = CLASSES | {"loss": loss}, {"x": np.ones((4, 2), np.float32), "t": stream}
    with pytest.raises(DataError, match=f"stream 't': {told}" if told.startswith("ex") else told):
        cortex.compile(spec).run(data)
    with pytest.raises(DataError, match=told):
        cortex.train(spec, data=data, out=tmp_path / "run", report=False)


def test_a_number_that_is_wrong_far_back(tmp_path: Any) -> None:
    """What is made of a stream is made of a part of it at a time."""
    labels = np.zeros(600, int)
    labels[577] = 9
    data = {"x": np.ones((600, 2), np.float32), "t": labels}
    with pytest.raises(DataError, match="example 577 has label 9"):
        cortex.train(
            CLASSES | {"loss": {"mse": {"target": MADE}}}, data=data, out=tmp_path / "run", report=False
        )


def test_named_classes_do_not_hide_what_ctc_cannot_take(tmp_path: Any) -> None:
    """The characters of a text have names, and yet a blank between labels is one too many."""
    spec = {
        "cortex": 1,
        "inputs": {"x": [4, 2]},
        "layers": [{"dense": {"units": 3}}],
        "loss": {"ctc": {"target": "word"}},
        "train": {"batch_size": 2, "epochs": 1},
    }
    words = np.array([[1, 2, 0], [1, 0, 2]])
    source = ArraySource({"x": np.ones((2, 4, 2), np.float32), "word": words}, {"word": ("", "a", "b")})
    with pytest.raises(DataError, match="stream 'word': example 1 has a label behind its end"):
        cortex.train(spec, data=source, out=tmp_path / "run", report=False)
