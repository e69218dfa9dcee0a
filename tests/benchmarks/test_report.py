"""Tables of figures that were made up here."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from benchmarks.report import PAGE, insert, markdown, number, text, verdict


def spread(low: float, middle: float, high: float) -> dict[str, float]:
    return {"median": middle, "low": low, "high": high}


MLP = {
    "name": "mlp",
    "times": {"cortex": spread(0.4, 0.5, 0.6), "torch": spread(1, 1.2, 1.25)},
    "ratio": spread(2, 2.4, 2.5),
    "of_peak": spread(0.3, 0.4, 0.45),
    "left_out": {"jax": "No module named 'jax'"},
}
PREDICTION = {"name": "mlp_predict", "times": {"cortex": spread(1, 1, 1) | {"p99": 3.0}}, "left_out": {}}
FIT = {
    "name": "wine_fit",
    "times": {"cortex": spread(40, 45, 50), "sklearn": spread(200, 240, 250)},
    "ratio": spread(5, 5.3, 6),
    "accuracy": {"cortex": 0.9788, "sklearn": 0.9731},
    "left_out": {},
}
RUN: dict[str, Any] = {
    "date": "2000-01-01",
    "processor": "Abacus",
    "cores": 2,
    "threads": 2,
    "load_before": [0.04, 0.1, 0.2],
    "cortex": "0",
    "backend": "numpy",
    "numpy": "2",
    "peers": {"torch": "2.13.0"},
    "rounds": 5,
    "seconds": 1.0,
    "peak": {"gflops": 512.3, "library": "product_torch"},
    "rows": [MLP, PREDICTION, FIT, {"name": "cnn", "failed": "no such backend"}],
}


@pytest.mark.parametrize(
    ("x", "shown"), [(0.01234, "0.0123"), (1.5, "1.50"), (33.333, "33.3"), (256.4, "256")]
)
def test_three_digits(x: float, shown: str) -> None:
    assert number(x) == shown


@pytest.mark.parametrize(
    ("x", "said"), [(1.0, "missed"), (1.1, "bar met"), (1.29, "bar met"), (1.3, "goal met")]
)
def test_verdict(x: float, said: str) -> None:
    assert verdict(x, 1.1, 1.3) == said


def test_a_fit_shows_how_accurate_it_is() -> None:
    assert "scikit-learn                cross-validated accuracy 0.9731" in text(FIT)
    (line,) = [line for line in markdown(RUN).splitlines() if line.startswith("| wine")]
    assert line.split(" | ")[1:3] == ["45.0 (40.0-50.0); 0.9788", "240 (200-250); 0.9731"]


def test_text() -> None:
    shown = text(MLP)
    assert "Cortex                      0.500 (0.400-0.600)" in shown
    assert "JAX is left out: No module named 'jax'" in shown
    assert "ratio to the fastest peer: 2.40 (2.00-2.50)   bar 1.1, goal 1.3: goal met" in shown


def test_markdown() -> None:
    lines = markdown(RUN).splitlines()
    assert lines[0].startswith(
        "2000-01-01, Abacus, 2 cores, 2 threads, load 0.0 before the run; Cortex 0 on numpy"
    )
    row = next(line for line in lines if line.startswith("| MLP 784-256-128-10: step, batch 128 | 0.500"))
    assert row.endswith("| 2.40 (2.00-2.50) | 1.1 | 1.3 | goal met |")
    assert "| MLP 784-256-128-10: prediction, batch 1 | 3.00 |  |  |  |  |" in lines
    assert "| MLP 784-256-128-10: step, batch 128 | 40 % (30-45) |  |  |  |" in lines
    assert lines[-1].endswith("was not measured: no such backend")


def test_tables_take_the_place_of_the_old_ones() -> None:
    page = "before\n<!-- table: none -->\nold\n<!-- end -->\nafter\n"
    new = insert(page, "results/a.json", "new")
    assert new == "before\n<!-- table: results/a.json -->\nnew\n<!-- end -->\nafter\n"
    assert insert(new, "results/a.json", "new") == new


def test_the_page_shows_the_file_that_it_names() -> None:
    page = PAGE.read_text(encoding="utf-8")
    name = re.search(r"<!-- table: ([^ ]*) -->", page)
    assert name is not None
    if name[1] != "none":
        run = json.loads((PAGE.parents[1] / name[1]).read_text(encoding="utf-8"))
        assert insert(page, name[1], markdown(run)) == page, f"run: python -m benchmarks.report {name[1]}"
