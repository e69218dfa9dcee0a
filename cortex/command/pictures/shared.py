"""What the commands share that show what a network learned: which model, which examples, and where to."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import click

from cortex.command import common
from cortex_compute.errors import DataError

if TYPE_CHECKING:
    from cortex_core.network import Network
    from cortex_core.training.source import Source

model_argument = click.argument("model", metavar="MODEL")
data_option = click.option(
    "--data",
    metavar="NAME|FILE",
    help="A data set, or a file, to take examples from; default: the test part of the model's own data, "
    "else what it was validated or trained on.",
)
layer_option = click.option("--layer", metavar="ID", help="Which layer; `cortex check` lists them.")
index_option = click.option(
    "--index", "rows", type=int, multiple=True, metavar="N", help="Which example, from 0; may be repeated."
)
class_option = click.option(
    "--class", "label", metavar="NAME|N", help="Of which class the score is; default: the predicted one."
)
out_option = common.out_option(
    ".png",
    ".svg",
    ".pdf",
    help="A .png, .svg or .pdf; default: into the folder of the run, else into the current one.",
)


def examples(network: Network, data: str | None) -> Source:
    """The examples to look at; what was counted while they were read is said aside.

    Of a file the inputs alone are read: no picture needs the answers.  Raises `DataError` where the examples
    do not fit the network.
    """
    from cortex_core.training.data import HELD_OUT, part_of
    from cortex_core.training.examples import is_name

    if data is not None and not is_name(data):
        network = inputs_alone(network)
    source, notes = part_of(network, data, *HELD_OUT)
    for note in notes:
        common.say(f"note: {note}", sys.stderr)
    expect_fit(network, source, data)
    return source


def inputs_alone(network: Network) -> Network:
    """The same network, which asks data for its inputs and for no answers."""
    made, description = copy(network), network.description
    train = None if description.train is None else replace(description.train, metrics=())
    made.description = replace(description, losses=(), train=train)
    return made


def expect_fit(network: Network, source: Source, data: str | None) -> None:
    """Raises `DataError` where examples do not fit the network."""
    from cortex_core.training.setup import check_source, check_streams

    what = "the data" if data is None else data
    check_streams(network, source.streams, what)
    check_source(network, source, 1, what)


@contextmanager
def drawing(
    picture: str, model: str, name: str, out: str | None, file: IO[str] | None = None
) -> Iterator[Path]:
    """Where a ``picture`` of a model goes, whose network has this name; it is said when it is drawn, to
    ``file``, by default standard output.

    Without matplotlib the command ends, with what would bring it.
    """
    run = Path(model).is_dir()
    default = Path(model, f"{picture}.png") if run else Path(f"{name}-{picture}.png")
    path = default if out is None else Path(out)
    with common.needs_viz():
        yield path
    common.say(str(path), file or sys.stdout)


def chosen(rows: tuple[int, ...], source: Source, most: int) -> list[int]:
    """The examples that were asked for, by default the first ``most``."""
    if len(rows) > most:
        raise DataError(f"{len(rows)} examples are too many for one picture; {most} at most")
    return list(rows or range(min(most, len(source))))


def judged(network: Network, source: Source, x: Any, label: str | None) -> list[int]:
    """For some examples the class whose score is looked at, named or predicted."""
    from cortex_viz.learned.examples import class_names, class_of, predicted

    names = class_names(network, source)
    if label is None:
        return predicted(network, x, names)[0]
    return [class_of(names, label)] * len(next(iter(x.values())))
