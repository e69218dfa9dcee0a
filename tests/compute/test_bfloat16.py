"""bfloat16: its rounding, what runs on it, and that NumPy's and oneDNN's kernels say the same."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cortex_compute.backends import available, get
from cortex_compute.errors import DTypeError
from cortex_compute.expression import E, Literal, build
from cortex_compute.numpy_backend.bfloat16 import narrow, widen
from cortex_compute.onednn_backend.library import load
from cortex_compute.primitives.base import OPAQUE, Primitive
from cortex_compute.primitives.convolution import Conv
from cortex_compute.primitives.elementwise import Copy, Elementwise
from cortex_compute.primitives.indexing import Gather, OneHot, Pad
from cortex_compute.primitives.matrix import Gemm
from cortex_compute.primitives.normalization import (
    BatchNorm,
    BatchNormGrad,
    BatchNormRelu,
    BatchNormReluGrad,
    LayerNorm,
    LayerNormGrad,
)
from cortex_compute.primitives.reduce import Reduce
from cortex_compute.protocol import ROW_MAJOR, Backend, Layout, Offer, Operand
from cortex_compute.types import DType, TensorType, bfloat16, float16, float32, float64, int32, int64
from cortex_compute.verify.bfloat16 import loaded, rounded, stored

ONEDNN = next(row for row in available() if row.name == "onednn")
NAMES = ["numpy", pytest.param("onednn", marks=pytest.mark.skipif(not ONEDNN.present, reason=ONEDNN.reason))]
on_each = pytest.mark.parametrize("name", NAMES)


def numbers(*shape: int) -> np.ndarray:
    """Standard normal float32."""
    return np.random.default_rng(5).standard_normal(shape).astype(np.float32)


def halves(*shape: int) -> np.ndarray:
    """The same as bfloat16."""
    return stored(numbers(*shape))


def make(op: str, *args: Any) -> E:
    builder = next(a.builder for a in args if isinstance(a, E))
    return builder.make(op, *args)


def formula(f: Callable[..., Any], arity: int) -> Elementwise:
    built = build(f, arity)
    return Elementwise(built.code, built.literals)


def offered(backend: Backend, p: Primitive, types: Sequence[TensorType]) -> Offer:
    offer = backend.offer(p, list(map(Operand, types)))
    assert isinstance(offer, Offer), offer
    return offer


def run(backend: Backend, p: Primitive, *operands: tuple[np.ndarray, DType]) -> list[np.ndarray]:
    """The results over arrays of the given types, which may lie anyhow."""
    types = [TensorType(a.shape, d) for a, d in operands]
    layouts = [
        ROW_MAJOR if a.flags.c_contiguous else Layout(tuple(s // a.itemsize for s in a.strides))
        for a, _ in operands
    ]
    offer = backend.offer(p, list(map(Operand, types, layouts)))
    assert isinstance(offer, Offer), offer
    results = [np.zeros(offer.residual if t == OPAQUE else t.shape, t.dtype.storage) for t in p.infer(*types)]
    launch = offer.build().bind([a for a, _ in operands], results, np.full(offer.workspace, 0xFF, np.uint8))
    stream = backend.devices()[0].stream()
    with stream.active():
        launch(stream)
    return results


# Rounding.


@pytest.mark.parametrize(
    ("value", "bits"),
    [
        (1.0, 0x3F80),
        (-2.5, 0xC020),
        (1 + 2**-8, 0x3F80),  # half way: to the even one, below
        (1 + 3 * 2**-8, 0x3F82),  # half way: to the even one, above
        (1 + 2**-8 + 2**-20, 0x3F81),
        (3.3895314e38, 0x7F7F),  # the largest
        (3.4e38, 0x7F80),  # beyond half of the next step: infinity
        (-np.inf, 0xFF80),
        (-0.0, 0x8000),
        (2.0**-133, 0x0001),  # the smallest
        (2.0**-134, 0x0000),
        (np.nan, 0x7FC0),
    ],
)
def test_a_number_becomes_the_nearest_one(value: float, bits: int) -> None:
    assert narrow(np.array(value, np.float32)) == bits
    np.testing.assert_array_equal(widen(np.array(bits, np.uint16)), rounded(np.array(value, np.float32)))


@given(st.lists(st.integers(0, 2**32 - 1), min_size=1))
def test_any_float32_is_rounded_as_arithmetic_says(raw: list[int]) -> None:
    x = np.array(raw, np.uint32).view(np.float32)
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(loaded(narrow(x)), rounded(x))


def test_a_nan_stays_one_and_is_quiet() -> None:
    x = np.array([0x7F800001, 0xFFFFFFFF, 0x7FBFFFFF], np.uint32).view(np.float32)
    assert np.isnan(widen(narrow(x))).all()
    assert (narrow(x) & 0x0040).all()


def test_there_and_back_is_exact() -> None:
    every = np.arange(2**16, dtype=np.uint16)
    numbers = every[~np.isnan(widen(every))]
    np.testing.assert_array_equal(narrow(widen(numbers)), numbers)


# NumPy's kernels.


def test_a_result_is_rounded_once() -> None:
    """(1 + 3/128)^2 - 1 = (6 + 9/128) / 128, of which 6 + 1/16 stays; of a square that is rounded, 6."""
    x = np.array([1 + 3 / 128], np.float32)
    square = formula(lambda x: make("cast:bfloat16", x * x) - 1.0, 1)
    (y,) = run(get("numpy"), square, (narrow(x), bfloat16))
    assert loaded(y) == 6.0625 / 128


@pytest.mark.parametrize("bits", [0x7F81, 0x3F80, 0x8000])
def test_what_moves_elements_keeps_their_bits(bits: int) -> None:
    """0x7F81 is a NaN that signals: arithmetic would make it quiet."""
    x = np.full((3, 4), bits, np.uint16)
    (y,) = run(get("numpy"), Copy(), (x.T, bfloat16))
    assert (y == bits).all()
    (y,) = run(get("numpy"), Gather(0), (x, bfloat16), (np.array([2, 0]), int64))
    assert (y == bits).all()
    padded = Pad((1, 0), (0, 0), (0, 0), Literal(-2.5))
    (y,) = run(get("numpy"), padded, (x, bfloat16))
    assert (y[1:] == bits).all()
    assert (loaded(y[0]) == -2.5).all()


def test_one_hot_numbers() -> None:
    (y,) = run(get("numpy"), OneHot(3, bfloat16), (np.array([2, 0], np.int32), int32))
    np.testing.assert_array_equal(loaded(y), [[0, 0, 1], [1, 0, 0]])


def test_a_sum_is_computed_in_float32() -> None:
    """In bfloat16 itself 256 ones and more are 256."""
    (y,) = run(get("numpy"), Reduce("sum", (0,)), (stored(np.ones((1000, 2))), bfloat16))
    np.testing.assert_array_equal(loaded(y), rounded(np.array(1000.0)))


def test_conversions_allocate_nothing() -> None:
    backend = get("numpy")
    p = formula(lambda x, y: make("relu", x + y), 2)
    types = [TensorType((64, 4096), bfloat16)] * 2
    offer = offered(backend, p, types)
    arrays = [halves(64, 4096), halves(64, 4096), np.zeros((64, 4096), np.uint16)]
    launch = offer.build().bind(arrays[:2], arrays[2:], np.zeros(offer.workspace, np.uint8))
    stream = backend.devices()[0].stream()
    with stream.active():
        launch(stream)
        tracemalloc.start()
        try:
            launch(stream)
            assert tracemalloc.get_traced_memory()[1] < 8192
        finally:
            tracemalloc.stop()


def test_a_result_may_lie_over_any_operand_of_its_size() -> None:
    p = formula(lambda x, y: x - y, 2)
    types = [TensorType((40,), bfloat16), TensorType((40,), bfloat16)]
    assert set(offered(get("numpy"), p, types).reuse) == {(0, 0), (1, 0)}


@pytest.mark.parametrize("p", [Gemm(), formula(lambda x, y: x + y, 2)], ids=["Gemm", "add"])
def test_conversions_cost_something(p: Primitive) -> None:
    wide, half = ([TensorType((64, 64), d)] * 2 for d in (float32, bfloat16))
    assert offered(get("numpy"), p, half).cost > offered(get("numpy"), p, wide).cost + 3 * 64 * 64 * 1e-9


# Copies of float32 parameters, and gradients back into float32.


@on_each
def test_a_bfloat16_copy_of_float32(name: str) -> None:
    x = np.concatenate([numbers(5000), [np.nan, np.inf, -0.0, 3.4e38, 1 + 2**-8]]).astype(np.float32)
    (y,) = run(get(name), formula(lambda x: make("cast:bfloat16", x), 1), (x, float32))
    np.testing.assert_array_equal(loaded(y), rounded(x))
    assert np.signbit(loaded(y)[-3])


@on_each
def test_a_float32_copy_of_bfloat16(name: str) -> None:
    x = halves(5000)
    (y,) = run(get(name), formula(lambda x: make("cast:float32", x), 1), (x, bfloat16))
    np.testing.assert_array_equal(y, loaded(x))


def adam(p: Any, g: Any, m: Any, v: Any, rate: Any) -> list[Any]:
    m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * (g * g)
    root = make("sqrt", v) if isinstance(v, E) else np.sqrt(v)
    return [p - rate * m / (root + 1e-8), m, v]


@on_each
def test_adam_over_float32_with_a_bfloat16_gradient_and_copy(name: str) -> None:
    def step(p: E, g: E, *rest: E) -> list[E]:
        results = adam(p, make("cast:float32", g), *rest)
        return [*results, make("cast:bfloat16", results[0])]

    p, m, g = numbers(3, 5000)
    v, rate = m * m, np.array(0.01, np.float32)
    operands = [(p, float32), (stored(g), bfloat16), (m, float32), (v, float32), (rate, float32)]
    *found, copy = run(get(name), formula(step, 5), *operands)
    expected = adam(*(loaded(a) if d is bfloat16 else a.astype(np.float64) for a, d in operands))
    for a, b in zip(found, expected):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(loaded(copy), rounded(found[0]))


@on_each
@pytest.mark.parametrize("first", [bfloat16, float32])
@pytest.mark.parametrize("last", [bfloat16, float32])
@pytest.mark.parametrize("bend", ["", "relu", "tanh", "gate"])
def test_pointwise_code_over_both_types(name: str, first: DType, last: DType, bend: str) -> None:
    def f(x: E, y: E) -> E:
        z = make("cast:float32", x) * 0.3 + make("cast:float32", y)
        z = make("select", y > 0, z, 0.0) if bend == "gate" else make(bend, z) if bend else z
        return make(f"cast:{last}", z)

    x, y = halves(40, 500) if first is bfloat16 else numbers(40, 500), halves(40, 500)[::-1].copy()
    (found,) = run(get(name), formula(f, 2), (x, first), (y, bfloat16))
    a, b = loaded(x) if first is bfloat16 else x.astype(np.float64), loaded(y)
    z = a * 0.3 + b
    z = {"": z, "relu": np.maximum(z, 0), "tanh": np.tanh(z), "gate": np.where(b > 0, z, 0)}[bend]
    if last is float32:
        np.testing.assert_allclose(found, z, rtol=1e-5, atol=1e-6)
    else:  # half a step of rounding, and what float32 may have moved across the middle
        np.testing.assert_allclose(loaded(found), z, rtol=2**-8 + 1e-5, atol=1e-6)


# Normalization: float32 beside 16 bits.


def norms(d: DType, v: DType) -> list[tuple[Primitive, list[TensorType]]]:
    x, vector, column = TensorType((6, 4), d), TensorType((4,), v), TensorType((6,), v)
    return [
        (BatchNorm(), [x, vector, vector]),
        (BatchNormRelu(), [x, vector, vector]),
        (BatchNormGrad(), [x, vector, vector, vector, x]),
        (BatchNormReluGrad(), [x, vector, vector, vector, x, OPAQUE, x]),
        (LayerNorm(), [x, vector, vector]),
        (LayerNormGrad(), [x, vector, column, column, x]),
    ]


@pytest.mark.parametrize(
    ("d", "v"), [(bfloat16, float32), (float16, float32), (float32, float32), (float64, float64)], ids=str
)
def test_statistics_are_float32_beside_16_bits(d: DType, v: DType) -> None:
    for p, types in norms(d, v):
        first, *rest = p.infer(*types)
        assert first == types[0]
        assert {t.dtype for t in rest if t != OPAQUE} == {v}


@pytest.mark.parametrize(
    ("d", "v"), [(bfloat16, bfloat16), (float16, float16), (float64, float32), (float32, bfloat16)], ids=str
)
def test_other_vectors_are_refused_by_name(d: DType, v: DType) -> None:
    for p, types in norms(d, v):
        with pytest.raises(DTypeError, match=f"{p.name}: x is {d}, scale is {v}; cast scale to"):
            p.infer(*types)


def test_y_and_g_have_the_type_of_x() -> None:
    p, types = norms(bfloat16, float32)[3]
    for k, name in ((4, "y"), (6, "g")):
        wrong = [*types[:k], TensorType(types[k].shape), *types[k + 1 :]]
        with pytest.raises(DTypeError, match=f"{name} is float32"):
            p.infer(*wrong)


@pytest.mark.parametrize("p", [BatchNorm(), LayerNorm()], ids=lambda p: p.name)
def test_float16_is_normalized_in_float32(p: Primitive) -> None:
    """Squares of 300 are beyond float16."""
    x = (300 * numbers(50, 20)).astype(np.float16)
    scale, shift = numbers(2, 20)
    y, mean, variance = run(get("numpy"), p, (x, float16), (scale, float32), (shift, float32))
    axis, wide = (0 if isinstance(p, BatchNorm) else 1), x.astype(np.float64)
    np.testing.assert_allclose(mean, wide.mean(axis), rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(variance, wide.var(axis), rtol=1e-5)
    normal = (wide - wide.mean(axis, keepdims=True)) / np.sqrt(wide.var(axis, keepdims=True) + 1e-5)
    np.testing.assert_allclose(y, normal * scale + shift, rtol=2**-10, atol=1e-3)


# Which backend trains in it.


def test_numpy_says_that_it_gains_nothing() -> None:
    assert get("numpy").precision(float32) == get("numpy").precision(float16) == ""
    assert "use the onednn backend" in get("numpy").precision(bfloat16)


LOWER = """
import json
from cortex_compute.backends import get
from cortex_compute.primitives.matrix import Gemm
from cortex_compute.protocol import Operand
from cortex_compute.types import TensorType, bfloat16, float32
backend = get("onednn")
offers = [backend.offer(Gemm(), [Operand(TensorType((256, 256), d))] * 2) for d in (bfloat16, float32)]
words = [backend.precision(d) for d in (bfloat16, float32)]
print(json.dumps([*words, *(o.implementation for o in offers)]))
"""


@pytest.mark.skipif(not ONEDNN.present, reason=ONEDNN.reason)
@pytest.mark.parametrize(("most", "name", "bits"), [("AVX512_CORE", "AVX-512", 0x27), ("AVX2", "AVX2", 0x7)])
def test_a_cpu_without_bfloat16_says_so_and_leaves_it_to_numpy(most: str, name: str, bits: int) -> None:
    if load().instructions & bits != bits:
        pytest.skip(f"this CPU has no {name}")
    env = {**os.environ, "ONEDNN_MAX_CPU_ISA": most}
    done = subprocess.run([sys.executable, "-c", LOWER], env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    reason, none, half, full = json.loads(done.stdout)
    assert reason == (
        f"this CPU ({name}) has neither AVX512_BF16 nor AMX, which bfloat16 wants: train in float32"
    )
    assert (none, half) == ("", "numpy")
    assert full.startswith("onednn ")


@pytest.mark.skipif(not ONEDNN.present, reason=ONEDNN.reason)
def test_a_convolution_with_a_float32_result() -> None:
    """An epilogue that casts to float32: nothing is rounded."""
    p, x, w = _same(), halves(2, 6, 6, 16), halves(3, 3, 16, 32)
    cast = build(lambda y: make("cast:float32", y), 1)
    wide = Conv(**p, epilogue=cast.code)
    found, expected = (run(get(n), wide, (x, bfloat16), (w, bfloat16))[0] for n in ("onednn", "numpy"))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def _same() -> dict[str, Any]:
    return {"stride": (1, 1), "padding": ((1, 1), (1, 1)), "dilation": (1, 1), "groups": 1}
