"""Pointwise code as data: built from Python operators, hash-consed, differentiated by one table.

`Code` is straight-line: a tuple of instructions ``(op, ref, ...)`` and a tuple of results.  A ref is ``("a",
k)`` (operand k), ``("t", i)`` (result of instruction i) or ``("l", k)`` (literal k).  Literals stand beside
the code, never in it, so that a kernel can be cached without them.  An `E` is a node of an expression under
construction; it lives only while a piece of code is built.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from typing import Any, NamedTuple, Union

import numpy as np

from cortex_compute.errors import DTypeError
from cortex_compute.types import DType, bool_, dtype, promote

Ref = tuple[str, int]
Instruction = tuple[Any, ...]  # (op, ref, ...)
Number = Union[bool, int, float]


class Literal:
    """A Python number, compared by type and bits: 1, 1.0, True differ, 0.0 and -0.0 too, NaN equals NaN."""

    __slots__ = ("key", "kind", "value")

    def __init__(self, value: Number) -> None:
        if isinstance(value, np.generic):
            value = value.item()
        self.value = value
        self.kind = type(value).__name__
        bits = struct.pack("<d", value) if isinstance(value, float) else value
        self.key = (self.kind, bits)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Literal) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)

    def __repr__(self) -> str:
        return repr(self.value)


class Code:
    """Straight-line pointwise code over ``arity`` operands.  Immutable and hashable; the hash is kept."""

    __slots__ = ("_hash", "arity", "instructions", "results")

    def __init__(self, arity: int, instructions: Iterable[Instruction], results: Iterable[Ref]) -> None:
        self.arity = arity
        self.instructions = tuple(instructions)
        self.results = tuple(results)
        self._hash = hash((arity, self.instructions, self.results))

    def __eq__(self, other: object) -> bool:
        return self is other or (
            isinstance(other, Code)
            and self._hash == other._hash
            and self.arity == other.arity
            and self.instructions == other.instructions
            and self.results == other.results
        )

    def __hash__(self) -> int:
        return self._hash

    def __repr__(self) -> str:
        def name(ref: Ref) -> str:
            return f"{ref[0]}{ref[1]}"

        def line(i: int, op: str, *refs: Ref) -> str:
            return f"t{i} = {op}({', '.join(map(name, refs))})"

        lines = [line(i, *instruction) for i, instruction in enumerate(self.instructions)]
        return "; ".join([*lines, "-> " + ", ".join(map(name, self.results))])

    def types(self, operands: Sequence[DType], literals: Sequence[Literal]) -> list[DType]:
        """The data type of each instruction's result."""
        done: list[DType] = []
        for op, *refs in self.instructions:
            arrays, weak = [], []
            for where, i in refs[1:] if op == "select" else refs:
                if where == "l":
                    weak.append(literals[i])
                else:
                    arrays.append(operands[i] if where == "a" else done[i])
            done.append(_result_type(op, arrays, weak))
        return done

    def result_types(self, operands: Sequence[DType], literals: Sequence[Literal]) -> tuple[DType, ...]:
        """The data type of each result."""
        done = self.types(operands, literals)
        kinds = {"a": operands, "t": done}
        return tuple(
            promote((), (literals[i].kind,)) if where == "l" else kinds[where][i] for where, i in self.results
        )


def _result_type(op: str, arrays: list[DType], literals: list[Literal]) -> DType:
    if op.startswith("cast:"):
        return dtype(op[5:])
    if op in BOOLEAN and op not in COMPARISONS:
        return bool_
    kinds = [x.kind for x in literals]
    kinds += ["float"] if op in FLOATING else ["int"] if op in ARITHMETIC else []
    compute = promote(arrays, kinds, widen=op in COMPARISONS)
    if compute.kind == "int":
        _expect_range(literals, compute)
    return bool_ if op in COMPARISONS else compute


def _expect_range(literals: Iterable[Literal], d: DType) -> None:
    """Rejects integers that would wrap around when they take the type of the array that they meet."""
    bounds = np.iinfo(d.storage)
    for x in literals:
        if not bounds.min <= x.value <= bounds.max:
            raise DTypeError(f"{x} is no {d}, the type of the array that it meets; cast the array")


