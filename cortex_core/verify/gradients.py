"""The gradient suite: layers, losses and pointwise functions against central differences, in float64.

Each case is checked four times.  ``eager``: Tensor.backward.  ``symbolic``: differentiated as a graph,
compiled and run on the backend under test.  ``forward``: the derivative along a direction, as the vjp of a
vjp, which holds a gradient rule to its law (linear in g, differentiable in g).  ``second``: the derivative
of the gradient along a direction.  Layers and losses are checked by the examples in their docstrings too
(`cortex_core.verify.minimal`).  A registered thing without a case fails; for what somebody else has
registered one is made where that is possible.  Nothing is skipped.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property, partial
from typing import Any

import numpy as np

import cortex_core.verify.attention_cases  # (registers the cases, as those below)
import cortex_core.verify.cases
import cortex_core.verify.convolution_cases
import cortex_core.verify.loss_cases
import cortex_core.verify.picture_cases
import cortex_core.verify.recurrent_cases
import cortex_core.verify.target_cases  # noqa: F401
from cortex_compute.expression import ARITY
from cortex_compute.protocol import Backend
from cortex_compute.types import TensorType, dtype
from cortex_compute.verify.compare import WRONG
from cortex_compute.verify.result import Result
from cortex_core.graph.value import Graph, constant, input_value
from cortex_core.ops.differentiate import differentiate
from cortex_core.ops.reduce import sum as total
from cortex_core.program import Program, compile_graph
from cortex_core.registry import LAYERS, LOSSES
from cortex_core.registry.named import load_plugins
from cortex_core.store import Store
from cortex_core.tensor import Tensor, no_grad
from cortex_core.verify.automatic import every
from cortex_core.verify.case import Case

ALLOWED = 1e-8  # times the largest element of what is compared, or 1
STEP = 3e-4
Arrays = Sequence[np.ndarray]


def registered() -> Iterator[tuple[str, str]]:
    """The kind and the name of everything that must have a case, also where installed packages bring it."""
    load_plugins()
    yield from (("layer", name) for name in LAYERS)
    yield from (("loss", name) for name in LOSSES)
    yield from (("pointwise", name) for name in ARITY)


Job = tuple[str, Callable[[Backend], Result]]


def run(backend: Backend, only: str | None = None) -> list[Result]:
    """Runs all cases; with ``only`` those whose name, ``kind/name/case/check``, contains it."""
    return [job(backend) for _, job in jobs(only)]


def jobs(only: str | None = None) -> Iterator[Job]:
    """The name of each check, and what runs it, always in the same order."""
    return (job for job in _jobs() if only is None or only.lower() in job[0].lower())


def _jobs() -> Iterator[Job]:
    for kind, name in registered():
        try:
            found = every(kind, name)
        except Exception as error:  # of somebody else's generator, too
            wrong = Result(f"{kind}/{name}", WRONG, 0.0, 0, str(error))
            yield wrong.name, partial(_given, wrong)
            continue
        for case in found:
            title = "/".join(part for part in (kind, name, case.name) if part)
            checks = Checks(case)
            for check in (checks.eager, checks.symbolic, checks.forward, checks.second):
                full = f"{title}/{check.__name__}"
                yield full, partial(measured, full, check)


def _given(result: Result, backend: Backend) -> Result:
    return result


def measured(name: str, check: Callable[[Backend], tuple[float, int]], backend: Backend) -> Result:
    """A check's worst error in units of what is allowed, with its time and its memory."""
    start = time.perf_counter()
    detail = ""
    try:
        with np.errstate(all="ignore"):
            value, peak = check(backend)
    except Exception as error:  # whatever is raised is a result of the suite, not its end
        value, peak, detail = WRONG, 0, f"{type(error).__name__}: {error}"
    return Result(name, value, time.perf_counter() - start, peak, detail)


