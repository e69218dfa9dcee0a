"""The tables of the documentation are those of the registries."""

from __future__ import annotations

import runpy
from pathlib import Path

DOCS = Path(__file__).parents[1] / "docs"


def test_the_tables_are_current() -> None:
    made = runpy.run_path(str(DOCS / "generate.py"))
    page = (DOCS / "description.md").read_text(encoding="utf-8")
    assert made["generate"](page) == page, "run: python docs/generate.py"


def test_every_layer_is_there() -> None:
    page = (DOCS / "description.md").read_text(encoding="utf-8")
    for name in ("dense", "conv2d", "batch_norm", "gelu", "softmax_cross_entropy", "lion", "cosine", "r2"):
        assert f"| `{name}` |" in page
