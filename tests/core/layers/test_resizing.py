"""Pictures in another size, beside PyTorch and worked examples."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import cortex
from cortex_compute.errors import SpecError
from cortex_core.registry import LAYERS
from tests.core.layers.use import Used

LINE = np.array([0.0, 1.0, 2.0, 4.0, 8.0]).reshape(1, 1, 5, 1)


@pytest.mark.parametrize(
    ("mode", "width", "right"),
    [
        ("nearest", 3, [0, 2, 8]),  # the middles lie at 5/6, 15/6, 25/6
        ("nearest", 2, [1, 4]),  # 1.25, 3.75
        ("nearest", 7, [0, 1, 1, 2, 4, 4, 8]),
        ("bilinear", 2, [0.75, 5]),
        ("bilinear", 10, [0, 0.25, 0.75, 1.25, 1.75, 2.5, 3.5, 5, 7, 8]),
        ("bilinear", 5, [0, 1, 2, 4, 8]),
    ],
)
def test_worked_examples(mode: str, width: int, right: Any) -> None:
    y = Used(LAYERS["resize2d"](size=(1, width), mode=mode), LINE).y
    np.testing.assert_allclose(y.ravel(), right, rtol=1e-12)


@pytest.mark.peers
@pytest.mark.parametrize("mode", ["bilinear", "nearest"])
@pytest.mark.parametrize("size", [(3, 9), (8, 2), (5, 7), (1, 1), (11, 13)])
def test_pytorch(mode: str, size: tuple[int, int]) -> None:
    torch = pytest.importorskip("torch")
    x = np.random.default_rng(0).normal(size=(2, 5, 7, 3))
    more = {"align_corners": False} if mode == "bilinear" else {}
    theirs = torch.nn.functional.interpolate(
        torch.from_numpy(x).permute(0, 3, 1, 2),
        size=size,
        mode=mode if mode == "bilinear" else "nearest-exact",
        **more,
    )
    y = Used(LAYERS["resize2d"](size=size, mode=mode), x).y
    np.testing.assert_allclose(y, theirs.permute(0, 2, 3, 1).numpy(), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("fields", "inputs", "words"),
    [
        ({"size": 0}, [2, 3, 1], "too small"),
        ({"size": [2, 2], "mode": "cubic"}, [2, 3, 1], "expected bilinear or nearest"),
        ({"size": 2}, [3, 1], r"resize2d needs \(height, width, channels\)"),
        ({"size": 2}, {"shape": [2, 3, 1], "dtype": "int64"}, "needs a floating type"),
    ],
)
def test_descriptions_that_are_wrong(fields: Any, inputs: Any, words: str) -> None:
    with pytest.raises(SpecError, match=words):
        cortex.network({"cortex": 1, "inputs": {"x": inputs}, "layers": [{"resize2d": fields}]})
