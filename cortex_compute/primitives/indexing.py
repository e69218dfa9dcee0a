"""Gathers and the scatters that are their gradients, concatenation, padding, one-hot, top-k, running sums."""

from __future__ import annotations

import math

from cortex_compute.errors import DTypeError
from cortex_compute.expression import Literal
from cortex_compute.frozen import frozen
from cortex_compute.primitives.base import Primitive
from cortex_compute.types import RANK, DType, TensorType, float32, int64, uint64


def with_size(shape: tuple[int, ...], axis: int, size: int) -> tuple[int, ...]:
    """``shape`` with another size of ``axis``."""
    return (*shape[:axis], size, *shape[axis + 1 :])


def equal_but(a: TensorType, b: TensorType, axis: int) -> bool:
    """Whether the shapes are equal elsewhere than on ``axis``."""
    return a.rank == b.rank and with_size(a.shape, axis, 0) == with_size(b.shape, axis, 0)


@frozen
class Indexing(Primitive):
    """The base of what reads or writes along one axis (counted from the front) at integer places.

    A place out of range is taken as the nearest one in range: a kernel cannot raise in the middle of a step;
    data are checked when they are read.
    """

    axis: int

    def places(self, i: int, t: TensorType) -> None:
        """Rejects operand ``i`` if it does not hold integers that fit into int64."""
        self.integer(i, t)
        if t.dtype is uint64:
            raise DTypeError(f"{self.name}: {self._operand(i)} is uint64; cast to int64")

    def has_axis(self, i: int, t: TensorType) -> None:
        """Rejects operand ``i`` if it lacks the axis."""
        name = self._operand(i)
        self.expect(0 <= self.axis < t.rank, "{} of shape {} has no axis {}", name, t.shape, self.axis)


@frozen
class Gather(Indexing):
    """y[..., i, ...] = x[..., ids[i], ...], where the axes of ids take the place of ``axis``.

    x (A..., n, B...), ids (S...) integers -> y (A..., S..., B...).
    """

    operands = ("x", "ids")

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        self.expect_count(types, 2)
        x, ids = types
        self.has_axis(0, x)
        self.places(1, ids)
        self.expect(x.shape[self.axis] > 0 or ids.size == 0, "x of shape {} is empty on axis {}, ids are {}",
                    x.shape, self.axis, ids.shape)  # fmt: skip
        return (TensorType(x.shape[: self.axis] + ids.shape + x.shape[self.axis + 1 :], x.dtype),)

    def nbytes(self, *types: TensorType) -> int:
        return types[1].nbytes + 2 * self.infer(*types)[0].nbytes


@frozen
class ScatterRows(Indexing):
    """The adjoint of Gather: zeros of ``size`` along ``axis``, to which g is added at ids.

    ids (S...) integers, g (A..., S..., B...) -> y (A..., size, B...); ids that repeat add, in their order.
    """

    operands = ("ids", "g")
    size: int

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        self.expect_count(types, 2)
        ids, g = types
        self.places(0, ids)
        between = g.shape[self.axis : self.axis + ids.rank]
        fits = 0 <= self.axis <= g.rank - ids.rank and between == ids.shape
        self.expect(fits, "g {} lacks the axes of ids {} at axis {}", g.shape, ids.shape, self.axis)
        self.expect(self.size > 0 or ids.size == 0, "no place for ids {} in size {}", ids.shape, self.size)
        rest = g.shape[self.axis + ids.rank :]
        return (TensorType((*g.shape[: self.axis], self.size, *rest), g.dtype),)

    def flops(self, *types: TensorType) -> int:
        return types[1].size


@frozen
class ScatterAdd(Indexing):
    """y = x, with g added at ids along ``axis``; ids that repeat add, in their order.

    x (A..., n, B...), ids (S...) integers, g (A..., S..., B...) -> y like x.
    """

    operands = ("x", "ids", "g")

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        self.expect_count(types, 3)
        x, ids, g = types
        if g.dtype is not x.dtype:
            raise DTypeError(f"ScatterAdd: x is {x.dtype}, g is {g.dtype}; cast one of them")
        (picked,) = Gather(self.axis).infer(x, ids)
        self.expect(g.shape == picked.shape, "g has shape {}; x {} at ids {} has shape {}",
                    g.shape, x.shape, ids.shape, picked.shape)  # fmt: skip
        return (x,)

    def flops(self, *types: TensorType) -> int:
        return types[2].size


@frozen
class TakeAlong(Indexing):
    """y[..., i, ...] = x[..., ids[..., i, ...], ...]: each element has its own place (np.take_along_axis).

    x (A..., n, B...), ids (A..., m, B...) integers -> y like ids.
    """

    operands = ("x", "ids")

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        self.expect_count(types, 2)
        x, ids = types
        self.has_axis(0, x)
        self.places(1, ids)
        self.expect(equal_but(ids, x, self.axis), "ids {} and x {} may differ only on axis {}",
                    ids.shape, x.shape, self.axis)  # fmt: skip
        self.expect(x.shape[self.axis] > 0 or ids.size == 0, "x of shape {} is empty on axis {}, ids are {}",
                    x.shape, self.axis, ids.shape)  # fmt: skip
        return (TensorType(ids.shape, x.dtype),)

    def nbytes(self, *types: TensorType) -> int:
        return types[1].nbytes + 2 * self.infer(*types)[0].nbytes


