"""Every layer and loss that is registered here: its docstring ends with an example, and the example works.

The registries are walked: there is no list to forget.  The gradient suite differentiates the same examples.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import cortex
from cortex_compute.backends import available
from cortex_core.network import Network
from cortex_core.nn.from_spec import from_spec
from cortex_core.registry import LAYERS, LOSSES
from cortex_core.spec import Description, read
from cortex_core.spec.read import parse
from cortex_core.spec.tree import Problems
from cortex_core.spec.write import to_yaml
from cortex_core.step import predictions
from cortex_core.verify import minimal

EVERY = [
    pytest.param(cls, id=f"{registry.noun}-{name}")
    for registry in (LAYERS, LOSSES)
    for name, cls in registry.items()
    if cls.__module__.startswith("cortex_core.")
]

BACKENDS = [row.name for row in available() if row.present]


def batch(network: Network) -> dict[str, np.ndarray]:
    """Inputs and targets of the example, in single precision."""
    arrays = minimal.numbers(network, np.random.default_rng(4))
    return {n: a.astype(np.float32) if a.dtype == np.float64 else a for n, a in arrays.items()}


def plain(text: str) -> Any:
    problems = Problems()
    tree = parse(text, "written", problems)
    assert not problems
    return tree.plain()


def meaning(made: Description) -> Any:
    """What a description says, without where it says it."""
    nodes = [(n.id, n.layer, n.sources, n.trainable) for n in made.layers]
    losses = [(n.name, n.loss, n.of, n.target, n.weight) for n in made.losses]
    return nodes, losses, made.outputs, [(x.name, x.shape, x.dtype) for x in made.inputs]


@pytest.mark.parametrize("cls", EVERY)
def test_description_to_canonical_to_description(cls: type[Any]) -> None:
    made = minimal.description(cls)
    again = read(made.canonical)
    assert again.canonical == made.canonical
    assert meaning(again) == meaning(made)
    assert read(plain(to_yaml(made.canonical))).canonical == made.canonical


@pytest.mark.parametrize("cls", EVERY)
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_step_of_training(backend: str, cls: type[Any]) -> None:
    """The loss is a number, and parameters move: all of a layer's, and some of those below a loss."""
    network = cortex.network(minimal.description(cls).canonical)
    data = batch(network)
    before = {name: array.copy() for name, array in network.parameters.items()}
    program = cortex.compile(network, backend=backend, batch_size=minimal.BATCH)
    assert np.isfinite(float(program.run(data)["loss"]))
    still = [name for name, array in network.parameters.items() if np.array_equal(array, before[name])]
    assert len(still) < len(before) if cls in LOSSES.values() else still == []
    assert all(np.isfinite(array).all() for array in network.variables.values())


@pytest.mark.parametrize("cls", EVERY)
@pytest.mark.parametrize("backend", BACKENDS)
def test_compiled_is_eager(backend: str, cls: type[Any]) -> None:
    network = cortex.network(minimal.description(cls).canonical)
    data = batch(network)
    inputs = {x.name: data[x.name] for x in network.description.inputs}
    module = from_spec(network)
    module.eval()
    outputs = module(inputs)
    program = cortex.compile(network, backend=backend, batch_size=minimal.BATCH, purpose="predict")
    compiled = program.run(inputs)
    for name in network.description.outputs:
        eager = predictions(network, name, outputs[name] if isinstance(outputs, dict) else outputs)
        np.testing.assert_allclose(np.asarray(compiled[name]), np.asarray(eager), rtol=2e-5, atol=2e-6)
