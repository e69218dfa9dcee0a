"""Cases beyond those of the conformance kit, run as the kit runs its own, in all variations."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from cortex_compute.primitives.base import Primitive
from cortex_compute.protocol import Backend
from cortex_compute.types import DType
from cortex_compute.verify.case import Case
from cortex_compute.verify.run import primitives
from cortex_compute.verify.trial import Trial

primitives()  # loads the references of all families

Make = Callable[[np.random.Generator], Sequence[np.ndarray]]


def holds(
    backend: Backend,
    p: Primitive,
    make: Make,
    d: DType,
    forward: tuple[Primitive, tuple[int, ...]] | None = None,
) -> None:
    """One case; ``d`` is the data type of the operands that are not float32 beside 16 bits."""
    case = Case(str(p), p, lambda rng, _: make(rng), forward=forward)
    device = backend.devices()[0]
    streams = device.stream(), device.stream(worker=True)
    result = Trial(backend, case, d, streams).run(case.name)
    for stream in streams:
        stream.close()
    assert result.passed, result.detail
