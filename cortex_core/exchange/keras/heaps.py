"""The texts of an HDF5 file, looked at before HDF5 is asked for them.

A text of variable length lies in a heap of the file, and an attribute has a reference to it: 16 bytes.  A
thousand references to one text of a megabyte are a gigabyte in memory, which HDF5 cannot say beforehand; and
of a heap that is damaged it never comes to the end.

The format is that of the HDF5 specification, III.E (global heaps) and VIII (references to them).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

HEAP = b"GCOL\x01"
HEADER = struct.Struct("<HHIQ")
"""Of a text in a heap: its number, how often it is referred to (which nothing keeps to), zero, its length."""
SHORT = 1 << 10
"""Bytes of the longest name of a layer or of an array."""
MOST_TEXTS, MOST_LONG = 1 << 20, 64

Text = tuple[int, int, int]
"""The address of its heap, its number there, its length."""


def long_texts(data: Any) -> list[Text]:
    """The texts that are no names; ``data``: the bytes of a file, or a map of them.

    Raises `ValueError` where its heaps are not as HDF5 writes them.
    """
    if _sizes(data) != (8, 8):
        raise ValueError("addresses of another length than 8 bytes")
    found: list[Text] = []
    heap, count = -1, 0
    while (heap := data.find(HEAP, heap + 1)) >= 0:
        texts = [*_texts(data, heap)]
        count += len(texts)
        found += [text for text in texts if text[2] > SHORT]
        if count > MOST_TEXTS or len(found) > MOST_LONG:
            raise ValueError("more texts than any of Keras's")
    return found


def most_bytes(data: Any, count: int, long_: list[Text]) -> int:
    """No more than so many bytes take ``count`` texts of a file with these long ones."""
    return count * SHORT + sum(size * min(count, _references(data, heap, n)) for heap, n, size in long_)


def _sizes(data: Any) -> tuple[int, int]:
    """How many bytes addresses and lengths have, as the superblock says."""
    at = 13 if data[8] < 2 else 9
    return data[at], data[at + 1]


def _texts(data: Any, heap: int) -> Iterator[Text]:
    end = heap + int.from_bytes(data[heap + 8 : heap + 16], "little")
    at = heap + 16
    while at + HEADER.size <= min(end, len(data)):
        number, _, _, size = HEADER.unpack_from(data, at)
        length = HEADER.size + -(-size // 8) * 8 if number else size
        if length < HEADER.size or at + length > end:
            if _is_referred_to(data, heap):
                raise ValueError(f"a text of {size} bytes in the heap at {heap}")
            return  # numbers that look like a heap
        if number:
            yield heap, number, size
        at += length


def _is_referred_to(data: Any, heap: int) -> bool:
    return bool(data.find(heap.to_bytes(8, "little")) >= 0)


def _references(data: Any, heap: int, number: int) -> int:
    reference, found, at = heap.to_bytes(8, "little") + number.to_bytes(4, "little"), 0, -1
    while (at := data.find(reference, at + 1)) >= 0:
        found += 1
    return found
