"""What the charts of a page hold: every number, as JSON that no name can break out of."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cortex_compute.errors import DataError
from cortex_viz import charts
from cortex_viz.charts import Series
from cortex_viz.figure import COLOURS
from cortex_viz.page import STYLE, grid, page
from cortex_viz.sprite import Sprite

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>&amp;\u2028\u202e\x1b'\""
NAN, INFINITY = float("nan"), float("inf")


def held(chart: str) -> Any:
    """What a chart's script element holds, found as a browser finds it: up to the first end of a script."""
    found = re.search(r'<script type="application/json">(.*?)</script', chart, re.S)
    assert found
    return json.loads(found[1])


def decoded(sprite: Sprite) -> np.ndarray[Any, Any]:
    found = re.search(r"base64,([^)]+)\)", sprite.html())
    assert found
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(found[1]))))


# Lines


def test_lines_hold_every_number() -> None:
    y = [0.1 + 0.2, 1e-17, 3.0]
    made = held(charts.lines([Series("loss", [1, 2, 3], y)], "epoch", "loss", marks=[(2, "best")]))
    assert made["series"][0]["y"] == y
    assert made["series"][0]["x"] == [1, 2, 3]
    assert (made["x"], made["y"], made["marks"]) == ("epoch", "loss", [[2, "best"]])


def test_what_is_missing_is_a_gap() -> None:
    y = [1.0, NAN, None, INFINITY, -INFINITY, 1e301]
    chart = charts.lines([Series("loss", range(6), y)])
    assert held(chart)["series"][0]["y"] == [1.0, None, None, None, None, None]
    assert "loss: 4 of 6" in chart  # what was never measured is not told as an accident


def test_numbers_of_numpy_are_numbers() -> None:
    y = np.array([1, np.nan], np.float32)
    assert held(charts.lines([Series("loss", np.arange(2), y)]))["series"][0]["y"] == [1.0, None]


def test_a_chart_of_nothing_says_so() -> None:
    for nothing in (
        charts.lines([Series(HOSTILE, [1, 2], [NAN, None])], y="loss"),
        charts.lines([Series(HOSTILE, [], [])]),
        charts.lines([]),
        charts.scatter(np.full((3, 2), np.nan)),
        charts.scatter(np.zeros((0, 2))),
        charts.scatter([[1e301, 0]]),
        charts.matrix(np.zeros((2, 2)), [HOSTILE, "b"]),
        charts.gallery([]),
    ):
        assert "Nothing to draw" in nothing
        assert "<script" not in nothing
        assert "<img" not in nothing


def test_series_of_unlike_lengths_are_refused() -> None:
    with pytest.raises(DataError, match="loss has 2 x and 3 y"):
        charts.lines([Series("loss", [1, 2], [1.0, 2.0, 3.0])])


# Points, cells, pictures


def test_points_keep_their_order() -> None:
    made = held(charts.scatter([[1.25, -2], [np.nan, 3], [4, 5]], [0, 1, 1], ["a", "b"], captions="xyz"))
    assert made["points"] == [[1.25, -2], [None, 3], [4, 5]]
    assert (made["groups"], made["names"], made["captions"]) == ([0, 1, 1], ["a", "b"], ["x", "y", "z"])


@pytest.mark.parametrize(
    ("points", "more", "told"),
    [
        (np.zeros((3, 3)), {}, r"\(3, 3\)"),
        (np.zeros((3, 2)), {"groups": [1]}, "3 points and 1 groups"),
        (np.zeros((3, 2)), {"captions": ["a"]}, "3 points and 1 captions"),
    ],
)
def test_points_that_do_not_fit(points: Any, more: Any, told: str) -> None:
    with pytest.raises(DataError, match=told):
        charts.scatter(points, **more)


def test_cells() -> None:
    counts = np.array([[5, 1], [0, 7]])
    made = held(charts.matrix(counts, ["no", "yes"], pictures={(0, 1): [3]}, captions=["a", "b", "c", "d"]))
    assert made["cells"] == [[0, 0, 5], [0, 1, 1], [1, 1, 7]]
    assert made["totals"] == [6, 7]
    assert made["pictures"] == {"0,1": [3]}
    part = held(charts.matrix(counts / 2, ["no", "yes"], totals=np.array([9, 7])))
    assert (part["totals"], part["cells"][0]) == ([9, 7], [0, 0, 2.5])
    with pytest.raises(DataError, match=r"3 classes need counts \(3, 3\); these are \(2, 2\)"):
        charts.matrix(counts, ["a", "b", "c"])


