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
    Code,
    E,
    Gradient,
    Literal,
    build,
    linearize,
    power,
)
from cortex_compute.primitives.elementwise import Copy, Elementwise
from cortex_compute.types import DType, dtype
from cortex_core.ops.apply import apply
from cortex_core.ops.array import Array, Node
from cortex_core.ops.differentiate import gradient_of
from cortex_core.ops.lift import as_array
from cortex_core.ops.table import Draw, booleans, integers, normal, op, positive, sample

NUMBERS = (bool, int, float, np.bool_, np.integer, np.floating)


def scalar(op: str, *args: Any) -> Any:
    """One scalar function, over expressions (builds) or over arrays and numbers (applies)."""
    numbers = False
    for x in args:
        if isinstance(x, Array):
            continue
        if isinstance(x, E):
            return x.builder.make(op, *args)
        numbers = numbers or isinstance(x, NUMBERS)
    if not numbers:
        return apply(_single(op, len(args)), *args)
    kinds = tuple([x if isinstance(x, NUMBERS) else None for x in args])
    arrays = [x for x, number in zip(args, kinds) if number is None]
    if not arrays:
        return scalar(op, as_array(args[0]), *args[1:])
    if all(x is None or (type(x) in (int, float) and (x > 0 or x < 0)) for x in kinds):
        return apply(_with_literals(op, kinds, tuple(map(type, kinds))), *arrays)
    return apply(_with_literals.__wrapped__(op, kinds, ()), *arrays)  # 0 == -0, and NaN is not NaN


@lru_cache(maxsize=256)
def _single(op: str, arity: int) -> Elementwise:
    return Elementwise(_single_code(op, (False,) * arity), ())


@lru_cache(maxsize=1024)
def _with_literals(op: str, args: tuple[Any, ...], _types: tuple[type, ...]) -> Elementwise:
    """The primitive for a call with numbers; None stands for an array."""
    literals = tuple(Literal(x) for x in args if x is not None)
    return Elementwise(_single_code(op, tuple(x is not None for x in args)), literals)


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
        numbers = tuple([Literal(x) if isinstance(x, NUMBERS) else None for x in args])  # type: ignore[arg-type]
        if None not in numbers:
            return call(as_array(args[0]), *args[1:], **keywords)
        primitive = _traced(f, numbers, tuple([(k, Literal(x)) for k, x in keywords.items()]))
        return apply(primitive, *[x for x, number in zip(args, numbers) if number is None])

    return call


@lru_cache(maxsize=1024)
def _traced(
    f: Callable[..., Any], numbers: tuple[Literal | None, ...], keywords: tuple[tuple[str, Literal], ...]
) -> Elementwise:
    """The formula where some arguments are numbers; None stands for an array."""
    places = [i for i, number in enumerate(numbers) if number is None]

    def over_arrays(*expressions: E) -> Any:
        full: list[Any] = [None if x is None else x.value for x in numbers]
        for i, e in zip(places, expressions):
            full[i] = e
        return f(*full, **{k: x.value for k, x in keywords})

    built = build(over_arrays, len(places))
    return Elementwise(built.code, built.literals)


@gradient_of(Copy)
def _copy(node: Node, g: Any) -> Any:
    """y = x:  dx = g"""
    return (g,)


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
        found = parts[k]
        if found is None:
            return None
        primitive, used = found

        def make() -> Any:
            operands = [node.outputs[i - n] if n <= i < n + len(gs) else space[i] for i in used]
            dx = operands[0] if primitive is None else apply(primitive, *operands)
            return sum_to(dx, node.inputs[k].shape)

        return make

    return [part(k) for k in range(n)]


def reads(node: Node, operand: int) -> bool:
    """Whether the gradient of a node reads the numbers of an operand; true of all but pointwise code, copies
    and views.
    """
    primitive = node.primitive
    if not isinstance(primitive, Elementwise):
        return not (primitive.view or isinstance(primitive, Copy))
    parts = _gradients(primitive.code, primitive.literals, tuple(x.dtype for x in node.inputs), ())
    return any(part and x.requires_grad and operand in part[1] for part, x in zip(parts, node.inputs))


