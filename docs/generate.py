"""Writes the tables of docs/description.md from the registries; a test sees to it that this has been run."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import cortex_core.layers
import cortex_core.losses
import cortex_core.metrics
import cortex_core.optimizers
import cortex_core.schedules  # noqa: F401 (these fill the registries)
from cortex_core import registry
from cortex_core.registry import fields_of, named_data
from cortex_core.spec import TrainOptions
from cortex_core.spec.write import to_yaml

PAGE = Path(__file__).with_name("description.md")
MARKED = re.compile(r"(<!-- (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
REGISTRIES = {
    "losses": registry.LOSSES,
    "metrics": registry.METRICS,
    "optimizers": registry.OPTIMIZERS,
    "schedules": registry.SCHEDULES,
    "initializers": registry.INITIALIZERS,
}


def generate(page: str) -> str:
    """The page with its tables made anew."""
    return MARKED.sub(lambda m: f"{m[1]}{table(m[2])}\n{m[3]}", page)


def table(name: str) -> str:
    """One table: a line for each registered thing, or for each option of training."""
    if name == "train":
        rows = [f"| `{f.name}` | {_default(f)} | {f.doc} |" for f in fields_of(TrainOptions).values()]
        return "\n".join(["| option | default | meaning |", "|---|---|---|", *rows])
    if name == "activations":
        kinds = {k: c for k, c in registry.LAYERS.items() if c.is_activation}
    elif name == "layers":
        kinds = {k: c for k, c in registry.LAYERS.items() if not c.is_activation}
    else:
        kinds = dict(REGISTRIES[name])
    rows = [f"| `{kind}` | {_fields(cls)} | {_doc(cls)} |" for kind, cls in kinds.items()]
    return "\n".join(["| name | fields | meaning |", "|---|---|---|", *rows])


def _fields(cls: type[Any]) -> str:
    shown = []
    for field in fields_of(cls).values():
        name = f"**{field.name}**" if field.name == getattr(cls, "main", None) else field.name
        default = _default(field)
        shown.append(f"{name} {default}" if default else name)
    return ", ".join(shown)


def _default(field: Any) -> str:
    if field.required:
        return ""
    if field.like:
        return f"= {field.like}"
    value = named_data(field.default) if hasattr(field.default, "kind") else field.default
    return "none" if value in (None, (), "") else f"`{to_yaml({'x': value})[3:].strip()}`"


def _doc(cls: type[Any]) -> str:
    """The first sentence or line of a docstring."""
    first = (cls.__doc__ or "").strip().split("\n")[0]
    return first.replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(generate(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
