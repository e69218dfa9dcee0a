"""Data that lie on the device: where they are small enough, a batch is gathered there, by its rows."""

from __future__ import annotations

from collections.abc import Sequence

from cortex_compute.types import TensorType, dtype
from cortex_core.compiled import Compiled
from cortex_core.training.pieces import pieces
from cortex_core.training.source import Source

SHARE = 4  # at most the fourth part of what is free there


def keep_on_device(compiled: Compiled, source: Source, names: Sequence[str]) -> bool:
    """Brings the streams ``names`` to a device that works beside the host; whether it did.

    Not where they take more than a `SHARE` of its free memory, nor where examples differ from epoch to epoch,
    or in their lengths.
    """
    fixed = getattr(source, "fixed", False) and getattr(source, "lengths", None) is None
    if not compiled.backend.asynchronous or not fixed:
        return False
    streams = source.streams
    types = {n: TensorType((len(source), *streams[n].shape), dtype(streams[n].dtype)) for n in names}
    free, _ = compiled.backend.devices()[0].memory()
    if SHARE * sum(t.nbytes for t in types.values()) > free:
        return False
    compiled.keep(types, (piece.arrays for piece in pieces(source, names)))
    return True
