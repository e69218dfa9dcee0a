"""`Function`: an op of the user's own, with the gradient that they write."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np

from cortex_compute.errors import DTypeError, GradientError, ShapeError
from cortex_compute.primitives.elementwise import Copy
from cortex_core import changes
from cortex_core.modes import MODE, no_grad
from cortex_core.ops.apply import PLACE
from cortex_core.ops.array import Array, Node
from cortex_core.ops.differentiate import gradient_of
from cortex_core.tensor import Tensor, _watched, freed


class Function:
    """An op with a gradient of its own: write `forward` and `backward`, call ``apply``.

        class Exp(Function):
            @staticmethod
            def forward(ctx, x):
                y = Tensor(np.exp(x.numpy()))
                ctx.save_for_backward(y)
                return y

            @staticmethod
            def backward(ctx, g):
                (y,) = ctx.saved_tensors
                return g * y

        y = Exp.apply(x)

    ``backward`` that is written in ops can be differentiated again; one that computes with numbers is an
    error where it must be.  A program (`cortex.trace`) is made of ops only: there a Function is an error.
    """

    @staticmethod
    def forward(ctx: Any, *args: Any) -> Any:
        """The result, a Tensor or a tuple of them.  Nothing in here is recorded."""
        raise NotImplementedError("a Function needs a static method forward(ctx, *args)")

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        """One gradient for each argument of ``forward`` (None for what is no Tensor, or needs none), of its
        shape and dtype.  ``gradients`` are those of the results; zeros where nothing flows back.
        """
        raise NotImplementedError("a Function that is differentiated needs a static method backward(ctx, *g)")

    @classmethod
    def apply(cls, *args: Any) -> Any:
        """What ``forward`` gives, recorded as one node."""
        if any(isinstance(a, Array) and not isinstance(a, Tensor) for a in args):
            raise TypeError(_NO_PROGRAM.format(cls.__name__))
        tensors = [a for a in args if isinstance(a, Tensor)]
        changes.check(tensors)
        recorded = MODE.get().recording and any(x.requires_grad for x in tensors)
        ctx = Context(tuple(recorded and isinstance(a, Tensor) and a.requires_grad for a in args))
        with no_grad():
            result = cls.forward(ctx, *args)
        outputs = result if isinstance(result, tuple) else (result,)
        for y in outputs:
            if not isinstance(y, Tensor):
                raise TypeError(
                    f"{cls.__name__}.forward gave {type(y).__name__}, needs Tensors: Tensor(array)"
                )
        if not recorded:
            return result
        places = [i for i, a in enumerate(args) if isinstance(a, Tensor)]
        made = _recorded(Applied(cls, ctx, places), tensors, outputs)
        return tuple(made) if isinstance(result, tuple) else made[0]


def _recorded(primitive: Applied, tensors: Sequence[Tensor], outputs: Sequence[Tensor]) -> list[Tensor]:
    ctx = primitive.ctx
    kept = ctx._settle(tensors, outputs)
    results = [changes.apart(y.data, [x.data for x in tensors]) for y in outputs]
    buffers = (*results, *kept)
    types = tuple(y.type for y in outputs)
    node = Node(Tensor, primitive, tensors, types, PLACE.get(), buffers)
    ctx._node = weakref.ref(node)
    _watched(MODE.get(), primitive, tensors, buffers[: len(types)], node)
    return [
        Tensor._of(numbers, y.type, node if ctx._differentiable[i] else None, i, y.machine)
        for i, (y, numbers) in enumerate(zip(outputs, results))
    ]


class Context:
    """What ``forward`` hands to ``backward``: `save_for_backward` for Tensors, attributes for the rest."""

    needs_input_grad: tuple[bool, ...]
    """For each argument whether its gradient is wanted."""

    def __init__(self, needs_input_grad: tuple[bool, ...]) -> None:
        self.needs_input_grad = needs_input_grad
        self._saved: tuple[Any, ...] = ()
        self._constant: tuple[Tensor, ...] = ()
        self._places: list[tuple[str, int] | None] = []  # where each saved tensor is found again
        self._differentiable: list[bool] = []
        self._node: Any = lambda: None

    def save_for_backward(self, *tensors: Tensor | None) -> None:
        """Keeps tensors for ``backward``, which finds them as ``saved_tensors``.  A change of them in place
        before that is an error.
        """
        for x in tensors:
            if x is not None and not isinstance(x, Tensor):
                raise TypeError(f"save_for_backward takes Tensors, got {type(x).__name__}: set an attribute")
        self._saved = tensors

    def mark_non_differentiable(self, *outputs: Tensor) -> None:
        """No gradient flows back from these results."""
        self._constant = outputs

    @property
    def saved_tensors(self) -> tuple[Any, ...]:
        """What was saved; arguments and results with their history, so that they can be differentiated."""
        node = self._node()
        if node is None:
            return self._saved
        if node.buffers is None:
            raise freed(node)
        saved = tuple(None if place is None else self._found(node, *place) for place in self._places)
        with changes.Reading(node):
            changes.check([x for x in saved if x is not None])
        return saved

    def _settle(self, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> list[Any]:
        """Lets go of the saved tensors, so that no circle holds the graph: the node knows the arguments and
        the results; the memory of others is returned, for the node to keep.
        """
        constant = {id(y) for y in self._constant}
        self._differentiable = [y.dtype.kind == "float" and id(y) not in constant for y in outputs]
        known = {id(y): ("output", i) for i, y in enumerate(outputs)}
        known.update((id(x), ("input", i)) for i, x in enumerate(inputs))
        kept: list[Any] = []
        for x in self._saved:
            if x is not None and id(x) not in known:
                known[id(x)] = ("kept", len(outputs) + len(kept))
                kept.append(x.data)
            self._places.append(None if x is None else known[id(x)])
        self._saved = self._constant = ()
        return kept

    def _found(self, node: Node, where: str, i: int) -> Tensor:
        if where == "input":
            found: Tensor = node.inputs[i]
            return found
        if where == "output" and self._differentiable[i]:
            return Tensor.output(node, i)
        assert node.buffers is not None
        return Tensor(node.buffers[i]).to(node.inputs[0].backend)


class Applied:
    """What stands in the node of a `Function`, in the place of a primitive."""

    view = False
    residual = False

    def __init__(self, function: type[Function], ctx: Context, places: list[int]) -> None:
        self.function, self.ctx = function, ctx
        self.places = places  # of the Tensors among the arguments

    @property
    def name(self) -> str:
        return self.function.__name__

    def infer(self, *types: Any) -> Any:
        """Raises: a graph cannot hold it."""
        raise TypeError(_NO_PROGRAM.format(self.name))

    def __str__(self) -> str:
        return self.name


_NO_PROGRAM = "{}: a Function computes with numbers and cannot be part of a program; write it in ops"


@gradient_of(Applied)
def _backward(node: Node, *gs: Any) -> list[Any]:
    primitive: Applied = node.primitive
    given = [
        Tensor(np.zeros(t.shape, t.dtype.storage)).to(node.inputs[0].backend) if g is None else g
        for g, t in zip(gs, node.types)
    ]
    if MODE.get().recording:
        given = [_followed(g) for g in given]
    with changes.Reading(None):  # the user's code may change in place what it makes itself
        answer = primitive.function.backward(primitive.ctx, *given)
    answers = answer if isinstance(answer, tuple) else (answer,)
    needs = primitive.ctx.needs_input_grad
    if len(answers) != len(needs):
        raise GradientError(
            f"{primitive}.backward gave {len(answers)} gradients, forward took {len(needs)} arguments; "
            "give one for each, None for what is no Tensor"
        )
    return _checked(primitive, node, answers)


def _followed(g: Tensor) -> Tensor:
    """g as the result of a node: what is made of it by ops has a history, and what is not shows."""
    if g.requires_grad:
        return g
    return Tensor._of(g.data, g.type, Node(Tensor, Copy(), (g,), (g.type,), None, (g.data,)), 0, g.machine)


def _checked(primitive: Applied, node: Node, answers: Sequence[Any]) -> list[Any]:
    """The gradients of the Tensors among the arguments."""
    by_place = dict(zip(primitive.places, node.inputs))
    found: list[Any] = []
    for i, g in enumerate(answers):
        x: Any = by_place.get(i)
        if g is not None and (x is None or x.dtype.kind != "float"):
            told = "no Tensor" if x is None else str(x.type)
            raise GradientError(f"{primitive}.backward: argument {i} is {told}, its gradient must be None")
        if isinstance(g, np.ndarray):
            g = Tensor(g).to(x.backend)
        if g is not None and not isinstance(g, Tensor):
            raise TypeError(f"{primitive}.backward: gradient {i} is a {type(g).__name__}, needs a Tensor")
        if g is not None and g.type != x.type:
            kind = ShapeError if g.shape != x.shape else DTypeError
            raise kind(f"{primitive}.backward: argument {i} is {x.type}, its gradient {g.type}")
        lost = g is not None and not g.requires_grad and x.requires_grad and MODE.get().recording
        if g is not None and lost and g.data.any():
            raise GradientError(
                f"{primitive}.backward: gradient {i} was computed with numbers, so that it cannot be "
                "differentiated again; write it in ops of Tensors"
            )
        if x is not None:
            found.append(g)
    return found
