"""`Live` on trainings: what it shows, what it may do, and that it changes nothing."""

from __future__ import annotations

import io
import json
import shutil
import socket
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cortex_compute.errors import ArgumentError
from cortex_core.training.callbacks import Callback
from cortex_core.training.checkpoint import header
from cortex_core.training.source import Arrays
from cortex_core.training.train import train
from cortex_core.training.trainer import Interrupted
from cortex_viz.live import Live
from tests.conftest import Cli
from tests.core.training.networks import blobs, description, states
from tests.viz.live.test_server import TOKEN, Reader, ask, threads

OWN = {"X-Cortex": "live"}


class Gated(Arrays):
    """Blobs whose later epochs can be read once their gate is open."""

    def __init__(self, arrays: Mapping[str, Any]) -> None:
        super().__init__(arrays)
        self.open_to = 0
        self._opened = threading.Condition()

    def open(self, epoch: int) -> None:
        """Lets the training go on to the end of epoch number ``epoch``, from 1."""
        with self._opened:
            self.open_to = epoch
            self._opened.notify_all()

    def gather(self, indices: np.ndarray, out: Mapping[str, np.ndarray], *, epoch: int = 0) -> None:
        with self._opened:
            assert self._opened.wait_for(lambda: epoch == 0 or epoch < self.open_to, 120), "nobody opened it"
        super().gather(indices, out)


class Training:
    """A training in a thread, with a live page; ``with`` lets it run to its end."""

    def __init__(
        self, out: Path | None, epochs: int = 3, data: Any = None, spec: Any = None, **options: Any
    ) -> None:
        self.source = Gated(blobs()) if data is None else data
        self.live = Live(pause=0, file=io.StringIO())
        self.live.token = TOKEN
        self.begun, self.error, self.run = threading.Event(), None, None
        self.callbacks = options.pop("callbacks", [])
        self.spec, self.out = spec or description(epochs=epochs), out
        self.options = {"progress": False, "report": False, "validation": blobs(40, seed=5), **options}
        self.thread = threading.Thread(target=self._train, daemon=True)

    def _train(self) -> None:
        begun = self.begun

        class Begun(Callback):
            kept = False

            def start(self, trainer: Any) -> None:
                begun.set()

        options = {**self.options, "callbacks": [self.live, Begun(), *self.callbacks]}
        try:
            self.run = train(self.spec, self.source, out=self.out, **options)
        except BaseException as error:
            self.error = error
        finally:
            begun.set()

    def __enter__(self) -> Training:
        self.thread.start()
        assert self.begun.wait(120)
        assert self.error is None
        return self

    def __exit__(self, *error: object) -> None:
        self.end()

    def end(self) -> None:
        """The end of the training, and of all threads of its page."""
        if isinstance(self.source, Gated):
            self.source.open(1 << 30)
        self.thread.join(120)
        assert not self.thread.is_alive()
        assert not threads()


class Seen:
    """What a page knows by its events."""

    def __init__(self, training: Training) -> None:
        assert training.live.server is not None
        self.reader, self.entries = Reader(training.live.server), {}

    def until(self, found: Callable[[dict[str, Any]], bool]) -> None:
        while not found(self.entries):
            event = self.reader.next()
            assert event is not None, self.entries.get("bar")
            self.entries.update(event[1])

    def bar(self, *words: str) -> dict[str, Any]:
        """The bar, once it says all of this."""
        self.until(lambda entries: all(word in entries.get("bar", {"text": ""})["text"] for word in words))
        bar: dict[str, Any] = self.entries["bar"]
        return bar

    def last(self) -> dict[str, Any]:
        """All entries at the end."""
        while (event := self.reader.next()) is not None:
            self.entries.update(event[1])
        return self.entries


