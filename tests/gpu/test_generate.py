"""Generation over the stand-in for a GPU: what layers keep stays on the device, steps are captured."""

from __future__ import annotations

from typing import Any

import pytest

from cortex_core.generate import generate
from cortex_gpu.backend import CupyBackend
from tests.core.generate.networks import language

CONV = {"conv1d": {"filters": 8, "kernel": 3, "padding": [[2, 0]], "activation": "tanh"}}
ATTENTION = {"multi_head_attention": {"heads": 2, "causal": True}}


@pytest.mark.parametrize("layer", [CONV, ATTENTION], ids=["conv1d", "attention"])
def test_the_tokens_of_the_cpu(
    backend: CupyBackend, layer: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    network = language(layer, length=6)
    wanted = generate(network, [3, 1, 4], 20, temperature=2.0, seed=1, backend="numpy")
    monkeypatch.setattr("cortex_core.generate.continuation.get", lambda name: backend)
    for cache in (True, False):
        found = generate(network, [3, 1, 4], 20, temperature=2.0, seed=1, cache=cache)
        assert found.tokens == wanted.tokens
        assert found.log_probabilities == pytest.approx(wanted.log_probabilities, abs=1e-4)
