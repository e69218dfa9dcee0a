"""The sheet of examples and their versions."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from cortex_compute.errors import DataError
from cortex_datasets.augment.sheet import GAP, sheet
from tests.datasets.augment.examples import made, pictures, table, take, vary


def test_each_line_is_an_example_and_what_epochs_see() -> None:
    source = pictures(count=5, shape=(70, 80, 3))
    varied = vary(source, made("flip"), made("brightness", amount=0.3))
    page = np.asarray(sheet(source, varied, "image", count=3, versions=4))
    assert page.shape == (3 * (70 + 2 * GAP), 5 * (80 + 2 * GAP), 3)
    columns = [take(source)["image"], *(take(varied, epoch=e)["image"] for e in range(4))]
    for row in range(3):
        for column, shown in enumerate(columns):
            y, x = row * (70 + 2 * GAP) + GAP, column * (80 + 2 * GAP) + GAP
            np.testing.assert_allclose(page[y : y + 70, x : x + 80], shown[row] * 255, atol=0.51)
            assert (page[y - GAP : y, x : x + 80] == 255).all()


def test_small_grey_pictures_are_enlarged() -> None:
    source = pictures(count=2, shape=(32, 20, 1))
    page = np.asarray(sheet(source, vary(source, made("flip")), "image", versions=0))
    assert page.shape == (2 * (64 + 2 * GAP), 40 + 2 * GAP, 3)
    grey = page[GAP : GAP + 64, GAP : GAP + 40]
    assert (grey == grey[..., :1]).all()
    np.testing.assert_allclose(grey[::2, ::2, 0], take(source)["image"][0, ..., 0] * 255, atol=0.51)


def test_numbers_outside_of_0_to_1_are_brought_into_it() -> None:
    source = pictures(count=1, shape=(70, 70, 1))
    source._arrays["image"][0, :2, 0, 0] = [-3, 5]
    page = np.asarray(sheet(source, source, "image", versions=0))
    assert page[GAP : GAP + 2, GAP, 0].tolist() == [0, 255]


def test_what_is_no_picture() -> None:
    with pytest.raises(DataError, match=r"'features' holds no pictures: its shape is \[5\]"):
        sheet(table(), table(), "features")


def test_without_pillow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(DataError, match="needs Pillow: pip install"):
        sheet(pictures(), pictures(), "image")
