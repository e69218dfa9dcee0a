"""Pages in headless Chromium, and what may be wrong with them."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

SMALLEST = 11  # pixels of text

# Visible text nodes, with the boxes of their lines as far as no part that scrolls or clips hides them.
TEXTS = """
const found = [];
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
for (let node = walker.nextNode(); node; node = walker.nextNode()) {
  const parent = node.parentElement;
  if (!node.data.trim() || parent.closest("script, style, noscript, title, desc, option")) continue;
  if (!parent.checkVisibility({opacityProperty: true, visibilityProperty: true})) continue;
  const range = document.createRange();
  range.selectNodeContents(node);
  for (const box of range.getClientRects()) {
    if (box.width > 0 && box.height > 0) found.push({node, parent, box});
  }
}
const words = (node) => node.data.trim().slice(0, 40);
"""

OVERLAPS = (
    TEXTS
    + """
found.sort((a, b) => a.box.top - b.box.top);
const wrong = [];
found.forEach((a, i) => {
  for (let j = i + 1; j < found.length && found[j].box.top < a.box.bottom - 2; j += 1) {
    const b = found[j];
    const across = Math.min(a.box.right, b.box.right) - Math.max(a.box.left, b.box.left);
    const down = Math.min(a.box.bottom, b.box.bottom) - Math.max(a.box.top, b.box.top);
    if (a.node !== b.node && across > 1 && down > 2) wrong.push(`${words(a.node)} | ${words(b.node)}`);
  }
});
return wrong;
"""
)

SMALL = (
    TEXTS
    + """
return [...new Set(found.flatMap(({node, parent}) => {
  const matrix = parent.getScreenCTM ? parent.getScreenCTM() : {a: 1, b: 0};
  const size = parseFloat(getComputedStyle(parent).fontSize) * Math.hypot(matrix.a, matrix.b);
  return size < arguments[0] - 0.01 ? [`${words(node)}: ${size.toFixed(1)} px`] : [];
}))];
"""
)

SIDEWAYS = (
    TEXTS
    + """
const width = document.documentElement.clientWidth;
const wrong = found.flatMap(({node, box}) =>
  box.right > width + 1 || box.left < -1 ? [`text out of the page: ${words(node)}`] : []);
for (const part of document.querySelectorAll("*")) {
  const scrolls = part === document.scrollingElement
    || ["auto", "scroll"].includes(getComputedStyle(part).overflowX);
  if (scrolls && part.scrollWidth > part.clientWidth + 1) {
    wrong.push(`${part.tagName}.${part.className}: ${part.scrollWidth} in ${part.clientWidth}`);
  }
}
return wrong;
"""
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium without a screen.  Where it is absent tests are skipped, unless CI_CHROMIUM=1 wants it."""
    program, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not (program and driver):
        assert os.environ.get("CI_CHROMIUM") != "1", "chromium and chromium-driver have to be installed"
        pytest.skip("chromium or its driver is not installed")
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = program
    for flag in ("headless=new", "no-sandbox", "disable-dev-shm-usage", "disable-gpu"):
        options.add_argument(f"--{flag}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    made = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    made.set_page_load_timeout(60)
    yield made
    made.quit()


def open_page(
    browser: Any, page: str | Path, width: int = 1280, height: int = 800, dark: bool = False
) -> None:
    """Opens a file or an address in a window whose inside has this size; forgets the logs of pages before."""
    size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    features = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    for log in ("browser", "performance"):
        browser.get_log(log)
    browser.get(page if "://" in str(page) else Path(page).resolve().as_uri())
    settle(browser)


def settle(browser: Any) -> None:
    """Waits until what was asked for is drawn."""
    browser.execute_async_script(
        "const done = arguments[0]; requestAnimationFrame(() => requestAnimationFrame(() => done()))"
    )


def overlaps(browser: Any) -> list[str]:
    """Pairs of texts of which one lies on the other."""
    return list(browser.execute_script(OVERLAPS))


def small_text(browser: Any) -> list[str]:
    """Texts that are too small to read."""
    return list(browser.execute_script(SMALL, SMALLEST))


def sideways(browser: Any) -> list[str]:
    """What has to be scrolled sideways, and text out of reach."""
    return list(browser.execute_script(SIDEWAYS))


def requests(browser: Any) -> list[str]:
    """Addresses that the page has asked for since it was opened, itself and data left out; read once."""
    asked = []
    for entry in browser.get_log("performance"):
        message = json.loads(entry["message"])["message"]
        if message["method"] == "Network.requestWillBeSent":
            sent = message["params"]
            if sent["requestId"] != sent.get("loaderId") and not sent["request"]["url"].startswith("data:"):
                asked.append(sent["request"]["url"])
    return asked


def errors(browser: Any) -> list[str]:
    """What the console complained about since the page was opened; read once."""
    return [entry["message"] for entry in browser.get_log("browser") if entry["level"] != "INFO"]


def check_looks(browser: Any) -> None:
    """Nothing overlaps, is too small or scrolls sideways in the page as it stands."""
    assert (overlaps(browser), small_text(browser), sideways(browser)) == ([], [], [])
