"""How layers of Keras are written here: with names that a description can say, without its defaults."""

from __future__ import annotations

from typing import Any

import pytest

from cortex_core.exchange.keras.build import Builder
from cortex_core.spec import read


@pytest.mark.parametrize("name", ["input", "block/conv 1", "-a-", "名前", "", "x" * 300, "1", "random_key"])
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
