"""Data that lie on the device: where they are small enough, a batch is gathered there, by its rows."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from cortex_compute.types import TensorType, dtype
from cortex_core.compiled import Compiled
from cortex_core.training.source import Source

SHARE = 4  # at most the fourth part of what is free there
PIECE = 1 << 24  # bytes that are read together


def keep_on_device(compiled: Compiled, source: Source, names: Sequence[str]) -> bool:
    """Brings the streams ``names`` to a device that works beside the host; whether it did.

    Not where they take more than a `SHARE` of its free memory, nor where examples differ from epoch to epoch.
    """
    if not compiled.backend.asynchronous or not getattr(source, "fixed", False):
        return False
    streams = source.streams
    types = {n: TensorType((len(source), *streams[n].shape), dtype(streams[n].dtype)) for n in names}
    free, _ = compiled.backend.devices()[0].memory()
    if SHARE * sum(t.nbytes for t in types.values()) > free:
        return False
    compiled.keep(types, _pieces(source, types))
    return True


def _pieces(source: Source, types: Mapping[str, TensorType]) -> Iterator[dict[str, np.ndarray]]:
    row = sum(t.dtype.itemsize * math.prod(t.shape[1:]) for t in types.values())
    size = max(1, PIECE // max(1, row))
    for start in range(0, len(source), size):
        rows = np.arange(start, min(start + size, len(source)))
        piece = {n: np.empty((len(rows), *t.shape[1:]), t.dtype.storage) for n, t in types.items()}
        source.gather(rows, piece)
        yield piece
