"""Layers that make one value of several."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from functools import reduce
from typing import Any, ClassVar, Literal

from cortex_compute.errors import DTypeError
from cortex_core.layers.expect import each_position, floating, reasoned, refuse
from cortex_core.layers.normalization import unit
from cortex_core.layers.scope import Scope
from cortex_core.ops import pointwise as ops
from cortex_core.ops.einsum import einsum
from cortex_core.ops.indexing import concatenate
from cortex_core.ops.linear import matmul
from cortex_core.ops.pointwise import pointwise
from cortex_core.ops.views import reshape, transpose
from cortex_core.registry import Fault, base, field, layer


@pointwise
def total(*x: Any) -> Any:
    """x1 + x2 + ..., in one kernel"""
    return reduce(lambda a, b: a + b, x)


@pointwise
def product(*x: Any) -> Any:
    """x1 x2 ..., in one kernel"""
    return reduce(lambda a, b: a * b, x)


@pointwise
def middle(*x: Any) -> Any:
    """(x1 + ... + xn) / n, in one kernel"""
    return reduce(lambda a, b: a + b, x) / float(len(x))


@pointwise
def largest(*x: Any) -> Any:
    """The largest of x1, x2, ..., in one kernel"""
    return reduce(ops.maximum, x)


@pointwise
def smallest(*x: Any) -> Any:
    """The smallest of x1, x2, ..., in one kernel"""
    return reduce(ops.minimum, x)


@base
class Merge:
    """The base of layers that make one element of one of each input."""

    kind: ClassVar[str]

    def fitting(self, x: Sequence[Any]) -> None:
        """Rejects inputs whose shapes differ where none is 1."""
        sizes = [set(along) - {1} for along in zip(*(v.shape for v in x))]
        if len({len(v.shape) for v in x}) > 1 or any(len(found) > 1 for found in sizes):
            refuse(f"{self.kind} needs equal shapes, or 1 along an axis", *x)

    def forward(self, p: Scope, *x: Any) -> Any:
        self.fitting(x)
        return self.of(*x)

    def of(self, *x: Any) -> Any:
        """What is made of an element of each."""
        raise NotImplementedError


@layer("add", inputs="several", transparent=True, positionwise=True)
class Add(Merge):
    """The sum.   several x (B, ...) of equal shape, or 1 along an axis -> (B, ...)

    What is 1 along an axis holds for all of that axis.

    As numpy.add; around blocks: He et al., 2016.

    Example:
        inputs: {a: [3, 2], b: [3, 2]}
        layers: [add: {from: [a, b]}]
    """

    def of(self, *x: Any) -> Any:
        return total(*x)


@layer("subtract", inputs=2, positionwise=True)
class Subtract(Merge):
    """The first less the second.   two x (B, ...) of equal shape, or 1 along an axis -> (B, ...)

    As numpy.subtract.

    Example:
        inputs: {a: [3, 2], b: [3, 1]}
        layers: [subtract: {from: [a, b]}]
    """

    def of(self, *x: Any) -> Any:
        return x[0] - x[1]


@layer("multiply", inputs="several", positionwise=True)
class Multiply(Merge):
    """The product of elements.   several x (B, ...) of equal shape, or 1 along an axis -> (B, ...)

    What is 1 along an axis holds for all of that axis, such as a gate (B, 1, 1, C) for an image.

    Hu et al., 2018.

    Example:
        inputs: {signal: [3, 2], gate: [3, 1]}
        layers: [multiply: {from: [signal, gate]}]
    """

    def of(self, *x: Any) -> Any:
        return product(*x)


@layer("divide", inputs=2, positionwise=True)
class Divide(Merge):
    """The first by the second.   two x (B, ...) of equal shape, or 1 along an axis -> (B, ...)

    As numpy.divide: what is divided by 0 becomes infinite, or no number.

    Example:
        inputs: {a: [3, 2], b: [3, 1]}
        layers:
          - softplus: {from: b, id: positive}
          - divide: {from: [a, positive]}
    """

    def of(self, *x: Any) -> Any:
        return x[0] / x[1]


@layer("average", inputs="several", positionwise=True)
class Average(Merge):
    """(x1 + ... + xn) / n.   several x (B, ...) of equal shape, or 1 along an axis -> (B, ...)

    Of the branches of an ensemble: Breiman, 1996.

    Example:
        inputs: {a: [3, 2], b: [3, 2]}
        layers: [average: {from: [a, b]}]
    """

    def of(self, *x: Any) -> Any:
        return middle(*x)


@layer("maximum", inputs="several", positionwise=True)
class Maximum(Merge):
    """The largest of each element.   several x (B, ...) of equal shape, or 1 along an axis -> (B, ...)

    As numpy.maximum; of parts of a layer: Goodfellow et al., 2013.

    Example:
        inputs: {x: [4]}
        layers: [dense: {units: 3, id: a}, dense: {units: 3, from: x, id: b}, maximum: {from: [a, b]}]
    """

    def of(self, *x: Any) -> Any:
        return largest(*x)


@layer("minimum", inputs="several", positionwise=True)
class Minimum(Merge):
    """The smallest of each element.   several x (B, ...) of equal shape, or 1 along an axis -> (B, ...)

    As numpy.minimum.

    Example:
        inputs: {x: [4]}
        layers: [dense: {units: 3, id: a}, dense: {units: 3, from: x, id: b}, minimum: {from: [a, b]}]
    """

    def of(self, *x: Any) -> Any:
        return smallest(*x)


@layer("compare", main="operation", inputs=(1, 2), positionwise=True)
class Compare(Merge):
    """How x is to a value, or the first to the second.   one or two x (B, ...) -> (B, ...) of bool

    Two of equal shape, or 1 along an axis.  Whole numbers are compared as such with whole ones, and NaN is
    not_equal to all.  As numpy.equal, numpy.not_equal, numpy.less and so on.

    Example:
        inputs: {words: {shape: [3], dtype: int64}}
        layers:
        - compare: {operation: not_equal, value: 0, id: seen}
        - embedding: {tokens: 5, units: 2, from: words}
        - gru: {units: 2, mask: seen}
    """

    operation: Literal["equal", "not_equal", "less", "less_equal", "greater", "greater_equal"] = field(
        doc="what is true"
    )
    value: float | None = field(default=None, doc="what one x is compared with")

    def of(self, *x: Any) -> Any:
        if (len(x) == 1) == (self.value is None):
            refuse("compare needs two inputs, or one and a value", *x)
        other = x[1:] or (number_beside(x[0], self.value),)
        return getattr(ops, self.operation)(x[0], *other)


def number_beside(x: Any, number: Any) -> float | int:
    """A number that is whole beside whole numbers, if it can be: else they would become floating ones."""
    return int(number) if x.dtype.kind == "int" and number.is_integer() and abs(number) < 2**63 else number


@layer("where", inputs=(1, 2, 3), positionwise=True)
class Where(Merge):
    """The second where the first is true, elsewhere the third.   (B, ...) of bool, two x (B, ...) -> (B, ...)

    In place of an x there may be a number.  All of equal shape, or 1 along an axis.  As numpy.where: what is
    not taken may be NaN.

    Example:
        inputs: {told: {shape: [3, 1], dtype: bool}, a: [3, 2]}
        layers: [where: {from: [told, a], otherwise: -1}]
    """

    then: float | None = field(default=None, doc="a number in place of the second")
    otherwise: float | None = field(default=None, doc="a number in place of the third")

    def of(self, *x: Any) -> Any:
        condition, *given = x
        if condition.dtype.kind != "bool":
            needs = f"where needs a condition of truths, not {condition.dtype}; compare makes them"
            raise reasoned(DTypeError, f"the condition is {condition.dtype} {condition.shape[1:]}", needs)
        rest = iter(given)
        sides = [next(rest, None) if n is None else n for n in (self.then, self.otherwise)]
        if any(side is None for side in sides) or next(rest, None) is not None:
            refuse("where needs a condition and two inputs, or a number in place of each", *x)
        if given:
            sides = [number_beside(given[0], side) if isinstance(side, float) else side for side in sides]
        self._alike(sides)
        return ops.select(condition, *sides)

    def _alike(self, sides: Sequence[Any]) -> None:
        """Rejects whole numbers beside floating ones, which would become such."""
        kinds = [type(x).__name__ if isinstance(x, (int, float)) else x.dtype.kind for x in sides]
        if len({*kinds}) > 1:
            needs = "where needs two of one kind; 'cast' makes floating numbers of others"
            raise reasoned(DTypeError, f"what it takes is {kinds[0]} and {kinds[1]}", needs)


@layer("dot", main="axes", inputs=2)
class Dot:
    """Inner products along an axis of each, for each example.   x (B, ..., n, ...), y (B, ..., n, ...)

    The other axes of x stand before those of y; two vectors (B, n) give (B, 1).  With `normalize` it is the
    cosine of what is between them.  As numpy.tensordot.

    Example:
        inputs: {a: [3, 4], b: [2, 4]}
        layers: [dot: {axes: [2, 2], normalize: true, from: [a, b]}]
    """

    axes: tuple[int, ...] = field(default=(-1, -1), doc="the axis of x and that of y, with the batch as 0")
    normalize: bool = field(default=False, doc="divides both by their length along the axis, or 1e-12")

    def check(self) -> Iterator[Fault]:
        """An axis of each; samples stay apart."""
        if len(self.axes) != 2 or 0 in self.axes:
            yield Fault(("axes",), f"{list(self.axes)}", "expected two axes, neither of them 0, the batch")

    def forward(self, p: Scope, x: Any, y: Any) -> Any:
        a, b = (self._last(v, axis) for v, axis in zip((x, y), self.axes))
        if a.shape[-1] != b.shape[-1]:
            refuse(f"dot needs as many elements along axis {self.axes[0]} as along {self.axes[1]}", x, y)
        rest = (*a.shape[1:-1], *b.shape[1:-1])
        left, right = (reshape(v, (v.shape[0], math.prod(v.shape[1:-1]), v.shape[-1])) for v in (a, b))
        return reshape(matmul(left, right, transpose_b=True), (x.shape[0], *(rest or (1,))))

    def _last(self, x: Any, axis: int) -> Any:
        """x with this axis behind all others, of length 1 along it if that is asked for."""
        rank = len(x.shape)
        if not 0 < axis % rank == axis + rank * (axis < 0):
            refuse(f"dot has no axis {axis} to sum along (0 is the batch)", x)
        order = [a for a in range(rank) if a != axis % rank]
        turned = transpose(x, (*order, axis % rank))
        return unit(turned, -1) if self.normalize else turned


@layer("einsum", main="equation", inputs="several")
class Einsum:
    """Products of all elements whose axes have equal names, summed over the names that the result lacks.

    The first axis of each is the batch.  As numpy.einsum.

    Example:
        inputs: {queries: [3, 2, 4], keys: [5, 2, 4]}
        layers: [einsum: {equation: "bqhd,bkhd->bhqk", from: [queries, keys]}]
    """

    equation: str = field(doc="a letter for each axis of each input, and behind -> for those of the result")

    def check(self) -> Iterator[Fault]:
        """Letters, of which those of the result are others' too; samples stay apart."""
        shown = f"{self.equation!r:.80}"
        if not re.fullmatch(r"[a-zA-Z]+(,[a-zA-Z]+)+->[a-zA-Z]+", self.equation):
            yield Fault(("equation",), shown, "expected letters such as bij,bjk->bik")
            return
        before, _, behind = self.equation.partition("->")
        terms = [*before.split(","), behind]
        if any(term[0] != behind[0] or term.count(behind[0]) > 1 for term in terms):
            yield Fault(("equation",), shown, "expected one letter, of the batch, in front of each")
        if not {*behind} <= {*before} or len({*behind}) < len(behind):
            yield Fault(("equation",), shown, "expected each letter of the result once, and before ->")

    def forward(self, p: Scope, *x: Any) -> Any:
        for v in x:
            floating(self, v)
        terms = self.equation.partition("->")[0].split(",")
        if [*map(len, terms)] != [len(v.shape) for v in x]:
            told = f"{self.equation!r:.60}"
            refuse(f"einsum needs inputs with as many axes as {told} names, with the batch", *x)
        return einsum(self.equation, *x)


