"""One number of threads for BLAS and OpenMP, and what happens to threads in forks."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from cortex_compute import threads
from cortex_compute.backends import get
from cortex_compute.errors import BackendError
from cortex_compute.threads import THREADS, set_threads


@pytest.fixture(autouse=True)
def restored(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    get()  # from here on it is known whether there are OpenMP's threads
    monkeypatch.setattr(THREADS, "chosen", THREADS.chosen)
    monkeypatch.setattr(THREADS, "openmp", THREADS.openmp)
    threads.default.cache_clear()
    with threadpool_limits():
        yield
    threads.default.cache_clear()


@pytest.fixture
def onednn() -> Any:
    try:
        return get("onednn")
    except BackendError as error:
        pytest.skip(str(error))


def blas() -> set[int]:
    return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}


def openmp(backend: Any) -> int:
    """What oneDNN would ask, in this thread."""
    count: int = backend.parts[0].library.threads()
    return count


@pytest.mark.parametrize(
    ("value", "expected"), [("3", 3), ("5,2", 5), ("", None), ("0", None), ("many", None), ("-2", None)]
)
def test_the_default_is_that_of_openmp(
    monkeypatch: pytest.MonkeyPatch, value: str, expected: int | None
) -> None:
    monkeypatch.setattr(THREADS, "chosen", None)
    monkeypatch.setenv("OMP_NUM_THREADS", value)
    assert threads.threads() == (expected or len(os.sched_getaffinity(0)))


@pytest.mark.parametrize("n", [0, -3, 100_000, 2**40, 1.5, True, "2", None])
def test_what_is_no_number_of_threads(n: Any) -> None:
    with pytest.raises(BackendError, match=r"threads is .*: expected a whole number from 1 to 1024"):
        set_threads(n)


def test_without_openmp_blas_has_them_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(THREADS, "openmp", False)
    for n in (1, 2):
        set_threads(n)
        assert blas() == {n}
        with get("numpy").devices()[0].stream().active():
            assert blas() == {n}


def test_a_program_in_any_thread_has_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """BLAS rests at one thread, as the main thread has set it, and has two for a program of another one."""
    monkeypatch.setattr(THREADS, "openmp", False)
    set_threads(2)
    threads.rest_blas()
    counts = []

    def run() -> None:
        counts.append(blas())
        with get("numpy").devices()[0].stream().active():
            counts.append(blas())
        counts.append(blas())

    worker = threading.Thread(target=run)
    worker.start()
    worker.join()
    assert counts == [{1}, {2}, {1}]
    run()
    assert counts[3:] == counts[:3]


def test_beside_openmp_blas_has_them_only_while_a_program_of_numpy_runs(onednn: Any) -> None:
    THREADS.openmp = False
    set_threads(2)
    assert blas() == {2}
    threads.rest_blas()
    assert blas() == {1}
    set_threads(3)
    assert blas() == {1}
    stream = get("numpy").devices()[0].stream()
    with stream.active(), stream.active():
        assert blas() == {3}
        with get("onednn").devices()[0].stream().active():
            assert openmp(onednn) == 3
    assert blas() == {1}


def test_the_backend_is_made_for_the_number_that_is_set(onednn: Any) -> None:
    set_threads(2)
    two = get("onednn")
    set_threads(3)
    assert get("onednn") is not two
    assert get("onednn").describe()["threads"] == "3"
    set_threads(2)
    assert get("onednn") is two


@pytest.mark.parametrize("worker", [False, True])
def test_each_thread_that_launches_has_the_number(onednn: Any, worker: bool) -> None:
    set_threads(3)
    backend, found = get("onednn"), []

    def launch() -> None:
        for one in (backend, backend.single(), backend):
            stream = one.devices()[0].stream(worker)
            with stream.active():
                stream.launch(lambda: found.append(openmp(onednn)))
                stream.synchronize()
            stream.close()

    thread = threading.Thread(target=launch)
    thread.start()
    thread.join()
    launch()
    assert found == [3, 1, 3] * 2


def test_one_thread_is_single_already(onednn: Any) -> None:
    set_threads(1)
    assert get("onednn").single() is get("onednn")
    set_threads(2)
    assert get("onednn").single() is get("onednn").single() is not get("onednn")
    assert get("numpy").single() is get("numpy")


PROGRAM = """
import os, signal, warnings
import numpy as np
from cortex_compute.errors import BackendError
from cortex_core.compiled import compile

