"""The eager interpreter: a `Tensor` computes each op at once and remembers how, so that it can be
differentiated.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np

from cortex_compute.errors import BackendError, CortexError, DTypeError, ShapeError
from cortex_compute.primitives.base import Primitive
from cortex_compute.primitives.elementwise import Copy
from cortex_compute.protocol import Operand
from cortex_compute.types import TensorType, dtype
from cortex_core.ops import operators as _operators  # noqa: F401  (gives Array its operators)
from cortex_core.ops.array import Array, Node
from cortex_core.ops.differentiate import differentiate
from cortex_core.place import Place

RECORDING: ContextVar[bool] = ContextVar("RECORDING", default=True)


@lru_cache(maxsize=1)
def _machine() -> tuple[Any, Any]:
    """The backend that eager ops run on, and its inline stream."""
    from cortex_compute.backends import get

    backend = get("numpy")
    return backend, backend.devices()[0].stream()


@contextmanager
def no_grad() -> Iterator[None]:
    """Ops inside are not recorded."""
    token = RECORDING.set(False)
    try:
        yield
    finally:
        RECORDING.reset(token)


class Tensor(Array):
    """An array of numbers that remembers the op that made it.

    ``data`` is anything NumPy takes; a list of Python floats becomes float32, an array keeps its dtype and
    shares its memory.  With ``requires_grad`` the ops that use it are recorded, and ``backward`` fills
    ``grad``.
    """

    __slots__ = ("__weakref__", "_requires_grad", "data", "grad")
    rank_of_kind: ClassVar[int] = 1

    def __init__(self, data: Any, dtype: object = None, requires_grad: bool = False) -> None:
        self.data = _as_numpy(data, dtype)
        self.type = TensorType(self.data.shape, _dtype(self.data.dtype))
        self.node: Node | None = None
        self.index = 0
        self.grad: Tensor | None = None
        if requires_grad and self.type.dtype.kind != "float":
            raise DTypeError(f"only floating tensors have gradients, this one is {self.type.dtype}")
        self._requires_grad = requires_grad

    @classmethod
    def _of(cls, data: np.ndarray, type: TensorType, node: Node | None, index: int) -> Tensor:
        self = cls.__new__(cls)
        self.data, self.type, self.node, self.index = data, type, node, index
        self.grad, self._requires_grad = None, False
        return self

    @property
    def requires_grad(self) -> bool:
        """Whether ops on this tensor are recorded."""
        return self._requires_grad or (self.node is not None and self.type.dtype.kind == "float")

    @classmethod
    def lift(cls, x: Any) -> Tensor:
        return cls(x)

    @classmethod
    def output(cls, node: Node, index: int) -> Tensor:
        assert node.buffers is not None
        return cls._of(node.buffers[index], node.types[index], node, index)

    @classmethod
    @contextmanager
    def recording(cls) -> Iterator[None]:
        token = RECORDING.set(True)
        try:
            yield
        finally:
            RECORDING.reset(token)

    @classmethod
    def run(cls, primitive: Primitive, operands: Sequence[Tensor], place: Place | None) -> tuple[Tensor, ...]:
        types = primitive.infer(*(x.type for x in operands))
        arrays = [x.data for x in operands]
        if primitive.view:
            buffers, types = _view(primitive, arrays[0], types), types
        else:
            buffers = _compute(primitive, operands, types)
        node = None
        if RECORDING.get() and any(x.requires_grad for x in operands):
            node = Node(cls, primitive, operands, types, place, buffers)
        return tuple(cls._of(b, t, node, i) for i, (b, t) in enumerate(zip(buffers, types)))

    def backward(self, gradient: Tensor | None = None, create_graph: bool = False) -> None:
        """Adds to ``grad`` of every leaf the gradient of this tensor, weighted by ``gradient`` (1 for a
        scalar).
        """
        if not self.requires_grad:
            raise CortexError("backward: this tensor was not made from one with requires_grad=True")
        if gradient is None:
            if self.type.size != 1:
                raise ShapeError(f"backward: a tensor of shape {self.shape} needs a gradient of that shape")
            gradient = Tensor(np.ones(self.shape, self.data.dtype))
        elif gradient.type != self.type:
            raise ShapeError(f"backward: this tensor is {self.type}, the gradient {gradient.type}")
        leaves = _leaves(self)
        token = RECORDING.set(RECORDING.get() and create_graph)
        try:
            for leaf, g in zip(leaves, differentiate([self], [gradient], leaves)):
                if g is not None:
                    leaf.grad = g if leaf.grad is None else leaf.grad + g
        finally:
            RECORDING.reset(token)

    def item(self) -> Any:
        """The one number that it holds."""
        return self.data.item()

    def numpy(self) -> np.ndarray:
        """The numbers, without the history; shares the memory."""
        return self.data

    def detach(self) -> Tensor:
        """The same numbers without the history."""
        return Tensor._of(self.data, self.type, None, 0)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self.data, dtype, copy=copy) if copy else np.asarray(self.data, dtype)

    def __float__(self) -> float:
        return float(self.data)

    def __int__(self) -> int:
        return int(self.data)

    def __bool__(self) -> bool:
        return bool(self.data)

    def __repr__(self) -> str:
        return str(self.data)


def _as_numpy(data: Any, to: object) -> np.ndarray:
    if isinstance(data, Tensor):
        data = data.data
    array = np.asarray(data)
    if to is not None:
        return array.astype(dtype(to).storage, copy=False)
    if not isinstance(data, (np.ndarray, np.generic)) and array.dtype == np.float64:
        return array.astype(np.float32)
    return array


@lru_cache(maxsize=32)
def _dtype(storage: np.dtype[Any]) -> Any:
    return dtype(storage)


def _leaves(root: Tensor) -> list[Tensor]:
    """Every tensor without a node, but with requires_grad, that ``root`` depends on."""
    leaves: dict[int, Tensor] = {}
    seen: set[int] = set()
    stack = [root]
    while stack:
        x = stack.pop()
        if x.node is None:
            if x.requires_grad:
                leaves[id(x)] = x
        elif id(x.node) not in seen:
            seen.add(id(x.node))
            stack += x.node.inputs
    return list(leaves.values())


def _view(primitive: Primitive, array: np.ndarray, types: tuple[TensorType, ...]) -> tuple[np.ndarray, ...]:
    item = array.itemsize
    if any(s % item for s in array.strides):  # a field of a record: no whole number of elements apart
        array = array.copy()
    strides = tuple(s // item for s in array.strides)
    placed = primitive.restride(array.shape, strides)
    if placed is None:
        array = np.ascontiguousarray(array)
        placed = primitive.restride(array.shape, tuple(s // item for s in array.strides))
        assert placed is not None
    offset, new = placed
    shape = types[0].shape
    if 0 in shape:
        return (np.empty(shape, array.dtype),)
    interface = dict(array.__array_interface__)
    address, readonly = interface["data"]
    interface.update(
        data=(address + offset * item, readonly), shape=shape, strides=tuple(s * item for s in new)
    )
    return (np.asarray(_Holder(interface, array)),)


class _Holder:
    """Keeps the owner of some memory alive while an array looks into it."""

    def __init__(self, interface: dict[str, Any], owner: Any) -> None:
        self.__array_interface__ = interface
        self.owner = owner


def _compute(
    primitive: Primitive, operands: Sequence[Tensor], types: tuple[TensorType, ...]
) -> tuple[Any, ...]:
    backend, stream = _machine()
    described = tuple(Operand(x.type) for x in operands)
    offer = backend.offer(primitive, described)
    if not offer:
        raise BackendError(f"{primitive}: {offer.reason}")
    arrays = [x.data if x.data.flags.c_contiguous else x.data.copy() for x in operands]
    outputs = [np.empty(t.shape, t.dtype.storage) for t in types]
    if primitive.residual:
        outputs[-1] = np.empty(offer.residual, np.uint8)
    workspace = np.empty(offer.workspace, np.uint8)
    with stream.active():
        offer.build().bind(arrays, outputs, workspace)(stream)
    return tuple(outputs)


def clone(x: Tensor) -> Any:
    """A copy in memory of its own.   dx = g"""
    from cortex_core.ops.apply import apply

    return apply(Copy(), x)
