"""L-BFGS: a quasi-Newton method that keeps the last steps and changes of the gradient.

Nocedal and Wright, Numerical Optimization, 2006, algorithms 7.4 (the direction), 3.5 and 3.6 (the line
search); limits and stopping rules are PyTorch's.  All parameters together are one vector here.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from cortex_compute.errors import ArgumentError, CheckpointError
from cortex_compute.primitives.elementwise import Copy
from cortex_core.optim.optimizer import Closure, Optimizer, evaluate
from cortex_core.tensor import Tensor, assign


class LBFGS(Optimizer):
    """Limited-memory BFGS.  ``step(closure)`` makes up to ``max_iter`` iterations, and calls the closure up
    to ``max_eval`` times (default: 1.25 ``max_iter``).

    It stops where no gradient is larger than ``tolerance_grad``, or a step or the loss changes by less than
    ``tolerance_change``.  ``line_search_fn`` is None, where each step is ``lr`` times the direction, or
    ``"strong_wolfe"``.  There is one group of parameters.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1.0,
        max_iter: int = 20,
        max_eval: int | None = None,
        tolerance_grad: float = 1e-7,
        tolerance_change: float = 1e-9,
        history_size: int = 100,
        line_search_fn: str | None = None,
    ) -> None:
        defaults = {
            "lr": lr,
            "max_iter": max_iter,
            "max_eval": max_iter * 5 // 4 if max_eval is None else max_eval,
            "tolerance_grad": tolerance_grad,
            "tolerance_change": tolerance_change,
            "history_size": history_size,
            "line_search_fn": line_search_fn,
        }
        super().__init__(params, defaults)

    def expect_options(self, group: Mapping[str, Any]) -> None:
        super().expect_options(group)
        if group["line_search_fn"] not in (None, "strong_wolfe"):
            found = group["line_search_fn"]
            raise ArgumentError(f"LBFGS: line_search_fn is {found!r:.60}, expected None or 'strong_wolfe'")
        for name in ("max_iter", "max_eval", "history_size"):
            if not isinstance(group[name], int) or group[name] < 1:
                raise ArgumentError(f"LBFGS: {name} is {group[name]!r:.60}, expected a whole number above 0")

    def add_param_group(self, param_group: Mapping[str, Any]) -> None:
        if self.param_groups:
            raise ArgumentError(
                "LBFGS takes one group of parameters: its directions are of all of them together"
            )
        super().add_param_group(param_group)
        if len({p.dtype for p in self._parameters}) > 1:
            raise ArgumentError("LBFGS: the parameters have several data types, expected one")

    @property
    def _parameters(self) -> list[Tensor]:
        found: list[Tensor] = self.param_groups[0]["params"]
        return found

    def read_state(
        self, where: str, p: Tensor, kept: Mapping[str, Any], group: Mapping[str, Any]
    ) -> dict[str, Any]:
        """The vectors of the history must be as long as all parameters together."""
        size = sum(x.size for x in group["params"])
        for name, value in kept.items():
            for vector in value if isinstance(value, list) else [value]:
                if getattr(vector, "shape", ()) not in ((), (size,)):
                    raise CheckpointError(f"{where}: {name} has shape {vector.shape}, expected {(size,)}")
        return copy.deepcopy(dict(kept))

    def step(self, closure: Closure | None = None) -> Any:
        """Minimises along several directions; gives the loss from which it started.

        ``closure`` zeroes the gradients, computes the loss, calls backward and returns the loss.
        """
        if closure is None:
            raise TypeError(
                "LBFGS.step needs a closure that zeroes the gradients, computes the loss, calls backward and "
                "returns the loss: it is called several times a step"
            )
        first = evaluate(closure)
        state = self.state[self._parameters[0]]
        state["func_evals"] = state.get("func_evals", 0) + 1
        state.setdefault("n_iter", 0)
        self._minimise(closure, float(first), self.param_groups[0], state)
        return first

    def _minimise(
        self, closure: Closure, loss: float, group: Mapping[str, Any], state: dict[str, Any]
    ) -> None:
        g, evaluations, unchanged = self._gradient(), 1, group["tolerance_change"]
        for iteration in range(1, group["max_iter"] + 1):
            if abs(g).max() <= group["tolerance_grad"]:
                break
            d = _direction(g, state, group["history_size"])
            t = group["lr"] * (1.0 if state["n_iter"] else min(1.0, 1.0 / float(abs(g).sum())))
            start = Trial(0.0, loss, g, float(g.dot(d)))
            state.update(d=d, t=t, prev_flat_grad=g, prev_loss=loss, n_iter=state["n_iter"] + 1)
            if start.slope > -unchanged:
                break
            origin = np.concatenate([p.data.reshape(-1) for p in self._parameters])
            at = partial(self._trial, closure, origin, d)
            if group["line_search_fn"] is not None:
                allowed = group["max_eval"] - evaluations
                found, count = strong_wolfe(at, t, start, float(abs(d).max()), unchanged, allowed)
                self._move_to(origin + found.t * d)
            elif iteration < group["max_iter"]:
                found, count = at(t), 1
            else:  # nobody would look at the loss there
                self._move_to(origin + t * d)
                break
            loss, g, state["t"] = found.loss, found.gradient, found.t
            evaluations += count
            state["func_evals"] += count
            moved = abs(d).max() * abs(found.t)
            if evaluations >= group["max_eval"] or moved <= unchanged or abs(loss - start.loss) < unchanged:
                break

    def _trial(self, closure: Closure, origin: np.ndarray, d: np.ndarray, t: float) -> Trial:
        """The loss at origin + t d, where the parameters stay."""
        self._move_to(origin + t * d)
        loss = float(evaluate(closure))
        g = self._gradient()
        return Trial(t, loss, g, float(g.dot(d)))

    def _gradient(self) -> np.ndarray:
        """All gradients as one vector; 0 where there is none."""
        parts = [np.zeros_like(p.data) if p.grad is None else p.grad.data for p in self._parameters]
        return np.concatenate([x.reshape(-1) for x in parts])

    def _move_to(self, x: np.ndarray) -> None:
        """Writes a vector into the parameters."""
        offset = 0
        for p in self._parameters:
            assign(Copy(), [x[offset : offset + p.size].reshape(p.shape)], [p])
            offset += p.size


