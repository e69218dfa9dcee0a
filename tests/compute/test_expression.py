"""Pointwise code: literals, hash-consing, linearising, gradients."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from cortex_compute.errors import DTypeError
from cortex_compute.expression import (
    ARITY,
    BOOLEAN,
    RULES,
    Builder,
    Code,
    E,
    Gradient,
    Literal,
    build,
    results,
)
from cortex_compute.types import DType, bool_, float32, float64, int32, int64
from cortex_compute.verify.scalar import evaluate, operand


def make(op: str, *args: Any) -> E:
    return next(a.builder for a in args if isinstance(a, E)).make(op, *args)


# Literals


@pytest.mark.parametrize(
    ("a", "b"), [(1, 1.0), (1, True), (1.0, True), (0.0, -0.0), (0, False), (math.nan, math.inf)]
)
def test_literals_differ_by_type_and_bits(a: Any, b: Any) -> None:
    assert Literal(a) != Literal(b)
    assert len({Literal(a), Literal(b)}) == 2


@pytest.mark.parametrize("x", [1, 1.0, True, -0.0, math.nan, math.inf, 2**70])
def test_equal_literals_are_one(x: Any) -> None:
    assert Literal(x) == Literal(x)
    assert len({Literal(x), Literal(x)}) == 1


def test_numpy_scalars_are_python_numbers() -> None:
    assert Literal(np.float32(0.5)) == Literal(0.5)
    assert Literal(np.int64(3)) == Literal(3)
    assert Literal(np.bool_(True)) == Literal(True)


def test_an_int_literal_keeps_integers_and_a_float_does_not() -> None:
    double = build(lambda x: x * 2, 1)
    scaled = build(lambda x: x * 2.0, 1)
    assert double.code == scaled.code  # literals are no part of the code
    assert double.code.result_types([int32], double.literals) == (int32,)
    assert scaled.code.result_types([int32], scaled.literals) == (float32,)


def test_code_without_literals_is_equal_for_all_values() -> None:
    codes = {build(lambda x, k=k: x * k + 1.0, 1).code for k in np.linspace(2, 3, 50)}
    assert len(codes) == 1


# Building


def test_equal_parts_are_one_instruction() -> None:
    built = build(lambda x, y: (x + y) * (x + y), 2)
    assert built.code == Code(2, [("add", ("a", 0), ("a", 1)), ("mul", ("t", 0), ("t", 0))], [("t", 1)])
    assert str(built.code) == "t0 = add(a0, a1); t1 = mul(t0, t0); -> t1"


def test_a_shared_part_is_not_copied_again_and_again() -> None:
    def f(x: E) -> E:
        for _ in range(200):
            x = x + x
        return x

    assert len(build(f, 1).code.instructions) == 200


def test_a_long_chain_needs_no_recursion() -> None:
    def f(x: E) -> E:
        for _ in range(20_000):
            x = -x
        return x

    assert len(build(f, 1).code.instructions) == 20_000


def test_literals_are_computed_at_once() -> None:
    built = build(lambda x: x * (x.builder.lift(3) + 4) / 2.0, 1)
    assert [i[0] for i in built.code.instructions] == ["mul", "div"]
    assert built.literals == (Literal(7), Literal(2.0))


def test_division_of_literals_by_zero_is_infinite() -> None:
    (value,) = build(lambda x: x.builder.lift(1.0) / 0.0, 1).literals
    assert value == Literal(math.inf)


def test_small_powers_are_products() -> None:
    assert [i[0] for i in build(lambda x: x**3, 1).code.instructions] == ["mul", "mul"]
    assert build(lambda x: x**1, 1).code.results == (("a", 0),)
    assert [i[0] for i in build(lambda x: x**0.5, 1).code.instructions] == ["pow"]
    assert build(lambda x: x**-2, 1).literals == (Literal(-2.0),)


def test_zero_times_x_is_kept() -> None:  # 0 * inf is NaN
    assert [i[0] for i in build(lambda x: x * 0.0 + 0.0, 1).code.instructions] == ["mul", "add"]


def test_operands_keep_their_numbers() -> None:
    built = build(lambda x, y, z: z - x, 3)
    assert built.code.arity == 3
    assert built.code.instructions == (("sub", ("a", 2), ("a", 0)),)


def test_an_expression_has_no_truth() -> None:
    with pytest.raises(TypeError, match="use select"):
        build(lambda x: x if x > 0 else -x, 1)


def test_results_expands_code_into_another() -> None:
    inner = build(lambda x, y: [x + y, x * 2.0], 2)
    builder = Builder()
    both = results(builder, inner.code, inner.literals, [builder.operand(0), builder.operand(0)])
    assert [e.op for e in both] == ["add", "mul"]


@pytest.mark.parametrize(
    ("f", "dtypes", "expected"),
    [
        (lambda x: x + x, [bool_], int64),
        (lambda x: x / 2, [int32], float32),
        (lambda x: make("exp", x), [int64], float32),
        (lambda x: x > 1, [float64], bool_),
        (lambda x: make("min", x, 1), [bool_], int64),
        (lambda x: make("min", x, True), [bool_], bool_),
        (lambda x: make("cast:float64", x), [float32], float64),
        (lambda x: make("select", x > 0, x, 0.0), [int32], float32),
    ],
)
def test_result_types(f: Callable[..., E], dtypes: list[DType], expected: DType) -> None:
    built = build(f, 1)
    assert built.code.result_types(dtypes, built.literals) == (expected,)


def test_comparing_two_widths_is_an_error() -> None:
    built = build(lambda x, y: x < y, 2)
    with pytest.raises(DTypeError, match="do not mix"):
        built.code.result_types([float32, float64], ())


# Gradients

OPERANDS: dict[str, tuple[float, ...]] = {
    "pow": (1.3, 2.4), "log": (0.7,), "sqrt": (1.7,), "rsqrt": (0.8,), "log1p": (0.4,), "min": (0.3, 1.1),
    "max": (0.3, 1.1), "floor": (1.3,), "div": (0.7, -1.9), "select": (1.0, 0.3, -0.8),
}  # fmt: skip


def value(built: Any, operands: Sequence[float]) -> list[float]:
    pairs = [operand(np.float64(x)) for x in operands]
    with np.errstate(all="ignore"):
        return [float(v) for v, _ in evaluate(built.code, built.literals, pairs)]


def gradient(f: Callable[..., Any], xs: Sequence[float], gs: Sequence[float] = (1.0,)) -> list[float]:
    """The gradient of a formula at numbers, by the code that `Gradient` makes; 0 where there is none."""
    built = build(f, len(xs))
    made = Gradient(built.code, built.literals, [float64] * len(xs))
    ys = value(built, xs)
    every = [*xs, *ys, *gs]
    parts = [made.of(k) for k in range(len(xs))]
    return [0.0 if p is None else value(p, [every[i] for i in p.used])[0] for p in parts]


def central_differences(
    f: Callable[..., Any], xs: Sequence[float], gs: Sequence[float] = (1.0,)
) -> list[float]:
    built, h, found = build(f, len(xs)), 1e-6, []
    for k in range(len(xs)):
        up, down = list(xs), list(xs)
        up[k] += h
        down[k] -= h
        rise = [(a - b) / (2 * h) for a, b in zip(value(built, up), value(built, down))]
        found.append(sum(g * r for g, r in zip(gs, rise)))
    return found


def test_every_function_has_a_rule() -> None:
    assert set(RULES) == set(ARITY) - BOOLEAN


@pytest.mark.parametrize("op", sorted(set(ARITY) - BOOLEAN))
def test_gradients_of_all_functions(op: str) -> None:
    xs = OPERANDS.get(op, (0.7, -1.2)[: ARITY[op]])
    f = lambda *args: make(op, *args)  # noqa: E731
    if op == "select":
        f = lambda c, a, b: make("select", c > 0, a, b)  # noqa: E731
    np.testing.assert_allclose(gradient(f, xs), central_differences(f, xs), rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize(
    ("f", "xs", "expected"),
    [
        (lambda x: x * x, [3.0], [6.0]),
        (lambda x, y: x * y + x, [2.0, 5.0], [6.0, 2.0]),
        (lambda x, y: x**y, [2.0, 3.0], [12.0, 8 * math.log(2)]),
        (lambda x: 1 / x, [4.0], [-1 / 16]),
        (lambda x: make("sigmoid", x), [0.0], [0.25]),
        (lambda x: make("erf", x), [0.0], [2 / math.sqrt(math.pi)]),
        (lambda x: make("tanh", x) * 2.0, [0.0], [2.0]),
        (lambda x: make("relu", x), [-1.0], [0.0]),
        (lambda x: make("relu", x), [0.0], [0.0]),  # PyTorch has 0 at the kink too
        (lambda x: abs(x), [0.0], [0.0]),
        (lambda x, y: make("max", x, y), [1.5, 1.5], [0.5, 0.5]),  # equal ones share
        (lambda x, y: make("min", x, y), [1.5, 2.5], [1.0, 0.0]),
        (lambda x, y: x > y, [1.5, 2.5], [0.0, 0.0]),
    ],
)
def test_gradients_by_hand(f: Callable[..., E], xs: list[float], expected: list[float]) -> None:
    np.testing.assert_allclose(gradient(f, xs), expected, rtol=1e-14)


def test_several_results_add_up() -> None:
    def f(x: E, y: E) -> list[E]:
        z = x * y
        return [z + x, make("exp", z), y]

    xs, gs = (0.6, -0.9), (1.5, -2.0, 0.25)
    np.testing.assert_allclose(gradient(f, xs, gs), central_differences(f, xs, gs), rtol=1e-7)


def test_a_result_that_other_results_read() -> None:
    """As in Adam: p' reads m'; what flows into m' comes from both."""

    def f(p: E, g: E, m: E) -> list[E]:
        new = 0.9 * m + 0.1 * g
        return [p - new / (make("sqrt", new * new) + 0.5), new]

    xs, gs = (0.3, 0.8, -0.4), (1.0, 3.0)
    np.testing.assert_allclose(gradient(f, xs, gs), central_differences(f, xs, gs), rtol=1e-6)