warnings.simplefilter("ignore", DeprecationWarning)  # a fork beside threads: the very thing that is tested
conv = {"conv2d": {"filters": 16, "kernel": 3, "activation": "relu"}}
layers = [conv, "flatten", {"dense": {"units": 4, "id": "y"}}]
spec = {"cortex": 1, "name": "net", "inputs": {"x": [8, 8, 3]}, "layers": layers,
        "loss": {"softmax_cross_entropy": {"of": "y", "target": "t"}}}
batch = {"x": np.random.default_rng(0).random((64, 8, 8, 3), np.float32), "t": np.arange(64) % 4}

def step(backend="onednn"):
    return float(compile(spec, backend, seed=0).run(batch)["loss"])

def predict():
    made = compile(spec, "onednn", seed=0, purpose="predict")
    return made.run({"x": batch["x"][:1]})["y"].numpy().tobytes()

def child(work):
    "What the child says: the result, or the error; nothing, where it hangs."
    read, write = os.pipe()
    pid = os.fork()
    if not pid:
        signal.alarm(20)
        try:
            said = repr(work())
        except BackendError as error:
            said = f"BackendError: {error}"
        os.write(write, said.encode())
        os._exit(0)
    os.close(write)
    with open(read, "rb") as file:
        said = file.read().decode()
    os.waitpid(pid, 0)
    return said
"""


def run(code: str, **environment: str) -> str:
    """Runs it in a process of two threads; a child that hangs says nothing."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM + code],
        env={**os.environ, "OMP_NUM_THREADS": "2", **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout.strip()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks here")
class TestFork:
    def test_after_a_step_a_child_is_told(self, onednn: Any) -> None:
        said = run("before = step(); print(child(step)); assert step() == before").splitlines()
        assert len(said) == 1
        assert said[0].startswith("BackendError: this process was forked after oneDNN")
        assert "spawn" in said[0]

    def test_a_program_of_before_is_refused_too(self, onednn: Any) -> None:
        code = "made = compile(spec, 'onednn'); made.run(batch); print(child(lambda: made.run(batch)))"
        assert "forked" in run(code)

    def test_on_one_thread_a_child_works(self, onednn: Any) -> None:
        code = """
from cortex_compute.threads import set_threads

def alone():
    set_threads(1)
    return step()

step()
made = compile(spec, "onednn", seed=0, purpose="predict")
of_one = lambda: made.run({"x": batch["x"][:1]})["y"].numpy().tobytes()
print(predict() == of_one(), child(predict) == child(of_one) == repr(of_one()))
print(float(child(alone)) == alone())
"""
        assert run(code).split() == ["True"] * 3

    def test_before_the_first_step_a_child_works(self, onednn: Any) -> None:
        code = "from cortex_compute.backends import get; get('onednn'); print(child(step)); print(step())"
        one, other = run(code).splitlines()
        assert one == other

    def test_after_one_thread_alone_a_child_works(self, onednn: Any) -> None:
        run("before = predict(); assert child(predict) == repr(before); assert float(child(step)) == step()")

    def test_numpy_alone_works_in_a_child(self) -> None:
        run("before = step('numpy'); assert float(child(lambda: step('numpy'))) == before")

    def test_numpy_works_in_a_child_that_has_lost_the_threads(self, onednn: Any) -> None:
        run("step(); before = step('numpy'); assert float(child(lambda: step('numpy'))) == before")


def test_the_same_bits_for_the_same_number(onednn: Any) -> None:
    code = """
from cortex_compute.threads import set_threads
def bits():
    made = compile(spec, "onednn", seed=0)
    for _ in range(5):
        made.run(batch)
    return [a.tobytes() for a in made.network.parameters.values()]
assert bits() == bits()
set_threads(1)
one = bits()
assert bits() == one
set_threads(2)
print(bits() == bits())
"""
    assert run(code) == "True"
