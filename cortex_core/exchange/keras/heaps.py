"""How much memory the texts of an HDF5 attribute may take, told before HDF5 is asked for them.

A text of variable length lies in a heap of the file, and the attribute has a reference to it: 16 bytes.  A
thousand references to one text of a megabyte are a gigabyte in memory.  HDF5 cannot say so beforehand, thus
the heaps are looked through: what is long there, and how often the file refers to it.

The format is that of the HDF5 specification, III.E (global heaps) and VIII (references to them).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

HEAP = b"GCOL\x01\0\0\0"
HEADER = struct.Struct("<HHIQ")
"""Of a text in a heap: its number, how often it is referred to (which nothing keeps to), zero, its length."""
SHORT = 1 << 10
"""Bytes of the longest name of a layer or of an array."""
MOST_TEXTS, MOST_LONG = 1 << 20, 64


def most_bytes(data: Any, count: int) -> int | None:
    """No more than so many bytes take ``count`` texts of a file; ``data``: its bytes, or a map of them.

    None where that cannot be told.
    """
    if _sizes(data) != (8, 8):
        return None
    total, seen, long_ = count * SHORT, 0, 0
    for heap, number, size in _texts(data):
        seen, long_ = seen + 1, long_ + (size > SHORT)
        if seen > MOST_TEXTS or long_ > MOST_LONG:
            return None
        if size > SHORT:
            total += size * min(count, _references(data, heap, number))
    return total


def _sizes(data: Any) -> tuple[int, int]:
    """How many bytes addresses and lengths have, as the superblock says."""
    at = 13 if data[8] < 2 else 9
    return data[at], data[at + 1]


def _texts(data: Any) -> Iterator[tuple[int, int, int]]:
    """The address of the heap, the number in it, and the length of every text."""
    heap = -1
    while (heap := data.find(HEAP, heap + 1)) >= 0:
        end = min(heap + int.from_bytes(data[heap + 8 : heap + 16], "little"), len(data))
        at = heap + 16
        while at + HEADER.size <= end:
            number, _, _, size = HEADER.unpack_from(data, at)
            if number:
                yield heap, number, min(size, end - at)
            at += max(HEADER.size, -(-size // 8) * 8 + (HEADER.size if number else 0))


def _references(data: Any, heap: int, number: int) -> int:
    reference, found, at = heap.to_bytes(8, "little") + number.to_bytes(4, "little"), 0, -1
    while (at := data.find(reference, at + 1)) >= 0:
        found += 1
    return found
