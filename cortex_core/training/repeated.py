"""Examples that stand in two parts of the data: on what a network has seen, nothing can be proved."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from hashlib import blake2b

import numpy as np

from cortex_core.training.pieces import pieces, total_bytes
from cortex_core.training.source import Source

DIGEST = np.dtype("V16")
LARGEST = 1 << 30  # bytes that are compared, which takes some seconds
PIECE = 1 << 20  # bytes that are in memory at a time
EACH = 256  # bytes that take as long as one example more


def repeated(seen: Source, unseen: Source, names: Sequence[str]) -> int:
    """How many examples of ``unseen`` have the same bytes in all the streams ``names`` as one of ``seen``.

    Examples are compared by 128-bit digests (BLAKE2b), which two different ones never share; of each example
    16 bytes are kept.
    """
    return int(np.isin(_digests(unseen, names), _digests(seen, names)).sum())


def leaks(train: Source, parts: Mapping[str, Source], names: Sequence[str]) -> Iterator[str]:
    """For each part that has examples of the training part a note that says how many; what is too large to be
    compared is said, too."""
    sources = train, *parts.values()
    if parts and sum(total_bytes(x, names) + EACH * len(x) for x in sources) > LARGEST:
        yield f"{sum(map(len, sources)):,} examples are too many to look for repeated ones"
        return
    for part, source in parts.items():
        count = repeated(train, source, names)
        if count:
            verb = "is" if count == 1 else "are"
            yield f"{count} of {len(source)} {part} examples {verb} in the training part, too"


def _digests(source: Source, names: Sequence[str]) -> np.ndarray:
    made = bytearray()
    for piece in pieces(source, names, PIECE):
        streams = (array.reshape(len(array), -1).view(np.uint8) for array in piece.arrays.values())
        for example in zip(*streams):
            made += _digest(example)
    return np.frombuffer(made, DIGEST)


def _digest(example: Sequence[np.ndarray]) -> bytes:
    """Of the bytes of an example, its streams one after the other."""
    hashed = blake2b(digest_size=DIGEST.itemsize)
    for stream in example:
        hashed.update(stream.data)
    return hashed.digest()
