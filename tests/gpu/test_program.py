"""Whole programs on the stand-in: captured steps, guards, data on the device, a store that moves."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cortex_compute import backends
from cortex_compute.errors import BackendError, SpecError
from cortex_compute.types import bfloat16
from cortex_core.compiled import LOOK, Compiled
from cortex_core.declared import KEY
from cortex_core.machine import using
from cortex_core.network import Network, network
from cortex_core.tensor import Tensor
from cortex_core.tracing import trace
from cortex_core.training.callbacks import Callback
from cortex_core.training.evaluate import evaluate
from cortex_core.training.nonfinite import NonFiniteError
from cortex_core.training.train import train
from cortex_gpu.backend import CupyBackend
from tests.gpu.standin import Machine

CLOSE = {"rtol": 2e-5, "atol": 2e-6}  # float32 in another order of summation, over a few steps
EXAMPLES = 40


def description(**options: Any) -> dict[str, Any]:
    """A convolutional network with batch norm and dropout, small enough for the stand-in."""
    return {
        "cortex": 1,
        "name": "small",
        "inputs": {"image": [6, 6, 2]},
        "layers": [
            {"conv2d": {"filters": 4, "kernel": 3, "padding": "same", "use_bias": False}},
            "batch_norm",
            "relu",
            {"max_pool2d": 2},
            "flatten",
            {"dropout": 0.25},
            {"dense": {"units": 3, "id": "out"}},
        ],
        "loss": {"softmax_cross_entropy": {"of": "out", "target": "label"}},
        "train": {"optimizer": {"adam": {"learning_rate": 0.01}}, "batch_size": 16, **options},
    }


def data(seed: int = 0, count: int = EXAMPLES) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    image = rng.normal(size=(count, 6, 6, 2)).astype(np.float32)
    return {"image": image, "label": rng.integers(0, 3, count)}


def part(arrays: dict[str, np.ndarray], start: int, size: int = 8) -> dict[str, np.ndarray]:
    return {name: a[start : start + size] for name, a in arrays.items()}


def numbers(made: Network) -> dict[str, np.ndarray]:
    return {name: a.copy() for name, a in {**made.parameters, **made.variables}.items()}


def expect_close(a: Network, b: Network) -> None:
    theirs = numbers(b)
    for name, x in numbers(a).items():
        np.testing.assert_allclose(x, theirs[name], err_msg=name, **CLOSE)


@pytest.fixture
def cupy(backend: CupyBackend, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The name under which the stand-in's backend is found."""
    monkeypatch.setitem(backends.BUILT_IN, "cupy", "tests.gpu.standin.backend:cupy_backend")
    backends._create.cache_clear()
    yield "cupy"
    backends._create.cache_clear()


def test_steps_are_those_of_the_cpu(cupy: str) -> None:
    made, other, arrays = network(description()), network(description()), data()
    here, there = Compiled(made, backends.get(cupy)), Compiled(other, backends.get("numpy"))
    for start in (0, 8, 16, 24):  # the first by single launches, the others as a captured graph
        loss = here.run(part(arrays, start))["loss"]
        np.testing.assert_allclose(loss, there.run(part(arrays, start))["loss"], **CLOSE)
    expect_close(made, other)
    assert made.step == other.step == 4
    np.testing.assert_array_equal(made.store.array(KEY), other.store.array(KEY))


def test_a_step_neither_allocates_nor_waits(cupy: str, machine: Machine) -> None:
    made, arrays = network(description()), data()
    compiled = Compiled(made, backends.get(cupy))
    entry = compiled.entry(compiled.types(8))
    for _ in range(3):
        compiled.set_scalars(entry)
        compiled.launch(entry, part(arrays, 0), results=False)
    machine.allocations = machine.synchronisations = machine.launches = 0
    for start in (0, 8, 16):
        compiled.set_scalars(entry)
        compiled.launch(entry, part(arrays, start), results=False)
    assert (machine.allocations, machine.synchronisations) == (0, 0)
    assert machine.launches == 3


def test_a_caller_may_change_its_arrays_at_once(cupy: str) -> None:
    made, other, arrays = network(description()), network(description()), data()
    here, there = Compiled(made, backends.get(cupy)), Compiled(other, backends.get("numpy"))
    mine = part({n: a.copy() for n, a in arrays.items()}, 0)
    for start in (0, 8, 16, 24, 32, 0, 8):
        for name, a in part(arrays, start).items():
            mine[name][...] = a
        here.run(mine)
        there.run(part(arrays, start))
    for a in mine.values():
        a[...] = 0
    expect_close(made, other)


