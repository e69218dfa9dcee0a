"""Random numbers of the generated kernels, against NumPy's Philox."""

from __future__ import annotations

import numpy as np
import pytest

from cortex_compute.primitives.random import Random
from cortex_compute.protocol import Offer, Operand
from cortex_compute.types import DType, TensorType, bool_, float32, float64, uint64
from cortex_compute.verify.placement import Placed
from cortex_gpu.backend import CupyBackend
from tests.gpu.running import computed

STREAM = 2**64 - 3
KEYS = [(7, 0), (2**64 - 1, 2**63 + 5)]


def numpy_words(seed: int, run: int, stream: int, count: int) -> np.ndarray:
    """NumPy increments the counter before it draws."""
    key, counter = np.array([seed, stream], np.uint64), np.array([0, 0, run, 0], np.uint64)
    return np.random.Philox(key=key, counter=counter).random_raw(count)


def numpy_uniforms(seed: int, run: int, stream: int, count: int) -> np.ndarray:
    halves = numpy_words(seed, run, stream, -(-count // 2)).astype("<u8").view("<u4")[:count]
    return (halves >> 8) * 2.0**-24


@pytest.mark.parametrize("count", [1, 7, 8, 9, 5000])
@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("dtype", [float32, float64])
def test_uniforms_have_the_bits_of_numpys(
    backend: CupyBackend, key: tuple[int, int], count: int, dtype: DType
) -> None:
    drawn = Random("uniform", STREAM, (count,), dtype)
    (found,) = computed(backend, drawn, np.array(key, np.uint64))
    assert np.array_equal(found, numpy_uniforms(*key, STREAM, count))


@pytest.mark.parametrize("count", [1, 15, 16, 17, 5000])
@pytest.mark.parametrize("p", [0.0, 0.3, 1.0])
def test_bernoulli_draws_have_the_bits_of_numpys(backend: CupyBackend, count: int, p: float) -> None:
    drawn = Random("bernoulli", STREAM, (count,), bool_, p)
    (found,) = computed(backend, drawn, np.array(KEYS[1], np.uint64))
    quarters = numpy_words(*KEYS[1], STREAM, -(-count // 4)).astype("<u8").view("<u2")[:count]
    assert np.array_equal(found, quarters < round(p * 65536))


@pytest.mark.parametrize(("dtype", "eps"), [(float32, 2.0**-23), (float64, 2.0**-52)])
def test_normals_are_those_of_box_and_muller(backend: CupyBackend, dtype: DType, eps: float) -> None:
    (found,) = computed(backend, Random("normal", 5, (3001,), dtype), np.array(KEYS[0], np.uint64))
    u = numpy_uniforms(*KEYS[0], 5, 3002)
    radius, angle = np.sqrt(-2 * np.log(1 - u[0::2])), 2 * np.pi * u[1::2]
    expected = np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1).reshape(-1)[:3001]
    assert np.max(np.abs(found - expected) / np.repeat(radius, 2)[:3001]) < 16 * eps


def test_a_bound_kernel_reads_the_run_each_time(backend: CupyBackend) -> None:
    """As a captured graph would: its launches are fixed, the key's memory is not."""
    primitive = Random("uniform", 9, (100,), float32)
    offer = backend.offer(primitive, [Operand(TensorType((2,), uint64))])
    assert isinstance(offer, Offer)
    device = backend.devices()[0]
    stream = device.stream()
    key, out = Placed(device, TensorType((2,), uint64)), Placed(device, TensorType((100,), float32))
    launch = offer.build().bind([key.array], [out.array], None)
    for number in (3, 4):
        key.write(stream, np.array([1, number], np.uint64))
        with stream.active():
            launch(stream)
        assert np.array_equal(out.read(stream)[0], numpy_uniforms(1, number, 9, 100))
    stream.close()


def test_kinds_share_sources_whatever_their_stream_and_size(backend: CupyBackend) -> None:
    offers = [
        backend.offer(Random("bernoulli", s, shape, bool_, p), [Operand(TensorType((2,), uint64))])
        for s, shape, p in ((1, (4,), 0.1), (2, (60, 7), 0.5))
    ]
    assert len({source for x in offers if isinstance(x, Offer) for source in x.build().sources}) == 1  # type: ignore[attr-defined]
