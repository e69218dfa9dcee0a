"""Elementwise and Copy: every scalar function alone, composed code, broadcasts, block boundaries."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from cortex_compute.expression import ARITY, BOOLEAN, COMPARISONS, FLOATING, E, Gradient, build
from cortex_compute.primitives.elementwise import Copy, Elementwise
from cortex_compute.types import DType, float32
from cortex_compute.verify.case import (
    Case,
    Operands,
    cases,
    integers,
    normal,
    positive,
    together,
    transposed,
)
from cortex_compute.verify.reference import magnitude, reference
from cortex_compute.verify.scalar import evaluate, operand


@reference(Elementwise)
def elementwise(p: Elementwise, *operands: np.ndarray) -> tuple[Any, ...]:
    return tuple(v for v, _ in evaluate(p.code, p.literals, [operand(a) for a in operands]))


@magnitude(Elementwise)
def elementwise_size(p: Elementwise, *operands: np.ndarray) -> tuple[Any, ...]:
    return tuple(s for _, s in evaluate(p.code, p.literals, [operand(a) for a in operands]))


@reference(Copy)
def copy(p: Copy, x: np.ndarray) -> tuple[np.ndarray, ...]:
    return (x,)


@cases(Copy)
def copies() -> Iterator[Case]:
    yield Case("matrix", Copy(), normal((3, 5)), signed_zeros=True)
    yield Case("0-d", Copy(), normal(()))
    yield Case("empty", Copy(), normal((0, 5)))
    yield Case("size-1 axes", Copy(), normal((1, 4, 1)))
    yield Case("turned", Copy(), transposed((3, 4, 2)))
    yield Case("booleans", Copy(), integers(0, 2, (7,), "bool"))
    yield Case("integers", Copy(), integers(-9, 9, (7, 2), "int32"))


def formula(f: Callable[..., E | Sequence[E]], arity: int) -> Elementwise:
    """The primitive of a Python function over expressions."""
    built = build(f, arity)
    return Elementwise(built.code, built.literals)


def make(op: str, *args: Any) -> E:
    """One instruction; at least one argument is an expression."""
    builder = next(a.builder for a in args if isinstance(a, E))
    return builder.make(op, *args)


def single(op: str, *args: Any) -> Elementwise:
    """One instruction; None stands for the next operand, anything else is a literal."""

    def f(*operands: E) -> E:
        waiting = iter(operands)
        return make(op, *(next(waiting) if a is None else a for a in args))

    return formula(f, args.count(None) if args else ARITY[op])


SPECIAL = (0.0, -0.0, 1.0, -1.0, 0.5, -2.5, 3.0, 1e-3, 30.0, -30.0, np.inf, -np.inf, np.nan)
ZERO_SIGN_OPEN = frozenset({"relu", "min", "max"})  # of equal zeros either may be taken


def specials(arity: int) -> Operands:
    """Every combination of the special values, and the ends of the data type's range."""

    def operands(rng: np.random.Generator, dtype: DType) -> list[np.ndarray]:
        info = np.finfo(dtype.storage)
        values = np.array([*SPECIAL, info.max, -info.max, info.tiny, -info.tiny], dtype.storage)
        return [a.ravel().copy() for a in np.meshgrid(*[values] * arity, indexing="ij")]

    return operands


@cases(Elementwise)
def each_function() -> Iterator[Case]:
    for op, arity in ARITY.items():
        every = [None] * arity
        draw = positive if op in ("log", "sqrt", "rsqrt", "pow", "log1p") else normal
        yield Case(op, single(op, *every), draw(*[(3, 5)] * arity))
        zeros = op not in ZERO_SIGN_OPEN
        yield Case(f"{op} specials", single(op, *every), specials(arity), signed_zeros=zeros)
        if op in ("log1p", "floor"):
            continue
        if op in BOOLEAN | FLOATING | {"add", "mul", "sub", "neg", "abs", "relu", "min", "max", "select"}:
            yield Case(f"{op} of integers", single(op, *every), _kinds(arity, "int32"))
            yield Case(f"{op} of booleans", single(op, *every), _kinds(arity, "bool"))
        if arity == 2 and op not in ("and", "or"):
            yield Case(f"{op} of int and float", single(op, *every), together(_kinds(1, "int64"), draw((5,))))


def _kinds(arity: int, dtype: str) -> Operands:
    low, high = (0, 2) if dtype == "bool" else (1, 6)
    return together(*[integers(low, high, (5,), dtype)] * arity)


