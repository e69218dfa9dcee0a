"""A source from its first example to its last, in pieces of bounded memory."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from cortex_compute.errors import DataError
from cortex_compute.types import dtype
from cortex_core.training.source import Source

PIECE = 1 << 24  # bytes that are read together


class Piece(NamedTuple):
    """Which examples these are, and their arrays."""

    rows: np.ndarray
    arrays: dict[str, np.ndarray]


def pieces(source: Source, names: Sequence[str], size: int = PIECE) -> Iterator[Piece]:
    """All examples once, those of one length together; each piece in arrays of its own, of about ``size``
    bytes."""
    for length, rows in by_length(source):
        shapes = shapes_of(source, names, length)
        count = max(1, size // max(1, row_bytes(source, names, length)))
        for start in range(0, len(rows), count):
            part = rows[start : start + count]
            arrays = {n: np.empty((len(part), *s), source.streams[n].dtype) for n, s in shapes.items()}
            source.gather(part, arrays)
            yield Piece(part, arrays)


def by_length(source: Source) -> list[tuple[int | None, np.ndarray]]:
    """The padded lengths of a source's examples, and the rows of each; None where all have one shape."""
    lengths = lengths_of(source)
    if lengths is None:
        return [(None, np.arange(len(source)))]
    return [(int(n), np.flatnonzero(lengths == n)) for n in np.unique(lengths)]


def lengths_of(source: Source) -> np.ndarray | None:
    """The padded length of each example; None where all have one shape."""
    return getattr(source, "lengths", None)


def shapes_of(source: Source, names: Sequence[str], length: int | None) -> dict[str, tuple[int, ...]]:
    """The shape of one example in each stream, with the padded length where the stream leaves one open."""
    shapes = {}
    for name in names:
        open_shape: tuple[int | None, ...] = source.streams[name].shape
        if length is None and None in open_shape:
            raise DataError(
                f"stream {name!r} has the shape {list(open_shape)}: a source of examples of several lengths "
                "needs an attribute `lengths`, with the padded length of each example"
            )
        shapes[name] = tuple([length if n is None else n for n in open_shape])
    return shapes  # type: ignore[return-value]


def total_bytes(source: Source, names: Sequence[str]) -> int:
    """The bytes of all examples in these streams."""
    return sum(len(rows) * row_bytes(source, names, length) for length, rows in by_length(source))


def row_bytes(source: Source, names: Sequence[str], length: int | None) -> int:
    """The bytes of one example in these streams."""
    shapes = shapes_of(source, names, length)
    return sum(math.prod(shape) * dtype(source.streams[n].dtype).itemsize for n, shape in shapes.items())
