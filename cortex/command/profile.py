"""``cortex profile``."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

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

TYPE = re.compile(r"\w+\[([\d, ]*)\]")  # a type as it prints: float32[64, 28, 28, 1]


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
    """Time each instruction of a step, beside the best product of two large matrices: the machine's peak.

    The numbers that are computed with are made up; no data is read.  docs/profile.md says how to read it.

    \b
    Examples:
      cortex profile examples/lenet.yaml
      cortex profile examples/lenet.yaml --purpose predict --batch-size 1
    """
    from cortex_core.compiled import compile
    from cortex_core.network import network
    from cortex_core.profile import fill, profile

    made = network(spec, overrides)
    size = batch_size or made.training.batch_size
    compiled = compile(made, backend, purpose=purpose)  # type: ignore[arg-type]
    types = compiled.types(size)
    entry = compiled.entry(types)
    fill(entry.program, types)
    compiled.set_scalars(entry)
    compiled.launch(entry)
    told = {"backend": compiled.backend.name, "batch_size": size, "purpose": purpose}
    found = told | profile(entry.program, runs)
    write_json(json_file, found)
    for line in _lines(found, spec):
        print(line, file=people(json_file))


def _lines(found: dict[str, Any], spec: str) -> Iterator[str]:
    from cortex_core.summary import align

    rows = [_cells(row, found["seconds"], spec) for row in found["instructions"]]
    head = ["us", "share", "GFLOP/s", "of peak", "MB", "GB/s", "instruction", "by", "from"]
    if rows:
        yield from align([head, *rows], right=range(6))
        yield ""
    parts = [
        [cut(x["implementation"], 60), f"{x['calls']}", percent(x["share"], 1)]
        for x in found["implementations"]
    ]
    if parts:
        yield from align([["by", "calls", "share"], *parts], right=(1, 2))
        yield ""
    yield from _sentences(found)


def _cells(row: dict[str, Any], total: float, spec: str) -> list[str]:
    from cortex_core.profile import family, short

    spot, space, path = row["place"].removeprefix(f"{spec}:").rpartition(" ")
    return [
        f"{1e6 * row['seconds']:,.1f}",
        "once" if row["prologue"] else percent(row["seconds"] / total, 1),
        f"{row['gflops']:.1f}" if row["flops"] else "",
        percent(row["of_peak"]) if row["flops"] else "",
        f"{row['bytes'] / 1e6:.2f}",
        f"{row['bytes'] / row['seconds'] / 1e9:.1f}",
        cut(f"{cut(short(row['primitive']), 23)} {shapes(row)}", 35),
        cut(family(row["implementation"]), 22),
        spot + space + cut(path, 22, tail=20),
    ]


def _sentences(found: dict[str, Any]) -> Iterator[str]:
    from cortex_core.profile import short

    rows = found["instructions"]
    once = sum(row["prologue"] for row in rows)
    rate = f"{found['gflops']:.1f} GFLOP/s, {percent(found['of_peak'])} of the peak"
    yield f"{len(rows) - once} instructions in {1e3 * found['seconds']:.3f} ms: {rate}"
    if once:
        took = f"{1e3 * found['prologue_seconds']:.3f} ms"
        yield f"{once} more run once for each version of the weights, and are not counted: {took}"
    if found["slowest"] is not None:
        slow = rows[found["slowest"]]
        share, place = percent(slow["seconds"] / found["seconds"]), slow["place"] or "no single layer"
        what = cut(f"{short(slow['primitive'])} {shapes(slow)}", 80)
        yield f"the slowest takes {share} of the time: {what}, by {slow['implementation']},"
        yield f"  from {place}"
    yield (
        f"the peak is {found['peak_gflops']:.1f} GFLOP/s, the best float32 product of two large matrices "
        f"on {found['backend']}, threads: {found['threads']}"
    )


def shapes(row: dict[str, Any]) -> str:
    """The operands' shapes: ``64x28x28x1, 5x5x1x20, 20``; single numbers are left out."""
    found = (TYPE.sub(lambda match: match[1].replace(", ", "x"), t) for t in row["operands"])
    return ", ".join(filter(None, found))


def cut(text: str, width: int, tail: int = 0) -> str:
    """As much of the text as fits in a column, with ``tail`` letters from its end."""
    head = width - tail - len("..")
    return text if len(text) <= width else f"{text[:head]}..{text[len(text) - tail :]}"


def percent(x: float, digits: int = 0) -> str:
    """0.125 is 12.5 %."""
    return f"{100 * x:.{digits}f} %"
