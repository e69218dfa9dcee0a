"""A whole training step, compiled: the same numbers however it is compiled, and nothing allocated while it
runs.
"""

from __future__ import annotations

import threading
import tracemalloc
from typing import Any

import numpy as np
import pytest

from cortex_compute.backends import get
from cortex_compute.errors import BackendError, DataError
from cortex_compute.types import TensorType
from cortex_core.compiled import Compiled, compile
from cortex_core.graph.value import Graph, Update, input_value, state_value
from cortex_core.network import network
from cortex_core.ops.linear import matmul
from cortex_core.ops.reduce import sum as total
from cortex_core.program import Options, Program, compile_graph
from cortex_core.store import Store

BATCH = 32
LARGEST = 4096  # bytes of the largest block that a step may allocate


def description(**train: Any) -> dict[str, Any]:
    """Convolution, batch norm, pooling, dropout and dense: every kind of kernel and of state."""
    return {
        "cortex": 1,
        "name": "small",
        "inputs": {"image": [12, 12, 3]},
        "layers": [
            {"conv2d": {"filters": 8, "kernel": 3, "padding": "same", "use_bias": False}},
            "batch_norm",
            "relu",
            {"max_pool2d": 2},
            {"conv2d": {"filters": 16, "kernel": 3}},
            "batch_norm",
            "relu",
            {"dropout": 0.3},
            "flatten",
            {"dense": {"units": 32, "activation": "gelu_tanh"}},
            {"dense": {"units": 10, "id": "digit"}},
        ],
        "loss": {"softmax_cross_entropy": {"of": "digit", "target": "label"}},
        "train": {"optimizer": "adam", "metrics": ["accuracy"], **train},
    }


def batch(size: int = BATCH, seed: int = 0) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(seed)
    return {
        "image": generator.random((size, 12, 12, 3), np.float32),
        "label": generator.integers(0, 10, size),
    }


def losses(compiled: Compiled, steps: int = 10) -> list[float]:
    return [float(compiled.run(batch(seed=i))["loss"]) for i in range(steps)]


@pytest.mark.parametrize("train", [{}, {"clip_norm": 0.5}, {"optimizer": "lion", "clip_value": 0.01}])
def test_fusion_and_shared_memory_change_nothing(train: dict[str, Any]) -> None:
    plain = losses(compile(description(**train), pooling=False, fusion=False))
    assert plain[-1] != plain[0]
    for options in ({}, {"fusion": False}, {"pooling": False}, {"poison": True}):
        np.testing.assert_allclose(losses(compile(description(**train), **options)), plain, rtol=2e-5)


@pytest.mark.parametrize("backend", ["numpy", "auto"])
def test_a_worker_thread_gives_the_same_bits(backend: str) -> None:
    inline = compile(description(), backend)
    worker = Compiled(network(description()), get(backend), worker=True)
    assert losses(inline) == losses(worker)
    for name, value in inline.network.parameters.items():
        np.testing.assert_array_equal(value, worker.network.parameters[name])


def test_a_seed_repeats_every_bit_and_another_one_none() -> None:
    first, second, other = (compile(description(), seed=s) for s in (3, 3, 4))
    assert losses(first) == losses(second)
    assert losses(other) != losses(first)


def test_a_step_allocates_no_block_of_size() -> None:
    """The peak within each call, and within all that surrounds the calls, stays below one block of 4 KiB."""
    compiled = compile(description(clip_norm=1.0))
    compiled.run(batch())
    entry = compiled.entry(compiled.types(BATCH))
    peaks: dict[str, int] = {}

    def watched(name: str, call: Any) -> Any:
        def run(stream: Any) -> None:
            outside()
            before = tracemalloc.get_traced_memory()[0]
            call(stream)
            peaks[name] = max(peaks.get(name, 0), tracemalloc.get_traced_memory()[1] - before)
            tracemalloc.reset_peak()

        return run

    def outside() -> None:
        current, peak = tracemalloc.get_traced_memory()
        peaks["around"] = max(peaks.get("around", 0), peak - current)
        tracemalloc.reset_peak()

    calls = zip(entry.program.plan.instructions, entry.program._calls)
    entry.program._calls = [watched(f"{i} {x.primitive}", call) for i, (x, call) in enumerate(calls)]
    compiled.launch(entry)
    tracemalloc.start()
    try:
        for _ in range(100):
            tracemalloc.reset_peak()
            compiled.set_scalars(entry)
            compiled.launch(entry)
            outside()
    finally:
        tracemalloc.stop()
    assert len(peaks) > 40
    assert {name: peak for name, peak in peaks.items() if peak >= LARGEST} == {}


def test_batches_of_any_size_train_the_same_parameters() -> None:
    compiled = compile(description())
    before = {k: v.copy() for k, v in compiled.network.parameters.items()}
    for size in (BATCH, 7, 1, BATCH):
        compiled.run(batch(size))
    assert compiled.network.step == 4
    assert all((before[k] != v).any() for k, v in compiled.network.parameters.items() if k.endswith("kernel"))


def test_evaluation_changes_no_parameter_and_draws_nothing() -> None:
    made = network(description())
    train, evaluate = Compiled(made, get("numpy")), Compiled(made, get("numpy"), "evaluate")
    losses(train, 3)
    state = {k: v.copy() for k, v in {**made.parameters, **made.variables}.items()}
    key = made.store.array("random_key").copy()
    first = float(evaluate.run(batch())["loss"])
    assert float(evaluate.run(batch())["loss"]) == first
    np.testing.assert_array_equal(made.store.array("random_key"), key)
    for name, value in {**made.parameters, **made.variables}.items():
        np.testing.assert_array_equal(value, state[name])


