"""Pointwise code: a node of ONNX for each instruction."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from cortex_compute.expression import BOOLEAN, COMPARISONS, Literal, Ref
from cortex_compute.primitives.elementwise import Copy, Elementwise
from cortex_compute.types import DType, bfloat16, bool_, broadcast, promote
from cortex_core.exchange.to_onnx.at import At, translates
from cortex_core.exchange.to_onnx.batch_norm import recognised
from cortex_core.exchange.to_onnx.kernels import cast, running
from cortex_core.exchange.to_onnx.unsaid import Unsaid
from cortex_core.exchange.to_onnx.writer import Writer

OPS = {
    **{
        op: op.capitalize() for op in ("add", "sub", "mul", "div", "neg", "pow", "min", "max", "abs", "floor")
    },
    **{op: op.capitalize() for op in ("relu", "exp", "log", "sqrt", "tanh", "sigmoid", "erf", "sin", "cos")},
    **{"lt": "Less", "le": "LessOrEqual", "gt": "Greater", "ge": "GreaterOrEqual", "eq": "Equal"},
    **{"and": "And", "or": "Or", "not": "Not", "select": "Where"},
}


def _one(d: DType) -> Any:
    return np.ones((), d.storage)


def _log1p(w: Writer, d: DType, x: str) -> str:
    """2 atanh(x / (x + 2)) where x < 1, which keeps what 1 + x would round away."""
    two = w.constant(2 * _one(d))
    near = w.emit("Mul", two, w.emit("Atanh", w.emit("Div", x, w.emit("Add", x, two))))
    far = w.emit("Log", w.emit("Add", x, w.constant(_one(d))))
    return w.emit("Where", w.emit("Less", x, w.constant(_one(d))), near, far)


def _expm1(w: Writer, d: DType, x: str) -> str:
    """2 t / (1 - t) with t = tanh(x / 2) where abs(x) < 1, which keeps what exp(x) - 1 would cancel."""
    one, two = w.constant(_one(d)), w.constant(2 * _one(d))
    t = w.emit("Tanh", w.emit("Div", x, two))
    near = w.emit("Div", w.emit("Mul", two, t), w.emit("Sub", one, t))
    far = w.emit("Sub", w.emit("Exp", x), one)
    return w.emit("Where", w.emit("Less", w.emit("Abs", x), one), near, far)


COMPOSED: dict[str, Callable[..., str]] = {
    "ne": lambda w, d, a, b: w.emit("Not", w.emit("Equal", a, b)),
    "rsqrt": lambda w, d, x: w.emit("Reciprocal", w.emit("Sqrt", x)),
    "isfinite": lambda w, d, x: w.emit("Not", w.emit("Or", w.emit("IsNaN", x), w.emit("IsInf", x))),
    "log1p": _log1p,
    "expm1": _expm1,
}


FEWEST = {"ne": "Equal", "rsqrt": "Reciprocal", "isfinite": "IsInf", "log1p": "Atanh", "expm1": "Tanh"}


class Term(NamedTuple):
    """What a reference stands for: a tensor, its data type, and its shape in the first trace."""

    name: str
    dtype: DType
    shape: tuple[int, ...]


@translates(Elementwise, *sorted({*OPS.values()}), "Cast", "BatchNormalization")
def _elementwise(at: At) -> list[str | None]:
    found = recognised(at)
    if found is not None:
        return [found]
    p = at.p
    operands = [Term(name, t.dtype, t.shape) for name, t in zip(at.names, at.types)]
    computed: list[Term] = []
    for instruction, d in zip(p.code.instructions, p.code.types([t.dtype for t in at.types], p.literals)):
        computed.append(_instruction(at.writer, instruction, d, operands, computed, p.literals))
    return [_whole(at, ref, operands, computed) for ref in p.code.results]


@translates(Copy, "Identity")
def _copy(at: At) -> str:
    return at.emit("Identity", at.names[0])


def _instruction(
    w: Writer,
    instruction: tuple[Any, ...],
    result: DType,
    operands: list[Term],
    computed: list[Term],
    literals: tuple[Literal, ...],
) -> Term:
    op, *refs = instruction
    terms = [_term(ref, operands, computed) for ref in refs]
    shape = broadcast(t.shape for t in terms if t)
    if op.startswith("cast:") and terms[0] is not None:
        return _cast(w, terms[0], result)
    computing = _computing(op, refs, terms, literals, result)
    operator = _operator(op, computing)
    wide = running(operator, computing)
    names = []
    for i, (ref, term) in enumerate(zip(refs, terms)):
        wanted = bool_ if op == "select" and i == 0 else wide
        if term is None:
            number = np.array(literals[ref[1]].value, bool if wanted is bool_ else computing.storage)
            names.append(w.constant(number.astype(wanted.storage)))
        else:
            names.append(_cast(w, term, wanted).name)
    if operator != OPS.get(op) and operator in ("Max", "Sub"):
        names.insert(0, w.constant(np.zeros((), wide.storage)))
    name = COMPOSED[op](w, wide, *names) if op in COMPOSED else w.emit(operator, *names)
    return _cast(w, Term(name, result if op in BOOLEAN else wide, shape), result)


def _operator(op: str, d: DType) -> str:
    """The operator of ONNX for an instruction; of several that compose it the one with the fewest types."""
    whole = {"floor": "Identity", "relu": "Max", "neg": "Sub"} if d.kind != "float" else {}
    return whole.get(op) or OPS.get(op) or FEWEST[op]


def _computing(
    op: str, refs: list[Ref], terms: list[Term | None], literals: tuple[Literal, ...], result: DType
) -> DType:
    """The type that an instruction computes in."""
    if op in COMPARISONS:
        kinds = [literals[i].kind for (_, i), term in zip(refs, terms) if term is None]
        return promote([t.dtype for t in terms if t], kinds, widen=True)
    if op == "isfinite":
        assert terms[0] is not None
        return terms[0].dtype
    return bool_ if op in BOOLEAN else result


def _term(ref: Ref, operands: list[Term], computed: list[Term]) -> Term | None:
    where, i = ref
    return None if where == "l" else operands[i] if where == "a" else computed[i]


def _cast(w: Writer, term: Term, d: DType) -> Term:
    if term.dtype is not d and bfloat16 in (d, term.dtype):
        raise Unsaid("it computes in bfloat16", way="predict in float32")
    return Term(cast(w, term.name, term.dtype, d), d, term.shape)


def _whole(at: At, ref: Ref, operands: list[Term], computed: list[Term]) -> str:
    """A result in the shape of all operands, which some of its code may not read."""
    term = _term(ref, operands, computed)
    if term is None:
        literal = at.p.literals[ref[1]]
        d = at.node.types[at.p.code.results.index(ref)].dtype
        term = Term(at.writer.constant(np.array(literal.value, d.storage)), d, ())
    if term.shape == at.node.types[0].shape:
        return term.name
    return at.emit("Expand", term.name, at.sizes.shape(at.result))