@lru_cache(maxsize=4096)
def _gradients(
    code: Code, literals: tuple[Literal, ...], dtypes: tuple[DType, ...], absent: tuple[int, ...]
) -> list[tuple[Elementwise | None, tuple[int, ...]] | None]:
    """For each operand the primitive of its gradient, where the results ``absent`` have none, and which of
    operands, results and results' gradients it takes.  Without a primitive it is the one that it takes.
    """
    n, kept = code.arity, [j for j in range(len(code.results)) if j not in absent]
    part = Code(n, code.instructions, [code.results[j] for j in kept])
    numbers = [*range(n), *(n + j for j in kept), *(n + len(code.results) + j for j in kept)]
    gradient = Gradient(part, literals, dtypes)
    found: list[tuple[Elementwise | None, tuple[int, ...]] | None] = []
    for built in map(gradient.of, range(n)):
        if built is None:
            found.append(None)
            continue
        itself = not built.code.instructions and built.code.results[0][0] == "a"  # g, as of a sum
        primitive = None if itself else Elementwise(built.code, built.literals)
        found.append((primitive, tuple(numbers[i] for i in built.used)))
    return found


def _one(code: str, doc: str, domain: Callable[..., Draw] = normal, **options: Any) -> Callable[[Any], Any]:
    """The op of one scalar function of one argument, and its row in the table."""

    def f(x: Any) -> Any:
        return scalar(code, x)

    f.__name__ = f.__qualname__ = options.get("name", code)
    f.__doc__ = doc
    return op(sample(domain(2, 3)), sample(domain()), **options)(f)


exp = _one("exp", "y = e to the x.   It is its own derivative: dx = g y")
log = _one("log", "Natural logarithm.   From x = exp(y), dx/dy = x: dx = g / x", positive)
log1p = _one("log1p", "log(1 + x), exact for small x.   From 1 + x = exp(y): dx = g / (1 + x)", positive)
expm1 = _one("expm1", "y = e to the x, less 1, exact for small x.   exp(x) is y + 1: dx = g (y + 1)")
sqrt = _one("sqrt", "y = the square root of x.   From x = y^2, dx/dy = 2 y: dx = g / (2 y)", positive)
rsqrt = _one(
    "rsqrt", "y = 1 / sqrt(x) = x^(-1/2).   By the power rule: dx = -g x^(-3/2) / 2 = -g y^3 / 2", positive
)
tanh = _one(
    "tanh", "y = sinh x / cosh x.   By the quotient rule (cosh^2 - sinh^2) / cosh^2: dx = g (1 - y^2)"
)
sigmoid = _one(
    "sigmoid", "y = 1 / (1 + exp(-x)).   y' = exp(-x) y^2, and exp(-x) y = 1 - y: dx = g y (1 - y)"
)
erf = _one("erf", "2/sqrt(pi) times the integral of exp(-t^2) from 0 to x.   dx = g 2/sqrt(pi) exp(-x^2)")
sin = _one("sin", "Sine, of radians.   It turns ahead by a quarter: dx = g cos x")
cos = _one("cos", "Cosine, of radians.   It turns ahead by a quarter: dx = -g sin x")
absolute = _one(
    "abs",
    "|x|, which rises on the right and falls on the left.   dx = g sign(x), 0 at 0",
    name="abs",
    aliases=("absolute",),
)
floor = _one(
    "floor",
    "The largest whole number not above x.   No gradient: it is constant between jumps.",
    gradient=False,
)
relu = _one(
    "relu", "y = max(x, 0); NaN stays NaN.   It is x or constant: dx = g where y > 0, else 0, also at 0"
)
negative = _one("neg", "-x.   dx = -g", aliases=("negative",))
logical_not = _one(
    "not", "Not x.   No gradient: truth has none.", booleans, name="logical_not", gradient=False
)
isfinite = _one(
    "isfinite", "Whether x is neither NaN nor infinite.   No gradient: truth has none.", gradient=False
)


PAIRS = sample(normal(2, 3), normal(3)), sample(normal(2, 1, 3), normal(4, 1)), sample(normal(3), 2.5)
COMPARED = sample(integers(2, 3, below=3), integers(3, below=3)), sample(normal(3), 0.0)


@op(*PAIRS)
def add(a: Any, b: Any) -> Any:
    """a + b.   da = g, db = g, each summed over the axes along which it was repeated"""
    return scalar("add", a, b)


@op(*PAIRS, name="sub", aliases=("subtract",))
def subtract(a: Any, b: Any) -> Any:
    """a - b.   da = g, db = -g"""
    return scalar("sub", a, b)


@op(*PAIRS, name="mul", aliases=("multiply",))
def multiply(a: Any, b: Any) -> Any:
    """a b.   A change of a counts b times: da = g b, db = g a"""
    return scalar("mul", a, b)


