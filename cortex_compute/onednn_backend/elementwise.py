"""Pointwise code as few calls: each a binary primitive with a chain of post-ops behind it.

The instructions are taken in order.  What is read once stays a chain to which later ones are added; what is
read more than once, or is a result, is written to memory.  Adam over a segment becomes four calls.
oneDNN has no select; it understands one use of it, the gradient of relu: select(y > 0, g, 0), as a product.
It is right for every finite g; where y is not positive, an infinite g, and NaN, give NaN instead of 0.

Chains compute in float32, whatever is read and written: a cast between float32 and bfloat16 inside of a piece
of code rounds nothing.  A binary primitive wants its first operand to be of its result's type; where that is
not so, a reorder comes before or behind it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Union

import numpy as np

from cortex_compute.expression import Ref
from cortex_compute.onednn_backend import constants as c
from cortex_compute.onednn_backend.activations import activation
from cortex_compute.onednn_backend.backend import offers
from cortex_compute.onednn_backend.descriptors import MemoryDesc, PostOp, PrimitiveDesc, strided
from cortex_compute.onednn_backend.epilogue import BINARY, CASTS, Untranslatable
from cortex_compute.onednn_backend.recipe import BANDWIDTH, In, Out, Recipe, Where
from cortex_compute.primitives.elementwise import Elementwise
from cortex_compute.protocol import Offer, Operand, Refusal, row_major
from cortex_compute.types import DType, TensorType, bfloat16, bool_, float32

SCALAR, VECTOR, FULL = 0, 1, 2  # one number, one number for each place of the last axis, one for each element
CALL = 8e-6  # seconds: NumPy's estimate is one for memory, and from the caches it is ten times as fast
LONGEST = 16  # links of a chain; oneDNN takes 32
FACTORS = 2.0**-10, 2.0**10  # a sum may be divided by such a number and multiplied again
UNARY = {"sqrt": c.SQRT, "tanh": c.TANH, "abs": c.ABS}


@dataclass(frozen=True, eq=False)
class Stored:
    """A value in memory."""

    where: Where
    kind: int
    dtype: DType = float32


@dataclass(frozen=True, eq=False)
class Chain:
    """A value that is not computed yet: ``start`` (binary with ``second``, or as it is), then ``links``.

    A link is (algorithm, operand) for a binary one, (algorithm, None) for an eltwise one.
    """

    start: Stored
    algorithm: int | None = None
    second: Stored | None = None
    links: tuple[tuple[int, Stored | None], ...] = ()

    def then(self, algorithm: int, operand: Stored | None = None) -> Chain:
        return replace(self, links=(*self.links, (algorithm, operand)))

    @property
    def factor(self) -> float:
        """The literal that a stored value is multiplied with, if that is all; else 0."""
        number = self.second.where if self.second and not self.links and self.algorithm == c.MUL else None
        return float(number[0]) if isinstance(number, np.ndarray) else 0.0


@dataclass(frozen=True, eq=False)
class Positive:
    """y > 0, which only a select may read."""

    y: Stored


Some = Union[Stored, Chain, Positive]


@dataclass
class Selector:
    """Chooses the calls for one piece of code over a space of (rows, columns)."""

    p: Elementwise
    types: Sequence[TensorType]
    results: Sequence[TensorType]
    recipe: Recipe = field(default_factory=Recipe)
    nbytes: int = 0

    def __post_init__(self) -> None:
        self.shape = self.results[0].shape
        self.size = self.results[0].size
        self.columns = self.shape[-1] if any(map(self._is_vector, self.types)) else self.size
        self.operands = [self._operand(k, t) for k, t in enumerate(self.types)]
        self.uses = Counter(r for _, *refs in self.p.code.instructions for r in refs)
        self.targets: dict[Ref, int] = {}
        for j, ref in enumerate(self.p.code.results):
            if ref[0] != "t" or ref in self.targets:
                raise Untranslatable("a result is an operand, or another result")
            self.targets[ref] = j
        self.values: list[Some] = []
        self.widened: dict[Stored, Stored] = {}
        self.writes: dict[int, int] = {}
        self.reads: dict[int, int] = {}

    def _is_vector(self, t: TensorType) -> bool:
        return t.size > 1 and t.shape != self.shape

    def _operand(self, k: int, t: TensorType) -> Stored:
        if t.size == 1 and self.size > 1:
            return Stored(In(k), SCALAR, t.dtype)
        if t.shape == self.shape or self.size == 1:
            return Stored(In(k), FULL, t.dtype)
        if t.size == t.shape[-1] == self.shape[-1]:
            return Stored(In(k), VECTOR, t.dtype)
        raise Untranslatable(f"an operand {t.shape} repeats over {self.shape}")

    def desc(self, x: Stored) -> MemoryDesc:
        rows = self.size // self.columns if x.kind == FULL else 1
        columns = 1 if x.kind == SCALAR else self.columns
        return strided((rows, columns), (columns, 1), x.dtype)

    # One instruction after the other.

    def run(self) -> None:
        """Fills the recipe."""
        for i, (op, *refs) in enumerate(self.p.code.instructions):
            ref: Ref = ("t", i)
            value = self._instruction(op, [self._value(r) for r in refs])
            target = self._target()
            if target is not None:
                value = self._store(value, target)
                self.writes[self.targets[ref]] = len(self.recipe.calls) - 1
            elif isinstance(value, Chain) and (self.uses[ref] > 1 or len(value.links) >= LONGEST):
                value = self._stored(value)
            self.values.append(value)

    def _target(self) -> Stored | None:
        """Where the value of the next instruction is to be written, if it is a result."""
        j = self.targets.get(("t", len(self.values)))
        return None if j is None else Stored(Out(j), FULL, self.results[j].dtype)

    def _value(self, ref: Ref) -> Some:
        where, i = ref
        if where == "l":
            return number(self.p.literals[i].value)
        return self.operands[i] if where == "a" else self.values[i]

    def _instruction(self, op: str, args: list[Some]) -> Some:
        if op == "gt" and isinstance(args[0], Stored) and is_zero(args[1]):
            return Positive(args[0])
        if op == "select" and isinstance(args[0], Positive) and is_zero(args[2]):
            return self._relu_gradient(args[0].y, args[1])
        if any(isinstance(a, Positive) for a in args):
            raise Untranslatable(f"{op} of a comparison")
        if op in CASTS:
            return args[0]
        if op == "relu":
            return self._relu(args[0])
        if op == "neg":
            return self._chain(args[0]).then(c.MUL, number(-1.0))
        if op in UNARY:
            return self._chain(args[0]).then(UNARY[op])
        if op in BINARY:
            return self._binary(op, *args)
        raise Untranslatable(f"{op} has no post-op that keeps NaN, infinity and the sign of zero")

    def _binary(self, op: str, x: Some, y: Some) -> Chain:
        if isinstance(x, Chain) and isinstance(y, Chain):
            scaled, other = (x, y) if abs(x.factor) >= abs(y.factor) else (y, x)
            if op == "add" and FACTORS[0] <= abs(scaled.factor) <= FACTORS[1]:
                return self._sum(scaled, other)
            y = self._stored(y)
        if isinstance(x, Stored) and isinstance(y, Stored):
            if kind(x) < kind(y) and op in ("add", "mul"):
                x, y = y, x
            if kind(x) >= kind(y):
                return Chain(x, BINARY[op], y)
        if isinstance(y, Stored) and kind(x) >= kind(y):
            return self._chain(x).then(BINARY[op], y)
        if isinstance(x, Stored) and op in ("add", "mul") and kind(y) >= kind(x):
            return self._chain(y).then(BINARY[op], x)
        if isinstance(x, Stored) and op == "sub" and kind(y) >= kind(x):
            return self._chain(y).then(c.MUL, number(-1.0)).then(c.ADD, x)
        if isinstance(x, Stored) and op == "div" and isinstance(y, Chain) and kind(x) == kind(y):
            return Chain(x, c.DIV, self._stored(y))
        return self._chain(self._stored(x)).then(BINARY[op], self._stored(y))

    def _sum(self, scaled: Chain, other: Chain) -> Chain:
        """x f + other = (other / f + x) f, so that x need not be multiplied beforehand.

        With f between `FACTORS` the quotient leaves float32's range only where ``other`` is at its end.
        """
        f = scaled.factor
        if other.factor:
            other = replace(other, second=number(other.factor / f))
        else:
            other = other.then(c.MUL, number(1.0 / f))
        if other.start.kind < scaled.start.kind:
            other = self._chain(self._stored(other))
        return other.then(c.ADD, scaled.start).then(c.MUL, number(f))

    def _relu(self, value: Some) -> Chain:
        """max(relu(min(x, 0)), x): where one of two numbers is NaN, the machine's maximum is the last."""
        x = self._beforehand(value)
        return Chain(x, c.MIN, number(0.0)).then(c.RELU).then(c.MAX, x)

    def _relu_gradient(self, y: Stored, g: Some) -> Chain:
        """(max(y, 0) > 0) g: oneDNN holds NaN for greater than 0, but its maximum of NaN and 0 is 0.

        Faster than oneDNN's own gradient, which makes NaN of 0 times infinity, too, and lets g through NaN.
        """
        positive = Chain(y, c.MAX, number(0.0)).then(c.GREATER, number(0.0))
        return positive.then(c.MUL, self._beforehand(g))

    def _beforehand(self, x: Some) -> Stored:
        """What a ReLU or its gradient gets, in memory.

        A result in bfloat16 is the same, whether it is rounded before the ReLU or after.
        """
        target = self._target()
        if isinstance(x, Stored) or target is None or target.dtype is not bfloat16:
            return self._stored(x)
        return self._store(x, self._spare(kind(x), bfloat16))

    # Memory.

    def _chain(self, x: Some) -> Chain:
        assert not isinstance(x, Positive)
        return Chain(x) if isinstance(x, Stored) else x

    def _spare(self, kind: int, dtype: DType) -> Stored:
        n = (1, self.columns, self.size)[kind]
        return Stored(self.recipe.space(n * dtype.itemsize), kind, dtype)

    def _stored(self, x: Some) -> Stored:
        if isinstance(x, Positive):
            raise Untranslatable("a comparison is read more than once")
        return x if isinstance(x, Stored) else self._store(x, self._spare(kind(x), float32))

    def _store(self, x: Some, target: Stored) -> Stored:
        """The call that computes a chain."""
        if isinstance(x, Positive):
            raise Untranslatable("a comparison is a result")
        if isinstance(x, Stored) and x.where == target.where:
            return x
        x = self._chain(x)
        if kind(x) != target.kind:
            raise Untranslatable("a result repeats")
        if x.second is None and not x.links:
            return self._moved(x.start, target)
        if x.start.dtype is not target.dtype:
            if target.dtype is not float32:
                return self._moved(self._stored(x), target)
            x = self._starting_in_float32(x)
        first, to = self.desc(x.start), self.desc(target)
        arguments: dict[int, tuple[Stored, MemoryDesc]] = {c.SRC: (x.start, first), c.DST: (target, to)}
        algorithm, second, links = x.algorithm, x.second, x.links
        if algorithm is None and len(links) == 1 and links[0][1] is None:
            forward = c.FORWARD_INFERENCE, links[0][0], first, to, 0.0, 0.0
            self._call(PrimitiveDesc("eltwise_forward", *forward), arguments)
            return target
        if algorithm is None:
            (link, operand), *rest = links
            if operand is not None:
                algorithm, second, links = link, operand, tuple(rest)
            else:
                algorithm, second = c.MUL, number(1.0)
        assert second is not None
        post_ops = []
        for n, (link, operand) in enumerate(links):
            if operand is None:
                post_ops.append(PostOp("eltwise", link))
                continue
            post_ops.append(PostOp("binary", link, operand=self.desc(operand)))
            arguments[c.of_post_op(n)] = operand, self.desc(operand)
        arguments[c.SRC_1] = second, self.desc(second)
        operands = first, self.desc(second), to
        self._call(PrimitiveDesc("binary", algorithm, *operands, post_ops=post_ops), arguments)
        return target

    def _moved(self, x: Stored, target: Stored) -> Stored:
        """The call that copies, or changes the type."""
        have, want = self.desc(x), self.desc(target)
        self._call(PrimitiveDesc("reorder", have, want), {c.FROM: (x, have), c.TO: (target, want)})
        return target

    def _starting_in_float32(self, x: Chain) -> Chain:
        y = x.second
        if y and y.dtype is float32 and y.kind == x.start.kind and x.algorithm in (c.ADD, c.MUL):
            return replace(x, start=y, second=x.start)
        if x.start not in self.widened:
            self.widened[x.start] = self._moved(x.start, self._spare(x.start.kind, float32))
        return replace(x, start=self.widened[x.start])

    def _call(self, primitive: PrimitiveDesc, arguments: dict[int, tuple[Stored, MemoryDesc]]) -> None:
        n = len(self.recipe.calls)
        for x, desc in arguments.values():
            self.nbytes += desc.nbytes
            if isinstance(x.where, In):
                self.reads[x.where.index] = n
        self.recipe.call(primitive, {k: (x.where, desc) for k, (x, desc) in arguments.items()})

    def reuse(self) -> tuple[tuple[int, int], ...]:
        """Which operand's memory a result may take: one that no later call reads."""
        return tuple(
            (k, j)
            for k, t in enumerate(self.types) if t.shape == self.shape
            for j, r in enumerate(self.results)
            if t.dtype is r.dtype and self.reads.get(k, 0) <= self.writes[j]
        )  # fmt: skip


