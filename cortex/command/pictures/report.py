"""``cortex visualize report``."""

from __future__ import annotations

import click

from cortex.command.common import backend_option


@click.command("report")
@click.argument("run", metavar="RUN")
@click.option(
    "--data",
    metavar="NAME|FILE",
    help="A data set, or a file, to look at; default: the test part of the run's own data, else what it was "
    "validated on.",
)
@click.option("--out", metavar="FILE", help="The page; default: report.html in the folder of the run.")
@backend_option
def command(run: str, data: str | None, out: str | None, backend: str) -> None:
    """Write the report of a run anew: one page that fetches nothing.

    RUN is the folder that `cortex train` left, also of a training that was cut short. Where the data cannot
    be found, the report has what the run itself knows, and says what is missing. It is computed by what
    computed the training, where that is here.

    \b
    Examples:
      cortex visualize report runs/lenet
      cortex visualize report runs/digits --data my_digits.npz --out mine.html
    """
    from cortex_viz.report import write

    if out is not None and not out.endswith((".html", ".htm")):
        raise click.BadParameter(f"{out}: expected a name that ends in .html", param_hint="--out")
    print(write(run, data, out, backend))
