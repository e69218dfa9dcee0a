"""Random numbers, against Philox in whole Python numbers."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache

import numpy as np

from cortex_compute.primitives.random import Random
from cortex_compute.types import DType, bool_, float32, float64
from cortex_compute.verify.case import Case, cases
from cortex_compute.verify.reference import magnitude, reference

MASK = 2**64 - 1


def philox(counter: list[int], key: list[int]) -> list[int]:
    """The four words of Philox4x64-10 for a counter of four words and a key of two (Salmon et al. 2011)."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(10):
        a, b = 0xD2E7470EE14C6C93 * c0, 0xCA5A826395121157 * c2
        c0, c1, c2, c3 = (b >> 64) ^ c1 ^ k0, b & MASK, (a >> 64) ^ c3 ^ k1, a & MASK
        k0, k1 = (k0 + 0x9E3779B97F4A7C15) & MASK, (k1 + 0xBB67AE8584CAA73B) & MASK
    return [c0, c1, c2, c3]


@lru_cache(maxsize=64)
def words(seed: int, run: int, stream: int, n: int) -> tuple[int, ...]:
    """The first ``n`` words."""
    blocks = (philox([block, 0, run, 0], [seed, stream]) for block in range(1, n // 4 + 2))
    return tuple(word for block in blocks for word in block)[:n]


def _uniforms(key: np.ndarray, stream: int, n: int) -> np.ndarray:
    drawn = words(int(key[0]), int(key[1]), stream, (n + 1) // 2)
    return np.array([(drawn[i // 2] >> 32 * (i % 2) & 0xFFFFFFFF) >> 8 for i in range(n)], float) * 2.0**-24


@reference(Random)
def random(p: Random, key: np.ndarray) -> tuple[np.ndarray, ...]:
    n = math.prod(p.shape)
    if p.kind == "bernoulli":
        drawn = words(int(key[0]), int(key[1]), p.stream, (n + 3) // 4)
        limit = round(p.p * 65536)
        values = np.array([(drawn[i // 4] >> 16 * (i % 4) & 0xFFFF) < limit for i in range(n)], bool)
    elif p.kind == "uniform":
        values = _uniforms(key, p.stream, n)
    else:
        radius, angle = _polar(p, key)
        values = np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1).reshape(-1)[:n]
    return (values.reshape(p.shape),)


def _polar(p: Random, key: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    u = _uniforms(key, p.stream, math.prod(p.shape) + 1)
    n = (len(u)) // 2
    return np.sqrt(-2 * np.log(1 - u[0 : 2 * n : 2])), 2 * np.pi * u[1 : 2 * n : 2]


@magnitude(Random)
def random_size(p: Random, key: np.ndarray) -> tuple[np.ndarray, ...]:
    """A normal is as exact as its radius: the angle is rounded, so that small ones cancel."""
    if p.kind != "normal":
        return (np.zeros(()),)
    return (np.repeat(_polar(p, key)[0], 2)[: math.prod(p.shape)].reshape(p.shape),)


KEYS = {"small": (7, 0), "large": (2**64 - 1, 2**63 + 5)}


@cases(Random)
def draws() -> Iterator[Case]:
    kinds: list[tuple[str, DType]] = [("uniform", float32), ("uniform", float64)]
    kinds += [("normal", float32), ("normal", float64), ("bernoulli", bool_)]
    for kind, d in kinds:
        for name, key in KEYS.items():
            yield _case(f"{kind} to {d}, {name} key", Random(kind, 2**64 - 3, (5, 7), d), key)
        for shape in ((), (1,), (2,), (3,), (0, 4), (2, 9000)):
            yield _case(f"{kind} to {d} {shape}", Random(kind, 12345, shape, d), (3, 4))
    for p in (0.0, 1.0, 1e-6, 0.1, 0.5, 0.999999):
        yield _case(f"bernoulli {p}", Random("bernoulli", 99, (5000,), bool_, p), (1, 2))


def _case(name: str, primitive: Random, key: tuple[int, int]) -> Case:
    return Case(name, primitive, lambda rng, _: [np.array(key, np.uint64)], dtypes=(float32,))
