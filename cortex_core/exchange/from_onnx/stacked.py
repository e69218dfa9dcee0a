"""Values one axis of which is that of the examples and another one, in one: PyTorch's attention has the heads
of all examples side by side, (N heads, T, C)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from cortex_compute.frozen import frozen
from cortex_core.exchange.from_onnx.model import Node
from cortex_core.exchange.from_onnx.value import Known, Mixed, Value

STEPWISE = (
    "MatMul",
    "Gemm",
    "Softmax",
    "Add",
    "Sub",
    "Mul",
    "Div",
    "Relu",
    "Gelu",
    "Dropout",
    "Identity",
    "Cast",
)
"""What does the same where the two axes are apart: it works along the last axes, or on each element."""


@frozen
class Stacked:
    """A value whose axes ``axis`` and the next, one of which is the batch, are one axis in ONNX."""

    value: Value
    axis: int

    @property
    def rank(self) -> int:
        """How many axes it has in ONNX."""
        return self.value.rank - 1

    def merged(self, sizes: Sequence[int]) -> tuple[int, ...]:
        """The sizes in ONNX, of those of the value."""
        return (*sizes[: self.axis], sizes[self.axis] * sizes[self.axis + 1], *sizes[self.axis + 2 :])

    def transposed(self, perm: Sequence[int]) -> Stacked:
        """The axes of ONNX in another order."""
        apart = [[a, a + 1] if a == self.axis else [a + (a > self.axis)] for a in perm]
        axes = [a for part in apart for a in part]
        order = tuple(self.value.order[a] for a in axes)
        return Stacked(replace(self.value, order=order), axes.index(self.axis))


Given = Value | Known | Stacked | None


def apart(node: Node, given: Sequence[Given]) -> tuple[list[Value | Known | None], int]:
    """The inputs with the two axes apart, and which of them are one in the result.  Raises `Mixed` for
    operators that are not `STEPWISE`."""
    stacks = [x for x in given if isinstance(x, Stacked)]
    first = stacks[0]
    others = [x for x in given if isinstance(x, Value)]
    behind = first.rank - first.axis - 1
    wide = [x for x in given if isinstance(x, Known) and x.one.ndim > behind and x.one.size > 1]
    alike = all((x.rank, x.axis) == (first.rank, first.axis) for x in stacks)
    whole = node.op == "Softmax" and node.attributes.get("axis", -1) != -1
    if (
        node.op not in STEPWISE
        or others
        or not alike
        or whole
        or (wide and node.op not in ("MatMul", "Gemm"))
    ):
        raise Mixed("its examples and another axis are one axis here, which it does not keep apart")
    return [x.value if isinstance(x, Stacked) else x for x in given], first.axis