@pytest.mark.parametrize("f", [lambda x: x**3, lambda x: make("tanh", x) / x, lambda x: make("exp", x * x)])
def test_second_derivatives(f: Callable[[E], E]) -> None:
    built = build(f, 1)
    first = Gradient(built.code, built.literals, [float64]).of(0)
    assert first is not None

    def slope(x: float) -> float:
        assert first is not None
        return value(first, [[x, value(built, [x])[0], 1.0][i] for i in first.used])[0]

    def second(x: float) -> float:
        """By the chain rule over what the first derivative reads: x, y and g."""
        assert first is not None
        every = [x, value(built, [x])[0], 1.0]
        made = Gradient(first.code, first.literals, [float64] * len(first.used))
        total = 0.0
        for k, i in enumerate(first.used):
            part = made.of(k)
            if part is not None and i < 2:
                seen = [every[j] for j in first.used]
                inputs = [*seen, slope(x), 1.0]
                by = value(part, [inputs[j] for j in part.used])[0]
                total += by * (1.0 if i == 0 else slope(x))
        return total

    h = 1e-5
    np.testing.assert_allclose(second(0.7), (slope(0.7 + h) - slope(0.7 - h)) / (2 * h), rtol=1e-8)


@pytest.mark.parametrize(
    ("f", "x", "g", "expected"),
    [
        (lambda x: make("relu", x), -1.0, math.inf, 0.0),  # 0 * inf would be NaN
        (lambda x: make("relu", x), -1.0, math.nan, 0.0),
        (lambda x: make("select", x > 0, x, 0.0), -1.0, math.nan, 0.0),
        (lambda x: make("max", x, 0.0), -1.0, math.inf, 0.0),
        (lambda x: abs(x), 0.0, math.inf, 0.0),
        (lambda x: x**2.0, 0.0, 1.0, 0.0),
        (lambda x: x**0.0, 0.0, 1.0, 0.0),
        (lambda x: make("select", x > 0, make("log", x), 0.0), 0.0, 1.0, math.nan),  # as PyTorch: 0 / 0
    ],
)
def test_what_does_not_flow_is_zero(f: Callable[[E], E], x: float, g: float, expected: float) -> None:
    np.testing.assert_equal(gradient(f, [x], [g]), [expected])


