"""Batch norm of a prediction, folded into what comes before it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cortex_compute.primitives.convolution import Conv
from cortex_compute.primitives.matrix import Gemm
from cortex_core.compiled import compile
from cortex_core.network import Network, network


def net(layers: list[Any]) -> Network:
    """A network whose running statistics are not those of the start."""
    made = network({"cortex": 1, "name": "n", "inputs": {"x": [6, 5, 3]}, "layers": layers})
    rng = np.random.default_rng(0)
    for name in made.variables:
        made.variables[name] = rng.uniform(0.5, 2, made.variables[name].shape).astype(np.float32)
    for name in made.parameters:
        made.parameters[name] = rng.normal(size=made.parameters[name].shape).astype(np.float32)
    return made


def primitives(compiled: Any, batch: int = 4) -> list[Any]:
    """What runs for each prediction."""
    plan = compiled.entry(compiled.types(batch)).program.plan
    return [i.primitive for i in plan.instructions[plan.prologue :]]


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("norm", ["batch_norm", {"batch_norm": {"scale": False, "center": False}}])
def test_one_product_remains(bias: bool, norm: Any) -> None:
    made = net(
        [
            {"conv2d": {"filters": 4, "kernel": 3, "use_bias": bias}}, norm, "relu",
            "flatten", {"dense": {"units": 5, "use_bias": bias}}, norm,
        ]
    )  # fmt: skip
    folded = compile(made, "numpy", 4, "predict")
    plain = compile(made, "numpy", 4, "predict", fusion=False)
    assert [type(p) for p in primitives(folded)] == [Conv, Gemm]
    assert len(primitives(plain)) > 2
    x = np.random.default_rng(1).normal(size=(4, 6, 5, 3)).astype(np.float32)
    (name,) = made.description.outputs
    np.testing.assert_allclose(folded.run({"x": x})[name], plain.run({"x": x})[name], rtol=1e-4, atol=1e-4)


def test_what_others_read_stays_as_it_is() -> None:
    made = net(
        [
            {"conv2d": {"filters": 4, "kernel": 3, "id": "c"}}, {"batch_norm": {"id": "n"}},
            {"add": {"from": ["c", "n"]}},
        ]
    )  # fmt: skip
    folded = compile(made, "numpy", 4, "predict")
    plain = compile(made, "numpy", 4, "predict", fusion=False)
    x = np.random.default_rng(1).normal(size=(4, 6, 5, 3)).astype(np.float32)
    (name,) = made.description.outputs
    np.testing.assert_allclose(folded.run({"x": x})[name], plain.run({"x": x})[name], rtol=1e-4, atol=1e-4)
