"""``cortex visualize dead``."""

from __future__ import annotations

import click

from cortex.command.common import backend_option, json_option, load_model, people, say, write_json
from cortex.command.pictures.shared import (
    data_option,
    drawing,
    examples,
    layer_option,
    model_argument,
    out_option,
)


@click.command("dead")
@model_argument
@data_option
@layer_option
@out_option
@backend_option
@json_option
def command(
    model: str,
    data: str | None,
    layer: str | None,
    out: str | None,
    backend: str,
    json_file: str | None,
) -> None:
    """Count the units of relu layers that are above 0 for no example.

    Such a unit passes no gradient either, so it stays as it is. A picture is drawn where --out names one.

    \b
    Examples:
      cortex visualize dead runs/lenet
      cortex visualize dead runs/lenet --data mnist --out dead.png --json -
    """
    from cortex_core.summary import align
    from cortex_viz.learned.dead import dead, dead_of

    network = load_model(model)
    source = examples(network, data)
    found = dead_of(network, source, layer, backend)
    rows = [["layer", "units", "dead", "share"]]
    for id, units in found.items():
        count = int(units.sum())
        rows.append([id, f"{len(units):,}", f"{count:,}", f"{100 * count / len(units):.1f} %"])
    for line in (f"{len(source):,} examples", *align(rows)):
        say(line, people(json_file))
    layers = [{"layer": id, "units": len(u), "dead": u.nonzero()[0].tolist()} for id, u in found.items()]
    write_json(json_file, {"examples": len(source), "layers": layers})
    if out is not None:
        with drawing("dead", model, network.name, out, people(json_file)) as path:
            dead(found, path)
