"""Tracing a description: states of another batch, parameters of another shape, axes of any length."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import cortex
from cortex_compute.errors import ShapeError, SpecError
from cortex_core.check import check
from cortex_core.initializers import zeros
from cortex_core.layers.scope import Parameter, Scope, Variable
from cortex_core.nn.from_spec import SpecModule
from cortex_core.registry import layer

Declared = Iterator[Parameter | Variable]


def module(kind: str) -> SpecModule:
    described = {"inputs": {"x": [3]}, "layers": [{kind: {"id": "l"}}], "train": {"batch_size": 4}}
    return SpecModule(cortex.network(described))


def test_only_what_is_carried_is_there_once_for_each_example(own_registry: None) -> None:
    @layer("keeps")
    class Keeps:
        def parameters(self, x: Any) -> Declared:
            yield Variable("state", x.shape, carried=True)

        def forward(self, p: Scope, x: Any) -> Any:
            p.update("state", x)
            return x + p.state

    @layer("learns")
    class Learns:
        """Its parameter has the shape of the batch that a network is declared with."""

        def parameters(self, x: Any) -> Declared:
            yield Parameter("rows", (x.shape[0], 1), zeros)

        def forward(self, p: Scope, x: Any) -> Any:
            return x + p.rows[:1]

    ones = np.ones((5, 3), np.float32)
    with pytest.raises(ShapeError, match="'l' keeps a state for each of 4 examples; expected batches of as"):
        module("keeps")(ones)
    np.testing.assert_array_equal(module("learns")(ones).data, ones)


@pytest.mark.parametrize("length", [1, 5, 12])
def test_an_axis_of_any_length_may_be_as_short_as_a_layer_wants(length: int) -> None:
    positions = {"positional_encoding": {"kind": "learned", "length": length}}
    network = cortex.network({"inputs": {"x": [None, 4]}, "layers": [positions]})
    assert network.parameters["positional_encoding/table"].shape == (length, 4)
    assert (
        f"x: axes of any length are counted as {min(length, 8)} long"
        in check(network.description.canonical).notes
    )
    assert cortex.compile(network, backend="numpy", batch_size=2, purpose="predict")
    assert network.predict(np.zeros((2, length, 4), np.float32)).shape == (2, length, 4)
    with pytest.raises(ShapeError, match=f"{length} positions"):
        network.predict(np.zeros((2, length + 1, 4), np.float32))


@pytest.mark.parametrize(("kernel", "length"), [(3, 8), (9, 64), (65, 512)])
def test_an_axis_of_any_length_is_as_long_as_a_layer_wants(kernel: int, length: int) -> None:
    conv = {"conv1d": {"filters": 2, "kernel": kernel}}
    network = cortex.network({"inputs": {"x": [None, 1]}, "layers": [conv]})
    counted = f"x: axes of any length are counted as {length} long"
    assert counted in check(network.description.canonical).notes
    assert network.predict(np.zeros((2, kernel + 1, 1), np.float32)).shape == (2, 2, 2)


def test_parameters_that_no_memory_holds_are_told_with_their_layer() -> None:
    layers = [{"dense": 3}, {"dense": {"units": 10**14, "id": "wide"}}]
    told = r"^layers\[1\]\.dense: the parameters take 1,600,000\.0 GB, 'wide/kernel' alone 1,200,000\.0: "
    with pytest.raises(SpecError, match=told):
        cortex.network({"inputs": {"x": [2]}, "layers": layers})


@pytest.mark.parametrize("kind", ["dense", "max_pool2d", "batch_norm", "conv2d", "rms_norm"])
def test_whole_numbers_for_a_layer_of_floating_ones_are_told_as_a_description_can_mend_it(kind: str) -> None:
    """Not as an op would tell it, which has a cast."""
    fields = {"dense": 3, "max_pool2d": 2, "conv2d": {"filters": 2, "kernel": 1}}
    inputs = {"x": {"shape": [4, 4, 1], "dtype": "int64"}}
    told = (
        rf"'x' is \(4, 4, 1\): {kind} needs a floating type, not int64; an input says so by 'dtype: float32'"
    )
    with pytest.raises(SpecError, match=told):
        cortex.network({"inputs": inputs, "layers": [{kind: fields.get(kind, {})}]})