def spoilt(arrays: dict[str, np.ndarray], value: float = np.nan) -> dict[str, np.ndarray]:
    bad = part({n: a.copy() for n, a in arrays.items()}, 8)
    bad["image"][0, 0, 0, 0] = value
    return bad


def test_behind_a_bad_step_a_halting_program_changes_nothing_until_the_host_has_seen_it(cupy: str) -> None:
    made, arrays = network(description()), data()
    compiled = Compiled(made, backends.get(cupy), halting=True)
    compiled.run(part(arrays, 0))
    before = numbers(made)
    compiled.run(spoilt(arrays))
    compiled.run(part(arrays, 16))
    for name, x in numbers(made).items():
        np.testing.assert_array_equal(x, before[name])
    assert compiled.look() == 2
    assert made.step == 1
    compiled.run(part(arrays, 16))
    assert compiled.look() == 0
    assert any((numbers(made)[name] != before[name]).any() for name in made.parameters)


@pytest.mark.parametrize("engine", ["numpy", "cupy"])
def test_a_bad_step_in_a_loop_of_ones_own_costs_that_step(cupy: str, engine: str) -> None:
    made, arrays = network(description()), data()
    compiled = Compiled(made, backends.get(engine))
    compiled.run(spoilt(arrays))
    for _ in range(LOOK + 6):
        compiled.run(part(arrays, 0))
    assert compiled.look() == 1
    assert made.step == LOOK + 6
    assert compiled.look() == 0


def test_a_bad_step_that_nobody_looked_after_does_not_stop_the_next_training(cupy: str) -> None:
    made, arrays = network(description()), data()
    Compiled(made, backends.get(cupy), halting=True).run(spoilt(arrays))
    for begin in (made.restart, lambda seed: None):
        begin(0)
        before, again = numbers(made), Compiled(made, backends.get(cupy), halting=True)
        again.run(part(arrays, 0))
        assert any((numbers(made)[name] != before[name]).any() for name in made.parameters)
        again.run(spoilt(arrays))


def run_both(tmp_path: Path, cupy: str, **options: Any) -> tuple[Any, Any]:
    """The same training on the stand-in and on NumPy."""
    return tuple(
        train(description(), data(), epochs=3, out=tmp_path / name, backend=name, progress=False, **options)
        for name in (cupy, "numpy")
    )


def test_training_over_data_on_the_device(cupy: str, tmp_path: Path) -> None:
    here, there = run_both(tmp_path, cupy, validation=data(1))
    expect_close(here.network, there.network)
    assert here.summary["backend"] == "cupy"
    for a, b in zip(here.history.rows, there.history.rows):
        np.testing.assert_allclose(a["loss"], b["loss"], **CLOSE)
        np.testing.assert_allclose(a["validation_loss"], b["validation_loss"], **CLOSE)
    assert not [name for name in here.network.store.types if name.startswith("data/")]


def test_the_memory_of_data_is_given_back(cupy: str, tmp_path: Path, machine: Machine) -> None:
    made = network(description())
    train(made, data(), epochs=1, out=tmp_path / "a", backend=cupy, progress=False)
    gc.collect()
    first = machine.used
    train(made, data(), epochs=1, out=tmp_path / "b", backend=cupy, progress=False)
    gc.collect()
    assert machine.used == first


class Meddling(Callback):
    """Evaluates other data in the middle, and predicts on the CPU."""

    def epoch(self, trainer: Any) -> None:
        evaluate(trainer.network, data(7), backend=trainer.backend)
        trainer.network.predict(data(7)["image"][:4])


def test_evaluations_in_a_training_do_not_touch_its_data(cupy: str, tmp_path: Path) -> None:
    losses = []
    for name in (cupy, "numpy"):
        run = train(
            description(), data(), validation=data(1), epochs=3, out=tmp_path / name, backend=name,
            progress=False, callbacks=[Meddling()],
        )  # fmt: skip
        losses.append([row["validation_loss"] for row in run.history.rows])
    np.testing.assert_allclose(*losses, **CLOSE)


