"""The two published networks over names, beside NumPy: one has the hard sigmoid of Keras 2 in its gates."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import cortex
from cortex_core.probe import activations

FILES = Path(os.environ.get("CORTEX_DATA", "")) / "keras"
pytestmark = pytest.mark.skipif(not FILES.is_dir(), reason="CORTEX_DATA has no folder keras")


def hard_sigmoid(x: np.ndarray) -> np.ndarray:
    return np.clip(0.2 * x + 0.5, 0, 1)


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def arrays(path: Path) -> dict[str, Any]:
    """All of a file in float64, by the last part of its names."""
    found: dict[str, Any] = {}
    with h5py.File(path) as file:

        def keep(name: str, x: Any) -> None:
            if isinstance(x, h5py.Dataset):
                found[f"{name.split('_')[0].split('/')[0]}/{name.rpartition('/')[2]}"] = np.float64(x[()])

        file["model_weights"].visititems(keep)
    return found


def computed(w: dict[str, Any], words: np.ndarray, gate: Callable[[np.ndarray], np.ndarray]) -> Any:
    """The embedded words, the last state of the lstm, and the chances."""
    x = w["embedding/embeddings:0"][words]
    units = len(w["lstm/recurrent_kernel:0"])
    h = c = np.zeros((len(words), units))
    for t in range(words.shape[1]):
        sums = x[:, t] @ w["lstm/kernel:0"] + h @ w["lstm/recurrent_kernel:0"] + w["lstm/bias:0"]
        i, f, g, o = (sums[:, k * units : (k + 1) * units] for k in range(4))
        c = gate(f) * c + gate(i) * np.tanh(g)
        h = gate(o) * np.tanh(c)
    scores = np.exp(h @ w["dense/kernel:0"] + w["dense/bias:0"])
    return x, h, scores / scores.sum(1, keepdims=True)


@pytest.mark.parametrize(("version", "tokens", "gate"), [("k216", 981, hard_sigmoid), ("k250", 977, sigmoid)])
def test_a_published_network(version: str, tokens: int, gate: Callable[[np.ndarray], np.ndarray]) -> None:
    path = FILES / f"ethnicolr_census2010_lstm_{version}.h5"
    words = np.random.default_rng(0).integers(1, tokens, (8, 20))
    for row, length in enumerate((4, 6, 9, 20)):
        words[row, : 20 - length] = 0
    embedded, state, chances = computed(arrays(path), words, gate)
    network = cortex.from_keras(path)
    ids = [node.id for node in network.description.layers[:2]]
    found = activations(network, words, ids)
    for name, right in zip(ids, (embedded, state), strict=True):
        np.testing.assert_allclose(found[name], right, atol=1e-5 * np.abs(right).max())
    np.testing.assert_allclose(network.predict(words), chances, atol=1e-5)
    assert np.abs(chances[0] - chances[1:]).max(1).min() > 1e-3
