"""The example networks, as Keras has them."""

from __future__ import annotations

from pathlib import Path

import pytest

import cortex
from cortex_core.network import Network
from tests.exchange.to_keras.support import apart, inputs, of_keras, redrawn

EXAMPLES = sorted((Path(__file__).parents[3] / "examples").glob("*.yaml"))
RAW = ("yolo2",)
"""What people are shown of these, boxes, Keras cannot compute."""


@pytest.fixture
def network(request: pytest.FixtureRequest, made_data: None) -> Network:
    """An example before its training, with statistics as after it."""
    return redrawn(cortex.network(str(request.param)))


every = pytest.mark.parametrize("network", EXAMPLES, indirect=True, ids=lambda path: path.stem)


@pytest.mark.slow
@every
def test_reading_again(network: Network, tmp_path: Path) -> None:
    raw, x = network.name in RAW, inputs(network)
    cortex.to_keras(network, tmp_path / "model.keras", raw=raw)
    again = cortex.from_keras(tmp_path / "model.keras")
    assert apart(network.predict(x, raw=raw), again.predict(x)) <= 1e-6


@pytest.mark.peers
@every
def test_keras_predicts_the_same(network: Network, tmp_path: Path) -> None:
    import keras

    raw, x = network.name in RAW, inputs(network)
    cortex.to_keras(network, tmp_path / "model.keras", raw=raw)
    model = keras.models.load_model(tmp_path / "model.keras")
    assert apart(network.predict(x, raw=raw), of_keras(model, x)) <= 1e-5
