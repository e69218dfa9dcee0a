"""A description as a Module: the predictions of the network, and the curve of its own training."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cortex_compute.errors import DataError, DTypeError, ShapeError
from cortex_core import nn, optim
from cortex_core.compiled import compile
from cortex_core.network import network
from cortex_core.nn.from_spec import from_spec
from cortex_core.tensor import Tensor
from cortex_core.traced_step import trace_step
from cortex_core.tracing import trace


def description(**optimizer: Any) -> dict[str, Any]:
    return {
        "cortex": 1,
        "name": "small",
        "inputs": {"image": [10, 10, 2]},
        "blocks": {
            "unit": {
                "parameters": {"filters": 4},
                "layers": [
                    {"conv2d": {"filters": "$filters", "kernel": 3, "padding": "same", "use_bias": False}},
                    {"batch_norm": {"id": "norm"}},
                    {"add": {"from": ["norm", "input"]}},
                    "relu",
                ],
            }
        },
        "layers": [
            {"conv2d": {"filters": 4, "kernel": 3, "activation": "relu"}},
            {"unit": {"repeat": 2, "id": "u"}},
            {"max_pool2d": 2},
            {"dropout": 0.3},
            "flatten",
            {"dense": {"units": 5, "id": "digit"}},
        ],
        "loss": {"softmax_cross_entropy": {"of": "digit", "target": "label"}},
        "train": {"optimizer": optimizer or {"adam": {"learning_rate": 0.01}}},
    }


def images(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((count, 10, 10, 2), np.float32)


def test_predictions_are_those_of_the_network() -> None:
    net = network(description())
    module = from_spec(net).eval()
    x = images(6)
    np.testing.assert_allclose(module(x).data, net.predict(x, raw=True), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(module({"image": Tensor(x)}).data, module(x).data)
    assert {n: p.shape for n, p in module.named_parameters()} == {
        n: a.shape for n, a in net.parameters.items()
    }


def test_parameters_are_copies() -> None:
    net = network(description())
    module = from_spec(net)
    for p in module.parameters():
        p.data[...] = 0
    assert all((a != 0).any() for n, a in net.parameters.items() if n.endswith("kernel"))


def test_the_training_curve_is_that_of_the_network() -> None:
    net = network(description())
    module = from_spec(net)
    optimizer = optim.Adam(module.parameters(), 0.01)
    criterion = nn.CrossEntropyLoss()
    program = compile(net)
    traced = from_spec(net)
    step = trace_step(
        traced, criterion, optim.Adam(traced.parameters(), 0.01), images(8), np.zeros(8, np.int64)
    )
    for seed in range(10):
        x, y = images(8, seed), np.random.default_rng(seed).integers(0, 5, 8)
        expected = float(program.run({"image": x, "label": y})["loss"])
        optimizer.zero_grad()
        loss = criterion(module(x), Tensor(y))
        loss.backward()
        optimizer.step()
        assert float(loss) == pytest.approx(expected, rel=2e-4)
        assert float(step(x, y)) == pytest.approx(expected, rel=2e-4)
    for name, array in net.variables.items():
        np.testing.assert_allclose(dict(module.named_buffers())[name].data, array, rtol=1e-3, atol=1e-5)


def test_frozen_layers_require_no_gradient() -> None:
    spec = description()
    spec["layers"][0]["conv2d"]["trainable"] = False
    module = from_spec(spec)
    frozen = [n for n, p in module.named_parameters() if not p.requires_grad]
    assert frozen == ["conv2d/kernel", "conv2d/bias"]


def test_several_inputs_outputs_and_tokens() -> None:
    net = network(
        {
            "cortex": 1,
            "name": "two",
            "inputs": {"words": {"shape": [6], "dtype": "int64"}, "more": [3]},
            "layers": [
                {"embedding": {"tokens": 9, "units": 4, "from": "words"}},
                {"flatten": {"id": "flat"}},
                {"concatenate": {"from": ["flat", "more"]}},
                {"dense": {"units": 2, "id": "a"}},
                {"dense": {"units": 3, "from": "flat", "id": "b"}},
            ],
        }
    )
    module = from_spec(net)
    x = {
        "words": np.random.default_rng(0).integers(0, 9, (4, 6)),
        "more": np.random.default_rng(1).random((4, 3), np.float32),
    }
    expected = net.predict(x, raw=True)
    for found in (module(x), trace(module, x)(x)):
        assert list(found) == list(expected)
        for name, array in expected.items():
            np.testing.assert_allclose(found[name].data, array, rtol=1e-5)
    with pytest.raises(DataError, match="missing input 'more'"):
        module({"words": x["words"]})
    with pytest.raises(DataError, match="missing input 'words'"):
        module(x["words"])


def test_what_does_not_fit_is_refused() -> None:
    module = from_spec(description())
    with pytest.raises(DataError, match=r"input 'image' has shape .* expected \(examples, 10, 10, 2\)"):
        module(np.zeros((2, 10, 10), np.float32))
    with pytest.raises(ShapeError):
        module(Tensor(np.zeros((2, 3, 3, 2), np.float32)))
    with pytest.raises(DTypeError):
        module(np.zeros((2, 10, 10, 2), complex))


LOSS = {"softmax_cross_entropy": {"of": "digit", "target": "label"}}


def reader() -> dict[str, Any]:
    """Named values of all kinds: a mask, a layer inside a layer, several results."""
    return {
        "cortex": 1,
        "name": "reader",
        "inputs": {"words": {"shape": [6], "dtype": "int64"}},
        "layers": [
            {"embedding": {"tokens": 9, "units": 4, "mask_zero": True, "id": "e"}},
            {
                "bidirectional": {
                    "layer": {"lstm": {"units": 3, "return": "both", "mask": "e.mask"}},
                    "id": "r",
                }
            },
            {"multi_head_attention": {"heads": 2, "mask": "e.mask", "causal": True}},
            {"gru": {"units": 5, "mask": "e.mask"}},
            {"concatenate": {"from": ["gru", "r.last"]}},
            {"dense": {"units": 4, "id": "digit"}},
        ],
        "loss": LOSS,
        "train": {"optimizer": {"adam": {"learning_rate": 0.01}}},
    }


def carrier() -> dict[str, Any]:
    return {
        "cortex": 1,
        "name": "carrier",
        "inputs": {"x": [6, 3]},
        "layers": [
            {"lstm": {"units": 3, "stateful": True, "id": "r"}},
            {"dense": {"units": 4, "id": "digit"}},
        ],
        "loss": LOSS,
        "train": {"optimizer": {"adam": {"learning_rate": 0.01}}, "batch_size": 5},
    }


@pytest.mark.parametrize("spec", [reader(), carrier()], ids=["reader", "carrier"])
def test_sequences_train_as_in_the_network(spec: dict[str, Any]) -> None:
    net = network(spec)
    module, traced = from_spec(net), from_spec(net)
    rng = np.random.default_rng(2)

    def batch() -> tuple[np.ndarray, np.ndarray]:
        x = rng.integers(0, 9, (5, 6)) if "words" in spec["inputs"] else rng.random((5, 6, 3), np.float32)
        return x, rng.integers(0, 4, 5)

    np.testing.assert_allclose(from_spec(net).eval()(batch()[0]).shape, (5, 4))
    optimizer, criterion = optim.Adam(module.parameters(), 0.01), nn.CrossEntropyLoss()
    step = trace_step(traced, criterion, optim.Adam(traced.parameters(), 0.01), *batch())
    program, (name,) = compile(net), spec["inputs"]
    for i in range(6):
        if i == 3:
            net.forget()
            module.forget()
            traced.forget()
        x, y = batch()
        expected = float(program.run({name: x, "label": y})["loss"])
        optimizer.zero_grad()
        loss = criterion(module(x), Tensor(y))
        loss.backward()
        optimizer.step()
        assert float(loss) == pytest.approx(expected, rel=2e-4)
        assert float(step(x, y)) == pytest.approx(expected, rel=2e-4)
    x = batch()[0]
    np.testing.assert_allclose(module.eval()(x).data, net.predict(x, raw=True), rtol=1e-3, atol=1e-4)


def test_what_is_carried_is_forgotten() -> None:
    module = from_spec(carrier())
    x = np.random.default_rng(3).random((5, 6, 3), np.float32)
    first, second = module(x), module(x)
    assert np.abs(first.data - second.data).max() > 1e-4
    module.forget()
    np.testing.assert_array_equal(module(x).data, first.data)
