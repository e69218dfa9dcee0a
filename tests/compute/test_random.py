"""Random numbers: Philox's published vectors, NumPy's own generator, and Philox in whole numbers."""

from __future__ import annotations

import numpy as np
import pytest

from cortex_compute.primitives.random import Random
from cortex_compute.types import bool_, float32, float64
from cortex_compute.verify.families.random import philox
from tests.compute.kernels import allocated, bound, compute

KEY = np.array([2**64 - 9, 5], np.uint64)
STREAM = 0xDEADBEEF12345678
N = 20_001


def words(n: int) -> np.ndarray:
    """Words of Philox in whole numbers for KEY and STREAM."""
    key = [int(KEY[0]), STREAM]
    blocks = [philox([block, 0, int(KEY[1]), 0], key) for block in range(1, n // 4 + 2)]
    return np.array(blocks, np.uint64).reshape(-1)[:n]


@pytest.mark.parametrize(
    ("counter", "key", "wanted"),
    [
        ("0" * 64, "0" * 32, "16554d9eca36314cdb20fe9d672d0fdcd7e772cee186176b7e68b68aec7ba23b"),
        ("f" * 64, "f" * 32, "87b092c3013fe90b438c3c67be8d02249cc7d7c69cd777b6a09caebf594f0ba0"),
        (
            "243f6a8885a308d313198a2e03707344a4093822299f31d0082efa98ec4e6c89",
            "452821e638d01377be5466cf34e90c6c",
            "a528f45403e61d9538c72dbd566e9788a5a1610e72fd18b557bd43b5e52b7fe6",
        ),
    ],
)
def test_philox_is_the_published_one(counter: str, key: str, wanted: str) -> None:
    """The known answers that Random123 ships for philox4x64-10."""

    def split(text: str) -> list[int]:
        return [int(text[i : i + 16], 16) for i in range(0, len(text), 16)]

    assert philox(split(counter), split(key)) == split(wanted)


def test_uniforms_bit_for_bit() -> None:
    halves = np.stack([words(N) & 0xFFFFFFFF, words(N) >> 32], 1).reshape(-1)[:N]
    wanted = (halves >> 8).astype(np.float64) * 2.0**-24
    for d in (float32, float64):
        np.testing.assert_array_equal(compute(Random("uniform", STREAM, (N,), d), KEY), wanted)


def test_uniforms_are_what_numpy_draws() -> None:
    bits = np.random.Philox(key=np.array([KEY[0], STREAM], np.uint64), counter=[0, 0, 5, 0])
    wanted = np.random.Generator(bits).random(N, np.float32)
    np.testing.assert_array_equal(compute(Random("uniform", STREAM, (N,)), KEY), wanted)


@pytest.mark.parametrize("p", [0.0, 1e-5, 0.3, 0.5, 0.99999, 1.0])
def test_bernoulli_bit_for_bit(p: float) -> None:
    quarters = (words(N // 4 + 1)[:, None] >> np.array([0, 16, 32, 48], np.uint64)) & 0xFFFF
    wanted = quarters.reshape(-1)[:N] < round(p * 65536)
    np.testing.assert_array_equal(compute(Random("bernoulli", STREAM, (N,), bool_, p), KEY), wanted)


def test_normals_are_box_and_mullers() -> None:
    u = compute(Random("uniform", STREAM, (N + 1,), float64), KEY)
    radius, angle = np.sqrt(-2 * np.log(1 - u[::2])), 2 * np.pi * u[1::2]
    wanted = np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1).reshape(-1)[:N]
    np.testing.assert_allclose(compute(Random("normal", STREAM, (N,), float64), KEY), wanted, rtol=1e-14)
    single = compute(Random("normal", STREAM, (N,)), KEY)
    assert abs(single - wanted).max() < 1e-5
    assert np.isfinite(single).all()


@pytest.mark.parametrize("kind", ["uniform", "normal", "bernoulli"])
def test_each_run_reads_the_key(kind: str) -> None:
    key = KEY.copy()
    d = bool_ if kind == "bernoulli" else float32
    run, (y,) = bound(Random(kind, 1, (100,), d), key)
    run()
    first = y.copy()
    key[1] += np.uint64(1)
    run()
    assert (y != first).any()
    key[1] -= np.uint64(1)
    run()
    np.testing.assert_array_equal(y, first)


@pytest.mark.parametrize("kind", ["uniform", "normal", "bernoulli"])
def test_a_run_allocates_nothing_of_size(kind: str) -> None:
    for d in (bool_,) if kind == "bernoulli" else (float32, float64):
        assert allocated(Random(kind, 1, (100_000,), d), KEY) < 4096
