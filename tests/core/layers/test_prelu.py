"""prelu: worked values, PyTorch's, and what is not known of one position alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import cortex
from cortex_compute.errors import ShapeError, SpecError
from cortex_compute.types import TensorType, int64
from cortex_core.generate.steps import NotStepwise, trace_step
from cortex_core.registry import LAYERS
from tests.core.layers.use import Used

X = np.array([[[-2.0, 3.0], [-4.0, -1.0]]])
SLOPES = np.array([[0.25, 0.5], [1.0, 2.0]])


def prelu(**fields: Any) -> Any:
    return LAYERS["prelu"](**fields)


def test_a_slope_for_each_channel() -> None:
    used = Used(prelu(), X, values={"slope": np.array([0.25, 0.5])})
    np.testing.assert_array_equal(used.y, [[[-0.5, 3.0], [-1.0, -0.5]]])
    used.output.sum().backward()
    np.testing.assert_array_equal(used.parameters["slope"].grad.numpy(), [-6, -1])
    np.testing.assert_array_equal(used.inputs[0].grad.numpy(), [[[0.25, 1], [0.25, 0.5]]])


def test_a_slope_for_each_element() -> None:
    used = Used(prelu(per="element"), X, values={"slope": SLOPES})
    np.testing.assert_array_equal(used.y, [[[-0.5, 3.0], [-4.0, -2.0]]])
    used.output.sum().backward()
    np.testing.assert_array_equal(used.parameters["slope"].grad.numpy(), [[-2, 0], [-4, -1]])


def test_elements_that_share_a_slope_along_an_axis() -> None:
    used = Used(prelu(per="element", shared=[2]), X, values={"slope": SLOPES[:, :1]})
    np.testing.assert_array_equal(used.y, [[[-0.5, 3.0], [-4.0, -1.0]]])
    used.output.sum().backward()
    np.testing.assert_array_equal(used.parameters["slope"].grad.numpy(), [[-2], [-5]])
    with pytest.raises(SpecError, match="a channel has one slope along all other axes"):
        prelu(shared=[1])
    with pytest.raises(ShapeError, match="prelu has no axis 3 along which to share"):
        Used(prelu(per="element", shared=[3]), X)


def test_slopes_begin_at_a_quarter_or_as_somebody_says() -> None:
    assert set(Used(prelu(), X).parameters["slope"].numpy()) == {0.25}
    assert set(Used(prelu(initializer={"constant": 0.1}), X).parameters["slope"].numpy()) == {np.float32(0.1)}


def test_what_comes_before_it_begins_as_before_a_relu() -> None:
    made = cortex.network({"inputs": {"x": [4]}, "layers": [{"dense": 3}, "prelu", {"dense": 2}]})
    kernels = [node.layer.kernel_initializer.kind for node in made.description.layers if node.kind == "dense"]
    assert kernels == ["he_normal", "glorot_uniform"]


def test_it_needs_an_axis() -> None:
    with pytest.raises(ShapeError, match=r"the input is \(\): prelu needs at least one axis"):
        Used(prelu(), np.zeros(4))


def test_a_slope_for_each_position_is_not_made_for_one_alone() -> None:
    for layer, told in (
        ({"prelu": "element"}, "prelu has other slopes for each position by 'per: element'"),
        (
            {"batch_norm": {"mode": "elementwise"}},
            "batch_norm has other numbers for each position by 'mode: elementwise'",
        ),
    ):
        words = {"embedding": {"tokens": 5, "units": 2}}
        network = cortex.network(
            {"inputs": {"x": {"shape": [3], "dtype": "int64"}}, "layers": [words, layer]}
        )
        types = {"x": TensorType((1, 3), int64)}
        with pytest.raises(NotStepwise, match=told):
            trace_step(network, types, "x", next(iter(layer)), 3)


@pytest.mark.peers
@pytest.mark.parametrize("shape", [(4, 3), (2, 5, 4, 3)])
def test_pytorchs(shape: tuple[int, ...]) -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    x, slope = rng.normal(size=shape), rng.normal(size=3)
    used = Used(prelu(), x, values={"slope": slope})
    used.output.sum().backward()
    theirs = torch.nn.PReLU(3, dtype=torch.float64)
    theirs.weight.data = torch.tensor(slope)
    first = torch.tensor(np.moveaxis(x, -1, 1).copy(), requires_grad=True)
    y = theirs(first)
    y.sum().backward()
    np.testing.assert_allclose(np.moveaxis(used.y, -1, 1), y.detach().numpy(), rtol=1e-14)
    np.testing.assert_allclose(used.parameters["slope"].grad.numpy(), theirs.weight.grad.numpy(), rtol=1e-13)
    given = np.moveaxis(used.inputs[0].grad.numpy(), -1, 1)
    np.testing.assert_allclose(given, first.grad.numpy(), rtol=1e-14)
