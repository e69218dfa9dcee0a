"""Order and batches."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from contextlib import closing

import numpy as np
import pytest

from cortex_compute.errors import DataError
from cortex_core.training import feed
from cortex_core.training.feed import DEPTH, Feed, check_sizes, order
from cortex_core.training.source import Arrays


def source(count: int = 10) -> Arrays:
    return Arrays({"i": np.arange(count), "x": np.arange(2.0 * count).reshape(count, 2)})


def rows(made: Feed, epoch: int, start: int = 0) -> list[list[int]]:
    with closing(made.epoch(epoch, start)) as batches:
        return [batch.arrays["i"].tolist() for batch in batches]


def test_the_order_of_an_epoch_is_this_one() -> None:
    # From NumPy's documented Philox: the raw words of key (7, "order"), counter (0, 0, epoch, 0), sorted.
    words = np.random.Philox(key=[7, int.from_bytes(b"order", "big")], counter=[0, 0, 3, 0]).random_raw(10)
    assert order(10, 7, 3).tolist() == sorted(range(10), key=lambda i: int(words[i]))


def test_every_epoch_has_every_row_once_and_its_own_order() -> None:
    orders = [tuple(order(100, seed, epoch)) for seed in (0, 1) for epoch in (0, 1)]
    assert all(sorted(o) == list(range(100)) for o in orders)
    assert len(set(orders)) == 4


def test_the_last_smaller_batch_is_kept() -> None:
    made = Feed(source(), ["i", "x"], 4)
    assert rows(made, 0) == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert len(made) == 3
    assert made.sizes() == [4, 2]
    assert Feed(source(8), ["i"], 4).sizes() == [4]


def test_streams_stay_together() -> None:
    with closing(Feed(source(50), ["i", "x"], 7, seed=3).epoch(1)) as batches:
        for batch in batches:
            np.testing.assert_array_equal(batch.arrays["x"][:, 0], 2.0 * batch.arrays["i"])
            np.testing.assert_array_equal(batch.rows, batch.arrays["i"])


def test_an_epoch_begun_in_the_middle_goes_on_as_the_whole_one() -> None:
    made = Feed(source(50), ["i"], 4, seed=5)
    whole = rows(made, 2)
    assert rows(made, 2, start=5) == whole[5:]
    assert rows(made, 2, start=len(whole)) == []


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each batch has a slot of its own."""
    monkeypatch.setattr(feed, "SLOT_BYTES", 1)


@pytest.mark.parametrize("slot", [1, 100, 1000])
def test_how_many_batches_share_a_slot_changes_nothing(monkeypatch: pytest.MonkeyPatch, slot: int) -> None:
    whole = rows(Feed(source(50), ["i"], 4, seed=5), 2)
    monkeypatch.setattr(feed, "SLOT_BYTES", slot)
    for start in (0, 3, 12):
        assert rows(Feed(source(50), ["i"], 4, seed=5), 2, start) == whole[start:]


class Failing(Arrays):
    """Fails when it is read for the third time."""

    calls = 0

    def gather(self, indices: np.ndarray, out: Mapping[str, np.ndarray], *, epoch: int = 0) -> None:
        self.calls += 1
        if self.calls == 3:
            raise DataError("row 8 is damaged")
        super().gather(indices, out, epoch=epoch)


@pytest.mark.usefixtures("alone")
def test_an_error_of_the_reading_thread_is_raised_where_the_batches_are_used() -> None:
    batches = Feed(Failing({"i": np.arange(20)}), ["i"], 4).epoch(0)
    assert [next(batches).number, next(batches).number] == [0, 1]
    with pytest.raises(DataError, match="row 8 is damaged"):
        next(batches)


@pytest.mark.usefixtures("alone")
def test_no_thread_is_left_when_the_reader_of_batches_gives_up() -> None:
    before = threading.active_count()
    made = Feed(source(1000), ["i"], 2)
    with closing(made.epoch(0)) as batches:
        next(batches)
        assert threading.active_count() == before + 1
    assert threading.active_count() == before
    assert rows(made, 0)[0] == [0, 1]  # and the ring is whole


@pytest.mark.usefixtures("alone")
def test_no_more_is_read_ahead_than_the_ring_holds() -> None:
    data = Failing({"i": np.arange(1000)})
    data.calls = 100
    with closing(Feed(data, ["i"], 2).epoch(0)) as batches:
        next(batches)
    assert data.calls <= 100 + DEPTH + 1


def test_sizes_that_cannot_be_trained_on() -> None:
    with pytest.raises(DataError, match="the data has no examples"):
        check_sizes(Arrays({"x": np.zeros((0, 2))}), 4, "the data")
    with pytest.raises(DataError, match=r"batch_size is 64.*10 examples"):
        check_sizes(source(), 64, "the data")