@cases(Elementwise)
def literals() -> Iterator[Case]:
    for op in ("add", "sub", "mul", "div", "min", "max", *sorted(COMPARISONS)):
        for value in (2, 0.3, True):
            yield Case(f"{op} literal {value}", single(op, None, value), normal((4, 3)))
            yield Case(f"{op} literal {value} first", single(op, value, None), normal((4, 3)))
            yield Case(f"{op} literal {value} of integers", single(op, None, value), integers(-5, 5, (6,)))
    yield Case("pow literal", single("pow", None, 1.5), positive((9,)))
    yield Case("literal pow", single("pow", 1.5, None), normal((9,)))
    yield Case("mul literal -0.0", single("mul", None, -0.0), specials(1), signed_zeros=True)
    yield Case("add literal nan", single("add", None, float("nan")), normal((5,)))
    yield Case("select of literals", single("select", None, 1.5, -1), integers(0, 2, (7,), "bool"))
    yield Case("result is a literal", formula(lambda x: [x + 1, x.builder.lift(2.5)], 1), normal((5,)))
    yield Case("result is an operand", formula(lambda x, y: [y, x], 2), normal((5,), (5,)))


@cases(Elementwise)
def casts() -> Iterator[Case]:
    for to in ("bfloat16", "float32", "float64", "int32", "int64", "bool"):
        for source in ("float", "int32", "bool"):
            draw = normal((17,)) if source == "float" else integers(0, 2, (17,), source)
            yield Case(f"cast {source} to {to}", single(f"cast:{to}", None), draw)
    yield Case("cast in the middle", formula(lambda x: make("cast:float64", x * 0.1) * 3, 1), normal((20,)))
    truth = formula(lambda x: make("cast:float32", make("cast:bool", make("relu", x))) * 2, 1)
    yield Case("cast to bool in the middle", truth, normal((20,)))
    mask = formula(lambda x, y: x * make("cast:float32", y > 0), 2)
    single_type = normal((20,), (20,))  # x has to be of the type that the comparison is cast to
    yield Case("cast of a comparison", mask, single_type, dtypes=(float32,))


def adam(p: E, g: E, m: E, v: E, rate: E) -> list[E]:
    """Adam's update: p', m', v', each over its operand; p' reads both new moments."""
    m = 0.9 * m + 0.1 * g
    v = 0.999 * v + 0.001 * (g * g)
    return [p - rate * m / (make("sqrt", v) + 1e-8), m, v]


def gelu(x: E) -> E:
    return 0.5 * x * (1.0 + make("erf", math.sqrt(0.5) * x))


def gelu_tanh(x: E) -> E:
    return 0.5 * x * (1.0 + make("tanh", math.sqrt(2.0 / math.pi) * (x + 0.044715 * x * x * x)))


def silu(x: E) -> E:
    return x * make("sigmoid", x)


def gradient(f: Callable[[E], E]) -> Elementwise:
    """The gradient of f for a gradient g of its result, by the table, over g and x."""
    built = build(f, 1)
    found = Gradient(built.code, built.literals, (float32,)).of(0)
    assert found is not None
    assert found.used == (2, 0)
    return Elementwise(found.code, found.literals)


def overlapping(a: E, b: E, c: E) -> list[E]:
    """Each result may cover an operand that a later instruction reads."""
    return [a * b, b - c, make("select", c > 0, a, b)]


