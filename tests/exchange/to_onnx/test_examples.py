"""Every example network, exported, gives in onnxruntime what it gives here."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cortex_core.network import network
from tests.exchange.to_onnx.support import BATCHES, check, draw, inputs_of

EXAMPLES = Path(__file__).parents[3] / "examples"
FILES = [file for file in sorted(EXAMPLES.rglob("*.yaml")) if file.parent.name != "blocks"]


@pytest.mark.peers
@pytest.mark.usefixtures("made_data")
@pytest.mark.parametrize("file", FILES, ids=[str(f.relative_to(EXAMPLES).with_suffix("")) for f in FILES])
def test_it_is_the_same(file: Path) -> None:
    pytest.importorskip("onnxruntime")
    made, rng = network(file), np.random.default_rng(0)
    inputs = inputs_of(made, max(BATCHES), rng)
    draw(made, rng, inputs)
    check(made, inputs)
