"""Runs the kit: every primitive x data type x case, each in all variations against the float64 reference."""

from __future__ import annotations

import importlib
import pkgutil
from typing import Any, NamedTuple

import cortex_compute.primitives
import cortex_compute.verify.families
from cortex_compute.primitives.base import Primitive
from cortex_compute.protocol import Backend, Stream
from cortex_compute.types import DType
from cortex_compute.verify.case import Case, cases_of
from cortex_compute.verify.compare import WRONG
from cortex_compute.verify.reference import REFERENCES
from cortex_compute.verify.result import Result
from cortex_compute.verify.trial import Trial


def primitives() -> list[type[Primitive]]:
    """Every concrete primitive of the vocabulary; the kit's families are loaded with it."""
    _modules(cortex_compute.verify.families)
    found: list[type[Primitive]] = []
    for module in _modules(cortex_compute.primitives):
        for x in vars(module).values():
            own = isinstance(x, type) and issubclass(x, Primitive) and x.__module__ == module.__name__
            if own and x.infer is not Primitive.infer:
                found.append(x)
    return found


def _modules(package: Any) -> list[Any]:
    names = sorted(m.name for m in pkgutil.iter_modules(package.__path__))
    return [importlib.import_module(f"{package.__name__}.{name}") for name in names]


class Job(NamedTuple):
    """A case in one data type, still to be run; without a case it is what is wrong."""

    name: str
    case: Case | None
    dtype: DType | None = None
    lack: str = ""

    def run(self, backend: Backend, streams: tuple[Stream, Stream]) -> Result:
        if self.case is None or self.dtype is None:
            return Result(self.name, WRONG, 0.0, 0, f"{self.lack} in cortex_compute.verify")
        return Trial(backend, self.case, self.dtype, streams).run(self.name)


def jobs(only: str | None = None) -> list[Job]:
    """All cases, always in the same order; with ``only`` those whose name, ``Primitive/case/dtype``,
    contains it."""
    made: list[Job] = []
    for primitive in primitives():
        found = cases_of(primitive)
        if not found or primitive not in REFERENCES:
            made.append(Job(primitive.__name__, None, lack="no reference" if found else "no case"))
        for case in found:
            made += [Job(f"{primitive.__name__}/{case.name}/{d}", case, d) for d in case.dtypes]
    return [job for job in made if only is None or only.lower() in job.name.lower()]


def run(backend: Backend, only: str | None = None) -> list[Result]:
    """Runs all cases; with ``only`` those whose name contains it."""
    device = backend.devices()[0]
    streams = device.stream(), device.stream(worker=True)
    try:
        return [job.run(backend, streams) for job in jobs(only)]
    finally:
        for stream in streams:
            stream.close()
