"""Pictures of descents show what was descended, and where the optimisers really were."""

from __future__ import annotations

import base64
import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

import cortex_core.descent
import cortex_viz.descent
from cortex_compute.errors import ArgumentError, ShapeError
from cortex_core.descent import FUNCTIONS, Log, limit_steps, named_function, study
from cortex_viz.descent import page, paths, scene
from cortex_viz.descent.surface import scale, surface, window
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


def test_a_function_of_ones_own_is_not_taken_for_the_one_of_its_name() -> None:
    def sphere(x: Any) -> Any:
        return ((x - 3) ** 2).sum()

    log = study(sphere, "lbfgs", [1.0, 1.0]).log
    with pytest.raises(ArgumentError, match="sphere is no test function: give what was descended, f="):
        scene(log)
    drawn = scene(log, sphere)
    x, y = drawn.surface.x, drawn.surface.y[:, None]
    np.testing.assert_allclose(drawn.surface.values, (x - 3) ** 2 + (y - 3) ** 2)
    assert drawn.lowest is None

    def branin(x: Any) -> Any:
        return (x * x).sum()

    with pytest.raises(ArgumentError, match="branin is no test function"):
        scene(study(branin, "sgd", [1.0, 1.0, 1.0], limit_steps(1)).log)


def test_every_test_function_is_known_by_its_values() -> None:
    for f in FUNCTIONS.values():
        n = f.dimensions or 3
        x0 = f.domain(n) @ [0.3, 0.7]
        assert scene(study(f, "adam", x0, limit_steps(20)).log).lowest == f.minimum(n)


def test_a_function_that_raises_outside_its_domain_has_a_gap_there() -> None:
    def f(x: Any) -> Any:
        return math.log(x[0]) + 1 / x[0] + (x[1] - 1) ** 2 + 0 / (x[1] + 9)

    log = study(f, "scipy:Nelder-Mead", [0.2, 2.0], limit_steps(60)).log
    drawn = scene(log, f)
    outside = drawn.surface.x <= 0
    assert outside.any()
    assert np.isnan(drawn.surface.values[:, outside]).all()
    assert np.isfinite(drawn.surface.values[:, ~outside]).all()
    assert "The function is not finite where no colour is." in drawn.notes


def test_what_is_no_function_of_the_log_is_an_error_not_a_gap() -> None:
    with pytest.raises(ShapeError, match="expected one number"):
        scene(log_of([[1, 2], [2, 1]]), lambda x: np.asarray(x) * 2)


def test_a_surface_of_many_dimensions_is_computed_in_pieces() -> None:
    sizes = []

    def f(points: np.ndarray) -> np.ndarray:
        sizes.append(points.size)
        return points[:, 0] + 10 * points[:, 1] + points[:, 2:].sum(axis=1)

    n = 30_000
    at = np.full(n, 0.5)
    shown = window([box(0, 0, 1, 1)], NOWHERE, box(0, 1, 0, 1), whole=True)
    made = surface(f, shown, (1, 0), at, None, (12, 10))
    assert sum(sizes) == 12 * 10 * n
    assert max(sizes) <= 2**20
    np.testing.assert_allclose(made.values, made.y[:, None] + 10 * made.x + 0.5 * (n - 2))


def test_a_scene_is_drawn_as_it_is(tmp_path: Path) -> None:
    calls = []

    def bowl(x: Any) -> Any:
        calls.append(x)
        return (x * x).sum()

    drawn = scene(study(bowl, "sgd", [3.0, 2.0], limit_steps(5)).log, bowl)
    calls.clear()
    paths(drawn, tmp_path / "p.svg")
    page(drawn)
    assert not calls
    for more in ({"f": bowl}, {"axes": (1, 0)}, {"whole": True}):
        with pytest.raises(ArgumentError, match=r"scene\(logs, ...\)"):
            page(drawn, **more)  # type: ignore[arg-type]


def test_the_example_of_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    example = (cortex_viz.descent.__doc__ or "").partition("\n\n")[2]
    exec(example, {**vars(cortex_core.descent), **vars(cortex_viz.descent), "Path": Path})
    with Image.open("rosenbrock.png") as picture:
        assert picture.size[0] > 1000
    assert "lbfgs" in Path("rosenbrock.html").read_text("utf-8")


