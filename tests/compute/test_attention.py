"""The kernels of attention: a worked example, what is refused, memory, and how operands may lie."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from cortex_compute.backends import get
from cortex_compute.errors import BackendError, DTypeError, ShapeError
from cortex_compute.numpy_backend.attention import Cut
from cortex_compute.primitives.attention import Attention, AttentionGrad
from cortex_compute.protocol import Layout, Offer, Operand
from cortex_compute.types import TensorType, bfloat16, bool_, float16, float32, float64, uint8
from tests.compute.kernels import allocated, compute

RNG = np.random.default_rng(31)


def normal(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


def test_a_worked_example() -> None:
    """Scores (0, log 3) and (log 4, 0), by two features of which each query has one."""
    q = np.array([[1.0, 0.0], [0.0, 1.0]]).reshape(1, 2, 1, 2)
    k = np.array([[0.0, math.log(4)], [math.log(3), 0.0]]).reshape(1, 2, 1, 2)
    v = np.array([10.0, 20.0]).reshape(1, 2, 1, 1)
    y, logarithms = compute(Attention(1.0), q, k, v)
    np.testing.assert_allclose(y.ravel(), [(10 + 3 * 20) / 4, (4 * 10 + 20) / 5], rtol=1e-15)
    np.testing.assert_allclose(logarithms.ravel(), [math.log(4), math.log(5)], rtol=1e-15)
    y, logarithms = compute(Attention(1.0, causal=True), q, k, v)
    np.testing.assert_allclose(y.ravel(), [10, 12], rtol=1e-15)
    np.testing.assert_allclose(logarithms.ravel(), [0, math.log(5)], rtol=1e-15, atol=1e-15)


def test_the_worked_examples_gradient() -> None:
    """p = (1/4, 3/4) over values 10 and 20, g = 1: the slopes are p (v - y) = +- 30/16."""
    q, k = np.ones((1, 1, 1, 1)), np.array([0.0, math.log(3)]).reshape(1, 2, 1, 1)
    v, g = np.array([10.0, 20.0]).reshape(1, 2, 1, 1), np.ones((1, 1, 1, 1))
    y, logarithms = compute(Attention(2.0), q, k / 2, v)
    dq, dk, dv = compute(AttentionGrad(2.0), q, k / 2, v, y, logarithms, g)
    slope = 30 / 16
    np.testing.assert_allclose(dv.ravel(), [0.25, 0.75], rtol=1e-14)
    np.testing.assert_allclose(dk.ravel(), [-2 * slope, 2 * slope], rtol=1e-14)
    np.testing.assert_allclose(dq.ravel(), [2 * slope * math.log(3) / 2], rtol=1e-14)


@pytest.mark.parametrize("kind", [Attention, AttentionGrad])
def test_a_query_that_sees_no_key(kind: Any) -> None:
    q, k, v, g = normal(2, 3, 2, 4), normal(2, 5, 2, 4), normal(2, 5, 2, 4), normal(2, 3, 2, 4)
    mask = np.ones((2, 1, 3, 5), bool)
    mask[1, 0, 2] = False
    p = Attention(0.5, masked=True)
    y, logarithms = compute(p, q, k, v, mask)
    if kind is Attention:
        assert not y[1, 2].any()
        assert (logarithms[1, :, 2] == -np.inf).all()
        assert np.isfinite(logarithms[0]).all()
        return
    dq, dk, dv = compute(AttentionGrad(0.5, masked=True), q, k, v, mask, y, logarithms, g)
    assert not dq[1, 2].any()
    assert all(np.isfinite(a).all() for a in (dq, dk, dv))


def types(b: int, queries: int, keys: int, n: int, m: int, d: int, e: int) -> list[TensorType]:
    return [TensorType(s) for s in ((b, queries, n, d), (b, keys, m, d), (b, keys, m, e))]


@pytest.mark.parametrize(("given", "message"), [
    (types(2, 3, 4, 3, 2, 5, 5), "N a multiple of M"),
    (types(2, 3, 4, 0, 0, 5, 5), "N a multiple of M"),
    ([*types(2, 3, 4, 2, 2, 5, 5)[:2], TensorType((2, 5, 2, 5))], "N a multiple of M"),
    ([TensorType((2, 3, 8)), *types(2, 3, 4, 2, 2, 4, 4)[1:]], r"q has shape \(2, 3, 8\)"),
    (types(2, 3, 0, 2, 2, 5, 5), "there is nothing to attend to"),
    (types(2, 3, 4, 2, 2, 5, 5)[:2], "takes 3 operands"),
])  # fmt: skip
def test_shapes_that_do_not_fit_are_refused(given: list[TensorType], message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        Attention().infer(*given)


def test_masks_and_gradients_that_do_not_fit_are_refused() -> None:
    q, k, v = types(2, 3, 4, 4, 2, 5, 6)
    y, logarithms = TensorType((2, 3, 4, 6)), TensorType((2, 4, 3))
    with pytest.raises(ShapeError, match=r"mask has shape \(2, 1, 1, 3\); needs \(2, 4, 3, 4\) or 1"):
        Attention(masked=True).infer(q, k, v, TensorType((2, 1, 1, 3), bool_))
    with pytest.raises(DTypeError, match="the mask is float32; needs bool"):
        Attention(masked=True).infer(q, k, v, TensorType((2, 1, 1, 4)))
    with pytest.raises(DTypeError, match="k is float64"):
        Attention().infer(q, TensorType(k.shape, float64), v)
    with pytest.raises(ShapeError, match="l is"):
        AttentionGrad().infer(q, k, v, y, TensorType((2, 3, 4)), y)
    assert AttentionGrad().infer(q, k, v, y, logarithms, y) == (q, k, v)


def offer(name: str, kind: Any, length: int, masked: bool = False) -> Offer:
    try:
        backend = get(name)
    except BackendError as error:
        pytest.skip(str(error))
    q = TensorType((2, length, 4, 32))
    mask = [TensorType((2, 1, length, length), bool_)] if masked else []
    rest = [q, TensorType((2, 4, length)), q] if kind is AttentionGrad else []
    found = backend.offer(kind(0.2, True, masked), [Operand(t) for t in (q, q, q, *mask, *rest)])
    assert isinstance(found, Offer)
    return found


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("kind", [Attention, AttentionGrad])
@pytest.mark.parametrize("backend", ["numpy", "onednn"])
def test_memory_is_linear_in_the_length(backend: str, kind: Any, masked: bool) -> None:
    """As much more for each further key; and always far less than the scores of one head alone."""
    lengths = 2048, 4096, 8192
    sizes = [offer(backend, kind, n, masked).workspace for n in lengths]
    assert sizes[2] - sizes[1] <= 2.2 * (sizes[1] - sizes[0])
    assert sizes[2] < 4.5 * sizes[0]
    assert sizes[2] < 8192 * 8192 * 4 / 8


@pytest.mark.parametrize("length", [512, 1024, 2048])
def test_memory_stays_below_a_block_and_its_packs(length: int) -> None:
    """At 512 to 2048 the workspace is less than an eighth of all scores, and at most twice for twice."""
    for kind in (Attention, AttentionGrad):
        small, large = (offer("numpy", kind, n).workspace for n in (length, 2 * length))
        assert large <= 2 * small
        assert large < 2 * 4 * (2 * length) ** 2 * 4 / 8


def test_the_offer_is_all_that_a_kernel_takes() -> None:
    q, k, v = (normal(2, 256, 2, 32) for _ in range(3))
    y, logarithms = compute(Attention(0.2, True), q, k, v)
    assert allocated(Attention(0.2, True), q, k, v) < 16384
    assert allocated(AttentionGrad(0.2, True), q, k, v, y, logarithms, y) < 16384


@pytest.mark.parametrize("name", ["numpy", "onednn"])
def test_heads_of_one_projection_are_read_and_written_as_they_lie(name: str) -> None:
    """q, k and v are parts of one array (B, T, 3, N, D), and so are their gradients."""
    try:
        backend = get(name)
    except BackendError as error:
        pytest.skip(str(error))
    together, g = normal(3, 70, 3, 2, 16), normal(3, 70, 2, 16)
    parts = [together[:, :, i] for i in range(3)]
    y, logarithms = compute(Attention(0.25, True), *map(np.ascontiguousarray, parts))
    wanted = compute(AttentionGrad(0.25, True), *map(np.ascontiguousarray, parts), y, logarithms, g)
    strides = tuple(s // 4 for s in parts[0].strides)
    operands = [Operand(TensorType(a.shape), Layout(strides)) for a in parts]
    operands += [Operand(TensorType(a.shape)) for a in (y, logarithms, g)]
    found = backend.offer(AttentionGrad(0.25, True), operands)
    assert isinstance(found, Offer)
    assert found.strided_outputs
    assert found.workspace < offer(name, AttentionGrad, 512).workspace * 2
    result = np.full_like(together, 7)
    workspace = backend.devices()[0].empty(found.workspace).view(TensorType((found.workspace,), uint8))
    outputs = [result[:, :, i] for i in range(3)]
    stream = backend.devices()[0].stream()
    launch = found.build().bind([*parts, y, logarithms, g], outputs, workspace)
    with stream.active():
        launch(stream)
    for a, b in zip(outputs, wanted):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("narrow", [float16, bfloat16], ids=str)
def test_logarithms_beside_16_bits_are_float32(narrow: Any) -> None:
    found = Attention().infer(*(TensorType((2, 3, 2, 4), narrow),) * 3)
    assert [t.dtype for t in found] == [narrow, float32]


def test_float16_is_computed_in_float32() -> None:
    q, k, v = (RNG.standard_normal((2, 9, 2, 8)).astype(np.float16) for _ in range(3))
    y, logarithms = compute(Attention(4.0, True), q, k, v)
    wide, wanted = compute(Attention(4.0, True), *(a.astype(np.float64) for a in (q, k, v)))
    assert (y.dtype, logarithms.dtype) == (np.float16, np.float32)
    np.testing.assert_allclose(y, wide, rtol=2e-3, atol=1e-3)
    np.testing.assert_allclose(logarithms, wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize(("q", "k"), [
    ((3, 7, 4, 8), (3, 9, 2, 8)), ((64, 64, 4, 32), (64, 64, 4, 32)), ((1, 4096, 2, 16), (1, 4096, 1, 16)),
    ((2, 1, 8, 4), (2, 300, 8, 4)), ((5, 0, 2, 4), (5, 3, 2, 4)), ((1, 3, 2, 4), (1, 100000, 1, 4)),
])  # fmt: skip
def test_blocks_cover_every_query_once(q: Any, k: Any, causal: bool) -> None:
    cut = Cut(Attention(1.0, causal), q, k)
    seen = np.zeros((q[0], k[2], q[1]), int)
    for b, m in cut.chunks:
        for rows, keys in cut.parts:
            seen[b, m, rows] += 1
            assert keys == (min(rows.stop, k[1]) if causal else k[1])
            size = (b.stop - b.start) * (m.stop - m.start) * (rows.stop - rows.start) * q[2] // k[2]
            assert size <= cut.block
    assert (seen == 1).all()