def _direction(g: np.ndarray, state: dict[str, Any], history_size: int) -> np.ndarray:
    """Minus the approximate inverse Hessian times the gradient, after taking the last step into account."""
    if state["n_iter"] == 0:
        state.update(old_dirs=[], old_stps=[], ro=[], H_diag=1.0)
        return -g
    ys, ss, ro = state["old_dirs"], state["old_stps"], state["ro"]
    y, s = g - state["prev_flat_grad"], state["d"] * state["t"]
    curvature = float(y.dot(s))
    if curvature > 1e-10:
        for history, new in (ys, y), (ss, s), (ro, 1.0 / curvature):
            history.append(new)
            del history[:-history_size]
        state["H_diag"] = curvature / float(y.dot(y))
    d, steps = -g, []
    for y, s, r in reversed(list(zip(ys, ss, ro))):
        steps.append(float(s.dot(d)) * r)
        d -= steps[-1] * y
    d *= state["H_diag"]
    for y, s, r in zip(ys, ss, ro):
        d += (steps.pop() - float(y.dot(d)) * r) * s
    return d


class Trial(NamedTuple):
    """A point on a line: how far, the loss and its gradient there, and the slope along the line."""

    t: float
    loss: float
    gradient: np.ndarray
    slope: float


def strong_wolfe(
    at: Callable[[float], Trial],
    t: float,
    start: Trial,
    length: float,
    tolerance_change: float,
    evaluations: int,
    c1: float = 1e-4,
    c2: float = 0.9,
) -> tuple[Trial, int]:
    """A point where loss <= start + c1 t slope and |slope| <= c2 |slope at the start|, or the best that was
    found, and how often the line was looked at: ``evaluations`` + 1 times at most.

    ``t`` is tried first; ``length`` is the largest entry of the direction.
    """

    def too_high(x: Trial) -> bool:
        return not x.loss <= start.loss + c1 * x.t * start.slope  # so is NaN

    previous, new, count = start, at(t), 0
    while count < evaluations:
        if too_high(new) or (count > 1 and new.loss >= previous.loss):
            break
        if abs(new.slope) <= -c2 * start.slope:
            return new, count + 1
        if new.slope >= 0:
            break
        t = _cubic_minimum(previous, new, new.t + 0.01 * (new.t - previous.t), new.t * 10)
        previous, new, count = new, at(t), count + 1
    else:
        previous = start

    low, high = (new, previous) if new.loss < previous.loss else (previous, new)
    stuck = False
    while count < evaluations and abs(high.t - low.t) * length >= tolerance_change:
        t, stuck = _inside(low, high, stuck)
        new, count = at(t), count + 1
        if too_high(new) or new.loss >= low.loss:
            low, high = (new, low) if new.loss < low.loss else (low, new)
            continue
        if new.slope * (high.t - low.t) >= 0:
            high = low
        low = new
        if abs(new.slope) <= -c2 * start.slope:
            break
    return low, count + 1


def _inside(a: Trial, b: Trial, stuck: bool) -> tuple[float, bool]:
    """Where to look between two points.  The second time in a row that it is near an end, away from that."""
    left, right = sorted((a.t, b.t))
    t, margin = _cubic_minimum(a, b, left, right), 0.1 * (right - left)
    if min(right - t, t - left) >= margin:
        return t, False
    if not stuck and left < t < right:
        return t, True
    return (right - margin if right - t < t - left else left + margin), False


def _cubic_minimum(a: Trial, b: Trial, low: float, high: float) -> float:
    """Where the cubic through two points with these slopes is least, within bounds; else in their middle."""
    a, b = (a, b) if a.t <= b.t else (b, a)
    d = a.slope + b.slope - 3 * (a.loss - b.loss) / (a.t - b.t)
    square = d * d - a.slope * b.slope
    if not square >= 0 or (below := b.slope - a.slope + 2 * math.sqrt(square)) == 0:
        return (low + high) / 2
    return min(max(b.t - (b.t - a.t) * (b.slope + math.sqrt(square) - d) / below, low), high)
