"""Arrays of HDF5 files whose author nobody knows: which are read, and how, so that none unpacks to more than
it declares."""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any

import numpy as np

GZIP, SHUFFLE, FLETCHER = 1, 2, 3
"""By the numbers that HDF5 has for its filters.  All else may be code from outside, or is so rare that nobody
has measured what it unpacks to."""
SLACK = 16
"""Bytes by which a packed chunk may exceed what it holds: checksums."""
MOST_CHUNKS = 1 << 18
NUMBERS = "fiub"
BFLOAT16 = np.dtype("V2")
"""What h5py makes of bfloat16, which NumPy does not know."""


def no_numbers(dataset: Any) -> str:
    """What is in an array instead of numbers; empty where it has these."""
    dtype = dataset.dtype
    if dataset.shape is None:
        return "nothing"
    if dtype == BFLOAT16 or (dtype.kind in NUMBERS and dtype.itemsize <= 8 and not dtype.metadata):
        return ""
    return "an enumeration" if dtype.kind in NUMBERS and dtype.metadata else str(dtype)


def refusal(dataset: Any) -> str:
    """Why an array must not be read; empty where it may."""
    from h5py import h5d

    created = dataset.get_create_plist()
    if created.get_layout() == h5d.VIRTUAL or created.get_external_count():
        return "its numbers lie in other files, which are not read"
    filters = [created.get_filter(number) for number in range(created.get_nfilters())]
    if len({code for code, *_ in filters}) < len(filters):
        return "is packed twice by one filter, which hides how large it is"
    for code, _, _, name in filters:
        if code not in (GZIP, SHUFFLE, FLETCHER):
            told = f"'{name.decode('utf-8', 'replace')}' ({code})" if name else str(code)
            return f"is packed by the filter {told}, which may be code from outside; h5repack unpacks it"
    return ""


def chunk_of(dataset: Any) -> tuple[int, ...]:
    """The shape of its chunks; empty where it has none."""
    from h5py import h5d

    created = dataset.get_create_plist()
    return tuple(created.get_chunk()) if created.get_layout() == h5d.CHUNKED else ()


def chunks(shape: Sequence[int], chunk: Sequence[int]) -> int:
    """How many chunks an array has."""
    return math.prod(math.ceil(n / c) for n, c in zip(shape, chunk)) if chunk else 0


def read_array(dataset: Any) -> np.ndarray:
    """The numbers of an array, in this machine's order of bytes; bfloat16 as float32."""
    found = np.asarray(dataset[()])
    if found.dtype == BFLOAT16:  # the upper half of a float32
        return (found.view(np.uint16).astype(np.uint32) << 16).view(np.float32)
    return found.astype(found.dtype.newbyteorder("="), copy=False)


def unpacking(dataset: Any) -> str:
    """Why what is packed must not be unpacked; empty where it may.

    HDF5 unpacks whatever it finds.  Here it is unpacked once, no further than it declares.
    """
    created = dataset.get_create_plist()
    filters = [created.get_filter(number)[0] for number in range(created.get_nfilters())]
    if not filters:
        return ""
    chunk = chunk_of(dataset)
    size = math.prod(chunk) * dataset.dtype.itemsize
    for start, stored in _stored(dataset, chunk):
        if stored > size + size // 1000 + SLACK:
            return f"{stored} bytes are stored for a chunk of {size}"
        skipped, data = dataset.read_direct_chunk(start)
        used = [code for bit, code in enumerate(filters) if not skipped >> bit & 1]
        if _length(data, used, size, dataset.dtype.itemsize) != size:
            return f"its chunk at {[*start]} does not unpack to the {size} bytes that it declares"
    return ""


def _stored(dataset: Any, chunk: Sequence[int]) -> Iterator[tuple[tuple[int, ...], int]]:
    """Where each chunk begins that the file has, and how many bytes it takes there."""
    for start in product(*(range(0, n, c) for n, c in zip(dataset.shape, chunk))):
        found = dataset.get_chunk_info_by_coord(start)
        if found.size:
            yield start, found.size


def _length(data: bytes, filters: Sequence[int], size: int, itemsize: int) -> int:
    """How many bytes a chunk unpacks to, as far as it matters; -1 for what is damaged."""
    for code in reversed(filters):
        if code == FLETCHER:
            data = data[:-4]
        elif code == SHUFFLE:
            data = _unshuffled(data, itemsize)
        else:
            unpacker = zlib.decompressobj()
            try:
                data = unpacker.decompress(data, size + SLACK)
            except zlib.error:
                return -1
            if not unpacker.eof:
                return -1
    return len(data)


def _unshuffled(data: bytes, itemsize: int) -> bytes:
    """The bytes number by number, which the filter has put together by their places in the numbers."""
    whole = len(data) // itemsize * itemsize
    parts = np.frombuffer(data[:whole], np.uint8).reshape(itemsize, -1)
    return parts.T.tobytes() + data[whole:]
