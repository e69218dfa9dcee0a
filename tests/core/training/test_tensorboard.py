"""`TensorBoard`: every number of a run is in its event files, also where the run was cut short."""

from __future__ import annotations

import csv
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tensorboardX.proto.plugin_hparams_pb2 import HParamsPluginData
from tensorboardX.record_writer import RecordWriter, masked_crc32c

from cortex_compute.errors import ArgumentError, CheckpointError, CortexError
from cortex_core.training.callbacks import Callback
from cortex_core.training.events import flat, shown_steps
from cortex_core.training.folds import cross_validate
from cortex_core.training.histograms import FILE, Histograms, read_histograms
from cortex_core.training.nonfinite import NonFiniteError
from cortex_core.training.tensorboard import FOLDER, TensorBoard
from cortex_core.training.train import train
from cortex_core.training.trainer import Interrupted
from tests.conftest import Cli
from tests.core.training.event_reader import TIMED, numbers, shown
from tests.core.training.networks import blobs, description, states
from tests.core.training.test_resume import PressCtrlC

STEPS = 5  # of an epoch: 40 examples of 50, 8 at a time


def run(out: Path | None, *before: Callback, **options: Any) -> Any:
    """Three epochs with all that is written, and the running numbers of every step."""
    callbacks = [Histograms(), *before, TensorBoard(options.pop("folder", None), seconds=0)]
    spec = None if "resume" in options else description(epochs=3, seed=3, validation=0.2)
    return train(spec, blobs(), out=out, progress=False, report=False, callbacks=callbacks, **options)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return run(tmp_path_factory.mktemp("finished") / "run")


@pytest.fixture
def unbroken(finished: Any) -> Path:
    return Path(finished.path)


