"""Any table with mixed types, missing cells and odd names goes in, trains and predicts on its own rows."""

from __future__ import annotations

import csv
import shutil
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import cortex
from tests.datasets.table.test_any_table import tables

SCALES = ["standard", "piecewise", "minmax"]


def written(path: Path, columns: dict[str, list[str]]) -> int:
    """The table with a label `the label`, and numbers `y` of which the first is missing; how many rows."""
    rows = len(columns["x"])
    columns["the label"] = ["abc"[i % 3] for i in range(rows)]
    columns["y"] = ["", *(repr(1.5 * i) for i in range(1, rows))]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, quoting=csv.QUOTE_ALL)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values()))
    return rows


def telling(file: Path, scale: str) -> dict[str, Any]:
    """A classifier of the features and of the column x, read alone."""
    table = {"file": str(file), "scale": scale, "columns": {"the label": "label", "x": "number"}}
    return {
        "inputs": {"features": "auto", "x": "auto"},
        "layers": [
            {"concatenate": {"from": ["features", "x"]}},
            {"dense": {"units": 3, "id": "told"}},
        ],
        "loss": {"softmax_cross_entropy": {"of": "told", "target": "the label"}},
        "train": {"data": {"table": table}, "batch_size": 2},
    }


def fitting(file: Path, scale: str) -> dict[str, Any]:
    """A regression of all columns but y, on the rows that have one."""
    columns = {"the label": "category", "x": "number", "y": {"number": {"missing": "drop"}}}
    table = {"file": str(file), "scale": scale, "columns": columns}
    return {
        "inputs": {"features": "auto"},
        "layers": [{"dense": {"units": 1, "id": "told"}}],
        "loss": {"mae": {"of": "told", "target": "y"}},
        "train": {"data": {"table": table}, "batch_size": 1},
    }


@pytest.mark.slow
@pytest.mark.parametrize("make", [telling, fitting])
@settings(max_examples=25, deadline=None)
@given(columns=tables(), scale=st.sampled_from(SCALES), test=st.sampled_from([None, 0.4]))
def test_any_table_trains_and_predicts(
    make: Any, columns: dict[str, list[str]], scale: str, test: float | None
) -> None:
    folder = Path(tempfile.mkdtemp())
    columns.pop("y", None)
    rows = written(folder / "t.csv", columns)
    spec = make(folder / "t.csv", scale)
    if rows >= 12:  # so that the training part has every class
        spec["train"]["test"] = test
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # what was counted
        run = cortex.train(spec, out=folder / "run", progress=False, backend="numpy")
        found = run.network.predict(folder / "t.csv")
        again = cortex.load(folder / "run" / "model.cortex").predict(folder / "t.csv")
    assert len(run.history) == 1
    assert np.isfinite(run.history["loss"]).all()
    assert found.shape == (rows, 3 if make is telling else 1)
    assert np.isfinite(found).all()
    assert again.tobytes() == found.tobytes()
    shutil.rmtree(folder)
