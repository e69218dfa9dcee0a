"""What pages of a training are told, and what they ask for."""

from __future__ import annotations

import threading

import pytest

from cortex_compute.errors import CheckpointError, DataError
from cortex_viz.live.board import Board, Wishes


def test_a_reader_gets_what_changed_since_it_last_read() -> None:
    board = Board()
    board.put({"a": 1, "b": 2})
    first, entries = board.read()
    assert entries == {"a": 1, "b": 2}
    board.put({"a": 1, "b": 3})  # a is as it was
    second, entries = board.read(first)
    assert entries == {"b": 3}
    assert second > first
    assert board.read(second) == (second, {})


def test_a_slow_reader_gets_the_latest_alone() -> None:
    board = Board()
    for number in range(1000):
        board.put({"epoch": number, f"only {number % 3}": number})
    assert board.read(5)[1] == {"epoch": 999, "only 0": 999, "only 1": 997, "only 2": 998}


def test_putting_what_is_there_is_no_change() -> None:
    board = Board()
    board.put({"a": [1]})
    version = board.read()[0]
    board.put({"a": [1]})
    board.put({})
    assert board.read(version) == (version, {})


def test_a_number_of_another_training_says_nothing() -> None:
    board = Board()
    board.put({"a": 1})
    assert board.read(17)[1] == {"a": 1}


def test_waiting_ends_with_a_change_and_with_the_board() -> None:
    board, found = Board(), []

    def read() -> None:
        since, more = 0, True
        while more:
            more = board.wait(since, 60)
            since, entries = board.read(since)
            found.append(entries)

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    board.put({"a": 1})
    board.close()
    reader.join(60)
    assert not reader.is_alive()
    assert {"a": 1} in found


def test_wishes_are_granted_in_the_thread_that_grants() -> None:
    wishes, done = Wishes(), []
    assert not wishes.pending
    first, second = wishes.checkpoint(), wishes.checkpoint()
    assert wishes.pending
    assert not first.done()
    wishes.grant(lambda: f"{len(done)} written", lambda: done.append("stop"))
    assert (first.result(0), second.result(0)) == ("0 written", "0 written")
    assert (done, wishes.pending) == ([], False)
    assert wishes.stop()
    wishes.grant(str, lambda: done.append("stop"))
    assert done == ["stop"]


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), DataError("not finite")])
def test_a_checkpoint_that_fails_is_told_to_who_asked(error: Exception) -> None:
    def save() -> str:
        raise error

    wishes = Wishes()
    wish = wishes.checkpoint()
    wishes.grant(save, lambda: None)
    with pytest.raises(type(error), match=r"space|finite"):
        wish.result(0)


def test_all_who_wait_have_one_checkpoint() -> None:
    wishes, written = Wishes(), []
    waiting = [wishes.checkpoint() for _ in range(5)]
    wishes.grant(lambda: written.append(1) or f"{len(written)}", lambda: None)
    assert [wish.result(0) for wish in waiting] == ["1"] * 5
    wishes.grant(lambda: written.append(1) or "", lambda: None)
    assert len(written) == 1  # nobody asked again


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
def test_what_ends_the_training_in_a_checkpoint_leaves_nobody_waiting(error: type[BaseException]) -> None:
    def save() -> str:
        raise error

    wishes = Wishes()
    waiting = [wishes.checkpoint() for _ in range(2)]
    with pytest.raises(error):
        wishes.grant(save, lambda: None)
    wishes.end()
    for wish in waiting:
        with pytest.raises(CheckpointError, match="the training is over"):
            wish.result(0)


def test_after_the_end_nothing_is_granted() -> None:
    wishes = Wishes()
    waiting = wishes.checkpoint()
    wishes.end()
    assert not wishes.stop()
    for wish in (waiting, wishes.checkpoint()):
        with pytest.raises(CheckpointError, match="the training"):
            wish.result(0)
