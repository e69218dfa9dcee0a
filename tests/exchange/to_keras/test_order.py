"""Weights of equal shapes find their layers: Keras knows them by the order in which it lists these."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cortex
from cortex_core.exchange.to_keras.graph import LAYERS, Call, Graph, Tensor
from cortex_core.exchange.to_keras.order import listed
from tests.exchange.to_keras.support import drawn
from tests.exchange.to_keras.test_every_layer import check


def crossed(seed: int) -> dict[str, Any]:
    """Dense layers of one shape that take any of those before them, some of which share their weights."""
    rng = np.random.default_rng(seed)
    names, layers = ["a", "b"], list[dict[str, Any]]()
    for number in range(14):
        id_ = f"n{number}"
        if number % 4 == 3:
            sources = [str(name) for name in rng.choice(names, 2, replace=False)]
            layers.append({"add": {"from": sources, "id": id_}})
        else:
            fields = {"units": 4, "activation": "tanh", "from": str(rng.choice(names)), "id": id_}
            owners = [
                next(iter(x.values()))["id"] for x in layers if "dense" in x and "share" not in x["dense"]
            ]
            if owners and rng.random() < 0.25:
                fields["share"] = str(rng.choice(owners))
            layers.append({"dense": fields})
        names.append(id_)
    used = {s for x in layers for v in x.values() for s in (v["from"] if "add" in x else [v["from"]])}
    layers.append({"add": {"from": ["a", "b"], "id": "inputs"}})
    ends = [name for name in names if name not in used | {"a", "b"}]
    return {"inputs": {"a": [4], "b": [4]}, "layers": layers, "outputs": [*reversed(ends), "inputs"]}


@pytest.mark.parametrize("seed", range(8))
def test_reading_again(seed: int, tmp_path: Path) -> None:
    check(drawn(crossed(seed)), tmp_path / "model.keras")


def test_the_deepest_come_first() -> None:
    """x -> long -> join, x -> short -> join: `short` is one call from the output, as `last` is."""
    graph = Graph()
    x = graph.input("x", (1,), "float32")

    def call(name: str, *args: Tensor) -> Tensor:
        return graph.call(graph.add(name, LAYERS, "Dense", {}), Call(args, {}), (1,))

    short = call("short", x)
    last = call("last", call("long", x))
    unused = call("unused", x)
    join = call("join", last, short)
    found = [layer.name for layer in listed(graph.layers, [join])]
    assert found == ["x", "long", "last", "short", "join"]
    assert unused.layer not in found


def test_a_long_chain_is_no_recursion() -> None:
    graph = Graph()
    x = graph.input("x", (1,), "float32")
    for number in range(3000):
        x = graph.call(graph.add(f"d{number}", LAYERS, "Dense", {}), Call((x,), {}), (1,))
    assert [layer.name for layer in listed(graph.layers, [x])] == ["x", *(f"d{n}" for n in range(3000))]


def test_names_are_free_and_such_as_keras_takes() -> None:
    graph = Graph()
    names = [graph.add(name, LAYERS, "Dense", {}).name for name in ("u.0/a", "u.0_a", "_é", "/")]
    assert names == ["u.0_a", "u.0_a_2", "layer", "layer_2"]
    assert cortex.to_keras.__module__ == "cortex_core.exchange.to_keras.export"
