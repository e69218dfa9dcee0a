"""The training loop."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from cortex_compute.backends import get
from cortex_compute.errors import CheckpointError, CortexError
from cortex_core.compiled import Compiled, Entry
from cortex_core.declared import KEY
from cortex_core.network import Network
from cortex_core.step import ROWS
from cortex_core.training import checkpoint
from cortex_core.training.callbacks import Callback, Plateau
from cortex_core.training.command import Command
from cortex_core.training.data import Data
from cortex_core.training.evaluate import Evaluation
from cortex_core.training.feed import Batch, Feed
from cortex_core.training.fingerprint import difference, fingerprint
from cortex_core.training.history import History
from cortex_core.training.nonfinite import NonFiniteError, bad_parameter, explain
from cortex_core.training.resident import keep_on_device
from cortex_core.training.run import LAST, numbers
from cortex_core.training.setup import check_learning, names_of, stream_types
from cortex_core.training.source import Source
from cortex_core.training.units import in_units


class Interrupted(KeyboardInterrupt):
    """Ctrl-C ended a training between two steps; the message says how to go on."""


class Trainer:
    """A training that can be stopped after any step and goes on with the same bits.

    ``epoch`` counts finished epochs, ``batch`` finished batches of the current one, ``samples`` all samples
    so far.  ``path`` is the folder of the run, ``.`` until it has a name; ``goes_on``: whether the run that
    lies there is resumed, where a new one moves it aside.  A callback may set ``stopping`` to a reason: then
    the training ends after the epoch.
    """

    def __init__(
        self,
        network: Network,
        data: Data,
        callbacks: Sequence[Callback],
        backend: str = "auto",
        path: Path = Path(),
        goes_on: bool = False,
    ) -> None:
        check_learning(network)
        self.network, self.data, self.callbacks, self.backend = network, data, list(callbacks), backend
        self.path, self.goes_on, self.command = path, goes_on, Command()
        self.options = network.description.train
        self.epochs: int = self.options.epochs
        self.epoch = self.batch = 0
        self.elapsed, self._began = 0.0, time.monotonic()
        self.stopping = ""
        self._diverged = False
        self.history = History()
        network.store.drop(network.carried)  # a training before may have had batches of another size
        self.compiled = Compiled(network, get(backend), "train", halting=True)
        names = names_of(network)
        self.kept = keep_on_device(self.compiled, data.train, names)
        streams, size = [] if self.kept else names, self.options.batch_size
        self.feed = Feed(data.train, streams, size, self.options.seed, side_by_side=bool(network.carried))
        self.entries = {n: self._entry(data.train, *n) for n in self.feed.sizes()}
        self.validation: Evaluation | None = None
        if data.validation is not None:
            self.validation = Evaluation(network, data.validation, size, backend)
        self._interrupted = False
        self._plateau = next((c for c in self.callbacks if isinstance(c, Plateau)), None)
        self._step_hooks = [c.step for c in self.callbacks if type(c).step is not Callback.step]
        for callback in self.callbacks:
            callback.check(self)

    def _entry(self, source: Source, size: int, length: int | None) -> Entry:
        return self.compiled.entry(stream_types(self.network, source, size, length))

    @property
    def steps_per_epoch(self) -> int:
        """Batches in an epoch."""
        return len(self.feed)

    @property
    def step(self) -> int:
        """Finished steps of this training."""
        return self.epoch * self.steps_per_epoch + self.batch

    @property
    def samples(self) -> int:
        """Samples seen so far."""
        return self.epoch * self.feed.examples + self.feed.examples_before(self.epoch, self.batch)

    @property
    def total_samples(self) -> int:
        """Samples in all epochs."""
        return self.epochs * self.feed.examples

    @property
    def columns(self) -> list[str]:
        """What is measured in each epoch: the columns of the history that can be monitored."""
        names = list(numbers(self.totals()))
        return names + ([f"validation_{n}" for n in names] if self.validation is not None else [])

    @property
    def seconds(self) -> float:
        """Time spent in this training, before a resume too."""
        return self.elapsed + time.monotonic() - self._began

    def totals(self) -> dict[str, Any]:
        """Loss and metrics over the samples of the current epoch so far."""
        self._look()
        return in_units(self.network, self.compiled.totals(next(iter(self.entries.values()))))

    def rate(self, step: int) -> float:
        """The learning rate of a step of the current epoch; steps count from 0."""
        base: float = self.options.optimizer.learning_rate
        schedule = self.options.schedule
        if schedule is None:
            return base
        spans = (self.steps_per_epoch, self.steps_per_epoch * self.epochs)
        state = {} if self._plateau is None else {"state": self._plateau.state}
        rate: float = schedule.rate(base, step, *spans, **state)
        return rate

    def begin(self) -> None:
        """The state before the first step: no moments, but those that came with the network for the same
        optimiser; the random key of the seed.

        Raises `CheckpointError` where what was learned of the data is too large for a file.
        """
        checkpoint.check_texts(self.network)
        goes_on, self.network.goes_on = self.network.goes_on, ""
        if goes_on == self.options.optimizer.kind:
            self.network.reseed(self.options.seed)
        else:
            self.network.restart(self.options.seed)

    def resume(self) -> None:
        """The state that last.cortex holds."""
        run = checkpoint.restore(self.path / LAST, self.network, self._sums())
        other = difference(run.get("data", self._fingerprint), self._fingerprint)
        if other:
            raise CheckpointError(
                f"{self.path / LAST} was trained on other data: {other}. A run goes on with the data as they "
                "were; for other data train its model.cortex anew"
            )
        self.network.step = run["step"]
        self.epoch, self.batch, self.elapsed = run["epoch"], run["batch"], run["seconds"]
        self.command = Command(*run.get("command", ()))
        self.history = History(run["history"])
        for callback, state in zip(self._stateful(), run["callbacks"]):
            callback.state = state

    def save(self) -> None:
        """Writes last.cortex: the state between two steps.  A state that is not finite is not written."""
        self._look()
        bad = bad_parameter(self.network)
        if bad is not None:
            raise NonFiniteError(
                f"epoch {self.epoch + 1}, step {self.step}: parameter {bad!r} is not finite any more; "
                f"{self.path / LAST} holds the last good state. Try a smaller learning_rate, or clip_norm"
            )
        run = {
            "step": self.network.step,
            "epoch": self.epoch,
            "batch": self.batch,
            "seconds": self.seconds,
            "data": self._fingerprint,
            "command": self.command,
            "history": self.history.rows,
            "callbacks": [c.state for c in self._stateful()],
        }
        checkpoint.save_state(self.path / LAST, self.network, run, self._sums())

    @cached_property
    def _fingerprint(self) -> dict[str, Any]:
        return fingerprint(self.data)

    def _stateful(self) -> list[Callback]:
        return [c for c in self.callbacks if c.kept]

    def _sums(self) -> list[str]:
        step = next(iter(self.entries.values())).step
        assert step is not None
        return [*step.accumulators.states, *self.network.carried]

    def run(self) -> None:
        """Trains until the last epoch, or until something stops it."""
        self._began = time.monotonic()
        with self._ctrl_c(), ExitStack() as stops:  # each is called, also where one of them fails
            for evaluation in [self.validation] if self.validation is not None else []:
                stops.callback(evaluation.close)
            stops.callback(self.compiled.close)
            for callback in reversed(self.callbacks):
                stops.push(self._stop_of(callback))
            for callback in self.callbacks:
                callback.start(self)
            while self.epoch < self.epochs and not self.stopping:
                self._look_for_ctrl_c()  # not after the last epoch: what is done is kept
                self._epoch()

    def _stop_of(self, callback: Callback) -> Callable[[Any, BaseException | None, Any], None]:
        return lambda kind, error, trace: callback.stop(self, error)

    def _epoch(self) -> None:
        began, waited = time.monotonic(), self.feed.waited
        first = self.samples
        if self.batch == 0:
            self.compiled.reset(next(iter(self.entries.values())))
            self.network.forget()
        with closing(self.feed.epoch(self.epoch, self.batch)) as batches:
            for batch in batches:
                self._train(batch)
                for hook in () if self._diverged else self._step_hooks:
                    hook(self)
                if self._diverged:
                    break
                if self._interrupted:
                    self._look_for_ctrl_c()
        self._look()
        if self._diverged:  # told here, where nobody else reads the data
            raise self._explained()
        seconds = time.monotonic() - began
        row = {"epoch": self.epoch + 1, "step": self.step, "learning_rate": self.rate(self.step - 1)}
        row |= numbers(self.totals())
        speed = (self.samples - first) / max(seconds, 1e-9)
        if self.validation is not None:
            row |= {f"validation_{name}": value for name, value in numbers(self.validation.run()).items()}
        row |= {"seconds": round(seconds, 3), "samples_per_second": round(speed, 1)}
        self.history.append({**row, "waiting_seconds": round(self.feed.waited - waited, 3)})
        self.epoch, self.batch = self.epoch + 1, 0
        for callback in self.callbacks:
            callback.epoch(self)

    def _train(self, batch: Batch) -> None:
        entry = self.entries[batch.size]
        self.compiled.set_scalars(entry, self.rate(self.step))
        self.compiled.launch(entry, {ROWS: batch.rows} if self.kept else batch.arrays, results=False)
        self.batch += 1
        if self.compiled.due:
            self._look()

    def _look(self) -> None:
        """Goes back to the state before the first step, of the last ones, whose loss was not finite."""
        skipped = self.compiled.look()
        if skipped:
            self._diverged = True
            self.batch -= skipped
            seed, count = self.network.store.array(KEY)
            before = np.array([seed, count - skipped], np.uint64)  # all that a failed step changes
            self.network.store.write(KEY, before)

    def _explained(self) -> CortexError:
        batch = self.feed.batch(self.epoch, self.batch, names_of(self.network))
        return explain(self.network, batch, f"epoch {self.epoch + 1}, step {self.step + 1}")

    @contextmanager
    def _ctrl_c(self) -> Iterator[None]:
        """The first Ctrl-C lets the current step end; the second one does not wait."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def on_signal(number: int, frame: Any) -> None:
            if self._interrupted:
                raise KeyboardInterrupt
            self._interrupted = True

        before = signal.signal(signal.SIGINT, on_signal)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)

    def interrupt(self) -> None:
        """Ends the training between two steps, as Ctrl-C does; one that is past its last step is finished."""
        self._interrupted = True

    def _look_for_ctrl_c(self) -> None:
        if self._interrupted:
            raise Interrupted(
                f"stopped in epoch {self.epoch + 1} of {self.epochs}, after step {self.step}; "
                f"go on with --resume {self.path}"
            )
