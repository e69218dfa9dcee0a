"""Functions of functions: `grad`, `jacobian`, `hessian`, `jvp`, `hvp`, of any order and inside one another.

Each calls f once with fresh copies of its arguments, so that a derivative with respect to an argument never
counts what f sees of the same tensor by other ways, and walks back with `differentiate`.  There is no second
table for forward mode: a rule is linear in the gradients it is given, so the derivative of a walk back *by
those* is the walk forward (`jvp`).  All of it is ops, and works in a `cortex.trace` as in eager code.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from cortex_compute.errors import ArgumentError, DTypeError, GradientError, ShapeError
from cortex_compute.primitives.views import Reshape
from cortex_core.autograd import older, partials
from cortex_core.modes import MODE, mode
from cortex_core.ops.apply import apply
from cortex_core.ops.array import next_serial
from cortex_core.ops.differentiate import differentiate
from cortex_core.ops.indexing import stack
from cortex_core.ops.views import reshape
from cortex_core.tensor import Tensor
from cortex_core.tree import flatten, map_arrays, unflatten

F = Callable[..., Any]


def grad(f: F, argnums: int | Sequence[int] = 0, has_aux: bool = False) -> F:
    """The function that computes the gradient of ``f``, which must give one number.

    Args:
        f: a function of Tensors, or of tuples, lists and dicts of them.
        argnums: which positional argument to differentiate by; several make a tuple of gradients.
        has_aux: ``f`` gives a pair; the second part is handed through: (gradient, aux).

    Its arguments may also be arrays or numbers (float32).  A gradient has the structure, the shapes and the
    dtypes of its argument; it is zero where ``f`` does not depend on it.
    """
    _expect_argnums("grad", argnums)
    with_value = value_and_grad(f, argnums, has_aux)

    def gradient(*args: Any, **keywords: Any) -> Any:
        value, found = with_value(*args, **keywords)
        return (found, value[1]) if has_aux else found

    return gradient


def value_and_grad(f: F, argnums: int | Sequence[int] = 0, has_aux: bool = False) -> F:
    """The function that computes (value, gradient) of ``f``, or ((value, aux), gradient): see `grad`."""
    _expect_argnums("value_and_grad", argnums)

    def value_and_gradient(*args: Any, **keywords: Any) -> Any:
        call = _Call("grad", f, args, keywords, argnums, has_aux)
        if len(call.outputs) != 1 or call.outputs[0].size != 1:
            raise GradientError(
                f"grad: the function must give one number, it gave {_told(call.outputs)}; "
                "take its sum(), or see jacobian"
            )
        (y,) = call.outputs
        found = call.pull([y], [_like(y, np.ones(y.shape, y.dtype.storage))], call.nested)
        return call.leave(((call.result, call.aux) if has_aux else call.result, call.structured(found)))

    return value_and_gradient


def jacobian(f: F, argnums: int | Sequence[int] = 0, has_aux: bool = False) -> F:
    """The function that computes all partial derivatives of ``f``, of shape (shape of the output, shape of
    the argument).

    Where ``f`` gives a tree, or an argument is one, the result is a tree of outputs of trees of arguments.
    One walk back for each element of the outputs.  ``argnums`` and ``has_aux`` as in `grad`.
    """
    _expect_argnums("jacobian", argnums)

    def derivative(*args: Any, **keywords: Any) -> Any:
        call = _Call("jacobian", f, args, keywords, argnums, has_aux)
        found = unflatten(call.structure_of_result, [call.structured(_rows(call, y)) for y in call.outputs])
        return call.leave((found, call.aux) if has_aux else found)

    return derivative


def _rows(call: _Call, y: Any) -> list[Any]:
    """The derivative of one output by each input."""
    rows = []
    for i in range(y.size):
        seed = np.zeros(y.shape, y.dtype.storage)
        seed.flat[i] = 1
        rows.append(call.pull([y], [_like(y, seed)], call.nested))
    with mode(recording=call.nested):
        return [
            reshape(stack(column), (*y.shape, *x.shape))
            if column
            else _like(x, np.zeros((*y.shape, *x.shape)))
            for x, column in zip(call.inputs, zip(*rows) if rows else [()] * len(call.inputs))
        ]


def hessian(f: F, argnums: int | Sequence[int] = 0, has_aux: bool = False) -> F:
    """The function that computes all second derivatives of ``f``, which must give one number: of shape (shape
    of the argument) twice; for several arguments a tuple of tuples.
    """
    _expect_argnums("hessian", argnums)
    return jacobian(grad(f, argnums, has_aux), argnums, has_aux)


def jvp(f: F, x: Any, v: Any) -> tuple[Any, Any]:
    """(f(x), its derivative along v): forward mode.  A tuple ``x`` holds several arguments, ``v`` as many.

    y = f(x) has the vector-Jacobian product u J, which is linear in u; its own vector-Jacobian product, by u,
    is J v.
    """
    call = _Call.at("jvp", f, x)
    directions = call.directions(v)
    weights = [_independent(_like(y, np.ones(y.shape, y.dtype.storage)), False) for y in call.outputs]
    pulled = call.pull(call.outputs, weights, True)
    tangents = call.pull(pulled, directions, call.nested, weights)
    result: tuple[Any, Any] = call.leave((call.result, unflatten(call.structure_of_result, tangents)))
    return result


def vjp(f: F, x: Any, v: Any) -> tuple[Any, Any]:
    """(f(x), v times its Jacobian): reverse mode, where ``v`` is like f(x).  A tuple ``x`` holds several
    arguments, and so many are the products.
    """
    call = _Call.at("vjp", f, x)
    weights, structure = flatten(_tensors("vjp", 1, v))
    if structure != call.structure_of_result:
        raise ShapeError("vjp: the vector has not the structure of the result")
    _expect_types("vjp", "result", call.outputs, weights)
    products = call.structured(call.pull(call.outputs, weights, call.nested))
    result: tuple[Any, Any] = call.leave((call.result, products if isinstance(x, tuple) else products[0]))
    return result


def hvp(f: F, x: Any, v: Any) -> Any:
    """The Hessian of ``f`` at x times v, without the Hessian; ``f`` gives one number.  A tuple ``x`` holds
    several arguments, ``v`` as many, and so many are the products.
    """
    call = _Call.at("hvp", lambda *args: grad(f, tuple(range(len(args))))(*args), x)
    products = call.structured(call.pull(call.outputs, call.directions(v), call.nested))
    return call.leave(products if isinstance(x, tuple) else products[0])


class _Call:
    """One call of a function, recorded from fresh arguments on."""

    def __init__(
        self,
        name: str,
        f: F,
        args: Sequence[Any],
        keywords: dict[str, Any],
        argnums: int | Sequence[int],
        has_aux: bool = False,
    ) -> None:
        self.name = name
        self.start = next_serial()
        self.recording = MODE.get().recording
        self.several = not isinstance(argnums, int)
        given = list(args)
        places = _places(name, argnums, len(given))
        chosen, self.structure = flatten([_tensors(name, i, given[i]) for i in places])
        self.inputs = [_independent(x, self.recording) for x in chosen]
        for i, fresh in zip(places, unflatten(self.structure, self.inputs)):
            given[i] = fresh
        with mode(recording=True):
            result = f(*given, **keywords)
            if has_aux and not (isinstance(result, tuple) and len(result) == 2):
                raise GradientError(f"{name}: with has_aux=True the function gives (result, aux)")
            self.result: Any
            self.aux: Any
            self.result, self.aux = result if has_aux else (result, None)
            if isinstance(self.result, (int, float)):
                self.result = Tensor(float(self.result))
        self.outputs, self.structure_of_result = flatten(self.result)
        for y in self.outputs:
            if y.dtype.kind != "float":
                raise DTypeError(f"{name}: the function gave {y.type}, which has no gradient")
        self.nested = self.nests(self.outputs)

    @classmethod
    def at(cls, name: str, f: F, x: Any) -> _Call:
        """A call with all arguments: a tuple, or one."""
        args = x if isinstance(x, tuple) else (x,)
        return cls(name, f, args, {}, tuple(range(len(args))))

    def pull(
        self,
        outputs: Sequence[Any],
        gradients: Sequence[Any],
        recording: bool,
        wanted: Sequence[Any] | None = None,
    ) -> list[Any]:
        """The gradients of ``outputs``, weighted, by ``wanted``: the inputs; zeros where nothing flows."""
        ends = self.inputs if wanted is None else wanted
        eager = all(isinstance(y, Tensor) for y in outputs)
        with mode(recording=recording):
            if eager:
                found = partials(outputs, gradients, ends)
            else:
                found = differentiate(outputs, gradients, ends, cut=True)
        return [_like(x, np.zeros(x.shape, x.dtype.storage)) if g is None else g for x, g in zip(ends, found)]

    def structured(self, found: Sequence[Any]) -> Any:
        """One array for each input, in the structure of the arguments."""
        trees = unflatten(self.structure, found)
        return tuple(trees) if self.several else trees[0]

    def directions(self, v: Any) -> list[Any]:
        """A vector for each input."""
        given = v if isinstance(v, tuple) else (v,)
        arrays, structure = flatten([_tensors(self.name, i, x) for i, x in enumerate(given)])
        if structure != self.structure:
            raise ShapeError(f"{self.name}: the direction has not the structure of the arguments")
        _expect_types(self.name, "argument", self.inputs, arrays)
        return arrays

    def leave(self, results: Any) -> Any:
        """The results without what was recorded here, unless it leads to something outside."""
        for x in self.inputs:
            if isinstance(x, Tensor) and x.node is None:
                x.requires_grad = False
        return map_arrays(self._left, results)

    def _left(self, x: Any) -> Any:
        return x if not isinstance(x, Tensor) or self.nests([x]) else x.detach()

    def nests(self, arrays: Sequence[Any]) -> bool:
        """Whether they may be differentiated outside: they depend on more than the fresh arguments."""
        if not all(isinstance(x, Tensor) for x in arrays):
            return True
        return self.recording and any(
            not any(x is fresh for fresh in self.inputs) for x in older(arrays, self.start)
        )


def _expect_argnums(name: str, argnums: Any) -> None:
    """Refuses the argument of f itself, which other libraries take here."""
    listed = argnums if isinstance(argnums, (tuple, list)) else [argnums]
    if any(isinstance(i, bool) or not isinstance(i, (int, np.integer)) for i in listed):
        told = f"{name}: argnums is {argnums!r:.60}, expected a whole number or several"
        raise ArgumentError(f"{told}. {name}(f) gives a function; write {name}(f)(x)")


def _places(name: str, argnums: int | Sequence[int], count: int) -> list[int]:
    places = [argnums] if isinstance(argnums, int) else list(argnums)
    for i in places:
        if not -count <= i < count:
            raise ArgumentError(f"{name}: argnums={argnums}, but there are {count} positional arguments")
    return places


def _expect_types(name: str, what: str, arrays: Sequence[Any], directions: Sequence[Any]) -> None:
    for x, d in zip(arrays, directions):
        if d.type != x.type:
            kind = ShapeError if d.shape != x.shape else DTypeError
            raise kind(f"{name}: the {what} is {x.type}, its direction {d.type}")


def _tensors(name: str, i: int, argument: Any) -> Any:
    """An argument with floating Tensors in the place of its arrays; a number becomes one."""
    if isinstance(argument, (int, float)) and not isinstance(argument, (bool, np.generic)):
        return Tensor(float(argument))
    if isinstance(argument, np.generic):
        argument = np.asarray(argument)
    arrays, structure = flatten(argument)
    if not arrays:
        raise DTypeError(f"{name}: argument {i} ({argument!r:.60}) holds no array to differentiate by")
    tensors = [Tensor(x) if isinstance(x, np.ndarray) else x for x in arrays]
    for x in tensors:
        if x.dtype.kind != "float":
            raise DTypeError(f"{name}: argument {i} is {x.type}; only floating arrays have gradients")
    return unflatten(structure, tensors)


def _independent(x: Any, recording: bool) -> Any:
    """The same numbers as an array of its own: where x has a history that matters, an identity of it."""
    if not isinstance(x, Tensor) or (recording and x.requires_grad):
        with mode(recording=True):
            return apply(Reshape(x.shape), x)
    return x.detach().requires_grad_()


def _like(x: Any, numbers: np.ndarray) -> Any:
    """Numbers on the backend, or in the graph, of x, in its dtype."""
    array = numbers.astype(x.dtype.storage, copy=False)
    return Tensor(array).to(x.backend) if isinstance(x, Tensor) else x.kind.lift(array)


def _told(outputs: Sequence[Any]) -> str:
    return ", ".join(str(y.type) for y in outputs) or "none"