@op(
    sample(normal(2, 3), positive(3)),
    sample(normal(3), 2.5),
    sample(2.5, positive(3)),
    name="div",
    aliases=("divide", "true_divide"),
    torch=lambda torch, a, b: a / b,
)
def divide(a: Any, b: Any) -> Any:
    """y = a / b, always floating.   From a = y b, da = y db + b dy: da = g / b, db = -g y / b"""
    return scalar("div", a, b)


@op(sample(normal(2, 3), normal(3)))
def minimum(a: Any, b: Any) -> Any:
    """The smaller one; NaN if one is NaN.   da = g where a < b, g / 2 where they are equal;  db likewise"""
    return scalar("min", a, b)


@op(sample(normal(2, 3), normal(3)))
def maximum(a: Any, b: Any) -> Any:
    """The larger one; NaN if one is NaN.   da = g where a > b, g / 2 where they are equal;  db likewise"""
    return scalar("max", a, b)


@op(
    sample(booleans(2, 3), normal(2, 3), normal(3)),
    sample(booleans(3), normal(2, 3), 0.5),
    name="where",
    method=False,
)
def select(condition: Any, a: Any, b: Any) -> Any:
    """a where the condition holds, else b.   da = g where it holds;  db = g where it does not"""
    return scalar("select", condition, a, b)


@pointwise
def steep_sigmoid(x: Any, slope: float) -> Any:
    """min(max(slope x + 1 / 2, 0), 1), without a gradient at the corners"""
    a = slope * x + 0.5
    return select(a <= 0, 0.0, select(a >= 1, 1.0, a))


@op(*COMPARED, name="lt", aliases=("less",), gradient=False)
def less(a: Any, b: Any) -> Any:
    """a < b.   No gradient: truth has none."""
    return scalar("lt", a, b)


@op(*COMPARED, name="le", aliases=("less_equal",), gradient=False)
def less_equal(a: Any, b: Any) -> Any:
    """a <= b.   No gradient: truth has none."""
    return scalar("le", a, b)


@op(*COMPARED, name="gt", aliases=("greater",), gradient=False)
def greater(a: Any, b: Any) -> Any:
    """a > b.   No gradient: truth has none."""
    return scalar("gt", a, b)


@op(*COMPARED, name="ge", aliases=("greater_equal",), gradient=False)
def greater_equal(a: Any, b: Any) -> Any:
    """a >= b.   No gradient: truth has none."""
    return scalar("ge", a, b)


@op(*COMPARED, name="eq", aliases=("equal",), gradient=False)
def equal(a: Any, b: Any) -> Any:
    """a == b, for each element.   No gradient: truth has none."""
    return scalar("eq", a, b)


@op(*COMPARED, name="ne", aliases=("not_equal",), gradient=False)
def not_equal(a: Any, b: Any) -> Any:
    """a != b, for each element.   No gradient: truth has none."""
    return scalar("ne", a, b)


@op(sample(booleans(2, 3), booleans(3)), gradient=False)
def logical_and(a: Any, b: Any) -> Any:
    """a and b.   No gradient: truth has none."""
    return scalar("and", a, b)


@op(sample(booleans(2, 3), booleans(3)), gradient=False)
def logical_or(a: Any, b: Any) -> Any:
    """a or b.   No gradient: truth has none."""
    return scalar("or", a, b)


@op(
    sample(positive(2, 3), normal(3)),
    sample(normal(2, 3), 3),
    sample(normal(3), 2.0),
    sample(positive(3), -1.5),
    sample(2.5, normal(3)),
)
def pow(a: Any, b: Any) -> Any:
    """y = a to the b = exp(b log a).   da = g y b / a = g b a^(b-1);  db = g y log a"""
    if isinstance(a, E):
        return power(a, b)
    if isinstance(b, NUMBERS) and not isinstance(a, NUMBERS):
        return apply(_power_of(b), a)
    return scalar("pow", a, b)


@lru_cache(maxsize=256, typed=True)
def _power_of(exponent: Any) -> Elementwise:
    """A literal exponent: the formula knows it, so that squares become products."""
    builder = Builder()
    built = linearize([power(builder.operand(0), exponent)], 1)
    return Elementwise(built.code, built.literals)


@op(
    sample(normal(3), "int64"),
    sample(integers(3, below=5), "float64"),
    torch=lambda torch, x, to: x.to(getattr(torch, to)),
    aliases=("astype",),
)
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


@op(sample(normal(3), integers(2, below=2)), torch=lambda torch, x, other: x.type_as(other))
def type_as(x: Any, other: Any) -> Any:
    """x as the data type of ``other``.   dx = g cast back;  nothing flows to ``other``"""
    return cast(x, other.dtype)
