"""Order and batches."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from contextlib import closing

import numpy as np
import pytest

from cortex_compute.errors import DataError
from cortex_core.training.feed import DEPTH, Feed, check_sizes, order
from cortex_core.training.source import Arrays


def source(count: int = 10) -> Arrays:
    return Arrays({"i": np.arange(count), "x": np.arange(2.0 * count).reshape(count, 2)})


def rows(feed: Feed, epoch: int, start: int = 0) -> list[list[int]]:
    with closing(feed.epoch(epoch, start)) as batches:
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
    feed = Feed(source(), ["i", "x"], 4)
    assert rows(feed, 0) == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert len(feed) == 3
    assert feed.sizes() == [4, 2]
    assert Feed(source(8), ["i"], 4).sizes() == [4]


def test_streams_stay_together() -> None:
    with closing(Feed(source(50), ["i", "x"], 7, seed=3).epoch(1)) as batches:
        for batch in batches:
            np.testing.assert_array_equal(batch.arrays["x"][:, 0], 2.0 * batch.arrays["i"])
            np.testing.assert_array_equal(batch.rows, batch.arrays["i"])


def test_an_epoch_begun_in_the_middle_goes_on_as_the_whole_one() -> None:
    feed = Feed(source(50), ["i"], 4, seed=5)
    whole = rows(feed, 2)
    assert rows(feed, 2, start=5) == whole[5:]
    assert rows(feed, 2, start=len(whole)) == []


class Failing(Arrays):
    """Fails at the third batch."""

    calls = 0

    def gather(self, indices: np.ndarray, out: Mapping[str, np.ndarray], *, epoch: int = 0) -> None:
        self.calls += 1
        if self.calls == 3:
            raise DataError("row 8 is damaged")
        super().gather(indices, out, epoch=epoch)


def test_an_error_of_the_reading_thread_is_raised_where_the_batches_are_used() -> None:
    seen = []
    feed = Feed(Failing({"i": np.arange(20)}), ["i"], 4)
    with pytest.raises(DataError, match="row 8 is damaged"), closing(feed.epoch(0)) as batches:
        for batch in batches:
            seen.append(batch.index)
    assert seen == [0, 1]


def test_no_thread_is_left_when_the_reader_of_batches_gives_up() -> None:
    before = threading.active_count()
    feed = Feed(source(1000), ["i"], 2)
    with pytest.raises(RuntimeError), closing(feed.epoch(0)) as batches:
        for _ in batches:
            raise RuntimeError
    assert threading.active_count() == before
    assert rows(feed, 0)[0] == [0, 1]  # and the ring is whole


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
