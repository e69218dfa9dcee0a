"""TensorBoard's own reader finds every number of a run in its event files."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cortex_core.training.callbacks import Callback
from cortex_core.training.histograms import FILE, Histograms, read_histograms
from cortex_core.training.tensorboard import FOLDER, TensorBoard
from cortex_core.training.train import train
from cortex_core.training.trainer import Interrupted
from tests.core.training.networks import blobs, description
from tests.core.training.test_resume import PressCtrlC

pytestmark = pytest.mark.peers


def accumulated(run: Path) -> Any:
    """All that TensorBoard knows of a run, none of it thinned out."""
    from tensorboard.backend.event_processing import event_accumulator as reader

    found = reader.EventAccumulator(
        str(run / FOLDER), size_guidance=dict.fromkeys(reader.DEFAULT_SIZE_GUIDANCE, 0)
    )
    return found.Reload()


def run(out: Path | None, *before: Callback, **options: Any) -> None:
    callbacks = [Histograms(), *before, TensorBoard(seconds=0)]
    spec = None if out is None else description(epochs=4, seed=3, validation=0.2)
    train(spec, blobs(), out=out, progress=False, report=False, callbacks=callbacks, **options)


@pytest.fixture(params=["unbroken", "stopped in an epoch", "stopped between epochs", "killed"])
def made(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A run of four epochs of five steps, however it came about."""
    stops = {"stopped in an epoch": [3, 12], "stopped between epochs": [5, 15], "killed": [12]}
    stops = stops.get(request.param, [])
    for number, stop in enumerate(stops):
        with pytest.raises(Interrupted):
            run(None if number else tmp_path, PressCtrlC(stop), **({"resume": tmp_path} if number else {}))
    if request.param == "killed":  # while it wrote a record
        (path,) = (tmp_path / FOLDER).iterdir()
        with path.open("ab") as file:
            file.write(path.read_bytes()[:30])
    run(None if stops else tmp_path, **({"resume": tmp_path} if stops else {}))
    return tmp_path


def test_every_number_of_the_history(made: Path) -> None:
    found = accumulated(made)
    with (made / "history.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 4
    for name in set(rows[0]) - {"step"}:
        wanted = [(int(row["step"]), np.float32(row[name])) for row in rows]
        assert [(event.step, np.float32(event.value)) for event in found.Scalars(name)] == wanted
    inner = [step for step in range(1, 20) if step % 5]
    assert [event.step for event in found.Scalars("within_epoch/loss")] == inner


def test_every_histogram(made: Path) -> None:
    found = accumulated(made)
    rows = read_histograms(made / FILE)
    for tag in (f"{kind}/{name}" for kind in ("weights", "gradients") for name in rows[0][kind]):
        kind, _, name = tag.partition("/")
        events = found.Histograms(tag)
        assert [event.step for event in events] == [0, 5, 10, 15, 20]
        for row, event in zip(rows, events):
            of, shown = row[kind][name], event.histogram_value
            assert sum(shown.bucket) == shown.num == sum(of["counts"])
            assert (shown.min, shown.max) == pytest.approx((of["low"], of["high"]))


def test_description_and_hyperparameters(made: Path) -> None:
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    found = accumulated(made)
    text = found.Tensors("description/text_summary")[0].tensor_proto.string_val[0].decode()
    assert [line[4:] for line in text.splitlines()] == (made / "description.yaml").read_text().splitlines()
    tags = found.PluginTagToContent("hparams")
    start = HParamsPluginData.FromString(tags["_hparams_/session_start_info"]).session_start_info
    assert start.hparams["optimizer.adam.learning_rate"].number_value == 0.01
    experiment = HParamsPluginData.FromString(tags["_hparams_/experiment"]).experiment
    measured = {info.name.tag for info in experiment.metric_infos}
    assert measured == {"loss", "accuracy", "validation_loss", "validation_accuracy"}
    assert measured <= set(found.Tags()["scalars"])
    assert "_hparams_/session_end_info" in tags