class Checks:
    """The four checks of one case.  Each gives the worst error in units of what is allowed, and bytes."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.floating = [i for i, a in enumerate(case.arrays) if a.dtype.kind == "f"]
        self.nbytes = sum(a.nbytes for a in case.arrays)
        rng = np.random.default_rng(1)
        self.direction = [rng.normal(size=case.arrays[i].shape) for i in self.floating]

    @cached_property
    def weight(self) -> np.ndarray:
        """What the elements of the value are weighted with, so that none hides another."""
        return np.random.default_rng(2).normal(size=self.value(self.case.arrays).shape)

    def eager(self, backend: Backend) -> tuple[float, int]:
        """Tensor.backward against central differences, element by element."""
        return worst(self.gradient(self.case.arrays), self.differences), self.nbytes

    def symbolic(self, backend: Backend) -> tuple[float, int]:
        """The compiled gradient against central differences, and the compiled value against the eager one."""
        types = [TensorType(a.shape, dtype(a.dtype)) for a in self.case.arrays]
        values = [input_value(f"x{i}", t) for i, t in enumerate(types)]
        y = self.case.function(*values)
        wanted = [values[i] for i in self.floating]
        found = differentiate([y], [constant(self.weight)], wanted)
        outputs = {"y": y} | {f"d{i}": g for i, g in zip(self.floating, found) if g is not None}
        plan = compile_graph(Graph(tuple(values), outputs), backend)
        program = Program(plan, backend, Store(backend.devices()[0]))
        results = program.run({f"x{i}": a for i, a in enumerate(self.case.arrays)})
        given = [np.asarray(results[f"d{i}"]) if f"d{i}" in results else None for i in self.floating]
        error = worst([np.asarray(results["y"])], [self.value(self.case.arrays)])
        return max(error, worst(given, self.differences)), plan.arena + self.nbytes

    def forward(self, backend: Backend) -> tuple[float, int]:
        """The vjp is linear in g, so its derivative in g along u is the derivative of the value along u."""
        tensors = self.tensors(self.case.arrays)
        g = Tensor(self.weight, requires_grad=True)
        y = self.case.function(*tensors)
        gradients = differentiate([y], [g], [tensors[i] for i in self.floating])
        (along,) = derivative(gradients, self.direction, [g])
        return worst([along], [self.along(self.value)]), self.nbytes

    def second(self, backend: Backend) -> tuple[float, int]:
        """The gradient of gradient times direction against the difference of gradients along it."""
        tensors = self.tensors(self.case.arrays)
        wanted = [tensors[i] for i in self.floating]
        y = self.case.function(*tensors)
        gradients = differentiate([y], [Tensor(self.weight)], wanted)
        found = derivative(gradients, self.direction, wanted)
        expected = [self.along(partial(self.gradient_of, k)) for k in range(len(wanted))]
        return worst(found, expected), self.nbytes

    def tensors(self, arrays: Arrays) -> list[Tensor]:
        return [Tensor(a, requires_grad=a.dtype.kind == "f") for a in arrays]

    def value(self, arrays: Arrays) -> np.ndarray:
        """The function itself."""
        with no_grad():
            y: np.ndarray = self.case.function(*map(Tensor, arrays)).numpy()
        return y

    def gradient(self, arrays: Arrays) -> list[np.ndarray]:
        """The eager gradient of sum(weight * value); zeros where nothing flows."""
        tensors = self.tensors(arrays)
        y = self.case.function(*tensors)
        if y.requires_grad:
            y.backward(Tensor(self.weight))
        wanted = [tensors[i] for i in self.floating]
        return [np.zeros(t.shape) if t.grad is None else t.grad.numpy() for t in wanted]

    def gradient_of(self, k: int, arrays: Arrays) -> np.ndarray:
        """The gradient of one floating array."""
        return self.gradient(arrays)[k]

    @cached_property
    def differences(self) -> list[np.ndarray]:
        """The same by central differences, one element at a time."""
        found = []
        for k, i in enumerate(self.floating):
            slopes = np.zeros(self.case.arrays[i].size)
            for j in range(slopes.size):
                direction = [np.zeros(self.case.arrays[i].shape) for i in self.floating]
                direction[k].flat[j] = 1
                slopes[j] = np.sum(self.weight * self.along(self.value, direction))
            found.append(slopes.reshape(self.case.arrays[i].shape))
        return found

    def along(self, f: Callable[[Arrays], np.ndarray], direction: Arrays | None = None) -> np.ndarray:
        """The derivative of ``f`` along a direction: central differences of fourth order."""

        def moved(step: float) -> np.ndarray:
            arrays = list(self.case.arrays)
            for i, d in zip(self.floating, direction or self.direction):
                arrays[i] = arrays[i] + step * d
            return f(arrays)

        near, far = moved(STEP) - moved(-STEP), moved(2 * STEP) - moved(-2 * STEP)
        return np.asarray((8 * near - far) / (12 * STEP))


def derivative(gradients: Sequence[Any], directions: Arrays, by: Sequence[Any]) -> list[np.ndarray | None]:
    """The gradient of the sum of gradients times directions."""
    parts = [total(g * Tensor(d)) for g, d in zip(gradients, directions) if g is not None]
    if not parts:
        return [None] * len(by)
    one = Tensor(np.ones(()))
    found = differentiate(parts, [one] * len(parts), by)
    return [None if g is None else g.numpy() for g in found]


def worst(given: Sequence[np.ndarray | None], expected: Arrays) -> float:
    """The largest error in units of what is allowed; None stands for zeros."""
    errors = [0.0]
    for a, b in zip(given, expected):
        if a is not None and a.shape != b.shape:
            return WRONG
        if b.size:
            error = np.max(np.abs((0.0 if a is None else a) - b)) / (ALLOWED * max(1.0, np.max(np.abs(b))))
            errors.append(float(error) if np.isfinite(error) else WRONG)
    return max(errors)