@cases(Elementwise)
def composed() -> Iterator[Case]:
    values = together(normal((50,), (50,), (50,)), positive((50,), ()))
    yield Case("adam", formula(adam, 5), values)
    for activation in (gelu, gelu_tanh, silu):
        name = activation.__name__
        yield Case(name, formula(activation, 1), normal((6, 50)))
        yield Case(f"gradient of {name}", gradient(activation), normal((6, 50), (6, 50)))
    yield Case("overlapping results", formula(overlapping, 3), normal((40,), (40,), (40,)))
    yield Case("swap", formula(lambda a, b: [b + 0.5, a + 0.5], 2), normal((40,), (40,)))
    yield Case("rotate", formula(lambda a, b, c: [b * 2.0, c * 2.0, a * 2.0], 3), normal((40,), (40,), (40,)))
    yield Case("one result twice", formula(lambda a: [a * 2.0, a * 2.0], 1), normal((40,)))
    yield Case("a result read again", formula(lambda a, b: [(c := a + b), c * b + a], 2), normal((9,), (9,)))
    for at, args in {"first": "cab", "second": "cba"}.items():
        select = formula(
            lambda c, a, b, args=args: make("select", *({"a": a, "b": b, "c": c}[k] for k in args)), 3
        )
        yield Case(f"select over its {at} branch", select, together(integers(0, 2, (40,), "bool"), _pair()))
    yield Case("select on a number", formula(lambda c, a: make("select", c, a, 0.0), 2), _pair())
    yield Case("select of itself", formula(lambda c: make("select", c > 0, c, c * 0.5), 1), normal((40,)))
    yield Case("select the condition", formula(lambda c, a: make("select", a, c, a), 2), _pair())
    mixed = formula(lambda c, a: make("select", c > 1, c, a), 2)
    yield Case("select of int and float", mixed, together(integers(0, 5, (40,)), normal((40,))))
    gate = formula(lambda y, g: make("select", y > 0, g, 0.0), 2)
    yield Case("gradient of relu", gate, normal((6, 50), (6, 50)))
    yield Case("gradient of relu, the same in each row", gate, normal((6, 50), (50,)))
    clip = formula(lambda x: make("min", make("max", x, -0.5), 0.5), 1)
    yield Case("clip", clip, normal((40,)))
    for factor in (1e-30, 1e30):
        scaled = formula(lambda x, y, z, f=factor: x * f + y * z, 3)
        yield Case(f"sum with {factor} times", scaled, _large((9,), (9,), (9,)))
    many = formula(lambda x: sum((x * float(i) for i in range(1, 30)), x), 1)
    yield Case("many instructions", many, normal((40,)))


def _large(*shapes: tuple[int, ...]) -> Operands:
    return lambda rng, dtype: [1e5 * rng.uniform(1, 2, s).astype(dtype.storage) for s in shapes]


def _pair() -> Operands:
    return normal((40,), (40,))


@cases(Elementwise)
def shapes() -> Iterator[Case]:
    add = formula(lambda a, b: a + b, 2)
    fma = formula(lambda a, b, c: a * b + c, 3)
    for n in (1, 16383, 16384, 16385, 32768, 40000):
        yield Case(f"{n} elements", fma, normal((n,), (n,), (n,)))
        yield Case(f"{n} elements, two results", formula(lambda a, b: [a + b, a - b], 2), normal((n,), (n,)))
    yield Case("0-d", fma, normal((), (), ()))
    yield Case("0-d and an axis", add, normal((), (4,)))
    yield Case("0-d and one element", fma, normal((1,), (), (1,)))
    yield Case("empty", fma, normal((0, 4), (0, 4), (4,)))
    yield Case("empty against one", add, normal((0, 4), (1, 4)))
    yield Case("size-1 axes", fma, normal((1, 3, 1), (1, 1, 1), (3, 1)))
    yield Case("outer product", add, normal((60, 1), (70,)))
    yield Case("outer product over blocks", fma, normal((300, 1), (200,), (300, 200)))
    yield Case("channels", fma, normal((2, 9, 7, 5), (5,), (5,)))
    yield Case("channels over blocks", fma, normal((4, 30, 30, 10), (10,), (10,)))
    yield Case("one channel", add, normal((50, 40, 1), (1,)))
    yield Case("long rows", add, normal((3, 20000), (20000,)))
    yield Case("rows of a column", add, normal((9, 600), (9, 1)))
    yield Case("images and samples", fma, normal((6, 5, 5, 3), (6, 1, 1, 1), (1, 5, 5, 1)))
    yield Case("turned", add, together(transposed((5, 7)), normal((7, 5))))
    yield Case("both turned", add, transposed((5, 7), (5, 7)))
    yield Case("turned over blocks", fma, together(transposed((150, 160)), normal((160, 150), (150,))))
    yield Case("backwards", add, _backwards)
    yield Case("spread operand", formula(lambda a: a + a, 1), _spread)
    integer_bias = together(integers(-5, 5, (30, 7)), integers(-5, 5, (7,)))
    yield Case("integer bias", add, integer_bias)
    yield Case("masks", formula(lambda a, b: a & ~b, 2), together(*[integers(0, 2, (30, 7), "bool")] * 2))


def _backwards(rng: np.random.Generator, dtype: DType) -> list[np.ndarray]:
    a = rng.standard_normal((6, 8)).astype(dtype.storage)
    return [a[::-1], a[:, ::-1]]


def _spread(rng: np.random.Generator, dtype: DType) -> list[np.ndarray]:
    return [np.broadcast_to(rng.standard_normal((1, 8)).astype(dtype.storage), (6, 8))]
