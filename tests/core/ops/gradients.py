"""Gradients of ops against central differences in float64: the first, and the gradient of the gradient."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from cortex_core.ops.differentiate import differentiate
from cortex_core.tensor import Tensor, no_grad

STEP = 1e-5  # the error of a central difference is about STEP^2, its rounding 1e-16 / STEP


def check_gradients(f: Callable[..., Any], *arrays: np.ndarray, tolerance: float = 1e-7) -> None:
    """Checks f's first and second derivatives with respect to each floating array.

    ``f`` takes Tensors and returns one or several; floating ones are weighted by random numbers and summed.
    The weights count as arguments of the gradient, so that a rule must be linear and differentiable in them.
    """
    rng = np.random.default_rng(0)
    weights = [rng.standard_normal(y.shape) for y in _outputs(f, arrays)]
    n = len(arrays)

    def value(*a: np.ndarray) -> float:
        return float(sum((w * y.data).sum() for w, y in zip(weights, _outputs(f, a))))

    def gradient(*t: Any) -> list[Any]:
        outputs = _floating(f(*t[:n]))
        wanted = [x for x in t[:n] if x.requires_grad]
        found = differentiate(outputs, t[n:], wanted)
        return [x * 0.0 if g is None else g for x, g in zip(wanted, found)]

    every = [*arrays, *weights]
    first = gradient(*_tensors(every))
    _compare("gradient", first, _differences(value, arrays), tolerance)

    directions = [rng.standard_normal(g.shape) for g in first]

    def along(*a: np.ndarray) -> float:
        return float(sum((d * g.data).sum() for d, g in zip(directions, gradient(*_tensors(a)))))

    tensors = _tensors(every)
    wanted = [x for x in tensors if x.requires_grad]
    second = differentiate(gradient(*tensors), [Tensor(d) for d in directions], wanted)
    zeros = [Tensor(np.zeros(x.shape)) if g is None else g for x, g in zip(wanted, second)]
    _compare("second derivative", zeros, _differences(along, every), 10 * tolerance)


def _tensors(arrays: Sequence[np.ndarray]) -> list[Tensor]:
    return [Tensor(a, requires_grad=a.dtype.kind == "f") for a in arrays]


def _floating(y: Any) -> list[Any]:
    outputs = y if isinstance(y, (tuple, list)) else [y]
    return [x for x in outputs if x.dtype.kind == "float"]


def _outputs(f: Callable[..., Any], arrays: Sequence[np.ndarray]) -> list[Any]:
    with no_grad():
        return _floating(f(*map(Tensor, arrays)))


def _differences(f: Callable[..., float], arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
    found = []
    for k, a in enumerate(arrays):
        if a.dtype.kind != "f":
            continue
        g = np.zeros(a.shape)
        for i in np.ndindex(*a.shape):
            sides = []
            for step in (STEP, -STEP):
                moved = [b.copy() for b in arrays]
                moved[k][i] += step
                sides.append(f(*moved))
            g[i] = (sides[0] - sides[1]) / (2 * STEP)
        found.append(g)
    return found


def _compare(what: str, found: Sequence[Any], wanted: Sequence[np.ndarray], tolerance: float) -> None:
    for k, (g, w) in enumerate(zip(found, wanted)):
        np.testing.assert_allclose(g.data, w, rtol=tolerance, atol=tolerance, err_msg=f"{what}, array {k}")
