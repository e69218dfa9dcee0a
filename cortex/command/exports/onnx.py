"""``cortex export onnx``."""

from __future__ import annotations

from pathlib import Path

import click

from cortex.command.common import load_model

SUFFIX = ".onnx"


def _file(context: click.Context, option: click.Parameter, out: str) -> Path:
    if Path(out).suffix != SUFFIX:
        raise click.BadParameter(f"{out}: expected a name that ends in {SUFFIX}")
    return Path(out)


@click.command("onnx")
@click.argument("model", metavar="MODEL")
@click.option("--raw", is_flag=True, help="What the layers give: logits, and targets as they are scaled.")
@click.option("-o", "--out", required=True, callback=_file, metavar="FILE.onnx", help="The file to write.")
def command(model: str, raw: bool, out: Path) -> None:
    """Write the prediction of a model as ONNX, for ONNX runtimes.

    MODEL is a .cortex file or the folder of a run. Inputs and outputs have the names of the description; a
    batch may have any size, and so may axes of any length. Images are channels last. Outputs are those of
    `cortex predict`: probabilities, and values in the unit of a target.

    \b
    Examples:
      cortex export onnx runs/digits -o digits.onnx
      cortex export onnx model.cortex --raw -o logits.onnx
    """
    from cortex_core.exchange.to_onnx.exported import to_onnx

    made = to_onnx(load_model(model), out, raw)
    for kind, values in (("takes", made.graph.input), ("gives", made.graph.output)):
        for value in values:
            sizes = (d.dim_param or d.dim_value or "any" for d in value.type.tensor_type.shape.dim)
            print(f"{kind} {value.name}: {' x '.join(map(str, sizes))}")
    print(out)
