"""``cortex evaluate``."""

from __future__ import annotations

import sys

import click

from cortex.command.common import (
    backend_option,
    batch_size_option,
    json_option,
    load_model,
    people,
    write_json,
)


@click.command("evaluate")
@click.argument("model", metavar="MODEL")
@click.option(
    "--data",
    metavar="NAME|FILE",
    help="A data set (its test part), or a file (all of it); default: the test part of the model's own data.",
)
@backend_option
@batch_size_option
@json_option
def command(
    model: str, data: str | None, backend: str, batch_size: int | None, json_file: str | None
) -> None:
    """Measure a trained network on data: the loss, the metrics, the confusion matrix.

    MODEL is a .cortex file, or the folder of a run. An .npz file holds one array for each input and each
    target; a table has the columns that the model was trained on, labels included.

    \b
    Examples:
      cortex evaluate runs/digits/model.cortex --data digits
      cortex evaluate runs/lenet --data my_digits.npz --json -
    """
    import numpy as np

    from cortex_core.training.data import part_of
    from cortex_core.training.evaluate import measure, measuring

    network = load_model(model)
    source, notes = part_of(network, data, "test")
    for note in notes:
        print(f"note: {note}", file=sys.stderr)
    found = measure(network, source, batch_size or 256, backend)
    print(f"{'examples':<11} {len(source):,}", file=people(json_file))
    write_json(json_file, {name: np.asarray(value).tolist() for name, value in found.items()})
    streams = {m.name: source.streams[m.target] for m in measuring(network, source).description.train.metrics}
    for name, value in found.items():
        classes = ", ".join(map(repr, streams[name].classes or ())) if name in streams else ""
        order = f"; the classes are {classes}" if classes else ""
        text = f"{value:.4f}" if np.ndim(value) == 0 else f"(rows: the true class{order})\n{value}"
        print(f"{name:<11} {text}", file=people(json_file))
