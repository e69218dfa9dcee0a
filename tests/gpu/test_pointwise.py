"""Pointwise code as CUDA, evaluated on the CPU at the edges of its types, against NumPy and SciPy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from scipy import special

from cortex_compute.expression import ARITY, BOOLEAN, COMPARISONS, FLOATING, Literal, build
from cortex_compute.numpy_backend.bfloat16 import narrow, widen
from cortex_compute.primitives.elementwise import Elementwise
from cortex_compute.types import (
    DTYPES,
    DType,
    bfloat16,
    bool_,
    dtype,
    float16,
    float32,
    float64,
    int64,
    uint64,
)
from cortex_compute.verify.families.elementwise import formula, make
from cortex_gpu.backend import CupyBackend
from cortex_gpu.pointwise import parameters, statements, title
from tests.gpu.running import computed, types_of

REFERENCES: dict[str, Callable[..., Any]] = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide, "pow": np.power,
    "neg": np.negative, "min": np.minimum, "max": np.maximum, "abs": np.abs, "floor": np.floor,
    "relu": lambda x: np.maximum(x, np.zeros_like(x)), "exp": np.exp, "log": np.log, "log1p": np.log1p,
    "expm1": np.expm1, "sqrt": np.sqrt, "rsqrt": lambda x: 1 / np.sqrt(x), "tanh": np.tanh,
    "sigmoid": special.expit, "erf": special.erf, "sin": np.sin, "cos": np.cos, "isfinite": np.isfinite,
    "not": np.logical_not, "and": np.logical_and, "or": np.logical_or, "lt": np.less, "le": np.less_equal,
    "gt": np.greater, "ge": np.greater_equal, "eq": np.equal, "ne": np.not_equal,
    "select": lambda c, x, y: np.where(c != 0, x, y),
}  # fmt: skip
ANY_ZERO = frozenset({"relu", "min", "max"})  # of equal zeros either may be taken
INTEGERS = [d for d in DTYPES.values() if d.kind == "int"]
FLOATS = [float16, bfloat16, float32, float64]


def ops_of(arity: int) -> list[str]:
    return [op for op, n in ARITY.items() if n == arity]


def every(ops: Sequence[str], arity: int) -> Elementwise:
    """One primitive with a result for each op."""
    return formula(lambda *xs: [make(op, *xs) for op in ops], arity)


def written(values: Any, d: DType) -> np.ndarray:
    """What lies in memory for numbers of a data type."""
    with np.errstate(all="ignore"):
        values = np.asarray(values)
        return narrow(values.astype(np.float32)) if d is bfloat16 else values.astype(d.storage)


def read(memory: np.ndarray, d: DType) -> np.ndarray:
    """The numbers, the floating ones in float64."""
    values = widen(memory) if d is bfloat16 else memory
    return values.astype(np.float64) if d.kind == "float" else values


def run(backend: CupyBackend, p: Elementwise, *operands: tuple[Any, DType]) -> list[np.ndarray]:
    """The results of a primitive as numbers."""
    memory = tuple(written(values, d) for values, d in operands)
    short = bfloat16 if any(d is bfloat16 for _, d in operands) else None
    results = p.infer(*types_of(memory, short))
    return [read(a, t.dtype) for a, t in zip(computed(backend, p, *memory, narrow=short), results)]


def grid(values: np.ndarray, arity: int) -> list[np.ndarray]:
    """All combinations of some values."""
    return [a.ravel().copy() for a in np.meshgrid(*[values] * arity, indexing="ij")]


def edges(d: DType) -> np.ndarray:
    """Ordinary numbers and the ends of a floating type, in float64."""
    largest = 3.3895313892515355e38 if d is bfloat16 else float(np.finfo(d.storage).max)
    smallest = 2.0**-126 if d is bfloat16 else float(np.finfo(d.storage).tiny)
    positive = [0.0, 1.0, 0.5, 2.0, 2.5, 3.0, 1e-3, 0.99, 30.0, 88.0, 1000.0, largest, smallest, np.inf]
    values = np.array([*positive, *(-x for x in positive), np.nan])
    return read(written(values, d), d)


def expect_near(actual: np.ndarray, wanted: np.ndarray, d: DType, zeros: bool, what: str) -> None:
    """NaN, infinities and, with ``zeros``, the signs of zeros are in their places; else 4 eps."""
    rounded = read(written(wanted, d), d)
    smallest = 2.0**-126 if d is bfloat16 else float(np.finfo(d.storage).tiny)
    finite = np.isfinite(rounded)
    np.testing.assert_array_equal(actual[~finite], rounded[~finite], what)
    error = np.abs(actual[finite] - wanted[finite])
    assert np.all(error <= 4 * d.eps * np.abs(wanted[finite]) + smallest), what
    if zeros:
        same = np.signbit(actual) == np.signbit(rounded)
        assert np.all(same | (rounded != 0) | (actual != 0)), what


@pytest.mark.parametrize("arity", [1, 2, 3])
@pytest.mark.parametrize("d", FLOATS, ids=str)
def test_functions_at_the_edges_of_floating_types(backend: CupyBackend, d: DType, arity: int) -> None:
    ops, operands = ops_of(arity), grid(edges(d), arity)
    actual = run(backend, every(ops, arity), *((x, d) for x in operands))
    with np.errstate(all="ignore"):
        for op, y in zip(ops, actual):
            wanted = REFERENCES[op](*operands)
            if op in BOOLEAN:
                np.testing.assert_array_equal(y, wanted, op)
            else:
                expect_near(y, wanted, d, op not in ANY_ZERO, op)


@pytest.mark.parametrize("d", INTEGERS, ids=str)
def test_integers_wrap_around(backend: CupyBackend, d: DType) -> None:
    info = np.iinfo(d.storage)
    values = np.unique(np.array([info.min, info.min + 1, 0, 1, 2, 7, 11, info.max - 1, info.max], d.storage))
    for arity in (1, 2, 3):
        ops = [op for op in ops_of(arity) if op not in FLOATING | {"pow", "floor", "isfinite"}]
        operands = grid(values, arity)
        with np.errstate(all="ignore"):
            for op, y in zip(ops, run(backend, every(ops, arity), *((x, d) for x in operands))):
                wanted = REFERENCES[op](*operands)
                np.testing.assert_array_equal(y, wanted, op)
                assert y.dtype == wanted.dtype, op
    base, exponent = (a.ravel() for a in np.meshgrid(values, np.arange(12, dtype=d.storage)))
    (y,) = run(backend, every(["pow"], 2), (base, d), (exponent, d))
    np.testing.assert_array_equal(y, base**exponent)


def test_integers_and_booleans_are_whole_and_finite(backend: CupyBackend) -> None:
    for values, d in ((np.array([-3, 0, 5], np.int16), dtype("int16")), (np.array([True, False]), bool_)):
        whole, finite = run(backend, every(["floor", "isfinite"], 1), (values, d))
        np.testing.assert_array_equal(whole, values)
        assert finite.all()


def test_booleans_are_added_as_integers(backend: CupyBackend) -> None:
    x, y = grid(np.array([True, False]), 2)
    ops = ["add", "sub", "mul", "min", "max", "and", "or", *sorted(COMPARISONS)]
    actual = dict(zip(ops, run(backend, every(ops, 2), (x, bool_), (y, bool_))))
    assert actual["add"].dtype == actual["sub"].dtype == np.int64
    for op in ("add", "sub", "mul"):
        np.testing.assert_array_equal(actual[op], REFERENCES[op](x.astype(int), y.astype(int)))
    for op in ("min", "max", "and", "or", *COMPARISONS):
        np.testing.assert_array_equal(actual[op], REFERENCES[op](x, y))


@pytest.mark.parametrize(
    ("a", "b"), [("int8", "uint8"), ("uint8", "int32"), ("int32", "uint32"), ("int64", "int8")]
)
def test_comparisons_of_two_integer_types_lose_nothing(backend: CupyBackend, a: str, b: str) -> None:
    ends = [np.array([np.iinfo(t).min, 0, 1, 100, np.iinfo(t).max], t) for t in (a, b)]
    x, y = (v.ravel() for v in np.meshgrid(*ends, indexing="ij"))
    ops = sorted(COMPARISONS)
    for op, z in zip(ops, run(backend, every(ops, 2), (x, dtype(a)), (y, dtype(b)))):
        np.testing.assert_array_equal(z, REFERENCES[op](x.astype(object), y.astype(object)).astype(bool), op)


@pytest.mark.parametrize("source", DTYPES.values(), ids=str)
def test_casts_between_all_types(backend: CupyBackend, source: DType) -> None:
    values = np.array([0, 1, 2, 100] if source.kind != "float" else [0, -0.0, 0.75, 1.5, 100.25])
    if source.kind == "bool":
        values = values > 0
    names = [d.name for d in DTYPES.values()]
    results = run(backend, formula(lambda x: [make(f"cast:{n}", x) for n in names], 1), (values, source))
    for name, y in zip(names, results):
        wanted = read(written(read(written(values, source), source), dtype(name)), dtype(name))
        np.testing.assert_array_equal(y, wanted, name)


@pytest.mark.parametrize(("d", "digits"), [(float16, 10), (bfloat16, 7)])
def test_doubles_are_rounded_once(backend: CupyBackend, d: DType, digits: int) -> None:
    """Near the middle of two short numbers: rounded to float first, all would lie on it."""
    half, tiny = 2.0 ** -(digits + 1), 2.0**-40
    above = np.array([1 + half + tiny, 1 + 3 * half - tiny, 1 + half, 1 + 3 * half])
    wanted = np.array([1 + 2 * half, 1 + 2 * half, 1, 1 + 4 * half])
    edges = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1e-320, 1e300])
    x = np.concatenate([above, -above, 4 * above, edges])
    exact = np.concatenate([wanted, -wanted, 4 * wanted, [0.0, -0.0, np.inf, -np.inf, np.nan, 0.0, np.inf]])
    (y,) = run(backend, formula(lambda x: make(f"cast:{d.name}", x), 1), (x, float64))
    np.testing.assert_array_equal(y, exact)
    np.testing.assert_array_equal(np.signbit(y[np.isfinite(y)]), np.signbit(exact[np.isfinite(y)]))


def test_casts_truncate_and_wrap_as_numpy_has_it(backend: CupyBackend) -> None:
    values = np.array([-1.75, -1.0, 255.9, 256.0, 300.5, -300.5])
    names = ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64"]
    for name, y in zip(
        names, run(backend, formula(lambda x: [make(f"cast:{n}", x) for n in names], 1), (values, float32))
    ):
        np.testing.assert_array_equal(y, values.astype(np.int64).astype(name), name)
    wide = np.array([-1, 255, 256, 70000, -(1 << 40) - 1])
    for name, y in zip(
        names, run(backend, formula(lambda x: [make(f"cast:{n}", x) for n in names], 1), (wide, int64))
    ):
        np.testing.assert_array_equal(y, wide.astype(name), name)
    (truth,) = run(backend, formula(lambda x: make("cast:bool", x), 1), ([np.nan, 0.0, -0.0, 0.25], float32))
    np.testing.assert_array_equal(truth, [True, False, False, True])


@pytest.mark.parametrize("d", [float16, bfloat16], ids=str)
def test_short_types_are_rounded_only_in_memory(backend: CupyBackend, d: DType) -> None:
    x = read(written(np.linspace(1, 2, 41), d), d)
    code = formula(lambda x: make(f"cast:{d.name}", make(f"cast:{d.name}", x * 1.001) * 1.001) - x, 1)
    (y,) = run(backend, code, (x, d))
    once = (x.astype(np.float32) * np.float32(1.001) * np.float32(1.001)).astype(np.float64) - x
    np.testing.assert_allclose(y, once, atol=2e-6, rtol=d.eps)


def test_literals_take_the_type_that_they_meet(backend: CupyBackend) -> None:
    x = np.array([1, 3, 250], np.uint8)
    f = formula(lambda x: [x * 3, x + 0.5, x > 2.5, make("select", x > 2, -1, x.builder.lift(0.25))], 1)
    actual = run(backend, f, (x, dtype("uint8")))
    np.testing.assert_array_equal(actual[0], x * np.uint8(3))
    np.testing.assert_array_equal(actual[1], x + 0.5)
    np.testing.assert_array_equal(actual[2], x > 2.5)
    np.testing.assert_array_equal(actual[3], [0.25, -1, -1])
    large = np.array([1, 1 << 63], np.uint64)
    (y,) = run(backend, formula(lambda x: x + ((1 << 63) + 5), 1), (large, uint64))
    np.testing.assert_array_equal(y, large + np.uint64((1 << 63) + 5))


def test_literals_are_parameters_and_never_text() -> None:
    given, values = parameters([Literal(x) for x in (0.5, -3, True, 1 << 63, 1 << 70, float("nan"))])
    assert given == ["double l0", "i64 l1", "i64 l2", "u64 l3", "double l4", "double l5"]
    kinds = [type(v) for v in values]
    assert kinds == [np.float64, np.int64, np.int64, np.uint64, np.float64, np.float64]
    assert values[:5] == (0.5, -3, 1, 1 << 63, float(1 << 70))
    texts = set()
    for number in (0.5, -7.25e10, float("inf")):
        built = build(lambda x, number=number: x * number + number, 1)
        texts.add(str(statements(built.code, built.literals, [float32], ["x"])))
    assert len(texts) == 1


def test_names_keep_two_codes_apart_and_operands_whole() -> None:
    built = build(lambda a, b: a * b - 2.0, 2)
    lines, results = statements(built.code, built.literals, [float32] * 2, ["acc + 1", "x"], ("u", "m"))
    assert lines == ["const float u0 = (acc + 1) * x;", "const float u1 = u0 - (float)m0;"]
    assert results == ["u1"]


def test_a_title_says_what_a_kernel_does() -> None:
    built = build(lambda a: make("cast:float32", a * 2 > 1), 1)
    assert title(built.code, "gemm") == "gemm_mul_gt_cast_float32"
    assert title(build(lambda a: a * a * a * a * a * a, 1).code, "reduce") == "reduce_mul_mul_mul_mul_etc"
    assert title(None, "reduce_sum") == "reduce_sum"