COMPARISONS = frozenset({"lt", "le", "gt", "ge", "eq", "ne"})
BOOLEAN = COMPARISONS | {"and", "or", "not", "isfinite"}
FLOATING = frozenset(
    {"div", "exp", "log", "log1p", "expm1", "sqrt", "rsqrt", "tanh", "sigmoid", "erf", "sin", "cos"}
)
ARITHMETIC = frozenset({"add", "sub", "mul", "neg", "pow", "abs"})  # at least int: True + True is 2
ARITY = (
    dict.fromkeys(sorted(COMPARISONS | {"add", "sub", "mul", "div", "pow", "min", "max", "and", "or"}), 2)
    | dict.fromkeys(sorted((FLOATING - {"div"}) | {"neg", "abs", "floor", "relu", "not", "isfinite"}), 1)
    | {"select": 3}
)


class Builder:
    """Makes the nodes of one expression, each only once (hash-consing)."""

    def __init__(self) -> None:
        self.nodes: dict[tuple[Any, ...], E] = {}

    def operand(self, k: int) -> E:
        return self._node(("operand", k), "operand", (), k)

    def literal(self, value: Number) -> E:
        literal = Literal(value)
        return self._node(("literal", literal.key), "literal", (), literal)

    def lift(self, x: E | Number) -> E:
        return x if isinstance(x, E) else self.literal(x)

    def make(self, op: str, *args: E | Number) -> E:
        """One instruction; an instruction over literals alone is computed here, in float64."""
        nodes = tuple(self.lift(a) for a in args)
        if all(n.op == "literal" for n in nodes) and op in FOLD:
            return self.literal(FOLD[op](*(n.payload.value for n in nodes)))
        return self._node((op, *map(id, nodes)), op, nodes, None)

    def _node(self, key: tuple[Any, ...], op: str, args: tuple[E, ...], payload: Any) -> E:
        found = self.nodes.get(key)
        if found is None:
            found = self.nodes[key] = E(self, op, args, payload)
        return found


class E:
    """A node of an expression under construction.  Python's operators make more of them."""

    __slots__ = ("args", "builder", "op", "payload")
    __array_ufunc__ = None

    def __init__(self, builder: Builder, op: str, args: tuple[E, ...], payload: Any) -> None:
        self.builder = builder
        self.op = op
        self.args = args
        self.payload = payload

    def __bool__(self) -> bool:
        raise TypeError("a pointwise function may not branch on its argument: use select(condition, a, b)")

    def __add__(self, o: E | Number) -> E:
        return self.builder.make("add", self, o)

    def __radd__(self, o: Number) -> E:
        return self.builder.make("add", o, self)

    def __sub__(self, o: E | Number) -> E:
        return self.builder.make("sub", self, o)

    def __rsub__(self, o: Number) -> E:
        return self.builder.make("sub", o, self)

    def __mul__(self, o: E | Number) -> E:
        return self.builder.make("mul", self, o)

    def __rmul__(self, o: Number) -> E:
        return self.builder.make("mul", o, self)

    def __truediv__(self, o: E | Number) -> E:
        return self.builder.make("div", self, o)

    def __rtruediv__(self, o: Number) -> E:
        return self.builder.make("div", o, self)

    def __pow__(self, o: E | Number) -> E:
        return power(self, o)

    def __rpow__(self, o: Number) -> E:
        return self.builder.make("pow", o, self)

    def __neg__(self) -> E:
        return self.builder.make("neg", self)

    def __abs__(self) -> E:
        return self.builder.make("abs", self)

    def __lt__(self, o: E | Number) -> E:
        return self.builder.make("lt", self, o)

    def __le__(self, o: E | Number) -> E:
        return self.builder.make("le", self, o)

    def __gt__(self, o: E | Number) -> E:
        return self.builder.make("gt", self, o)

    def __ge__(self, o: E | Number) -> E:
        return self.builder.make("ge", self, o)

    def __and__(self, o: E | Number) -> E:
        return self.builder.make("and", self, o)

    def __or__(self, o: E | Number) -> E:
        return self.builder.make("or", self, o)

    def __invert__(self) -> E:
        return self.builder.make("not", self)


def power(x: E, exponent: E | Number) -> E:
    """``x ** exponent``; the small whole exponents of daily use become products: faster, and as exact."""
    if isinstance(exponent, int) and not isinstance(exponent, bool):
        exponent = float(exponent) if exponent < 0 else exponent
    if not isinstance(exponent, E) and exponent in (1, 2, 3):
        return x if exponent == 1 else x * x if exponent == 2 else x * x * x
    return x.builder.make("pow", x, exponent)


def _safe(f: Callable[..., Number]) -> Callable[..., Number]:
    def folded(*args: Number) -> Number:
        with np.errstate(all="ignore"):
            result = f(*args)
        return result.item() if isinstance(result, np.generic) else result

    return folded


