"""Pooling of generated kernels: any number of axes, large windows, 16 bits, and a launch's limits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cortex_compute.primitives.base import Primitive
from cortex_compute.primitives.pooling import AvgPool, AvgPoolGrad, MaxPool, MaxPoolGrad, MaxPoolPick
from cortex_compute.protocol import Layout, Offer, Operand, Refusal
from cortex_compute.types import DType, TensorType, float16, float32, uint8
from cortex_compute.verify import placement
from cortex_compute.verify.families.pooling import max_pool
from cortex_gpu import kernels, pooling
from cortex_gpu.backend import CupyBackend
from cortex_gpu.columns import packed
from tests.gpu.running import computed
from tests.gpu.standin import installed
from tests.gpu.trials import holds

FAMILY = MaxPool, MaxPoolGrad, MaxPoolPick, AvgPool, AvgPoolGrad
OVERLAPPING = ((3, 3), (2, 2), ((1, 1), (0, 1)), True)
X = (2, 9, 8, 5)


def _holds(
    backend: CupyBackend, family: type[Primitive], x: tuple[int, ...], fields: tuple[Any, ...], d: DType
) -> None:
    rng = np.random.default_rng(7)
    given = rng.standard_normal(x).astype(d.storage)
    if family is AvgPool or family is MaxPool:
        return holds(backend, family(*fields), lambda rng: [given], d)
    forward = MaxPool(*fields)
    y = forward.pooled(TensorType(x)).shape
    g = rng.standard_normal(x if family is MaxPoolPick else y).astype(d.storage)
    if family is AvgPoolGrad:
        return holds(backend, AvgPoolGrad(*fields, shape=x), lambda rng: [g], d)
    maxima = max_pool(forward, given.astype(float))[0].astype(d.storage)
    operands = [given, maxima, np.zeros(0, np.uint8), g]
    return holds(backend, family(*fields), lambda rng: operands, d, forward=(forward, (0,)))


@pytest.mark.parametrize("primitive", FAMILY)
def test_half_precision(backend: CupyBackend, primitive: type[Primitive]) -> None:
    _holds(backend, primitive, X, OVERLAPPING, float16)


@pytest.mark.parametrize("primitive", FAMILY)
@pytest.mark.parametrize("d", [float16, float32])
@pytest.mark.parametrize("guard", [64, 60])
def test_packs_of_channels(
    backend: CupyBackend, primitive: type[Primitive], d: DType, guard: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where arrays do not begin where a pack may."""
    x = (2, 9, 8, 12)
    assert packed(TensorType(x, d)) * d.itemsize == 8
    monkeypatch.setattr(placement, "GUARD", guard)
    _holds(backend, primitive, x, OVERLAPPING, d)


@pytest.mark.parametrize("primitive", FAMILY)
def test_four_spatial_axes(backend: CupyBackend, primitive: type[Primitive]) -> None:
    pairs = ((0, 0), (1, 0), (0, 1), (1, 1))
    _holds(backend, primitive, (2, 3, 4, 3, 4, 2), ((2, 2, 2, 2), (1, 2, 1, 2), pairs), float32)


@pytest.mark.parametrize("primitive", FAMILY)
def test_more_elements_than_the_threads_of_a_launch(
    backend: CupyBackend, primitive: type[Primitive], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernels, "MOST_BLOCKS", 1)
    _holds(backend, primitive, (3, 12, 11, 7), OVERLAPPING, float32)


@pytest.mark.parametrize("primitive", FAMILY)
def test_more_elements_than_32_bits_count(
    backend: CupyBackend, primitive: type[Primitive], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pooling, "index", lambda count: ("i64", np.int64))
    _holds(backend, primitive, X, OVERLAPPING, float32)


@pytest.mark.parametrize(("size", "nbytes"), [(256, 1), (257, 4)])
def test_a_winner_takes_a_byte_or_four(backend: CupyBackend, size: int, nbytes: int) -> None:
    """The last of 256 or 257 elements wins, and gets all of the gradient."""
    p = MaxPool((size,), (1,), ((0, 0),))
    offer = backend.offer(p, [Operand(TensorType((1, size, 3)))])
    assert isinstance(offer, Offer)
    assert offer.residual == 3 * nbytes
    x = np.zeros((1, size, 3), np.float32)
    x[:, -1] = 1
    y, g = np.ones((1, 1, 3), np.float32), np.full((1, 1, 3), 5, np.float32)
    operands = [x, y, np.zeros(0, np.uint8), g]
    fields = (p.size, p.stride, p.padding)
    holds(backend, MaxPoolGrad(*fields), lambda rng: operands, float32, forward=(p, (0,)))


def test_a_gradient_reads_neither_x_nor_y(backend: CupyBackend) -> None:
    """So that the program need not keep them."""
    x, y = TensorType((2, 4, 4, 3)), TensorType((2, 2, 2, 3))
    forward = backend.offer(MaxPool((2, 2), (2, 2), ((0, 0),) * 2), [Operand(x)])
    assert isinstance(forward, Offer)
    residual = Operand(TensorType((0,), uint8), forward.residual_layout)
    for family, last in ((MaxPoolGrad, y), (MaxPoolPick, x)):
        operands = [Operand(x), Operand(y), residual, Operand(last)]
        offer = backend.offer(family((2, 2), (2, 2), ((0, 0),) * 2), operands)
        assert isinstance(offer, Offer)
        assert offer.reads == {2, 3}


def test_a_residual_of_another_implementation_is_refused(backend: CupyBackend) -> None:
    x, y = TensorType((2, 4, 4, 3)), TensorType((2, 2, 2, 3))
    residual = Operand(TensorType((0,), uint8), Layout(key="onednn", nbytes=24))
    p = MaxPoolGrad((2, 2), (2, 2), ((0, 0),) * 2)
    answer = backend.offer(p, [Operand(x), Operand(y), residual, Operand(y)])
    assert isinstance(answer, Refusal)
    assert "onednn" in answer.reason


def test_batches_of_all_sizes_share_a_source(backend: CupyBackend) -> None:
    """The last, smaller batch of an epoch compiles nothing."""
    p = AvgPool((2, 2), (2, 2), ((0, 0),) * 2)
    offers = [backend.offer(p, [Operand(TensorType((n, 6, 6, 5)))]) for n in (64, 17)]
    first, second = (o.build().sources for o in offers if isinstance(o, Offer))  # type: ignore[attr-defined]
    assert first == second


def test_equal_runs_give_equal_bits() -> None:
    from tests.gpu.standin.backend import cupy_backend

    shape = (2, 20, 20, 6)
    p = AvgPoolGrad((5, 5), (1, 1), ((2, 2), (2, 2)), shape=shape)
    g = np.random.default_rng(4).standard_normal(shape).astype(np.float32)
    runs = []
    for seed in (1, 2):
        with installed(seed=seed):
            runs.append(computed(cupy_backend(), p, g)[0].tobytes())
    assert runs[0] == runs[1]
