"""Streams: order, events, errors, and what a thread of its own means."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from functools import partial

import numpy as np
import pytest

from cortex_compute.numpy_backend.streams import InlineStream, ThreadEvent, WorkerStream

SOON = 5.0  # seconds; only a broken stream waits so long


@pytest.fixture
def worker() -> Iterator[WorkerStream]:
    stream = WorkerStream()
    yield stream
    stream.close()


def test_an_inline_stream_has_done_what_it_launched() -> None:
    stream, seen = InlineStream(), []
    stream.launch(lambda: seen.append(1))
    assert seen == [1]
    with pytest.raises(ZeroDivisionError):
        stream.launch(lambda: 1 / 0)  # type: ignore[arg-type, return-value]


def test_a_worker_runs_in_order_on_one_other_thread(worker: WorkerStream) -> None:
    seen: list[int] = []
    threads: set[int] = set()

    def work(i: int) -> None:
        time.sleep(0.001 * (5 - i % 5))
        seen.append(i)
        threads.add(threading.get_ident())

    for i in range(20):
        worker.launch(lambda i=i: work(i))
    worker.synchronize()
    assert seen == list(range(20))
    assert len(threads) == 1
    assert threading.get_ident() not in threads


def test_a_worker_has_not_run_before_it_is_waited_for(worker: WorkerStream) -> None:
    """So a read without waiting shows, which is what this stream is for."""
    gate = threading.Event()
    x = np.zeros(3)
    worker.launch(lambda: gate.wait(SOON) and None)
    worker.copy(np.ones(3), x)
    assert not x.any()
    gate.set()
    worker.synchronize()
    assert x.all()


def test_an_event_waits_for_what_came_before_it_only(worker: WorkerStream) -> None:
    gate, seen = threading.Event(), []
    worker.launch(lambda: seen.append("before"))
    event = worker.record()
    worker.launch(lambda: gate.wait(SOON) and None)
    worker.launch(lambda: seen.append("after"))
    event.synchronize()
    assert seen == ["before"]
    gate.set()
    worker.synchronize()
    assert seen == ["before", "after"]


def test_a_stream_waits_for_an_event_of_another(worker: WorkerStream) -> None:
    other, seen = WorkerStream(), []
    gate = threading.Event()
    other.launch(lambda: gate.wait(SOON) and None)
    other.launch(lambda: seen.append("other"))
    worker.wait(other.record())
    worker.launch(lambda: seen.append("worker"))
    gate.set()
    worker.synchronize()
    assert seen == ["other", "worker"]
    other.close()


def test_an_inline_stream_waits_for_a_worker(worker: WorkerStream) -> None:
    seen: list[int] = []
    worker.launch(lambda: time.sleep(0.01))
    worker.launch(lambda: seen.append(1))
    InlineStream().wait(worker.record())
    assert seen == [1]
    worker.wait(InlineStream().record())
    worker.synchronize()


def test_an_error_surfaces_at_synchronize_once(worker: WorkerStream) -> None:
    seen: list[int] = []

    def fail() -> None:
        raise ValueError("in a kernel")

    worker.launch(fail)
    worker.launch(lambda: seen.append(1))  # what follows an error is not run
    with pytest.raises(ValueError, match="in a kernel"):
        worker.synchronize()
    assert seen == []
    worker.launch(lambda: seen.append(2))
    worker.synchronize()
    assert seen == [2]


def test_an_event_after_an_error_still_happens(worker: WorkerStream) -> None:
    """Else whoever waits for it would wait for ever."""

    def fail() -> None:
        raise ValueError("in a kernel")

    worker.launch(fail)
    assert worker.record().wait(SOON)
    with pytest.raises(ValueError, match="in a kernel"):
        worker.synchronize()


def test_a_worker_says_nothing_of_infinities(worker: WorkerStream) -> None:
    x = np.zeros(3)
    worker.launch(partial(np.divide, 1, x, x))
    worker.synchronize()
    assert np.isinf(x).all()


def test_inside_active_numpy_is_quiet_and_takes_small_buffers() -> None:
    before = np.getbufsize()
    with InlineStream().active():
        assert np.getbufsize() < before
        assert np.isinf(np.divide(np.ones(1), 0))
    assert np.getbufsize() == before
    assert np.geterr()["divide"] == "warn"


def test_close_ends_the_thread_after_what_was_launched() -> None:
    stream, seen = WorkerStream(), []
    stream.launch(lambda: seen.append(1))
    stream.close()
    assert seen == [1]
    InlineStream().close()


def test_an_event_raises_the_error_of_a_launch_before_it(worker: WorkerStream) -> None:
    """Else the numbers of a run that failed would be read as if they were its results."""

    def fail() -> None:
        raise ValueError("in a kernel")

    before = worker.record()
    worker.launch(fail)
    event, seen = worker.record(), []
    before.synchronize()
    for stream in (InlineStream(), WorkerStream()):
        with pytest.raises(ValueError, match="in a kernel"):
            _after(stream, event, seen)
    assert seen == []


def _after(stream: InlineStream | WorkerStream, event: ThreadEvent, seen: list[int]) -> None:
    stream.wait(event)
    stream.launch(lambda: seen.append(1))
    stream.synchronize()
