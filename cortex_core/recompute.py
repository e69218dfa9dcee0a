"""`checkpoint`: a piece of code whose intermediate results are computed again for its gradient, not stored.

Chen et al., "Training deep nets with sublinear memory cost", 2016.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cortex_core import changes
from cortex_core.autograd import older, partials
from cortex_core.generator import Generator, drawing_from, source
from cortex_core.modes import MODE, enable_grad
from cortex_core.ops.apply import PLACE
from cortex_core.ops.array import Node, next_serial
from cortex_core.ops.differentiate import gradient_of, key
from cortex_core.tensor import Tensor, _watched
from cortex_core.tree import flatten, unflatten


def checkpoint(f: Callable[..., Any], *args: Any, **keywords: Any) -> Any:
    """``f(*args, **keywords)``, which keeps its results only: for a gradient it is called once more.

    ``f`` may use modules and tensors that it is not given as arguments.  The second call draws the same
    random numbers as the first.  Apart from that, ``f`` should depend on its arguments and change nothing: a
    batch norm in it would count a batch twice.  In a program, whose compiler plans the memory, it is a plain
    call.
    """
    draws = source()
    if not (MODE.get().recording and isinstance(draws, Generator)):
        return f(*args, **keywords)
    draws = draws.copy()
    start = next_serial()
    arrays, structure = flatten(f(*args, **keywords))
    if not all(isinstance(y, Tensor) for y in arrays):
        return unflatten(structure, arrays)
    outside = older(arrays, start)
    if not outside:
        return unflatten(structure, arrays)
    given, shape = flatten((args, keywords))
    tensors = [x for x in given if isinstance(x, Tensor)]
    inputs = (*tensors, *outside)
    call = Recomputation(f, [None if isinstance(x, Tensor) else x for x in given], shape, draws)
    types = tuple(y.type for y in arrays)
    buffers = tuple(changes.apart(y.data, [x.data for x in inputs]) for y in arrays)
    node = Node(Tensor, call, inputs, types, PLACE.get(), buffers)
    _watched(MODE.get(), call, inputs, buffers, node)
    return unflatten(
        structure,
        [
            Tensor._of(numbers, y.type, node if y.requires_grad else None, i, y.machine)
            for i, (y, numbers) in enumerate(zip(arrays, buffers))
        ],
    )


class Recomputation:
    """What stands in the node of a `checkpoint`, in the place of a primitive: how to call ``f`` again.

    The Tensors among its arguments are the first inputs of the node; None stands for them in ``others``.
    """

    view = False
    residual = False

    def __init__(self, f: Callable[..., Any], others: list[Any], structure: Any, draws: Generator) -> None:
        self.f, self.others, self.structure, self.draws = f, others, structure, draws

    @property
    def name(self) -> str:
        return f"checkpoint({getattr(self.f, '__name__', type(self.f).__name__)})"

    def infer(self, *types: Any) -> Any:
        """Raises: a graph cannot hold it."""
        raise TypeError(f"{self.name} was called outside of the code that is traced; call it inside")

    def again(self, inputs: tuple[Any, ...]) -> list[Any]:
        """The results of ``f``, recorded."""
        tensors = iter(inputs)
        arrays = [next(tensors) if x is None else x for x in self.others]
        args, keywords = unflatten(self.structure, arrays)
        with enable_grad(), drawing_from(self.draws.copy()), changes.Reading(None):
            return flatten(self.f(*args, **keywords))[0]

    def __str__(self) -> str:
        return self.name


@gradient_of(Recomputation)
def _recomputed(node: Node, *gs: Any) -> list[Any]:
    """The gradient of f at what it depends on, each thing once: the walk back stops there."""
    changes.check(node.inputs)
    outputs = node.primitive.again(node.inputs)
    pairs = [(y, g) for y, g in zip(outputs, gs) if g is not None]
    found = partials([y for y, _ in pairs], [g for _, g in pairs], node.inputs)
    places = [key(x) for x in node.inputs]
    return [g if places.index(k) == i else None for i, (k, g) in enumerate(zip(places, found))]
