"""What a browser makes of the charts: numbers at their places, pictures behind points and cells."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cortex_viz import charts
from cortex_viz.charts import Series
from cortex_viz.page import grid, page
from cortex_viz.sprite import Sprite
from tests.viz.browser import check_looks, errors, open_page, overlaps, requests, settle, sideways, small_text

HOSTILE = "<img src=x onerror=alert(1)>"
Show = Callable[..., None]


@pytest.fixture
def show(browser: Any, tmp_path: Path) -> Show:
    """Opens a page of these parts."""

    def open_it(*body: str, width: int = 1280, dark: bool = False, scripts: Sequence[str] = ()) -> None:
        made = page("A page", body, scripts=[charts.SCRIPT, *scripts])
        (tmp_path / "page.html").write_text(made, "utf-8")
        open_page(browser, tmp_path / "page.html", width, dark=dark)

    return open_it


def paths(browser: Any) -> list[list[tuple[str, float, float]]]:
    """The lines of the page: how each point is reached (M, L), and where it lies."""
    drawn = browser.execute_script(
        "return [...document.querySelectorAll('path.series')].map(p => p.getAttribute('d'))"
    )
    found = [re.findall(r"([ML])([\d.-]+) ([\d.-]+)", path) for path in drawn]
    return [[(kind, float(x), float(y)) for kind, x, y in line] for line in found]


def labels(browser: Any) -> list[tuple[str, float, float]]:
    """The words of the first drawing, with the x and y of each."""
    return [
        (words.replace("−", "-").replace(",", ""), float(x), float(y))
        for words, x, y in browser.execute_script(
            "return [...document.querySelector('.chart > svg').querySelectorAll('text')]"
            ".map(t => [t.textContent, t.getAttribute('x'), t.getAttribute('y')])"
        )
    ]


def tip(browser: Any) -> str:
    return str(
        browser.execute_script(
            "const t = document.querySelector('.tip:not([hidden])'); return t ? t.innerText : ''"
        )
    )


def press(browser: Any, selector: str, *keys: str) -> None:
    browser.find_element("css selector", selector).send_keys(*keys)


def hover(browser: Any, selector: str, x: float, y: float) -> None:
    """Moves the pointer to (x, y) from the upper left corner of an element."""
    browser.execute_script("document.querySelector(arguments[0]).scrollIntoView({block: 'center'})", selector)
    left, top = browser.execute_script(
        "const r = document.querySelector(arguments[0]).getBoundingClientRect(); return [r.left, r.top]",
        selector,
    )
    event = {"type": "mouseMoved", "x": left + x, "y": top + y}
    browser.execute_cdp_cmd("Input.dispatchMouseEvent", event)


def colours(browser: Any, selector: str) -> list[tuple[int, ...]]:
    """The pixel in the middle of each such element, as it is on the screen."""
    from selenium.webdriver.common.by import By

    found = []
    for element in browser.find_elements(By.CSS_SELECTOR, selector):
        shot = Image.open(io.BytesIO(base64.b64decode(element.screenshot_as_base64))).convert("RGB")
        found.append(tuple(int(c) for c in np.asarray(shot)[shot.height // 2, shot.width // 2]))
    return found


def straight(places: Iterable[float], values: Iterable[float]) -> float:
    """How far (in pixels) places are from a straight line through the values that belong there."""
    at, v = np.array(list(places)), np.array(list(values))
    return float(np.abs(np.polyval(np.polyfit(v, at, 1), v) - at).max())


# Lines


@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize("width", [1280, 400])
def test_points_of_a_line_stand_where_the_ticks_say(browser: Any, show: Show, width: int, log: bool) -> None:
    x, y = [1, 2, 5, 9, 20], [3.0, 700.0, 12.5, 90.0, 1.5]
    show(charts.lines([Series("loss", x, y)], "epoch", "loss", log=log), width=width)
    (line,) = paths(browser)
    assert "".join(kind for kind, _, _ in line) == "MLLLL"
    words = labels(browser)
    assert "loss" in [w for w, _, _ in words]
    numbers = [(float(w), at, down) for w, at, down in words if re.fullmatch(r"[\d.e-]+", w)]
    bottom = max(down for _, _, down in numbers)
    below = [(value, at) for value, at, down in numbers if down == bottom]
    beside = [(value, down - 4) for value, _, down in numbers if down != bottom]
    assert len(below) >= 3
    assert len(beside) >= 2
    bend = np.log10 if log else np.asarray
    assert straight([p for _, p, _ in line] + [at for _, at in below], x + [v for v, _ in below]) < 0.02
    assert straight([p for _, _, p in line] + [d for _, d in beside], bend(y + [v for v, _ in beside])) < 0.02


def test_a_gap_breaks_the_line(browser: Any, show: Show) -> None:
    y = [1.0, 2.0, float("nan"), 3.0, None, 4.0, 5.0, 6.0]
    show(charts.lines([Series("loss", range(8), y)]))
    (line,) = paths(browser)
    assert "".join(kind for kind, _, _ in line) == "MLMMLL"
    assert (
        browser.execute_script("return document.querySelectorAll('.chart circle').length") == 1
    )  # the lone 3
    assert "Not finite, drawn as gaps: loss: 1 of 8" in browser.page_source


@pytest.mark.parametrize(
    "y",
    [
        [0.0, 0.0],
        [5.0, 5.0],
        [-1e299, 1e299],
        [1e9, 1e9 + 1e-6],
        [1e-320, 2e-320],
        [1e-299, 1e299],
        [-3.0, 1e6],
    ],
)
@pytest.mark.parametrize("log", [False, True])
def test_ranges_of_any_kind_have_axes(browser: Any, show: Show, y: list[float], log: bool) -> None:
    show(charts.lines([Series("loss", [1, 1], y)], log=log))
    assert errors(browser) == []
    assert "NaN" not in browser.execute_script("return document.querySelector('.chart > svg').outerHTML")
    check_looks(browser)
    assert len(paths(browser)[0]) == (1 if log and y[0] < 0 < y[1] else 2)


def test_the_pointer_and_the_arrow_keys_show_values(browser: Any, show: Show) -> None:
    chart = charts.lines(
        [Series("train", [1, 2, 3], [0.5, 0.25, 0.125]), Series(HOSTILE, [2], [12345.678])], "epoch"
    )
    show(chart)
    assert tip(browser) == ""
    (_, x, y) = paths(browser)[-2][1]  # the legend draws lines, too
    hover(browser, ".chart > svg", x + 3, y)
    assert tip(browser).split("\n") == ["epoch 2", "train", "0.25", HOSTILE, "12,346"]
    press(browser, ".chart > svg", "\ue014")  # to the right
    assert tip(browser).split("\n") == ["epoch 3", "train", "0.125"]
    press(browser, ".chart > svg", "\ue011")  # home
    assert tip(browser).split("\n")[0] == "epoch 1"
    press(browser, ".chart > svg", "\ue00c")  # escape
    assert tip(browser) == ""


def test_the_scale_can_be_switched(browser: Any, show: Show) -> None:
    show(charts.lines([Series("loss", [1, 2, 3], [1, 10, 100])], y="loss"))

    def rises() -> list[float]:
        down = [y for _, _, y in paths(browser)[0]]
        return [down[0] - down[1], down[1] - down[2]]

    assert rises()[1] == pytest.approx(10 * rises()[0], rel=0.01)
    browser.find_element("css selector", ".switch").click()
    assert rises()[1] == pytest.approx(rises()[0], rel=0.01)
    assert browser.switch_to.active_element.get_attribute("aria-pressed") == "true"


def test_a_chart_follows_its_width(browser: Any, show: Show) -> None:
    show(charts.lines([Series("loss", [1, 2], [1.0, 2.0])]))
    size = {"width": 500, "height": 800, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    settle(browser)
    width = browser.execute_script("return document.querySelector('.chart > svg').clientWidth")
    assert width == 500 - 48
    assert paths(browser)[0][1][1] < width


def test_a_part_that_is_put_in_later_is_drawn(browser: Any, show: Show) -> None:
    show('<section id="s"></section>')
    chart = charts.lines([Series("loss", [1, 2], [1.0, 2.0])])
    browser.execute_script(
        "const s = document.getElementById('s'); s.innerHTML = arguments[0]; cortex.draw(s)", chart
    )
    assert len(paths(browser)[0]) == 2


def test_a_kind_of_another_script(browser: Any, show: Show) -> None:
    script = "cortex.kinds.own = (chart, data, width) => chart.append(`${data.a} at ${width}`);"
    show(charts.chart("own", {"a": HOSTILE}), charts.chart("nobodys", {}), scripts=[script])
    assert browser.find_element("css selector", ".chart").text == f"{HOSTILE} at 1152"
    assert errors(browser) == []


# Points

SIX = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 0], [0, 255, 255], [255, 0, 255]], np.uint8)


def six() -> Sprite:
    """Six pictures, each of one colour."""
    return Sprite(np.broadcast_to(SIX[:, None, None], (6, 9, 7, 3)))


@pytest.mark.parametrize("width", [1280, 400])
def test_a_point_shows_its_picture_and_its_words(browser: Any, show: Show, width: int) -> None:
    places = np.array([[0, 0], [4, 0], [8, 0], [0, 4], [4, 4], [8, 4]], float)
    words = [f"example {i} {HOSTILE}" for i in range(6)]
    sprite = six()
    show(
        sprite.html(),
        charts.scatter(places, [0, 0, 0, 1, 1, 1], ["cat", HOSTILE], sprite, words),
        width=width,
    )
    wide, high = browser.execute_script(
        "const c = document.querySelector('canvas'); return [c.clientWidth, c.clientHeight]"
    )
    assert wide == min(1200, width) - 48
    # Distances are alike in both directions, and the widest just fits: 4 % of room on either side.
    unit = (wide - 16) / 8 / 1.08
    for i, (x, y) in enumerate(places):
        place = wide / 2 + (x - 4) * unit, (high + 4) / 2 - (y - 2) * unit
        hover(browser, "canvas", place[0] + 3, place[1] - 3)
        assert tip(browser).split("\n") == [words[i], "cat" if i < 3 else HOSTILE]
        assert colours(browser, ".tip .thumb") == [tuple(SIX[i])]
    hover(browser, "canvas", wide / 2 - 2 * unit, high / 2 + 2)
    assert tip(browser) == ""
    assert errors(browser) == []


def test_arrow_keys_go_from_point_to_point(browser: Any, show: Show) -> None:
    show(charts.scatter([[0, 0], [9, 1], [1, 9], [4, 5]], captions=["left", "right", "top", "middle"]))
    seen = []
    for key in ("\ue014", "\ue014", "\ue012", "\ue013", "\ue00c"):  # right, right, left, up, escape
        press(browser, "canvas", key)
        seen.append(tip(browser))
    assert seen == ["middle", "right", "middle", "top", ""]


def test_groups_can_be_left_out(browser: Any, show: Show) -> None:
    show(charts.scatter([[0, 0], [1, 1]], [0, 1], ["a", "b"]))
    inked = (
        "const c = document.querySelector('canvas');"
        "const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;"
        "return d.filter((v, i) => i % 4 == 3 && v).length"
    )
    before = browser.execute_script(inked)
    browser.find_element("css selector", ".legend button").click()
    assert 0 < browser.execute_script(inked) < 0.7 * before
    press(browser, "canvas", "\ue014")
    assert tip(browser) == "b"


# Cells


@pytest.mark.parametrize("width", [1280, 400])
def test_a_cell_opens_its_pictures(browser: Any, show: Show, width: int) -> None:
    sprite = six()
    words = [f"picture {i}" for i in range(6)]
    chart = charts.matrix(
        [[5, 2], [0, 4]], ["cat", HOSTILE], sprite, {(0, 1): [4, 2], (0, 0): [0, 1, 3]}, words
    )
    show(sprite.html(), chart, width=width)
    cells = browser.find_elements("css selector", ".cell")
    assert [cell.text for cell in cells] == ["5", "2", "4"]
    right, wrong, below = (cell.rect for cell in cells)  # rows are true classes, columns predicted ones
    assert (wrong["y"], wrong["x"]) == (right["y"], right["x"] + right["width"])
    assert (below["y"], below["x"]) == (right["y"] + right["height"], wrong["x"])
    cells[1].click()
    assert colours(browser, ".opened .thumb") == [tuple(SIX[4]), tuple(SIX[2])]
    panel = browser.find_element("css selector", ".opened")
    assert panel.text.split("\n") == [f"true cat, predicted {HOSTILE}: 2", "picture 4", "picture 2"]
    check_looks(browser)
    press(browser, ".cell[data-cell='0,1']", "\ue012", "\ue007")  # to the left, enter
    assert len(browser.find_elements("css selector", ".opened .thumb")) == 3
    press(browser, ".cell[data-cell='0,0']", "\ue007")
    assert panel.text == ""
    cells[2].click()
    assert "none of them is kept in this page" in panel.text
    assert browser.execute_script("return document.querySelectorAll('img').length") == 0
    assert errors(browser) == []


def test_pictures_without_a_script(browser: Any, tmp_path: Path) -> None:
    sprite = six()
    (tmp_path / "p.html").write_text(
        page("p", [sprite.html(), charts.gallery([(5, "a"), (None, "b"), (1, "c")], sprite)])
    )
    open_page(browser, tmp_path / "p.html")
    assert colours(browser, ".gallery .thumb") == [tuple(SIX[5]), tuple(SIX[1])]
    assert browser.find_element("css selector", ".gallery").text.split() == ["a", "b", "c"]


# Pages


def everything() -> list[str]:
    """All kinds of charts, with long names, many classes and much to read."""
    random = np.random.default_rng(0)
    epochs = list(range(1, 31))
    long = [f"a class with a long name, {i}" for i in range(23)]
    hundred = [f"class {i}" for i in range(100)]
    counts = 60 * np.eye(100, dtype=int) + (random.random((100, 100)) < 0.05)
    loss = [2.3 * 0.8**e for e in epochs]
    marks = [(20, "best epoch"), (21, "the learning rate fell"), (21.5, "and again"), (30, "stopped early")]
    sprite = Sprite(random.random((40, 28, 28)))
    items = [(i, f"{i}: true {long[i % 23]}") for i in range(40)]
    groups = random.integers(0, 23, 500)
    return [
        sprite.html(),
        charts.lines([Series(name, epochs, loss) for name in long[:12]], "epoch", "loss", True, marks),
        charts.lines(
            [Series("small", [e * 1e6 for e in epochs], [1e-9 * y for y in loss])], "step", "x" * 80
        ),
        charts.lines([Series("wide ticks", [2e5, 9e5], [1e5, 9e5])], "step", "count"),
        charts.lines([Series("one", [1], [0.5])], "epoch", "accuracy"),
        charts.scatter(random.normal(size=(500, 2)), groups, [*long[:22], HOSTILE], sprite),
        charts.scatter(random.normal(size=(500, 2)) * [1e7, 1e-7], x="predicted price", y="true price"),
        charts.matrix(counts, hundred),
        charts.matrix(counts[:23, :23], ["w" * 120, *long[1:]], sprite),
        charts.matrix(1000 * counts[:10, :10], [str(i) for i in range(10)]),
        charts.gallery(items, sprite),
        grid("wide", [f"column {i}" for i in range(9)], [["x" * 50, *["0.123456"] * 8]] * 2, range(1, 9)),
        grid("a word", ["a", "b"], [["w" * 200, "1"]], right=(1,)),
    ]


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (400, True), (768, False)])
def test_a_page_can_be_read(browser: Any, show: Show, width: int, dark: bool) -> None:
    show(*everything(), width=width, dark=dark)
    assert browser.execute_script("return document.querySelectorAll('.chart').length") == 9
    assert browser.execute_script(
        "const charts = [...document.querySelectorAll('.chart')];"
        "return charts.every(c => c.children.length > 1 && c.clientHeight > 40)"
    )
    browser.execute_script("document.querySelectorAll('.cell[data-cell=\"0,0\"]')[1].click()")
    assert "w" * 79 in browser.find_elements("css selector", ".opened")[1].text
    check_looks(browser)
    assert errors(browser) == []
    assert requests(browser) == []
    cards = browser.execute_script(
        "return [...document.querySelectorAll('.wide')].map(t => t.classList.contains('cards'))"
    )
    assert cards[0] == (width < 1280)


def test_names_of_rows_are_not_broken_where_other_cells_can_give_way(browser: Any, show: Show) -> None:
    told = "what layers keep for the gradient, and what passes between them"
    show(grid("", ["", "size", "of what"], [["parameters", "43.5 kB", told]], right=[1]), width=400)
    lines = """const range = document.createRange();
        range.selectNodeContents(document.querySelector("tbody th"));
        return range.getClientRects().length"""
    assert browser.execute_script(lines) == 1
    check_looks(browser)


def test_pictures_stand_in_columns_whatever_their_captions(browser: Any, show: Show) -> None:
    sprite = six()
    items = list(enumerate(["6", "8, taken for 1 (p = 0.91)"] * 3))
    show(sprite.html(), charts.gallery(items, sprite), width=400)
    left = """return [...document.querySelectorAll(".gallery li")].map(
        (item) => item.getBoundingClientRect().left)"""
    places = browser.execute_script(left)
    assert places[:3] == places[3:]
    assert len(set(places)) == 3


def test_numbers_of_cells_have_room_beside_them(browser: Any, show: Show) -> None:
    room = """return [...document.querySelectorAll(".cell")].flatMap((cell) => {
        const range = document.createRange();
        range.selectNodeContents(cell);
        const [words, box] = [range.getBoundingClientRect(), cell.getBoundingClientRect()];
        return cell.textContent ? [(box.width - words.width) / 2] : [];
    })"""
    found = []
    for k in range(4, 16):
        show(charts.matrix(999 * np.eye(k, dtype=int), [str(i) for i in range(k)]), width=400)
        found += browser.execute_script(room)
    assert found
    assert min(found) > 2.5


def test_a_script_that_is_not_the_pages_does_not_run(browser: Any, show: Show) -> None:
    show("<script>document.title = 'broken'</script>", '<img src="data:," onerror="document.title = 1">')
    assert browser.title == "A page"
    assert len([e for e in errors(browser) if "Content Security Policy" in e]) == 2


def test_the_checks_can_fail(browser: Any, show: Show) -> None:
    show(
        '<p style="position:relative;top:1.2em">one</p><p style="margin:0">two</p>',
        '<p style="font-size:10px">tiny</p>',
        '<svg viewBox="0 0 100 10" width="50"><text y="10">half</text></svg>',
        '<div class="wide"><div style="width: 2000px">wide</div></div>',
        '<img src="http://127.0.0.1:9/x.png">',
    )
    assert overlaps(browser) == ["one | two"] or overlaps(browser) == ["two | one"]
    assert small_text(browser) == ["tiny: 10.0 px", "half: 5.5 px"]
    assert sideways(browser) == ["DIV.wide laid cards: 2000 in 1152"]
    assert errors(browser) != []
