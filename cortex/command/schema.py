"""``cortex schema``."""

from __future__ import annotations

import json

import click


@click.command("schema")
def command() -> None:
    """Print the JSON schema of descriptions, with which editors complete and check them.

    \b
    Example:
      cortex schema > cortex.schema.json
    """
    from cortex_core.spec.schema import schema

    print(json.dumps(schema(), indent=2))
