"""Networks with numbers at random, what goes into them, and how near two results are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import yaml

import cortex
from cortex_core.given import lookups
from cortex_core.network import Network

Arrays = dict[str, np.ndarray]
CASES: dict[str, Any] = yaml.safe_load(Path(__file__).with_name("cases.yaml").read_text(encoding="utf-8"))
BATCH, LENGTH, STEPS = 4, 6, 3


def drawn(description: Any) -> Network:
    """The network of a description, with numbers that matter."""
    return redrawn(cortex.network(description))


def redrawn(network: Network) -> Network:
    """The network with other numbers, of statistics too."""
    rng = np.random.default_rng(1)
    for name, old in network.parameters.items():
        fan = np.prod(old.shape[:-1]) if old.ndim > 1 else 9
        network.parameters[name] = rng.normal(0, 1 / np.sqrt(fan), old.shape).astype(np.float32)
    for name, old in network.variables.items():
        network.variables[name] = rng.uniform(0.5, 1.5, old.shape).astype(np.float32)
    return network


def inputs(network: Network) -> Arrays:
    """A batch: of sequences some steps are 0, and of truths the first is true."""
    rng = np.random.default_rng(2)
    tokens = {found.stream: found.tokens for found in lookups(network.description)}
    return {x.name: _drawn(x, tokens.get(x.name, STEPS), rng) for x in network.description.inputs}


def _drawn(x: Any, below: int, rng: np.random.Generator) -> np.ndarray:
    shape = (BATCH, *(n or LENGTH for n in x.shape))
    if x.dtype == "bool":
        found = rng.integers(0, 2, shape).astype(bool)
        found[:, 0] = True
        return found
    if str(x.dtype).startswith("int"):
        return rng.integers(int(len(shape) == 1), below, shape)
    found = rng.normal(size=shape).astype(np.float32)
    if len(shape) > 2:
        found[0, 0] = found[1, -1] = 0
    return found


def of_keras(model: Any, x: Arrays) -> Any:
    """What a model of Keras makes of a batch."""
    given = [x[tensor.name] for tensor in model.inputs]
    return model.predict(given if len(given) > 1 else given[0], verbose=0)


def listed(found: Any) -> list[np.ndarray]:
    """Outputs in order, whatever gave them."""
    if isinstance(found, dict):
        return [*map(np.asarray, found.values())]
    return [*map(np.asarray, found)] if isinstance(found, (list, tuple)) else [np.asarray(found)]


def apart(ours: Any, theirs: Any) -> float:
    """How far the outputs are from each other, relative to the largest number of each."""
    pairs = [*zip(listed(ours), listed(theirs), strict=True)]
    for a, b in pairs:
        assert a.shape == b.shape, f"{a.shape}, there {b.shape}"
        assert np.isfinite(a).all()
        assert a.size
    return max(
        float(np.abs(np.float64(a) - np.float64(b)).max() / max(1e-30, np.abs(a).max())) for a, b in pairs
    )
