"""What ``cortex visualize tsne`` and ``pca`` share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import click

from cortex.command.common import backend_option, json_option, load_model, people, write_json
from cortex.command.pictures.shared import data_option, expect_fit, layer_option, model_argument

if TYPE_CHECKING:
    from cortex_viz.layer_map import LayerMap, Method

Command = Callable[..., Any]
SUFFIXES = ("", ".png", ".html")


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
                callback=lambda context, option, value: _picture(value),
                help="Gets .png and .html at its end; default: into the run, else the current folder.",
            ),
            backend_option,
            json_option,
        )
    ):
        command = option(command)
    return command


def _picture(out: str | None) -> str | None:
    if out is not None and Path(out).suffix.lower() not in SUFFIXES:
        raise click.BadParameter(f"{out}: expected a name that ends in .png or .html; both are written")
    return out


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
    start = perf_counter()
    network = load_model(model)
    run = Path(model).is_dir()
    default = Path(model, method) if run else Path(f"{network.name}-{method}")
    given = {name: value for name, value in choices.items() if value is not None}
    try:
        from cortex_viz.layer_map import layer_map
        from cortex_viz.report.collect import shown_of

        _, shown = shown_of(network, data, *(() if split is None else (split,)))
        expect_fit(network, shown.source, data)
        made = layer_map(network, shown, method=method, **given)
        files = made.save(default if out is None else out)
    except ImportError as error:
        missing = error.name or error
        raise click.ClickException(f"{missing} is not installed: pip install 'cortex-nn[viz]'") from None
    seconds = {**made.seconds, "total": perf_counter() - start}
    write_json(json_file, _numbers(made, files, seconds))
    rows = {
        "layer": f"{made.layer}, {made.width:,} numbers of each of {len(made.points):,} examples",
        "method": made.method,
        "trust": f"{made.trust:.4f} (of 1: how far neighbours in the picture are neighbours in the layer)",
        "seconds": f"{seconds['total']:.1f}, of which {seconds['points']:.1f} for the points",
        "pictures": ", ".join(map(str, files)),
    }
    for name, value in rows.items():
        print(f"{name:<11} {value}", file=people(json_file))


def _numbers(made: LayerMap, files: list[Path], seconds: dict[str, float]) -> dict[str, Any]:
    return {
        "layer": made.layer,
        "width": made.width,
        "examples": len(made.points),
        "method": made.method,
        "trustworthiness": made.trust,
        "seconds": seconds,
        "files": [str(path) for path in files],
    }
