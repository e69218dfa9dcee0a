"""Scratch: pieces of a kernel's workspace, and how operands lie."""

from __future__ import annotations

from collections.abc import Iterable

from cortex_compute.protocol import Operand
from cortex_compute.types import TensorType, contiguous_strides

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
    given = operand.layout.strides
    return contiguous_strides(operand.type.shape) if given is None else given


def row_major(operand: Operand) -> bool:
    """Whether the elements lie one after the other."""
    (shape, _), strides = operand.type, operand.layout.strides
    if strides is None or 0 in shape:
        return True
    return all(n == 1 or s == d for n, s, d in zip(shape, strides, contiguous_strides(shape)))


def nbytes(*types: TensorType) -> int:
    """Bytes of arrays of these types."""
    return sum(t.nbytes for t in types)
