"""Helpers of these tests: descriptions as text, and the problems in them as lines."""

from __future__ import annotations

from pathlib import Path

from cortex_core.spec import Description, inspect

EXAMPLES = sorted((Path(__file__).parents[3] / "examples").glob("*.yaml"))

HEAD = """\
inputs:
  image: [28, 28, 1]
layers:
"""
LAST = "  - dense: {units: 10, id: digit}\n"
LOSS = "loss: {softmax_cross_entropy: {of: digit, target: label}}\n"


def inspected(
    folder: Path, text: str | bytes, overrides: tuple[str, ...] = ()
) -> tuple[Description | None, list[str]]:
    """What `inspect` says of a text: the problems as the lines that people see, without the folder."""
    file = folder / "net.yaml"
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    description, problems = inspect(file, overrides)
    return description, [str(problem).replace(f"{folder}/", "") for problem in problems]
