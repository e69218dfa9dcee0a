"""The reference of a layer or loss as Markdown: all of it follows from the class and its example."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import Any

from cortex_compute.primitives.elementwise import Elementwise
from cortex_core.declared import KEY, KEY_TYPE, Declared
from cortex_core.explain import NAMES
from cortex_core.graph.value import input_value, is_leaf, state_value
from cortex_core.layers.scope import Parameter
from cortex_core.network import Network
from cortex_core.ops.array import Node
from cortex_core.ops.differentiate import RULES, ancestors
from cortex_core.ops.table import OPS
from cortex_core.registry import fields_of, named_data
from cortex_core.spec.write import to_yaml
from cortex_core.step import types_of
from cortex_core.summary import NUMBERS, align, cells, rows
from cortex_core.terms import samples_of
from cortex_core.trace import trace
from cortex_core.verify import minimal


def section(name: str, cls: type[Any]) -> str:
    """What a layer or loss computes, its fields, an example with its shapes and parameters, its gradient."""
    text, example = minimal.parts(cls)
    network = Network.outline(minimal.description(cls))
    shown = list(align(cells(network.description, rows(network.description)), right=NUMBERS))
    parts = [
        f"## {name}",
        markdown(text),
        fields(cls),
        f"```yaml\n{example}```\n\n```text\n{chr(10).join(shown)}\n```",
        parameters(network, cls),
        "Gradient:\n\n" + "\n".join(f"- {rule}" for rule in gradient(network, cls)),
    ]
    return "\n\n".join(part for part in parts if part)


def fields(cls: type[Any]) -> str:
    """The fields of a class, a line for each."""
    known = fields_of(cls).values()
    if not known:
        return "It has no fields."
    shown = [f"| {_name(f, cls)} | {_cell(f.kind.words)} | {default(f)} | {_cell(f.doc)} |" for f in known]
    return "\n".join(["| field | value | default | meaning |", "|---|---|---|---|", *shown])


def _name(field: Any, cls: type[Any]) -> str:
    """The one that may stand alone, as in ``dense: 500``, is bold."""
    return f"**{field.name}**" if field.name == getattr(cls, "main", None) else field.name


def default(field: Any) -> str:
    """What a field is where nobody says it, for a cell of a table."""
    if field.required:
        return ""
    if field.like:
        return f"= {field.like}"
    value = named_data(field.default) if hasattr(field.default, "kind") else field.default
    return "none" if value in (None, (), "") else f"`{to_yaml({'x': value})[3:].strip()}`"


def parameters(network: Network, cls: type[Any]) -> str:
    """What the thing has in its example: parameters, which are learned, and variables, which are kept."""
    listed = [
        f"`{d.name}` {d.type.shape}{'' if isinstance(d.declaration, Parameter) else ', kept'}"
        for d in network.declared.values()
        if _is(d, cls)
    ]
    return f"Parameters of the example: {'; '.join(listed)}." if listed else ""


def _is(declared: Declared, cls: type[Any]) -> bool:
    return type(getattr(declared.layer, "layer", None) or getattr(declared.layer, "loss", None)) is cls


def gradient(network: Network, cls: type[Any]) -> Iterator[str]:
    """The rules by which the example is differentiated: of each primitive that the thing is made of, and of
    each scalar function in its formulas."""
    found: dict[str, str] = {}
    for node in _nodes(network, cls):
        p = node.primitive
        if isinstance(p, Elementwise):
            for instruction in p.code.instructions:
                scalar = instruction[0].partition(":")[0]
                row = OPS.get(NAMES.get(scalar, scalar))
                if row is not None and row.gradient:
                    found[row.name] = _first(row.function)
        elif type(p) in RULES:
            found[type(p).__name__] = _first(RULES[type(p)])
        else:
            found[type(p).__name__] = "that of its decomposition"
    if not found:
        yield "what flows back passes unchanged"
    for name, rule in sorted(found.items(), key=lambda pair: (pair[0].islower(), pair[0])):
        yield f"`{name}`: {markdown(rule)}"


def _first(f: Any) -> str:
    """The first paragraph of a docstring, in one line."""
    return " ".join((inspect.getdoc(f) or "").split("\n\n")[0].split())


def _nodes(network: Network, cls: type[Any]) -> list[Node]:
    """What the trace of the example makes for layers or losses of the class, in order."""
    made = network.description
    values = {name: input_value(name, t) for name, t in types_of(network, minimal.BATCH).items()}
    traced = trace(
        made, values, lambda name, *_: state_value(name, network.declared[name].type),
        state_value(KEY, KEY_TYPE), training=True,
    )  # fmt: skip
    own = [node for node in made.layers if type(node.layer) is cls]
    if own:
        places, roots = {node.place for node in own}, [traced.values[node.id] for node in own]
        return [n for n in _before(roots) if n.place in places]
    losses = [node for node in made.losses if type(node.loss) is cls]
    seen = set(_before([x for x in traced.values.values() if x is not None]))
    samples = [x for node in losses for x in samples_of(node, traced, values) if x is not None]
    return [n for n in _before(samples) if n not in seen]


def _before(roots: list[Any]) -> list[Node]:
    found = [n for n in ancestors(roots) if not is_leaf(n)]
    return sorted(found, key=lambda n: n.serial)


def markdown(text: str) -> str:
    """Text of a docstring: outside of code no character is a sign of Markdown."""
    parts = text.replace("``", "`").split("`")
    parts[::2] = [re.sub(r"([*<\[])", r"\\\1", part) for part in parts[::2]]
    return "`".join(parts)


def _cell(text: str) -> str:
    return markdown(" ".join(text.split())).replace("|", "\\|")