@layer("matmul", inputs=2)
class MatMul:
    """Products of matrices, for each example and each place along the axes before them.

    x (B, ..., m, k), y (B, ..., k, n) -> (B, ..., m, n).  What is 1 along an axis before the last two holds
    for all of that axis.  As numpy.matmul.

    Example:
        inputs: {a: [2, 3, 4], b: [2, 4, 5]}
        layers: [matmul: {from: [a, b]}]
    """

    def forward(self, p: Scope, x: Any, y: Any) -> Any:
        if len(x.shape) < 3 or len(x.shape) != len(y.shape) or x.shape[-1] != y.shape[-2]:
            refuse("matmul needs matrices (..., m, k) and (..., k, n), with equally many axes", x, y)
        if any(len({m, n} - {1}) > 1 for m, n in zip(x.shape[:-2], y.shape[:-2])):
            refuse("matmul needs equal sizes, or 1, along the axes before the matrices", x, y)
        return matmul(x, y)


@layer("concatenate", main="axis", inputs="several", transparent=True)
class Concatenate:
    """One behind the other.   several x (B, ..., n_i) -> (B, ..., sum n_i).

    As numpy.concatenate; in dense blocks: Huang et al., 2017.

    Example:
        inputs: {a: [3, 2], b: [3, 1]}
        layers: [concatenate: {from: [a, b]}]
    """

    axis: int = field(default=-1, doc="the axis that grows, counted with the batch axis as 0")

    def check(self) -> Iterator[Fault]:
        """Samples stay apart."""
        if self.axis == 0:
            yield Fault(("axis",), "axis 0 is the batch", "expected 1, 2, ... or -1, -2, ...")

    def forward(self, p: Scope, *x: Any) -> Any:
        rank = len(x[0].shape)
        axis = self.axis + rank if self.axis < 0 else self.axis
        if not 0 < axis < rank:
            refuse(f"concatenate has no axis {self.axis} to join along (0 is the batch)", *x)
        others = {v.shape[:axis] + v.shape[axis + 1 :] for v in x}
        if len(others) > 1 or any(len(v.shape) != rank for v in x):
            refuse(f"concatenate needs shapes that differ on axis {self.axis} only", *x)
        return concatenate(x, axis)

    def step(self, p: Scope, *x: Any) -> Any:
        """Of one position, where the axis is not that of the positions."""
        each_position(self, x[0], self.axis)
        return self.forward(p, *x)
