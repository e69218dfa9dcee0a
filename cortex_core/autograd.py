"""Gradients of eager code: `backward`, `grad`, hooks, the user's own ops, recomputation.

The walk itself is `cortex_core.ops.differentiate`, which compiled programs share.
"""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np

from cortex_compute.errors import DTypeError, GradientError, ShapeError
from cortex_compute.types import TensorType, float64
from cortex_core import inplace
from cortex_core.memory import beyond
from cortex_core.modes import MODE
from cortex_core.ops.array import Node
from cortex_core.ops.differentiate import differentiate, key
from cortex_core.tensor import Extra, Tensor, emptied, freed


def backward(
    outputs: Sequence[Tensor],
    gradients: Sequence[Any] | None = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    inputs: Sequence[Tensor] | None = None,
) -> None:
    """Adds to ``grad`` of every leaf (or of ``inputs``) the gradients of ``outputs``."""
    nodes = _recorded(outputs)
    seeds = _seeds(outputs, gradients)
    wanted = _leaves(outputs, nodes) if inputs is None else _differentiable(_distinct(inputs))
    found = _differentiate(outputs, seeds, wanted, nodes, retain_graph, create_graph)
    token = MODE.set(MODE.get()._replace(recording=MODE.get().recording and create_graph))
    try:
        for x in reversed(wanted):
            shared = found[-1] is not None and _shared(found)
            g = found.pop()
            if g is not None and x.grad is not None:
                x.grad = x.grad + g
            elif g is not None:
                x.grad = g.clone() if shared else g
    finally:
        MODE.reset(token)


def _distinct(tensors: Sequence[Tensor]) -> list[Tensor]:
    return list({id(x): x for x in tensors}.values())


def _shared(found: list[Any]) -> bool:
    """Whether somebody else sees the numbers of the last gradient: another leaf, a hook, who gave the seed.

    A leaf owns its gradient, for it is clipped and zeroed in place; what nobody else holds is not copied.
    """
    g = found[-1]
    if g.is_sparse:
        return False
    return not g._data.flags.writeable or any(n > alone for n, alone in zip(_holders(g), ALONE))


def _holders(g: Tensor) -> tuple[int, ...]:
    """How many references there are to the tensor, to its array, and to the array that owns the memory."""
    array = g._data
    base = beyond(array)
    return sys.getrefcount(g), sys.getrefcount(array), 0 if base is None else sys.getrefcount(base)


def _alone(found: list[Any]) -> tuple[int, ...]:
    g = found[-1]
    return _holders(g)


ALONE = _alone([Tensor._of(np.empty(2)[:], TensorType((2,), float64), None, 0, cast(Any, None))])
"""The holders of a gradient that only the list of those found holds (as PyTorch decides what it may keep)."""


def grad(
    outputs: Tensor | Sequence[Tensor],
    inputs: Tensor | Sequence[Tensor],
    grad_outputs: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    allow_unused: bool = False,
) -> tuple[Tensor | None, ...]:
    """The gradients of ``outputs`` with respect to ``inputs``, one for each; no ``grad`` is changed.

    An input that nothing flows to is an error, or None with ``allow_unused``.
    """
    ends = [outputs] if isinstance(outputs, Tensor) else list(outputs)
    wanted = _differentiable([inputs] if isinstance(inputs, Tensor) else list(inputs))
    given = [grad_outputs] if isinstance(outputs, Tensor) else grad_outputs
    nodes = _recorded(ends)
    found = _differentiate(ends, _seeds(ends, given), wanted, nodes, retain_graph, create_graph)
    for i, g in enumerate(found):
        if g is None and not allow_unused:
            raise GradientError(
                f"grad: the outputs do not depend on input {i}; with allow_unused=True its gradient is None"
            )
    return tuple(found)


def _differentiate(
    outputs: Sequence[Tensor],
    seeds: Sequence[Tensor],
    wanted: Sequence[Tensor],
    nodes: set[Node],
    retain_graph: bool | None,
    create_graph: bool,
) -> list[Tensor | None]:
    now = MODE.get()
    keep = create_graph if retain_graph is None else retain_graph
    token = MODE.set(now._replace(recording=create_graph))
    try:
        found = differentiate(outputs, seeds, wanted, done=None if keep else release, nodes=nodes)
        for i, (x, g) in enumerate(zip(wanted, found)):
            if g is not None and x._extra is not None:
                for hook in tuple(x._extra.hooks):
                    g = hook(g)
                found[i] = g
        return found
    finally:
        MODE.reset(token)


def release(node: Node) -> None:
    """Gives the memory of a node back; what the graph looked like can still be seen."""
    node.buffers = None
    node.inputs = tuple([emptied(x) for x in node.inputs])


