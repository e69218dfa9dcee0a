"""`train`: from a description and data to a finished run."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from cortex_compute.backends import expect_choices, get
from cortex_compute.choices import chosen
from cortex_compute.errors import CheckpointError, DataError, SpecError
from cortex_compute.threads import set_threads
from cortex_core.network import Network, with_train
from cortex_core.network import network as make_network
from cortex_core.schedules import ReduceOnPlateau
from cortex_core.spec import read
from cortex_core.spec.write import to_yaml
from cortex_core.streams import CHOICES
from cortex_core.training import checkpoint
from cortex_core.training.callbacks import Best, Callback, Checkpoint, EarlyStopping, HistoryFile, Plateau
from cortex_core.training.command import command, resumed
from cortex_core.training.data import Data, inputs_of, open_data, pinned
from cortex_core.training.evaluate import CONFUSION, Evaluation, measuring
from cortex_core.training.examples import Encoding, is_reader
from cortex_core.training.files import write_atomically
from cortex_core.training.progress import Progress
from cortex_core.training.repeated import leaks
from cortex_core.training.run import (
    LAST,
    MODEL,
    SUMMARY,
    Run,
    new_folder,
    numbers,
    pictures,
    run_folder,
    write_json,
)
from cortex_core.training.setup import check_data, name_metrics, running_notes, with_options
from cortex_core.training.summary import summary
from cortex_core.training.tensorboard import TensorBoard
from cortex_core.training.trainer import Trainer
from cortex_core.training.units import loss_notes


def train(
    network: Any = None,
    data: Any = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    out: str | Path | None = None,
    resume: str | Path | None = None,
    seed: int | None = None,
    backend: str = "auto",
    threads: int | None = None,
    precision: str | None = None,
    cudnn: str | None = None,
    deterministic: bool | None = None,
    tf32: bool | None = None,
    validation: Any = None,
    progress: bool | Callback | None = None,
    overrides: Sequence[str] = (),
    callbacks: Sequence[Callback] = (),
    checkpoint_seconds: float = 60.0,
    report: bool = True,
    tensorboard: bool | str | Path = False,
) -> Run:
    """Trains a network and returns the `Run`.

    ``network``: a description (dict or path of a YAML file), a .cortex file, or a `Network`, which is trained
    in place: its parameters are the start, and at the end those of the best epoch.  The other arguments
    override the options under ``train`` in the description.

    ``data``: the name of a data set (its split "train" is trained on), a file, a dict of arrays, a table
    (DataFrame), or a source.  ``validation``: a fraction, the name of a part or of other data, a dict of
    arrays, or a source.  The best epoch is chosen by what early stopping monitors, else by the validation
    loss, else by the training loss, never on the split "test" unless ``validation`` names it: that split is
    read once, at the end. ``out``: the folder of the run.  ``resume``: the folder of a run that goes on, with
    the same bits as if it had never stopped; then only ``epochs`` may differ.  ``progress``: False for
    silence.  ``checkpoint_seconds``: how often the state is written within an epoch.  ``report``: whether
    pictures and report.html are made at the end, where cortex_viz is there to make them; this takes a second
    or more even after a training that took none, and a few the first time, when what draws is loaded.
    ``tensorboard``: whether event files are written, or the folder for them; see `TensorBoard`.
    ``cudnn``, ``deterministic``, ``tf32``: choices of a GPU, for this training (`cortex.choose`).

    Raises a `CortexError` for anything wrong in the arguments, and where the loss stops being finite; Ctrl-C
    raises `Interrupted`.  Both leave a last.cortex to go on from.
    """
    if threads is not None:
        set_threads(threads)
    with chosen(cudnn, deterministic, tf32):
        expect_choices(get(backend), cudnn=cudnn, deterministic=deterministic, tf32=tf32)
        changes = {"epochs": epochs, "batch_size": batch_size, "seed": seed, "precision": precision}
        data = str(data) if isinstance(data, Path) else data
        if resume is None:
            start = _fresh(network, data, validation, overrides, changes)
        else:
            start = _resumed(run_folder(resume), network, data, validation, overrides, changes)
        made, found = _with_data(*start, data, validation)
        shown = [*callbacks, *_events(tensorboard)]
        hooks = _hooks(made.description.train, shown, progress, checkpoint_seconds)
        path = Path(out or "") if resume is None else run_folder(resume)
        trainer = Trainer(made, found, hooks, backend, path, goes_on=resume is not None)
        if resume is None:
            trainer.path = new_folder(out, made.name)
            parts = {"data": data, "validation": validation}
            trainer.command = command(trainer, network, parts, overrides, changes)
            trainer.begin()
        else:
            trainer.resume()
            trainer.command = resumed(trainer)
        text = to_yaml(made.description.canonical)
        write_atomically(trainer.path / "description.yaml", text.encode())
        trainer.run()
        run = finish(trainer)
        if report:
            run.pictures = pictures(run, found)
        return run


Start = tuple[Any, Network | None, Encoding | None]
"""The description of a training, the network where there is one, and what its parameters know of data."""


def _fresh(
    given: Any, data: Any, validation: Any, overrides: Sequence[str], changes: dict[str, Any]
) -> Start:
    """What a new training starts from, with the options that are really used."""
    if given is None:
        raise SpecError("train needs a network: a description, its file, or a .cortex file")
    if isinstance(given, Network) or str(given).endswith(".cortex"):
        made = make_network(given)
        description = with_options(made.description, data, validation, overrides, **changes)
        return description, made, _kept(made, description)
    return with_options(read(given, overrides), data, validation, **changes), None, None


def _kept(network: Network, description: Any) -> Encoding | None:
    """What the parameters of a network know of raw data, where it goes on with such."""
    old, new = network.training.data, description.train.data
    if network.encoding is None or not is_reader(new):
        return None
    if type(new) is not type(old):
        raise DataError(f"the network was trained on data of the reader {old.kind!r}, not {new.kind!r}")
    return network.encoding


def _resumed(
    folder: Path, given: Any, data: Any, validation: Any, overrides: Sequence[str], changes: dict[str, Any]
) -> Start:
    """What a run goes on from.  What is given beside it must say the same, but for the number of epochs."""
    header = checkpoint.header(folder / LAST)
    stored = checkpoint.describe(header)
    asked = stored
    if isinstance(given, Network) or str(given).endswith(".cortex"):
        asked = make_network(given).description
    elif given is not None:
        asked, overrides = read(given, overrides), ()
    asked = pinned(with_options(asked, data, validation, overrides, **changes), inputs_of(stored))
    checkpoint.same_network(header, asked.canonical)
    for name, now in asked.canonical["train"].items():
        then = stored.canonical["train"][name]
        if now != then and name != "epochs" and not (name == "metrics" and not now):
            raise CheckpointError(
                f"{folder}: train.{name} is {then!r} in this run, {now!r} now; a run goes on with its own "
                "options (only epochs may differ). For other options train its model.cortex anew"
            )
    description = replace(with_train(stored, epochs=asked.train.epochs), home=asked.home)
    return description, given if isinstance(given, Network) else None, checkpoint.encoding_of(header, stored)


def _with_data(
    description: Any,
    given: Network | None,
    encoding: Encoding | None,
    data: Any,
    validation: Any,
) -> tuple[Network, Data]:
    """The network, with what it leaves to its data, and the data, checked against it."""
    found = open_data(description, data, validation, encoding)
    description = pinned(description, found.streams)
    network = Network(description) if given is None else given
    before = network.description, network.encoding
    network.description, network.encoding = description, found.encoding
    try:
        check_data(network, found)
        name_metrics(network, found.streams)
        found.notes += loss_notes(network, found.streams)
        found.notes += running_notes(network, found.plain)
        found.notes += leaks(found.plain, found.held_out(), found.names)
    except BaseException:
        network.description, network.encoding = before
        raise
    return network, found


def _hooks(
    options: Any, given: Sequence[Callback], progress: Any, checkpoint_seconds: float
) -> list[Callback]:
    """All callbacks in the order in which they are called: those that decide or have a state to be kept,
    those that write, those that show."""
    hooks: list[Callback] = []
    if isinstance(options.schedule, ReduceOnPlateau):
        hooks.append(Plateau(options.schedule))
    if options.early_stopping is not None:
        hooks.append(EarlyStopping())
    hooks += [Best(), *(c for c in given if c.kept), HistoryFile(), Checkpoint(checkpoint_seconds)]
    hooks += [c for c in given if not c.kept]
    if progress is not False:
        hooks.append(progress if isinstance(progress, Callback) else Progress(bar=progress))
    return hooks


def _events(tensorboard: bool | str | Path) -> list[Callback]:
    """What writes event files, where they are wanted."""
    if not tensorboard:
        return []
    return [TensorBoard(None if tensorboard is True else tensorboard)]


def finish(trainer: Trainer) -> Run:
    """Puts the best parameters into the network, measures them on the test examples, and sums the run up."""
    network, data = trainer.network, trainer.data
    checkpoint.restore_model(trainer.path / MODEL, network)
    best = next(c.state for c in trainer.callbacks if isinstance(c, Best))
    row = trainer.history.rows[best["epoch"] - 1]
    metrics = {"train": {n: row[n] for n in trainer.columns if not n.startswith("validation_")}}
    if trainer.validation is not None:
        metrics["validation"] = {n: row[f"validation_{n}"] for n in metrics["train"]}
    run = Run(network, trainer.path, trainer.history, metrics)
    test = data.test()
    source = test if test is not None else data.validation
    if source is not None:
        view = measuring(network, source)
        with closing(Evaluation(view, source, trainer.options.batch_size, trainer.backend)) as evaluation:
            found = evaluation.run()
        if test is not None:
            metrics["test"] = numbers(found)
        if CONFUSION in found:
            run.confusion = found[CONFUSION]
            target = next(x.target for x in network.description.compared if x.kind in CHOICES)
            names, count = source.streams[target].classes or (), len(found[CONFUSION])
            run.classes = (*names[:count], *map(str, range(len(names), count)))
    run.summary = summary(trainer, run, best)
    write_json(trainer.path / SUMMARY, run.summary)
    return run
