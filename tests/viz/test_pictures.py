"""Pictures are drawn, whole, and show what they are given."""

from __future__ import annotations

import io
import math
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from cortex_core.training.history import History
from cortex_viz.confusion import confusion
from cortex_viz.curves import curves


def history(epochs: int, validation: bool = True) -> History:
    rows = []
    for e in range(1, epochs + 1):
        row = {
            "epoch": e,
            "step": 10 * e,
            "learning_rate": 0.1,
            "loss": 2 / e,
            "accuracy": 1 - 0.5 / e,
            "seconds": 1,
        }
        rows.append(
            row
            | ({"validation_loss": 2.1 / e + 0.01 * e * e, "validation_accuracy": 0.4} if validation else {})
        )
    return History(rows)


def words(path: Path) -> list[str]:
    """The texts of an SVG."""
    return [e.text.strip() for e in ElementTree.parse(path).iter() if e.tag.endswith("text") and e.text]


def test_a_png(tmp_path: Path) -> None:
    assert curves(history(5), tmp_path / "c.png") == tmp_path / "c.png"
    with Image.open(tmp_path / "c.png") as picture:
        assert picture.size[0] > picture.size[1] > 300


def test_what_the_curves_show(tmp_path: Path) -> None:
    shown = words(curves(history(9), tmp_path / "c.svg", title="my net"))
    assert {"my net", "loss", "accuracy", "training", "validation", "epoch"} <= set(shown)
    assert "best epoch (5)" in shown  # 2.1 / e + 0.01 e² is least at e = 4.7
    assert "learning rate" not in shown  # it does not change


@pytest.mark.parametrize("epochs", [1, 40])
def test_one_epoch_or_many_without_validation(tmp_path: Path, epochs: int) -> None:
    assert "validation" not in words(curves(history(epochs, validation=False), tmp_path / "c.svg"))


def test_gaps_and_nan(tmp_path: Path) -> None:
    made = history(4)
    made.rows[1]["validation_loss"] = None
    made.rows[2]["loss"] = math.nan
    assert "best epoch (4)" in words(curves(made, tmp_path / "c.svg"))  # 0.685, against 2.11, unknown, 0.79


def test_the_same_bytes_again(tmp_path: Path) -> None:
    first, second = (curves(history(3), tmp_path / f"{i}.svg").read_bytes() for i in (0, 1))
    assert first == second


def test_what_the_matrix_shows(tmp_path: Path) -> None:
    shown = words(confusion(np.array([[7, 2], [0, 91]]), ("cat", "dog"), tmp_path / "m.svg"))
    assert {"7", "2", "91", "cat", "dog", "true", "predicted", "98 of 100 right (98.00 %)"} <= set(shown)


@pytest.mark.parametrize("n", [2, 10, 30, 100])
def test_any_number_of_classes(tmp_path: Path, n: int) -> None:
    path = confusion(np.eye(n) * 5, [f"class {i}" for i in range(n)], tmp_path / "m.png")
    with Image.open(io.BytesIO(path.read_bytes())) as picture:
        assert max(picture.size) < 2000


def test_a_class_without_examples(tmp_path: Path) -> None:
    assert confusion(np.array([[3, 0], [0, 0]]), ("a", "b"), tmp_path / "m.png").exists()
