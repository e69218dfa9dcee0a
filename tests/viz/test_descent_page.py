"""The page of descents in a browser: its looks, and that the slider moves the markers to their places."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cortex_core.descent import FUNCTIONS, limit_steps, study
from cortex_viz.descent import page
from tests.viz.browser import check_looks, errors, open_page, requests, settle
from tests.viz.descents import log_of, rosenbrock

HOSTILE = "</script><img src=x onerror=alert(1)>"
START, MIDDLE, END = [-1.2, 1.0], [0.5, -0.5], [1.0, 1.0]


@pytest.fixture(scope="module")
def a_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("descent") / "page.html"
    logs = {
        "short": log_of([START, MIDDLE, END]),
        "long": log_of(np.linspace(START, [-1, -1], 11)),
        "wild": log_of([START, [1e100, 0], [np.inf, np.nan]]),
        HOSTILE: study(FUNCTIONS["rosenbrock"], "scipy:Nelder-Mead", START, limit_steps(9)).log,
    }
    file.write_text(page(logs), "utf-8")
    return file


@pytest.mark.slow
@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [1280, 400])
def test_the_page_looks_right(browser: Any, a_page: Path, width: int, dark: bool) -> None:
    open_page(browser, a_page, width, dark=dark)
    assert browser.execute_script("return document.querySelectorAll('.chart svg .marker').length") == 4
    check_looks(browser)
    assert requests(browser) == []
    assert errors(browser) == []


def pixels(browser: Any) -> dict[str, list[float]]:
    """The middle of each marker on the screen, by name."""
    found = browser.execute_script(
        "return [...document.querySelectorAll('.marker')].map((m) => { const b = m.getBoundingClientRect();"
        "return [m.dataset.name, b.x + b.width / 2, b.y + b.height / 2, m.dataset.step]; })"
    )
    return {name: [x, y, int(step)] for name, x, y, step in found}


def ruler(browser: Any) -> Callable[[list[float]], np.ndarray]:
    """Where a point must lie on the screen, by the numbers that are written on the axes."""
    ticks = browser.execute_script(
        "return [...document.querySelectorAll('[data-kind=contour] .tick')].map((t) => {"
        "const [b, top] = [t.getBoundingClientRect(), t.ownerSVGElement.getBoundingClientRect().y];"
        "return [t.textContent, t.getAttribute('text-anchor'), b.x + b.width / 2,"
        "top + Number(t.getAttribute('y')) - 4]; })"
    )
    value = [float(t[0].replace("−", "-")) for t in ticks]
    across = [(v, t[2]) for v, t in zip(value, ticks) if t[1] == "middle"]
    up = [(v, t[3]) for v, t in zip(value, ticks) if t[1] == "end"]
    fits = [np.polyfit([v for v, _ in pairs], [at for _, at in pairs], 1) for pairs in (across, up)]
    return lambda point: np.array([np.polyval(fit, v) for fit, v in zip(fits, point)])


def slide(browser: Any, step: int) -> None:
    browser.execute_script(
        "const s = document.querySelector('input[type=range]'); s.value = arguments[0];"
        "s.dispatchEvent(new Event('input'))",
        step,
    )


@pytest.mark.parametrize("width", [1280, 400])
def test_the_slider_moves_the_markers_to_their_places(browser: Any, a_page: Path, width: int) -> None:
    open_page(browser, a_page, width)
    at = ruler(browser)
    for step, short, k in ((0, START, 0), (1, MIDDLE, 1), (2, END, 2), (10, END, 2)):
        slide(browser, step)
        found = pixels(browser)
        assert np.abs(found["short"][:2] - at(short)).max() < 1
        assert found["short"][2] == k
        there = np.linspace(START, [-1, -1], 11)[step]
        assert np.abs(found["long"][:2] - at(list(there))).max() < 1
        assert found["long"][2] == step
        assert browser.find_element("css selector", "output").text == f"step {step} of 10"
    states = browser.find_element("css selector", ".states").text
    assert "ended at step 2: f 0, gradient 3, x (1, 1)" in states
    assert HOSTILE in states
    assert browser.execute_script("return document.querySelectorAll('.states img').length") == 0


def test_the_keys_of_the_slider_step(browser: Any, a_page: Path) -> None:
    from selenium.webdriver.common.keys import Keys

    open_page(browser, a_page)
    slider = browser.find_element("css selector", "input[type=range]")
    assert pixels(browser)["long"][2] == 10  # a page opens at the end
    slider.send_keys(Keys.HOME)
    slider.send_keys(Keys.ARROW_RIGHT, Keys.ARROW_RIGHT, Keys.ARROW_RIGHT)
    assert pixels(browser)["long"][2] == 3
    assert pixels(browser)["short"][2] == 2


@pytest.mark.slow
def test_the_slider_of_a_long_log_stands_at_states_alone(browser: Any, tmp_path: Path) -> None:
    """A step between two states that the page holds would be told with the numbers of another."""
    logs = {"long": log_of(np.linspace(START, [-1, -1], 9001)), "short": log_of([START] * 1004)}
    file = tmp_path / "page.html"
    file.write_text(page(logs), "utf-8")
    open_page(browser, file)
    said = browser.find_element("css selector", "output")
    for place, step in ((0, 0), (1, 6), (205, 1230), (1499, 8994), (1500, 9000)):
        slide(browser, place)
        assert said.text == f"step {step:,} of 9,000"
        assert pixels(browser)["long"][2] == step
        assert pixels(browser)["short"][2] == min(step, 1003)
    assert "ended at step 1,003" in browser.find_element("css selector", ".states").text


@pytest.mark.slow
def test_play_runs_to_the_end(browser: Any, a_page: Path) -> None:
    from selenium.webdriver.support.ui import WebDriverWait

    open_page(browser, a_page)
    button = browser.find_element("css selector", ".steps button")
    button.click()
    assert button.text == "Pause"
    assert pixels(browser)["long"][2] < 10
    WebDriverWait(browser, 30).until(lambda b: pixels(b)["long"][2] == 10)
    WebDriverWait(browser, 30).until(lambda b: button.text == "Play")


def test_the_pointer_shows_the_state_below_it(browser: Any, a_page: Path) -> None:
    open_page(browser, a_page)
    x, y = ruler(browser)(MIDDLE)
    place = {"type": "mouseMoved", "x": x + 3, "y": y + 2}
    browser.execute_cdp_cmd("Input.dispatchMouseEvent", place)
    settle(browser)
    tip = browser.find_element("css selector", "[data-kind=contour] .tip")
    assert tip.is_displayed()
    value = 100 * 0.75**2 + 0.5**2
    assert tip.text.splitlines() == ["short, step 1", f"f {value}, gradient 3, x (0.5, −0.5)"]


def test_the_surface_is_drawn_with_its_lines(browser: Any, a_page: Path) -> None:
    open_page(browser, a_page)
    seen, empty = browser.execute_script(
        "const c = document.querySelector('[data-kind=contour] canvas');"
        "const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;"
        "const seen = new Set(); let empty = 0;"
        "for (let i = 0; i < d.length; i += 4) { seen.add(d[i] * 65536 + d[i + 1] * 256 + d[i + 2]);"
        "if (!d[i + 3]) empty += 1; } return [seen.size, empty];"
    )
    assert 8 <= seen <= 40
    assert empty == 0


def test_the_surface_lies_as_its_axes_say(browser: Any, a_page: Path) -> None:
    open_page(browser, a_page, dark=False)
    at = ruler(browser)
    points = [[1.2, 1.44], [1.2, 0.5], [1.2, -0.8], [-0.5, 0.25], [-1.9, 0.0], [1.4, -1.9]]
    bright = [
        browser.execute_script(
            "const c = document.querySelector('[data-kind=contour] canvas');"
            "const b = c.getBoundingClientRect();"
            "return c.getContext('2d').getImageData(arguments[0] - b.x, arguments[1] - b.y, 1, 1).data[0];",
            *at(point).tolist(),
        )
        for point in points
    ]
    values = [rosenbrock(x, y) for x, y in points]
    order = np.argsort(values)
    assert np.all(np.diff(np.array(bright)[order]) <= 0)
    assert bright[order[0]] - bright[order[-1]] > 30
