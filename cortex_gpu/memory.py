"""Scratch: pieces of a kernel's workspace."""

from __future__ import annotations

from collections.abc import Iterable

from cortex_compute.types import TensorType

ALIGNMENT = 256  # bytes, as cudaMalloc's


def aligned(nbytes: int) -> int:
    """``nbytes`` rounded up to the alignment."""
    return -(-nbytes // ALIGNMENT) * ALIGNMENT


def offsets(sizes: Iterable[int]) -> tuple[list[int], int]:
    """The byte at which each piece begins, one after the other, and the bytes of all."""
    starts, total = [], 0
    for nbytes in sizes:
        starts.append(total)
        total += aligned(nbytes)
    return starts, total


def nbytes(*types: TensorType) -> int:
    """Bytes of arrays of these types."""
    return sum(t.nbytes for t in types)
