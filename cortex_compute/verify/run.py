"""Runs the kit: every primitive x data type x case, each in all variations against the float64 reference."""

from __future__ import annotations

import importlib
import pkgutil
from typing import Any

import cortex_compute.primitives
import cortex_compute.verify.families
from cortex_compute.primitives.base import Primitive
from cortex_compute.protocol import Backend
from cortex_compute.verify.case import cases_of
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


def run(backend: Backend, only: str | None = None) -> list[Result]:
    """Runs all cases; with ``only`` those whose name, ``Primitive/case/dtype``, contains it."""
    device = backend.devices()[0]
    streams = device.stream(), device.stream(worker=True)
    results: list[Result] = []
    for primitive in primitives():
        found = cases_of(primitive)
        if not found or primitive not in REFERENCES:
            lack = "no reference" if found else "no case"
            results.append(Result(primitive.__name__, WRONG, 0.0, 0, f"{lack} in cortex_compute.verify"))
        for case in found:
            for d in case.dtypes:
                name = f"{primitive.__name__}/{case.name}/{d}"
                if only is None or only.lower() in name.lower():
                    results.append(Trial(backend, case, d, streams).run(name))
    for stream in streams:
        stream.close()
    return [r for r in results if only is None or only.lower() in r.name.lower()]
