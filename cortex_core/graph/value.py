"""The symbolic interpreter: a `Value` stands for a result that a program will compute.

Values have no owner; a `Graph` is what its roots reach.  Leaves are inputs, states and constants.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from functools import partialmethod
from typing import Any, ClassVar, NoReturn

import numpy as np

from cortex_compute.errors import ShapeError
from cortex_compute.frozen import frozen
from cortex_compute.primitives.base import Primitive
from cortex_compute.primitives.views import Reshape
from cortex_compute.types import TensorType, dtype
from cortex_core.modes import MODE
from cortex_core.ops import operators as _operators  # noqa: F401  (gives Array its operators)
from cortex_core.ops.array import Array, Node
from cortex_core.ops.differentiate import ancestors, gradient_of
from cortex_core.place import Place
from cortex_core.words import Words


class Leaf:
    """What stands in a node without operands."""

    view = False
    residual = False


@frozen
class Input(Leaf):
    """Memory that the caller fills before a run."""

    name: str


@frozen
class State(Leaf):
    """Memory that outlives a run; a graph's updates say what it becomes."""

    name: str


@dataclass(frozen=True, eq=False)
class Constant(Leaf):
    """Numbers that are known now."""

    array: np.ndarray


@frozen
class Detached(Reshape):
    """The same numbers in the same shape; they count as constant for gradients."""


@gradient_of(Detached)
def _detached(node: Node, g: Any) -> Any:
    return (None,)


_LIFT: ContextVar[Callable[[Any], Any] | None] = ContextVar("what lifts Tensors with gradients", default=None)
_NOT_IN_PLACE = "a symbolic value cannot be changed in place"


@contextmanager
def lifting(lift: Callable[[Any], Any]) -> Iterator[None]:
    """Inside, ``lift(tensor)`` gives the Value of a Tensor that requires gradients, and what is computed
    under `no_grad` is detached, as it is in eager code.
    """
    token = _LIFT.set(lift)
    try:
        yield
    finally:
        _LIFT.reset(token)


class Value(Words):
    """One result of a node, not computed yet."""

    __slots__ = ()
    rank_of_kind: ClassVar[int] = 2
    node: Node

    def __init__(self, node: Node, index: int = 0) -> None:
        self.node = node
        self.index = index
        self.type = node.types[index]

    @classmethod
    def run(cls, primitive: Primitive, operands: Sequence[Any], place: Place | None) -> tuple[Value, ...]:
        types = primitive.infer(*(x.type for x in operands))
        for type in types:
            check_size(type)
        node = Node(cls, primitive, operands, types, place)
        made = tuple(cls(node, i) for i in range(len(node.types)))
        if _LIFT.get() is not None and not MODE.get().recording:
            return tuple(x.detach() if x.dtype.kind == "float" else x for x in made)
        return made

    @classmethod
    def lift(cls, x: Any) -> Value:
        if getattr(x, "requires_grad", False):
            lift = _LIFT.get()
            if lift is None:
                raise TypeError(
                    "a Tensor that requires gradients would be frozen into the graph; pass it as an input"
                )
            lifted: Value = lift(x)
            return lifted
        from cortex_core.tensor import as_numpy

        return constant(as_numpy(x, None))

    @classmethod
    def output(cls, node: Node, index: int) -> Value:
        return cls(node, index)

    def detach(self) -> Value:
        """The same numbers; no gradient flows back through them."""
        return Value(Node(Value, Detached(self.shape), (self,), (self.type,)))

    def clone(self) -> Value:
        """Itself: a value does not change."""
        return self

    def to(self, *targets: object, dtype: object = None, device: object = None) -> Any:
        """In another data type; what computes it is chosen for a whole program."""
        from cortex_core.ops.pointwise import cast

        x: Any = self
        for target in (*targets, device, dtype):
            kind = target.dtype if isinstance(target, Array) else target
            x = x if kind in (None, "cpu") else cast(x, kind)
        return x

    def _no_number(self, *_: Any, **__: Any) -> NoReturn:
        raise TypeError(
            f"a symbolic value of {self.type} has no number yet: this code is being made into a program. "
            f"Instead of a branch use where(condition, a, b); what needs the number belongs outside"
        )

    __bool__ = __float__ = __int__ = __index__ = __array__ = _no_number
    item = tolist = numpy = _no_number

    def __iter__(self) -> Iterator[Any]:
        return (self[i] for i in range(len(self)))

    def __setitem__(self, key: Any, value: Any) -> NoReturn:
        raise TypeError(f"{_NOT_IN_PLACE}; instead of x[i] = v write x = where(condition, v, x)")

    def __getattr__(self, name: str) -> NoReturn:
        if name.endswith("_") and not name.startswith("_"):
            raise AttributeError(f"{_NOT_IN_PLACE}; instead of x.{name}(...) write x = ...")
        hint = "; differentiate with cortex.grad or cortex.trace_step" if name in ("backward", "grad") else ""
        raise AttributeError(f"a symbolic value has no attribute {name!r}{hint}")

    def __repr__(self) -> str:
        return f"Value({self.type}, {self.node.primitive})"