FOLD: dict[str, Callable[..., Number]] = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "neg": lambda a: -a,
    "div": _safe(lambda a, b: np.float64(a) / np.float64(b)),
    "pow": _safe(lambda a, b: np.float64(a) ** np.float64(b)),
    "sqrt": _safe(lambda a: np.sqrt(np.float64(a))),
    "exp": _safe(lambda a: np.exp(np.float64(a))),
    "log": _safe(lambda a: np.log(np.float64(a))),
}


class Built(NamedTuple):
    """Code, its literals, and which operands of the builder's numbering it reads, in the code's order."""

    code: Code
    literals: tuple[Literal, ...]
    used: tuple[int, ...]


def linearize(roots: Sequence[E], arity: int | None = None) -> Built:
    """Straight-line code for ``roots``, arguments before users.

    With ``arity`` the operands keep their numbers; without it only those that are read remain, renumbered.
    """
    instructions: list[Instruction] = []
    literals: dict[Literal, int] = {}
    operands: dict[int, int] = {} if arity is None else {k: k for k in range(arity)}
    refs: dict[int, Ref] = {}

    def visit(root: E) -> Ref:
        stack = [root]
        while stack:
            e = stack[-1]
            if id(e) in refs:
                stack.pop()
            elif e.op == "operand":
                refs[id(e)] = ("a", operands.setdefault(e.payload, len(operands)))
            elif e.op == "literal":
                refs[id(e)] = ("l", literals.setdefault(e.payload, len(literals)))
            elif waiting := [a for a in e.args if id(a) not in refs]:
                stack.extend(reversed(waiting))
            else:
                instructions.append((e.op, *(refs[id(a)] for a in e.args)))
                refs[id(e)] = ("t", len(instructions) - 1)
        return refs[id(root)]

    results = [visit(r) for r in roots]
    used = tuple(sorted(operands, key=operands.__getitem__))
    return Built(Code(len(operands), instructions, results), tuple(literals), used)


def build(f: Callable[..., E | Sequence[E]], arity: int) -> Built:
    """The code of a Python function over ``arity`` expressions."""
    builder = Builder()
    out = f(*(builder.operand(k) for k in range(arity)))
    roots = [out] if isinstance(out, E) else list(out)
    return linearize([builder.lift(r) for r in roots], arity)


def expand(builder: Builder, code: Code, literals: Sequence[Literal], operands: Sequence[E]) -> list[E]:
    """Every instruction of ``code`` as an expression over ``operands``."""
    done: list[E] = []
    for op, *refs in code.instructions:
        done.append(builder.make(op, *(_deref(builder, r, literals, operands, done) for r in refs)))
    return done


def results(builder: Builder, code: Code, literals: Sequence[Literal], operands: Sequence[E]) -> list[E]:
    """The results of ``code`` as expressions over ``operands``."""
    done = expand(builder, code, literals, operands)
    return [_deref(builder, r, literals, operands, done) for r in code.results]


def _deref(b: Builder, ref: Ref, literals: Sequence[Literal], operands: Sequence[E], done: Sequence[E]) -> E:
    where, i = ref
    return b.literal(literals[i].value) if where == "l" else operands[i] if where == "a" else done[i]


# The derivative of each scalar function, as contributions: what arrives at the result is g, what leaves to
# each argument is stated here.  y is the result; a rule that can use y does, for then the argument need not
# be kept. A contribution is select(c, g, 0), never g * factor where the factor may be 0 and g infinite.
Rule = Callable[..., tuple[Union[E, Number, None], ...]]


def _pow_rule(g: E, y: E, a: E, b: E) -> tuple[E | None, ...]:
    make = g.builder.make
    if b.op == "literal" and b.payload.value == 0:
        return None, None
    by_a = g * (b * make("pow", a, b - 1.0))
    if b.op != "literal":
        by_a = make("select", make("eq", b, 0.0), 0.0, by_a)
    by_b = make("select", make("eq", a, 0.0), 0.0, g * y * make("log", a))
    return by_a, by_b


def _order_rule(larger: str) -> Rule:
    def rule(g: E, y: E, a: E, b: E) -> tuple[E, E]:
        make = g.builder.make
        half = make("select", make("eq", a, b), g * 0.5, 0.0)  # equal arguments share, as PyTorch has it
        return (
            make("select", make(larger, a, b), g, half),
            make("select", make(larger, b, a), g, half),
        )

    return rule


