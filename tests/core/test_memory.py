"""Memory of large arrays that is used again: by nobody who could be seen, and not without bound."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from cortex_core import memory
from cortex_core.memory import LARGE, Pool, beyond, empty
from cortex_core.tensor import Tensor

FLOAT = np.dtype(np.float32)
SIZE = LARGE // 4


@pytest.fixture
def pool(monkeypatch: pytest.MonkeyPatch) -> Pool:
    fresh = Pool()
    monkeypatch.setattr(memory, "POOL", fresh)
    return fresh


def address(array: np.ndarray) -> int:
    return int(array.__array_interface__["data"][0])


def test_what_died_is_used_again(pool: Pool) -> None:
    first = empty((SIZE,), FLOAT)
    place = address(first)
    second = empty((SIZE,), FLOAT)
    assert address(second) != place
    del first
    assert pool.nbytes == LARGE
    third = empty((2, SIZE // 4), np.dtype(np.float64))
    assert address(third) == place
    assert pool.nbytes == 0
    assert third.shape == (2, SIZE // 4)
    assert third.flags.c_contiguous
    assert third.flags.writeable


def test_views_keep_the_memory(pool: Pool) -> None:
    array = empty((4, SIZE), FLOAT)
    view = array.reshape(-1)[3:7].view(np.int32)[::2]
    view[...] = 5
    del array
    assert pool.nbytes == 0
    other = empty((4, SIZE), FLOAT)
    other[...] = 0
    assert view.tolist() == [5, 5]
    del view
    assert pool.nbytes == 4 * LARGE


def test_small_arrays_are_numpys_own(pool: Pool) -> None:
    assert empty((SIZE - 1,), FLOAT).base is None
    assert empty((0, SIZE), FLOAT).shape == (0, SIZE)
    assert pool.nbytes == 0


def test_idle_memory_is_bounded(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "IDLE", 2 * LARGE)
    arrays = [empty((SIZE,), FLOAT) for _ in range(5)]
    assert len(pool._leases) == 5
    arrays.clear()
    assert pool.nbytes == 2 * LARGE
    assert not pool._leases


def test_what_an_array_looks_into() -> None:
    large, small = empty((SIZE,), FLOAT), np.zeros(3)
    assert beyond(large) is None
    assert beyond(small) is None
    assert beyond(large[1:]) is large
    assert beyond(small[1:]) is small


def test_gradients_of_large_tensors_are_right_whatever_lay_there_before() -> None:
    x = Tensor(np.linspace(-2, 2, 4 * SIZE, dtype=np.float32), requires_grad=True)
    for _ in range(3):
        x.grad = None
        ((x.tanh() * 2.0) ** 2).sum().backward()
        t = np.tanh(np.linspace(-2, 2, 4 * SIZE))
        assert x.grad is not None
        np.testing.assert_allclose(x.grad.numpy(), 8 * t * (1 - t * t), rtol=1e-4, atol=1e-5)


def test_changes_in_place_of_large_tensors_are_seen_and_forgotten() -> None:
    w = Tensor(np.ones(4 * SIZE, np.float32), requires_grad=True)
    for _ in range(3):
        h = w * 2.0
        h.exp_()
        h += 1.0
        with pytest.raises(RuntimeError, match="changed in place"):
            h.sum().backward()
        h = w * 2.0
        h.exp_()
        w.grad = None
        h.sum().backward()
        assert w.grad is not None
        np.testing.assert_allclose(w.grad.numpy()[0], 2 * np.exp(2.0), rtol=1e-5)


def test_threads_never_share(pool: Pool) -> None:
    wrong: list[int] = []

    def work(mark: int) -> None:
        for _ in range(200):
            array = empty((SIZE,), FLOAT)
            array[...] = mark
            if not (array == mark).all():
                wrong.append(mark)

    threads = [threading.Thread(target=work, args=(mark,)) for mark in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert pool.nbytes <= 8 * LARGE  # each had one array beside the one before