def test_a_page_follows_the_training(tmp_path: Path) -> None:
    with Training(tmp_path / "run") as training:
        seen = Seen(training)
        seen.bar("epoch 1 of 3", "validation_loss")
        seen.until(lambda entries: "section confusion" in entries)
        assert "40" in seen.entries["section confusion"]  # of the validation, and nothing else
        one = seen.entries["section curves"]
        training.source.open(2)
        seen.until(lambda entries: entries["section curves"] != one)
        seen.bar("epoch 2 of 3")
        assert seen.entries["bar"]["share"] == pytest.approx(2 / 3)
        training.source.open(3)
        bar = seen.last()["bar"]
        assert bar["over"]
        assert bar["text"] == f"finished after 3 epochs; the run is in {tmp_path / 'run'}"
        losses = [row["loss"] for row in training.run.history] if training.end() is None else []
        assert all(f"{loss!r}" in seen.entries["section history"] for loss in losses)
        assert len(losses) == 3


def test_a_page_in_the_middle_has_the_whole_state(tmp_path: Path) -> None:
    with Training(tmp_path / "run") as training:
        Seen(training).bar("epoch 1 of 3", "validation_loss")
        assert training.live.server is not None
        first = Seen(training)
        first.until(lambda entries: "section confusion" in entries)
        status, page = ask(training.live.server, f"/{TOKEN}/")
        assert status == 200
        for name in first.entries["order"]:
            assert first.entries[f"section {name}"] in page
        assert "epoch 1 of 3" in page
        assert "connect-src 'self'" in page


def test_stop_leaves_what_goes_on_with_the_same_bits(tmp_path: Path) -> None:
    unbroken = train(description(epochs=3), blobs(), out=tmp_path / "a", validation=blobs(40, seed=5),
                     progress=False, report=False)  # fmt: skip
    with Training(tmp_path / "b") as training:
        seen = Seen(training)
        seen.bar("epoch 1 of 3", "validation_loss")
        assert ask(training.live.server, f"/{TOKEN}/stop", "POST", **OWN) == (202, "stopping")
        training.source.open(2)
        assert "--resume" in seen.last()["bar"]["text"]
        training.end()
    assert isinstance(training.error, Interrupted)
    assert "after step 8;" in str(training.error)  # the step that was waiting for its data, of 7 in an epoch
    again = train(
        resume=tmp_path / "b", data=blobs(), validation=blobs(40, seed=5), progress=False, report=False
    )
    assert states(again.network) == states(unbroken.network)


def test_a_run_that_goes_on_shows_what_was(tmp_path: Path) -> None:
    options: dict[str, Any] = {"validation": blobs(40, seed=5), "progress": False, "report": False}
    train(description(epochs=2), blobs(), out=tmp_path / "run", **options)
    with Training(None, epochs=3, resume=tmp_path / "run") as training:
        seen = Seen(training)
        seen.until(lambda entries: "section confusion" in entries)
        assert seen.entries["section history"].count("<tr>") == 3  # the head and two epochs
        assert seen.entries["bar"]["share"] == pytest.approx(2 / 3)


def test_checkpoint_now(tmp_path: Path) -> None:
    out = tmp_path / "run"

    class Copied(Callback):
        kept = False

        def step(self, trainer: Any) -> None:
            if trainer.step == 8:
                shutil.copytree(out, tmp_path / "copy")

    with Training(out, callbacks=[Copied()]) as training:
        Seen(training).bar("epoch 1 of 3", "validation_loss")
        answers: list[Any] = []
        url = f"/{TOKEN}/checkpoint"
        asker = threading.Thread(target=lambda: answers.append(ask(training.live.server, url, "POST", **OWN)))
        asker.start()
        while not training.live.wishes.pending:
            asker.join(0.001)
        assert not answers
        training.source.open(2)
        asker.join(120)
        assert answers == [(200, f"Written after step 8: {out / 'last.cortex'}")]
    assert header(tmp_path / "copy" / "last.cortex").run["batch"] == 1
    again = train(
        resume=tmp_path / "copy", data=blobs(), validation=blobs(40, seed=5), progress=False, report=False
    )
    assert training.run is not None
    assert states(again.network) == states(training.run.network)


@pytest.mark.parametrize("validation", [None, 0.3])
def test_it_changes_no_bit(tmp_path: Path, validation: float | None) -> None:
    options: dict[str, Any] = {"validation": validation, "progress": False, "report": False}
    plain = train(description(), blobs(), out=tmp_path / "a", **options)
    shown = train(
        description(), blobs(), out=tmp_path / "b", callbacks=[Live(pause=0, file=io.StringIO())], **options
    )
    assert states(plain.network) == states(shown.network)
    for name in ("model.cortex", "last.cortex"):
        assert stored(tmp_path / "a" / name) == stored(tmp_path / "b" / name)


