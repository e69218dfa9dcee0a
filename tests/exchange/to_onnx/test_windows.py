"""Convolutions and pools over an axis of any length, in onnxruntime at many lengths."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cortex_compute.errors import CortexError, SpecError
from cortex_core.exchange.to_onnx.exported import to_onnx
from cortex_core.network import Network
from cortex_core.spec import read
from tests.exchange.to_onnx.support import TOLERANCE, difference, predicted, session

LENGTHS = (5, 6, 7, 8, 9, 13, 16, 23, 31, 40, 50, 77, 128, 200)
HEADS: tuple[list[Any], ...] = (
    [{"dense": 2}],
    [{"lstm": {"units": 4, "return": "sequence"}}],
    [{"gru": 3}],
    [{"multi_head_attention": {"heads": 2}}],
    ["global_avg_pool1d"],
    ["global_max_pool1d"],
)


def made(shape: list[int | None], layers: list[Any]) -> Network:
    return Network(read({"cortex": 1, "inputs": {"x": shape}, "layers": layers}), seed=1)


def window(kind: str, size: int, stride: int, padding: str) -> Any:
    if kind == "conv1d":
        return {kind: {"filters": 4, "kernel": size, "stride": stride, "padding": padding}}
    return {kind: {"size": size, "stride": stride, "padding": padding}}


def taken(network: Network, x: np.ndarray) -> np.ndarray | None:
    """What a network gives; None where it refuses the length."""
    try:
        return predicted(network, {"x": x})[network.description.outputs[0]]
    except CortexError:
        return None


def assert_same(network: Network, shapes: list[tuple[int, ...]]) -> None:
    running, compared = session(to_onnx(network)), 0
    for shape in shapes:
        x = np.random.default_rng(sum(shape)).normal(size=(2, *shape)).astype(np.float32)
        ours = taken(network, x)
        if ours is None:
            continue
        (theirs,) = running.run(None, {"x": x})
        assert theirs.shape == ours.shape, shape
        assert difference(ours, theirs) <= TOLERANCE, shape
        compared += 1
    assert compared >= 4


@pytest.mark.peers
@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize("stride", range(1, 9))
@pytest.mark.parametrize("kind", ["conv1d", "max_pool1d", "avg_pool1d"])
def test_two_one_behind_the_other_and_then_another_layer(kind: str, stride: int, padding: str) -> None:
    """The second has the same stride and another window; where few lengths would be left it has stride 2."""
    pytest.importorskip("onnxruntime")
    first = window(kind, stride + (stride % 3), stride, padding)
    then = min(stride, 4) if padding == "same" else min(stride, 2)
    second = window(kind, then + 1, then, padding)
    head = HEADS[(stride + len(kind) + len(padding)) % len(HEADS)]
    channels = 4  # which heads of attention divide
    assert_same(made([None, channels], [first, second, *head]), [(n, channels) for n in LENGTHS])


SMALL: dict[
    str, list[Any]
] = {  # whose lengths become equal behind them, or whose rests are not those of 12, 13 and 14
    "three pools": [{"max_pool1d": 2}, {"max_pool1d": 2}, {"max_pool1d": 3}, "global_avg_pool1d"],
    "as long as the window": [{"max_pool1d": 4}, {"max_pool1d": 3}, "global_max_pool1d"],
    "a wide window": [{"conv1d": {"filters": 4, "kernel": 12}}],
    "narrower than the stride": [{"conv1d": {"filters": 4, "kernel": 2, "stride": 6}}, {"gru": 3}],
    "odd lengths alone": [
        {"conv1d": {"filters": 4, "kernel": 15}},
        {"max_pool1d": {"size": 2, "padding": "same"}},
    ],
    "a rest that is not padded": [{"conv1d": {"filters": 4, "kernel": 3, "stride": 2}}] * 4,
}


@pytest.mark.peers
@pytest.mark.parametrize("name", SMALL)
def test_lengths_that_become_few(name: str) -> None:
    pytest.importorskip("onnxruntime")
    assert_same(made([None, 3], SMALL[name]), [(n, 3) for n in LENGTHS])


@pytest.mark.peers
def test_patches_of_pictures() -> None:
    pytest.importorskip("onnxruntime")
    layers = [
        {"conv2d": {"filters": 4, "kernel": 16, "stride": 16}},
        {"reshape": [-1, 4]},
        {"multi_head_attention": {"heads": 2}},
    ]
    assert_same(made([None, None, 3], layers), [(32, 48, 3), (64, 64, 3), (50, 100, 3), (16, 33, 3)])


@pytest.mark.parametrize("kind", ["conv1d", "max_pool1d", "avg_pool1d"])
def test_same_with_a_stride_beyond_the_window_is_refused(kind: str) -> None:
    """ONNX's own would be below 0 where the length is a multiple of the stride."""
    net = made([None, 3], [window(kind, 2, 6, "same")])
    with pytest.raises(
        SpecError, match=r'layers\[0\]\.\w+: padding "same" of a free length, with a dilation'
    ):
        to_onnx(net)


def test_a_stride_that_leaves_one_place_of_all_lengths_is_refused() -> None:
    net = made([None, 3], [{"max_pool1d": {"size": 2, "stride": 5000}}, {"dense": 2}])
    with pytest.raises(
        SpecError, match=r"layers\[0\]\.max_pool1d: its stride leaves the same of all lengths"
    ):
        to_onnx(net)
