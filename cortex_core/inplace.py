"""In-place changes of tensors, recorded as the functional ops that they stand for.

``x += y`` makes x a new node: the old numbers are another tensor, which nodes recorded before go on to see,
and whose numbers are gone.  A gradient that needs them is an error that names the line of the change
(`cortex_core.changes`); one that does not (``exp`` needs its result only) is none.  The change itself keeps a
copy of what its own gradient needs.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from cortex_compute.errors import GradientError, ShapeError
from cortex_core import changes
from cortex_core.memory import beyond
from cortex_core.modes import MODE, no_grad
from cortex_core.ops import pointwise, subscript
from cortex_core.ops.array import Node, next_serial
from cortex_core.ops.differentiate import ancestors
from cortex_core.ops.table import face
from cortex_core.ops.views import broadcast_to
from cortex_core.tensor import Extra, Tensor, _changed

_recorded_changes = False


def change(x: Tensor, f: Callable[..., Any], *args: Any, **keywords: Any) -> Tensor:
    """x takes the numbers of ``f(x, ...)``, in its own memory; x itself."""
    values = (*args, *keywords.values())
    tracked = x.requires_grad or any(isinstance(a, Tensor) and a.requires_grad for a in values)
    if not (tracked and MODE.get().recording):
        with no_grad():
            _write(x, f(x, *args, **keywords))
        _changed(x)
        return x
    _expect_changeable(x)
    start = next_serial()
    old = Tensor._of(x._data, x.type, x.node, x.index, x.machine)
    new = f(old, *[old if a is x else a for a in args], **keywords)
    if new.node is not None and new.node.serial < start:  # nothing to do: it is what was there
        new = new.clone()
    _keep_copies(old, new, start)
    _write(x, new)
    serial = _changed(x)
    old._extra = Extra()
    old._extra.gone = changes.CHANGES[id(changes.owner(x._data))].line
    x._extra = x._extra or Extra()
    if len(x._extra.past) % MANY == MANY - 1 and not _in_a_graph(x):
        x._extra.past.clear()
    x._extra.past.append((serial, old))
    x.node, x.index = new.node, new.index
    if new.node is not None:
        buffers = list(new.node.buffers)
        buffers[new.index] = x._data
        new.node.buffers = tuple(buffers)
        new.node.serial = next_serial()
    global _recorded_changes
    _recorded_changes = True
    return x


MANY = 256  # changes, after which it pays to look whether anybody needs the numbers before them


def _in_a_graph(x: Tensor) -> bool:
    """Whether a node may hold x among its inputs: a tuple of Tensors."""
    holders = [holder for holder in gc.get_referrers(x) if type(holder) is tuple]
    return any(all(isinstance(y, Tensor) for y in holder) for holder in holders)


def _write(x: Tensor, new: Any) -> None:
    if new.type != x.type:
        raise ShapeError(f"an in-place change cannot make {new.type} of {x.type}; write x = ... instead")
    if not x._data.flags.writeable:
        raise GradientError(
            f"the numbers of this tensor, {x.type}, are not its own (it repeats others, or is only to be "
            "read): change a clone() of it"
        )
    np.copyto(x._data, new._data)


def _keep_copies(old: Tensor, new: Tensor, start: int) -> None:
    """Copies operands in the memory that is about to change where the gradient of the change reads them."""
    whole = changes.owner(old._data)
    for node in ancestors([new], lambda y: y.node is None or y.node.serial < start):
        node.inputs = tuple(
            Tensor._of(y._data.copy(), y.type, y.node, y.index, y.machine)
            if changes.owner(y._data) is whole and pointwise.reads(node, i)
            else y
            for i, y in enumerate(node.inputs)
        )


def _expect_changeable(x: Tensor) -> None:
    if x._requires_grad:
        raise GradientError(
            "a leaf that requires gradients cannot be changed in place while ops are recorded; "
            "use no_grad(), or change a clone()"
        )
    if x.node is None and _shared(x):
        raise GradientError(
            "other tensors or arrays share the memory of this one, and would not know of the gradient that "
            "the change brings; change a clone()"
        )
    if x.node is not None and x.node.primitive.view and _seen_elsewhere(x.node):
        raise GradientError(
            "this tensor is a view of another one, whose gradient would not know of the change; write "
            "base[...] = value"
        )


def _shared(x: Tensor) -> bool:
    """Whether somebody besides x holds its memory."""
    holders = 2  # x, and the call
    for _, old in x._extra.past if x._extra is not None else ():
        kept = None if old.node is None else old.node.buffers
        holders += 1 + (kept is not None and kept[old.index] is x._data)
    if sys.getrefcount(x._data) > holders:
        return True
    base = beyond(x._data)
    return base is not None and sys.getrefcount(base) > 3  # the array, the name, and the call


def _seen_elsewhere(node: Node) -> bool:
    """Whether somebody else holds what a view looks into: then a change of the view changes that too.

    A view that an op made of its own result, as matmul does, is nobody else's.
    """
    while node is not None and node.primitive.view:
        if sys.getrefcount(node.inputs[0]) > 2:  # the node's tuple, and the call
            return True
        node = node.inputs[0].node
    return node is None


def settled(outputs: Sequence[Tensor], stop: Callable[[Any], bool] | None = None) -> set[Node]:
    """Every node that the outputs depend on, up to tensors for which ``stop`` is true; each one's inputs are
    what they were when it was recorded.
    """
    if not _recorded_changes:
        return ancestors(outputs, stop)
    seen: set[Node] = set()
    stack = [x for x in outputs if not (stop and stop(x))]
    while stack:
        node = stack.pop().node
        if node is not None and node not in seen:
            seen.add(node)
            if any(x._extra is not None and x._extra.past for x in node.inputs):
                node.inputs = tuple(_as_of(x, node.serial) for x in node.inputs)
            stack += [x for x in node.inputs if not (stop and stop(x))]
    return seen


def _as_of(x: Tensor, serial: int) -> Tensor:
    past = () if x._extra is None else x._extra.past
    return next((old for changed, old in past if changed > serial), x)


def _fitted(value: Any, x: Tensor) -> Any:
    """``value`` in the shape and type of x, in memory of its own."""
    if not isinstance(value, Tensor):
        value = Tensor(np.asarray(value, x.dtype.storage))
    value = pointwise.cast(value, x.dtype)
    return broadcast_to(value, x.shape).clone()


def copy_(self: Tensor, source: Any) -> Tensor:
    """Takes the numbers of ``source``, cast and broadcast to this tensor's type."""
    return change(self, lambda old, y: _fitted(y, old), source)