def _recorded(outputs: Sequence[Tensor]) -> set[Node]:
    """Every node that the outputs depend on, as they were when each node was recorded."""
    for x in outputs:
        if not x.requires_grad:
            told = "integers have no gradient" if x.dtype.kind != "float" else "nothing was recorded"
            raise GradientError(
                f"backward: this tensor ({x.type}) does not depend on one with requires_grad=True; {told}"
            )
    nodes = inplace.settled(outputs)
    for node in nodes:
        if node.buffers is None:
            raise freed(node)
    return nodes


def partials(outputs: Sequence[Tensor], gradients: Sequence[Any], wanted: Sequence[Tensor]) -> list[Any]:
    """The gradients of ``outputs``, weighted, with respect to tensors that count as independent,
    whatever they were computed from; None where nothing flows.
    """
    targets = {key(x) for x in wanted}
    nodes = inplace.settled(outputs, lambda x: key(x) in targets)
    return differentiate(outputs, gradients, wanted, cut=True, nodes=nodes)


def older(outputs: Sequence[Tensor], start: int) -> list[Tensor]:
    """What the outputs depend on that requires gradients and was there before the serial number ``start``,
    or is a leaf: the nearest of it on each way.
    """

    def stop(x: Any) -> bool:
        return x.node is None or x.node.serial < start

    nodes = inplace.settled(outputs, stop)
    ends = [*outputs, *(x for node in nodes for x in node.inputs)]
    return list({key(x): x for x in ends if x.requires_grad and stop(x)}.values())


def _leaves(outputs: Sequence[Tensor], nodes: set[Node]) -> list[Tensor]:
    """Every tensor without a node, but with requires_grad, that the outputs depend on."""
    leaves = [x for node in nodes for x in node.inputs if x._requires_grad]
    return _distinct([*leaves, *(x for x in outputs if x._requires_grad)])


def _differentiable(inputs: Sequence[Tensor]) -> list[Tensor]:
    for i, x in enumerate(inputs):
        if not x.requires_grad:
            raise GradientError(f"input {i} ({x.type}) was not made with requires_grad=True")
    return list(inputs)


def _seeds(outputs: Sequence[Tensor], gradients: Sequence[Any] | None) -> list[Tensor]:
    given = [None] * len(outputs) if gradients is None else gradients
    if isinstance(given, Tensor) or len(given) != len(outputs):
        raise GradientError(f"backward: {len(outputs)} outputs need as many gradients")
    return [_seed(x, g) for x, g in zip(outputs, given)]


def _seed(x: Tensor, g: Any) -> Tensor:
    if g is None:
        if x.type.size != 1:
            raise GradientError(
                f"backward: a tensor of shape {x.shape} needs a gradient of that shape; or take its sum()"
            )
        return Tensor._of(np.ones(x.shape, x.dtype.storage), x.type, None, 0, x.machine)
    if not isinstance(g, Tensor):
        g = Tensor(np.asarray(g, None if isinstance(g, np.ndarray) else x.dtype.storage))
    if g.type != x.type:
        kind = ShapeError if g.shape != x.shape else DTypeError
        raise kind(f"backward: this tensor is {x.type}, the gradient {g.type}")
    seed: Tensor = g
    return seed


class Handle:
    """Removes a hook."""

    def __init__(self, hooks: list[Any], hook: Any) -> None:
        self._hooks, self._hook = hooks, hook

    def remove(self) -> None:
        """The hook is not called any more."""
        self._hooks[:] = [h for h in self._hooks if h is not self._hook]


def register_hook(x: Tensor, hook: Callable[[Tensor], Any]) -> Handle:
    """See `Tensor.register_hook`."""
    if not x.requires_grad:
        raise GradientError(f"register_hook: this tensor ({x.type}) has no gradient")
    if x.node is not None:
        hooks = _node_hooks(x.node, x.index)
    else:
        x._extra = x._extra or Extra()
        hooks = x._extra.hooks

    def own(g: Tensor) -> Tensor:
        answer = hook(g)
        if answer is None:
            return g
        if not isinstance(answer, Tensor) or answer.type != g.type:
            told = answer.type if isinstance(answer, Tensor) else type(answer).__name__
            raise GradientError(
                f"a hook gave {told} for a gradient {g.type}; needs a Tensor like it, or None"
            )
        return answer

    hooks.append(own)
    return Handle(hooks, own)


def _node_hooks(node: Node, index: int) -> list[Any]:
    if node.hooks is None:
        node.hooks = {}
    return node.hooks.setdefault(index, [])


def retain(x: Tensor) -> None:
    """See `Tensor.retain_grad`."""
    if not x.requires_grad:
        raise GradientError(f"retain_grad: this tensor ({x.type}) has no gradient")
    if x.node is None:
        return
    weak = weakref.ref(x)

    def keep(g: Tensor) -> Tensor:
        tensor = weak()
        if tensor is not None:
            tensor.grad = g.clone() if tensor.grad is None else tensor.grad + g
        return g

    _node_hooks(x.node, x.index).append(keep)