def test_a_training_that_cannot_begin_leaves_nothing_behind(cupy: str, tmp_path: Path) -> None:
    class Unfit(Callback):
        def check(self, trainer: Any) -> None:
            raise SpecError("not this one")

    made = network(description())
    with pytest.raises(SpecError):
        train(made, data(), out=tmp_path / "a", backend=cupy, progress=False, callbacks=[Unfit()])
    train(made, data(count=24), epochs=1, out=tmp_path / "b", backend=cupy, progress=False)


def test_data_that_are_fed_give_the_same_bits(
    cupy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = train(description(), data(), epochs=2, out=tmp_path / "a", backend=cupy, progress=False)
    monkeypatch.setattr("cortex_core.training.trainer.keep_on_device", lambda *_: False)
    fed = train(description(), data(), epochs=2, out=tmp_path / "b", backend=cupy, progress=False)
    theirs = numbers(fed.network)
    for name, x in numbers(kept.network).items():
        np.testing.assert_array_equal(x, theirs[name], err_msg=name)


@pytest.mark.parametrize("seconds", [0.0, 60.0])
def test_a_training_that_diverges_says_the_same_as_on_the_cpu(
    cupy: str, tmp_path: Path, seconds: float
) -> None:
    arrays = data()
    arrays["image"][17] = 3e38  # the sum over a window is infinite
    said = []
    for name in (cupy, "numpy"):
        with pytest.raises(NonFiniteError) as raised:
            train(
                description(), arrays, epochs=3, out=tmp_path / name, backend=name, progress=False,
                checkpoint_seconds=seconds,
            )  # fmt: skip
        said.append(str(raised.value))
    assert said[0] == said[1]
    for name in (cupy, "numpy"):
        again = network(description())
        with pytest.raises(NonFiniteError):
            train(again, arrays, resume=tmp_path / name, backend="numpy", progress=False)


def test_a_store_moves_to_where_a_program_runs(cupy: str) -> None:
    made, other, arrays = network(description()), network(description()), data()
    here, there = Compiled(made, backends.get(cupy)), Compiled(other, backends.get("numpy"))
    for start in (0, 8, 16):
        here.run(part(arrays, start))
        there.run(part(arrays, start))
        for engine in ("numpy", cupy):
            found = evaluate(made, arrays, batch_size=20, backend=engine)
            np.testing.assert_allclose(
                found["loss"], evaluate(other, arrays, backend="numpy")["loss"], **CLOSE
            )
        np.testing.assert_allclose(made.predict(arrays["image"]), other.predict(arrays["image"]), **CLOSE)
    expect_close(made, other)


def test_a_checkpoint_of_one_device_goes_on_on_the_other(cupy: str, tmp_path: Path) -> None:
    train(description(), data(), epochs=1, out=tmp_path, backend=cupy, progress=False)
    train(None, data(), epochs=3, resume=tmp_path, backend="numpy", progress=False)
    whole = train(description(), data(), epochs=3, out=tmp_path / "whole", backend="numpy", progress=False)
    made = train(None, data(), epochs=3, resume=tmp_path, backend=cupy, progress=False)
    expect_close(made.network, whole.network)


present = "onednn" in {row.name for row in backends.available() if row.present}


@pytest.mark.skipif(
    not present or bool(backends.get("onednn").precision(bfloat16)), reason="oneDNN has no bfloat16 here"
)
def test_bfloat16(cupy: str) -> None:
    options = {"precision": "bfloat16"}
    made, other, arrays = network(description(**options)), network(description(**options)), data()
    here, there = Compiled(made, backends.get(cupy)), Compiled(other, backends.get("onednn"))
    for start in (0, 8, 16):
        loss = float(here.run(part(arrays, start))["loss"])
        assert abs(loss - float(there.run(part(arrays, start))["loss"])) < 0.02


def test_poisoned_memory_is_not_read(cupy: str) -> None:
    from cortex_core.program import Options

    def losses(engine: str, options: Options) -> list[float]:
        compiled = Compiled(network(description()), backends.get(engine), options=options)
        return [float(compiled.run(part(data(), s))["loss"]) for s in (0, 8, 16)]

    wanted = losses("numpy", Options())
    assert np.isfinite(wanted).all()
    for options in (Options(), Options(poison=True), Options(pooling=False), Options(fusion=False)):
        np.testing.assert_allclose(losses(cupy, options), wanted, **CLOSE)


def test_too_little_memory_says_what_would_fit(cupy: str, machine: Machine) -> None:
    compiled = Compiled(network(description()), backends.get(cupy))
    compiled.entry(compiled.types(64))
    machine.memory = 2_000_000
    with pytest.raises(
        BackendError, match=r"batch of 4096 need .* out of memory: .* a batch of about \d+ would"
    ):
        compiled.entry(compiled.types(4096))


def test_eager_code_is_refused(cupy: str) -> None:
    with pytest.raises(BackendError, match="eager code runs on the CPU"), using(cupy):
        Tensor([1.0])
    with pytest.raises(BackendError, match="trace runs on the CPU"):
        trace(lambda x: x + 1, Tensor([1.0]), backend=cupy)


def test_a_profile_knows_each_kernel(cupy: str) -> None:
    compiled = Compiled(network(description()), backends.get(cupy))
    entry = compiled.entry(compiled.types(8))
    rows = entry.program.profile(runs=2)
    assert len(rows) == len(entry.program.plan.instructions)
    assert {r["implementation"] for r in rows} == {"cupy"}
    assert all(r["seconds"] > 0 for r in rows)


@pytest.mark.parametrize("engine", ["numpy", "cupy"])
def test_a_fork_sees_the_parameters_wherever_they_have_moved(cupy: str, engine: str) -> None:
    made, arrays = network(description()), data()
    predict = Compiled(made, backends.get(engine), "predict")
    fork = predict.fork()
    x = {"image": arrays["image"][:8]}
    fork.run(x)
    for trainer in (cupy, "numpy", cupy):
        training = Compiled(made, backends.get(trainer))
        training.run(part(arrays, 0))
        (found,) = fork.run(x).values()
        np.testing.assert_allclose(found, made.predict(x), **CLOSE)


@pytest.mark.parametrize("seed", range(4))
def test_runs_over_shared_states_wait_for_each_other(cupy: str, machine: Machine, seed: int) -> None:
    machine.random.seed(seed)
    made, other, arrays = network(description()), network(description()), data()
    here, there = Compiled(made, backends.get(cupy)), Compiled(other, backends.get("numpy"))
    fork = Compiled(made, backends.get(cupy), "predict").fork()
    for start in (0, 8, 16):
        x = {"image": arrays["image"][:8]}
        here.run(part(arrays, start))
        (first,) = fork.run(x).values()  # after what was trained before
        here.run(part(arrays, start + 8))
        there.run(part(arrays, start))
        np.testing.assert_allclose(first, other.predict(x), **CLOSE)
        there.run(part(arrays, start + 8))


def test_memory_that_runs_out_on_the_way_to_the_device_loses_nothing(cupy: str, machine: Machine) -> None:
    made = network(description())
    before = numbers(made)
    free, machine.memory = machine.memory, 2048
    with pytest.raises(BackendError, match="out of memory"):
        Compiled(made, backends.get(cupy)).run(part(data(), 0))
    for name, x in numbers(made).items():
        np.testing.assert_array_equal(x, before[name])
    machine.memory = free
    Compiled(made, backends.get(cupy)).run(part(data(), 0))


@pytest.mark.parametrize("engine", ["numpy", "cupy"])
def test_numbers_that_would_be_cut_are_refused(cupy: str, engine: str) -> None:
    made = network(description())
    compiled = Compiled(made, backends.get(engine))
    entry = compiled.entry(compiled.types(8))
    with pytest.raises(TypeError, match="Cannot cast"):
        entry.program.run({"label": np.full(8, 0.75)})
    with pytest.raises(TypeError, match="Cannot cast"):
        made.store.write(KEY, [1.5, 2.5])


def test_large_inputs_arrive_beside_the_step_before(cupy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cortex_gpu.inbox.ASIDE", 1)
    test_a_caller_may_change_its_arrays_at_once(cupy)


def test_a_failing_launch_is_a_backend_error(cupy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from cupy.cuda.driver import CUDADriverError

    compiled = Compiled(network(description()), backends.get(cupy))
    for _ in range(2):
        compiled.run(part(data(), 0))

    def fail(*_: Any) -> None:
        raise CUDADriverError("CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES: too many resources requested for launch")

    monkeypatch.setattr("cupy.cuda.Graph.launch", fail)
    with pytest.raises(BackendError, match="too many resources"):
        compiled.run(part(data(), 0))


def test_a_closed_program_does_not_run(cupy: str) -> None:
    compiled = Compiled(network(description()), backends.get(cupy))
    entry = compiled.entry(compiled.types(8))
    compiled.close()
    with pytest.raises(BackendError, match="was closed"):
        entry.program.run()
