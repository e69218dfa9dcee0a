"""The conformance kit, and compiled gradients, on the generated kernels."""

from __future__ import annotations

import pytest

from cortex_compute import verify
from cortex_compute.primitives.base import Primitive
from cortex_compute.verify.run import primitives
from cortex_core.verify import gradients
from cortex_gpu.backend import CupyBackend
from tests.gpu.sources import collected
from tests.gpu.standin.compiler import prepare

# The suite's other checks ask no backend.  Sorted, as each process of the tests has to list them alike.
GRADIENTS = dict(sorted(gradients.jobs("/symbolic"), key=lambda job: job[0]))


@pytest.mark.parametrize("primitive", primitives(), ids=lambda p: p.__name__)
def test_the_kit_passes(backend: CupyBackend, primitive: type[Primitive]) -> None:
    name = f"{primitive.__name__}/"
    prepare(collected(wanted=lambda case: case.startswith(name)))
    results = [r for r in verify.run(backend, only=name) if r.name.startswith(name)]
    assert results
    assert all(r.passed for r in results), verify.summary(results)


@pytest.mark.parametrize("name", GRADIENTS)
def test_a_gradient_is_that_of_central_differences(backend: CupyBackend, name: str) -> None:
    result = GRADIENTS[name](backend)
    assert result.passed, verify.summary([result])
