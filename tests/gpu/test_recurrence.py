"""Recurrent layers of generated kernels and products: the kit, both libraries of products, whole steps."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from cortex_compute import backends, verify
from cortex_compute.primitives.base import Primitive
from cortex_compute.primitives.recurrence import Gru, GruGrad, Lstm, LstmGrad, Rnn, RnnGrad
from cortex_compute.protocol import Layout, Offer, Operand, Refusal
from cortex_compute.types import TensorType, uint8
from cortex_core.compiled import Compiled
from cortex_core.network import network
from cortex_gpu.backend import CupyBackend
from tests.gpu.running import computed
from tests.gpu.standin import Machine
from tests.gpu.trials import conforms

FAMILY = Rnn, RnnGrad, Lstm, LstmGrad, Gru, GruGrad
SOME = "one step", "mask: holes", "reverse with a mask", "odd sizes"  # cases that meet every line


@pytest.mark.slow
@pytest.mark.parametrize("primitive", FAMILY)
def test_the_kit(backend: CupyBackend, primitive: type[Primitive]) -> None:
    conforms(backend, primitive)


@pytest.mark.parametrize(("case", "library"), [(SOME[0], True), *((case, False) for case in SOME)])
def test_cases_of_the_kit(machine: Machine, case: str, library: bool) -> None:
    from tests.gpu.standin.backend import cupy_backend, with_libraries

    backend = with_libraries(policy="never", workspace=1 << 16) if library else cupy_backend()
    results = verify.run(backend, only=f", {case}/float32")
    assert len(results) == 2 * 6
    assert all(r.passed for r in results), verify.summary(results)
    lt = backend.gpu.cublaslt
    assert lt is None or "Matmul" in lt.c.calls
    assert lt is None or not lt.c.told, lt.c.told


SPEC: dict[str, Any] = {
    "inputs": {"text": {"shape": [6], "dtype": "int64"}},
    "layers": [
        {"embedding": {"tokens": 9, "units": 3, "mask_zero": True, "id": "words"}},
        {"lstm": {"units": 5, "mask": "words.mask", "return": "sequence"}},
        {"bidirectional": {"layer": {"gru": {"units": 4, "mask": "words.mask"}}}},
        {"dense": {"units": 2, "id": "score"}},
    ],
    "loss": {"softmax_cross_entropy": {"of": "score", "target": "label"}},
    "train": {"optimizer": {"adam": {"learning_rate": 0.01}}},
}


@pytest.fixture
def cupy(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setitem(backends.BUILT_IN, "cupy", "tests.gpu.standin.backend:with_libraries")
    backends._create.cache_clear()
    yield backends.get("cupy")
    backends._create.cache_clear()


def test_a_network_trains_as_on_the_cpu(cupy: Any) -> None:
    rng = np.random.default_rng(0)
    here, there = (Compiled(network(SPEC), b) for b in (cupy, backends.get("numpy")))
    for _ in range(3):  # the first by single launches, the others as a captured graph
        text = rng.integers(1, 9, (4, 6)) * (np.arange(6) < rng.integers(1, 7, (4, 1)))
        batch = {"text": text, "label": rng.integers(0, 2, 4)}
        np.testing.assert_allclose(here.run(batch)["loss"], there.run(batch)["loss"], rtol=1e-5)


def test_what_no_step_sees_may_be_nan(backend: CupyBackend) -> None:
    rng = np.random.default_rng(0)
    x, mask = rng.standard_normal((3, 5, 4), np.float32), rng.random((3, 5)) < 0.6
    x[~mask] = np.nan
    weights = [rng.standard_normal(s, np.float32) for s in ((4, 24), (6, 24), (24,), (3, 6), (3, 6))]
    p = Lstm(masked=True)
    y, _, _, residual = computed(backend, p, x, *weights, mask)
    assert np.isfinite(y).all()
    assert (y[~mask] == 0).all()
    g = [rng.standard_normal(s, np.float32) for s in ((3, 5, 6), (3, 6), (3, 6))]
    for d in computed(backend, LstmGrad(masked=True), x, *weights, mask, y, residual, *g):
        assert np.isfinite(d).all()


def test_a_residual_of_another_implementation_is_refused_with_the_reason(backend: CupyBackend) -> None:
    shapes = (2, 3, 4), (4, 5), (5, 5), (5,), (2, 5), (2, 3, 5), (0,), (2, 3, 5), (2, 5)
    operands = [Operand(TensorType(s)) for s in shapes]
    operands[6] = Operand(TensorType((0,), uint8), Layout(key="cudnn"))
    answer = backend.offer(RnnGrad(), operands)
    assert isinstance(answer, Refusal)
    assert "residual of cudnn" in answer.reason


def test_x_that_does_not_lie_row_by_row_is_refused_with_the_reason(backend: CupyBackend) -> None:
    operands = [Operand(TensorType(s)) for s in ((2, 3, 4), (4, 5), (5, 5), (5,), (2, 5))]
    assert isinstance(backend.offer(Rnn(), operands), Offer)
    operands[0] = Operand(operands[0].type, Layout((4, 8, 1)))
    answer = backend.offer(Rnn(), operands)
    assert isinstance(answer, Refusal)
    assert "x row-major" in answer.reason
