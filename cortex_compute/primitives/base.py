"""What every primitive states.

A primitive is a frozen dataclass.  It says which operands it takes and what comes out (`infer`), what that
costs (`flops`, `nbytes`), and, for a view, how it lies in its operand's memory (`restride`).  It computes
nothing.
"""

from __future__ import annotations

from dataclasses import fields
from typing import Any, ClassVar

from cortex_compute.errors import DTypeError, ShapeError
from cortex_compute.frozen import frozen
from cortex_compute.types import TensorType, uint8

OPAQUE = TensorType((0,), uint8)
"""The type of a residual: bytes that only the backend reads, as many as the offer says."""


@frozen
class Primitive:
    """The base of the vocabulary."""

    view: ClassVar[bool] = False
    operands: ClassVar[tuple[str, ...]] = ()
    residual: ClassVar[bool] = False  # whether the last output is OPAQUE
    wide: ClassVar[tuple[str, ...]] = ()  # operands and results that are float32 beside an x of 16 bits
    rounds: ClassVar[bool] = False  # whether these may be made of numbers that were rounded to 16 bits

    @property
    def given(self) -> tuple[str, ...]:
        """The names of the operands that it takes with these fields."""
        return self.operands

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        """The types of the outputs; raises ShapeError or DTypeError naming the operand."""
        raise NotImplementedError

    def flops(self, *types: TensorType) -> int:
        """Floating-point operations."""
        return 0

    def turns(self, *types: TensorType) -> int:
        """Parts that follow one another: after each of them the threads of a kernel meet."""
        return 1

    def nbytes(self, *types: TensorType) -> int:
        """Bytes read and written at least once."""
        return sum(t.nbytes for t in types) + sum(t.nbytes for t in self.infer(*types))

    def restride(
        self, shape: tuple[int, ...], strides: tuple[int, ...]
    ) -> tuple[int, tuple[int, ...]] | None:
        """For a view: offset and strides, in elements, in an operand that lies so; None: copy it."""
        raise NotImplementedError

    @property
    def name(self) -> str:
        return type(self).__name__

    def __str__(self) -> str:
        values = {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name) != f.default}
        return f"{self.name}({', '.join(f'{k}={v}' for k, v in values.items())})"

    # What `infer` uses to reject operands, with one wording everywhere.

    def expect_count(self, types: tuple[TensorType, ...], n: int) -> None:
        if len(types) != n:
            raise ShapeError(f"{self.name} takes {n} operands ({', '.join(self.given)}), got {len(types)}")

    def expect(self, condition: bool, message: str, *values: Any) -> None:
        if not condition:
            raise ShapeError(f"{self.name}: " + message.format(*values))

    def same_dtype(self, *types: TensorType) -> None:
        """Rejects operands of different data types, or of a type that is not floating."""
        first = types[0].dtype
        for i, t in enumerate(types):
            if t.dtype is not first:
                a, b = self._operand(0), self._operand(i)
                raise DTypeError(f"{self.name}: {a} is {first}, {b} is {t.dtype}; cast one of them")

    def floating(self, *types: TensorType) -> None:
        """Rejects operands that are not all of one floating type."""
        self.same_dtype(*types)
        if types[0].dtype.kind != "float":
            raise DTypeError(f"{self.name}: {self._operand(0)} is {types[0].dtype}; needs a floating type")

    def integer(self, i: int, t: TensorType) -> None:
        """Rejects operand ``i`` if it does not hold integers."""
        if t.dtype.kind != "int":
            raise DTypeError(f"{self.name}: {self._operand(i)} is {t.dtype}; needs integers")

    def _operand(self, i: int) -> str:
        return self.given[i] if i < len(self.given) else f"operand {i}"
