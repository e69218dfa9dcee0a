"""Kernels, activations, strongest examples, dead units."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cortex_compute.errors import DataError, SpecError
from cortex_core.network import network
from cortex_core.probe import activations as outputs_of
from cortex_core.training.source import Arrays
from cortex_viz.learned.activations import activations, first_maps
from cortex_viz.learned.dead import dead, dead_of, rectified
from cortex_viz.learned.drawing import as_pictures, sheet
from cortex_viz.learned.filters import filters, filters_of
from cortex_viz.learned.maximal import maximal, maximal_of
from tests.viz.learned.networks import CONVOLUTION, IMAGES, classifier, source

PNG = b"\x89PNG\r\n\x1a\n"


# Kernels.


def test_the_kernels_of_a_convolution() -> None:
    made = classifier()
    found = filters_of(made)
    assert (found.layer, found.kernels.shape, found.coloured) == ("maps", (3, 3, 3, 1), False)
    np.testing.assert_array_equal(found.kernels[2], made.parameters["maps/kernel"][..., 2])
    coloured = filters_of(classifier(shape=(6, 6, 3)))
    assert coloured.coloured
    assert coloured.kernels.shape == (3, 3, 3, 3)


def test_the_kernels_of_a_transposed_convolution_lie_the_other_way_round() -> None:
    """(height, width, out, in)"""
    up = {"conv_transpose2d": {"filters": 5, "kernel": [2, 3], "id": "up"}}
    made = classifier([up, "global_avg_pool2d", {"dense": {"units": 4, "id": "out"}}], (6, 6, 2))
    _, kernels, _ = filters_of(made, "up")
    assert kernels.shape == (5, 2, 3, 2)
    np.testing.assert_array_equal(kernels[3], made.parameters["up/kernel"][:, :, 3])


def test_the_units_of_a_dense_layer_over_pictures_are_kernels() -> None:
    layers = ["flatten", {"dropout": 0.5}, {"dense": {"units": 4, "id": "out"}}]
    made = classifier(layers)
    name, kernels, _ = filters_of(made)
    assert name == "out"
    np.testing.assert_array_equal(kernels[3, ..., 0], made.parameters["out/kernel"][:, 3].reshape(6, 6))
    behind = filters_of(classifier(), "hidden")  # the maps are pooled first
    assert behind.kernels.shape == (5, 2, 2, 3)
    assert not behind.coloured


def test_layers_without_kernels() -> None:
    with pytest.raises(
        SpecError, match=r"'pool' has no kernels that are pictures. Layers with such: maps, hidden"
    ):
        filters_of(classifier(), "pool")
    with pytest.raises(SpecError, match=r"'out' has no kernels that are pictures"):
        filters_of(classifier(), "out")  # it reads a vector
    with pytest.raises(SpecError, match="Did you mean 'hidden'"):
        filters_of(classifier(), "hiden")
    with pytest.raises(SpecError, match=r"no layer has kernels that are pictures"):
        filters_of(classifier([{"dense": {"units": 4, "id": "out"}}], [7]))


@pytest.mark.parametrize("channels", [1, 3, 5])
def test_kernels_are_drawn(tmp_path: Path, channels: int) -> None:
    path = filters(classifier(shape=(6, 6, channels)), tmp_path / "filters.png")
    assert path.read_bytes().startswith(PNG)


def test_rows_are_filters_and_columns_channels(tmp_path: Path) -> None:
    made = classifier(shape=(6, 6, 5))
    kernel = np.zeros((3, 3, 5, 3))
    kernel[:, :, 4, 1] = 1  # the second filter, the fifth channel: red
    kernel[0, 0, 2, 0] = -1  # the first filter, the third channel: blue, in its corner
    made.parameters["maps/kernel"] = kernel
    pixels = np.asarray(Image.open(filters(made, tmp_path / "f.png")).convert("RGB")).astype(int)
    sheet_only = pixels[:, : int(pixels.shape[1] * 0.89)]  # without the scale of colours
    red = np.argwhere((sheet_only[..., 0] > 80) & (sheet_only[..., 2] < 60))
    blue = np.argwhere((sheet_only[..., 2] > 80) & (sheet_only[..., 0] < 60))
    (top, left), (bottom, right) = red.min(axis=0), red.max(axis=0)
    size = bottom - top + 1
    assert abs(size - (right - left + 1)) <= 2  # one square
    assert len(red) > 0.9 * size**2
    # The blue ninth begins one picture higher, and two to the left; a picture and its gap are 16 : 15 wide.
    step = size * 16 / 15
    np.testing.assert_allclose(blue.min(axis=0), [top - step, left - 2 * step], atol=2)
    assert blue.max(axis=0)[0] - blue.min(axis=0)[0] < size / 2


def test_gaps_are_told(tmp_path: Path) -> None:
    made = classifier()
    kernel = made.parameters["maps/kernel"].copy()
    kernel[0, 0, 0, 0], kernel[1, 0, 0, 1] = np.nan, np.inf
    made.parameters["maps/kernel"] = kernel
    told = "2 of 27 numbers are not finite"
    assert told in filters(made, tmp_path / "f.svg").read_text()
    drawn = activations(made, {"x": IMAGES[:1]}, tmp_path / "a.svg").read_text()
    assert "32 of 48 numbers are not finite" in drawn  # of two of three maps
    strongest = maximal(made, source(), tmp_path / "m.svg", "maps", count=4).read_text()
    assert "8 of 12 numbers are not finite" in strongest
    with pytest.raises(DataError, match="'maps' gives numbers that are not finite"):
        dead_of(made, source(), "maps")


def test_kernels_of_zeros_and_of_sequences_are_drawn(tmp_path: Path) -> None:
    layers = [{"conv1d": {"filters": 2, "kernel": 3}}, "flatten", {"dense": {"units": 4, "id": "out"}}]
    made = classifier(layers, (9, 4))
    assert filters_of(made).kernels.shape == (2, 4, 3, 1)
    made.parameters["conv1d/kernel"] = np.zeros((3, 4, 2))
    assert filters(made, tmp_path / "f.svg").read_text().count("<svg") == 1


# Activations.


@pytest.mark.parametrize("layer", [None, "maps", "flatten", "out"])
def test_activations_are_drawn(tmp_path: Path, layer: str | None) -> None:
    path = activations(classifier(), {"x": IMAGES[:1]}, tmp_path / "a.png", layer, "example 0")
    assert path.read_bytes().startswith(PNG)


def test_activations_of_tokens(tmp_path: Path) -> None:
    layers = [
        {"embedding": {"tokens": 9, "units": 3, "id": "words"}},
        "global_avg_pool1d",
        {"dense": {"units": 4, "id": "out"}},
    ]
    made = classifier(layers, [5], dtype="int64")
    assert first_maps(made) == "words"
    activations(made, {"x": np.array([[1, 2, 3, 4, 5]])}, tmp_path / "a.png")
    assert first_maps(classifier()) == "maps"


def test_what_is_no_map_no_row_and_no_vector(tmp_path: Path) -> None:
    layers = [{"reshape": [2, 3, 3, 2]}, "flatten", {"dense": {"units": 4, "id": "out"}}]
    made = classifier(layers)
    with pytest.raises(SpecError, match=r"'reshape' gives \[2, 3, 3, 2\] for each example"):
        activations(made, {"x": IMAGES[:1]}, tmp_path / "a.png")


# The strongest examples.


def test_the_strongest_examples_of_each_channel() -> None:
    made = network({"name": "m", "inputs": {"x": [2, 2, 2]}, "layers": [{"linear": {"id": "same"}}]})
    images = np.zeros((300, 2, 2, 2), np.float32)
    images[7, 1, 0, 0], images[290, 0, 0, 0], images[5, 1, 1, 0] = 3, 2, 1
    images[299, 1, 1, 1], images[0, 0, 1, 1], images[:, 0, 0, 1] = 5, 4, -1
    found = maximal_of(made, Arrays({"x": images}), "same", count=3)
    assert found.rows.tolist() == [[7, 290, 5], [299, 0, 1]]
    assert found.values.tolist() == [[3, 2, 1], [5, 4, 0]]
    few = maximal_of(made, Arrays({"x": images[:2]}), "same", count=3, channels=1)
    assert few.rows.shape == (1, 2)


def test_the_strongest_of_all_examples_by_brute_force() -> None:
    made = classifier()
    images = np.random.default_rng(5).random((700, 6, 6, 1)).astype(np.float32)
    found = maximal_of(made, source(images), count=4)
    whole = outputs_of(made, images, ["maps"])["maps"].max(axis=(1, 2))
    np.testing.assert_allclose(found.values, -np.sort(-whole.T, axis=1)[:, :4], rtol=1e-6)
    assert maximal_of(classifier(["flatten", *CONVOLUTION[3:]]), source()).layer == "hidden"


def test_the_strongest_are_drawn(tmp_path: Path) -> None:
    for layer in (None, "out"):
        path = maximal(classifier(), source(), tmp_path / "m.png", layer, count=4)
        assert path.read_bytes().startswith(PNG)
    points = classifier([{"dense": {"units": 4, "id": "out"}}], [7])
    with pytest.raises(SpecError, match="needs a picture input"):
        maximal(points, source(np.zeros((3, 7), np.float32)), tmp_path / "m.png")


def test_a_row_shows_its_strongest_examples(tmp_path: Path) -> None:
    made = network({"name": "m", "inputs": {"x": [2, 2, 1]}, "layers": [{"linear": {"id": "same"}}]})
    greys = np.array([0.2, 0.8, 0.4, 0.6], np.float32)
    images = np.broadcast_to(greys[:, None, None, None], (4, 2, 2, 1))
    path = maximal(made, Arrays({"x": images}), tmp_path / "m.png", "same", count=3)
    pixels = np.asarray(Image.open(path).convert("L"))
    row = pixels[int(pixels.shape[0] * 0.6)]
    wide = [int(v) for v, run in groupby(row) if len(list(run)) > 20 and v < 255]
    np.testing.assert_allclose(wide, [0.8 * 255, 0.6 * 255, 0.4 * 255], atol=1)


def test_pictures_are_small_before_they_are_laid_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[tuple[int, ...]] = []

    def seen(images: Any, columns: int) -> Any:
        shown.append(images.shape)
        return sheet(images, columns)

    monkeypatch.setattr("cortex_viz.learned.maximal.sheet", seen)
    layers = [{"max_pool2d": {"size": 50, "id": "pool"}}, "flatten", {"dense": {"units": 4, "id": "out"}}]
    images = np.random.default_rng(0).random((5, 200, 100, 1)).astype(np.float32)
    maximal(classifier(layers, (200, 100, 1)), source(images), tmp_path / "m.png", "out", count=3)
    assert shown == [(12, 64, 32)]


# Dead units.


def test_units_with_a_bias_of_minus_100_are_dead(tmp_path: Path) -> None:
    made = classifier()
    for name, dying in {"maps": [1], "hidden": [0, 2, 3]}.items():
        bias = np.full(made.parameters[f"{name}/bias"].shape, 100.0)
        bias[dying] = -1000.0
        made.parameters[f"{name}/bias"] = bias
        made.parameters[f"{name}/kernel"] = np.zeros(made.parameters[f"{name}/kernel"].shape)
    found = dead_of(made, source())
    assert {id: units.nonzero()[0].tolist() for id, units in found.items()} == {
        "maps": [1],
        "hidden": [0, 2, 3],
    }
    assert dead(found, tmp_path / "dead.png").read_bytes().startswith(PNG)
    assert list(dead_of(made, source(), "hidden")) == ["hidden"]


def test_one_example_at_one_place_keeps_a_unit_alive() -> None:
    layers: list[Any] = [{"linear": {"id": "same"}}, {"relu6": {"id": "cut"}}]
    made = network({"name": "m", "inputs": {"x": [2, 2, 3]}, "layers": layers})
    images = np.full((600, 2, 2, 3), -1.0, np.float32)
    images[599, 1, 0, 2], images[0, 0, 0, 1] = 1e-6, 0.0
    assert {id: units.tolist() for id, units in dead_of(made, Arrays({"x": images})).items()} == {
        "cut": [True, True, False]
    }


def test_layers_that_are_rectified() -> None:
    assert rectified(classifier()) == ["maps", "hidden"]
    with pytest.raises(SpecError, match=r"'out' does not have relu or relu6. Layers with such: maps, hidden"):
        dead_of(classifier(), source(), "out")
    with pytest.raises(SpecError, match="no layer has relu"):
        dead_of(classifier([{"dense": {"units": 4, "id": "out"}}], [7]), source(np.zeros((3, 7), np.float32)))


# Drawing.


def test_a_sheet_of_images() -> None:
    images = np.arange(3 * 16 * 16.0).reshape(3, 16, 16)
    made = sheet(images, 2)
    assert made.shape == (33, 33)
    np.testing.assert_array_equal(made[:16, :16], images[0])
    np.testing.assert_array_equal(made[:16, 17:], images[1])
    np.testing.assert_array_equal(made[17:, :16], images[2])
    assert np.isnan(made[16]).all()
    assert np.isnan(made[:, 16]).all()
    assert np.isnan(made[17:, 17:]).all()
    assert sheet(np.zeros((2, 4, 4, 3)), 2).shape == (16, 33, 3)  # each pixel is four


def test_an_array_becomes_a_picture() -> None:
    grey = np.array([[[[0.2], [0.8]]]])
    np.testing.assert_allclose(as_pictures(grey), grey[..., 0])
    two = np.array([[[[-1.0], [3.0]]], [[[1.0], [np.nan]]]])  # scaled alike; what is not finite is dark
    np.testing.assert_allclose(as_pictures(two), [[[0, 1]], [[0.5, 0]]], atol=1 / 255)
    assert as_pictures(np.zeros((4, 2, 2, 3))).shape == (4, 2, 2, 3)
    assert as_pictures(np.zeros((4, 2, 2, 5))).shape == (4, 2, 2, 3)
    assert as_pictures(np.zeros((4, 2, 2, 2))).shape == (4, 2, 2)


def test_a_vector_has_units_and_maps_have_channels(tmp_path: Path) -> None:
    for layer, told in (("hidden", "hidden: 5 of 5 units"), ("maps", "maps: 3 of 3 channels")):
        assert told in maximal(classifier(), source(), tmp_path / "a.svg", layer, 2).read_text()
