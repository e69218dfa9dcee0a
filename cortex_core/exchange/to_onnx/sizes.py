"""Sizes that are known only when the model runs, computed from the shapes of what is there."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cortex_core.exchange.to_onnx.twins import Size
from cortex_core.exchange.to_onnx.unsaid import Unsaid
from cortex_core.exchange.to_onnx.writer import Writer


def constant_size(size: Size) -> bool:
    """Whether a size is the same in all traces."""
    return len(set(size)) == 1


class Sizes:
    """Finds for a size where it stands, or how it follows from one or two that do.

    A size is a tuple of numbers, one for each trace: a relation that holds in all of them is taken to hold.
    """

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._axes: dict[Size, tuple[str, int]] = {}
        self._made: dict[Size, str] = {}

    def note(self, name: str, shape: Sequence[Size]) -> None:
        """A tensor of this shape is there."""
        for axis, size in enumerate(shape):
            if not constant_size(size):
                self._axes.setdefault(size, (name, axis))

    def shape(self, sizes: Sequence[Size | int]) -> str:
        """The name of a shape: int64, with as many elements as there are sizes."""
        if all(isinstance(n, int) or constant_size(n) for n in sizes):
            return self._writer.constant(np.array([_number(n) for n in sizes], np.int64))
        pieces: list[str] = []
        known: list[int] = []
        for n in sizes:
            if isinstance(n, int) or constant_size(n):
                known.append(_number(n))
                continue
            if known:
                pieces.append(self._writer.constant(np.array(known, np.int64)))
            pieces.append(self.of(n))
            known = []
        if known:
            pieces.append(self._writer.constant(np.array(known, np.int64)))
        return pieces[0] if len(pieces) == 1 else self._writer.emit("Concat", *pieces, axis=0)

    def of(self, size: Size) -> str:
        """The name of a size, int64 with one element.  Raises `Unsaid` where nothing tells it."""
        if constant_size(size):
            return self._writer.constant(np.array([size[0]], np.int64))
        if size not in self._made:
            self._made[size] = self._found(size)
        return self._made[size]

    def _found(self, size: Size) -> str:
        emit, number = self._writer.emit, self._number
        if size in self._axes:
            name, axis = self._axes[size]
            return emit("Shape", name, start=axis, end=axis + 1)
        for known in self._axes:
            factor = _common(size, known)
            if factor is not None:
                return emit("Mul", self.of(known), number(factor))
            divisor = _common(known, size)
            if divisor is not None:
                return emit("Div", self.of(known), number(divisor))
        for known in self._axes:
            rest = tuple(n // m for n, m in zip(size, known) if m and n % m == 0)
            if len(rest) == len(size) and (rest in self._axes or self._is_multiple(rest)):
                return emit("Mul", self.of(known), self.of(rest))
        for known in self._axes:
            apart = {n - m for n, m in zip(size, known)}
            if len(apart) == 1:
                return emit("Add", self.of(known), number(apart.pop()))
        raise Unsaid("a size in it does not follow from those of its inputs")

    def _number(self, n: int) -> str:
        return self._writer.constant(np.array([n], np.int64))

    def _is_multiple(self, size: Size) -> bool:
        return any(_common(size, known) is not None for known in self._axes)


def _common(size: Size, known: Size) -> int | None:
    """What ``known`` is multiplied by in each trace; None where that differs."""
    factors = {n // m if m and n % m == 0 else None for n, m in zip(size, known)}
    return factors.pop() if len(factors) == 1 else None


def _number(n: Size | int) -> int:
    return n if isinstance(n, int) else n[0]
