"""``cortex check``."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from cortex.command.common import (
    batch_size_option,
    json_option,
    overrides_argument,
    people,
    spec_argument,
    write_json,
)

if TYPE_CHECKING:
    from cortex_core.check import Memory, Report


@click.command("check")
@spec_argument
@overrides_argument
@click.option("--backend", default="numpy", metavar="NAME", help="The backend whose memory is counted.")
@batch_size_option
@click.option("--canonical", is_flag=True, help="Prints the description with every default written out.")
@json_option
def command(
    spec: str,
    overrides: tuple[str, ...],
    backend: str,
    batch_size: int | None,
    canonical: bool,
    json_file: str | None,
) -> None:
    """Find every mistake in a description; print its layers, shapes, parameters, work and peak memory.

    Computes nothing, and reads data only where the description names files that are here. A mistake is one
    line: FILE:LINE:COLUMN: PATH: what is wrong, what is right.

    \b
    Examples:
      cortex check examples/lenet.yaml
      cortex check examples/lenet.yaml --batch-size 256 --json -
      cortex check examples/lenet.yaml train.optimizer.adam.learning_rate=0.01 --canonical
    """
    with no_collection():
        from cortex_core.check import check

        report = check(spec, overrides, backend, batch_size)
    write_json(json_file, {"file": spec, **report.as_data()})
    for problem in report.problems:
        print(problem, file=sys.stderr)
    if report.problems or report.description is None:
        raise click.exceptions.Exit(2)
    if canonical:
        from cortex_core.spec.write import to_yaml

        print(to_yaml(report.description.canonical), end="", file=people(json_file))
        return
    for line in _lines(report):
        print(line, file=people(json_file))


@contextmanager
def no_collection() -> Iterator[None]:
    """Without the collector of circles, which finds none here and takes a tenth of the time."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _lines(report: Report) -> Iterator[str]:
    from cortex_core.summary import lines, totals

    description, memory, outline = report.description, report.memory, report.outline
    assert description is not None
    assert memory is not None
    assert outline is not None
    yield from lines(description, report.layers)
    work = sum(row.flops for row in report.layers)
    yield f"\n{totals(outline)}, {work / 1e6:,.2f} MFLOP to predict one example"
    yield from (f"note: {text}" for text in report.notes)
    yield f"\nPeak memory with batches of {report.batch_size}, in bytes:"
    if description.losses:
        yield f"  training    {memory.total:>14,}   {_parts(memory)}"
    yield f"  prediction  {memory.predict_total:>14,}"


def _parts(memory: Memory) -> str:
    names = ("parameters", "gradients", "moments", "activations", "workspace")
    return ", ".join(f"{name} {getattr(memory, name):,}" for name in names)
