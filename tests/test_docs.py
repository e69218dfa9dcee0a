"""The tables of the documentation are those of the registries."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

from cortex_core.ops.table import OPS
from cortex_core.registry import LAYERS, LOSSES, Registry

DOCS = Path(__file__).parents[1] / "docs"


def test_the_tables_are_current() -> None:
    made = runpy.run_path(str(DOCS / "generate.py"))
    for path in made["PAGES"]:
        page = path.read_text(encoding="utf-8")
        assert made["generate"](page) == page, "run: python docs/generate.py"


def test_every_op_is_there() -> None:
    page = (DOCS / "ops.md").read_text(encoding="utf-8")
    for row in OPS.values():
        assert f"| `{row.name}(" in page


@pytest.mark.parametrize(("page", "registry"), [("layers.md", LAYERS), ("losses.md", LOSSES)])
def test_everything_that_a_description_names_has_a_section(page: str, registry: Registry) -> None:
    text = (DOCS / page).read_text(encoding="utf-8")
    own = [name for name, cls in registry.items() if cls.__module__.startswith("cortex_core.")]
    assert len(own) > 15
    assert [name for name in own if f"\n## {name}\n" not in text or f"[{name}](#{name})" not in text] == []


def test_every_layer_is_there() -> None:
    page = (DOCS / "description.md").read_text(encoding="utf-8")
    for name in ("dense", "conv2d", "batch_norm", "gelu", "softmax_cross_entropy", "lion", "cosine", "r2"):
        assert f"| `{name}` |" in page
