"""Layers with other kernels at each place: values, shapes, what they cost, what is refused."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import cortex
from cortex_compute.errors import SpecError
from cortex_compute.types import TensorType, float64
from cortex_core.registry import LAYERS
from tests.core.layers.use import Used

RNG = np.random.default_rng(3)


def layer(name: str, **fields: Any) -> Any:
    return LAYERS[name](**fields)


def windows(x: np.ndarray, kernel: tuple[int, ...], stride: tuple[int, ...]) -> Iterator[tuple[Any, Any]]:
    """Each place and what is seen from there, (B, prod(kernel) in), row by row."""
    sizes = [(n - k) // s + 1 for n, k, s in zip(x.shape[1:], kernel, stride)]
    for place in np.ndindex(*sizes):
        cut = [slice(p * s, p * s + k) for p, s, k in zip(place, stride, kernel)]
        yield place, x[(slice(None), *cut)].reshape(len(x), -1)


@pytest.mark.parametrize(
    ("shape", "kernel", "stride", "places"),
    [
        ((7, 3), (3,), (1,), (5,)),
        ((7, 3), (2,), (3,), (2,)),
        ((5, 6, 2), (2, 3), (1, 1), (4, 4)),
        ((5, 7, 2), (3, 1), (2, 3), (2, 3)),
        ((4, 4, 1), (4, 4), (1, 1), (1, 1)),
    ],
)
def test_each_place_has_its_own_kernel(shape: Any, kernel: Any, stride: Any, places: Any) -> None:
    count, seen = int(np.prod(places)), int(np.prod(kernel)) * shape[-1]
    x, w, b = RNG.normal(size=(4, *shape)), RNG.normal(size=(count, seen, 5)), RNG.normal(size=(*places, 5))
    wanted = np.empty((4, *places, 5))
    for k, (place, window) in enumerate(windows(x, kernel, stride)):
        wanted[(slice(None), *place)] = np.tanh(window @ w[k] + b[place])
    fields = {"filters": 5, "kernel": kernel, "stride": stride, "activation": "tanh"}
    found = Used(layer(f"locally_connected{len(kernel)}d", **fields), x, values={"kernel": w, "bias": b}).y
    np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-12)


def test_initial_weights_are_those_of_a_dense_layer_at_each_place() -> None:
    made = layer("locally_connected2d", filters=6, kernel=3)
    kernel, bias = made.parameters(TensorType((1, 5, 4, 2), float64))
    assert (kernel.shape, kernel.fan) == ((6, 18, 6), (18, 54))
    assert bias.shape == (3, 2, 6)


def network(shape: list[int], **fields: Any) -> cortex.Network:
    return cortex.network(
        {"inputs": {"x": shape}, "layers": [{f"locally_connected{len(shape) - 1}d": fields}]}
    )


def test_what_it_costs() -> None:
    """Two for each number of the kernels, and one for each of the biases."""
    made = network([14, 14, 3], filters=20, kernel=5)
    assert sum(x.size for x in made.parameters.values()) == 100 * 75 * 20 + 100 * 20
    assert f"{(2 * 100 * 75 * 20 + 100 * 20) / 1e6:.3f}" in made.summary()


@pytest.mark.parametrize(
    ("shape", "fields", "told"),
    [
        (
            [2, 9, 3],
            {"filters": 2, "kernel": 3},
            r"locally_connected2d has a window of \(3, 3\), which does not",
        ),
        ([4, 3], {"filters": 2}, "kernel"),
        ([4, 3], {"filters": 2, "kernel": 2, "padding": "same"}, "padding"),
        ([4, 3], {"filters": 0, "kernel": 2}, "0 is too small"),
        ([None, 3], {"filters": 2, "kernel": 2}, "length"),
        ([2**30, 1], {"filters": 2, "kernel": 3}, r"of \(1073741822,\) places needs .* 16,777,216 elements"),
    ],
)
def test_what_is_refused(shape: list[int], fields: dict[str, Any], told: str) -> None:
    with pytest.raises(SpecError, match=told):
        network(shape, **fields)
