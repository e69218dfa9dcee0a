"""The loss ctc in descriptions: what it says of targets, and that it learns where labels are."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import cortex
from cortex_compute.errors import DataError, DTypeError, ShapeError
from cortex_compute.types import TensorType, float32
from cortex_core import losses as _losses  # noqa: F401  (registers them)
from cortex_core.ops.ctc import ctc
from cortex_core.ops.softmax import log_softmax
from cortex_core.registry import LOSSES
from cortex_core.tensor import Tensor

X = TensorType((2, 5, 4), float32)
GOOD = np.array([[1, 1, 3], [2, 0, -1]])


def loss(**fields: Any) -> Any:
    return LOSSES["ctc"](**fields)


@pytest.mark.parametrize(
    ("told", "fields", "target", "given"),
    [
        ("has a label that is none of 0 to 3 without the blank, 0: [1, 4, 0]", {}, [1, 4, 0], {}),
        ("has a label behind its end, the first blank or negative: [1, 0, 2]", {}, [1, 0, 2], {}),
        (
            "has a label that is none of 0 to 3 without the blank, 2: [1, 2, 3]",
            {"blank": 2},
            [1, 2, 3],
            [5, 3],
        ),
        ("has 4 labels; expected 0 to 3, what the target holds: [1, 2, 3]", {}, [1, 2, 3], [5, 4]),
        ("has 6 frames; expected 1 to 5, what the node has: [1, 2, 3]", {}, [1, 2, 3], [6, 3]),
        (
            "has 4 frames, too few for its 3 labels, with a blank between equal ones: [1, 1, 1]",
            {},
            [1, 1, 1],
            [4, 3],
        ),
    ],
)
def test_a_wrong_target_is_told(told: str, fields: dict[str, Any], target: list[int], given: Any) -> None:
    both = np.array([GOOD[0], target])
    extra = {"frames": np.array([5, given[0]]), "labels": np.array([3, given[1]])} if given else {}
    if fields:
        both[0] = [1, 1, 3]
    assert loss(**fields).wrong(X, both, **extra) == (1, told)


def test_right_targets_are_not_refused() -> None:
    assert loss().wrong(X, GOOD) is None
    assert loss(zero_infinity=True).wrong(X, np.array([[1, 1, 1, 1]] * 2)) is None
    assert loss(blank=3).wrong(X, np.array([[0, 0], [1, 3]])) is None


def test_values_are_those_of_the_op() -> None:
    x = np.random.default_rng(0).normal(size=(2, 5, 4))
    values, weights = loss().per_sample(Tensor(x), Tensor(GOOD))
    assert weights is None
    np.testing.assert_array_equal(values.numpy(), ctc(log_softmax(Tensor(x), -1), Tensor(GOOD)).numpy())
    short = np.array([2, 5])
    values, _ = loss(zero_infinity=True).per_sample(Tensor(x), Tensor(GOOD), frames=Tensor(short))
    assert values.numpy()[0] == 0 < values.numpy()[1]
    np.testing.assert_allclose(loss().prediction(Tensor(x)).numpy().sum(-1), 1)


def test_misfits_are_refused() -> None:
    x = np.zeros((2, 5, 4))
    with pytest.raises(ShapeError, match=r"ctc needs a node \(frames, classes\)"):
        loss().per_sample(Tensor(x[0]), Tensor(GOOD))
    with pytest.raises(ShapeError, match="more classes than blank, 4"):
        loss(blank=4).per_sample(Tensor(x), Tensor(GOOD))
    with pytest.raises(DTypeError, match="whole class indices"):
        loss().per_sample(Tensor(x), Tensor(GOOD.astype(float)))


SPELLED = {
    "inputs": {"sound": [8, 6]},
    "layers": [{"conv1d": {"filters": 12, "kernel": 3, "padding": "same", "activation": "tanh"}},
               {"dense": 4}],
    "loss": {"ctc": {"target": "word", "frames": "frames", "labels": "letters"}},
    "train": {
        "epochs": 30, "batch_size": 16, "optimizer": {"adam": {"learning_rate": 0.01}}, "validation": 0.25,
    },
}  # fmt: skip


def spoken(count: int) -> dict[str, np.ndarray]:
    """One or two different letters, each sounding for two frames, with silence around them."""
    rng = np.random.default_rng(4)
    sound = 0.2 * rng.normal(size=(count, 8, 6)).astype(np.float32)
    word, letters = np.zeros((count, 2), np.int64), rng.integers(1, 3, count)
    for i in range(count):
        word[i, : letters[i]] = 1 + rng.permutation(3)[: letters[i]]
        for k, letter in enumerate(word[i, : letters[i]]):
            start = 4 * k + rng.integers(0, 2)
            sound[i, start : start + 2, letter] += 1
    return {"sound": sound, "word": word, "letters": letters, "frames": np.full(count, 8)}


@pytest.mark.slow
def test_it_learns_where_letters_are(tmp_path: Any) -> None:
    """Nobody says at which frames; the likeliest class of each frame, collapsed, spells the word."""
    data = spoken(200)
    run = cortex.train(
        SPELLED, data=data, out=tmp_path / "run", progress=False, report=False, backend="numpy"
    )
    likeliest = run.network.predict(data["sound"]).argmax(-1)
    words = [[c for c, before in zip(row, [0, *row]) if c and c != before] for row in likeliest.tolist()]
    right = np.mean([word == target[target > 0].tolist() for word, target in zip(words, data["word"])])
    assert right > 0.95


def test_a_wrong_label_in_the_data_is_found_before_training(tmp_path: Any) -> None:
    data = spoken(40)
    data["word"][17, 0] = 9
    with pytest.raises(DataError, match=r"stream 'word': example \d+ has a label that is none of 0 to 3"):
        cortex.train(SPELLED, data=data, out=tmp_path / "run", progress=False, report=False, backend="numpy")


@pytest.mark.parametrize("bad", [np.array([5.0, 3.0]), np.array([[5, 3], [5, 3]]), np.array([5])])
@pytest.mark.parametrize("name", ["frames", "labels"])
def test_lengths_are_one_whole_number_for_each(name: str, bad: np.ndarray) -> None:
    with pytest.raises(ShapeError, match=f"ctc needs {name} to be one whole number for each sample"):
        loss().per_sample(Tensor(np.zeros((2, 5, 4))), Tensor(GOOD), **{name: Tensor(bad)})
