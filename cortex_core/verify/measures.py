"""What an example may state of its network that no metric of a batch measures.

A measure is asked for a finished training and a part of its data ("test"), and gives a number.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from cortex_compute.errors import SpecError
from cortex_core.network import Network
from cortex_core.probe import activations, recorded
from cortex_core.step import loss_values, total_loss
from cortex_core.training.data import part_of
from cortex_core.training.pieces import pieces
from cortex_core.training.setup import names_of
from cortex_core.training.source import Source

Array = np.ndarray[Any, Any]
Measure = Callable[[Network, str, str], float]
ROWS = 100  # examples that are looked at together


def nearest_neighbour(network: Network, part: str, backend: str = "auto") -> float:
    """The share of a part whose nearest training example has the same ``label``.

    Near is what is near by Euclid in the output of the layer that the first loss is of.
    """
    layer = network.description.losses[0].of
    labels, vectors = {}, {}
    for name in ("train", part):
        source = part_of(network, None, name)[0]
        labels[name] = _stream(source, "label")
        vectors[name] = activations(network, source, [layer], backend=backend)[layer]
    found = nearest(vectors[part], vectors["train"])
    return float((labels["train"][found] == labels[part]).mean())


def nearest(queries: Array, points: Array) -> Array:
    """The index of the point that is nearest to each query.   (n, d), (m, d) -> (n,)"""
    queries, columns = queries.astype(np.float64), np.ascontiguousarray(points.T, np.float64)
    half = (columns**2).sum(0) / 2
    rows = [queries[i : i + ROWS] for i in range(0, len(queries), ROWS)]
    return np.concatenate([(half - part @ columns).argmin(1) for part in rows])


def denoised_mse(network: Network, part: str, backend: str = "auto") -> float:
    """The mean squared difference between pictures and what the first loss is of, given them with noise.

    The noise is normal, of the deviation of the network's first `gaussian_noise`, which rests in prediction.
    It is drawn by NumPy from seed 0.
    """
    layer, layers = network.description.losses[0].of, network.description.layers
    noise = next((node.layer for node in layers if node.kind == "gaussian_noise"), None)
    if noise is None:
        raise SpecError(f"{network.name} has no gaussian_noise; state its mse")
    source = part_of(network, None, part)[0]
    (name,) = (x.name for x in network.description.inputs)
    clean = _stream(source, name)
    drawn = np.random.default_rng(0).normal(0, noise.deviation, clean.shape)
    given = (clean + drawn).astype(np.float32)
    found = activations(network, given, [layer], backend=backend)[layer]
    return float(((found - clean).astype(np.float64) ** 2).mean())


def sampled_loss(network: Network, part: str, backend: str = "auto") -> float:
    """The loss of a part with the draws of training: of a variational autoencoder its bound, not that of the
    mean code.

    Computed eagerly, each batch with the numbers that the next step of a training would draw.
    """
    source, total, count = part_of(network, None, part)[0], 0.0, 0
    for piece in pieces(source, names_of(network)):
        for start in range(0, len(piece.rows), ROWS):
            arrays = {name: array[start : start + ROWS] for name, array in piece.arrays.items()}
            batch = recorded(network, arrays, training=True)
            losses = loss_values(network, batch.traced, batch.streams)
            size = len(piece.rows[start : start + ROWS])
            total += float(total_loss(losses, batch.traced.penalties)) * size
            count += size
    return total / count


def _stream(source: Source, name: str) -> Array:
    """All of one stream."""
    parts = [(piece.rows, piece.arrays[name]) for piece in pieces(source, [name])]
    order = np.argsort(np.concatenate([rows for rows, _ in parts]))
    return np.concatenate([array for _, array in parts])[order]


MEASURES: dict[str, Measure] = {f.__name__: f for f in (nearest_neighbour, denoised_mse, sampled_loss)}
"""By the name that the second line of an example has for it."""
