"""What a name in an ONNX graph stands for here: the value of a layer, or numbers that are known."""

from __future__ import annotations

from typing import Any

import numpy as np

from cortex_compute.frozen import frozen
from cortex_core.exchange.build import Shape, Unfit

BATCHES = (2, 3)
"""Two sizes of a batch.  Known numbers are computed with both, and with two lengths of axes of any length
(`build.SIZES`): what differs depends on them.  In a graph for batches of one size, that stands for both."""


class Mixed(Unfit):
    """What would mix the examples of a batch, where an axis is read as theirs; another reading may not."""


class Batch:
    """The size of the axis of the examples, in a shape."""

    def __repr__(self) -> str:
        return "batch"


BATCH = Batch()
Size = int | None | Batch


@frozen
class Value:
    """What a layer gives.

    ``shape`` is as it is here, without the batch axis; ``order`` says for each axis of ONNX which one it is
    here: 0 is the batch, and None an axis of size 1 that only ONNX has.  So what moves axes puts no layer
    before another one needs them elsewhere.  Where 0 is not among them, the whole value is one example.
    ``whole`` is the narrow type, such as uint8, in which ONNX computes what is int64 here; else empty.
    """

    source: str
    shape: Shape
    order: tuple[int | None, ...]
    dtype: str = "float32"
    whole: str = ""

    @property
    def rank(self) -> int:
        """How many axes it has in ONNX."""
        return len(self.order)

    @property
    def batch(self) -> int | None:
        """The axis of ONNX that is the batch."""
        return self.order.index(0) if 0 in self.order else None

    @property
    def sizes(self) -> tuple[Size, ...]:
        """The shape in ONNX."""
        return tuple(1 if a is None else BATCH if a == 0 else self.shape[a - 1] for a in self.order)

    @property
    def lying(self) -> list[int]:
        """The axes of ONNX in the order in which they lie here, without the batch."""
        return sorted((i for i, a in enumerate(self.order) if a), key=lambda i: self.order[i] or 0)

    def axis(self, given: int, room: int = 0) -> int:
        """An axis of ONNX counted from 0, which may be given from the end; ``room`` more may follow."""
        rank = self.rank + room
        if type(given) is not int or not -rank <= given < rank:
            raise Unfit(f"axis {given!r:.20} of {shown(self)}; expected {-rank} to {rank - 1}")
        return given % rank


@frozen
class Known:
    """Numbers that depend on no input: an array for each of two sizes of what is not known."""

    one: np.ndarray
    other: np.ndarray

    @property
    def fixed(self) -> bool:
        """Whether they are the same for batches and lengths of any size."""
        return self.one is self.other or (
            self.one.shape == self.other.shape
            and bool(np.array_equal(self.one, self.other, self.one.dtype.kind == "f"))
        )


def fixed(array: Any) -> Known:
    """Numbers that are the same for all sizes."""
    return Known(array, array)


def shown(x: Value) -> str:
    """The shape as people see it in ONNX."""
    return f"[{', '.join('any' if n is None else str(n) for n in x.sizes)}]"