def test_names_of_an_enemy_stay_text() -> None:
    sprite = Sprite(np.zeros((1, 2, 2)))
    for chart in (
        charts.lines([Series(HOSTILE, [1], [1.0])], HOSTILE, HOSTILE, marks=[(1, HOSTILE)]),
        charts.lines([Series(HOSTILE, [1, 2], [1.0, NAN])]),
        charts.scatter([[0, 0]], [0], [HOSTILE], sprite, [HOSTILE], HOSTILE, HOSTILE),
        charts.matrix([[1]], [HOSTILE], sprite, {(0, 0): [0]}, [HOSTILE]),
        charts.gallery([(0, HOSTILE), (None, HOSTILE)], sprite),
    ):
        assert "<img" not in chart
        assert chart.count("<script") == chart.count("</script") == chart.count('"application/json"')
        assert not re.search("[\x1b\u2028\u202e]", chart)
    assert "alert(1)" in held(chart := charts.matrix([[1]], [HOSTILE]))["names"][0]
    assert "<" not in re.sub("<[^<>]*>", "", chart)


# Sprites


@pytest.mark.parametrize("shape", [(7, 4, 6), (7, 4, 6, 1), (7, 6, 4, 3), (1, 3, 3), (50, 2, 9, 3)])
def test_a_sprite_holds_the_pictures(shape: tuple[int, ...]) -> None:
    images = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    sprite = Sprite(images)
    sheet = decoded(sprite)
    assert sheet.shape[:2] == (sprite.rows * shape[1], sprite.columns * shape[2])
    for i, image in enumerate(images):
        row, column = divmod(i, sprite.columns)
        found = sheet[row * shape[1] :, column * shape[2] :][: shape[1], : shape[2]]
        np.testing.assert_array_equal(found, image[..., 0] if image.shape[-1:] == (1,) else image)


def test_numbers_become_bytes() -> None:
    def shown(values: list[float]) -> list[int]:
        return decoded(Sprite(np.array(values).reshape(1, 1, -1)))[0].tolist()

    assert shown([0, 0.5, 1]) == [0, 128, 255]
    assert shown([0.25, 0.5]) == [64, 128]  # within 0..1: not stretched
    assert shown([-1, 0, 3]) == [0, 64, 255]
    assert shown([np.nan, 5, 10]) == [0, 0, 255]
    assert shown([7, 7]) == [0, 0]
    assert decoded(Sprite(np.array([[[True, False]]]))).tolist() == [[255, 0]]


def test_a_sprite_shrinks_by_the_mean() -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, 28, 56, 3), np.uint8)
    sprite = Sprite(images, size=14)
    assert (sprite.width, sprite.height) == (14, 7)
    expected = images.reshape(3, 7, 4, 14, 4, 3).mean((2, 4))
    np.testing.assert_allclose(decoded(sprite)[:7, :14].astype(float), expected[0], atol=0.51)
    assert Sprite(images, size=100).width == 56
    assert Sprite(np.full((1, 10, 3), 9, np.uint8), size=4).height == 4


def test_pictures_that_are_none() -> None:
    for shape in ((4, 4), (2, 4, 4, 2), (0, 4, 4), (2, 0, 4)):
        with pytest.raises(DataError, match="pictures are"):
            Sprite(np.zeros(shape))
    with pytest.raises(DataError, match="no picture 3: the sprite holds 2"):
        charts.gallery([(3, "")], Sprite(np.zeros((2, 4, 4))))


def test_a_sprite_is_named_by_what_it_shows() -> None:
    one, other = np.zeros((1, 2, 2)), np.ones((1, 2, 2))
    assert Sprite(one).name == Sprite(one).name != Sprite(other).name


# Pages


def test_only_the_scripts_of_a_page_may_run() -> None:
    made = page("a", [], scripts=[charts.SCRIPT, "let ü = 1;"], connect=True)
    found = re.search(r'Content-Security-Policy" content="([^"]+)"', made)
    assert found
    policy = dict(rule.strip().split(" ", 1) for rule in found[1].split(";"))
    assert policy["default-src"] == "'none'"
    assert policy["connect-src"] == "'self'"
    digests = [base64.b64encode(hashlib.sha256(s).digest()).decode() for s in _scripts(made)]
    assert policy["script-src"].split() == [f"'sha256-{digest}'" for digest in digests]
    assert len(digests) == 2
    assert "script-src" not in page("a", [])
    assert "connect-src" not in page("a", [], scripts=["1"])


def _scripts(made: str) -> list[bytes]:
    return [s.encode() for s in re.findall(r"<script>(.*?)</script", made, re.S)]


def test_the_cells_of_a_grid_know_their_column() -> None:
    made = grid("", ["name", '<bdi>share "of" all</bdi>'], [["a", "1"]])
    assert '<td data-label="share &quot;of&quot; all">1</td>' in made


def test_charts_have_the_colours_of_figures() -> None:
    found = re.findall(r"--c(\d): (#\w+);", STYLE)
    light, dark = dict(found[: len(COLOURS)]), dict(found[len(COLOURS) :])
    assert light == {str(i): colour.lower() for i, colour in enumerate(COLOURS)}
    assert dark.keys() < light.keys()
    assert f"const COLOURS = {len(COLOURS)};" in charts.SCRIPT
