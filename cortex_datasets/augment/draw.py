"""Random numbers that follow from (seed, augmentation, sample, epoch) alone, for many samples at once.

The generator is Philox4x32-10 (Salmon, Moraes, Dror, Shaw: Parallel random numbers: as easy as 1, 2, 3,
2011), counter based: nothing is kept between two draws, so neither the order of the samples nor the size of a
batch matters, and a resumed run draws what the unbroken one would have drawn.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

NUMBERS = 8  # uniforms that each augmentation has for each sample and epoch
LOW = np.uint64(0xFFFFFFFF)
HALF = np.uint64(32)
MULTIPLIERS = np.array([0xD2511F53, 0xCD9E8D57], np.uint64)
WEYL = np.array([0x9E3779B9, 0xBB67AE85], np.uint64)
ROUNDS = np.arange(10, dtype=np.uint64)


def philox(counter: Array, key: Array) -> Array:
    """Philox4x32-10: four words of 32 bits for each counter.

    ``counter`` (4, ...) and ``key`` (2, ...) are uint64 below 2^32 and broadcast behind the first axis; so
    is the result (4, ...).
    """
    shape = np.broadcast_shapes(counter.shape[1:], key.shape[1:])
    even, odd = counter[0::2], counter[1::2]
    tail = (1,) * (key.ndim - 1)
    multipliers = MULTIPLIERS.reshape(2, *(1,) * len(shape))
    keys = (key + ROUNDS.reshape(10, 1, *tail) * WEYL.reshape(2, *tail)) & LOW
    for round_key in keys:
        product = even * multipliers
        even = (product >> HALF)[::-1] ^ odd ^ round_key
        odd = (product & LOW)[::-1]
    return np.stack([even[0], odd[0], even[1], odd[1]])


def key_of(seed: int, position: int, name: str) -> Array:
    """The key (2,) of the augmentation ``name`` that stands at ``position`` of the list."""
    digest = hashlib.blake2b(f"{seed} {position} {name}".encode(), digest_size=8).digest()
    return np.frombuffer(digest, "<u4").astype(np.uint64)


class Draws:
    """The numbers of one augmentation for some samples, handed out one after the other.

    Every method gives one number for each sample.  At most ``NUMBERS`` may be asked for, normals apart.
    """

    def __init__(self, numbers: Array, key: Array, samples: Array, epoch: int, stream: int = 0) -> None:
        self._numbers, self._key, self.samples = numbers, key, samples
        self._epoch, self._stream = epoch, stream
        self._next = 0

    def __len__(self) -> int:
        return len(self.samples)

    def part(self, span: slice) -> Draws:
        """The same numbers for some of the samples, from the first on."""
        return Draws(self._numbers[:, span], self._key, self.samples[span], self._epoch, self._stream)

    def again(self, stream: int) -> Draws:
        """The same numbers, from the first on, for another stream of the samples; normals differ."""
        return Draws(self._numbers, self._key, self.samples, self._epoch, stream)

    def uniform(self, low: float = 0.0, high: float = 1.0) -> Array:
        """float64 (samples,) in low .. high."""
        self._next += 1
        numbers: Array = self._numbers[self._next - 1]
        return low + (high - low) * numbers

    def happens(self, probability: float) -> Array:
        """bool (samples,), true with this probability."""
        return np.less(self.uniform(), probability)

    def below(self, count: int | Array) -> Array:
        """int64 (samples,) in 0 .. count - 1; ``count`` may differ from sample to sample."""
        return np.floor(self.uniform() * count).astype(np.int64)

    def normal(self, out: Array) -> None:
        """Fills ``out`` (samples, ...), float32, with standard normal numbers, of each stream its own.

        Box and Muller, 1958: sqrt(-2 ln u) cos(2 pi v), and the same with the sine.  u and v have 16 bits
        each, half a word: none is farther from 0 than 4.9.
        """
        flat = out.reshape(len(out), -1)
        blocks = -(-flat.shape[1] // 8)
        counter = _counter(self.samples, self._epoch, blocks)
        counter[3] += (self._stream + 1) << 24  # behind what is drawn evenly
        words = philox(counter, self._key.reshape(2, 1, 1)).astype(np.uint32)
        halves = ((half.astype(np.float32) + np.float32(0.5)) for half in (words >> 16, words & 0xFFFF))
        u, v = (half * np.float32(2.0**-16) for half in halves)
        radius, angle = np.sqrt(-2 * np.log(u)), np.float32(2 * np.pi) * v
        numbers = np.concatenate([radius * np.cos(angle), radius * np.sin(angle)])
        flat[...] = numbers.reshape(8 * blocks, len(out))[: flat.shape[1]].T


def draw(keys: Sequence[Array], samples: Array, epoch: int) -> list[Draws]:
    """The draws of each key for these samples in this epoch.

    Counter: the sample (64 bits), the epoch, and which four of the ``NUMBERS``.
    """
    counter = _counter(samples, epoch, NUMBERS // 4)[:, :, None]
    words = philox(counter, np.stack(keys, axis=1).reshape(2, 1, len(keys), 1))
    numbers = words.reshape(NUMBERS, len(keys), len(samples)) * 2.0**-32
    return [Draws(numbers[:, i], key, samples, epoch) for i, key in enumerate(keys)]


def _counter(samples: Array, epoch: int, blocks: int) -> Array:
    """(4, blocks, samples): the sample in two words, the epoch, the block of four words."""
    rows = samples.astype(np.uint64)
    counter = np.empty((4, blocks, len(rows)), np.uint64)
    counter[0], counter[1], counter[2] = rows & LOW, rows >> HALF, epoch
    counter[3] = np.arange(blocks).reshape(-1, 1)
    return counter
