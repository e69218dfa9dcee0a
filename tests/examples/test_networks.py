"""The zoo: each network has the numbers of parameters and of products that were published."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cortex
from tests.conftest import Cli

NETWORKS = Path(__file__).parents[2] / "examples" / "networks"
SMALL = ("inputs.image=[32,32,3]", "layers.0.mobilenetv2.early=1", "layers.0.mobilenetv2.kinds=10")


def unet_by_hand() -> int:
    """Ronneberger et al., 2015, figure 1: pairs of 3 x 3 on the way down, 2 x 2 up, pairs again, 1 x 1."""

    def pair(channels: int, filters: int) -> int:
        return (9 * channels + 1) * filters + (9 * filters + 1) * filters

    down = pair(1, 64) + pair(64, 128) + pair(128, 256) + pair(256, 512) + pair(512, 1024)
    up = sum((4 * 2 * n + 1) * n + pair(2 * n, n) for n in (512, 256, 128, 64))
    return down + up + (64 + 1) * 2


def densenet_by_hand() -> int:
    """Huang et al., 2017, L = 40 and k = 12: a norm and a kernel to each of 36 units and 2 transitions."""
    total, channels = 27 * 16, 16
    for stage in range(3):
        for _ in range(12):
            total += 2 * channels + 9 * channels * 12
            channels += 12
        total += 2 * channels + (channels * channels if stage < 2 else 0)
    return total + (channels + 1) * 10


# ResNet-20: 269,722 where shortcuts have no weights (He et al., 2016: 0.27 M); two projections add 16 x 32
# and 32 x 64.  ResNet-50 and MobileNetV2: what torchvision's have (Sandler et al.: 3.4 M).  DenseNet-40:
# 1.0 M in the paper.
PARAMETERS = {
    "resnet20": 269_722 + 16 * 32 + 32 * 64,
    "resnet50": 25_557_032,
    "densenet40": densenet_by_hand(),
    "mobilenetv2": 3_504_872,
    "unet": unet_by_hand(),
}
# Millions of products of a prediction, as published: torchvision's tables for ResNet-50 and MobileNetV2
# (Sandler et al.: 300 M); He et al. count 40.55 M for ResNet-20 (the projections add 0.26 M).
PRODUCTS = {"resnet20": 40.8, "resnet50": 4089, "mobilenetv2": 301}


def checked(cli: Cli, tmp_path: Path, name: str, *overrides: str) -> dict[str, Any]:
    said = cli("check", NETWORKS / f"{name}.yaml", *overrides, "--json", tmp_path / "said.json")
    assert said.code == 0, said.out + said.err
    found: dict[str, Any] = json.loads((tmp_path / "said.json").read_text())
    return found


def test_the_zoo_is_all_here() -> None:
    assert {path.stem for path in NETWORKS.glob("*.yaml")} == set(PARAMETERS)


@pytest.mark.parametrize("name", PARAMETERS)
def test_fits_on_a_page(name: str) -> None:
    lines = (NETWORKS / f"{name}.yaml").read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 60
    assert max(map(len, lines)) <= 120


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameters_and_memory(cli: Cli, tmp_path: Path, name: str) -> None:
    found = checked(cli, tmp_path, name)
    assert sum(layer["parameters"] for layer in found["layers"]) == PARAMETERS[name]
    memory = found["memory"]
    assert memory["gradients"] == 4 * PARAMETERS[name]
    assert memory["activations"] > 0
    assert 0 < memory["predict_total"] < memory["total"]


def test_what_the_papers_say() -> None:
    millions = {name: count / 1e6 for name, count in PARAMETERS.items()}
    assert round(millions["resnet20"], 2) == 0.27
    assert round(millions["densenet40"], 1) == 1.0


def test_mobilenetv2_for_small_pictures(cli: Cli, tmp_path: Path) -> None:
    """As torchvision's with 10 kinds; the last picture is of 4 x 4 where 224 x 224 ends in 7 x 7."""
    layers = checked(cli, tmp_path, "mobilenetv2", *SMALL)["layers"]
    assert sum(layer["parameters"] for layer in layers) == 3_504_872 - 1281 * 1000 + 1281 * 10
    (last,) = [layer for layer in layers if layer["id"] == "kind/relu6_2"]
    assert last["output"] == [4, 4, 1280]


@pytest.mark.parametrize("name", PRODUCTS)
def test_products(cli: Cli, tmp_path: Path, name: str) -> None:
    kinds = ("conv2d", "depthwise_conv2d", "dense")
    layers = checked(cli, tmp_path, name)["layers"]
    flops = sum(layer["flops"] for layer in layers if layer["kind"] in kinds)
    assert flops / 2e6 == pytest.approx(PRODUCTS[name], rel=0.01)


SMALLER = {
    "resnet20": (),
    "resnet50": ("inputs.image=[32,32,3]", "layers.13.dense.units=10"),
    "densenet40": ("inputs.image=[16,16,3]",),
    "mobilenetv2": SMALL,
    "unet": ("inputs.image=[16,16,1]",),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", PARAMETERS)
def test_trains(name: str) -> None:
    """Some steps on two pictures bring their loss down; what is predicted is probabilities."""
    network = cortex.network(NETWORKS / f"{name}.yaml", [*SMALLER[name], "train.optimizer={adam: 0.001}"])
    draw, kinds = np.random.default_rng(0), 2 if name == "unet" else 10
    (side, _, channels), (target,) = network.description.inputs[0].shape, ("mask" if kinds == 2 else "label",)
    image = draw.random((2, side, side, channels), np.float32)
    places = (2, side, side) if kinds == 2 else (2,)
    program = cortex.compile(network, backend="onednn", batch_size=2)
    batch = {"image": image, target: draw.integers(0, kinds, places)}
    losses = [float(program.run(batch)["loss"]) for _ in range(4)]
    assert losses[-1] < losses[0]
    found = network.predict(image)
    assert found.shape == (*places, kinds)
    np.testing.assert_allclose(found.sum(-1), 1, rtol=1e-5)
