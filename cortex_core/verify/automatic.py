"""Which cases the gradient suite has of something registered; made ones, where somebody else wrote none.

Fields without a default get the first value that they accept, and the inputs are numbers of a shape that the
class accepts.  What has kinks other than 0, or needs special numbers, brings cases of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from cortex_compute.errors import SpecError
from cortex_compute.types import TensorType, float64
from cortex_core.registry import LAYERS, LOSSES, Invalid, fields_of
from cortex_core.registry.classes import Field
from cortex_core.tensor import Tensor, no_grad
from cortex_core.verify import minimal
from cortex_core.verify.case import Case, away, cases_of, of_layer, of_loss, rng_of

SHAPES = ((3, 4), (2, 5, 4), (2, 5, 4, 3), (2, 3, 4, 3, 2))
VALUES = (2, 1, 0.5, "relu", "auto")
Draw = Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]


def real(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Numbers of both signs, none of them near 0."""
    return away(rng, shape, 0.0)


def probable(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Numbers between 0 and 1, neither of them near."""
    return rng.uniform(0.2, 0.8, shape)


def every(kind: str, name: str) -> list[Case]:
    """All cases of something registered: those that somebody wrote, and that of the example in its docstring.

    Where somebody else's layer or loss has neither, cases are made.  Raises `SpecError` with the reason where
    there are none, and for a layer or loss of this package without an example.
    """
    found = cases_of(kind, name)
    cls = (LAYERS if kind == "layer" else LOSSES).get(name) if kind in ("layer", "loss") else None
    if cls is None:
        if not found:
            raise SpecError("no case in cortex_core.verify.cases")
        return found
    if minimal.has_example(cls) or cls.__module__.startswith("cortex_core."):
        return [*found, minimal.case(kind, name, cls)]
    return found or automatic(kind, name, cls)


def automatic(kind: str, name: str, cls: type[Any]) -> list[Case]:
    """The cases of a layer or loss that has none of its own; `SpecError` where none can be made."""
    reason: object = ""
    for shape in SHAPES:
        for draw in (real, probable):
            try:
                made = cls(**{f.attribute: example(f) for f in fields_of(cls).values() if f.required})
                rng = rng_of(kind, name)
                found = list((_of_layer if kind == "layer" else _of_loss)(made, draw, rng, shape))
                if all(map(_is_finite, found)):
                    return found
                reason = reason or f"it is not finite for an input {shape}"
            except Exception as error:  # whatever the class raises, the next shape may suit it
                reason = f"{type(error).__name__}: {error}"
    raise SpecError(f"no case can be made ({reason}); write one, by @cases({kind!r}, {name!r})")


def example(field: Field) -> Any:
    """A value that a field accepts; raises `SpecError` where none of `VALUES` is one."""
    for value in (*VALUES, *getattr(field.kind, "options", ())):
        try:
            return field.kind.read(value)
        except Invalid:
            continue
    raise SpecError(f"no value is known for the field '{field.name}', {field.kind.words}")


def _of_layer(layer: Any, draw: Draw, rng: np.random.Generator, shape: tuple[int, ...]) -> Iterator[Case]:
    count = layer.inputs if isinstance(layer.inputs, int) else 2
    inputs = [draw(rng, shape) for _ in range(count)]
    yield of_layer("training", layer, *inputs, rng=rng)
    yield of_layer("prediction", layer, *inputs, rng=rng, training=False)


def _of_loss(loss: Any, draw: Draw, rng: np.random.Generator, shape: tuple[int, ...]) -> Iterator[Case]:
    wanted = loss.target_type(TensorType(shape, float64))
    if wanted.dtype.kind == "float":
        target = draw(rng, wanted.shape)
    else:
        target = rng.integers(0, 2, wanted.shape)
    yield of_loss("", loss, draw(rng, shape), target)


def _is_finite(case: Case) -> bool:
    with no_grad(), np.errstate(all="ignore"):
        return bool(np.isfinite(case.function(*map(Tensor, case.arrays)).numpy()).all())
