"""Writes what is generated in the pages; a test sees to it that this was run."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path
from typing import Any

from cortex_compute.expression import build
from cortex_compute.primitives.elementwise import Elementwise
from cortex_compute.protocol import Offer, Operand
from cortex_compute.types import TensorType
from cortex_core import registry
from cortex_core.exchange.keras import translators
from cortex_core.exchange.keras.at import TRANSLATORS
from cortex_core.exchange.to_keras import translators as to_keras_translators
from cortex_core.exchange.to_keras.at import REFUSED, TABLE
from cortex_core.exchange.to_onnx import at as to_onnx
from cortex_core.exchange.to_onnx import spoken
from cortex_core.exchange.to_onnx.exported import load_translators
from cortex_core.exchange.to_onnx.said import SAID
from cortex_core.explain import explanation
from cortex_core.ops.table import OPS
from cortex_core.reference import default, section
from cortex_core.registry import fields_of
from cortex_core.registry.named import load_plugins
from cortex_core.spec import TrainOptions
from cortex_datasets.table.declare import KINDS
from cortex_gpu.backend import CupyBackend, Gpu
from cortex_gpu.prelude import PRELUDE

NAMES = (
    *("data.md", "description.md", "export.md", "gpu.md", "import.md", "layers.md", "losses.md", "onnx.md"),
    "ops.md",
)
PAGES = [Path(__file__).with_name(name) for name in NAMES]
MARKED = re.compile(r"(<!-- (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
REGISTRIES = {
    "losses": registry.LOSSES,
    "metrics": registry.METRICS,
    "optimizers": registry.OPTIMIZERS,
    "schedules": registry.SCHEDULES,
    "initializers": registry.INITIALIZERS,
    "readers": registry.READERS,
    "augmentations": registry.AUGMENTATIONS,
    "splits": registry.SPLITS,
    "streams": registry.STREAMS,
    "constraints": registry.CONSTRAINTS,
    "columns": KINDS,
}
SORTED = {"readers", "augmentations", "columns"}  # of several modules, which may be imported in any order
for _registry in (registry.READERS, registry.AUGMENTATIONS):
    load_plugins(_registry.group)


def generate(page: str) -> str:
    """The page with what is marked made anew."""
    return MARKED.sub(lambda m: f"{m[1]}{table(m[2])}\n{m[3]}", page)


def table(name: str) -> str:
    """One table: a line for each registered thing, or for each option of training."""
    if name == "train":
        return options(TrainOptions)
    if name.startswith("reader_"):
        return options(registry.READERS[name.removeprefix("reader_")])
    if name == "kernel":
        return kernel()
    if name == "keras":
        return keras()
    if name == "to_keras":
        return to_keras()
    if name == "onnx_export":
        return onnx_export()
    if name.startswith("ops_"):
        return ops(name.removeprefix("ops_"))
    if name.startswith("reference_"):
        return reference(name.removeprefix("reference_"))
    if name == "activations":
        kinds = {k: c for k, c in registry.LAYERS.items() if c.is_activation}
    elif name == "layers":
        kinds = {k: c for k, c in registry.LAYERS.items() if not c.is_activation}
    else:
        kinds = dict(REGISTRIES[name])
        kinds = dict(sorted(kinds.items())) if name in SORTED else kinds
    doc = _text if name == "augmentations" else _doc  # whose formulas come second
    rows = [f"| `{kind}` | {_fields(cls)} | {doc(cls)} |" for kind, cls in kinds.items()]
    return "\n".join(["| name | fields | meaning |", "|---|---|---|", *rows])


def options(cls: type[Any]) -> str:
    """The fields of one class, a line for each."""
    rows = [f"| `{f.name}` | {default(f)} | {f.doc} |" for f in fields_of(cls).values()]
    return "\n".join(["| option | default | meaning |", "|---|---|---|", *rows])


def kernel() -> str:
    """The source of one pointwise kernel, behind the prelude."""
    code = build(lambda x, y: x.builder.make("relu", x + y), 2)
    operand = Operand(TensorType((64, 1000)))
    offer = CupyBackend(Gpu()).offer(Elementwise(code.code, code.literals), [operand, operand])
    assert isinstance(offer, Offer)
    (source,) = offer.build().sources  # type: ignore[attr-defined]
    return f"```cuda\n{source.text.removeprefix(PRELUDE).strip()}\n```"


def keras() -> str:
    """The classes of Keras that can be imported, a line for each module of translators."""
    translators.load()
    modules: dict[str, list[str]] = {}
    for kind, function in TRANSLATORS.items():
        modules.setdefault(function.__module__, []).append(kind)
    rows = []
    for name, kinds in modules.items():
        rows.append(f"| {_doc(import_module(name))} | {', '.join(f'`{kind}`' for kind in sorted(kinds))} |")
    return "\n".join(["| what | classes of Keras |", "|---|---|", *sorted(rows)])


def to_keras() -> str:
    """What becomes of each layer in Keras, a line for each translator, and the layers that are refused."""
    to_keras_translators.load()
    kinds: dict[tuple[str, str], list[str]] = {}
    for kind in sorted(registry.LAYERS):
        said, refused = TABLE.get(kind), REFUSED.get(kind)
        if said or refused:
            kinds.setdefault((said.to, said.refuses) if said else ("", refused or ""), []).append(kind)
    rows = [f"| {', '.join(f'`{k}`' for k in own)} | {to} | {no} |" for (to, no), own in kinds.items()]
    return "\n".join(["| layer | in Keras | refused |", "|---|---|---|", *rows])


def onnx_export() -> str:
    """The operators of ONNX that are written, a line for each primitive, and those that others stand for."""
    load_translators()
    rows = []
    for cls, row in sorted(to_onnx.TRANSLATORS.items(), key=lambda item: item[0].__name__):
        own = cls.__module__ == spoken.__name__  # a part of what others become
        name = _doc(cls).split(".  ")[0].rstrip(".") if own else f"`{cls.__name__}`"
        rows.append(f"| {name.replace('``', '`')} | {', '.join(f'`{op}`' for op in row.ops)} |")
    said = ", ".join(f"`{cls.__name__}`" for cls in SAID if cls not in to_onnx.TRANSLATORS)
    table = "\n".join(["| primitive | operators of ONNX |", "|---|---|", *rows])
    return f"{table}\n\nSaid in these: {said}, and what has a decomposition."


def reference(name: str) -> str:
    """A section for each layer or loss of this package, by the alphabet, and before them links to all."""
    classes = registry.LAYERS if name == "layers" else registry.LOSSES
    own = {k: c for k, c in sorted(classes.items()) if c.__module__.startswith("cortex_core.")}
    links = " · ".join(f"[{kind}](#{kind})" for kind in own)
    return "\n\n".join([links, *(section(kind, cls) for kind, cls in own.items())])


def ops(module: str) -> str:
    """The ops of one module of the language, with what their docstrings say."""
    rows = [
        f"| `{explanation(row.name).splitlines()[0]}` | {_text(row.function)} | {_names(row)} |"
        for row in OPS.values()
        if row.function.__module__ == f"cortex_core.ops.{module}"
    ]
    return "\n".join(["| op | what it computes, and its gradient | also called |", "|---|---|---|", *rows])


def _text(f: Any) -> str:
    """A docstring in one line."""
    paragraphs = (" ".join(p.split()) for p in (f.__doc__ or "").split("\n\n"))
    return "<br>".join(paragraphs).strip().replace("``", "`").replace("|", "\\|")


def _names(row: Any) -> str:
    return ", ".join(f"`{name}`" for name in row.aliases)


def _fields(cls: type[Any]) -> str:
    shown = []
    for field in fields_of(cls).values():
        name = f"**{field.name}**" if field.name == getattr(cls, "main", None) else field.name
        value = default(field)
        shown.append(f"{name} {value}" if value else name)
    return ", ".join(shown)


def _doc(cls: Any) -> str:
    """The first paragraph of a docstring, in one line."""
    first = (cls.__doc__ or "").strip().split("\n\n")[0]
    return " ".join(line.strip() for line in first.splitlines()).replace("|", "\\|")


if __name__ == "__main__":
    for path in PAGES:
        path.write_text(generate(path.read_text(encoding="utf-8")), encoding="utf-8")
