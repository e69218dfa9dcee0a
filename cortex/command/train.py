"""``cortex train``."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING, Any

import click

from cortex.command.common import (
    backend_option,
    json_option,
    overrides_argument,
    people,
    precision_option,
    write_json,
)

if TYPE_CHECKING:
    from cortex_core.training.callbacks import Callback
    from cortex_core.training.run import Run


@click.command("train")
@click.argument("spec", metavar="SPEC", required=False)
@overrides_argument
@backend_option
@click.option(
    "--out",
    metavar="DIR",
    help="The folder of the run, runs/NAME-DATE-TIME by default. A run in it is kept as DIR.before-DATE.",
)
@click.option("--resume", metavar="DIR", help="Goes on with a run that was cut short.")
@click.option("--folds", metavar="N", type=click.IntRange(min=2), help="One training for each of N folds.")
@click.option("--seed", type=click.IntRange(min=0), help="Of weights, order and dropout.")
@click.option("--threads", type=click.IntRange(min=1), help="How many cores to use.")
@precision_option
@click.option(
    "--histograms",
    is_flag=True,
    help="Keeps how weights and gradients are spread, by epoch: see visualize.",
)
@click.option("--tensorboard", is_flag=True, help="Writes event files for TensorBoard.")
@click.option(
    "--tensorboard-dir",
    metavar="DIR",
    help="The folder of --tensorboard, which it implies; RUN/tensorboard by default.",
)
@click.option("--live", is_flag=True, help="Serves the report to browsers on this machine while it trains.")
@click.option(
    "--live-port",
    metavar="N",
    type=click.IntRange(0, 65535),
    help="The port of --live, which it implies; any free one by default.",
)
@click.option(
    "--live-host",
    metavar="HOST",
    help="Where --live, which it implies, listens: any other than 127.0.0.1 lets others in.",
)
@click.option("--no-report", is_flag=True, help="Draws nothing, and writes no report.html.")
@json_option
def command(
    spec: str | None,
    overrides: tuple[str, ...],
    backend: str,
    out: str | None,
    resume: str | None,
    folds: int | None,
    seed: int | None,
    threads: int | None,
    precision: str | None,
    histograms: bool,
    tensorboard: bool,
    tensorboard_dir: str | None,
    live: bool,
    live_port: int | None,
    live_host: str | None,
    no_report: bool,
    json_file: str | None,
) -> None:
    """Train a network that a description (or a .cortex file) holds.

    KEY=VALUE overrides one place of the description. Ctrl-C leaves a run that --resume goes on with, and the
    result has the same bits as if it had never stopped. With --folds each of N parts of the data is held out
    once, in place of the test part, and the numbers measured there are shown with their mean and spread.

    \b
    Examples:
      cortex train examples/digits.yaml
      cortex train examples/lenet.yaml --out runs/lenet train.epochs=5
      cortex train --resume runs/lenet train.epochs=8
      cortex train examples/lenet.yaml --live
      cortex train examples/penguins.yaml --folds 5
    """
    if resume is not None and spec is not None and "=" in spec:
        overrides, spec = (spec, *overrides), None
    if spec is None and resume is None:
        raise click.UsageError("Missing argument 'SPEC' (or --resume DIR).")
    options: dict[str, Any] = {
        "out": out,
        "resume": resume,
        "seed": seed,
        "backend": backend,
        "threads": threads,
        "precision": precision,
        "overrides": overrides,
        "report": not no_report,
        "tensorboard": tensorboard_dir or tensorboard,
    }
    options["callbacks"] = _callbacks(histograms, live, live_port, live_host)
    if folds is not None:
        _cross_validate(spec, folds, json_file, options)
        return
    from cortex_core.training.train import train

    run = train(spec, **options)
    write_json(json_file, run.summary)
    _report(run, tensorboard_dir or tensorboard, people(json_file))


def _callbacks(histograms: bool, live: bool, port: int | None, host: str | None) -> list[Callback]:
    made: list[Callback] = []
    if histograms:
        from cortex_core.training.histograms import Histograms

        made.append(Histograms())
    if live or port is not None or host is not None:
        from cortex_viz.live import Live

        made.append(Live(port or 0, host or "127.0.0.1"))
    return made


def _cross_validate(spec: str | None, folds: int, json_file: str | None, options: dict[str, Any]) -> None:
    if spec is None:
        raise click.UsageError("Missing argument 'SPEC': --folds needs it beside --resume too.")
    from cortex_core.training.folds import cross_validate

    made = cross_validate(spec, folds=folds, **options)
    write_json(json_file, made.summary)
    print(made, file=people(json_file))
    print(f"runs        {made.path}", file=people(json_file))


def _report(run: Run, tensorboard: bool | str, file: IO[str]) -> None:
    from cortex_core.training.progress import words
    from cortex_core.training.tensorboard import FOLDER

    for part, numbers in run.metrics.items():
        print(f"{part:<11} {words(numbers)}", file=file)
    rows: dict[str, object] = {"model": run.path / "model.cortex", "history": run.path / "history.csv"}
    if run.pictures:
        drawn = run.pictures
        rows["pictures"] = drawn if isinstance(drawn, str) else ", ".join(map(str, drawn))
    if tensorboard:
        rows["tensorboard"] = run.path / FOLDER if tensorboard is True else tensorboard
    for name, value in rows.items():
        print(f"{name:<11} {value}", file=file)
