"""What the commands share that show what a network learned: which model, which examples, and where to."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cortex_compute.errors import DataError

if TYPE_CHECKING:
    from cortex_core.network import Network
    from cortex_core.training.source import Source

SUFFIXES = (".png", ".svg", ".pdf")

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
out_option = click.option(
    "--out",
    metavar="FILE",
    callback=lambda context, option, value: _picture(value),
    help="A .png, .svg or .pdf; default: into the folder of the run, else into the current one.",
)


def _picture(out: str | None) -> str | None:
    if out is not None and Path(out).suffix.lower() not in SUFFIXES:
        raise click.BadParameter(f"{out}: expected a name that ends in .png, .svg or .pdf")
    return out


def examples(network: Network, data: str | None) -> Source:
    """The examples to look at; what was counted while they were read is said aside.

    Raises `DataError` where they do not fit the network.
    """
    from cortex_core.training.data import HELD_OUT, part_of

    source, notes = part_of(network, data, *HELD_OUT)
    for note in notes:
        print(f"note: {note}", file=sys.stderr)
    expect_fit(network, source, data)
    return source


def expect_fit(network: Network, source: Source, data: str | None) -> None:
    """Raises `DataError` where examples do not fit the network."""
    from cortex_core.training.setup import check_source, check_streams

    what = "the data" if data is None else data
    check_streams(network, source.streams, what)
    check_source(network, source, 1, what)


@contextmanager
def drawing(picture: str, model: str, name: str, out: str | None) -> Iterator[Path]:
    """Where a ``picture`` of a model goes, whose network has this name; it is said when it is drawn.

    Without matplotlib the command ends, with what would bring it.
    """
    run = Path(model).is_dir()
    default = Path(model, f"{picture}.png") if run else Path(f"{name}-{picture}.png")
    path = default if out is None else Path(out)
    try:
        yield path
    except ImportError as error:
        missing = error.name or error
        raise click.ClickException(f"{missing} is not installed: pip install 'cortex-nn[viz]'") from None
    print(path)


def chosen(rows: tuple[int, ...], source: Source, most: int) -> list[int]:
    """The examples that were asked for, by default the first ``most``."""
    if len(rows) > most:
        raise DataError(f"{len(rows)} examples are too many for one picture; {most} at most")
    return list(rows or range(min(most, len(source))))


def judged(network: Network, source: Source, x: Any, label: str | None) -> tuple[list[int], list[str]]:
    """For some examples the class whose score is looked at, named or predicted, and its name."""
    from cortex_core.probe import activations, scored
    from cortex_viz.learned.examples import class_names, class_of

    names = class_names(network, source)
    count = len(next(iter(x.values())))
    if label is not None:
        classes = [class_of(names, label)] * count
    else:
        of = scored(network)
        classes = [int(c) for c in activations(network, x, [of])[of].argmax(axis=-1).reshape(count, -1)[:, 0]]
    return classes, [names[c] for c in classes]