def kind(x: Some) -> int:
    """How large the value is."""
    if isinstance(x, Positive):
        return FULL
    if isinstance(x, Stored):
        return x.kind
    return max(kind(y) for y in (x.start, x.second, *(o for _, o in x.links)) if y is not None)


def number(value: float) -> Stored:
    """A literal."""
    return Stored(np.array([value], np.float32), SCALAR)


def is_zero(x: Some) -> bool:
    """Whether it is the literal 0."""
    return isinstance(x, Stored) and isinstance(x.where, np.ndarray) and x.where[0] == 0


@offers(Elementwise)
def elementwise(p: Elementwise, operands: Sequence[Operand]) -> Offer | Refusal:
    types = [o.type for o in operands]
    if not all(map(row_major, operands)):
        return Refusal("oneDNN's pointwise primitives want row-major operands")
    results = p.infer(*types)
    inside = p.code.types([t.dtype for t in types], p.literals)
    if not {*inside, *(r.dtype for r in results)} <= {float32, bfloat16, bool_}:
        return Refusal("oneDNN computes in float32 and bfloat16 alone")
    if any(r.dtype is bool_ for r in results):
        return Refusal("oneDNN gives no truth values")
    whole = activation(p, types)
    if whole is not None:
        moved = sum(t.nbytes for t in (*types, *results))
        return whole.offer(CALL + moved / BANDWIDTH, reuse=((0, 0),))
    selector = Selector(p, types, results)
    selector.run()
    cost = CALL * len(selector.recipe.calls) + selector.nbytes / BANDWIDTH
    return selector.recipe.offer(cost, reuse=selector.reuse())
