"""What stands for data: every part of them changes it, and little of them is read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from cortex_core.training.fingerprint import difference, digest
from cortex_core.training.source import Arrays
from tests.core.training.test_lengths import Ragged

NAMES = ["x", "y"]


def arrays(count: int = 30) -> dict[str, np.ndarray]:
    return {"x": np.arange(2.0 * count).reshape(count, 2), "y": np.arange(count)}


@pytest.mark.parametrize("row", [0, 15, 29])
@pytest.mark.parametrize("name", NAMES)
def test_a_change_in_any_stream_is_one(row: int, name: str) -> None:
    changed = arrays()
    changed[name][row] += 1
    assert digest(Arrays(arrays()), NAMES) == digest(Arrays(arrays()), NAMES)
    assert digest(Arrays(changed), NAMES) != digest(Arrays(arrays()), NAMES)


def test_a_stream_that_is_not_read_does_not_count() -> None:
    changed = {**arrays(), "y": np.zeros(30)}
    assert digest(Arrays(changed), ["x"]) == digest(Arrays(arrays()), ["x"])


def test_examples_of_several_lengths() -> None:
    data = Ragged(40)
    assert digest(data, ["x", "t"]) == digest(data.select(np.arange(40)), ["x", "t"])
    assert digest(data, ["x", "t"]) != digest(data.select(np.arange(39, -1, -1)), ["x", "t"])


class Counting(Arrays):
    """Adds up the rows that are asked for."""

    read = 0

    def gather(self, indices: np.ndarray, out: Mapping[str, Any], *, epoch: int = 0) -> None:
        self.read += len(indices)
        super().gather(indices, out, epoch=epoch)


def test_of_large_data_the_beginning_the_middle_and_the_end_are_read() -> None:
    data = Counting({"x": np.zeros((400_000, 4))})  # 6.4 MB
    first = digest(data, ["x"])
    assert data.read == 3 * (1 << 20) // 16
    for row in (0, 200_000, 399_999):
        data = Counting({"x": np.zeros((400_000, 4))})
        data.arrays["x"][row, 2] = 1
        assert digest(data, ["x"]) != first


@pytest.mark.parametrize(
    ("counts", "digest", "expected"),
    [
        ({"train": 1500, "test": 3}, "a", ""),
        ({"train": 1499, "test": 3}, "a", "it had 1,500 train examples, the data now have 1,499"),
        ({"train": 1500}, "a", "it had 3 test examples, the data now have 0"),
        (
            {"train": 1500, "test": 3, "validation": 9},
            "a",
            "it had 0 validation examples, the data now have 9",
        ),
        ({"train": 1500, "test": 3}, "b", "the training examples or their order have changed"),
    ],
)
def test_a_difference_in_words(counts: dict[str, int], digest: str, expected: str) -> None:
    then = {"counts": {"train": 1500, "test": 3}, "digest": "a"}
    assert difference(then, {"counts": counts, "digest": digest}) == expected
