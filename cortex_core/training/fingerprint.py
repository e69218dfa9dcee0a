"""What data were trained on, in a few bytes: a run goes on with the same ones only."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from hashlib import blake2b
from typing import Any

import numpy as np

from cortex_core.training.data import Data
from cortex_core.training.pieces import by_length, row_bytes, shapes_of
from cortex_core.training.source import Source

PIECE = 1 << 20  # bytes that are looked at, at each of three places


def fingerprint(data: Data) -> dict[str, Any]:
    """How many examples each part has, and a digest of the training part as it is, before it is varied.

    Plain data.  Of large data only the first, the middle and the last megabyte are looked at, so that this
    takes some milliseconds.
    """
    counts = {part: len(rows) for part, rows in data.rows.items()}
    if data.validation is not None:
        counts["validation"] = len(data.validation)
    return {"counts": {**counts, "train": len(data.plain)}, "digest": digest(data.plain, data.names)}


def digest(source: Source, names: Sequence[str]) -> str:
    """Of the bytes of some examples in the streams ``names``."""
    hashed = blake2b(digest_size=16)
    for length, rows in _some(source, names):
        shapes = shapes_of(source, names, length)
        arrays = {n: np.empty((len(rows), *s), source.streams[n].dtype) for n, s in shapes.items()}
        source.gather(rows, arrays)
        for array in arrays.values():
            hashed.update(array.reshape(-1).view(np.uint8).data)
    return hashed.hexdigest()


def _some(source: Source, names: Sequence[str]) -> Iterator[tuple[int | None, np.ndarray]]:
    """The rows at the beginning, in the middle and at the end of the examples of each length."""
    for length, rows in by_length(source):
        count = min(len(rows), max(1, PIECE // max(1, row_bytes(source, names, length))))
        last = len(rows) - count
        for start in sorted({0, last // 2, last}):
            yield length, rows[start : start + count]


def difference(then: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """How the data of a run differ from those of now, in words; empty where they are the same."""
    for part in dict.fromkeys((*then["counts"], *now["counts"])):
        before, here = (counts.get(part, 0) for counts in (then["counts"], now["counts"]))
        if before != here:
            return f"it had {before:,} {part} examples, the data now have {here:,}"
    return "" if then["digest"] == now["digest"] else "the training examples or their order have changed"
