"""A group of commands whose modules are loaded when they are called."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from keyword import iskeyword
from typing import Any

import click


class Lazy(click.Group):
    """Knows each command by name and one line; its module in ``package`` holds ``command``.

    A module is called as its command, with _ for -, and with ing where that is a word of Python.  So
    ``--help`` loads none of them, and ``check`` not the trainer.
    """

    def __init__(self, *args: Any, package: str, modules: Mapping[str, str], **options: Any) -> None:
        super().__init__(*args, **options)
        self.package, self.modules = package, modules

    def list_commands(self, context: click.Context) -> list[str]:
        return list(self.modules)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in self.modules:
            return None
        module = f"{name}ing" if iskeyword(name) else name.replace("-", "_")
        command: click.Command = import_module(f"{self.package}.{module}").command
        return command

    def resolve_command(
        self, context: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name not in self.modules and not name.startswith("-"):
            from cortex_core.registry.nearest import nearest

            near = nearest(name, self.modules) or f"There are {', '.join(self.modules)}."
            context.fail(f"no such command {name!r}. {near}")
        return super().resolve_command(context, args)

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(self.modules.items()))
