"""``cortex profile``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from cortex.command.common import (
    backend_option,
    batch_size_option,
    json_option,
    overrides_argument,
    people,
    spec_argument,
    write_json,
)

if TYPE_CHECKING:
    from cortex_compute.types import TensorType
    from cortex_core.program import Program


@click.command("profile")
@spec_argument
@overrides_argument
@backend_option
@batch_size_option
@click.option(
    "--purpose", type=click.Choice(["train", "evaluate", "predict"]), default="train", show_default=True
)
@click.option(
    "--runs", type=click.IntRange(min=1), default=20, show_default=True, help="The median is shown."
)
@json_option
def command(
    spec: str,
    overrides: tuple[str, ...],
    backend: str,
    batch_size: int | None,
    purpose: str,
    runs: int,
    json_file: str | None,
) -> None:
    """Time each instruction of a step: seconds, GFLOP/s, GB/s, share, line of the description.

    The numbers that are computed with are made up; no data is read.

    \b
    Examples:
      cortex profile examples/lenet.yaml
      cortex profile examples/lenet.yaml --purpose predict --batch-size 1
    """
    from cortex_core.compiled import compile
    from cortex_core.network import network

    made = network(spec, overrides)
    size = batch_size or made.training.batch_size
    compiled = compile(made, backend, purpose=purpose)  # type: ignore[arg-type]
    types = compiled.types(size)
    entry = compiled.entry(types)
    fill(entry.program, types)
    compiled.set_scalars(entry)
    compiled.launch(entry)
    rows = entry.program.profile(runs)
    write_json(json_file, {"backend": compiled.backend.name, "batch_size": size, "instructions": rows})
    for line in _lines(rows, size):
        print(line, file=people(json_file))


def fill(program: Program, types: dict[str, TensorType]) -> None:
    """Puts made-up examples into the program's inputs: floats in 0..1, zeros for class indices and tokens."""
    import numpy as np

    generator = np.random.default_rng(0)
    for name, type in types.items():
        if type.dtype.kind == "float":
            program.inputs[name][...] = generator.random(type.shape)
        else:
            program.inputs[name][...] = 0


def _lines(rows: list[dict[str, Any]], size: int) -> Iterator[str]:
    from cortex_core.summary import align

    total = sum(row["seconds"] for row in rows)
    table = [["microseconds", "share", "GFLOP/s", "GB/s", "instruction", "by", "from"]]
    for row in rows:
        seconds = max(row["seconds"], 1e-9)
        table.append(
            [
                f"{1e6 * seconds:,.1f}",
                f"{100 * seconds / max(total, 1e-9):.1f} %",
                f"{row['flops'] / seconds / 1e9:.2f}",
                f"{row['bytes'] / seconds / 1e9:.2f}",
                row["primitive"] if len(row["primitive"]) <= 60 else row["primitive"][:57] + "...",
                row["implementation"],
                row["place"],
            ]
        )
    yield from align(table, right=(0, 1, 2, 3))
    flops = sum(row["flops"] for row in rows)
    work = f"{len(rows)} instructions, {flops / 1e9:.3f} GFLOP"
    yield f"\n{work}: {1e3 * total:.3f} ms for a step of {size} examples"
