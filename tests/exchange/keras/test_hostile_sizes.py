"""Files with thousands of parts, for which time that grows with the square would be minutes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np
import pytest

from cortex_core.exchange.build import Builder
from cortex_core.exchange.keras.config import read_model
from cortex_core.exchange.keras.hdf5 import Hdf5
from cortex_core.exchange.keras.model import Out, Weight
from cortex_core.exchange.keras.named import by_name
from cortex_core.exchange.keras.numbered import CONTAINERS, by_number
from cortex_core.exchange.keras.tokens import tokens
from tests.exchange.keras.configs import Json, entry, given, graph

MANY = 6000
A = [["a", 0, 0, {}]]


def branches(*layers: Json) -> Json:
    """A model of layers that all take its input."""
    outputs = [[layer["name"], 0, 0] for layer in layers]
    return graph([given("a", 1), *layers], [["a", 0, 0]], outputs, name="model")


def dense(name: str) -> Json:
    return entry("Dense", name, A, units=1, use_bias=False)


def weight(name: str, number: int) -> Weight:
    return Weight(name, (1, 1), "float32", lambda: np.full((1, 1), number, np.float32))


class Groups:
    """What is asked of a file, of groups with one array each; HDF5 itself would take the time here."""

    def __init__(self, container: str, names: Sequence[str]) -> None:
        paths = [f"{container}/{name}/vars" for name in names]
        self.arrays = {f"{path}/0": weight(f"{path}/0", number) for number, path in enumerate(paths)}
        self.inner = {path: ["0"] for path in paths}
        self.inner |= {path.rpartition("/")[0]: ["vars"] for path in paths}
        self.inner |= {"": [container], container: [*names]}

    def text(self, group: str, name: str) -> str:
        return ""

    def weight(self, path: str) -> Weight:
        return self.arrays[path]


@pytest.mark.parametrize("container", CONTAINERS)
def test_a_group_for_each_of_many_classes(container: str) -> None:
    """Of classes such as K_7, so that each group ends in a number as those of a second layer do."""
    numbers = range(2 * MANY)
    file = Groups(container, [f"k_{number}" for number in numbers])
    model = read_model(branches(*(entry(f"K_{n}", f"layer{n}", A) for n in numbers)), "2.4.0")
    found = by_number(cast(Hdf5, file), model)
    assert [found[id(layer)] for layer in model.layers[1:]] == [(one,) for one in file.arrays.values()]


@pytest.mark.parametrize("turned", [False, True])
def test_many_weights_in_the_group_of_a_nested_model(turned: bool) -> None:
    """In the order of the layers, and in another one, where the names alone tell."""
    nested = {**branches(*(dense(f"x{number}") for number in range(MANY))), "name": "nested"}
    model = read_model(branches({**nested, "inbound_nodes": [A]}), "2.4.0")
    weights = [weight(f"x{number}/kernel:0", number) for number in range(MANY)]
    found = by_name(model, {"nested": tuple(weights[::-1] if turned else weights)}, False)
    inside = model.layers[1].model
    assert inside is not None
    assert [found[id(leaf)] for leaf in inside.layers[1:]] == [(one,) for one in weights]


def test_many_inputs_of_which_an_embedding_takes_one() -> None:
    """All are handed on to a model that holds it."""
    inputs = [given(f"i{number}", 1) for number in range(MANY)]
    named = [[f"i{number}", 0, 0] for number in range(MANY)]
    embedding = entry("Embedding", "e", [["i7", 0, 0, {}]], input_dim=3, output_dim=1)
    inner = {**graph([*inputs, embedding], named, [["e", 0, 0]], name="inner"), "name": "inner"}
    called = {**inner, "inbound_nodes": [[[*one, {}] for one in named]]}
    model = read_model(graph([*inputs, called], named, [["i0", 0, 0]]), "2.4.0")
    assert tokens(model) == {Out("i7")}


def test_many_layers_of_one_name() -> None:
    builder = Builder()
    names = [builder.name("x" * 100 + str(number)) for number in range(100_000)]
    assert len(set(names)) == 100_000
    assert names[-1] == "x" * 80 + "_100000"
