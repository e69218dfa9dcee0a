"""Names of others in figures."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from cortex_viz.confusion import confusion
from cortex_viz.curves import curves
from cortex_viz.figure import literal

HOSTILE = "$\\frac{1}$\n<b>"


class Table:
    columns = ["epoch", "loss", "$\\frac{"]

    def __getitem__(self, column: str) -> list[float]:
        return [1.0, 2.0]


def test_text_of_others_is_one_line_without_formulas() -> None:
    assert literal(HOSTILE) == "\\$\\frac{1}\\$\\n<b>"
    assert literal("") == "''"
    assert len(literal("x" * 500)) == 80


def test_names_begin_no_formula(tmp_path: Path) -> None:
    drawn = confusion(np.eye(2, dtype=int), [HOSTILE, "$"], tmp_path / "confusion.svg").read_text()
    assert "$\\frac{1}$\\n&lt;b&gt;" in drawn
    assert "<b>" not in drawn
    assert "$\\frac{1}$" in curves(Table(), tmp_path / "curves.svg", title=HOSTILE).read_text()
