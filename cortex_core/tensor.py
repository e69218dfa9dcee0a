"""The eager interpreter: a `Tensor` computes each op at once and remembers how, so that it can be
differentiated.

No derivative stands here: the rules are those of the language (`cortex_core.ops`), and a node is the same as
in a graph.  A Tensor holds the node that made it, a node its inputs and the memory of its outputs; nothing
points forward, so that a graph is freed with the last Tensor that leads to it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np

from cortex_compute.errors import BackendError, DTypeError, GradientError
from cortex_compute.primitives.base import Primitive
from cortex_compute.primitives.elementwise import Copy
from cortex_compute.primitives.views import Reshape
from cortex_compute.types import DTYPES, DType, TensorType, bfloat16, dtype
from cortex_core import changes
from cortex_core.machine import ANYWHERE, Machine, kind_of, machine
from cortex_core.modes import MODE, PLAIN, mode, no_grad
from cortex_core.ops import operators as _operators  # noqa: F401  (gives Array its operators)
from cortex_core.ops.apply import apply
from cortex_core.ops.array import Array, Node, next_serial
from cortex_core.ops.pointwise import cast
from cortex_core.place import Place
from cortex_core.words import Words

__all__ = ["Tensor", "assign", "clone", "no_grad"]


class Extra:
    """What few tensors have: see `cortex_core.changes` and `cortex_core.inplace`."""

    __slots__ = ("emptied", "gone", "hooks", "past", "seen")

    def __init__(self) -> None:
        self.gone = ""  # the line of the change after which these numbers are gone
        self.seen = 0  # the serial of the last change that this tensor knows of
        self.past: list[tuple[int, Tensor]] = []  # what it was before the change of this serial
        self.hooks: list[Any] = []  # of a leaf
        self.emptied: Tensor | None = None  # what stands for an input in a graph whose memory is given back


class Tensor(Words):
    """An array of numbers that remembers the op that made it.

    ``data`` is anything NumPy takes; a list of Python floats becomes float32, an array keeps its dtype and
    shares its memory.  With ``requires_grad`` the ops that use it are recorded, and ``backward`` fills
    ``grad``.
    """

    __slots__ = ("__weakref__", "_data", "_extra", "_requires_grad", "grad", "machine")
    rank_of_kind: ClassVar[int] = 1
    in_order: ClassVar[bool] = True

    def __init__(self, data: Any, dtype: object = None, requires_grad: bool = False) -> None:
        self._data = as_numpy(data, dtype)
        self.type = TensorType(self._data.shape, _dtype(self._data.dtype))
        self.machine: Machine = data.machine if isinstance(data, Tensor) else machine()
        self.node: Node | None = None
        self.index = 0
        self.grad: Tensor | None = None
        self._extra: Extra | None = None
        self._requires_grad = False
        if requires_grad:
            self.requires_grad = True

    @classmethod
    def _of(cls, data: Any, type: TensorType, node: Node | None, index: int, on: Machine) -> Tensor:
        self = cls.__new__(cls)
        self._data = data
        self.type = type
        self.node = node
        self.index = index
        self.machine = on
        self.grad = self._extra = None
        self._requires_grad = False
        return self

    # The interpreter.

    @classmethod
    def lift(cls, x: Any) -> Tensor:
        if isinstance(x, Tensor):
            return x
        array = as_numpy(x, None)
        return Tensor._of(array, TensorType(array.shape, _dtype(array.dtype)), None, 0, ANYWHERE)

    @classmethod
    def output(cls, node: Node, index: int) -> Tensor:
        if node.buffers is None:
            raise freed(node)
        return Tensor._of(node.buffers[index], node.types[index], node, index, node.inputs[0].machine)

    @classmethod
    def recording(cls) -> AbstractContextManager[Any]:
        return mode(recording=True)

    @classmethod
    def reading(cls, node: Node) -> AbstractContextManager[Any]:
        return changes.Reading(node)

    @classmethod
    def deferred(cls, primitive: Primitive, *operands: Any) -> Any | None:
        from cortex_core.rows import scatter

        return scatter(primitive, *operands)

    @classmethod
    def hooked(cls, node: Node, gradients: list[Any]) -> list[Any]:
        for index, hooks in (node.hooks or {}).items():
            for hook in tuple(hooks):
                if gradients[index] is not None:
                    gradients[index] = _as_it_is_now(hook(gradients[index]))
        return gradients

    @classmethod
    def run(cls, primitive: Primitive, operands: Sequence[Tensor], place: Place | None) -> tuple[Tensor, ...]:
        now = MODE.get()
        on = operands[0].machine
        recorded = False
        for x in operands:
            if x.machine is not on:
                on = _common_machine(primitive, operands)
            if x._requires_grad or x.node is not None:
                recorded = now.recording
        if changes.CHANGES:
            changes.check(operands)
        key = (kind_of(primitive), *[x.type for x in operands])
        ready = on.ready.get(key)
        if ready is None:
            ready = on.prepare(key, primitive, key[1:])
        types, compute = ready
        arrays = [x._data for x in operands]
        try:
            buffers = compute(primitive, arrays)
        except (AttributeError, TypeError):
            if any(a is None for a in arrays):
                raise GradientError(f"{primitive.name}: backward has given these numbers back") from None
            raise
        node = Node(Tensor, primitive, operands, types, place, buffers) if recorded else None
        if now is not PLAIN:
            _watched(now, primitive, operands, buffers, node)
        if len(types) == 1:
            keeps = node if node is not None and types[0].dtype.kind == "float" else None
            return (Tensor._of(buffers[0], types[0], keeps, 0, on),)
        return tuple(
            Tensor._of(b, t, node if t.dtype.kind == "float" else None, i, on)
            for i, (b, t) in enumerate(zip(buffers, types))
        )

    # What it is.

    @property
    def data(self) -> Any:
        """The array of numbers, shared; `numpy()` and `detach()` say the same more clearly."""
        if self._data is None:
            raise GradientError(f"the numbers of this tensor, {self.type}, were given back by backward")
        return self._data

    @data.setter
    def data(self, value: Any) -> None:
        array = value.data if isinstance(value, Tensor) else np.asarray(value)
        if array.dtype != self._data.dtype:
            raise DTypeError(f"data: this tensor is {self.dtype}, the new numbers are {array.dtype}")
        self._data = array
        self.type = TensorType(array.shape, self.type.dtype)

    @property
    def requires_grad(self) -> bool:
        """Whether ops on this tensor are recorded."""
        return self._requires_grad or self.node is not None

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        if value and self.type.dtype.kind != "float":
            raise DTypeError(f"only floating tensors have gradients, this one is {self.type.dtype}")
        if not value and self.node is not None:
            raise GradientError("requires_grad of a computed tensor cannot be taken away: use detach()")
        self._requires_grad = bool(value) and self.node is None

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        """Sets ``requires_grad``; the tensor itself."""
        self.requires_grad = requires_grad
        return self

    @property
    def is_leaf(self) -> bool:
        """Whether no recorded op made it: `backward` fills the ``grad`` of leaves."""
        return self.node is None

    @property
    def is_sparse(self) -> bool:
        """Whether it is a gradient that holds some rows only: see `cortex_core.rows`."""
        return False

    @property
    def backend(self) -> str:
        """The name of the backend that computes with it."""
        return self.machine.name

    @property
    def operation(self) -> str:
        """The name of the primitive that made it; empty for a leaf."""
        return "" if self.node is None else self.node.primitive.name

    @property
    def children(self) -> tuple[Tensor, ...]:
        """The tensors that it was computed from; looked up in the graph, not held."""
        return () if self.node is None else tuple(self.node.inputs)

    @property
    def grad_fn(self) -> Node | None:
        """The node that made it; None for a leaf."""
        return self.node

    @property
    def itemsize(self) -> int:
        """Bytes of one element."""
        return self.type.dtype.itemsize

    @property
    def nbytes(self) -> int:
        """Bytes of all elements."""
        return self.type.nbytes

    # Gradients.

    def backward(
        self,
        gradient: Any = None,
        retain_graph: bool | None = None,
        create_graph: bool = False,
        inputs: Sequence[Tensor] | None = None,
    ) -> None:
        """Adds to ``grad`` of every leaf (or of ``inputs``) the gradient of this tensor, weighted by
        ``gradient`` (1 for a scalar).

        The graph's memory is given back unless ``retain_graph``; with ``create_graph`` the gradients can be
        differentiated again.
        """
        from cortex_core.autograd import backward

        backward([self], [gradient], retain_graph, create_graph, inputs)

    def retain_grad(self) -> None:
        """`backward` fills ``grad`` also of this tensor, which an op made."""
        from cortex_core.autograd import retain

        retain(self)

    def register_hook(self, hook: Any) -> Any:
        """``hook(gradient)`` is called with the whole gradient of this tensor; what it returns (None: as it
        was) goes on in its place; it may not change the gradient itself.  The handle that is returned removes
        it.
        """
        from cortex_core.autograd import register_hook

        return register_hook(self, hook)

    @property
    def has_hooks(self) -> bool:
        """Whether `register_hook` was called on this leaf."""
        return self._extra is not None and bool(self._extra.hooks)

    def detach(self) -> Tensor:
        """The same numbers without the history; shares the memory."""
        return Tensor._of(self.data, self.type, None, 0, self.machine)

    def clone(self) -> Tensor:
        """A copy in memory of its own.   dx = g"""
        return apply(Copy(), self)  # type: ignore[no-any-return]

    copy = clone

    # Numbers.

    def item(self) -> Any:
        """The one number that it holds."""
        if self.type.size != 1:
            raise ValueError(f"item: a tensor of shape {self.shape} holds {self.size} numbers; use tolist()")
        return self.data.item()

    def tolist(self) -> Any:
        """The numbers as nested lists."""
        return self.data.tolist()

    def numpy(self) -> np.ndarray:
        """The numbers, without the history; shares the memory."""
        array: np.ndarray = self.data
        return array

    def contiguous(self) -> Tensor:
        """The same numbers in row-major order in memory; itself if they lie so.   dx = g"""
        return self if self.data.flags.c_contiguous else _row_major(self)

    def to(self, *targets: object, dtype: object = None, device: object = None) -> Tensor:
        """In another data type, on another backend ("numpy", "onednn", "auto"; "cpu" is the fastest of this
        machine's), or both; of another Tensor the data type.
        """
        given = [*targets, *(x for x in (device, dtype) if x is not None)]
        if not given or None in [x for x in targets if not isinstance(x, Tensor)]:
            raise TypeError(f"to: {targets} names no data type and no backend")
        moved = self
        for target in given:
            moved = moved._to(target)
        return moved

    def _to(self, target: object) -> Tensor:
        if isinstance(target, Tensor):
            return self.to(target.dtype)
        if isinstance(target, str) and target not in DTYPES:
            return self._on(machine("auto" if target == "cpu" else target))
        moved: Tensor = cast(self, _array_dtype(target))
        return moved

    def _on(self, other: Machine) -> Tensor:
        if other is self.machine:
            return self
        moved = Tensor._of(self.data, self.type, None, 0, other)
        if self.requires_grad and MODE.get().recording:
            moved = apply(Reshape(self.shape), self)
            moved.machine, home = other, self.machine
            moved.register_hook(lambda g: g._on(home))
        return moved

    def float(self) -> Tensor:
        """In float32."""
        return self.to("float32")

    def double(self) -> Tensor:
        """In float64."""
        return self.to("float64")

    def half(self) -> Tensor:
        """In float16."""
        return self.to("float16")

    def int(self) -> Tensor:
        """In int32."""
        return self.to("int32")

    def long(self) -> Tensor:
        """In int64."""
        return self.to("int64")

    def bool(self) -> Tensor:
        """In bool: whether each element is not 0."""
        return self.to("bool")

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        return np.array(self.data, dtype, copy=copy) if copy else np.asarray(self.data, dtype)

    def __dlpack__(self, **options: Any) -> Any:
        if self.requires_grad:
            raise GradientError("a tensor that requires gradients cannot be shared: use detach()")
        return self.data.__dlpack__(**options)

    def __dlpack_device__(self) -> Any:
        return self.data.__dlpack_device__()

    def __float__(self) -> Any:
        return self.item().__float__()

    def __int__(self) -> Any:
        return self.item().__int__()

    def __index__(self) -> Any:
        if self.type.dtype.kind == "float":
            raise TypeError(f"only a tensor of integers is an index, this one is {self.type}")
        return self.item().__index__()

    def __bool__(self) -> Any:
        if self.type.size != 1:
            raise ValueError(f"a tensor of shape {self.shape} is neither true nor false: use all() or any()")
        return self.item().__bool__() if hasattr(self.item(), "__bool__") else self.item() != 0

    def __iter__(self) -> Iterator[Any]:
        return (self[i] for i in range(len(self)))

    def __format__(self, spec: str) -> str:
        return format(self.item(), spec) if spec else str(self)

    def __deepcopy__(self, memo: Any) -> Tensor:
        if self.node is not None:
            raise GradientError("only leaves can be copied deeply: use clone() or detach()")
        made = type(self).__new__(type(self))
        memo[id(self)] = made
        for name, value in (("_data", self.data.copy()), ("type", self.type), ("machine", self.machine)):
            setattr(made, name, value)
        made.node, made.index, made._extra = None, 0, None
        made.grad = None if self.grad is None else self.grad.detach().clone()
        made._requires_grad = self._requires_grad
        return made

    def __reduce__(self) -> Any:
        if self.node is not None:
            raise GradientError("only leaves can be pickled: use detach()")
        return _restored, (type(self), self.data, self._requires_grad)

    def __str__(self) -> str:
        text = str(self.data)
        return text if self.ndim != 1 or "\n" in text else "[" + " ".join(text[1:-1].split()) + "]"

    def __repr__(self) -> str:
        if self._data is None:
            made = f"made by {self.operation}, " if self.operation else ""
            return f"Tensor({self.type}, {made}given back by backward)"
        inside = str(self).replace("\n", "\n       ")
        told = [inside] if self.type.dtype.name in ("float32", "int64", "bool") else [inside, str(self.dtype)]
        if self.node is not None:
            told.append(f"made by {self.operation}")
        elif self._requires_grad:
            told.append("requires_grad=True")
        return f"Tensor({', '.join(told)})"

    def _repr_html_(self) -> str:
        from cortex_core.displays import tensor_html

        return tensor_html(self)


Array.kind = Array
Tensor.kind = Tensor


def _restored(kind: type[Tensor], array: np.ndarray, requires_grad: bool) -> Tensor:
    """What `pickle` calls."""
    plain = Tensor(array)
    made = kind._of(plain.data, plain.type, None, 0, plain.machine)
    made._requires_grad = requires_grad
    return made


def freed(node: Node) -> GradientError:
    """The error for a graph whose memory is gone."""
    return GradientError(
        f"backward: this graph was freed by a backward before ({node.primitive.name} gave its memory back); "
        "the first one keeps it by retain_graph=True"
    )


def emptied(x: Tensor) -> Tensor:
    """What stands for ``x`` in a graph whose memory is given back: the same place, without numbers."""
    if x._requires_grad or (x.node is None and x._data is None):
        return x
    if x.node is not None:
        return Tensor._of(None, x.type, x.node, x.index, x.machine)
    x._extra = x._extra or Extra()  # an input of several nodes stays one
    if x._extra.emptied is None:
        x._extra.emptied = Tensor._of(None, x.type, None, 0, x.machine)
    return x._extra.emptied


def _watched(now: Any, primitive: Any, operands: Any, buffers: Any, node: Node | None) -> None:
    """What the settings of `cortex_core.modes` ask of each application."""
    if now.anomaly:
        changes.look_for_nan(primitive, operands, buffers, node)
    if now.watch is not None and node is not None:
        now.watch(node)


def _common_machine(primitive: Primitive, operands: Sequence[Tensor]) -> Machine:
    """The machine of all operands: for other numbers of threads the same backend has several."""
    bound = [x.machine for x in operands if x.machine is not ANYWHERE]
    names = {on.name for on in bound}
    if len(names) > 1:
        told = " and ".join(sorted(names))
        raise BackendError(f"{primitive.name}: operands on {told}; bring them together by to({min(names)!r})")
    return bound[-1]


def as_numpy(data: Any, to: object) -> np.ndarray:
    if isinstance(data, Tensor):
        data = data.data
    elif isinstance(data, (list, tuple)) and _holds(data, (Tensor, np.ndarray, np.generic)):
        data = np.stack([as_numpy(x, None) for x in data])
    array = np.asarray(data)
    if to is not None:
        return array.astype(_array_dtype(to).storage, copy=False)
    if not isinstance(data, (np.ndarray, np.generic)) and array.dtype == np.float64:
        return array.astype(np.float32)
    if data is None:
        raise DTypeError("None is no array of numbers; whether x is None is asked by `x is None`")
    return array


def _holds(data: Any, kinds: tuple[type, ...]) -> bool:
    return any(isinstance(x, kinds) or (isinstance(x, (list, tuple)) and _holds(x, kinds)) for x in data)


def _array_dtype(x: object) -> DType:
    found = dtype(x)
    if found is bfloat16:
        raise DTypeError("tensors have no bfloat16, which NumPy has no arrays of; train in it by a program")
    return found


@lru_cache(maxsize=64)
def _dtype(storage: np.dtype[Any]) -> DType:
    if storage.kind not in "biuf":
        raise DTypeError(f"no tensor holds {storage}; known are {', '.join(DTYPES)}")
    return dtype(storage)


def assign(primitive: Primitive, operands: Sequence[Any], targets: Sequence[Tensor]) -> None:
    """Applies a primitive and writes its results into the memory of ``targets``, which may be among the
    operands; nothing is recorded.  One result for each target, of its type.
    """
    tensors = [x if isinstance(x, Tensor) else Tensor(x) for x in operands]
    targets[0].machine.write(primitive, [x._data for x in tensors], [x._data for x in targets])
    for target in targets:
        _changed(target)


def _changed(x: Tensor) -> int:
    """Says that x has new numbers, of which x itself knows."""
    serial = changes.note(x._data)
    if x.node is not None:
        if x._extra is None:
            x._extra = Extra()
        x._extra.seen = serial
    return serial


def _as_it_is_now(x: Tensor) -> Tensor:
    """x, of which changes in place until now are known: who reads it means the numbers that it has."""
    y = Tensor._of(x._data, x.type, x.node, x.index, x.machine)
    y._extra = Extra()
    y._extra.seen = next_serial()
    return y


def _row_major(x: Tensor) -> Any:
    """A copy of x in row-major order: one of a flat copy is."""
    return apply(Reshape(x.shape), apply(Copy(), apply(Reshape((x.type.size,)), x)))


def clone(x: Tensor) -> Any:
    """A copy in memory of its own.   dx = g"""
    return apply(Copy(), x)


from cortex_core import inplace as _inplace  # noqa: E402, F401  (gives Tensor its in-place forms)
