"""Whether two backends compute the same network: training steps over one made-up batch, then a prediction.

Steps magnify rounding: where a ReLU opens or an almost vanishing gradient changes its sign, Adam makes a
whole step of it.  So the first backend runs a second time, from parameters that are moved by the rounding of
a long sum, and two backends may lie a few times as far apart as that.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from cortex_compute.types import TensorType
from cortex_compute.verify.compare import WRONG
from cortex_compute.verify.result import Result
from cortex_core.compiled import compile
from cortex_core.network import Network, network

STEPS = 5
ALLOWED = 1e-4  # of the largest number that is compared, or of 1; float32 in another order of summation
MOVED, TIMES = 2.0**-16, 4  # of a parameter; what comes of it is allowed so many times
BATCH = 8
Arrays = Mapping[str, np.ndarray]


def same(spec: Any, first: str, second: str) -> Iterator[Result]:
    """Compares the losses of each step, and then every parameter and every output, of two backends."""
    start = time.perf_counter()
    expected, found = _trained(spec, first), _trained(spec, second)
    moved = _trained(spec, first, MOVED)
    seconds = (time.perf_counter() - start) / max(1, len(expected))
    for name, a in expected.items():
        b = found[name]
        allowed = ALLOWED * max(1.0, _largest(a)) + TIMES * _largest(a - moved[name])
        error = _largest(a - b) / allowed
        bad = not (np.isfinite(a).all() and np.isfinite(b).all())
        yield Result(name, WRONG if bad else error, seconds, a.nbytes, "not finite" if bad else "")


def _largest(a: np.ndarray) -> float:
    return float(np.max(np.abs(a), initial=0.0))


def _trained(spec: Any, backend: str, moved: float = 0.0) -> dict[str, np.ndarray]:
    """What a few steps give: losses, parameters, outputs; each parameter is first moved by up to so much of
    itself."""
    made = network(spec, seed=0)
    if moved:
        generator = np.random.default_rng(1)
        for name, array in made.parameters.items():
            made.parameters[name] = array * (1 + moved * generator.uniform(-1, 1, array.shape))
    batch = made_up(made, BATCH)
    numbers: dict[str, np.ndarray] = {}
    if made.description.losses:
        training = compile(made, backend, purpose="train")
        for step in range(STEPS):
            numbers[f"loss/step {step + 1}"] = np.array(training.run(batch)["loss"])
        numbers |= {f"parameter/{name}": array.copy() for name, array in made.parameters.items()}
    inputs = {x.name: batch[x.name] for x in made.description.inputs}
    outputs = compile(made, backend, purpose="predict").run(inputs)
    return numbers | {f"output/{name}": np.array(value) for name, value in outputs.items()}


def made_up(made: Network, batch: int) -> Arrays:
    """A batch of random inputs and targets: floats in 0..1, class indices that exist, tokens 0 and 1."""
    from cortex_core.step import types_of

    generator = np.random.default_rng(0)
    classes = {x.target: made.types[x.of].shape[-1] for x in made.description.losses}
    return {
        name: _random(generator, type, classes.get(name, 2)) for name, type in types_of(made, batch).items()
    }


def _random(generator: np.random.Generator, type: TensorType, classes: int) -> np.ndarray:
    if type.dtype.kind == "float":
        return generator.random(type.shape).astype(type.dtype.storage)
    return generator.integers(0, max(1, classes), type.shape)
