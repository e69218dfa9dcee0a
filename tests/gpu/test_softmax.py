"""Softmax and cross entropy of generated kernels: long and short rows, many rows, labels of any type."""

from __future__ import annotations

import numpy as np
import pytest

from cortex_compute.primitives.base import Primitive
from cortex_compute.primitives.softmax import (
    LogSoftmax,
    Softmax,
    SoftmaxCrossEntropy,
    SoftmaxCrossEntropyGrad,
)
from cortex_compute.protocol import Layout, Offer, Operand, Refusal
from cortex_compute.types import DType, TensorType, float16, float32, float64, int32
from cortex_gpu import kernels, softmax
from cortex_gpu.backend import CupyBackend
from cortex_gpu.rows import Rows
from tests.gpu.running import computed
from tests.gpu.trials import holds

FAMILY = Softmax, LogSoftmax, SoftmaxCrossEntropy, SoftmaxCrossEntropyGrad
ROWS = [p() for p in FAMILY]


def _operands(p: Primitive, shape: tuple[int, ...], d: DType) -> list[np.ndarray]:
    rng = np.random.default_rng(3)
    x = rng.standard_normal(shape).astype(d.storage)
    labels = rng.integers(0, shape[-1], shape[:-1])
    if isinstance(p, SoftmaxCrossEntropyGrad):
        return [np.abs(x), labels, rng.standard_normal(shape[:-1]).astype(d.storage)]
    return [x, labels] if isinstance(p, SoftmaxCrossEntropy) else [x]


@pytest.mark.parametrize("p", [*ROWS, SoftmaxCrossEntropy(0.2), SoftmaxCrossEntropyGrad(0.2)], ids=str)
@pytest.mark.parametrize("n", [3, 10, 20, 33, 1024, 1025, 3000])
@pytest.mark.parametrize("d", [float16, float32])
def test_rows_of_all_teams(backend: CupyBackend, p: Primitive, n: int, d: DType) -> None:
    holds(backend, p, lambda rng: _operands(p, (9, n), d), d)


@pytest.mark.parametrize("p", ROWS, ids=str)
@pytest.mark.parametrize("n", [7, 1030])
def test_more_rows_than_the_blocks_of_a_launch(
    backend: CupyBackend, p: Primitive, n: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernels, "MOST_BLOCKS", 3)
    holds(backend, p, lambda rng: _operands(p, (110, n), float32), float32)


def test_gradients_of_more_elements_than_32_bits_count(
    backend: CupyBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    p = SoftmaxCrossEntropyGrad(0.1)
    monkeypatch.setattr(softmax, "index", lambda count: ("i64", np.int64))
    holds(backend, p, lambda rng: _operands(p, (40, 11), float32), float32)


@pytest.mark.parametrize("labels", ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"])
@pytest.mark.parametrize("p", [SoftmaxCrossEntropy(), SoftmaxCrossEntropyGrad()], ids=str)
def test_labels_of_any_type_are_taken_inside(backend: CupyBackend, p: Primitive, labels: str) -> None:
    x, _, *g = _operands(p, (6, 5), float64)
    given = np.array([0, 4, 2, 5, 100, 0 if labels.startswith("u") else -100]).astype(labels)
    holds(backend, p, lambda rng: [x, given, *g], float64)


@pytest.mark.parametrize("p", [SoftmaxCrossEntropy(1.0), SoftmaxCrossEntropyGrad(1.0)], ids=str)
def test_all_of_the_target_is_spread(backend: CupyBackend, p: Primitive) -> None:
    holds(backend, p, lambda rng: _operands(p, (6, 5), float32), float32)


@pytest.mark.parametrize("n", [6, 1100])
def test_a_logit_of_minus_infinity_costs_nothing_unless_it_is_the_label(backend: CupyBackend, n: int) -> None:
    x = np.zeros((3, n), np.float32)
    x[:, 4:] = -np.inf
    labels = np.array([0, 5, 3])
    loss, probabilities = computed(backend, SoftmaxCrossEntropy(), x, labels)
    np.testing.assert_allclose(loss, [np.log(4), np.inf, np.log(4)], rtol=1e-6)
    np.testing.assert_allclose(probabilities[0, :5], [0.25, 0.25, 0.25, 0.25, 0])


@pytest.mark.parametrize(
    ("n", "team"),
    [(0, 4), (1, 4), (8, 4), (9, 8), (16, 8), (17, 16), (32, 16), (33, 32), (1024, 32), (1025, 256)],
)
def test_a_team_has_no_more_threads_than_its_row_needs(n: int, team: int) -> None:
    assert Rows(TensorType((5, n))).team == team


def test_long_rows_of_all_lengths_and_counts_share_a_source(backend: CupyBackend) -> None:
    sources = set()
    for shape in ((4, 40), (128, 1000), (7, 3, 64)):
        offer = backend.offer(SoftmaxCrossEntropy(), [Operand(TensorType(s, d)) for s, d in
                                                      ((shape, float32), (shape[:-1], int32))])  # fmt: skip
        assert isinstance(offer, Offer)
        sources |= set(offer.build().sources)  # type: ignore[attr-defined]
    assert len(sources) == 1


def test_strided_operands_are_refused_with_the_reason(backend: CupyBackend) -> None:
    answer = backend.offer(Softmax(), [Operand(TensorType((4, 7)), Layout((1, 4)))])
    assert isinstance(answer, Refusal)
    assert "x row-major" in answer.reason
