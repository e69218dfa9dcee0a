"""How layers of Keras are written here: with names that a description can say, without its defaults."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cortex
from cortex_core.exchange.build import Builder
from cortex_core.spec import read
from tests.exchange.keras.configs import entry, given, graph
from tests.exchange.keras.handmade import save_named


@pytest.mark.parametrize(
    "name", ["input", "block/conv 1", "-a-", "名前", "", "x" * 300, "1", "random_key", "_x", "_"]
)
def test_a_description_can_say_it(name: str) -> None:
    """Also where several layers have it: `input` means that of a block."""
    builder = Builder()
    given = builder.input(name, (3,), "float32")
    ids = [builder.name(name) for _ in range(3)]
    for id_ in ids:
        builder.put(id_, "relu", {}, [given], {})
    assert len({given, *ids}) == 4
    described = read({"cortex": 1, "name": "net", "inputs": builder.inputs, "layers": builder.layers})
    assert [node.id for node in described.layers] == ids


@pytest.mark.parametrize(
    ("inner", "told"),
    [
        ("tanh", "tanh"),
        ({"leaky_relu": {"slope": 0.01}}, {"leaky_relu": {}}),
        ({"leaky_relu": {"slope": 0.5}}, {"leaky_relu": {"slope": 0.5}}),
        (
            {"time_distributed": {"layer": {"softmax": {"axis": -1}}, "mask": None}},
            {"time_distributed": {"layer": {"softmax": {}}}},
        ),
    ],
)
def test_defaults_are_left_out_within_layers_too(inner: Any, told: Any) -> None:
    builder = Builder()
    x = builder.input("x", (5, 6, 3), "float32")
    builder.put("t", "time_distributed", {"layer": inner, "mask": None}, [x], {})
    assert builder.layers == [{"time_distributed": {"layer": told, "id": "t", "from": "x"}}]
    read({"cortex": 1, "name": "net", "inputs": builder.inputs, "layers": builder.layers})


@pytest.mark.parametrize(
    ("names", "here"),
    [
        (("input", "input_2"), ("input_3", "input_2")),
        (("input_2", "input"), ("input_2", "input_3")),
        (("a b", "a_b"), ("a_b_2", "a_b")),
        (("_x", "x"), ("_x", "x")),
        (("/x", "_x"), ("x", "_x")),
    ],
)
def test_no_input_takes_the_name_of_another_one(
    tmp_path: Path, names: tuple[str, str], here: tuple[str, str]
) -> None:
    """So data by the names of Keras never go to a wrong input; a note tells the new name."""
    first, second = names
    layers = [given(first), given(second), entry("Subtract", "out", [[first, 0, 0, {}], [second, 0, 0, {}]])]
    config = graph(layers, [[first, 0, 0], [second, 0, 0]], [["out", 0, 0]])
    network = cortex.from_keras(save_named(tmp_path / "model.h5", {}, config))
    assert tuple(x.name for x in network.description.inputs) == here
    x, y = np.full((1, 4), 5.0, np.float32), np.full((1, 4), 2.0, np.float32)
    np.testing.assert_array_equal(network.predict(dict(zip(here, (x, y)))), x - y)
    renamed = [pair for pair in zip(names, here) if pair[0] != pair[1]]
    assert network.origin.get("notes", []) == [f"input '{a}' is called '{b}' here" for a, b in renamed]
