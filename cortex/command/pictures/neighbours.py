"""``cortex visualize neighbours``."""

from __future__ import annotations

import click

from cortex.command.common import json_option, load_model, people, say, write_json
from cortex.command.pictures.shared import layer_option, model_argument


@click.command("neighbours")
@model_argument
@layer_option
@click.option("--of", "words", multiple=True, metavar="WORD", help="Of which row; may be repeated.")
@click.option("--count", type=click.IntRange(min=1), default=8, help="Neighbours of each.")
@json_option
def command(model: str, layer: str | None, words: tuple[str, ...], count: int, json_file: str | None) -> None:
    """List the nearest rows of an embedding, by the cosine between them.

    A row is named by the word or the class that it stands for, where the network learned such of its data,
    else by its number. By default it is the first eight words, which are the most frequent.

    \b
    Examples:
      cortex visualize neighbours runs/sentiment --of good --of bad
      cortex visualize neighbours runs/names --count 5 --json -
    """
    from cortex_viz.learned.neighbours import embedding_of, first_rows, neighbours_of, row_names, row_of
    from cortex_viz.page import plain

    network = load_model(model)
    layer = embedding_of(network, layer)
    names, table = row_names(network, layer), network.parameters[f"{layer}/table"]
    rows = [row_of(names, word) for word in words] or first_rows(names)
    found = {row: neighbours_of(table, row, names, count) for row in rows}
    for row, near in found.items():
        told = "  ".join(f"{plain(x.name, 30)} {x.cosine:.3f}" for x in near)
        say(f"{plain(names[row], 30):<12} {told}", people(json_file))
    listed = [
        {"row": row, "name": names[row], "neighbours": [x._asdict() for x in near]}
        for row, near in found.items()
    ]
    write_json(json_file, {"layer": layer, "rows": listed})
