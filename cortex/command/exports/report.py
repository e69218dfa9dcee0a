"""``--json`` beside the file that is exported."""

from __future__ import annotations

from pathlib import Path

import click


def expect_other_file(json_file: str | None, out: str | Path) -> None:
    """Refuses to write the JSON over what is exported."""
    if json_file not in (None, "-") and Path(json_file).resolve() == Path(out).resolve():
        raise click.UsageError(f"{out} would be written twice: give --json another name")
