"""Pictures of descents show what was descended, and where the optimisers really were."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from cortex_compute.errors import ArgumentError
from cortex_core.descent import FUNCTIONS, Log, limit_steps, named_function, study
from cortex_viz.descent import page, paths, scene
from cortex_viz.descent.surface import scale, window
from tests.viz.descents import log_of, rosenbrock

ROSENBROCK = FUNCTIONS["rosenbrock"]


@pytest.fixture
def own_functions(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Functions that a test adds are gone after it."""
    before = dict(FUNCTIONS)
    yield
    FUNCTIONS.clear()
    FUNCTIONS.update(before)


def data_of(html: str) -> Any:
    """What the contour of a page is drawn from."""
    found = re.search(r'data-kind="contour"><script type="application/json">(.*?)</script>', html)
    assert found
    return json.loads(found[1])


def words(path: Path) -> str:
    """The texts of an SVG."""
    return " ".join(
        e.text.strip() for e in ElementTree.parse(path).iter() if e.tag.endswith("text") and e.text
    )


# The window


def box(*corners: float) -> np.ndarray:
    return np.array(corners).reshape(2, 2)


DOMAIN = box(-10, 10, -10, 10)
NOWHERE = np.empty((0, 2))


def test_the_domain_holds_paths_that_need_it() -> None:
    shown = window([box(-9, -9, 8, 8)], NOWHERE, DOMAIN, whole=False)
    assert (shown.low.tolist(), shown.high.tolist(), shown.part) == ([-10, -10], [10, 10], False)


def test_small_paths_get_a_small_window_with_the_minimum_close_to_them() -> None:
    shown = window([box(1, 1, 2, 2)], np.array([[3.0, 2.0]]), DOMAIN, whole=False)
    assert shown.part
    assert shown.holds(np.array([[1, 1], [2, 2], [3, 2]])).all()
    assert np.all(shown.high - shown.low < 5)
    assert (
        not window([box(1, 1, 2, 2)], np.array([[-9.0, -9.0]]), DOMAIN, False)
        .holds(np.array([[-9, -9]]))
        .any()
    )


def test_the_whole_domain_when_asked_for() -> None:
    assert window([box(1, 1, 2, 2)], NOWHERE, DOMAIN, whole=True).low.tolist() == [-10, -10]


def test_the_domain_grows_for_a_path_that_leaves_it() -> None:
    shown = window([box(0, 0, 25, 0)], NOWHERE, DOMAIN, whole=False)
    assert 25 < shown.high[0] <= 30
    assert shown.low.tolist() == [-10, -10]
    assert shown.high[1] == 10


def test_a_path_that_diverges_does_not_decide() -> None:
    far = np.array([[-9, -9], [9, 9], [1e3, 0], [1e200, 0], [np.inf, 0], [np.nan, 0]])
    shown = window([far], NOWHERE, DOMAIN, whole=False)
    assert shown.high.tolist() == [10, 10]
    pulled = shown.pulled(far[:4])
    assert np.array_equal(pulled[:2], far[:2])
    assert np.abs(pulled).max() < 1e4
    assert np.all(pulled[2:, 0] > 100)


def test_without_a_domain_there_is_room_around_start_and_end() -> None:
    shown = window([box(0, 0, 4, 4)], np.array([[4.0, 4.0]]), None, whole=False)
    assert np.all(shown.low <= -1)
    assert np.all(shown.high >= 5)
    assert not shown.part


def test_a_start_that_never_moved_has_a_window() -> None:
    still = np.array([[2.0, 3.0]])
    for domain in (None, DOMAIN):
        shown = window([still], still, domain, whole=False)
        assert np.all(shown.high > shown.low)
        assert shown.holds(still).all()


# The scale of values


def test_a_bowl_is_drawn_as_it_is() -> None:
    x = np.linspace(-5, 5, 101)
    made = scale(x**2 + x[:, None] ** 2, 0.0)
    assert not made.log
    assert np.allclose(np.diff(made.lines), 5.0)
    assert made.lines[0] == 0


def test_what_ranges_far_is_drawn_by_its_logarithm() -> None:
    x = np.linspace(-2, 2, 101)
    made = scale(rosenbrock(x, x[:, None]), 0.0)
    assert made.log
    assert made.low == 0
    assert np.allclose(made.height(np.array([10.0, 1000.0])), [1, 3])
    assert made.lines.min() > -3
    assert made.lines.max() < np.log10(3609)


