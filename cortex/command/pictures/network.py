"""``cortex visualize network``."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from cortex.command.common import (
    backend_option,
    batch_size_option,
    load_model,
    out_option,
    overrides_argument,
    say,
    spec_argument,
)


@click.command("network")
@spec_argument
@overrides_argument
@out_option(".svg", metavar="FILE.svg", help="Where it goes; into the run, else the current folder.")
@click.option("--unfold", is_flag=True, help="Draws each layer of a block, in the block's frame.")
@click.option("--plan", is_flag=True, help="Draws the plan of the program: its kernels and their memory.")
@click.option(
    "--purpose", type=click.Choice(["train", "evaluate", "predict"]), help="Of the plan; train by default."
)
@batch_size_option
@backend_option
def command(
    spec: str,
    overrides: tuple[str, ...],
    out: str | None,
    unfold: bool,
    plan: bool,
    purpose: str | None,
    batch_size: int | None,
    backend: str,
) -> None:
    """Draw a network as SVG: its blocks, and on the lines shapes and counts of parameters.

    SPEC is a description, a .cortex file or the folder of a run. With --plan the kernels of its program are
    listed, with what is fused into each, beside the memory that they share, over time.

    \b
    Examples:
      cortex visualize network examples/lenet.yaml
      cortex visualize network examples/networks/resnet20.yaml --unfold --out resnet20.svg
      cortex visualize network examples/lenet.yaml --plan --backend numpy --batch-size 32
    """
    from cortex_core.network import outline
    from cortex_viz.drawing import draw, draw_plan

    if unfold and plan:
        raise click.UsageError("--unfold is for the network itself: leave out --plan, or --unfold")
    of_plan = {"--purpose": purpose, "--batch-size": batch_size, "--backend": backend}
    told = [name for name, value in of_plan.items() if value not in (None, "auto")]
    if told and not plan:
        raise click.UsageError(f"{', '.join(told)}: of a plan; give --plan, too")
    run = Path(spec).is_dir()
    network = outline(load_model(spec) if run else spec, overrides)
    drawing = draw_plan(network, backend, batch_size, purpose) if plan else draw(network, unfold)
    what = "plan" if plan else "network"
    default = Path(spec, f"{what}.svg") if run else Path(f"{network.name}-{what}.svg")
    path = default if out is None else Path(out)
    drawing.save(path)
    say(f"{path}: {drawing.title}", sys.stdout)
