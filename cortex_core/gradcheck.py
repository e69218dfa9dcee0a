"""`gradcheck`: are the gradients of a function what differences of its values say?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from cortex_compute.errors import ArgumentError, DTypeError, GradientError
from cortex_core import autograd
from cortex_core.generator import Generator, drawing_from, source
from cortex_core.modes import enable_grad, no_grad
from cortex_core.tensor import Tensor
from cortex_core.transforms import jacobian
from cortex_core.tree import flatten

Arrays = list[np.ndarray]


def gradcheck(
    f: Callable[..., Any],
    inputs: Any,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    order: int = 1,
) -> bool:
    """True where every partial derivative of ``f(*inputs)`` agrees with its central difference.

    Args:
        f: gives a Tensor, or several; those that are not floating are left out.
        inputs: a Tensor or array, or a tuple of them, in float64; checked are those with ``requires_grad``,
            or all that are floating where none has it.
        eps: how far an element is moved to either side.
        atol, rtol: |gradient - difference| <= atol + rtol |difference|.
        order: 2 also checks the gradients of the gradients.

    ``f`` draws the same random numbers each time.  Raises `GradientError` that names the worst element.
    """
    if order not in (1, 2):
        raise ArgumentError(f"gradcheck: order={order}; possible are 1 and 2")
    check = _Check(f, inputs if isinstance(inputs, tuple) else (inputs,))
    check.compare("gradcheck", check.outputs, check.arrays, eps, atol, rtol)
    if order == 2:
        rng = np.random.default_rng(0)
        weights = [rng.standard_normal(y.shape) for y in check.outputs(*map(Tensor, check.arrays))]
        check.compare("gradcheck, order 2", check.gradients, [*check.arrays, *weights], eps, atol, rtol)
    return True


class _Check:
    """A function of those of its arguments that are checked."""

    def __init__(self, f: Callable[..., Any], inputs: Sequence[Any]) -> None:
        tensors = [x if isinstance(x, Tensor) else Tensor(x) for x in inputs]
        floating = [i for i, x in enumerate(tensors) if x.dtype.kind == "float"]
        for i in floating:
            if tensors[i].dtype.name != "float64":
                raise DTypeError(
                    f"gradcheck: input {i} is {tensors[i].type}; differences need float64: use double()"
                )
        marked = [i for i in floating if tensors[i].requires_grad]
        self.places = marked or floating
        if not self.places:
            raise DTypeError("gradcheck: none of the inputs is floating")
        self.f, self.inputs = f, list(inputs)
        self.arrays: Arrays = [np.array(tensors[i].data) for i in self.places]
        draws = source()
        self.draws = draws.copy() if isinstance(draws, Generator) else None

    def outputs(self, *chosen: Any) -> tuple[Any, ...]:
        """The floating results."""
        given = list(self.inputs)
        for i, x in zip(self.places, chosen):
            given[i] = x
        if self.draws is None:
            raise GradientError("gradcheck computes with numbers and cannot be part of a program")
        with drawing_from(self.draws.copy()):
            arrays, _ = flatten(self.f(*given))
        return tuple(y for y in arrays if y.dtype.kind == "float")

    def gradients(self, *chosen: Any) -> tuple[Any, ...]:
        """The gradients of the results, weighted by the later ones of the arguments, which are as many."""
        n = len(self.places)
        inputs = [x if x.requires_grad else x.detach().requires_grad_() for x in chosen[:n]]
        with enable_grad():
            flowing = [(y, w) for y, w in zip(self.outputs(*inputs), chosen[n:]) if y.requires_grad]
            outputs, weights = [y for y, _ in flowing], [w for _, w in flowing]
            found = autograd.grad(outputs, inputs, weights, create_graph=True, allow_unused=True)
        return tuple(x * 0.0 if g is None else g for x, g in zip(inputs, found))

    def compare(
        self, name: str, f: Callable[..., Any], arrays: Arrays, eps: float, atol: float, rtol: float
    ) -> None:
        """Raises at the worst element of the derivatives of ``f`` at ``arrays``."""
        found = jacobian(f, tuple(range(len(arrays))))(*map(Tensor, arrays))
        worst, told = 0.0, ""
        for i, x in enumerate(arrays):
            for j, (row, numeric) in enumerate(zip(found, _differences(f, arrays, i, eps))):
                analytic = row[i].numpy()
                excess = abs(analytic - numeric) - (atol + rtol * abs(numeric))
                excess = np.where(np.isfinite(analytic) & np.isfinite(numeric), excess, np.inf)
                if excess.size and (most := float(excess.max())) > worst:
                    place = np.unravel_index(int(excess.argmax()), excess.shape)
                    at = tuple(map(int, place))
                    end, start = at[: len(at) - x.ndim], at[len(at) - x.ndim :]
                    worst = most
                    told = (
                        f"{name}: output {j} at {list(end)}, input {i} at {list(start)}: the gradient is "
                        f"{float(analytic[place]):.9g}, the central difference {float(numeric[place]):.9g}"
                    )
        if told:
            raise GradientError(told)


def _differences(f: Callable[..., Any], arrays: Arrays, i: int, eps: float) -> list[np.ndarray]:
    """The central differences of each output of ``f`` by ``arrays[i]``: (output's shape, input's shape)."""
    x = arrays[i]
    columns: list[Arrays] = []
    for place in np.ndindex(*x.shape):
        sides = []
        for step in (eps, -eps):
            moved = [a.copy() for a in arrays]
            moved[i][place] += step
            with no_grad():
                sides.append([y.numpy() for y in f(*map(Tensor, moved))])
        columns.append([(a - b) / (2 * eps) for a, b in zip(*sides)])
    return [np.stack(ys, -1).reshape((*ys[0].shape, *x.shape)) for ys in zip(*columns)]
