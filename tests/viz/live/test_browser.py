"""The page of a training in Chromium: it loads, moves, shows, stops, and says when it is alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cortex_core.training.callbacks import Callback
from cortex_core.training.checkpoint import header
from cortex_core.training.source import Arrays
from cortex_core.training.train import train
from cortex_core.training.trainer import Interrupted
from cortex_viz.live.board import Board, Wishes
from cortex_viz.live.page import live_page
from cortex_viz.live.server import Server
from tests.core.training.networks import states
from tests.viz.browser import check_looks, errors, open_page, requests, settle
from tests.viz.live.test_training import Gated, Training

LOSS = "#curves .chart g[data-name] path.series"


def digits(count: int, seed: int) -> dict[str, np.ndarray]:
    """Small pictures of three kinds: a bright spot in one of three places, beside noise."""
    generator = np.random.default_rng(seed)
    label = generator.integers(0, 3, count)
    image = 0.6 * generator.random((count, 6, 6, 1), np.float32)
    for i, kind in enumerate(label):
        image[i, 1:3, 2 * kind : 2 * kind + 2] += 0.3
    return {"image": image, "label": label}


def pictures() -> dict[str, Any]:
    return {
        "name": "spots",
        "inputs": {"image": [6, 6, 1]},
        "layers": [
            "flatten",
            {"dense": {"units": 8, "activation": "relu"}},
            {"dense": {"units": 3, "id": "out"}},
        ],
        "loss": {"softmax_cross_entropy": {"of": "out", "target": "label"}},
        "train": {"batch_size": 10, "epochs": 3, "optimizer": {"adam": {"learning_rate": 0.02}}},
    }


def training(out: Path, **options: Any) -> Training:
    held_out = Arrays(digits(40, 2))
    held_out.streams["label"].classes = ("<img src=x onerror=alert(1)>", "</script>", "&amp;")
    options = {"spec": pictures(), "data": Gated(digits(50, 1)), "validation": held_out, **options}
    return Training(out, **options)


def until(browser: Any, found: Callable[[Any], Any]) -> Any:
    """What ``found`` gives, once it is more than nothing."""
    from selenium.common.exceptions import StaleElementReferenceException
    from selenium.webdriver.support.wait import WebDriverWait

    wait = WebDriverWait(browser, 60, 0.02, ignored_exceptions=[StaleElementReferenceException])
    return wait.until(found)


def said(browser: Any, *words: str) -> str:
    """What the bar says, once it says all of this."""

    def found(browser: Any) -> Any:
        text = browser.execute_script("return document.querySelector('.live p').textContent")
        return text if all(word in text for word in words) else None

    text: str = until(browser, found)
    return text


def answered(browser: Any) -> str:
    """What the server said to a button."""

    def found(browser: Any) -> Any:
        text = browser.execute_script("return document.querySelector('.live output').textContent")
        return None if "…" in text else text

    text: str = until(browser, found)
    return text


def points(browser: Any, least: int = 0) -> int:
    """How many points the first curve has, once it has more than ``least``."""

    def found(browser: Any) -> int:
        path = browser.execute_script(f"return document.querySelector('{LOSS}')?.getAttribute('d') ?? ''")
        count = path.count("M") + path.count("L")
        return count if count > least else 0

    return int(until(browser, found))


def click(browser: Any, selector: str) -> None:
    from selenium.webdriver.common.by import By

    until(browser, lambda browser: browser.find_elements(By.CSS_SELECTOR, selector))[0].click()


def cell_with_pictures(browser: Any) -> str:
    """Opens the first cell of the matrix; returns which it is."""
    click(browser, "#confusion .cell")
    return str(browser.execute_script("return document.querySelector('[aria-expanded=true]').dataset.cell"))


def thumbs(browser: Any) -> int:
    return int(browser.execute_script("return document.querySelectorAll('#confusion .opened .thumb').length"))


def from_the_top(browser: Any) -> None:
    """Looks at the page where the bar lies on nothing."""
    browser.execute_script("scrollTo(0, 0)")
    settle(browser)
    check_looks(browser)


@pytest.mark.slow
@pytest.mark.parametrize("width", [1280, 400])
def test_the_page_moves_and_shows(browser: Any, tmp_path: Path, width: int) -> None:
    with training(tmp_path / "run") as running:
        open_page(browser, running.live.address, width)
        said(browser, "epoch 1 of 3", "validation_loss")
        first = points(browser)
        assert first == 1
        cell = cell_with_pictures(browser)
        assert thumbs(browser) > 0
        from_the_top(browser)
        assert isinstance(running.source, Gated)
        running.source.open(2)
        assert points(browser, first) == 2
        again = "return document.querySelector('[aria-expanded=true]')?.dataset.cell ?? ''"
        assert browser.execute_script(again) in (cell, "")  # it stays open, unless it is empty now
        running.source.open(3)
        said(browser, "finished after 3 epochs; the run is in")
        assert points(browser, 2) == 3
        assert browser.execute_script(
            "return [...document.querySelectorAll('.live button')].every(b => b.disabled)"
        )
        from_the_top(browser)
        assert errors(browser) == []
        assert {url.partition("?")[0] for url in requests(browser)} == {address_of(browser) + "events"}


def address_of(browser: Any) -> str:
    return str(browser.execute_script("return location.href"))


def test_a_cell_stays_open_and_a_reload_shows_the_same(browser: Any, tmp_path: Path) -> None:
    with training(
        tmp_path / "run",
        spec={**pictures(), "train": {**pictures()["train"], "optimizer": {"sgd": {"learning_rate": 1e-9}}}},
    ) as running:
        open_page(browser, running.live.address)
        said(browser, "epoch 1 of 3", "validation_loss")
        cell = cell_with_pictures(browser)
        count = thumbs(browser)
        assert isinstance(running.source, Gated)
        running.source.open(2)
        assert points(browser, 1) == 2
        assert (
            browser.execute_script("return document.querySelector('[aria-expanded=true]').dataset.cell")
            == cell
        )
        assert thumbs(browser) == count
        browser.refresh()
        assert points(browser, 1) == 2
        assert "epoch 2 of 3" in said(browser)


def test_stop_stops_and_the_run_goes_on_with_the_same_bits(browser: Any, tmp_path: Path) -> None:
    options: dict[str, Any] = {"validation": digits(40, 2), "progress": False, "report": False}
    unbroken = train(pictures(), digits(50, 1), out=tmp_path / "a", **options)
    with training(tmp_path / "b") as running:
        open_page(browser, running.live.address)
        said(browser, "epoch 1 of 3", "validation_loss")
        click(browser, "[data-wish=stop]")
        assert answered(browser) == "stopping"
        assert isinstance(running.source, Gated)
        running.source.open(2)
        assert said(browser, "stopped in epoch 2 of 3, after step 6", f"--resume {tmp_path / 'b'}")
        running.end()
    assert isinstance(running.error, Interrupted)
    again = train(resume=tmp_path / "b", data=digits(50, 1), **options)
    assert states(again.network) == states(unbroken.network)


def test_checkpoint_now_writes(browser: Any, tmp_path: Path) -> None:
    found: list[Any] = []

    class Looked(Callback):
        kept = False

        def step(self, trainer: Any) -> None:
            if trainer.step == 6:
                found.append(header(tmp_path / "run" / "last.cortex").run)

    with training(tmp_path / "run", callbacks=[Looked()]) as running:
        open_page(browser, running.live.address)
        said(browser, "epoch 1 of 3", "validation_loss")
        click(browser, "[data-wish=checkpoint]")
        until(browser, lambda browser: running.live.wishes.pending)
        assert isinstance(running.source, Gated)
        running.source.open(2)
        assert answered(browser) == f"Written after step 6: {tmp_path / 'run' / 'last.cortex'}"
        running.end()
        said(browser, "finished after 3 epochs")
        assert browser.execute_script("return document.querySelector('.live output').textContent") == ""
    assert [(run["epoch"], run["batch"]) for run in found] == [(1, 1)]


def test_a_lost_connection_is_told(browser: Any, tmp_path: Path) -> None:
    with training(tmp_path / "run") as running:
        open_page(browser, running.live.address)
        said(browser, "epoch 1 of 3", "validation_loss")
        assert running.live.server is not None
        running.live.server.finish()  # as if the process had died: without a last word
        text = said(browser, "The connection to the training is lost")
        assert "epoch 1 of 3" in text
        assert browser.execute_script(
            "return [...document.querySelectorAll('.live button')].every(b => b.disabled)"
        )


def test_a_page_that_comes_last_shows_the_end(browser: Any) -> None:
    board = Board()
    board.put({"title": "last", "order": ["a"], "section a": "<h2>A</h2>"})
    board.put({"bar": {"text": "finished", "share": 1.0, "over": True}})
    server = Server("127.0.0.1", 0, "secret", board, Wishes(), live_page)
    server.start()
    open_page(browser, server.address)
    server.finish()
    assert said(browser) == "finished"
    assert browser.execute_script(
        "return [...document.querySelectorAll('.live button')].every(b => b.disabled)"
    )
    assert browser.execute_script("return document.querySelector('#a').textContent") == "A"
    assert errors(browser) == []
    assert requests(browser) == []


def test_several_pages_see_the_same(browser: Any, tmp_path: Path) -> None:
    with training(tmp_path / "run") as running:
        open_page(browser, running.live.address)
        said(browser, "epoch 1 of 3", "validation_loss")
        first = browser.current_window_handle
        browser.switch_to.new_window("tab")
        open_page(browser, running.live.address)
        assert points(browser) == 1
        assert isinstance(running.source, Gated)
        running.source.open(2)
        assert points(browser, 1) == 2
        browser.close()
        browser.switch_to.window(first)
        assert points(browser, 1) == 2
