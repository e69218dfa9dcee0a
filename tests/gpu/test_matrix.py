"""The generated product: tiles, sums in parts, and what the kit's small shapes do not reach."""

from __future__ import annotations

import numpy as np
import pytest

from cortex_compute.primitives.matrix import Gemm
from cortex_compute.protocol import Layout, Offer, Operand, Refusal
from cortex_compute.types import TensorType, float32, float64
from cortex_compute.verify.families.matrix import fused
from cortex_gpu.backend import CupyBackend, Gpu
from cortex_gpu.matrix import gemm, generated
from cortex_gpu.product import DEPTH, SIDE, Product
from tests.gpu.running import computed
from tests.gpu.standin import installed

SCALED = fused(lambda c, x, b: c * 0.5 + x * b, 3)


def product(m: int, k: int, n: int, **facts: int) -> Product:
    operands = [Operand(TensorType((m, k))), Operand(TensorType((k, n)))]
    return generated(Gemm(), operands, Gpu(**facts))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("shape", "tile"),
    [
        ((4096, 64, 4096), (4, 4)),  # the whole GPU is busy
        ((100000, 64, 20), (4, 2)),  # no wider than the result
        ((100000, 64, 10), (4, 1)),
        ((256, 64, 256), (1, 2)),  # smaller, for more blocks
        ((576, 100000, 64), (4, 4)),  # large, for its sums are cut
        ((3, 64, 5), (1, 1)),
    ],
)
def test_the_tile_fits_the_result_and_the_gpu(shape: tuple[int, int, int], tile: tuple[int, int]) -> None:
    assert product(*shape).tile == tile


def test_long_sums_of_few_results_are_cut_within_the_workspace() -> None:
    deep = product(10, 100000, 10)
    parts, chunk = deep.cut
    assert parts > 100
    assert chunk % DEPTH == 0
    assert (parts - 1) * chunk < 100000 <= parts * chunk
    assert deep.workspace == parts * 10 * 10 * 4
    assert product(10, 100000, 10, workspace=3 * 400).cut[0] == 3
    assert product(10, 100000, 10, workspace=0).cut[0] == 1
    assert product(4096, 100000, 4096).cut[0] == 1


@pytest.mark.parametrize(
    ("m", "k", "n"), [(70, 1000, 40), (17, 129, 33), (200, 40, 130), (1, 3000, 1), (16, 256, 65)]
)
@pytest.mark.parametrize("processors", [1, 108])
def test_products_of_every_tile(backend: CupyBackend, m: int, k: int, n: int, processors: int) -> None:
    rng = np.random.default_rng(m)
    a, b = rng.standard_normal((m, k), dtype=np.float32), rng.standard_normal((k, n), dtype=np.float32)
    types = [Operand(TensorType(x.shape)) for x in (a, b)]
    offer = gemm(Gemm(), types, Gpu(processors=processors))
    (found,) = computed(backend, Gemm(), a, b, offer=offer)
    exact, size = a.astype(np.float64) @ b, np.abs(a).astype(np.float64) @ np.abs(b)
    assert (np.abs(found - exact) <= 16 * float32.eps * size).all()


@pytest.mark.parametrize(("rows", "columns"), [(3, 2), (40, 40)])
@pytest.mark.parametrize("processors", [1, 108])
def test_long_sums_of_equal_numbers_are_exact_enough(
    backend: CupyBackend, rows: int, columns: int, processors: int
) -> None:
    """Each term is rounded the same way: a plain sum of so many is off by thousands of eps."""
    depth = 131072 if rows == 3 else 8192
    a, b = np.full((depth, rows), 0.1, np.float32), np.ones((depth, columns), np.float32)
    offer = gemm(Gemm(True), [Operand(TensorType(v.shape)) for v in (a, b)], Gpu(processors=processors))
    (found,) = computed(backend, Gemm(True), a, b, offer=offer)
    exact = depth * float(a[0, 0])
    assert (np.abs(found - exact) <= 16 * float32.eps * exact).all()


def test_long_sums_of_what_is_not_finite(backend: CupyBackend) -> None:
    a, b = np.ones((3, 300), np.float32), np.ones((300, 1), np.float32)
    a[0, 5], a[1, 9], a[1, 250], a[2, 70] = np.inf, np.inf, -np.inf, -np.inf
    offer = gemm(Gemm(), [Operand(TensorType(v.shape)) for v in (a, b)], Gpu(processors=1))
    (found,) = computed(backend, Gemm(), a, b, offer=offer)
    np.testing.assert_array_equal(found[:, 0], [np.inf, np.nan, -np.inf])


def test_float16_is_summed_in_float32(backend: CupyBackend) -> None:
    rng = np.random.default_rng(4)
    a, b = (rng.standard_normal(s).astype(np.float16) for s in ((20, 700), (700, 30)))
    (found,) = computed(backend, Gemm(), a, b)
    exact = a.astype(np.float64) @ b
    np.testing.assert_allclose(found, exact, rtol=2**-10, atol=1e-4)


def test_an_epilogue_follows_sums_in_parts(backend: CupyBackend) -> None:
    rng = np.random.default_rng(1)
    a, b, x, column = (rng.standard_normal(s) for s in ((5, 900), (900, 7), (5, 7), (5, 1)))
    offer = backend.offer(SCALED, [Operand(TensorType(v.shape, float64)) for v in (a, b, x, column)])
    assert isinstance(offer, Offer)
    assert offer.workspace > 0
    (found,) = computed(backend, SCALED, a, b, x, column)
    np.testing.assert_allclose(found, a @ b * 0.5 + x * column, rtol=1e-12, atol=1e-12)


def test_equal_runs_give_equal_bits_in_any_order_of_blocks() -> None:
    rng = np.random.default_rng(2)
    a, b = rng.standard_normal((900, 20), dtype=np.float32), rng.standard_normal((900, 30), dtype=np.float32)
    found = []
    for seed in (0, 7):
        with installed(seed=seed):
            from tests.gpu.standin.backend import cupy_backend

            found.append(computed(cupy_backend(), Gemm(True, sums=True), a, b))
    assert [x.tobytes() for x in found[0]] == [x.tobytes() for x in found[1]]


def test_products_of_one_kind_share_their_source() -> None:
    sources = [product(m, k, n).steps()[0].source for m, k, n in ((2000, 64, 2000), (3000, 48, 1500))]
    assert sources[0] == sources[1]


def test_a_product_that_32_bits_cannot_count_is_refused() -> None:
    strides = Layout((0, 1))
    operands = [Operand(TensorType((1 << 31, 4)), strides), Operand(TensorType((4, 5)))]
    answer = gemm(Gemm(), operands, Gpu())
    assert isinstance(answer, Refusal)
    assert "32 bits" in answer.reason


def test_the_library_is_cheaper_but_for_small_products_with_an_epilogue() -> None:
    """Fusion compares costs: an epilogue may not take a large product away from the library."""
    large, small = product(1024, 1024, 1024), product(32, 32, 32)
    assert large.cost(12 << 20, 2 << 30) > 3 * (2 << 30) / 2e13
    assert small.cost(12 << 10, 2 << 15) < 5e-6
    assert SIDE * SIDE == 256
