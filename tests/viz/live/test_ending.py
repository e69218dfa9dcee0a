"""The end of a training with pages: when it is told, what is told, and that nobody waits for it."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from cortex_core.training.callbacks import Callback
from cortex_core.training.checkpoint import header
from cortex_core.training.train import train
from cortex_core.training.trainer import Interrupted, Trainer
from cortex_viz.live import Live
from cortex_viz.live.board import Board
from tests.core.training.networks import blobs, description
from tests.viz.live.test_server import TOKEN, ask
from tests.viz.live.test_training import OWN, Seen, Training


def test_a_second_ctrl_c_in_a_checkpoint_ends_it_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Training(tmp_path / "run") as training:
        seen = Seen(training)
        seen.bar("epoch 1 of 3", "validation_loss")

        def save(trainer: Trainer) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(Trainer, "save", save)
        answers: list[Any] = []
        url, server = f"/{TOKEN}/checkpoint", training.live.server
        assert server is not None
        asker = threading.Thread(target=lambda: answers.append(ask(server, url, "POST", **OWN)), daemon=True)
        asker.start()
        while not training.live.wishes.pending:
            asker.join(0.001)
        training.source.open(2)
        bar = seen.last()["bar"]
        asker.join(120)
        training.end()
    assert isinstance(training.error, KeyboardInterrupt)
    assert answers == [(409, "the training is over")]
    assert (bar["over"], bar["text"]) == (True, "ended at once, in epoch 2 of 3, after step 8")


class Said:
    """What the pages are told, and what lies in the folder of the run then; how often it is drawn."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        from cortex_viz.report import sections

        self.bars: list[tuple[str, tuple[int, int] | None]] = []
        self.drawn: list[tuple[int, int, int]] = []  # epochs in the picture, in history.csv, in last.cortex
        put = Board.put

        def told(board: Board, entries: Mapping[str, Any]) -> None:
            if "bar" in entries:
                self.bars.append((entries["bar"]["text"], stands(folder)))
            put(board, entries)

        def draws(facts: Any) -> dict[str, str]:
            history, last = folder / "history.csv", stands(folder)
            lines = len(history.read_text().splitlines()) - 1 if history.exists() else 0
            self.drawn.append((len(facts.history), lines, last[0] if last else 0))
            return sections(facts)

        monkeypatch.setattr(Board, "put", told)
        monkeypatch.setattr("cortex_viz.report.sections", draws)


def stands(folder: Path) -> tuple[int, int] | None:
    """Epoch and batch of last.cortex."""
    path = folder / "last.cortex"
    run = header(path).run if path.exists() else None
    return None if run is None else (run["epoch"], run["batch"])


class Ends(Callback):
    """Does something after a step."""

    kept = False

    def __init__(self, step: int, end: Callable[[Any], None]) -> None:
        super().__init__()
        self.at, self.end = step, end

    def step(self, trainer: Any) -> None:
        if trainer.step == self.at:
            self.end(trainer)


def ended(out: Path, *callbacks: Callback, pause: float = 0) -> BaseException | None:
    """What a training ended with."""
    live = Live(pause=pause, file=io.StringIO())
    try:
        train(
            description(epochs=2),
            blobs(),
            out=out,
            callbacks=[live, *callbacks],
            progress=False,
            report=False,
        )
    except BaseException as error:
        return error
    return None


def test_the_last_word_is_said_when_all_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = Said(monkeypatch, tmp_path / "run")
    assert isinstance(ended(tmp_path / "run", Ends(5, lambda t: t.interrupt())), Interrupted)
    text, last = said.bars[-1]
    assert "stopped in epoch 1 of 2, after step 5; go on with --resume" in text
    assert last == (0, 5)


def test_a_state_that_could_not_be_written_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def save(trainer: Trainer) -> None:
        raise OSError(28, "No space left on device")

    said = Said(monkeypatch, tmp_path / "run")
    monkeypatch.setattr(Trainer, "save", save)
    assert isinstance(ended(tmp_path / "run", Ends(5, lambda t: t.interrupt())), OSError)
    assert "No space left on device" in said.bars[-1][0]
    assert "--resume" not in said.bars[-1][0]


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), ValueError("of my own")])
def test_an_error_after_the_last_epoch_is_no_finish(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    class Fails(Callback):
        def epoch(self, trainer: Any) -> None:
            if trainer.epoch == 2:
                raise error

    said = Said(monkeypatch, tmp_path / "run")
    assert ended(tmp_path / "run", Fails()) is error
    assert said.bars[-1][0] == f"ended by an error: {error!r}"
    assert [epochs for epochs, _, _ in said.drawn] == [0, 1]  # no new picture once it has failed


def test_an_epoch_is_written_before_it_is_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = Said(monkeypatch, tmp_path / "run")
    assert ended(tmp_path / "run") is None
    assert said.drawn == [(n, n, n) for n in range(3)]


def test_a_stop_shows_the_last_epoch_though_it_was_not_drawn_yet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = Said(monkeypatch, tmp_path / "run")
    assert isinstance(ended(tmp_path / "run", Ends(8, lambda t: t.interrupt()), pause=1e9), Interrupted)
    assert said.drawn == [(0, 0, 0), (1, 1, 1)]
    assert "stopped in epoch 2 of 2, after step 8" in said.bars[-1][0]
