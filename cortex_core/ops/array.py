"""What both interpreters share: `Node`, the record of one application, and `Array`, one of its results.

A `Tensor` (eager) and a `Value` (symbolic) are Arrays.  Both hold ``type``, the ``node`` that made them (None
for an eager leaf), and their ``index`` among its outputs.  Operators and methods of Array are the ops of the
language; they are attached by `cortex_core.ops`, so that this module knows none of them.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, ClassVar

from cortex_compute.primitives.base import Primitive
from cortex_compute.types import DType, TensorType
from cortex_core.place import Place

next_serial = itertools.count().__next__
"""A number for each node and each change of memory, in the order in which they happen."""


class Node:
    """One application of a primitive: what went in, the types of what came out, and where it was asked for.

    ``primitive`` is a Primitive, or what stands in a symbolic leaf.  ``kind`` is the class of its Arrays.  An
    eager node keeps the outputs' ``buffers``, so that a gradient rule can have the outputs again without the
    node holding the Tensors themselves (which hold the node).  ``hooks`` holds, by output, the functions that
    see its gradient.
    """

    __slots__ = (
        *("__weakref__", "buffers", "hooks", "inputs", "kind", "place", "primitive", "serial", "types"),
    )

    def __init__(
        self,
        kind: type[Array],
        primitive: Any,
        inputs: Sequence[Any],
        types: tuple[TensorType, ...],
        place: Place | None = None,
        buffers: tuple[Any, ...] | None = None,
    ) -> None:
        self.kind = kind
        self.primitive = primitive
        self.inputs = tuple(inputs)
        self.types = types
        self.place = place
        self.buffers = buffers
        self.hooks: dict[int, list[Any]] | None = None
        self.serial = next_serial()

    @property
    def outputs(self) -> tuple[Any, ...]:
        """The results, made again."""
        return tuple(self.kind.output(self, i) for i in range(len(self.types)))

    def __repr__(self) -> str:
        return f"{self.primitive} -> {', '.join(map(str, self.types))}"


class Array:
    """The base of Tensor and Value: a type, and where it comes from."""

    __slots__ = ("index", "node", "type")
    __array_ufunc__ = None  # so that ndarray * Array asks the Array
    kind: ClassVar[type[Array]]  # the interpreter, which a subclass shares
    rank_of_kind: ClassVar[int] = 0
    in_order: ClassVar[bool] = False  # whether a node's serial is larger than those of its inputs

    type: TensorType
    node: Node | None
    index: int

    @classmethod
    def run(cls, primitive: Primitive, operands: Sequence[Any], place: Place | None) -> tuple[Any, ...]:
        """Applies a primitive to operands of this class: computes, or records."""
        raise NotImplementedError

    @classmethod
    def lift(cls, x: Any) -> Any:
        """An operand of another kind (an ndarray, a Tensor in a symbolic application) as this class."""
        raise NotImplementedError

    @classmethod
    def output(cls, node: Node, index: int) -> Any:
        """Output ``index`` of a node."""
        raise NotImplementedError

    @classmethod
    def reading(cls, node: Node) -> AbstractContextManager[Any]:
        """What must hold while the gradient rule of ``node`` runs."""
        return nullcontext()

    @classmethod
    def hooked(cls, node: Node, gradients: list[Any]) -> list[Any]:
        """The gradients of a node's outputs, as its hooks leave them."""
        return gradients

    @classmethod
    def deferred(cls, primitive: Primitive, *operands: Any) -> Any | None:
        """A gradient that is put together only where somebody looks at it; None: it is computed."""
        return None

    @classmethod
    def recording(cls) -> AbstractContextManager[Any]:
        """Where every application makes a node, so that a decomposition can be differentiated."""
        return nullcontext()

    @property
    def shape(self) -> tuple[int, ...]:
        return self.type.shape

    @property
    def dtype(self) -> DType:
        return self.type.dtype

    @property
    def ndim(self) -> int:
        return len(self.type.shape)

    @property
    def size(self) -> int:
        """Number of elements."""
        return self.type.size

    def numel(self) -> int:
        """Number of elements, in PyTorch's word; `size` is the same."""
        return self.type.size

    nelement = numel

    def dim(self) -> int:
        """Number of axes, in PyTorch's word for `ndim`."""
        return len(self.type.shape)

    def element_size(self) -> int:
        """Bytes of one element."""
        return self.type.dtype.itemsize

    def is_floating_point(self) -> bool:
        """Whether its numbers are floating, so that it may have a gradient."""
        return self.type.dtype.kind == "float"

    @property
    def device(self) -> str:
        """Where its numbers lie: eager code computes on the CPU; see `backend` for what computes."""
        return "cpu"

    def cpu(self) -> Any:
        """Itself: it lies there."""
        return self

    def contiguous(self) -> Any:
        """The same numbers in row-major order in memory; itself if they lie so."""
        return self

    def __len__(self) -> int:
        if not self.type.shape:
            raise TypeError("a 0-d array has no length")
        return self.type.shape[0]

    if TYPE_CHECKING:  # what `cortex_core.ops.operators` attaches

        def __add__(self, other: Any) -> Any: ...
        def __radd__(self, other: Any) -> Any: ...
        def __sub__(self, other: Any) -> Any: ...
        def __rsub__(self, other: Any) -> Any: ...
        def __mul__(self, other: Any) -> Any: ...
        def __rmul__(self, other: Any) -> Any: ...
        def __truediv__(self, other: Any) -> Any: ...
        def __rtruediv__(self, other: Any) -> Any: ...
        def __gt__(self, other: Any) -> Any: ...
        def __getitem__(self, key: Any) -> Any: ...
