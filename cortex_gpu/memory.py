"""Scratch: pieces of a kernel's workspace, and how operands lie."""

from __future__ import annotations

from collections.abc import Iterable

from cortex_compute.protocol import Operand, row_major
from cortex_compute.types import TensorType

__all__ = ["aligned", "nbytes", "offsets", "row_major", "strides_of"]
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


def strides_of(operand: Operand) -> tuple[int, ...]:
    """The strides of an operand, in elements."""
    return operand.strides


def nbytes(*types: TensorType) -> int:
    """Bytes of arrays of these types."""
    return sum(t.nbytes for t in types)