def test_far_from_the_least_value_lines_stand_where_the_values_are() -> None:
    made = scale(np.linspace(19.5, 22.5, 100).reshape(10, 10), 0.0)
    assert not made.log
    assert len(made.lines) >= 5
    assert made.lines.min() >= 19.5


def test_logarithms_count_from_the_least_value_alone() -> None:
    assert scale(np.geomspace(4.0, 300.0, 100).reshape(10, 10), 4.0).log
    assert not scale(np.geomspace(4.0, 300.0, 100).reshape(10, 10), 0.0).log


def test_a_plain_has_no_lines() -> None:
    x = np.linspace(-100, 100, 200)
    made = scale(np.asarray(FUNCTIONS["easom"](np.stack(np.meshgrid(x, x), axis=-1))), -1.0)
    assert made.lines.max() < -0.02


@pytest.mark.parametrize(
    "values", [np.full((3, 3), 7.0), np.full((3, 3), 1e20), np.full((3, 3), np.nan), np.array([[0, np.inf]])]
)
def test_values_without_a_range(values: np.ndarray) -> None:
    lines = scale(values, None).lines
    assert len(lines) >= 2
    assert np.all(np.diff(lines) > 0)


# What is in a scene


def test_the_surface_is_the_function_where_it_stands() -> None:
    under = scene(log_of([[-1.2, 1], [1, 1]]), whole=True).surface
    assert under.values.shape == (len(under.y), len(under.x))
    np.testing.assert_allclose(under.values, rosenbrock(under.x, under.y[:, None]), rtol=1e-12)


def test_in_three_dimensions_the_surface_is_a_plane_through_the_minimum() -> None:
    drawn = scene(log_of([[0.2, 0.3, 0.4]]), axes=(2, 0))
    x, y, z = drawn.surface.y[:, None], 1.0, drawn.surface.x  # x3 across, x1 up
    expected = 100 * (y - x * x) ** 2 + (1 - x) ** 2 + 100 * (z - y * y) ** 2 + (1 - y) ** 2
    np.testing.assert_allclose(drawn.surface.values, expected, rtol=1e-12)
    assert drawn.labels == ("x3", "x1")
    assert drawn.paths[0].track.tolist() == [[0.4, 0.2]]
    assert any("x3 and x1 of 3 coordinates" in note and "known minimum" in note for note in drawn.notes)


def test_a_function_of_ones_own_is_called_point_by_point() -> None:
    def bowl(x: Any) -> Any:
        return (x[0, 0] - 1) ** 2 + 3 * x[0, 1] ** 2

    drawn = scene(study(bowl, "sgd", [[3.0, 2.0]], limit_steps(5)).log, bowl)
    x, y = drawn.surface.x, drawn.surface.y[:, None]
    np.testing.assert_allclose(drawn.surface.values, (x - 1) ** 2 + 3 * y**2, rtol=1e-12)
    assert drawn.lowest is None
    assert not len(drawn.minima)


def test_a_function_of_arrays() -> None:
    drawn = scene(log_of([[1, 2], [2, 1]], function="f"), lambda x: float(np.sum(np.asarray(x) ** 2)))
    x, y = drawn.surface.x, drawn.surface.y[:, None]
    np.testing.assert_allclose(drawn.surface.values, x**2 + y**2, rtol=1e-12)


def test_distance_is_that_to_the_nearest_minimum() -> None:
    (path,) = scene(log_of([[0, 0], [3.5, 2]], function="himmelblau")).paths  # (3, 2) is one of four
    assert path.distance == pytest.approx(0.5)


def test_notes_say_what_a_picture_leaves_out() -> None:
    good = log_of([[-1.2, 1], [1, 1]], "good")
    bad = log_of([[-1.2, 1], [2, -2], [900, 0], [1e60, 0], [np.inf, np.nan]], "bad")
    notes = " ".join(scene([good, bad]).notes)
    assert "bad leaves the picture at step 2." in notes
    assert "bad is not finite at step 4" in notes
    assert "bad climbs to more than 1,000 times its first value" in notes
    assert "good" not in notes


def test_mistakes_are_told() -> None:
    plain = log_of([[0, 0]])
    with pytest.raises(ArgumentError, match="give at least one"):
        scene([])
    with pytest.raises(ArgumentError, match="holds no state"):
        scene(Log("adam", "rosenbrock"))
    with pytest.raises(ArgumentError, match=r"different functions .*by hand: rosenbrock of 2"):
        scene([plain, log_of([[0, 0]], function="booth")])
    with pytest.raises(ArgumentError, match="mine is no test function: give what was descended, f="):
        scene(log_of([[0, 0]], function="mine"))
    with pytest.raises(ArgumentError, match="x has one"):
        scene(log_of([[0.0]], function="sphere"))
    for axes in ((0, 2), (1, 1), (-1, 0)):
        with pytest.raises(ArgumentError, match="two different coordinates of 2"):
            scene(plain, axes=axes)