def test_a_zero_base_has_a_finite_gradient_for_its_exponent() -> None:
    np.testing.assert_equal(gradient(lambda x, y: x**y, [0.0, 2.0]), [0.0, 0.0])


def test_integers_and_conditions_have_no_gradient() -> None:
    built = build(lambda c, n, x: make("select", c, x * n, 0.0), 3)
    made = Gradient(built.code, built.literals, [bool_, int32, float32])
    assert made.of(0) is None
    assert made.of(1) is None
    assert made.of(2) is not None


def test_a_gradient_comes_back_through_a_cast_in_the_type_of_its_operand() -> None:
    built = build(lambda x: make("cast:float64", x) * 2.0, 1)
    part = Gradient(built.code, built.literals, [float32]).of(0)
    assert part is not None
    dtypes: list[DType] = [[float32, float64, float64][i] for i in part.used]
    assert part.code.result_types(dtypes, part.literals) == (float32,)


def test_what_goes_through_an_integer_has_no_gradient() -> None:
    built = build(lambda x: make("cast:float32", make("cast:int32", x)), 1)
    assert Gradient(built.code, built.literals, [float32]).of(0) is None


def test_rules_read_the_result_where_they_can() -> None:
    """So that the argument, which a fused kernel never stores, need not be kept."""
    for op in ("relu", "tanh", "sigmoid", "exp", "sqrt", "rsqrt", "expm1"):
        built = build(lambda x, op=op: make(op, x), 1)
        part = Gradient(built.code, built.literals, [float32]).of(0)
        assert part is not None
        assert part.used == (1, 2) or part.used == (2, 1), op
