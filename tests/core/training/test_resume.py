"""A run that goes on has the same bits as one that never stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cortex_compute.errors import CheckpointError
from cortex_core.training.callbacks import Callback
from cortex_core.training.train import train
from cortex_core.training.trainer import Interrupted
from tests.core.training.networks import blobs, description, states
from tests.thorough import THOROUGH

SPECS = {
    "adam": {},
    "momentum, cosine, clipping": {
        "optimizer": {"sgd": {"learning_rate": 0.1, "momentum": 0.9}},
        "schedule": {"cosine": {"warm_up": 0.5}},
        "clip_norm": 0.5,
    },
    "plateau, early stopping": {
        "optimizer": {"rmsprop": {"learning_rate": 0.05, "momentum": 0.5}},
        "schedule": {"reduce_on_plateau": {"patience": 1, "factor": 0.3}},
        "early_stopping": {"patience": 3},
        "validation": 0.2,
    },
}


class PressCtrlC(Callback):
    """After some step, as a user would."""

    def __init__(self, after: int) -> None:
        super().__init__()
        self.after = after

    def step(self, trainer: Any) -> None:
        if trainer.step == self.after:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.01)  # the handler runs before the next step


def run(spec: Any, out: Path | None = None, **options: Any) -> Any:
    return train(spec, blobs(), out=out, progress=False, **options)


def untimed(history: Any) -> list[dict[str, Any]]:
    timed = "seconds", "samples_per_second", "waiting_seconds"
    return [{k: v for k, v in row.items() if k not in timed} for row in history]


@pytest.mark.parametrize("stop", [1, 7, 10, 14, 17])
@pytest.mark.parametrize("options", SPECS.values(), ids=SPECS)
def test_interrupted_and_resumed_is_unbroken(tmp_path: Path, options: dict[str, Any], stop: int) -> None:
    spec = description(epochs=4, seed=3, **options)
    unbroken = run(spec, tmp_path / "a")
    with pytest.raises(Interrupted, match=r"after step \d+; go on with --resume"):
        run(spec, tmp_path / "b", callbacks=[PressCtrlC(stop)])
    resumed = run(None, resume=tmp_path / "b")
    assert states(resumed.network) == states(unbroken.network)
    assert untimed(resumed.history) == untimed(unbroken.history)
    assert resumed.summary["best"] == unbroken.summary["best"]
    a, b = (p / "history.csv" for p in (tmp_path / "a", tmp_path / "b"))
    assert len(a.read_text().splitlines()) == len(b.read_text().splitlines())


def test_stopped_many_times_is_unbroken(tmp_path: Path) -> None:
    spec = description(epochs=3)
    unbroken = run(spec, tmp_path / "a")
    with pytest.raises(Interrupted):
        run(spec, tmp_path / "b", callbacks=[PressCtrlC(2)])
    for stop in (5, 6, 13, 20):
        with pytest.raises(Interrupted):
            run(spec, resume=tmp_path / "b", callbacks=[PressCtrlC(stop)])
    assert states(run(spec, resume=tmp_path / "b").network) == states(unbroken.network)


def test_more_epochs_later_are_more_epochs_at_once(tmp_path: Path) -> None:
    six = run(description(epochs=6), tmp_path / "a")
    run(description(epochs=3), tmp_path / "b")
    more = run(None, resume=tmp_path / "b", epochs=6)
    assert states(more.network) == states(six.network)
    assert (tmp_path / "a" / "description.yaml").read_text() == (
        tmp_path / "b" / "description.yaml"
    ).read_text()


def test_a_finished_run_resumes_to_itself(tmp_path: Path) -> None:
    first = run(description(), tmp_path / "a")
    again = run(None, resume=tmp_path / "a" / "last.cortex")
    assert untimed(again.history) == untimed(first.history)
    for name, array in first.network.parameters.items():
        np.testing.assert_array_equal(array, again.network.parameters[name])


def test_other_options_are_refused(tmp_path: Path) -> None:
    run(description(), tmp_path / "a")
    with pytest.raises(CheckpointError, match=r"train\.batch_size is 8 in this run, 9 now"):
        run(None, resume=tmp_path / "a", batch_size=9)
    with pytest.raises(CheckpointError, match=r"train\.optimizer"):
        run(description(optimizer="sgd"), resume=tmp_path / "a")


def test_other_data_are_refused(tmp_path: Path) -> None:
    run(description(validation=0.2), tmp_path / "a")
    before = (tmp_path / "a" / "last.cortex").read_bytes()

    def resumed(data: Any, **options: Any) -> Any:
        return train(None, data, resume=tmp_path / "a", epochs=5, progress=False, **options)

    with pytest.raises(CheckpointError, match="it had 40 train examples, the data now have 32"):
        resumed(blobs(40))
    swapped = {name: array[[1, 0, *range(2, 50)]] for name, array in blobs().items()}
    with pytest.raises(CheckpointError, match="the training examples or their order have changed"):
        resumed(swapped)
    for name, at in (("x", (39, 3)), ("label", (20,))):
        data = blobs()
        data[name][at] = (data[name][at] + 1) % 3
        with pytest.raises(CheckpointError, match=r"a.last.cortex was trained on other data: the tr"):
            resumed(data)
    assert (tmp_path / "a" / "last.cortex").read_bytes() == before
    resumed(blobs())


def test_data_that_are_varied_are_the_same_data(tmp_path: Path) -> None:
    """What a run is compared by is not what augmentation makes of it."""
    rng = np.random.default_rng(0)
    data = {"x": rng.uniform(size=(20, 6, 6, 1)).astype(np.float32), "label": rng.integers(0, 3, 20)}
    spec = {
        **description(augment=["flip", {"crop": 1}], epochs=2),
        "inputs": {"x": [6, 6, 1]},
        "layers": ["flatten", {"dense": {"units": 3, "id": "out"}}],
    }
    whole = train(spec, data, out=tmp_path / "a", progress=False, epochs=3)
    train(spec, data, out=tmp_path / "b", progress=False)
    more = train(None, data, resume=tmp_path / "b", epochs=3, progress=False)
    assert states(more.network) == states(whole.network)


def test_a_second_ctrl_c_does_not_wait(tmp_path: Path) -> None:
    class Twice(Callback):
        def step(self, trainer: Any) -> None:
            for _ in range(2):
                os.kill(os.getpid(), signal.SIGINT)
                time.sleep(0.01)

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt) as error:
        run(description(), tmp_path, callbacks=[Twice()])
    assert not isinstance(error.value, Interrupted)
    assert signal.getsignal(signal.SIGINT) is before


SCRIPT = """
import sys
from pathlib import Path
from cortex_core.training.train import train
from tests.core.training.networks import blobs, description
out, resume = Path(sys.argv[1]), sys.argv[2] == "resume"
where = {"resume": out} if resume else {"out": out}
spec = description(epochs=150, validation=0.2, batch_size=4)
print("begun", flush=True)
train(spec, blobs(100), progress=False, checkpoint_seconds=0.005, **where)
print("finished", flush=True)
"""


def child(out: Path, mode: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", SCRIPT, str(out), mode]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What the child trains, without an end before the end."""
    spec = description(epochs=150, validation=0.2, batch_size=4)
    return train(spec, blobs(100), out=tmp_path_factory.mktemp("unbroken"), progress=False)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(20 if THOROUGH else 8))