# Files


def test_the_picture(tmp_path: Path) -> None:
    logs = [log_of([[-1.2, 1], [0, 0], [1, 1]], name) for name in ("adam", "lbfgs")]
    assert paths(logs, tmp_path / "p.png") == tmp_path / "p.png"
    with Image.open(tmp_path / "p.png") as picture:
        assert picture.size[0] > 1000
        pixels = np.asarray(picture.convert("RGB"))
    # The first path lies below the second, but for its line in the legend.
    for colour, least in (((0x00, 0x72, 0xB2), 20), ((0xD5, 0x5E, 0x00), 500)):
        assert np.all(pixels == colour, axis=-1).sum() > least


def test_the_words_of_the_picture(tmp_path: Path) -> None:
    logs = {"a < $b$": log_of([[-1.2, 1], [1, 1]]), "wild": log_of([[-1.2, 1], [1e9, 0]])}
    shown = words(paths(logs, tmp_path / "p.svg"))
    for word in ("rosenbrock", "a < $b$", "wild", "minimum", "value", "gradient norm", "step", "x1", "x2"):
        assert word in shown
    assert "wild leaves the picture at step 1." in shown


def test_a_page_holds_the_log(tmp_path: Path) -> None:
    log = study(ROSENBROCK, "adam", [-1.2, 1.0], limit_steps(30), learning_rate=0.1).log
    data = data_of(page(log))
    (path,) = data["paths"]
    assert path["steps"] == list(range(31))
    assert data["last"] == 30
    for key, values in (("x", log.xs), ("at", log.xs), ("value", log.values), ("norm", log.norms)):
        np.testing.assert_allclose(np.array(path[key]), values, rtol=1e-6)


def test_a_page_holds_the_surface() -> None:
    drawn = scene(log_of([[-1.2, 1], [1, 1]]))
    grid = data_of(page(log_of([[-1.2, 1], [1, 1]])))["grid"]
    heights = np.frombuffer(base64.b64decode(grid["heights"]), "<u2").reshape(grid["height"], grid["width"])
    lines = drawn.surface.scale.lines
    tall = lines[0] + (heights - grid["first"]) / grid["spacing"] * (lines[1] - lines[0])
    expected = np.log10(rosenbrock(drawn.surface.x, drawn.surface.y[:, None]))
    seen = expected > lines[0]
    np.testing.assert_allclose(tall[seen], expected[seen], atol=1e-4)


def test_a_gap_where_the_function_is_not_finite(own_functions: None) -> None:
    @named_function((-2.0, 2.0), (-2.0, 2.0), minima=[[0.0, 0.0]])
    def walled(x: Any) -> Any:
        """x1² + x2² / 0 where x2 > 1."""
        from cortex_core.ops.pointwise import log

        return x[..., 0] ** 2 + x[..., 1] ** 2 + 0 * log(1 - x[..., 1])

    made = log_of([[-1.5, -1.5], [1.5, 0.5]], function="walled", f=lambda x, y: x * x + y * y)
    drawn = scene(made)
    above = drawn.surface.y > 1
    assert np.isnan(drawn.surface.values[above]).all()
    assert np.isfinite(drawn.surface.values[~above]).all()
    assert any("not finite where no colour is" in note for note in drawn.notes)
    grid = data_of(page(made))["grid"]
    heights = np.frombuffer(base64.b64decode(grid["heights"]), "<u2").reshape(grid["height"], grid["width"])
    assert (heights[above] == 65535).all()
    assert (heights[~above] < 65535).all()


def test_long_logs_are_thinned_and_many_coordinates_cut() -> None:
    points = np.linspace([-1.0] * 6, [1.0] * 6, 5000)
    html = page(log_of(points))
    (path,) = data_of(html)["paths"]
    assert len(path["steps"]) == 1500
    assert path["steps"][0] == 0
    assert path["steps"][-1] == 4999
    assert path["cut"]
    assert len(path["x"][0]) == 2
    assert len(html) < 600_000


HOSTILE = "</script><img src=x onerror=alert(1)>"


def test_names_are_text() -> None:
    html = page({HOSTILE: log_of([[0, 0], [1, 1]], function=HOSTILE)}, ROSENBROCK)
    assert "<img" not in html
    assert html.count("</script>") == html.count("<script")
    assert "&lt;img" in html
