"""Maps of a layer: what they lay out and show, in a picture and in a page."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cortex_compute.errors import ArgumentError, DataError, SpecError
from cortex_core.network import Network, network
from cortex_core.png import as_bytes
from cortex_core.probe import activations
from cortex_core.training.source import Arrays
from cortex_datasets.source import ArraySource
from cortex_viz import layer_map as module
from cortex_viz.embed import pca
from cortex_viz.layer_map import LayerMap, layer_map
from tests.viz.browser import errors, open_page, overlaps, requests, sideways, small_text

HOSTILE = ("<script>alert(1)</script>", "_$x$", "a" * 90 + " & \u2028", "日本")


def pictures() -> Network:
    hidden = {"dense": {"units": 9, "activation": "tanh", "id": "hidden"}}
    return network(
        {
            "name": "small",
            "inputs": {"image": [6, 6, 1]},
            "layers": ["flatten", hidden, {"dense": {"units": 4, "id": "kind"}}],
            "loss": {"softmax_cross_entropy": {"of": "kind", "target": "label"}},
        }
    )


def softmax_regression() -> Network:
    return network(
        {
            "name": "small",
            "inputs": {"features": [3]},
            "layers": [{"dense": {"units": 4, "id": "kind"}}],
            "loss": {"softmax_cross_entropy": {"of": "kind", "target": "label"}},
        }
    )


def kinds(count: int = 90, names: tuple[str, ...] = HOSTILE) -> ArraySource:
    """Pictures of four kinds: each has one bright row."""
    rng = np.random.default_rng(0)
    labels = np.arange(count) % 4
    images = rng.uniform(0, 0.4, (count, 6, 6, 1)).astype(np.float32)
    images[np.arange(count), labels] += 0.6
    return ArraySource({"image": images, "label": labels}, {"label": names})


@pytest.fixture(scope="module")
def made() -> LayerMap:
    return layer_map(pictures(), kinds(), perplexity=8)


def numbers(html: str) -> Any:
    """What the chart of a page holds."""
    (found,) = re.findall(r'<script type="application/json">(.*?)</script>', html, re.S)
    return json.loads(found)


def test_what_a_map_holds(made: LayerMap) -> None:
    assert (made.layer, made.width, made.points.shape) == ("hidden", 9, (90, 2))
    assert made.groups is not None
    assert made.groups.tolist() == (np.arange(90) % 4).tolist()
    assert made.names == HOSTILE
    assert made.trust > 0.9
    distance = ((made.points[:, None] - made.points) ** 2).sum(-1) + np.diag(np.full(90, np.inf))
    assert (made.groups[distance.argmin(axis=1)] == made.groups).mean() > 0.95  # neighbours are of a kind


def test_what_the_page_holds(made: LayerMap) -> None:
    html = made.html()
    assert "alert(1)<" not in html
    chart = numbers(html)
    np.testing.assert_allclose(chart["points"], made.points, rtol=1e-4)
    assert chart["groups"] == (np.arange(90) % 4).tolist()
    assert chart["captions"][7].endswith("example 7")
    assert chart["sprite"]["width"] == 6
    assert f"{made.trust:.4f}" in html


def test_the_picture_and_the_page_are_written(made: LayerMap, tmp_path: Path) -> None:
    picture, html = made.save(tmp_path / "map.html")
    assert [picture.name, html.name] == ["map.png", "map.html"]
    with Image.open(picture) as image:
        colours = {c for _, c in image.convert("RGB").getcolors(1 << 20) or []}
    assert len(colours) > 100  # of the points, half transparent


def test_components_of_an_input(tmp_path: Path) -> None:
    source = kinds()
    made = layer_map(pictures(), source, layer="image", method="pca", count=50)
    assert made.rows.tolist() == np.linspace(0, 89, 50).astype(int).tolist()
    images = np.empty((50, 6, 6, 1), np.float32)
    source.gather(made.rows, {"image": images})
    np.testing.assert_allclose(made.points, pca(images))
    centred = images.reshape(50, -1) - images.reshape(50, -1).mean(axis=0)
    shares = np.linalg.svd(centred.astype(np.float64))[1] ** 2 / (centred.astype(np.float64) ** 2).sum()
    np.testing.assert_allclose(made.explained, shares[:2], rtol=1e-4)
    assert numbers(made.html())["x"] == f"first component, {shares[0]:.1%} of the variance"
    made.save(tmp_path / "map.png")


def test_examples_without_pictures_or_classes(tmp_path: Path) -> None:
    plain = network(
        {
            "inputs": {"x": [3]},
            "layers": [
                {"dense": {"units": 5, "activation": "tanh", "id": "h"}},
                {"dense": {"units": 1, "id": "y"}},
            ],
            "loss": {"mse": {"of": "y", "target": "t"}},
        }
    )
    rng = np.random.default_rng(1)
    source = Arrays({"x": rng.normal(size=(30, 3)), "t": rng.normal(size=(30, 1))})
    made = layer_map(plain, source)
    assert made.groups is None
    assert made.pictures is None
    chart = numbers(made.html())
    assert chart["sprite"] is None
    assert re.fullmatch(r".*predicted .*example 3", chart["captions"][3])
    made.save(tmp_path / "map")


def test_a_layer_that_does_not_exist() -> None:
    with pytest.raises(SpecError, match=r"no layer 'hiden'\. Did you mean 'hidden'"):
        layer_map(pictures(), kinds(), layer="hiden")
    with pytest.raises(SpecError, match=r"small has no hidden layer.*the input 'features'"):
        layer_map(softmax_regression(), Arrays({"features": np.ones((9, 3)), "label": np.zeros(9, int)}))


def test_a_layer_that_is_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LARGEST", 9 * 4 * 50)
    with pytest.raises(DataError, match=r"'hidden' gives 9 numbers .* for 90; take 50 examples"):
        layer_map(pictures(), kinds())
    assert len(layer_map(pictures(), kinds(), count=50, method="pca").points) == 50


def test_a_layer_that_is_not_finite() -> None:
    broken = pictures()
    broken.parameters["hidden/bias"] = np.full(9, np.nan, np.float32)
    with pytest.raises(DataError, match="features of 90 of 90 examples are not finite"):
        layer_map(broken, kinds())


def test_too_few_examples() -> None:
    with pytest.raises(DataError, match="3 examples are too few"):
        layer_map(pictures(), kinds(3))
    with pytest.raises(
        ArgumentError, match="perplexity is 30: expected 1 to 13, a third of the others of 40"
    ):
        layer_map(pictures(), kinds(40), perplexity=30)


@pytest.mark.parametrize(
    ("choice", "told"),
    [
        ({"method": "umap"}, "method is 'umap': expected 'tsne' or 'pca'"),
        ({"count": 0}, "count is 0: at least 4 examples"),
        ({"count": -3}, "count is -3: at least 4 examples"),
        ({"seed": -1}, "seed is -1: expected 0 to 4294967295"),
        ({"perplexity": 30.0}, "perplexity is 30: expected 1 to 29.6667"),
    ],
)
def test_mistakes_are_told_before_the_work(
    choice: dict[str, Any], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "activations", None)
    with pytest.raises(ArgumentError, match=told):
        layer_map(pictures(), kinds(), **choice)


def test_one_pass_over_the_examples(monkeypatch: pytest.MonkeyPatch) -> None:
    passes: list[list[str]] = []

    def counted(network: Any, source: Any, layers: list[str], **options: Any) -> Any:
        passes.append(layers)
        return activations(network, source, layers, **options)

    monkeypatch.setattr(module, "activations", counted)
    monkeypatch.setattr("cortex_viz.report.outcome.activations", None)
    assert layer_map(pictures(), kinds(), method="pca").groups is not None
    assert passes == [["hidden", "kind"]]


def test_large_pictures_are_shrunk_before_they_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PIXELS", 90 * 5 * 5)
    made = layer_map(pictures(), kinds(), method="pca")
    assert made.pictures is not None
    assert made.pictures.shape == (90, 6, 6, 1)  # never below 8
    large = network({"inputs": {"x": [40, 20, 3]}, "layers": ["flatten", {"dense": {"units": 2}}]})
    images = np.random.default_rng(0).random((90, 40, 20, 3)).astype(np.float32)
    found = layer_map(large, Arrays({"x": images}), "x", "pca").pictures
    assert found is not None
    expected = images.reshape(90, 8, 5, 4, 5, 3).mean(axis=(2, 4))
    np.testing.assert_allclose(as_bytes(found), 255 * expected, atol=1)


def test_examples_without_answers_are_laid_out() -> None:
    images = np.random.default_rng(0).random((20, 6, 6, 1)).astype(np.float32)
    made = layer_map(pictures(), Arrays({"image": images}), method="pca")
    assert made.groups is None
    assert made.captions[3] == "example 3"


def named(points: Any, groups: Any, names: tuple[str, ...]) -> dict[str, tuple[float, float]]:
    """Where the names of classes stand in a picture."""
    from matplotlib.figure import Figure

    axes = Figure().subplots()
    axes.scatter(*points.T)
    module._name(axes, points, groups, names)
    return {text.get_text(): text.get_position() for text in axes.texts}


def test_names_stand_where_their_class_does() -> None:
    rng = np.random.default_rng(2)
    angles = rng.uniform(0, 2 * np.pi, 200)
    ring = np.stack([np.cos(angles), np.sin(angles)], axis=1) * 10  # its median is amid the core
    core, few = rng.normal(0, 1, (100, 2)), rng.normal(9, 0.1, (5, 2))
    found = named(
        np.concatenate([ring, core, few]), np.repeat([0, 1, 2], [200, 100, 5]), ("ring", "core", "few")
    )
    assert list(found) == ["ring", "core"]
    assert np.hypot(*found["ring"]) == pytest.approx(10)
    assert np.hypot(*found["core"]) < 1
    # Two heaps, and a single point between them.
    heaps = np.concatenate([rng.normal(-9, 0.5, (30, 2)), [[0.0, 0.0]], rng.normal(9, 0.5, (30, 2))])
    assert named(heaps, np.zeros(61, int), ("two",)) == {}
    # A class amid twice as many points of another one.
    lost = np.concatenate([ring[:50], ring[:50] + 0.01, ring[:50] - 0.01])
    assert list(named(lost, np.repeat([0, 1], [50, 100]), ("lost", "most"))) == ["most"]


def test_dots_in_a_name_stay(made: LayerMap, tmp_path: Path) -> None:
    files = made.save(tmp_path / "lr=0.05")
    assert [file.name for file in files] == ["lr=0.05.png", "lr=0.05.html"]
    assert all(file.is_file() for file in files)


@pytest.mark.parametrize("width", [1280, 400])
def test_the_page_in_a_browser(browser: Any, made: LayerMap, tmp_path: Path, width: int) -> None:
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    _, html = made.save(tmp_path / "map")
    open_page(browser, html, width)
    assert [overlaps(browser), small_text(browser), sideways(browser)] == [[], [], []]
    canvas = browser.find_element(By.CSS_SELECTOR, ".chart canvas")
    canvas.send_keys(Keys.ARROW_RIGHT)
    tip = browser.find_element(By.CSS_SELECTOR, ".chart .tip")
    assert re.search(r"example \d+", tip.text)
    assert tip.find_elements(By.CSS_SELECTOR, "[class*=sprite-]")
    assert [requests(browser), errors(browser)] == [[], []]


@pytest.mark.parametrize("width", [1280, 400])
def test_the_axes_of_components_in_a_browser(browser: Any, tmp_path: Path, width: int) -> None:
    _, html = layer_map(pictures(), kinds(), method="pca").save(tmp_path / "map")
    open_page(browser, html, width)
    assert [overlaps(browser), small_text(browser), sideways(browser)] == [[], [], []]
    assert browser.page_source.count("of the variance") >= 2
