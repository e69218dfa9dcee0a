"""What ``cortex visualize tsne`` and ``pca`` share."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import click

from cortex.command.common import (
    backend_option,
    json_option,
    load_model,
    needs_viz,
    people,
    say,
    write_json,
)
from cortex.command.pictures.shared import data_option, expect_fit, inputs_alone, layer_option, model_argument
from cortex_compute.errors import DataError

if TYPE_CHECKING:
    from cortex_core.network import Network
    from cortex_viz.layer_map import LayerMap, Method
    from cortex_viz.report.shown import Shown

Command = Callable[..., Any]


def map_options(command: Command) -> Command:
    """The options of both commands."""
    for option in reversed(
        (
            model_argument,
            data_option,
            click.option("--split", metavar="PART", help="Of a data set: test, validation or train."),
            layer_option,
            click.option(
                "--count", type=click.IntRange(4, 20_000), help="Examples, evenly chosen; 10,000 by default."
            ),
            click.option("--seed", type=click.IntRange(0, 2**32 - 1), default=0, help="0 by default."),
            click.option(
                "--out",
                metavar="FILE",
                help="Gets .png and .html at its end; default: into the run, else the current folder.",
            ),
            backend_option,
            json_option,
        )
    ):
        command = option(command)
    return command


def draw_map(
    method: Method,
    model: str,
    data: str | None,
    split: str | None,
    out: str | None,
    json_file: str | None,
    **choices: Any,
) -> None:
    """Lays out examples, writes the picture and the page, and says where they are and how good."""
    if split is not None and _is_file(data):
        raise click.UsageError(f"--split is a part of a data set; {data} is a file, which is taken whole")
    start = perf_counter()
    network = load_model(model)
    run = Path(model).is_dir()
    default = Path(model, method) if run else Path(f"{network.name}-{method}")
    given = {name: value for name, value in choices.items() if value is not None}
    with needs_viz():
        from cortex_viz.layer_map import layer_map

        shown = _shown(network, data, split)
        made = layer_map(network, shown, method=method, **given)
        files = made.save(default if out is None else out)
    seconds = {**made.seconds, "total": perf_counter() - start}
    write_json(json_file, _numbers(made, files, seconds))
    rows = {
        "layer": f"{made.layer}, {made.width:,} numbers of each of {len(made.points):,} examples",
        "method": made.method,
        "explained": " + ".join(f"{share:.1%}" for share in made.explained) + " of the variance",
        "trust": f"{made.trust:.4f} (of 1: how far neighbours in the picture are neighbours in the layer)",
        "seconds": f"{seconds['total']:.1f}, of which {seconds['points']:.1f} for the points",
        "pictures": ", ".join(map(str, files)),
    }
    if not made.explained:
        del rows["explained"]
    for name, value in rows.items():
        say(f"{name:<11} {value}", people(json_file))


def _is_file(data: str | None) -> bool:
    from cortex_core.training.examples import is_name

    return data is not None and not is_name(data)


def _shown(network: Network, data: str | None, split: str | None) -> Shown:
    """The examples to lay out; of a file whose answers are missing or wrong the inputs alone."""
    from cortex_viz.report.collect import shown_of

    try:
        _, shown = shown_of(network, data, *(() if split is None else (split,)))
        expect_fit(network, shown.source, data)
    except DataError as error:
        if not _is_file(data):
            raise
        unlabelled = inputs_alone(network)
        _, shown = shown_of(unlabelled, data)
        expect_fit(unlabelled, shown.source, data)
        say(f"note: without classes: {error}", sys.stderr)
    return shown


def _numbers(made: LayerMap, files: list[Path], seconds: dict[str, float]) -> dict[str, Any]:
    return {
        "layer": made.layer,
        "width": made.width,
        "examples": len(made.points),
        "method": made.method,
        "trustworthiness": made.trust,
        "explained_variance": list(made.explained),
        "seconds": seconds,
        "files": [str(path) for path in files],
    }
