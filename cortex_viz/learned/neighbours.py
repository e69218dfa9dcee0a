"""The nearest rows of an embedding."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from cortex_compute.errors import DataError, SpecError
from cortex_core.network import Network
from cortex_core.probe import expect_layer
from cortex_core.registry import nearest
from cortex_viz.learned.drawing import Array

FIRST = 8  # rows, where nobody names one


class Neighbour(NamedTuple):
    """A row of an embedding, what it stands for, and the cosine between it and another."""

    row: int
    name: str
    cosine: float


def embedding_of(network: Network, layer: str | None = None) -> str:
    """The embedding that is named, by default the first.  Raises `SpecError` where there is none."""
    if layer is not None:
        expect_layer(network, layer)
    there: list[str] = [node.id for node in network.description.layers if node.kind == "embedding"]
    found = next((id for id in there if layer in (None, id)), None)
    if found is None:
        told = "it has no embedding" if layer is None else f"{layer!r} is no embedding"
        raise SpecError(f"{network.name}: {told}. Embeddings: {', '.join(there) or 'none'}")
    return found


def row_names(network: Network, layer: str) -> list[str]:
    """What the rows of an embedding stand for: the tokens or classes that the network learned of its data,
    else their numbers."""
    node = next(node for node in network.description.layers if node.id == layer)
    known: Sequence[str] = ()
    encoding: Any = network.encoding
    if encoding is not None and node.sources[0] in encoding.streams:
        vocabulary = getattr(encoding, "vocabulary", None)
        known = getattr(vocabulary, "tokens", None) or encoding.streams[node.sources[0]].classes or ()
    return [*known, *map(str, range(len(known), node.layer.tokens))][: node.layer.tokens]


def row_of(names: Sequence[str], given: str) -> int:
    """The row that stands for a name, or has that number.  Raises `DataError` where there is none."""
    if given in names:
        return list(names).index(given)
    if given.isdecimal() and int(given) < len(names):
        return int(given)
    hint = nearest(given, names) or f"Known are {len(names):,} names, such as {', '.join(names[2:6])}"
    raise DataError(f"{given!r:.60} is no row of this embedding. {hint}")


def first_rows(names: Sequence[str]) -> list[int]:
    """The first rows that stand for letters or digits: vocabularies hold the most frequent first, behind
    padding and the unknown."""
    told = [i for i, name in enumerate(names) if any(c.isalnum() for c in name)]
    return (told or list(range(len(names))))[:FIRST]


def neighbours_of(table: Array, row: int, names: Sequence[str], count: int = 10) -> list[Neighbour]:
    """The ``count`` rows of a table (n, units) with the largest cosine to one of its rows, without itself.

    The cosine with a row of zeros is 0.
    """
    vectors = np.asarray(table, np.float64)
    norms = np.linalg.norm(vectors, axis=1)
    cosines = vectors @ vectors[row] / np.where(norms * norms[row] > 0, norms * norms[row], 1.0)
    order = np.argsort(-cosines, kind="stable")
    return [Neighbour(int(i), names[i], float(cosines[i])) for i in order[order != row][:count]]
