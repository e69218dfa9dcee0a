"""One node of a graph, as its translator sees it, and the table of translators."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from cortex_compute.types import TensorType
from cortex_core.exchange.to_onnx.kernels import run
from cortex_core.exchange.to_onnx.sizes import constant_size
from cortex_core.exchange.to_onnx.spoken import ChannelsFirst
from cortex_core.exchange.to_onnx.twins import Size
from cortex_core.exchange.to_onnx.unsaid import FIX, Unsaid
from cortex_core.graph.value import Value
from cortex_core.ops.array import Node

if TYPE_CHECKING:
    from cortex_core.exchange.to_onnx.translate import Translation

Translator = Callable[["At"], "str | Sequence[str | None]"]


class Row(NamedTuple):
    """A translator, the fields of its primitive that may hold a free size, and the ops of ONNX it writes."""

    translate: Translator
    free: tuple[str, ...]
    ops: tuple[str, ...]


TRANSLATORS: dict[type[Any], Row] = {}


def translates(
    primitive: type[Any], *ops: str, free: Sequence[str] = ()
) -> Callable[[Translator], Translator]:
    """Registers what writes a primitive as these ``ops`` of ONNX: it gives the names of the results, and None
    or nothing for those that no prediction reads."""

    def register(translate: Translator) -> Translator:
        TRANSLATORS[primitive] = Row(translate, tuple(free), ops)
        return translate

    return register


def row_of(primitive: Any) -> Row | None:
    """The row of a primitive; that of a view is also that of its kinds."""
    if isinstance(primitive, ChannelsFirst):
        primitive = primitive.of
    return next((TRANSLATORS[cls] for cls in type(primitive).__mro__ if cls in TRANSLATORS), None)


def has_translator(cls: type[Any]) -> bool:
    """Whether there is a translator of such primitives."""
    return any(base in TRANSLATORS for base in cls.__mro__)


class At:
    """A node with the names of its operands.  `emit` writes a node of ONNX, `name` gives that of any value
    before this one.

    ``p`` is its primitive, inside `ChannelsFirst` the one of that.
    """

    def __init__(self, node: Node, translation: Translation) -> None:
        self.node, self.twins = node, translation.twins
        self.writer, self.sizes = translation.writer, translation.sizes
        self.name, self.emit = translation.name, translation.writer.emit
        self.primitives = [_inside(twin.primitive) for twin in self.twins.of(node)]
        self.p = self.primitives[0]
        self._translation = translation

    @cached_property
    def names(self) -> list[str]:
        """What the operands are called."""
        return [self.name(x) for x in self.node.inputs]

    @property
    def types(self) -> list[TensorType]:
        """The types of the operands, in the first trace."""
        return [x.type for x in self.node.inputs]

    def shape(self, i: int) -> tuple[Size, ...]:
        """The sizes of an operand."""
        return self.twins.shape(self.node.inputs[i])

    def known(self, i: int) -> np.ndarray | None:
        """The numbers of an operand that are the same in each run; None where they are not."""
        x = self.node.inputs[i]
        return self._translation.numbers(x) if x.node in self._translation.known else None

    @property
    def result(self) -> tuple[Size, ...]:
        """The sizes of the first result."""
        return self.twins.shape(Value(self.node))

    def sized(self, name: str) -> tuple[Size, ...]:
        """A field that holds sizes, or places along axes."""
        return tuple(zip(*(getattr(p, name) for p in self.primitives)))

    def run(self, op: str, operands: Sequence[str], *more: str, back: bool = True, **attributes: Any) -> str:
        """As `kernels.run`, over operands of the type of the first one of this node."""
        return run(self.writer, op, self.types[0].dtype, operands, *more, back=back, **attributes)

    def expect_fixed(self, free: Sequence[str]) -> None:
        """Raises `Unsaid` where a field other than ``free`` depends on a size that is not fixed."""
        for f in fields(self.p):
            if f.name not in free and len({getattr(p, f.name) for p in self.primitives}) > 1:
                raise Unsaid(f"its {f.name} depends on a length that is free", way=FIX)

    def fixed_shape(self, i: int) -> tuple[int, ...]:
        """The sizes of an operand behind the batch; raises `Unsaid` where one is free."""
        if not all(map(constant_size, self.shape(i)[1:])):
            raise Unsaid("its windows depend on a length that is free")
        return self.types[i].shape[1:]


def _inside(p: Any) -> Any:
    return p.of if isinstance(p, ChannelsFirst) else p