@frozen
class ScatterAlong(Indexing):
    """The adjoint of TakeAlong: zeros of ``size`` along ``axis``, each element of g added at its place.

    ids and g (A..., m, B...) -> y (A..., size, B...); places that repeat add, in row-major order.
    """

    operands = ("ids", "g")
    size: int

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        self.expect_count(types, 2)
        ids, g = types
        self.places(0, ids)
        self.has_axis(1, g)
        self.expect(ids.shape == g.shape, "ids {} and g {} differ", ids.shape, g.shape)
        self.expect(self.size > 0 or ids.size == 0, "no place for ids {} in size {}", ids.shape, self.size)
        return (TensorType(with_size(g.shape, self.axis, self.size), g.dtype),)

    def flops(self, *types: TensorType) -> int:
        return types[1].size


@frozen
class Concatenate(Primitive):
    """The operands one after the other along ``axis``; all other sizes are equal."""

    axis: int

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        self.expect(len(types) > 0, "needs at least one operand")
        first = types[0]
        self.same_dtype(*types)
        self.expect(0 <= self.axis < first.rank, "operand 0 {} has no axis {}", first.shape, self.axis)
        for i, t in enumerate(types):
            fits = equal_but(t, first, self.axis)
            self.expect(fits, "operand {} {} and operand 0 {} may differ only on axis {}",
                        i, t.shape, first.shape, self.axis)  # fmt: skip
        total = sum(t.shape[self.axis] for t in types)
        return (TensorType(with_size(first.shape, self.axis, total), first.dtype),)


@frozen
class Pad(Primitive):
    """x with ``interior`` values put between neighbours, ``low`` before and ``high`` after, along each axis.

    A negative low or high cuts off instead, after the interior values are in (as XLA's Pad).  The size n of
    an axis becomes low + n + (n - 1) interior + high.
    """

    operands = ("x",)
    low: tuple[int, ...]
    high: tuple[int, ...]
    interior: tuple[int, ...]
    value: Literal

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        self.expect_count(types, 1)
        (x,) = types
        self.expect(len(self.low) == len(self.high) == len(self.interior) == x.rank,
                    "x has shape {}; low, high, interior are {}, {}, {}",
                    x.shape, self.low, self.high, self.interior)  # fmt: skip
        self.expect(all(n >= 0 for n in self.interior), "interior is {}; needs sizes >= 0", self.interior)
        if RANK[self.value.kind] > RANK[x.dtype.kind]:
            raise DTypeError(f"Pad: the value {self.value} does not fit into x of {x.dtype}")
        spread = (n + max(n - 1, 0) * i for n, i in zip(x.shape, self.interior))
        shape = tuple(a + n + b for n, a, b in zip(spread, self.low, self.high))
        self.expect(all(n >= 0 for n in shape), "x of shape {} would become {}", x.shape, shape)
        return (TensorType(shape, x.dtype),)


@frozen
class OneHot(Primitive):
    """y[..., c] = 1 where ids[...] = c, else 0; an id out of range gives zeros.

    ids (S...) integers -> y (S..., classes)
    """

    operands = ("ids",)
    classes: int
    dtype: DType = float32

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        self.expect_count(types, 1)
        self.integer(0, types[0])
        self.expect(self.classes >= 0, "classes is {}; needs a size >= 0", self.classes)
        return (TensorType((*types[0].shape, self.classes), self.dtype),)


@frozen
class TopK(Primitive):
    """The k largest (or smallest) along the last axis, best first, and their places.

    x (..., n) floating -> values (..., k), ids (..., k) int64.  Of equal ones the first wins.  NaN counts as
    larger than every number, as in PyTorch.
    """

    operands = ("x",)
    k: int
    largest: bool = True

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        self.expect_count(types, 1)
        (x,) = types
        self.floating(x)
        self.expect(x.rank > 0 and 0 <= self.k <= x.shape[-1], "k is {}; x has shape {}", self.k, x.shape)
        shape = (*x.shape[:-1], self.k)
        return TensorType(shape, x.dtype), TensorType(shape, int64)

    def flops(self, *types: TensorType) -> int:
        return types[0].size * self.k


@frozen
class Cumsum(Primitive):
    """y[i] = x[0] + ... + x[i] along ``axis`` (``reverse``: x[i] + ... + x[n - 1]); integers sum in int64."""

    operands = ("x",)
    axis: int
    reverse: bool = False

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        self.expect_count(types, 1)
        (x,) = types
        self.expect(0 <= self.axis < x.rank, "x of shape {} has no axis {}", x.shape, self.axis)
        return (TensorType(x.shape, x.dtype if x.dtype.kind == "float" else int64),)

    def flops(self, *types: TensorType) -> int:
        return math.prod(types[0].shape)