def test_each_column_of_the_history_is_a_curve(unbroken: Path) -> None:
    found = shown(unbroken / FOLDER)
    with (unbroken / "history.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["step"]) for row in rows] == [STEPS, 2 * STEPS, 3 * STEPS]
    for name in set(rows[0]) - {"step"}:
        wanted = [(int(row["step"]), np.float32(row[name])) for row in rows]
        assert [(step, np.float32(value.simple_value)) for step, value in found[name]] == wanted
    assert set(TIMED) < set(found)


def test_within_an_epoch_there_are_means_so_far(unbroken: Path) -> None:
    found = numbers(unbroken / FOLDER)
    inner = [epoch * STEPS + batch for epoch in range(3) for batch in range(1, STEPS)]
    names = {f"within_epoch/{name}" for name in ("loss", "accuracy", "learning_rate")}
    assert {tag for tag in found if tag.startswith("within")} == names
    assert all([step for step, _ in found[name]] == inner for name in names)
    assert {value for _, value in found["within_epoch/learning_rate"]} == {float(np.float32(0.01))}
    first, fourth = found["within_epoch/accuracy"][0][1], found["within_epoch/accuracy"][3][1]
    assert (first * 8).is_integer()  # of the first 8 examples
    assert fourth * 32 == pytest.approx(round(fourth * 32), abs=1e-4)


def test_histograms_are_those_of_their_file(unbroken: Path) -> None:
    found = shown(unbroken / FOLDER)
    rows = read_histograms(unbroken / FILE)
    assert len(rows) == 4
    for kind in ("weights", "gradients"):
        for name in rows[0][kind]:
            assert [step for step, _ in found[f"{kind}/{name}"]] == [0, STEPS, 2 * STEPS, 3 * STEPS]
            for row, (_, value) in zip(rows, found[f"{kind}/{name}"]):
                of, h = row[kind][name], value.histo
                mean = h.sum / h.num
                assert (h.min, h.max, list(h.bucket)) == (of["low"], of["high"], of["counts"])
                assert h.num == sum(of["counts"])
                assert mean == pytest.approx(of["mean"])
                assert h.sum_squares / h.num - mean**2 == pytest.approx(of["std"] ** 2, abs=1e-12)
                assert (len(h.bucket_limit), h.bucket_limit[-1]) == (40, of["high"])
                assert h.bucket_limit[0] == pytest.approx(of["low"] + (of["high"] - of["low"]) / 40)


def test_the_description_and_its_options_are_there(unbroken: Path) -> None:
    found = shown(unbroken / FOLDER)
    ((step, value),) = found["description/text_summary"]
    lines = value.tensor.string_val[0].decode().splitlines()
    assert step == 0
    assert [line[4:] for line in lines] == (unbroken / "description.yaml").read_text().splitlines()
    content = found["_hparams_/session_start_info"][0][1].metadata.plugin_data.content
    options = HParamsPluginData.FromString(content).session_start_info.hparams
    assert options["optimizer.adam.learning_rate"].number_value == 0.01
    assert options["batch_size"].number_value == 8
    assert len(found["_hparams_/session_end_info"]) == 1
    layout = found["custom_scalars__config__"][0][1].tensor.string_val[0]
    assert b"^loss$" in layout
    assert b"^validation_accuracy$" in layout


def test_options_that_are_nested_get_dotted_names() -> None:
    options = {"optimizer": {"sgd": {"momentum": 0.9, "nesterov": False}}, "augment": ["flip"], "fold": None}
    wanted = {"optimizer.sgd.momentum": 0.9, "optimizer.sgd.nesterov": False, "augment": "[flip]"}
    assert flat(options) == wanted


def test_no_bit_changes(finished: Any, tmp_path: Path) -> None:
    spec = description(epochs=3, seed=3, validation=0.2)
    without = train(spec, blobs(), out=tmp_path, progress=False, report=False).network
    assert states(finished.network) == states(without)


@pytest.mark.parametrize("stop", [3, STEPS, 2 * STEPS + 2])
def test_a_run_that_goes_on_continues_the_curves(unbroken: Path, tmp_path: Path, stop: int) -> None:
    with pytest.raises(Interrupted):
        run(tmp_path, PressCtrlC(stop))
    assert all(step <= stop for of in numbers(tmp_path / FOLDER).values() for step, _ in of)
    run(None, resume=tmp_path)
    assert numbers(tmp_path / FOLDER) == numbers(unbroken / FOLDER)


class Copied(Callback):
    """Keeps last.cortex as it was after some step, as a process that is killed later leaves it."""

    kept = False

    def __init__(self, after: int) -> None:
        super().__init__()
        self.after = after

    def step(self, trainer: Any) -> None:
        if trainer.step == self.after:
            trainer.save()
            (trainer.path / "copy").write_bytes((trainer.path / "last.cortex").read_bytes())


def test_what_the_checkpoint_does_not_know_is_taken_back(unbroken: Path, tmp_path: Path) -> None:
    run(tmp_path, Copied(STEPS + 2))
    (tmp_path / "copy").replace(tmp_path / "last.cortex")
    run(None, resume=tmp_path)
    assert len(list((tmp_path / FOLDER).iterdir())) == 2
    assert numbers(tmp_path / FOLDER) == numbers(unbroken / FOLDER)


class Killed(Callback):
    """Ends the process between the checkpoint of the second epoch and the event of it."""

    kept = False

    def epoch(self, trainer: Any) -> None:
        if trainer.epoch == 2:
            raise RuntimeError("killed")


def test_an_epoch_that_was_not_written_is_written_later(unbroken: Path, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="killed"):
        run(tmp_path, Killed())
    assert [step for step, _ in numbers(tmp_path / FOLDER)["loss"]] == [STEPS]
    run(None, resume=tmp_path)
    assert numbers(tmp_path / FOLDER) == numbers(unbroken / FOLDER)


def test_a_run_that_gets_them_later_has_all_epochs(unbroken: Path, tmp_path: Path) -> None:
    spec = description(epochs=3, seed=3, validation=0.2)
    with pytest.raises(Interrupted):
        train(spec, blobs(), out=tmp_path, progress=False, callbacks=[PressCtrlC(2 * STEPS + 1)])
    train(None, blobs(), resume=tmp_path, progress=False, report=False, tensorboard=True)
    whole, found = numbers(unbroken / FOLDER), numbers(tmp_path / FOLDER)
    assert found["loss"] == whole["loss"]
    assert found["validation_accuracy"] == whole["validation_accuracy"]


@pytest.mark.parametrize("stop", [3, STEPS, STEPS + 2])
def test_epochs_that_were_trained_without_are_added(unbroken: Path, tmp_path: Path, stop: int) -> None:
    with pytest.raises(Interrupted):
        run(tmp_path, PressCtrlC(stop))
    with pytest.raises(Interrupted):
        train(None, blobs(), resume=tmp_path, progress=False, callbacks=[PressCtrlC(2 * STEPS + 1)])
    run(None, resume=tmp_path)
    whole, found = numbers(unbroken / FOLDER), numbers(tmp_path / FOLDER)
    for name in ("loss", "validation_accuracy"):
        assert found[name] == whole[name]
    inner = [step for step, _ in whole["within_epoch/loss"] if step <= stop or step > 2 * STEPS + 1]
    assert [step for step, _ in found["within_epoch/loss"]] == inner


def test_histograms_stay_where_a_run_goes_on_without(unbroken: Path, tmp_path: Path) -> None:
    run(tmp_path, epochs=2)
    for _ in range(2):  # the second time nothing is left to do
        train(None, blobs(), resume=tmp_path, epochs=3, progress=False, report=False, tensorboard=True)
    whole, found = numbers(unbroken / FOLDER), numbers(tmp_path / FOLDER)
    assert found["loss"] == whole["loss"]
    histograms = [name for name in whole if name.startswith(("weights/", "gradients/"))]
    assert [found[name] for name in histograms] == [whole[name][:-1] for name in histograms]
    assert [step for step, _ in found[histograms[0]]] == [0, STEPS, 2 * STEPS]


def test_a_file_that_was_cut_short_has_what_is_whole(unbroken: Path, tmp_path: Path) -> None:
    """As a full disk, or a crash of the machine, leaves its last record."""
    (file,) = (unbroken / FOLDER).iterdir()
    whole, found = file.read_bytes(), []
    for size in [*range(0, len(whole), len(whole) // 100), len(whole)]:
        (tmp_path / file.name).write_bytes(whole[:size])
        found.append(sorted(shown_steps(tmp_path, "loss")))
    assert found == sorted(found)
    assert (found[0], found[-1]) == ([], [STEPS, 2 * STEPS, 3 * STEPS])


def test_what_is_no_event_file_is_named(tmp_path: Path) -> None:
    record = b"no event"
    head = struct.pack("<Q", len(record))
    content = head + struct.pack("<I", masked_crc32c(head)) + record + b"1234"
    (tmp_path / "a.tfevents.1").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"a\.tfevents\.1: cannot be read as event file"):
        shown_steps(tmp_path, "loss")


def test_a_finished_run_resumes_to_itself(tmp_path: Path) -> None:
    run(tmp_path)
    before = numbers(tmp_path / FOLDER)
    run(None, resume=tmp_path)
    assert numbers(tmp_path / FOLDER) == before


def test_what_was_measured_before_a_nan_is_there(tmp_path: Path) -> None:
    data = blobs()
    data["x"][-1] = 3e38
    spec = description(epochs=2, seed=3)
    with pytest.raises(NonFiniteError):
        train(spec, data, out=tmp_path, progress=False, callbacks=[TensorBoard(seconds=0)])
    found = shown(tmp_path / FOLDER)
    steps = [step for step, _ in found["within_epoch/loss"]]
    assert steps == sorted(set(steps))
    assert all(np.isfinite(value.simple_value) for _, value in found["within_epoch/loss"])
    assert "_hparams_/session_end_info" not in found


def test_without_tensorboardx_nothing_begins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(ArgumentError, match=r"pip install 'cortex-nn\[tensorboard\]'"):
        train(description(), blobs(), out=tmp_path / "run", tensorboard=True)
    assert not (tmp_path / "run").exists()


def test_only_who_asks_imports_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    train(description(epochs=1), blobs(), out=tmp_path, progress=False, report=False)


def test_histograms_come_first(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="give Histograms before TensorBoard"):
        train(description(), blobs(), out=tmp_path / "run", callbacks=[TensorBoard(), Histograms()])


def test_a_folder_of_another_training_is_refused(tmp_path: Path) -> None:
    events = tmp_path / "events"
    run(tmp_path / "a", folder=events)
    before = numbers(events)
    for out in (tmp_path / "b", None):
        with pytest.raises(CheckpointError, match="event files of another training"):
            run(out, folder=events)
    run(None, resume=tmp_path / "a", folder=str(events))
    assert numbers(events) == before


def test_a_refused_folder_leaves_the_run_that_lies_there(tmp_path: Path) -> None:
    events, out = tmp_path / "logs", tmp_path / "run"
    spec, options = description(epochs=1), {"progress": False, "report": False}
    for make in (train, cross_validate):
        for folder in ("", "fold-2"):
            (events / folder).mkdir(parents=True, exist_ok=True)
            (events / folder / "a.tfevents.1").touch()
        make(spec, blobs(), out=out, **options)
        before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
        with pytest.raises(CheckpointError, match="event files of another training"):
            make(spec, blobs(), out=out, tensorboard=events, **options)
        assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_a_folder_in_that_of_the_run_is_moved_aside_with_it(tmp_path: Path) -> None:
    for _ in range(2):
        run(tmp_path / "run", folder=tmp_path / "run" / "events")
    assert len(list((tmp_path / "run" / "events").iterdir())) == 1
    assert len(list(tmp_path.glob("run.before-*/events/*"))) == 1


def test_a_folder_that_cannot_be_one(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CortexError, match=r"events\.out\.tfevents\.000000: cannot be written"):
        run(tmp_path / "run", folder=tmp_path / "file")


def test_a_full_disk_is_said_and_the_run_goes_on_from_it(
    unbroken: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full(Callback):
        kept = False

        def epoch(self, trainer: Any) -> None:
            if trainer.epoch == 2:
                monkeypatch.setattr(RecordWriter, "flush", fail)

    def fail(self: Any) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(CortexError, match=r"tfevents\.000000: cannot be written \(No space left on device\)"):
        run(tmp_path, Full())
    monkeypatch.undo()
    run(None, resume=tmp_path)
    assert numbers(tmp_path / FOLDER) == numbers(unbroken / FOLDER)


FULL = """
import resource, sys
from pathlib import Path
from cortex_core.training.callbacks import Callback
from cortex_core.training.tensorboard import TensorBoard
from cortex_core.training.train import train
from tests.core.training.networks import blobs, description

class Full(Callback):
    kept = False

    def epoch(self, trainer):
        (file,) = trainer.path.glob("tensorboard/*")
        size = file.stat().st_size + 10
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

spec = description(epochs=2, seed=3)
train(spec, blobs(), out=Path(sys.argv[1]), progress=False, callbacks=[Full(), TensorBoard()])
"""


@pytest.mark.skipif(sys.platform == "win32", reason="limits the size of files")
def test_a_file_that_may_not_grow_is_said_once_more_when_it_is_closed(tmp_path: Path) -> None:
    command = [sys.executable, "-c", FULL, str(tmp_path / "run")]
    said = subprocess.run(command, capture_output=True, text=True, check=False)
    last = said.stderr.splitlines()[-1]
    assert last.startswith("cortex_compute.errors.CortexError: ")
    assert "tfevents.000000: cannot be written (File too large). Free some space" in last


def test_the_command(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    options = "train.data=iris", "train.epochs=2", "train.batch_size=16", "--no-report"
    spec = tmp_path / "iris.yaml"
    spec.write_text(
        "inputs: {features: [4]}\nlayers: [{dense: {units: 3, id: kind}}]\n"
        "loss: {softmax_cross_entropy: {of: kind, target: label}}\n"
    )
    said = cli("train", "--tensorboard", spec, "--out", "run", *options)
    assert (said.code, str(Path("run", FOLDER)) in said.out) == (0, True)
    assert len(numbers(tmp_path / "run" / FOLDER)["loss"]) == 2
    said = cli("train", spec, "--out", "folds", "--folds", 2, "--tensorboard-dir", "logs", *options)
    assert said.code == 0
    for fold in ("fold-1", "fold-2"):
        assert len(numbers(tmp_path / "logs" / fold)["loss"]) == 2
        assert not (tmp_path / "folds" / fold / FOLDER).exists()
