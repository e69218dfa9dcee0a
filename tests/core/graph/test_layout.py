"""Weights in the layout that the kernels choose."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cortex_compute import backends
from cortex_compute.primitives.elementwise import Copy
from cortex_compute.types import TensorType
from cortex_core.compiled import compile
from cortex_core.graph.value import Graph, input_value, state_value
from cortex_core.network import network
from cortex_core.ops.convolution import conv
from cortex_core.ops.indexing import slice_
from cortex_core.program import Program, compile_graph
from cortex_core.store import Store

pytestmark = pytest.mark.skipif(
    "onednn" not in {row.name for row in backends.available() if row.present}, reason="oneDNN is not here"
)
DESCRIPTION: dict[str, Any] = {
    "cortex": 1,
    "name": "wide",
    "inputs": {"x": [12, 12, 8]},
    "layers": [
        {"conv2d": {"filters": 32, "kernel": 3, "activation": "relu"}},
        {"conv2d": {"filters": 32, "kernel": 3}},
        "flatten",
        {"dense": {"units": 64, "id": "y"}},
    ],
    "loss": {"mse": {"of": "y", "target": "t"}},
    "train": {"optimizer": {"sgd": {"learning_rate": 0.1}}},
}
X = np.random.default_rng(0).standard_normal((16, 12, 12, 8)).astype(np.float32)


def laid(compiled: Any) -> list[int]:
    """The numbers of the instructions that copy weights into such a layout."""
    plan = compiled.entry(compiled.types(16)).program.plan
    found = [
        i for i, x in enumerate(plan.instructions) if isinstance(x.primitive, Copy) and x.primitive.layout.key
    ]
    assert all(i < plan.prologue for i in found)
    return found


def test_predictions_copy_weights_once_and_say_what_numpy_says() -> None:
    made = network(DESCRIPTION, seed=3)
    ours = compile(made, "onednn", batch_size=16, purpose="predict")
    reference = compile(made, "numpy", batch_size=16, purpose="predict")
    assert len(laid(ours)) >= 2

    def agree() -> None:
        for _ in range(2):
            expected = reference.run({"x": X})["y"].numpy()
            np.testing.assert_allclose(ours.run({"x": X})["y"], expected, rtol=1e-3, atol=1e-3)

    agree()
    made.parameters["y/kernel"] = -2 * made.parameters["y/kernel"]
    made.parameters["conv2d/kernel"] = made.parameters["conv2d/kernel"] + 0.1
    agree()
    compile(made, "onednn", batch_size=16).run({"x": X, "t": np.ones((16, 64), np.float32)})
    agree()


def test_evaluation_copies_them_and_training_does_not() -> None:
    made = network(DESCRIPTION, seed=3)
    assert laid(compile(made, "onednn", batch_size=16, purpose="evaluate"))
    assert not laid(compile(made, "onednn", batch_size=16))
    assert not laid(compile(made, "numpy", batch_size=16, purpose="predict"))


def test_weights_that_are_a_part_of_a_larger_array_are_copied_first() -> None:
    rng = np.random.default_rng(0)
    x = input_value("x", TensorType((4, 9, 9, 16)))
    kernel = state_value("kernel", TensorType((3, 3, 16, 64)))
    graph = Graph((x,), {"y": conv(x, slice_(kernel, (0, 0, 0, 16), (3, 3, 16, 32)))})
    data, whole = (rng.standard_normal(t.type.shape).astype(np.float32) for t in (x, kernel))
    found = {}
    for name in ("numpy", "onednn"):
        backend = backends.get(name)
        store = Store(backend.devices()[0])
        plan = compile_graph(graph, backend)
        program = Program(plan, backend, store)
        store.write("kernel", whole)
        found[name] = program.run({"x": data})["y"].numpy()
    assert [i.primitive.name for i in plan.instructions] == ["Copy", "Copy", "Conv"]
    np.testing.assert_allclose(found["onednn"], found["numpy"], rtol=1e-4, atol=1e-4)
