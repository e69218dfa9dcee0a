"""Batch and layer norm of generated kernels: many rows, many parts, 16 bits, any order of blocks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cortex_compute.primitives.normalization import (
    BatchNorm,
    BatchNormGrad,
    BatchNormRelu,
    BatchNormReluGrad,
    LayerNorm,
    LayerNormGrad,
    Normalization,
)
from cortex_compute.protocol import Layout, Offer, Operand, Refusal
from cortex_compute.types import DType, TensorType, float16, float32, uint8
from cortex_compute.verify import placement
from cortex_compute.verify.families.normalization import _behind_relu
from cortex_compute.verify.placement import Placed
from cortex_gpu import kernels
from cortex_gpu.backend import CupyBackend
from cortex_gpu.columns import CHUNK, Columns
from tests.gpu.running import computed
from tests.gpu.standin import Machine, installed
from tests.gpu.trials import holds

FAMILY = BatchNorm, BatchNormGrad, BatchNormRelu, BatchNormReluGrad, LayerNorm, LayerNormGrad
GATE = (BatchNormRelu(), (0, 1, 2))
EPS = float(np.finfo(np.float32).eps)


def _operands(p: Normalization, shape: tuple[int, ...], d: DType) -> list[np.ndarray]:
    """The operands; beside an x of 16 bits those that are not like it are float32."""
    rng = np.random.default_rng(5)
    channels, rows = shape[-1:], shape[:-1]
    if isinstance(p, BatchNormReluGrad):
        made = list(_behind_relu(BatchNormRelu(), shape, 0.0)(rng, d))
    else:
        per_row = isinstance(p, LayerNormGrad)
        shapes = {
            "x": shape,
            "g": shape,
            **dict.fromkeys(("mean", "variance"), rows if per_row else channels),
        }
        made = [rng.standard_normal(shapes.get(name, channels)) for name in p.operands]
    for k, name in enumerate(p.operands):
        if name != "residual":
            narrow = name not in p.wide or d.itemsize > 2
            value = np.abs(made[k]) + 0.5 if name == "variance" else made[k]
            made[k] = value.astype(d.storage if narrow else np.float32)
    return made


def _holds(backend: CupyBackend, p: Normalization, shape: tuple[int, ...], d: DType) -> None:
    forward = GATE if isinstance(p, BatchNormReluGrad) else None
    holds(backend, p, lambda rng: _operands(p, shape, d), d, forward)


def _small(backend: CupyBackend) -> CupyBackend:
    """On a GPU with two processors: few blocks, so that a thread has many rows."""
    return CupyBackend(replace(backend.gpu, processors=2))


def _alone(backend: CupyBackend) -> CupyBackend:
    return CupyBackend(replace(backend.gpu, processors=1))


@pytest.mark.parametrize("p", [f() for f in FAMILY], ids=str)
@pytest.mark.parametrize("shape", [(3, 5, 33), (70, 4)])
def test_half_precision_beside_vectors_of_float32(
    backend: CupyBackend, p: Normalization, shape: tuple[int, ...]
) -> None:
    _holds(backend, p, shape, float16)


@pytest.mark.parametrize("p", [f() for f in FAMILY[:4]] + [LayerNormGrad()], ids=str)
@pytest.mark.parametrize("shape", [(8011, 3), (1501, 70)])
def test_a_thread_with_many_rows(backend: CupyBackend, p: Normalization, shape: tuple[int, ...]) -> None:
    columns = Columns(TensorType(shape), 2)
    assert 1 < columns.parts <= 8
    assert columns.step > CHUNK * columns.height  # more than it reads at once
    _holds(_small(backend), p, shape, float32)


@pytest.mark.parametrize("p", [f() for f in FAMILY], ids=str)
@pytest.mark.parametrize("d", [float16, float32])
def test_arrays_that_do_not_begin_where_a_pack_may(
    backend: CupyBackend, p: Normalization, d: DType, monkeypatch: pytest.MonkeyPatch
) -> None:
    shape = (70, 24)
    assert Columns(TensorType(shape, d), 1).pack * d.itemsize == 8
    monkeypatch.setattr(placement, "GUARD", 60)
    _holds(backend, p, shape, d)


@pytest.mark.parametrize("rows", [1, 7, 64, 65, 4096, 131072, 1605632])
@pytest.mark.parametrize("channels", [1, 3, 16, 64, 2048])
def test_parts_cover_the_rows_and_fill_the_processors(rows: int, channels: int) -> None:
    c = Columns(TensorType((rows, channels)), 108)
    assert (c.parts - 1) * c.step < rows <= c.parts * c.step
    tile = c.width * c.pack
    assert c.tiles * tile >= channels > (c.tiles - 1) * tile
    assert c.parts <= 65535  # of a launch
    if rows * channels >= 1 << 22:
        assert c.parts * c.tiles >= 108


def test_parts_of_a_constant_whose_square_is_too_large(backend: CupyBackend) -> None:
    x, one = np.full((1040, 16), 3e19, np.float32), np.ones(16, np.float32)
    holds(_alone(backend), BatchNorm(), lambda rng: [x, one, one], float32)


def test_moments_of_very_many_rows(backend: CupyBackend) -> None:
    """All roundings of a long sum of equal squares go one way."""
    size = np.array([0.1, 0.3, 0.7], np.float32)
    height = Columns(TensorType((1 << 20, 3)), 1).height
    x = np.where(np.arange(1 << 20)[:, None] // height % 2, size, -size)  # both signs in each thread
    one = np.ones(3, np.float32)
    _, mean, variance = computed(_alone(backend), BatchNorm(), x, one, one)
    np.testing.assert_allclose(mean, 0, atol=16 * EPS * 0.1)
    np.testing.assert_allclose(variance, size.astype(np.float64) ** 2, rtol=16 * EPS)


@pytest.mark.parametrize("p", [BatchNormGrad(), LayerNormGrad()], ids=str)
def test_sums_of_very_many_rows(backend: CupyBackend, p: Normalization) -> None:
    rows = 1 << 20
    size = np.array([0.1, 0.3, 0.7], np.float32)
    g, h = np.tile(size, (rows, 1)), np.tile(size[::-1], (rows, 1))
    count = rows if isinstance(p, LayerNormGrad) else 3
    mean, variance, one = np.zeros(count, np.float32), np.ones(count, np.float32), np.ones(3, np.float32)
    _, dscale, dshift = computed(_alone(backend), p, h, one, mean, variance, g)
    exact = size.astype(np.float64)
    deviation = np.sqrt(1 + p.epsilon)
    np.testing.assert_allclose(dshift, rows * exact, rtol=16 * EPS)
    np.testing.assert_allclose(dscale, rows * exact * exact[::-1] / deviation, rtol=16 * EPS)


@pytest.mark.parametrize(("shape", "launches"), [((20, 24), 2), ((3, 1700), 2), ((900, 36), 3)])
def test_what_one_part_has_is_the_result(
    backend: CupyBackend, machine: Machine, shape: tuple[int, ...], launches: int
) -> None:
    for p in (BatchNorm(), BatchNormGrad(), LayerNormGrad()):
        before = machine.launches
        computed(backend, p, *_operands(p, shape, float32))
        assert machine.launches - before == launches


def test_sums_that_nobody_wants_are_left_out(backend: CupyBackend, machine: Machine) -> None:
    p, device = LayerNormGrad(), backend.devices()[0]
    types = [TensorType(a.shape) for a in _operands(p, (900, 36), float32)]
    offer = backend.offer(p, [Operand(t) for t in types])
    assert isinstance(offer, Offer)
    *operands, dx, workspace = (
        Placed(device, t).array for t in (*types, types[0], TensorType((offer.workspace,), uint8))
    )
    launch = offer.build().bind(operands, [dx, None, None], workspace)
    before = machine.launches
    launch(device.stream())
    assert machine.launches - before == 1


@pytest.mark.parametrize("first", [1e4, -1e4])
def test_a_variance_beside_a_first_row_that_is_unlike_all_others(backend: CupyBackend, first: float) -> None:
    """Where sums are taken of the distances to the first row, nothing of the variance is left."""
    x = np.random.default_rng(1).standard_normal((4000, 2)).astype(np.float32)
    x[0, 0] = first
    one = np.ones(2, np.float32)
    _, mean, variance = computed(_small(backend), BatchNorm(), x, one, one)
    exact = x.astype(np.float64)
    np.testing.assert_allclose(mean, exact.mean(0), rtol=0, atol=1e-6 * np.abs(exact).mean(0).max())
    np.testing.assert_allclose(variance, exact.var(0), rtol=1e-5)


def test_a_variance_far_from_zero(backend: CupyBackend) -> None:
    x = (3000 + np.random.default_rng(2).standard_normal((9000, 2))).astype(np.float32)
    one = np.ones(2, np.float32)
    variance = computed(_small(backend), BatchNorm(), x, one, one)[2]
    np.testing.assert_allclose(variance, x.astype(np.float64).var(0), rtol=1e-4)


@pytest.mark.parametrize("p", [LayerNorm(), LayerNormGrad()], ids=str)
@pytest.mark.parametrize("n", [3, 10, 20, 31, 1024, 1025, 2500])
def test_rows_of_all_teams(backend: CupyBackend, p: Normalization, n: int) -> None:
    _holds(backend, p, (5, n), float32)


@pytest.mark.parametrize("p", [LayerNorm(), LayerNormGrad()], ids=str)
@pytest.mark.parametrize("n", [7, 1030])
def test_more_rows_than_the_blocks_of_a_launch(
    backend: CupyBackend, p: Normalization, n: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernels, "MOST_BLOCKS", 3)
    _holds(backend, p, (70, n), float32)


@pytest.mark.parametrize("p", [BatchNorm(), BatchNormGrad(), LayerNormGrad()], ids=str)
def test_equal_runs_give_equal_bits(p: Normalization) -> None:
    """Whatever the order in which blocks and threads get their turn."""
    from tests.gpu.standin.backend import cupy_backend

    runs = []
    for seed in (1, 2, 3):
        with installed(seed=seed):
            runs.append(computed(cupy_backend(), p, *_operands(p, (900, 36), float32)))
    for other in runs[1:]:
        assert all(a.tobytes() == b.tobytes() for a, b in zip(runs[0], other))


def test_a_residual_of_another_implementation_is_refused(backend: CupyBackend) -> None:
    x, vector = TensorType((4, 3)), TensorType((3,))
    residual = Operand(TensorType((0,), uint8), Layout(key="cudnn", nbytes=4))
    operands = [*map(Operand, (x, vector, vector, vector, x)), residual, Operand(x)]
    answer = backend.offer(BatchNormReluGrad(), operands)
    assert isinstance(answer, Refusal)
    assert "cudnn" in answer.reason
