"""Gathers, scatters, sorting, padding and running sums of the generated kernels, against NumPy."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from cortex_compute.expression import Literal
from cortex_compute.numpy_backend.bfloat16 import narrow, widen
from cortex_compute.primitives.base import Primitive
from cortex_compute.primitives.indexing import (
    Cumsum,
    Gather,
    OneHot,
    Pad,
    ScatterAdd,
    ScatterRows,
    TopK,
)
from cortex_compute.protocol import Layout, Operand, Refusal
from cortex_compute.types import DTYPES, TensorType, bfloat16, float64, int64
from cortex_gpu.backend import CupyBackend
from cortex_gpu.indexing import padded_axes
from cortex_gpu.kernels import Work, kernel
from cortex_gpu.scatter import Scatter
from cortex_gpu.sort import Sort
from cortex_gpu.top_k import FEW
from tests.gpu import nvrtc
from tests.gpu.running import computed

NUMBERS = [d.storage for d in DTYPES.values() if d is not bfloat16]


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(5)


# Gathers.


@pytest.mark.parametrize("dtype", NUMBERS, ids=str)
@pytest.mark.parametrize("inner", [1, 3, 16, 784])
def test_rows_of_any_type_and_length(
    backend: CupyBackend, rng: np.random.Generator, dtype: np.dtype[np.generic], inner: int
) -> None:
    x, ids = rng.integers(0, 100, (9, inner)).astype(dtype), rng.integers(0, 9, 13)
    assert np.array_equal(computed(backend, Gather(0), x, ids)[0], x[ids])


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64"])
def test_ids_of_any_type_count_as_the_nearest_in_range(backend: CupyBackend, dtype: str) -> None:
    x = np.arange(12, dtype=np.float32).reshape(4, 3)
    info = np.iinfo(dtype)
    ids = np.array([info.min, 0, 3, 4, info.max], dtype)
    assert np.array_equal(
        computed(backend, Gather(0), x, ids)[0], x[np.clip(ids.astype(float), 0, 3).astype(int)]
    )


def test_rows_whose_length_is_whole_but_whose_memory_is_not_aligned(backend: CupyBackend) -> None:
    """16 bytes at a time would fault."""
    x = np.arange(64, dtype=np.float32).reshape(8, 8)
    ids = np.array([5, 1])
    device = backend.devices()[0]
    stream = device.stream()
    buffer = device.empty(4096)
    at = {"x": 4, "ids": 1024, "y": 2056}
    places = {
        "x": buffer.view(TensorType((8, 8)), at["x"]),
        "ids": buffer.view(TensorType((2,), int64), at["ids"]),
        "y": buffer.view(TensorType((2, 8)), at["y"]),
    }
    stream.copy(x, places["x"])
    stream.copy(ids, places["ids"])
    offer = backend.offer(Gather(0), [Operand(TensorType((8, 8))), Operand(TensorType((2,), int64))])
    assert not isinstance(offer, Refusal)
    with stream.active():
        offer.build().bind([places["x"], places["ids"]], [places["y"]], None)(stream)
    y = np.empty((2, 8), np.float32)
    stream.copy(places["y"], y)
    stream.synchronize()
    stream.close()
    assert np.array_equal(y, x[ids])


def test_strided_operands_are_refused(backend: CupyBackend) -> None:
    turned = Operand(TensorType((4, 5)), Layout((1, 4)))
    answer = backend.offer(Gather(0), [turned, Operand(TensorType((3,), int64))])
    assert isinstance(answer, Refusal)
    assert "row-major" in answer.reason


# Scatters.


def added(n: int, ids: np.ndarray, g: np.ndarray, base: np.ndarray | None = None) -> np.ndarray:
    """What NumPy adds along the middle axis."""
    y = np.zeros((len(g), n, g.shape[-1]), g.dtype) if base is None else base.copy()
    for a, b in zip(y, g):
        np.add.at(a, np.clip(ids, 0, n - 1), b)
    return y


REPEATS: dict[str, Callable[[np.random.Generator], np.ndarray]] = {
    "none": lambda rng: rng.permutation(500),
    "all the same": lambda rng: np.full(500, 3),
    "mostly one, as padding": lambda rng: np.where(rng.random(500) < 0.8, 7, rng.integers(0, 700, 500)),
    "few": lambda rng: rng.integers(0, 4, 500),
    "any": lambda rng: rng.integers(-5, 705, 500),
    "runs that end with a piece": lambda rng: np.repeat(np.arange(10), 32),
    "one": lambda rng: np.array([2]),
}


def ways(scatter: Scatter) -> dict[str, object]:
    return {
        "looking": kernel(scatter.look),
        "sorting": kernel(scatter.add_sorted, workspace=scatter.workspace),
    }


@pytest.mark.parametrize("repeats", REPEATS)
@pytest.mark.parametrize("way", ["looking", "sorting"])
def test_both_ways_of_a_scatter_add_all_of_it(
    backend: CupyBackend, rng: np.random.Generator, way: str, repeats: str
) -> None:
    ids = REPEATS[repeats](rng)
    g = rng.integers(-9, 9, (2, len(ids), 3)).astype(np.float32)  # sums of whole numbers are exact
    x = rng.integers(-9, 9, (2, 700, 3)).astype(np.float32)
    types = TensorType(g.shape), TensorType(ids.shape, int64)
    rows = Scatter(*types, outer=2, n=700, m=len(ids), inner=3)
    (found,) = computed(backend, ScatterRows(1, 700), ids, g, offer=ways(rows)[way])
    assert np.array_equal(found, added(700, ids, g))
    (found,) = computed(backend, ScatterAdd(1), x, ids, g, offer=ways(onto_x(rows))[way])
    assert np.array_equal(found, added(700, ids, g, x))


def onto_x(scatter: Scatter) -> Scatter:
    fields = {name: getattr(scatter, name) for name in ("g", "ids", "outer", "n", "m", "inner")}
    return Scatter(**fields, base=0)


@pytest.mark.parametrize("way", ["looking", "sorting"])
def test_many_small_ones_are_added_in_float32(
    backend: CupyBackend, rng: np.random.Generator, way: str
) -> None:
    """In bfloat16 a sum of 2,000 ones would stop at 256."""
    ids, g = np.zeros(2000, np.int64), narrow(np.ones((1, 2000, 1), np.float32))
    rows = Scatter(TensorType(g.shape, bfloat16), TensorType(ids.shape, int64), 1, 4, 2000, 1)
    offer = ways(rows)[way]
    (found,) = computed(backend, ScatterRows(1, 4), ids, g, narrow=bfloat16, offer=offer)
    assert widen(found).ravel().tolist() == [2000.0, 0.0, 0.0, 0.0]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("way", ["looking", "sorting"])
def test_one_id_with_very_many_repeats_keeps_its_digits(backend: CupyBackend, way: str, dtype: str) -> None:
    """As the id of padding has them: added one by one, each rounding of 0.1 x n goes the same way."""
    m = 100_000
    ids, g = np.full(m, 2), np.full((1, m, 1), 0.1, dtype)
    ids[7] = 0
    rows = Scatter(TensorType(g.shape, DTYPES[dtype]), TensorType(ids.shape, int64), 1, 3, m, 1)
    (found,) = computed(backend, ScatterRows(1, 3), ids, g, offer=ways(rows)[way])
    expected = np.longdouble(g[0, 0, 0]) * np.array([1, 0, m - 1])
    assert np.all(np.abs(found.ravel() - expected) <= 16 * np.finfo(dtype).eps * expected)


def test_the_cheaper_way_is_taken(backend: CupyBackend) -> None:
    def names(vocabulary: int, tokens: int) -> list[str]:
        operands = [Operand(TensorType((tokens,), int64)), Operand(TensorType((tokens, 64)))]
        offer = backend.offer(ScatterRows(0, vocabulary), operands)
        return [source.name for source in offer.build().sources]  # type: ignore[union-attr, attr-defined]

    assert names(10, 64) == ["scatter_look"]
    assert names(30_000, 8192)[-1] == "scatter_join"


def test_equal_runs_give_equal_bits(backend: CupyBackend, rng: np.random.Generator) -> None:
    ids, g = rng.integers(0, 5, 600), rng.standard_normal((1, 600, 2)).astype(np.float32)
    rows = Scatter(TensorType(g.shape), TensorType(ids.shape, int64), 1, 700, 600, 2)
    first, second = (
        computed(backend, ScatterRows(1, 700), ids, g, offer=ways(rows)["sorting"])[0] for _ in range(2)
    )
    assert first.tobytes() == second.tobytes()


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint8", "int32", "uint64", "float16", "float64"])
def test_scatters_of_any_type(backend: CupyBackend, rng: np.random.Generator, dtype: str) -> None:
    ids, g = rng.integers(0, 4, 20), rng.integers(0, 100, (20, 2)).astype(dtype)
    expected = np.zeros((4, 2), dtype)
    np.add.at(expected, ids, g)
    assert np.array_equal(computed(backend, ScatterRows(0, 4), ids, g)[0], expected)


# Sorting.


@pytest.mark.parametrize(
    ("rows", "n", "bits", "wide"), [(1, 1000, 10, False), (3, 300, 32, False), (2, 257, 64, True)]
)
def test_sort(
    backend: CupyBackend, rng: np.random.Generator, rows: int, n: int, bits: int, wide: bool
) -> None:
    keys = rng.integers(0, 2**bits - 1, (rows, n), np.uint64, endpoint=True)
    keys[:, ::3] = keys[:, :1]  # equals
    keys = keys if wide else keys.astype(np.uint32)
    sort = Sort(rows, n, bits, wide)
    device = backend.devices()[0]
    stream = device.stream()
    work = device.empty(sort.nbytes)

    def piece(place: Work, item: str) -> object:
        return work.view(TensorType((rows, n), DTYPES[item]), place.offset)

    kind = "uint64" if wide else "uint32"
    stream.copy(keys, piece(sort.keys, kind))
    stream.copy(np.tile(np.arange(n, dtype=np.int32), (rows, 1)), piece(sort.order, "int32"))
    with stream.active():
        kernel(sort.steps).build().bind([], [], work.view(TensorType((sort.nbytes,), DTYPES["uint8"])))(
            stream
        )
    order, found = np.empty((rows, n), np.int32), np.empty_like(keys)
    stream.copy(piece(sort.sorted_order, "int32"), order)
    stream.copy(piece(sort.sorted_keys, kind), found)
    stream.synchronize()
    stream.close()
    assert np.array_equal(order, np.argsort(keys, axis=1, kind="stable"))
    assert np.array_equal(found, np.sort(keys, axis=1))


def test_a_sort_of_more_than_256_tiles(backend: CupyBackend, rng: np.random.Generator) -> None:
    """Their counts are summed up in more than one go."""
    n = 256 * 256 + 5
    ids = rng.integers(0, 200, n)
    g = np.arange(n, dtype=np.int64).reshape(1, n, 1)
    rows = Scatter(TensorType(g.shape, int64), TensorType(ids.shape, int64), 1, 200, n, 1)
    (found,) = computed(backend, ScatterRows(1, 200), ids, g, offer=ways(rows)["sorting"])
    assert np.array_equal(found, added(200, ids, g))


@pytest.mark.parametrize("k", [1, FEW, FEW + 1, 300])
@pytest.mark.parametrize("largest", [True, False])
@pytest.mark.parametrize("kind", ["float16", "bfloat16", "float32", "float64"])
def test_the_best_of_rows_with_ties_and_specials(
    backend: CupyBackend, rng: np.random.Generator, kind: str, k: int, largest: bool
) -> None:
    values = np.concatenate([rng.integers(-4, 4, 290) / 2, [np.nan, -np.nan, np.inf, -np.inf, 0.0, -0.0] * 2])
    x = np.stack([rng.permutation(values)[:300] for _ in range(3)])
    size = np.where(np.isnan(x), np.inf, x)
    rank = np.stack([np.isnan(x), size], 2) * (-1 if largest else 1)
    order = np.stack([np.lexsort((np.arange(300), r[:, 1], r[:, 0])) for r in rank])[:, :k]
    given = narrow(x.astype(np.float32)) if kind == "bfloat16" else x.astype(kind)
    best, ids = computed(backend, TopK(k, largest), given, narrow=bfloat16 if kind == "bfloat16" else None)
    assert np.array_equal(ids, order)
    assert best.tobytes() == np.take_along_axis(given, order, 1).tobytes()


def test_few_long_rows_are_sorted_and_many_short_ones_selected_from(backend: CupyBackend) -> None:
    """One block reads a row of a million elements k times over in milliseconds."""

    def first(rows: int, n: int, k: int) -> str:
        offer = backend.offer(TopK(k), [Operand(TensorType((rows, n)))])
        return str(offer.build().sources[0].name)  # type: ignore[union-attr, attr-defined]

    assert first(1, 1_000_000, 5) == "top_k_keys"
    assert first(256, 1000, 5) == "top_k_select"
    assert first(256, 1000, FEW + 1) == "top_k_keys"


@pytest.mark.skipif(nvrtc.library() is None, reason="the wheel nvidia-cuda-nvrtc-cu12 is not installed")
def test_what_sorts_compiles_for_gpus(backend: CupyBackend) -> None:
    """Ways that a small case does not take."""
    ids, g = TensorType((9000,), int64), TensorType((9000, 3), bfloat16)
    asked: list[tuple[Primitive, list[TensorType]]] = [(ScatterRows(0, 700), [ids, g])]
    asked += [(TopK(50), [TensorType((3, 700), d)]) for d in (bfloat16, float64)]
    for primitive, types in asked:
        offer = backend.offer(primitive, [Operand(t) for t in types])
        sources = offer.build().sources  # type: ignore[union-attr, attr-defined]
        assert "sort_place" in {source.name for source in sources}
        for source in sources:
            assert nvrtc.compile_source(source.text, "sm_75")


# The rest.


@pytest.mark.parametrize("dtype", NUMBERS, ids=str)
def test_padding_and_one_hot_of_any_type(backend: CupyBackend, dtype: np.dtype[np.generic]) -> None:
    value = True if dtype.kind == "b" else 1.5 if dtype.kind == "f" else 3
    x = np.ones((2, 3), dtype)
    (found,) = computed(backend, Pad((1, 0), (0, 2), (0, 0), Literal(value)), x)
    assert np.array_equal(found, np.pad(x, ((1, 0), (0, 2)), constant_values=value))
    name = next(d for d in DTYPES.values() if d is not bfloat16 and d.storage == dtype)
    (found,) = computed(backend, OneHot(4, name), np.array([2, 0, 5, -1]))
    assert np.array_equal(found, np.array([[0, 0, 1, 0], [1, 0, 0, 0], [0] * 4, [0] * 4], dtype))


def test_padded_axes_that_keep_their_elements_join_the_one_before() -> None:
    def axes(low: tuple[int, ...], gap: tuple[int, ...], *shape: int) -> list[tuple[int, int, int, int]]:
        return padded_axes(Pad(low, (0,) * len(low), gap, Literal(0.0)), shape)

    assert axes((0, 1, 0, 0), (0, 0, 0, 0), 2, 5, 4, 3) == [(2, 2, 0, 1), (60, 72, 12, 1)]
    assert axes((0, 0), (0, 2), 3, 4) == [(3, 3, 0, 1), (4, 10, 0, 3)]
    assert axes((0, 0), (2, 0), 3, 4) == [(3, 7, 0, 3), (4, 4, 0, 1)]
    assert axes((0, 0, 0), (0, 0, 0), 2, 3, 4) == [(24, 24, 0, 1)]


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("axis", [0, 1])
def test_running_sums_in_float16_are_rounded_once(
    backend: CupyBackend, rng: np.random.Generator, axis: int, reverse: bool
) -> None:
    x = rng.integers(0, 3, (300, 300)).astype(np.float16)  # sums below 2,048 are exact
    (found,) = computed(backend, Cumsum(axis, reverse), x)
    wide = np.flip(x, axis) if reverse else x
    expected = np.cumsum(wide, axis, dtype=np.float64).astype(np.float16)
    assert np.array_equal(found, np.flip(expected, axis) if reverse else expected)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize(("shape", "axis"), [((200_000,), 0), ((2, 70_001), 1), ((2, 35_000, 2), 1)])
def test_long_running_sums_of_one_sign_keep_their_digits(
    backend: CupyBackend, shape: tuple[int, ...], axis: int, reverse: bool, dtype: str
) -> None:
    """Added one by one, each rounding of 0.1 x n goes the same way."""
    x = np.full(shape, 0.1, dtype)
    (found,) = computed(backend, Cumsum(axis, reverse), x)
    n = shape[axis]
    expected = np.arange(1, n + 1, dtype=np.longdouble) * np.longdouble(x.flat[0])
    expected = (expected[::-1] if reverse else expected).reshape([n, *[1] * (len(shape) - 1 - axis)])
    assert np.max(np.abs(found - expected) / expected) <= 16 * np.finfo(dtype).eps


def test_a_running_sum_of_whole_numbers_is_exact_across_pieces(
    backend: CupyBackend, rng: np.random.Generator
) -> None:
    for shape, axis in (((3, 4099), 1), ((4099, 3), 0), ((2, 1025, 2), 1)):
        x = rng.integers(-9, 9, shape)
        assert np.array_equal(computed(backend, Cumsum(axis), x)[0], np.cumsum(x, axis))


def test_a_running_sum_is_infinite_from_its_first_infinity_on(backend: CupyBackend) -> None:
    x = np.ones(5000, np.float32)
    x[3000] = np.inf
    assert np.array_equal(computed(backend, Cumsum(0), x)[0], np.cumsum(x))


def test_sources_do_not_depend_on_sizes(backend: CupyBackend) -> None:
    """A network compiles each of them once."""

    def sources(rows: int, inner: int) -> set[object]:
        ids = Operand(TensorType((rows,), int64))
        asked = {
            Gather(0): [Operand(TensorType((50, inner))), ids],
            ScatterRows(0, 50): [ids, Operand(TensorType((rows, inner)))],
            OneHot(inner): [ids],
            Cumsum(1): [Operand(TensorType((rows, inner)))],
            Pad((1, 0), (2, inner), (0, 0), Literal(float(rows))): [Operand(TensorType((rows, inner)))],
        }
        offers = [backend.offer(p, operands) for p, operands in asked.items()]
        return {source for x in offers for source in x.build().sources}  # type: ignore[union-attr, attr-defined]

    assert sources(3, 8) == sources(17, 31)