Value.kind = Value
for _name, _type in (
    *(("float", "float32"), ("double", "float64"), ("half", "float16")),
    *(("int", "int32"), ("long", "int64"), ("bool", "bool")),
):
    setattr(Value, _name, partialmethod(Value.to, _type))

LARGEST = 2**52  # bytes: what many values add up to still fits into 64 bits


def check_size(type: TensorType) -> None:
    """Raises `ShapeError` for a value that no memory holds, before anybody counts with its size."""
    if type.nbytes > LARGEST:
        told = f"a value would take {type.nbytes:.3g} bytes"
        raise ShapeError(f"{told}: expected smaller shapes or a smaller batch")


def leaf(kind: Leaf, type: TensorType, place: Place | None = None) -> Value:
    """A value without operands."""
    check_size(type)
    return Value(Node(Value, kind, (), (type,), place))


def input_value(name: str, type: TensorType, place: Place | None = None) -> Value:
    """A value that the caller gives at each run."""
    return leaf(Input(name), type, place)


def state_value(name: str, type: TensorType) -> Value:
    """A value that the program keeps from run to run."""
    return leaf(State(name), type)


def constant(array: np.ndarray) -> Value:
    """A value known now; the array must not change afterwards."""
    return leaf(Constant(array), TensorType(array.shape, dtype(array.dtype)))


def is_leaf(node: Node) -> bool:
    """Whether the node has no operands."""
    return isinstance(node.primitive, Leaf)


def flops(node: Node) -> int:
    """Floating-point operations of a node; a leaf has none."""
    return 0 if is_leaf(node) else int(node.primitive.flops(*(x.type for x in node.inputs)))


@frozen
class Update:
    """After a run ``state`` holds ``value``.  A guarded update is left out where the predicate is false."""

    state: Value
    value: Value
    guarded: bool = True

    def __post_init__(self) -> None:
        if self.state.type != self.value.type:
            name = self.state.node.primitive.name
            raise ShapeError(f"state {name} is {self.state.type}, its new value is {self.value.type}")


@frozen
class Graph:
    """A program before it has memory: what goes in, what comes out, what each state becomes.

    ``inputs`` lists all that the caller must give, used or not.  ``predicate`` is a boolean 0-d value.
    """

    inputs: tuple[Value, ...]
    outputs: dict[str, Value]
    updates: tuple[Update, ...] = ()
    predicate: Value | None = None

    def __post_init__(self) -> None:
        names = [u.state.node.primitive.name for u in self.updates]
        twice = sorted({n for n in names if names.count(n) > 1}) if len(set(names)) < len(names) else []
        if twice:
            raise ValueError(f"a state has one new value, these have several: {', '.join(twice)}")

    @property
    def roots(self) -> list[Value]:
        """Everything that must be computed."""
        guard = [] if self.predicate is None else [self.predicate]
        return [*self.outputs.values(), *guard, *(u.value for u in self.updates)]

    def nodes(self) -> set[Node]:
        """Every node that the roots need, leaves included."""
        return ancestors(self.roots)

    def states(self) -> dict[str, Value]:
        """Each state that is read or written, by name."""
        found: dict[str, Value] = {}
        leaves = [Value(n) for n in self.nodes() if isinstance(n.primitive, State)]
        for v in [*leaves, *(u.state for u in self.updates)]:
            found.setdefault(v.node.primitive.name, v)
        return found

    def with_roots(self, roots: Sequence[Value]) -> Graph:
        """The same graph with its roots replaced, in the order of `roots`."""
        rest = list(roots)
        outputs = {name: rest.pop(0) for name in self.outputs}
        predicate = None if self.predicate is None else rest.pop(0)
        updates = tuple(replace(u, value=v) for u, v in zip(self.updates, rest))
        return replace(self, outputs=outputs, predicate=predicate, updates=updates)
