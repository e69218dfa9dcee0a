"""Layers of Keras have names here that a description can say, each its own."""

from __future__ import annotations

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
