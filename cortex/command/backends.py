"""``cortex backends``."""

from __future__ import annotations

import click

from cortex.command.common import json_option, people, write_json


@click.command("backends")
@json_option
def command(json_file: str | None) -> None:
    """List the compute backends, which of them are usable here, and what each is.

    \b
    Example:
      cortex backends
    """
    from cortex_compute.backends import available, get
    from cortex_compute.errors import AskedForError

    rows = available()
    try:
        chosen = get().name
    except AskedForError:  # which is told beside its backend
        chosen = ""
    write_json(
        json_file,
        [{"name": r.name, "present": r.present, "facts": r.facts, "reason": r.reason} for r in rows],
    )
    for row in rows:
        used = " (what 'auto' takes)" if row.name == chosen else ""
        print(f"{row.name}{used if row.present else ': absent: ' + row.reason}", file=people(json_file))
        for fact, value in row.facts.items():
            print(f"  {fact}: {value}", file=people(json_file))
