"""Pointwise ops: scalar functions, Python's operators, and `pointwise`, which makes one kernel of a whole
formula.

A scalar function called on an expression builds code; called on arrays it applies one `Elementwise` node.  A
Python number becomes a literal of the code.  The gradient of every formula comes from the table in
`cortex_compute.expression`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from cortex_compute.errors import DTypeError
from cortex_compute.expression import (
    Builder,
    Built,
    Code,
    E,
    Gradient,
    Literal,
    build,
    linearize,
    power,
)
from cortex_compute.primitives.elementwise import Elementwise
from cortex_compute.types import DType, dtype
from cortex_core.ops.apply import apply
from cortex_core.ops.array import Array, Node
from cortex_core.ops.differentiate import gradient_of
from cortex_core.ops.table import Draw, booleans, normal, op, positive, sample

NUMBERS = (bool, int, float, np.bool_, np.integer, np.floating)


def scalar(op: str, *args: Any) -> Any:
    """One scalar function, over expressions (builds) or over arrays and numbers (applies)."""
    for x in args:
        if isinstance(x, E):
            return x.builder.make(op, *args)
    code, literals, arrays = _single(op, args)
    return apply(Elementwise(code, literals), *arrays)


def _single(op: str, args: Sequence[Any]) -> tuple[Code, tuple[Literal, ...], list[Any]]:
    numbers = tuple(isinstance(x, NUMBERS) for x in args)
    literals = tuple(Literal(x) for x, number in zip(args, numbers) if number)
    return _single_code(op, numbers), literals, [x for x, number in zip(args, numbers) if not number]


@lru_cache(maxsize=1024)
def _single_code(op: str, numbers: tuple[bool, ...]) -> Code:
    counts = {True: 0, False: 0}
    refs = []
    for number in numbers:
        refs.append(("l" if number else "a", counts[number]))
        counts[number] += 1
    return Code(counts[False], [(op, *refs)], [("t", 0)])


def pointwise(f: Callable[..., Any]) -> Callable[..., Any]:
    """Makes one node, and one kernel, of a formula over scalars.

    The function is called once on expressions for each pattern of arrays and numbers; keyword arguments are
    Python numbers and become part of the formula.
    """

    @functools.wraps(f)
    def call(*args: Any, **keywords: Any) -> Any:
        if any(isinstance(x, E) for x in args):
            return f(*args, **keywords)
        numbers = tuple(isinstance(x, NUMBERS) for x in args)
        arrays = [x for x, number in zip(args, numbers) if not number]
        if not all(numbers) and len(arrays) == len(args) and not keywords:
            built = _traced(f, len(args))
        else:
            built = _trace(f, args, numbers, keywords)
        return apply(Elementwise(built.code, built.literals), *arrays)

    return call


@lru_cache(maxsize=1024)
def _traced(f: Callable[..., Any], arity: int) -> Built:
    return build(f, arity)


def _trace(
    f: Callable[..., Any], args: Sequence[Any], numbers: Sequence[bool], keywords: dict[str, Any]
) -> Built:
    places = [i for i, number in enumerate(numbers) if not number]

    def over_arrays(*expressions: E) -> Any:
        full = list(args)
        for i, e in zip(places, expressions):
            full[i] = e
        return f(*full, **keywords)

    return build(over_arrays, len(places))


@gradient_of(Elementwise)
def _elementwise(node: Node, *gs: Any) -> Sequence[Any]:
    """y = f(x1, x2, ...):  dx_k = sum over the broadcast axes of g * df/dx_k, by the scalar table."""
    from cortex_core.ops.reduce import sum_to

    primitive = node.primitive
    assert isinstance(primitive, Elementwise)
    n = len(node.inputs)
    space = [*node.inputs, *(None,) * len(gs), *gs]
    absent = tuple(j for j, g in enumerate(gs) if g is None)
    parts = _gradients(primitive.code, primitive.literals, tuple(x.dtype for x in node.inputs), absent)

    def part(k: int) -> Callable[[], Any] | None:
        built = parts[k]
        if built is None:
            return None

        def make() -> Any:
            operands = [node.outputs[i - n] if n <= i < n + len(gs) else space[i] for i in built.used]
            if not built.code.instructions and built.code.results[0][0] == "a":  # g itself, as of a sum
                return sum_to(operands[0], node.inputs[k].shape)
            return sum_to(apply(Elementwise(built.code, built.literals), *operands), node.inputs[k].shape)

        return make

    return [part(k) for k in range(n)]


@lru_cache(maxsize=4096)
def _gradients(
    code: Code, literals: tuple[Literal, ...], dtypes: tuple[DType, ...], absent: tuple[int, ...]
) -> list[Built | None]:
    """The gradient code for each operand, where the results ``absent`` have no gradient."""
    if not absent:
        gradient = Gradient(code, literals, dtypes)
        return [gradient.of(k) for k in range(code.arity)]
    kept = [j for j in range(len(code.results)) if j not in absent]
    part = Code(code.arity, code.instructions, [code.results[j] for j in kept])
    n = code.arity
    numbers = [*range(n), *(n + j for j in kept), *(n + len(code.results) + j for j in kept)]
    gradient = Gradient(part, literals, dtypes)
    found = [gradient.of(k) for k in range(n)]
    return [b and Built(b.code, b.literals, tuple(numbers[i] for i in b.used)) for b in found]


def _one(code: str, doc: str, domain: Callable[..., Draw] = normal, **options: Any) -> Callable[[Any], Any]:
    """The op of one scalar function of one argument, and its row in the table."""

    def f(x: Any) -> Any:
        return scalar(code, x)

    f.__name__ = f.__qualname__ = options.get("name", code)
    f.__doc__ = doc
    return op(sample(domain(2, 3)), sample(domain()), **options)(f)


exp = _one("exp", "e to the x.   dx = g y")
log = _one("log", "Natural logarithm.   dx = g / x", positive)
log1p = _one("log1p", "log(1 + x), exact for small x.   dx = g / (1 + x)", positive)
expm1 = _one("expm1", "e to the x, less 1, exact for small x.   dx = g (y + 1)")
sqrt = _one("sqrt", "Square root.   dx = g / (2 y)", positive)
rsqrt = _one("rsqrt", "1 / sqrt(x).   dx = -g y^3 / 2", positive)
tanh = _one("tanh", "Hyperbolic tangent.   dx = g (1 - y^2)")
sigmoid = _one("sigmoid", "1 / (1 + exp(-x)).   dx = g y (1 - y)")
erf = _one("erf", "The error function.   dx = g 2/sqrt(pi) exp(-x^2)")
sin = _one("sin", "Sine.   dx = g cos x")
cos = _one("cos", "Cosine.   dx = -g sin x")
absolute = _one("abs", "|x|.   dx = g sign(x), 0 at 0", name="abs", aliases=("absolute",))
floor = _one(
    "floor",
    "The largest whole number not above x.   No gradient: it is constant between jumps.",
    gradient=False,
)
relu = _one("relu", "max(x, 0); NaN stays NaN.   dx = g where y > 0, 0 at 0")
negative = _one("neg", "-x.   dx = -g", aliases=("negative",))
logical_not = _one(
    "not", "Not x.   No gradient: truth has none.", booleans, name="logical_not", gradient=False
)
isfinite = _one(
    "isfinite", "Whether x is neither NaN nor infinite.   No gradient: truth has none.", gradient=False
)


def add(a: Any, b: Any) -> Any:
    """a + b"""
    return scalar("add", a, b)


def subtract(a: Any, b: Any) -> Any:
    """a - b"""
    return scalar("sub", a, b)


def multiply(a: Any, b: Any) -> Any:
    """a b"""
    return scalar("mul", a, b)


def divide(a: Any, b: Any) -> Any:
    """a / b, always floating"""
    return scalar("div", a, b)


def minimum(a: Any, b: Any) -> Any:
    """The smaller one; NaN if one is NaN.  Equal arguments share the gradient."""
    return scalar("min", a, b)


def maximum(a: Any, b: Any) -> Any:
    """The larger one; NaN if one is NaN.  Equal arguments share the gradient."""
    return scalar("max", a, b)


def select(condition: Any, a: Any, b: Any) -> Any:
    """a where the condition holds, else b.   da = g where it holds, else 0"""
    return scalar("select", condition, a, b)


def less(a: Any, b: Any) -> Any:
    """a < b"""
    return scalar("lt", a, b)


def less_equal(a: Any, b: Any) -> Any:
    """a <= b"""
    return scalar("le", a, b)


def greater(a: Any, b: Any) -> Any:
    """a > b"""
    return scalar("gt", a, b)


def greater_equal(a: Any, b: Any) -> Any:
    """a >= b"""
    return scalar("ge", a, b)


def equal(a: Any, b: Any) -> Any:
    """a == b, for each element"""
    return scalar("eq", a, b)


def not_equal(a: Any, b: Any) -> Any:
    """a != b, for each element"""
    return scalar("ne", a, b)


def logical_and(a: Any, b: Any) -> Any:
    """a and b"""
    return scalar("and", a, b)


def logical_or(a: Any, b: Any) -> Any:
    """a or b"""
    return scalar("or", a, b)


def pow(a: Any, b: Any) -> Any:
    """a to the b.   da = g b a^(b-1);  db = g y log a"""
    if isinstance(a, E):
        return power(a, b)
    if isinstance(b, NUMBERS) and not isinstance(a, NUMBERS):
        return _power_of(a, b)
    return scalar("pow", a, b)


def _power_of(a: Any, exponent: Any) -> Any:
    """A literal exponent: the formula knows it, so that squares become products."""
    builder = Builder()
    built = linearize([power(builder.operand(0), exponent)], 1)
    return apply(Elementwise(built.code, built.literals), a)


def cast(x: Any, to: object) -> Any:
    """x as another data type.   dx = g cast back; nothing flows through integers

    A cast to bfloat16 and back, fused into one kernel, may stay in float32 between: it need not round.
    """
    target = dtype(to)
    if isinstance(x, E):
        return x.builder.make(f"cast:{target.name}", x)
    if isinstance(x, Array) and x.dtype is target:
        return x
    if isinstance(x, NUMBERS):
        raise DTypeError("cast takes an array; a Python number takes the type of what it meets")
    return scalar(f"cast:{target.name}", x)
