"""Saliency and Grad-CAM, by worked examples and against PyTorch."""

from __future__ import annotations

from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cortex_compute.errors import DataError, SpecError
from cortex_viz.learned.gradcam import gradcam, gradcam_of, last_maps
from cortex_viz.learned.saliency import saliency, saliency_of
from tests.viz.learned.networks import CONVOLUTION, IMAGES, classifier


def test_saliency_of_a_linear_network_is_its_kernel() -> None:
    made = classifier(["flatten", {"dense": {"units": 4, "id": "out"}}], (2, 3, 2))
    x = np.ones((2, 2, 3, 2), np.float32)
    found = saliency_of(made, {"x": x}, [1, 3])
    kernel = made.parameters["out/kernel"].reshape(2, 3, 2, 4)
    np.testing.assert_array_equal(found[0], np.abs(kernel[..., 1]).max(axis=2))
    np.testing.assert_array_equal(found[1], np.abs(kernel[..., 3]).max(axis=2))


def test_by_default_the_class_is_the_predicted_one() -> None:
    made = classifier()
    predicted = made.predict(IMAGES).argmax(axis=1)
    for of in (saliency_of, gradcam_of):
        np.testing.assert_array_equal(of(made, {"x": IMAGES}), of(made, {"x": IMAGES}, classes=predicted))


def worked(image: Any, kernel: Any, bias: Any, weights: Any) -> tuple[Any, Any]:
    """Grad-CAM and saliency of score = sum over places and maps of weight * relu(conv + bias), by loops."""
    size, count = image.shape[0] - kernel.shape[0] + 1, kernel.shape[-1]
    maps, gradient = np.zeros((size, size, count)), np.zeros(image.shape)
    for k in range(count):
        for i in range(size):
            for j in range(size):
                window = image[i : i + 3, j : j + 3]
                maps[i, j, k] = max(0.0, (window * kernel[..., k]).sum() + bias[k])
                if maps[i, j, k] > 0:
                    gradient[i : i + 3, j : j + 3] += weights[i, j, k] * kernel[..., k]
    alpha = [weights[..., k].sum() / size**2 for k in range(count)]
    combined = sum(a * maps[..., k] for k, a in enumerate(alpha))
    return np.maximum(combined, 0), np.abs(gradient).max(axis=2)