def fill_(self: Tensor, value: Any) -> Tensor:
    """Every element becomes ``value``."""
    return copy_(self, value)


def zero_(self: Tensor) -> Tensor:
    """Every element becomes 0."""
    return copy_(self, 0)


def normal_(self: Tensor, mean: float = 0.0, std: float = 1.0) -> Tensor:
    """Every element is drawn: normal."""
    from cortex_core import creation

    return copy_(self, creation.normal(mean, std, self.shape, self.dtype))


def uniform_(self: Tensor, low: float = 0.0, high: float = 1.0) -> Tensor:
    """Every element is drawn: uniform from ``low`` to ``high``."""
    from cortex_core import creation

    return copy_(self, creation.rand(self.shape, dtype=self.dtype) * (high - low) + low)


def detach_(self: Tensor) -> Tensor:
    """Forgets how it was computed; what was computed of it before still knows."""
    if self.node is None:
        self.requires_grad = False
        return self
    old = Tensor._of(self._data, self.type, self.node, self.index, self.machine)
    self._extra = self._extra or Extra()
    self._extra.past.append((next_serial(), old))
    self.node, self.index = None, 0
    global _recorded_changes
    _recorded_changes = True
    return self


def set_item(self: Tensor, index: Any, value: Any) -> None:
    """``self[index] = value``, which differentiates to both."""
    change(self, lambda old, v: subscript.assign(old, index, v), value)


def _method(f: Callable[..., Any]) -> Callable[..., Tensor]:
    def method(self: Tensor, *args: Any, **keywords: Any) -> Tensor:
        return change(self, f, *args, **keywords)

    method.__doc__ = f"In place: {f.__doc__}"
    return method


METHODS = (
    *("abs", "add", "clamp", "clip", "cos", "div", "erf", "exp", "floor", "log", "mul", "neg", "pow"),
    *("index_add", "index_fill", "masked_fill", "scatter", "scatter_add"),
    *("reciprocal", "relu", "round", "rsqrt", "sigmoid", "sin", "sqrt", "square", "sub", "tanh"),
)
OPERATORS = ("add", "sub", "mul", "truediv", "pow", "and", "or")


def attach() -> None:
    """Gives Tensor its in-place forms: ``x.exp_()``, ``x += y``, ``x[i] = v``."""
    functions = face()
    for name in METHODS:
        setattr(Tensor, f"{name}_", _method(functions[name]))
    for name in OPERATORS:
        setattr(Tensor, f"__i{name}__", _method(getattr(Tensor, f"__{name}__")))
    for f in (copy_, detach_, fill_, normal_, uniform_, zero_):
        setattr(Tensor, f.__name__, f)
    setattr(Tensor, "__setitem__", set_item)  # noqa: B010


attach()
