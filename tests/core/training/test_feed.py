"""Order and batches."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from contextlib import closing

import numpy as np
import pytest

from cortex_compute.errors import DataError
from cortex_core.training import feed
from cortex_core.training.feed import DEPTH, Feed, check_sizes, order
from cortex_core.training.pieces import pieces
from cortex_core.training.source import Arrays
from cortex_datasets.source import Stream


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
    assert made.sizes() == [(4, None), (2, None)]
    assert Feed(source(8), ["i"], 4).sizes() == [(4, None)]


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


class Sequences:
    """Examples of several padded lengths: stream t holds the row at every place, i holds it once."""

    def __init__(self, lengths: list[int]) -> None:
        self.lengths = np.array(lengths)
        self.streams = {"t": Stream((None, 2), "float32", None), "i": Stream((), "int64", None)}

    def __len__(self) -> int:
        return len(self.lengths)

    def gather(self, indices: np.ndarray, out: Mapping[str, np.ndarray], *, epoch: int = 0) -> None:
        assert out["t"].shape == (len(indices), *set(self.lengths[indices]), 2)
        out["t"][:] = indices[:, None, None]
        out["i"][:] = indices

    def select(self, indices: np.ndarray) -> Sequences:
        return Sequences(self.lengths[indices].tolist())


LENGTHS = [5, 8, 5, 8, 13, 5, 5, 8, 5, 13, 5, 8, 5]  # 7 of 5, 4 of 8, 2 of 13


@pytest.mark.parametrize("slot", [1, 300, 100_000])
def test_a_batch_has_one_length(monkeypatch: pytest.MonkeyPatch, slot: int) -> None:
    monkeypatch.setattr(feed, "SLOT_BYTES", slot)
    made = Feed(Sequences(LENGTHS), ["t", "i"], 3, seed=1)
    assert made.sizes() == [(3, 5), (1, 5), (3, 8), (1, 8), (2, 13)]
    assert len(made) == 6
    with closing(made.epoch(4)) as batches:
        found = [(b.number, b.length, b.arrays["i"].tolist(), b.arrays["t"].copy(), b.rows) for b in batches]
    assert [number for number, *_ in found] == list(range(6))
    assert sorted(i for _, _, rows, _, _ in found for i in rows) == list(range(13))
    for _, length, ids, values, rows in found:
        assert ids == rows.tolist()
        assert [LENGTHS[i] for i in ids] == [length] * len(ids)
        assert values.shape == (len(ids), length, 2)
        assert (values == rows[:, None, None]).all()


def test_lengths_and_rows_come_in_random_order() -> None:
    made = Feed(Sequences([5, 8] * 40), ["t", "i"], 4, seed=1)
    plans = [made.plan(epoch) for epoch in range(4)]
    assert len({tuple(plan.lengths) for plan in plans}) == 4
    assert all(plan.lengths not in ([5] * 10 + [8] * 10, [8] * 10 + [5] * 10) for plan in plans)
    assert len({tuple(plan.rows) for plan in plans}) == 4
    within = [[i for i in plan.rows if i % 2 == 0] for plan in plans]
    assert all(rows != sorted(rows) for rows in within)
    again = Feed(Sequences([5, 8] * 40), ["t", "i"], 4, seed=1).plan(2)
    assert (again.rows == plans[2].rows).all()
    assert again.lengths == plans[2].lengths


def test_without_a_seed_rows_keep_their_order_within_a_length() -> None:
    made = Feed(Sequences(LENGTHS), ["t", "i"], 3)
    assert rows(made, 0) == [[0, 2, 5], [6, 8, 10], [12], [1, 3, 7], [11], [4, 9]]


def test_an_epoch_of_lengths_goes_on_in_the_middle_and_counts_its_examples() -> None:
    made = Feed(Sequences(LENGTHS), ["t", "i"], 3, seed=2)
    whole = rows(made, 1)
    for start in range(7):
        assert rows(made, 1, start) == whole[start:]
        assert made.examples_before(1, start) == sum(map(len, whole[:start]))
    again = made.batch(1, 3, ["t", "i"])
    assert again.arrays["i"].tolist() == whole[3]
    assert again.length == made.plan(1).lengths[3]


def test_pieces_are_all_examples_in_bounded_memory() -> None:
    data = Sequences([8] * 30 + [5] * 30)
    found = list(pieces(data, ["t", "i"], size=600))  # 72 or 48 bytes each
    assert [len(p.rows) for p in found] == [12, 12, 6, 8, 8, 8, 6]
    assert sorted(np.concatenate([p.rows for p in found])) == list(range(60))
    assert all((p.arrays["t"][:, 0, 0] == p.rows).all() for p in found)
    assert [len(p.rows) for p in pieces(source(10), ["x"], size=32)] == [4, 4, 2]


def test_lengths_that_cannot_be_fed() -> None:
    with pytest.raises(DataError, match="5 padded lengths; 4 at most"):
        Feed(Sequences([1, 2, 3, 4, 5]), ["t"], 2)
    unsaid = source()
    unsaid.streams = Sequences([]).streams  # type: ignore[assignment]
    with pytest.raises(DataError, match=r"stream 't'.*\[None, 2\].*`lengths`"):
        Feed(unsaid, ["t"], 2)


class Slow(Arrays):
    """Takes its time for each example, as decoding and augmenting do."""

    seconds = 1e-3

    def gather(self, indices: np.ndarray, out: Mapping[str, np.ndarray], *, epoch: int = 0) -> None:
        self.asked = [*getattr(self, "asked", []), len(indices)]
        time.sleep(self.seconds * len(indices))
        super().gather(indices, out, epoch=epoch)


def test_a_slow_source_is_read_batch_by_batch_and_a_quick_one_in_larger_and_larger_slots() -> None:
    slow, quick = Slow({"i": np.arange(24)}), Slow({"i": np.arange(4000)})
    quick.seconds = 0.0
    assert rows(Feed(slow, ["i"], 4), 0) == [list(range(i, i + 4)) for i in range(0, 24, 4)]
    assert slow.asked == [4] * 6
    rows(Feed(quick, ["i"], 4), 0)
    assert quick.asked[0] == 4
    assert max(quick.asked) >= 64


def test_what_is_waited_for_is_counted() -> None:
    made = Feed(Slow({"i": np.arange(40)}), ["i"], 4)
    rows(made, 0)
    assert made.waited > 20e-3  # most of the 40 ms that reading takes


class Watched(Arrays):
    """Counts what has been read."""

    read: threading.Semaphore

    def gather(self, indices: np.ndarray, out: Mapping[str, np.ndarray], *, epoch: int = 0) -> None:
        super().gather(indices, out, epoch=epoch)
        self.read.release()


@pytest.mark.usefixtures("alone")
def test_the_next_batch_is_read_while_the_step_runs() -> None:
    data = Watched({"i": np.arange(20)})
    data.read = threading.Semaphore(0)
    with closing(Feed(data, ["i"], 4).epoch(0)) as batches:
        next(batches)
        for _ in range(DEPTH):
            assert data.read.acquire(timeout=60)