def test_killed_at_a_random_time_and_resumed_is_unbroken(tmp_path: Path, unbroken: Any, seed: int) -> None:
    generator, out, kills = np.random.default_rng(seed), tmp_path / "b", 0
    finished = False
    while not finished:
        with child(out, "resume" if kills else "new") as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "begun\n"
            while not (out / "last.cortex").exists() and process.poll() is None:
                time.sleep(0.001)
            try:
                process.wait(generator.uniform(0.02, 0.6) if kills < 4 else 300)
                assert process.stdout.read() == "finished\n"
                finished = True
            except subprocess.TimeoutExpired:
                process.kill()
                kills += 1
    assert kills > 0
    resumed = train(None, blobs(100), resume=out, progress=False)
    assert untimed(resumed.history) == untimed(unbroken.history)
    for part in ("parameters", "variables"):
        there, here = getattr(resumed.network, part), getattr(unbroken.network, part)
        assert all(there[n].tobytes() == here[n].tobytes() for n in here)


class InterruptAfter(Callback):
    """Interrupts while the callbacks of an epoch are called, as Ctrl-C during the last validation does."""

    def __init__(self, epoch: int) -> None:
        super().__init__()
        self.last = epoch

    def epoch(self, trainer: Any) -> None:
        if trainer.epoch == self.last:
            trainer.interrupt()


def test_a_training_that_is_past_its_last_step_is_finished(tmp_path: Path) -> None:
    with pytest.raises(Interrupted, match="stopped in epoch 2 of 2, after step 7"):
        run(description(epochs=2), tmp_path / "a", callbacks=[InterruptAfter(1)])
    done = run(description(epochs=2), tmp_path / "b", callbacks=[InterruptAfter(2)])
    assert (done.path / "summary.json").is_file()


class Counted(Callback):
    """Callbacks whose state is kept, around one whose state is not, each with numbers of its own."""

    def __init__(self, first: int, kept: bool) -> None:
        super().__init__()
        self.kept = kept  # type: ignore[misc]
        self.state = {"count": first}

    def step(self, trainer: Any) -> None:
        self.state["count"] += 1


def test_each_callback_gets_its_own_state_back(tmp_path: Path) -> None:
    def three() -> list[Callback]:
        return [Counted(100, True), Counted(200, False), Counted(300, True)]

    with pytest.raises(Interrupted):
        run(description(epochs=2), tmp_path, callbacks=[*three(), PressCtrlC(5)])
    after = three()
    run(None, resume=tmp_path, callbacks=[*after, PressCtrlC(99)])
    assert [c.state["count"] for c in after] == [114, 209, 314]  # 14 steps, 9 of them after the resume
