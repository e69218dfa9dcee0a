"""The report in Chromium: it looks as it should, and a click on a cell shows the images behind it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from cortex_core.training.data import open_data
from cortex_core.training.run import Run
from cortex_core.training.train import train
from cortex_viz.report import collect, page_of
from tests.viz.browser import check_looks, errors, open_page, requests, settle

HOSTILE = "<img src=x onerror=\"document.title='fooled'\">"
OPEN = "document.querySelectorAll('details').forEach((part) => { part.open = true; })"


@pytest.fixture(scope="module")
def digits(reports: None, tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("digits") / "run"
    return train("examples/digits.yaml", epochs=2, out=folder, progress=False)


@pytest.mark.slow
@pytest.mark.parametrize("width", [1280, 400])
def test_it_can_be_read(browser: Any, digits: Run, width: int) -> None:
    open_page(browser, digits.path / "report.html", width)
    check_looks(browser)
    browser.execute_script(OPEN)
    settle(browser)
    check_looks(browser)
    drawn = browser.execute_script("return document.querySelectorAll('.chart svg, .chart canvas').length")
    assert drawn >= 6  # loss, accuracy, ROC, calibration, the map, seconds, speed
    assert (errors(browser), requests(browser)) == ([], [])


def test_a_cell_opens_the_images_behind_it(browser: Any, digits: Run) -> None:
    open_page(browser, digits.path / "report.html")
    assert digits.confusion is not None
    for i, j in ((3, 3), np.argwhere(digits.confusion - np.diag(np.diag(digits.confusion)) > 0)[0]):
        cell = browser.find_element("css selector", f'#confusion [data-cell="{i},{j}"]')
        browser.execute_script("arguments[0].click()", cell)
        settle(browser)
        assert cell.get_attribute("aria-expanded") == "true"
        shown = browser.find_elements("css selector", "#confusion .gallery .thumb")
        assert len(shown) == min(12, digits.confusion[i, j])
        assert all("data:image/png" in image.value_of_css_property("background-image") for image in shown)
        captions = [item.text for item in browser.find_elements("css selector", "#confusion .gallery li")]
        told = f"{j} (p = 0." if i == j else f"{i}, taken for {j} (p = 0."
        assert all(caption.startswith(told) for caption in captions)
        check_looks(browser)
    assert errors(browser) == []


@pytest.mark.parametrize("width", [1280, 400])
def test_names_of_others_stay_text(browser: Any, tmp_path: Path, width: int) -> None:
    frame = pd.DataFrame({HOSTILE: np.arange(60.0), "kind": [HOSTILE, "</script>" * 9, "long" * 30] * 20})
    description = {
        "cortex": 1,
        "inputs": {"features": "auto"},
        "layers": [{"dense": 4}, {"dense": {"units": 3, "id": "y"}}],
        "loss": {"softmax_cross_entropy": {"of": "y", "target": "kind"}},
        "train": {"epochs": 1, "batch_size": 8, "test": 0.2},
    }
    run = train(description, data=frame, out=tmp_path, progress=False)
    data = open_data(run.network.description, frame, encoding=run.network.encoding)
    file = tmp_path / "report.html"
    file.write_text(page_of(replace(collect(run, data), name=HOSTILE)), encoding="utf-8")
    open_page(browser, file, width)
    browser.execute_script(OPEN)
    for cell in browser.find_elements("css selector", "#confusion [data-cell]"):
        browser.execute_script("arguments[0].click()", cell)
    settle(browser)
    assert browser.title == HOSTILE
    assert browser.find_elements("css selector", "img") == []
    check_looks(browser)
    assert (errors(browser), requests(browser)) == ([], [])


@pytest.mark.parametrize("width", [1280, 400])
def test_a_regression_can_be_read(browser: Any, tmp_path: Path, width: int) -> None:
    x = np.random.default_rng(0).normal(size=(40, 6))
    description = {
        "cortex": 1,
        "inputs": {"x": "auto"},
        "layers": [{"dense": 4}, {"dense": {"units": 2, "id": "y"}}],
        "loss": {"mse": {"of": "y", "target": "v"}},
        "train": {"epochs": 2, "batch_size": 8, "test": 0.25},
    }
    arrays = {"x": x, "v": 1e6 * x[:, :2]}
    run = train(description, data=arrays, out=tmp_path, progress=False)
    file = tmp_path / "report.html"
    file.write_text(page_of(collect(run, open_data(run.network.description, arrays))), encoding="utf-8")
    open_page(browser, file, width)
    browser.execute_script(OPEN)
    settle(browser)
    check_looks(browser)
    assert len(browser.find_elements("css selector", "#numbers canvas")) == 2
    assert errors(browser) == []
