"""The texts of an HDF5 file, looked at before HDF5 is asked for them.

A text of variable length lies in a heap of the file; an attribute has a reference to it, of 16 bytes, which
says how long it is.  A thousand references to one text of a megabyte are a gigabyte in memory, and so is one
that lies; of a heap that is damaged HDF5 never comes to the end.  HDF5 says none of this beforehand.

The format is that of the HDF5 specification: III.E (global heaps), IV.A.2.m (attributes), VIII (references).
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Mapping
from typing import Any

HEAP = b"GCOL\x01"
TEXT = struct.Struct("<HHIQ")
"""Of a text in a heap: its number, how often it is referred to (which nothing keeps to), zero, its length."""
REFERENCE = struct.Struct("<IQI")
"""The length of a text, the address of its heap, its number there."""
VARIABLE = 9
"""The class of types of variable length."""
MOST_TEXTS = 1 << 20

Texts = Mapping[tuple[int, int], int]
"""The lengths of texts by the addresses of their heaps and their numbers there."""


def texts(data: Any) -> Texts:
    """All texts in the bytes of a file, or in a map of them.

    Raises `ValueError` where its heaps are not as HDF5 writes them.
    """
    if _sizes(data) != (8, 8):
        raise ValueError("addresses of another length than 8 bytes")
    found: dict[tuple[int, int], int] = {}
    for heap in _places(data, HEAP):
        for number, size in _texts(data, heap):
            found[heap, number] = size
        if len(found) > MOST_TEXTS:
            raise ValueError(f"more than {MOST_TEXTS} texts")
    return found


def longest(data: Any, name: str, known: Texts) -> int:
    """How many bytes of text the largest attribute of this name refers to.

    Raises `ValueError` where it cannot be found, or refers to what is no text of the file.
    """
    found = [
        _referred(data, start, count, known) for start, count in _attributes(data, name.encode() + b"\0")
    ]
    if not found:
        raise ValueError(f"the attribute '{name}' is not where HDF5 puts it")
    return max(found)


def _places(data: Any, what: bytes) -> Iterator[int]:
    at = -1
    while (at := data.find(what, at + 1)) >= 0:
        yield at


def _sizes(data: Any) -> tuple[int, int]:
    """How many bytes addresses and lengths have, as the superblock says."""
    at = 13 if data[8] < 2 else 9
    return data[at], data[at + 1]


def _texts(data: Any, heap: int) -> Iterator[tuple[int, int]]:
    """Numbers and lengths; the last one, of number 0, is what is free."""
    end = heap + int.from_bytes(data[heap + 8 : heap + 16], "little")
    at = heap + 16
    while at + TEXT.size <= min(end, len(data)):
        number, _, _, size = TEXT.unpack_from(data, at)
        length = TEXT.size + _padded(size) if number else size
        if length < TEXT.size or at + length > end:
            if data.find(heap.to_bytes(8, "little")) >= 0:
                raise ValueError(f"a text of {size} bytes in the heap at {heap}")
            return  # numbers that look like a heap: nothing refers to it
        if number:
            yield number, size
        at += length


def _padded(size: int) -> int:
    return -(-size // 8) * 8


def _attributes(data: Any, name: bytes) -> Iterator[tuple[int, int]]:
    """Where the references of each attribute of this name begin, and how many there are."""
    for at in _places(data, name):
        version = next((v for v, ahead in ((3, 9), (2, 8), (1, 8)) if data[max(at - ahead, 0)] == v), 0)
        if not version:
            continue
        flags, *sizes = struct.unpack_from("<BHHH", data, at - (8 if version == 3 else 7))
        named, typed, spaced = map(_padded, sizes) if version == 1 else sizes
        kind, space = at + named, at + named + typed
        if space + spaced + REFERENCE.size > len(data) or data[kind] & 15 != VARIABLE:
            continue
        if version > 1 and flags:
            raise ValueError("an attribute whose type is said elsewhere")
        yield space + spaced, _count(data, space)


def _count(data: Any, space: int) -> int:
    """Of how many elements a dataspace is."""
    version, rank = data[space], data[space + 1]
    start = space + (8 if version == 1 else 4)
    return math.prod(struct.unpack_from(f"<{rank}Q", data, start)) if start + 8 * rank <= len(data) else 0


def _referred(data: Any, start: int, count: int, known: Texts) -> int:
    if start + count * REFERENCE.size > len(data):
        raise ValueError(f"a list of {count} texts")
    total = 0
    for number in range(count):
        size, heap, index = REFERENCE.unpack_from(data, start + number * REFERENCE.size)
        if size > known.get((heap, index), 0):
            raise ValueError(f"{size} bytes of the text {index} in the heap at {heap}")
        total += known.get((heap, index), 0)
    return total