def _abs_rule(g: E, y: E, a: E) -> tuple[E]:
    make = g.builder.make
    return (make("select", a > 0, g, make("select", a < 0, -g, 0.0)),)


RULES: dict[str, Rule] = {
    "add": lambda g, y, a, b: (g, g),
    "sub": lambda g, y, a, b: (g, -g),
    "mul": lambda g, y, a, b: (g * b, g * a),
    "div": lambda g, y, a, b: (g / b, -(g * y) / b),
    "neg": lambda g, y, a: (-g,),
    "pow": _pow_rule,
    "min": _order_rule("lt"),
    "max": _order_rule("gt"),
    "abs": _abs_rule,
    "relu": lambda g, y, a: (g.builder.make("select", y > 0, g, 0.0),),
    "select": lambda g, y, c, a, b: (
        None,
        g.builder.make("select", c, g, 0.0),
        g.builder.make("select", c, 0.0, g),
    ),
    "exp": lambda g, y, a: (g * y,),
    "expm1": lambda g, y, a: (g * (y + 1.0),),
    "log": lambda g, y, a: (g / a,),
    "log1p": lambda g, y, a: (g / (a + 1.0),),
    "sqrt": lambda g, y, a: (0.5 * g / y,),
    "rsqrt": lambda g, y, a: (-0.5 * g * (y * y * y),),
    "tanh": lambda g, y, a: (g * (1.0 - y * y),),
    "sigmoid": lambda g, y, a: (g * (y * (1.0 - y)),),
    "erf": lambda g, y, a: (g * (2.0 / math.sqrt(math.pi) * g.builder.make("exp", -(a * a))),),
    "sin": lambda g, y, a: (g * g.builder.make("cos", a),),
    "cos": lambda g, y, a: (-(g * g.builder.make("sin", a)),),
    "floor": lambda g, y, a: (None,),
}


class Gradient:
    """The derivative of a piece of code, for operands of given data types.

    Its expressions are numbered: the operands, then the results, then one gradient for each result.
    """

    def __init__(self, code: Code, literals: Sequence[Literal], dtypes: Sequence[DType]) -> None:
        self.code, self.literals, self.dtypes = code, tuple(literals), tuple(dtypes)
        self.types = code.types(dtypes, literals)

    @cached_property
    def contributions(self) -> list[E | None]:
        """For each operand the sum of what flows back to it; None where nothing differentiable does."""
        code, n, builder = self.code, self.code.arity, Builder()
        outputs = {
            i: builder.operand(n + j) for j, (where, i) in enumerate(code.results) if where == "t"
        }  # what is a result need not be computed again
        operands = [builder.operand(k) for k in range(n)]
        values: list[E] = []
        for i, (op, *refs) in enumerate(code.instructions):
            args = [_deref(builder, r, self.literals, operands, values) for r in refs]
            values.append(outputs[i] if i in outputs else builder.make(op, *args))
        grads: dict[Ref, E] = {}
        for j, ref in enumerate(code.results):
            self._add(grads, ref, builder.operand(n + len(code.results) + j))
        for i in reversed(range(len(code.instructions))):
            g = grads.get(("t", i))
            if g is None:
                continue
            op, *refs = code.instructions[i]
            args = [_deref(builder, r, self.literals, operands, values) for r in refs]
            for ref, part in zip(refs, self._back(op, refs, g, values[i], args)):
                if part is not None and ref[0] != "l":
                    self._add(grads, ref, builder.lift(part))
        return [grads.get(("a", k)) for k in range(n)]

    def _back(self, op: str, refs: list[Ref], g: E, y: E, args: list[E]) -> tuple[E | Number | None, ...]:
        if op.startswith("cast:"):
            source = self._dtype(refs[0])
            return (g.builder.make(f"cast:{source.name}", g) if source.kind == "float" else None,)
        if op in BOOLEAN:
            return (None,) * len(refs)
        parts = RULES[op](g, y, *args)
        return tuple(p if self._dtype(r).kind == "float" else None for p, r in zip(parts, refs))

    def _dtype(self, ref: Ref) -> DType:
        where, i = ref
        return self.dtypes[i] if where == "a" else self.types[i] if where == "t" else dtype("float64")

    @staticmethod
    def _add(grads: dict[Ref, E], ref: Ref, g: E) -> None:
        grads[ref] = grads[ref] + g if ref in grads else g

    def of(self, operand: int) -> Built | None:
        """The code for one operand's gradient, over the operands, results and gradients that it reads."""
        root = self.contributions[operand]
        return None if root is None else linearize([root])