def test_a_loss_that_is_not_finite_changes_no_state_but_the_key() -> None:
    compiled = compile(description())
    losses(compiled, 3)
    store = compiled.network.store
    before = {name: store.array(name).copy() for name in store.states}
    bad = batch()
    bad["image"][0, 0, 0, 0] = np.nan
    assert not np.isfinite(float(compiled.run(bad)["loss"]))
    changed = [name for name in store.states if not np.array_equal(store.array(name), before[name])]
    assert changed == ["random_key"]
    assert compiled.network.step == 3


def test_beside_a_program_that_runs_a_fork_may_run() -> None:
    made = network(description())
    compiled = Compiled(made, get("numpy"), "predict", options=Options())
    image = {"image": batch()["image"]}
    expected = compiled.run(image)["digit"].numpy()
    entry = next(iter(compiled._entries.values()))
    fork = entry.program.fork()
    found: list[np.ndarray] = []

    def other() -> None:
        with pytest.raises(BackendError, match="fork"):
            entry.program.run(image)
        found.append(fork.run(image)["digit"].numpy())

    with entry.program.alone:
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    np.testing.assert_array_equal(found[0], expected)


def test_what_does_not_fit_is_said() -> None:
    compiled = compile(description())
    with pytest.raises(DataError, match="missing"):
        compiled.run({"image": batch()["image"]})
    with pytest.raises(DataError, match="12, 12"):
        compiled.run({**batch(), "image": np.zeros((BATCH, 12, 11, 3), np.float32)})
    wrong = batch()
    wrong["label"][5] = 10
    with pytest.raises(DataError, match="example 5 has label 10"):
        compiled.run(wrong)
    with pytest.raises(DataError, match="differ in length"):
        compiled.run({**batch(), "label": np.zeros(3, np.int64)})


def test_results_of_a_step_keep_their_numbers() -> None:
    compiled = compile(description())
    first = compiled.run(batch())["loss"]
    value = float(first)
    compiled.run(batch(seed=1))
    assert float(first) == value


def test_programs_on_workers_take_turns() -> None:
    """Of one store, with a stream each: what the second one reads is what the first one has written."""
    backend = get("numpy")
    store = Store(backend.devices()[0])
    big, count = state_value("big", TensorType((700, 700))), state_value("count", TensorType(()))
    slow = count + total(matmul(matmul(big, big), big)) * 0.0 + 1.0
    graphs = Graph((), {}, (Update(count, slow),)), Graph((), {"count": count * 1.0})
    first, second = (Program(compile_graph(g, backend), backend, store, worker=True) for g in graphs)
    for i in range(1, 4):
        first.run()
        assert float(second.run()["count"]) == i
        first.run()
        assert store.array("count") == i + 1
        store.write("count", i)


def test_what_is_given_to_a_worker_may_change_afterwards() -> None:
    backend = get("numpy")
    store = Store(backend.devices()[0])
    x, big = input_value("x", TensorType((3,))), state_value("big", TensorType((700, 700)))
    busy = Graph((x,), {"y": x * 2.0}, (Update(big, matmul(big, big)),))
    program = Program(compile_graph(busy, backend), backend, store, worker=True)
    given = np.ones(3, np.float32)
    program.run({"x": given})
    results = program.run({"x": given})
    given[:] = 5
    np.testing.assert_array_equal(results["y"].numpy(), 2 * np.ones(3))


def test_a_program_that_changes_states_has_no_fork() -> None:
    compiled = compile(description())
    with pytest.raises(BackendError, match="changes its states"):
        compiled.entry(compiled.types(4)).program.fork()


def test_too_little_memory_leaves_everything_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    made = network(description())
    compiled = Compiled(made, get("numpy"))
    expected = losses(Compiled(network(description()), get("numpy")), 4)
    assert losses(compiled, 2) == expected[:2]
    device = type(made.store.device)
    empty = device.empty

    def poor(self: Any, nbytes: int) -> Any:
        if nbytes > 2 * made.store.arena.nbytes:
            raise MemoryError
        return empty(self, nbytes)

    monkeypatch.setattr(device, "empty", poor)
    before = made.store.arena.nbytes
    with pytest.raises(MemoryError):
        compiled.entry(compiled.types(64 * BATCH))
    assert made.store.arena.nbytes == before
    assert [float(compiled.run(batch(seed=i))["loss"]) for i in (2, 3)] == expected[2:]


def test_a_refused_input_does_not_hide_what_still_runs() -> None:
    """Another program's run may be on its way in the arena that they share."""
    predict = compile(description(), batch_size=BATCH, purpose="predict")
    program = predict.entry(predict.types(BATCH)).program
    waited: list[str] = []

    class Running:
        def synchronize(self) -> None:
            waited.append("feed" if program.store.last is self else "end")

    program.run({})
    program.store.last = Running()  # type: ignore[assignment]
    with pytest.raises(DataError, match="unknown input 'nothing'"):
        program.run({"nothing": np.zeros(3)})
    assert waited[-1] == "end"
    assert program.store.last is None