def stored(path: Path) -> dict[str, bytes]:
    """All numbers of a file, and its progress but for the times."""
    import h5py

    found: dict[str, bytes] = {}

    def put(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            found[name] = item[()].tobytes()

    with h5py.File(path) as file:
        file.visititems(put)
    if "run" in found:
        run = json.loads(found["run"])
        for row in (run, *run["history"]):
            for timed in ("seconds", "samples_per_second", "waiting_seconds"):
                row.pop(timed, None)
        found["run"] = json.dumps(run).encode()
    return found


def test_the_test_part_is_not_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = []

    def watched(network: Any, source: Any, part: str, **options: Any) -> Any:
        shown.append((part, len(source), len(options["rows"])))
        return outcome_of(network, source, part, **options)

    from cortex_viz.report.outcome import outcome_of

    monkeypatch.setattr("cortex_viz.report.outcome.outcome_of", watched)
    for validation in (None, 0.25):
        options = {"validation": validation, "out": tmp_path / str(validation)}
        live = Live(pause=0, file=io.StringIO())
        spec = description(test=0.2, epochs=2)
        train(spec, blobs(5000), callbacks=[live], progress=False, report=False, **options)
    assert shown == [("train", 4000, 2000)] * 2 + [("validation", 1000, 1000)] * 2


def test_who_does_not_read_does_not_hold_up_the_training(tmp_path: Path) -> None:
    with Training(tmp_path / "run") as training:
        assert training.live.server is not None
        port = training.live.server.server_port
        with (
            socket.create_connection(("127.0.0.1", port)) as silent,
            socket.create_connection(("127.0.0.1", port)) as lazy,
        ):
            lazy.sendall(f"GET /{TOKEN}/events HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
            training.end()
            silent.close()
    assert training.run is not None


def test_an_error_ends_the_page_too(tmp_path: Path) -> None:
    spec = description(optimizer={"sgd": {"learning_rate": 1e30}})
    with Training(tmp_path / "run", spec=spec) as training:
        training.end()
    assert training.error is not None
    assert "finite" in str(training.error)


def test_what_cannot_be_drawn_does_not_end_the_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(facts: Any) -> dict[str, str]:
        raise ZeroDivisionError("<b>")

    monkeypatch.setattr("cortex_viz.report.sections", broken)
    with Training(tmp_path / "run") as training:
        seen = Seen(training)
        seen.until(lambda entries: "section failed" in entries)
        assert "ZeroDivisionError: &lt;b&gt;" in seen.entries["section failed"]
    assert training.run is not None


def test_a_port_in_use_is_told_before_anything_is_written(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "spec.json").write_text(json.dumps(description()))
    np.savez(tmp_path / "blobs.npz", **blobs())
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(ArgumentError, match=rf"port {port} of"):
            train(description(), blobs(), out=tmp_path / "run", callbacks=[Live(port)], progress=False)
        spec = tmp_path / "spec.yaml"
        spec.write_text(json.dumps(description(data="iris", epochs=1)).replace('"x"', '"features"'))
        said = cli("train", spec, "--out", tmp_path / "run", "--live-port", port)
        assert (said.code, f"port {port} of 127.0.0.1" in said.err) == (2, True)
    assert not (tmp_path / "run").exists()
    said = cli("train", spec, "--out", tmp_path / "run", "--live-port", port)
    assert said.code == 0
    assert f"live at http://127.0.0.1:{port}/" in said.err


def test_each_fold_has_its_page(cli: Cli, tmp_path: Path) -> None:
    spec = tmp_path / "spec.yaml"
    spec.write_text(json.dumps(description(data="iris", epochs=1)).replace('"x"', '"features"'))
    said = cli("train", spec, "--out", tmp_path / "run", "--live", "--folds", "2")
    assert said.code == 0
    assert said.err.count("live at http://127.0.0.1:") == 2
