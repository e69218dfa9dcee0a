"""Random arrays: a key (seed, run), a stream and a shape say which numbers.  No gradient flows to the key."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cortex_compute.primitives.random import Random
from cortex_compute.types import bool_
from cortex_compute.types import dtype as as_dtype
from cortex_core.ops.apply import apply
from cortex_core.ops.array import Node
from cortex_core.ops.differentiate import gradient_of


def stream_of(path: str, occurrence: int = 0) -> int:
    """The stream of the ``occurrence``-th use of randomness at ``path``: 64 bits of BLAKE2b.

    It depends on nothing else, so that another layer in a network does not change this one's numbers.
    """
    import hashlib

    digest = hashlib.blake2b(f"{path}#{occurrence}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little")


def random_uniform(key: Any, shape: Sequence[int], stream: int, dtype: object = "float32") -> Any:
    """Uniform in [0, 1), multiples of 2^-24.   key uint64 (2,) = (seed, run)"""
    return apply(Random("uniform", stream, tuple(shape), as_dtype(dtype)), key)


def random_normal(key: Any, shape: Sequence[int], stream: int, dtype: object = "float32") -> Any:
    """Normal with mean 0 and variance 1.   key uint64 (2,) = (seed, run)"""
    return apply(Random("normal", stream, tuple(shape), as_dtype(dtype)), key)


def bernoulli(key: Any, p: float, shape: Sequence[int], stream: int) -> Any:
    """True with probability ``p``, rounded to 1/65536.   key uint64 (2,) = (seed, run) -> bool"""
    return apply(Random("bernoulli", stream, tuple(shape), bool_, p), key)


@gradient_of(Random)
def _random(node: Node, g: Any) -> Any:
    """A key has no gradient, nor have the numbers drawn."""
    return (None,)
