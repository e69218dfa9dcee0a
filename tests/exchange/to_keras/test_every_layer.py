"""Each layer of the registry is exported, or refused with its reason; what is read again is the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import cortex
from cortex_core.exchange.to_keras import translators
from cortex_core.exchange.to_keras.at import REFUSED, TABLE
from cortex_core.network import Network
from cortex_core.registry import LAYERS
from cortex_core.verify import minimal
from tests.exchange.to_keras.support import CASES, apart, drawn, inputs

OWN = {kind: cls for kind, cls in LAYERS.items() if cls.__module__.startswith("cortex_core.")}
KERAS_LACKS = {
    "affine": "Keras has no layer of learned numbers of a shape; layer_scale has",
    **dict.fromkeys(
        ("locally_connected1d", "locally_connected2d"), "Keras 3 has no layer .*; train with conv"
    ),
}
EXPORTED = [kind for kind in OWN if kind not in KERAS_LACKS]


def of_layer(cls: type[Any]) -> Network:
    """The example of a layer's docstring; what its losses show is left to other tests."""
    data = {k: v for k, v in minimal.description(cls).canonical.items() if k != "loss"}
    return drawn(data)


def check(network: Network, path: Path, tolerance: float = 1e-6) -> None:
    """The network that is read again predicts the same."""
    cortex.to_keras(network, path)
    x = inputs(network)
    assert apart(network.predict(x), cortex.from_keras(path).predict(x)) <= tolerance


def test_each_layer_is_exported_or_refused() -> None:
    translators.load()
    assert {*TABLE} | {*REFUSED} == {*OWN}
    assert not {*TABLE} & {*REFUSED}
    assert all(said.to for said in TABLE.values())
    assert all(map(len, REFUSED.values()))


@pytest.mark.parametrize("kind", EXPORTED)
def test_the_example_of_each_layer(kind: str, tmp_path: Path) -> None:
    check(of_layer(OWN[kind]), tmp_path / "model.keras")


@pytest.mark.parametrize("name", CASES)
def test_cases(name: str, tmp_path: Path) -> None:
    check(drawn(CASES[name]), tmp_path / "model.keras")


@pytest.mark.parametrize("kind", KERAS_LACKS)
def test_refused_layers(kind: str, tmp_path: Path) -> None:
    with pytest.raises(cortex.SpecError, match=rf"{kind} \({kind}\): {KERAS_LACKS[kind]}"):
        cortex.to_keras(of_layer(OWN[kind]), tmp_path / "model.keras")
    assert not [*tmp_path.iterdir()]