# Curves


def shown_by(html: str) -> list[Any]:
    """The numbers of the curves in a page: values, then norms; each a list of what its paths show."""
    found = re.findall(r'data-kind="lines"><script type="application/json">(.*?)</script>', html)
    return [[series["y"] for series in json.loads(data)["series"]] for data in found]


@pytest.mark.parametrize(
    ("name", "start", "rate"), [("himmelblau", [-0.2708, -0.923], 0.1), ("goldstein_price", [0.005, -1], 0.5)]
)
def test_what_starts_low_and_climbs_is_in_the_curves(name: str, start: list[float], rate: float) -> None:
    f = FUNCTIONS[name]
    log = study(f, "adam", start, limit_steps(150), learning_rate=rate).log
    (heights,), (norms,) = shown_by(page(log))
    np.testing.assert_allclose(heights, np.maximum(log.values - f.minimum(2), 0), rtol=1e-6)
    np.testing.assert_allclose(norms, log.norms, rtol=1e-6)


def test_curves_leave_out_where_a_path_diverges_and_say_so() -> None:
    def saddle(x: Any, y: Any) -> Any:
        return x * x - y * y

    good = log_of([[1, 0], [0, 1]], "good", "saddle", saddle)
    bad = log_of([[0, 1], [0, 2], [1e9, 0], [1, 0]], "bad", "saddle", saddle)
    drawn = scene([good, bad], lambda x: saddle(*x))
    assert not drawn.heights.log  # values below 0
    (first, second), norms = shown_by(page(drawn))
    assert first == [1, -1]
    assert second == [-1, -4, None, 1]
    assert [[y and round(y, 6) for y in ys] for ys in norms] == [[3, 3], [3, 3, None, 3]]
    (note,) = (note for note in drawn.notes if "no curve" in note)
    assert note.startswith(
        "bad has values more than 1,000 times as large as those of the picture from step 2"
    )


def test_distance_is_that_to_the_nearest_minimum() -> None:
    (path,) = scene(log_of([[0, 0], [3.5, 2]], function="himmelblau")).paths  # (3, 2) is one of four
    assert path.distance == pytest.approx(0.5)


def test_notes_say_what_a_picture_leaves_out() -> None:
    good = log_of([[-1.2, 1], [1, 1]], "good")
    bad = log_of([[-1.2, 1], [2, -2], [900, 0], [1e60, 0], [np.inf, np.nan]], "bad")
    notes = " ".join(scene([good, bad]).notes)
    assert "bad leaves the picture at step 2." in notes
    assert "bad is not finite at step 4" in notes
    assert "bad has values more than 1,000 times as large as those of the picture from step 2 on" in notes
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


def test_a_start_at_the_end_of_the_world_is_drawn(tmp_path: Path) -> None:
    """Its values are beyond 1e300, and its steps small beside its place."""
    drawn = scene(study(ROSENBROCK, "adam", [1e75, 1.0], limit_steps(3)).log)
    assert np.all(np.diff(drawn.surface.x) > 0)
    assert paths(drawn, tmp_path / "p.png").stat().st_size > 10_000


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
    assert data["steps"] == list(range(31))
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
    assert path["steps"] == [*range(0, 5000, 4), 4999]
    assert "one state of 4, and the last one" in html
    assert path["cut"]
    assert len(path["x"][0]) == 2
    assert len(html) < 600_000


HOSTILE = "</script><img src=x onerror=alert(1)>"


def test_names_are_text() -> None:
    html = page({HOSTILE: log_of([[0, 0], [1, 1]], function=HOSTILE)}, ROSENBROCK)
    assert "<img" not in html
    assert html.count("</script>") == html.count("<script")
    assert "&lt;img" in html


def test_a_logarithmic_bar_counts_from_the_least_value() -> None:
    values = 0.398 + np.logspace(-1, 2, 900).reshape(30, 30)
    _, labels = scale(values, 0.398).labels(7)
    assert labels == ["0.1", "1", "10"] or labels == ["1", "10"]