def test_a_worked_example_in_float64() -> None:
    layers = [CONVOLUTION[0], "flatten", {"dense": {"units": 4, "id": "out"}}]
    made = classifier(layers, (6, 6, 2))
    images = np.random.default_rng(3).normal(size=(3, 6, 6, 2)).astype(np.float32)
    numbers = {name: made.parameters[name].astype(np.float64) for name in made.parameters}
    classes = [2, 0, 3]
    cams, pixels = (of(made, {"x": images}, classes=classes) for of in (gradcam_of, saliency_of))
    for n, label in enumerate(classes):
        weights = numbers["out/kernel"][:, label].reshape(4, 4, 3)
        kernel, bias = numbers["maps/kernel"], numbers["maps/bias"]
        cam, pixel = worked(images[n].astype(np.float64), kernel, bias, weights)
        np.testing.assert_allclose(cams[n], cam, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(pixels[n], pixel, rtol=1e-5, atol=1e-6)


@pytest.mark.peers
def test_pytorch_agrees() -> None:
    import torch
    from torch.nn import functional as F

    made = classifier()
    p = {n: torch.tensor(np.array(made.parameters[n]), dtype=torch.float64) for n in made.parameters}
    x = torch.tensor(IMAGES, dtype=torch.float64).permute(0, 3, 1, 2).requires_grad_()
    maps = F.relu(F.conv2d(x, p["maps/kernel"].permute(3, 2, 0, 1), p["maps/bias"]))
    flat = F.max_pool2d(maps, 2).permute(0, 2, 3, 1).reshape(len(x), -1)
    hidden = F.relu(flat @ p["hidden/kernel"] + p["hidden/bias"])
    scores = hidden @ p["out/kernel"] + p["out/bias"]
    classes = scores.argmax(dim=1)
    picked = scores.gather(1, classes[:, None]).sum()
    by_map, by_pixel = torch.autograd.grad(picked, [maps, x])
    cam = F.relu((by_map.mean(dim=(2, 3), keepdim=True) * maps).sum(dim=1)).detach().numpy()
    np.testing.assert_allclose(gradcam_of(made, {"x": IMAGES}), cam, rtol=1e-4, atol=1e-5)
    expected = by_pixel.abs().amax(dim=1).numpy()
    np.testing.assert_allclose(saliency_of(made, {"x": IMAGES}), expected, rtol=1e-4, atol=1e-5)


def test_the_last_maps_are_those_of_the_last_activation() -> None:
    assert last_maps(classifier()) == "maps"
    apart = [
        {"conv2d": {"filters": 3, "kernel": 3}},
        "batch_norm",
        {"relu": {"id": "active"}},
        *CONVOLUTION[1:],
    ]
    assert last_maps(classifier(apart)) == "active"
    linear = [{"conv2d": {"filters": 3, "kernel": 3, "activation": "linear"}}, *CONVOLUTION[1:]]
    assert last_maps(classifier(linear)) == "pool"


@pytest.mark.parametrize("draw", [saliency, gradcam])
def test_titles_have_lines_and_maps_a_scale(tmp_path: Path, draw: Any) -> None:
    titles = ["example 3\ntrue $a$"]
    drawn = draw(classifier(), {"x": IMAGES[:1]}, tmp_path / "a.svg", titles=titles).read_text()
    for told in ("example 3", "true $a$", "of each map's largest"):
        assert told in unescape(drawn)


@pytest.mark.parametrize("draw", [saliency, gradcam])
@pytest.mark.parametrize("channels", [1, 2, 3])
def test_pictures(tmp_path: Path, draw: Any, channels: int) -> None:
    made = classifier(shape=(6, 6, channels))
    x = {"x": np.random.default_rng(0).normal(size=(2, 6, 6, channels)).astype(np.float32)}
    for name in ("a.png", "b.png"):
        assert draw(made, x, tmp_path / name, titles=["$\\frac{", "0: <b>"]) == tmp_path / name
    assert (tmp_path / "a.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_a_class_that_nothing_speaks_for_is_drawn_dark(tmp_path: Path) -> None:
    made = classifier()
    made.parameters["out/kernel"] = np.zeros((5, 4))
    assert gradcam_of(made, {"x": IMAGES[:1]}, classes=[0]).max() == 0
    gradcam(made, {"x": IMAGES[:1]}, tmp_path / "dark.png", classes=[0])


def test_what_cannot_be_looked_at(tmp_path: Path) -> None:
    points = classifier([{"dense": {"units": 4, "id": "out"}}], [7])
    with pytest.raises(SpecError, match=r"needs a picture input \(height, width, channels\).*'x' \[7\]"):
        saliency(points, {"x": np.zeros((1, 7), np.float32)}, tmp_path / "a.png")
    with pytest.raises(SpecError, match="no layer gives maps"):
        last_maps(points)
    made = classifier()
    with pytest.raises(SpecError, match=r"'hidden' gives \[5\], no maps"):
        gradcam_of(made, {"x": IMAGES}, "hidden")
    with pytest.raises(SpecError, match="Did you mean 'maps'"):
        gradcam_of(made, {"x": IMAGES}, "map")
    with pytest.raises(DataError, match="there is no class 4"):
        saliency_of(made, {"x": IMAGES[:1]}, [4])


@pytest.mark.parametrize("name", ["saliency", "gradcam"])
def test_gaps_are_told(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    draw = {"saliency": saliency, "gradcam": gradcam}[name]
    maps = np.ones((2, 6, 6), np.float32)
    monkeypatch.setattr(f"cortex_viz.learned.{name}.{name}_of", lambda *given: maps)
    assert "not finite" not in draw(classifier(), {"x": IMAGES[:2]}, tmp_path / "a.svg").read_text()
    maps[1, 2], maps[1, 3, 0] = np.nan, np.inf
    drawn = draw(classifier(), {"x": IMAGES[:2]}, tmp_path / "a.svg").read_text()
    assert "7 of 72 numbers are not finite" in drawn
