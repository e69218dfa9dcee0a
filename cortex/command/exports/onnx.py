"""``cortex export onnx``."""

from __future__ import annotations

from typing import Any

import click

from cortex.command.common import (
    json_option,
    load_model,
    out_option,
    people,
    say,
    write_json,
)
from cortex.command.exports.report import expect_other_file


@click.command("onnx")
@click.argument("model", metavar="MODEL")
@click.option("--raw", is_flag=True, help="What the layers give: logits, and targets as they are scaled.")
@out_option(".onnx", required=True, metavar="FILE.onnx", help="The file that is written.")
@json_option
def command(model: str, raw: bool, out: str, json_file: str | None) -> None:
    """Write the prediction of a model as ONNX, for ONNX runtimes.

    MODEL is a .cortex file or the folder of a run. Inputs and outputs have the names of the description; a
    batch may have any size, and so may axes of any length. Images are channels last. Outputs are those of
    `cortex predict`: probabilities, and values in the unit of a target.

    \b
    Examples:
      cortex export onnx runs/digits -o digits.onnx
      cortex export onnx model.cortex --raw -o logits.onnx
    """
    expect_other_file(json_file, out)
    from cortex_core.exchange.to_onnx.exported import to_onnx

    graph = to_onnx(load_model(model), out, raw).graph
    shapes = {kind: _shapes(values) for kind, values in (("takes", graph.input), ("gives", graph.output))}
    write_json(json_file, {"model": out, **shapes})
    for kind, named in shapes.items():
        for name, sizes in named.items():
            shown = " x ".join("any" if n is None else str(n) for n in sizes)
            say(f"{kind} {name}: {shown}", people(json_file))
    say(out, people(json_file))


def _shapes(values: Any) -> dict[str, list[int | str | None]]:
    """By name the sizes: a number, what a free size is called, or None where it has no name."""
    return {
        value.name: [d.dim_param or d.dim_value or None for d in value.type.tensor_type.shape.dim]
        for value in values
    }
