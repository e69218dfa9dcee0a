"""What a training says, and its table."""

from __future__ import annotations

import io
import re
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cortex_core.training import progress
from cortex_core.training.history import History
from cortex_core.training.progress import Progress, clock
from cortex_core.training.source import Arrays
from cortex_core.training.train import train
from tests.core.training.networks import blobs, description


def said(bar: bool, path: Path, **options: object) -> str:
    file = io.StringIO()
    train(description(validation=0.2, **options), blobs(), out=path, progress=Progress(file, bar))
    return file.getvalue()


def test_one_line_for_each_epoch_where_nobody_watches(tmp_path: Path) -> None:
    lines = said(False, tmp_path).splitlines()
    number = r"\d+\.\d{4}"
    names = "loss", "accuracy", "validation_loss", "validation_accuracy"
    numbers = "  ".join(f"{name} {number}" for name in names)
    pattern = rf"epoch (\d)/3  {numbers}  [\d,]+ samples/s  0:00:\d\d left"
    assert [m.group(1) for line in lines if (m := re.fullmatch(pattern, line))] == ["1", "2", "3"]
    assert len(lines) == 3
    assert lines[-1].endswith("0:00:00 left")


def test_the_speed_of_an_epoch_is_that_of_its_history(tmp_path: Path) -> None:
    file, spec = io.StringIO(), description(epochs=2)
    run = train(spec, blobs(), out=tmp_path, progress=Progress(file, False))
    told = re.findall(r"([\d,]+) samples/s", file.getvalue())
    assert told == [f"{row['samples_per_second']:,.0f}" for row in run.history]


def test_lines_within_a_long_epoch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "LINES", 0.0)
    assert len(said(False, tmp_path).splitlines()) == 3 * 5 + 3


def test_a_bar_where_somebody_watches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "REFRESH", 0.0)
    text = said(True, tmp_path)
    assert re.search(r"\repoch 1/3  loss .*samples/s", text)
    assert text.count("validation_loss") >= 3
    assert "\n" in text


def test_why_it_stopped_is_said(tmp_path: Path) -> None:
    early = {"monitor": "validation_loss", "patience": 1}
    optimizer = {"sgd": {"learning_rate": 1e-30}}
    text = said(False, tmp_path, early_stopping=early, optimizer=optimizer, epochs=90)
    last = text.splitlines()[-1]
    assert last.startswith("stopped after epoch")
    assert "validation_loss has not improved for 1 epochs" in last


class Slow(Arrays):
    """Takes its time with every batch: more are to come than are read ahead while a program is made."""

    def gather(self, indices: np.ndarray, out: Any, *, epoch: int = 0) -> None:
        time.sleep(0.1)
        super().gather(indices, out, epoch=epoch)


def test_data_that_is_waited_for_is_said_and_stands_in_the_history(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "WAITED", (0.0, 0.0))
    file, spec = io.StringIO(), description(epochs=2)
    run = train(spec, Slow(blobs()), out=tmp_path, progress=Progress(file, False))
    assert len(re.findall(r"left  \d+% waiting for data\n", file.getvalue())) == 2
    for row in run.history:
        assert 0 < row["waiting_seconds"] <= row["seconds"]


def test_silence(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    train(description(), blobs(), out=tmp_path, progress=False)
    assert capfd.readouterr() == ("", "")


def test_the_clock() -> None:
    assert [clock(s) for s in (0, 59.6, 100, 7322)] == ["0:00:00", "0:01:00", "0:01:40", "2:02:02"]


def test_a_history_is_a_table(tmp_path: Path) -> None:
    history = History([{"epoch": 1, "loss": 0.5}, {"epoch": 2, "loss": 0.25, "accuracy": 0.75}])
    assert history.columns == ["epoch", "loss", "accuracy"]
    assert history["accuracy"] == [None, 0.75]
    assert len(history) == 2
    with pytest.raises(KeyError, match="the columns are epoch, loss, accuracy"):
        history["los"]
    history.write(tmp_path / "new" / "history.csv")
    text = (tmp_path / "new" / "history.csv").read_text()
    assert text == "epoch,loss,accuracy\n1,0.5,\n2,0.25,0.75\n"


def test_small_numbers_are_shown() -> None:
    numbers = {"loss": 3.14159e-5, "mse": -2e-9, "accuracy": 0.98765, "none": 0.0, "lost": float("nan")}
    expected = "loss 3.142e-05  mse -2e-09  accuracy 0.9877  none 0.0000  lost nan"
    assert progress.words(numbers) == expected
