"""Metrics against scikit-learn, summed over batches as training does."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cortex_compute.backends import get
from cortex_compute.errors import ShapeError
from cortex_compute.types import TensorType, dtype, float64
from cortex_core import metrics as _metrics  # noqa: F401  (registers them)
from cortex_core.graph.value import Graph, input_value
from cortex_core.program import Program, compile_graph
from cortex_core.registry import METRICS
from cortex_core.store import Store
from cortex_core.tensor import Tensor

rng = np.random.default_rng(0)
N = 57
SCORES = rng.dirichlet(np.ones(4), N).astype(np.float32)
LABELS = rng.integers(0, 4, N)
CHANCES = rng.uniform(size=(N, 1)).astype(np.float32)
TRUTH = rng.integers(0, 2, N)
OUTPUTS, TARGETS = rng.normal(size=(N, 3)), rng.normal(3, 1, size=(N, 3))
WEIGHTS = rng.uniform(size=N)
TRUE_BOXES = np.concatenate([rng.integers(-1, 2, (N, 2, 1)), rng.uniform(0.2, 0.8, (N, 2, 4))], 2)
BOXES = np.concatenate(
    [
        np.repeat(TRUE_BOXES[..., 1:], 2, 1) + rng.normal(0, 0.02, (N, 4, 4)),
        rng.uniform(size=(N, 4, 1)),
        rng.dirichlet([0.1, 0.1], (N, 4)),
    ],
    2,
)


def measured(metric: Any, x: np.ndarray, target: np.ndarray, weight: np.ndarray | None = None) -> Any:
    """The metric over three batches of unequal size."""
    totals: list[Any] = []
    for part in (slice(0, 10), slice(10, 17), slice(17, N)):
        w = None if weight is None else Tensor(weight[part])
        sums = metric.sums(Tensor(x[part]), Tensor(target[part]), w)
        assert all(s.dtype is float64 for s in sums)
        totals = [s.numpy() for s in sums] if not totals else [a + s.numpy() for a, s in zip(totals, sums)]
    return metric.result(*totals)


def metric(name: str, **fields: Any) -> Any:
    return METRICS[name](**fields)


def test_accuracy() -> None:
    sk = pytest.importorskip("sklearn.metrics")
    predicted = SCORES.argmax(-1)
    assert measured(metric("accuracy"), SCORES, LABELS) == pytest.approx(sk.accuracy_score(LABELS, predicted))
    assert measured(metric("accuracy"), SCORES, np.eye(4)[LABELS]) == pytest.approx(
        (predicted == LABELS).mean()
    )
    wanted = sk.accuracy_score(LABELS, predicted, sample_weight=WEIGHTS)
    assert measured(metric("accuracy"), SCORES, LABELS, WEIGHTS) == pytest.approx(wanted)


PADDED = ["accuracy", "top_k", "precision", "recall", "f1", "confusion_matrix"]


@pytest.mark.parametrize("ignored", [0, -1])
@pytest.mark.parametrize("name", PADDED)
def test_places_that_are_ignored_are_as_if_they_were_not_there(name: str, ignored: int) -> None:
    labels = np.where(rng.uniform(size=N) < 0.3, ignored, LABELS)
    kept, fields = labels != ignored, {"k": 2} if name == "top_k" else {}
    wanted = measured(metric(name, **fields), SCORES[kept], labels[kept])
    of = metric(name, ignore_index=ignored, **fields)
    np.testing.assert_allclose(measured(of, SCORES, labels), wanted)
    scores, sequences = SCORES.reshape(19, 3, 4), labels.reshape(19, 3)
    np.testing.assert_allclose(measured(of, scores, sequences), wanted)
    # What a loss that ignores them gives for each sample: the mean of 0 and 1 over its places.
    np.testing.assert_allclose(measured(of, scores, sequences, (sequences != ignored).mean(1)), wanted)


def test_places_that_are_ignored_leave_the_weights_of_the_others() -> None:
    sk = pytest.importorskip("sklearn.metrics")
    of, kept = metric("accuracy", ignore_index=0), LABELS != 0
    right = sk.accuracy_score(LABELS[kept], SCORES.argmax(-1)[kept], sample_weight=WEIGHTS[kept])
    assert measured(of, SCORES, LABELS, WEIGHTS) == pytest.approx(right)


def test_a_confusion_matrix_of_weights_is_not_cut_to_whole_numbers() -> None:
    sk = pytest.importorskip("sklearn.metrics")
    found = measured(metric("confusion_matrix"), SCORES, LABELS, WEIGHTS)
    wanted = sk.confusion_matrix(LABELS, SCORES.argmax(-1), sample_weight=WEIGHTS)
    np.testing.assert_allclose(found, wanted)
    assert measured(metric("confusion_matrix"), SCORES, LABELS).dtype == np.int64


def test_accuracy_of_one_unit() -> None:
    right = ((CHANCES[:, 0] >= 0.3) == TRUTH).mean()
    for target in (TRUTH, TRUTH[:, None], TRUTH.astype(np.float32)):
        assert measured(metric("accuracy", threshold=0.3), CHANCES, target) == pytest.approx(right)
    assert measured(metric("accuracy", threshold=0.3), CHANCES[:, 0], TRUTH) == pytest.approx(right)


def test_accuracy_counts_every_place_of_a_sequence() -> None:
    x, t = rng.normal(size=(N, 5, 3)), rng.integers(0, 3, (N, 5))
    assert measured(metric("accuracy"), x, t) == pytest.approx((x.argmax(-1) == t).mean())
    weighted = np.average((x.argmax(-1) == t).mean(1), weights=WEIGHTS)
    assert measured(metric("accuracy"), x, t, WEIGHTS) == pytest.approx(weighted)


@pytest.mark.parametrize("k", [1, 2, 4])
def test_top_k(k: int) -> None:
    sk = pytest.importorskip("sklearn.metrics")
    wanted = sk.top_k_accuracy_score(LABELS, SCORES, k=k, labels=range(4)) if k < 4 else 1.0
    assert measured(metric("top_k", k=k), SCORES, LABELS) == pytest.approx(wanted)


@pytest.mark.parametrize("average", ["macro", "micro", "weighted"])
@pytest.mark.parametrize("weight", [None, WEIGHTS])
def test_precision_recall_f1(average: str, weight: np.ndarray | None) -> None:
    sk = pytest.importorskip("sklearn.metrics")
    options = {"average": average, "zero_division": 0.0, "sample_weight": weight}
    for labels in (LABELS, np.minimum(LABELS, 1)):  # in the second, classes 2 and 3 are never true
        for x in (SCORES, SCORES * [1, 1, 1, 0]):  # in the second, class 3 does not occur at all
            wanted = sk.precision_recall_fscore_support(labels, x.argmax(-1), **options)
            for name, value in zip(("precision", "recall", "f1"), wanted):
                found = measured(metric(name, average=average), x.astype(np.float32), labels, weight)
                assert found == pytest.approx(value), name


def test_precision_recall_f1_of_one_unit_are_those_of_class_1() -> None:
    sk = pytest.importorskip("sklearn.metrics")
    wanted = sk.precision_recall_fscore_support(TRUTH, CHANCES[:, 0] >= 0.7, average="binary")
    for name, value in zip(("precision", "recall", "f1"), wanted):
        assert measured(metric(name, threshold=0.7), CHANCES, TRUTH) == pytest.approx(value)


def test_confusion_matrix_has_a_row_per_true_class() -> None:
    sk = pytest.importorskip("sklearn.metrics")
    found = measured(metric("confusion_matrix"), SCORES, LABELS)
    np.testing.assert_array_equal(found, sk.confusion_matrix(LABELS, SCORES.argmax(-1)))
    single = measured(metric("confusion_matrix"), CHANCES, TRUTH)
    np.testing.assert_array_equal(single, sk.confusion_matrix(TRUTH, CHANCES[:, 0] >= 0.5))


@pytest.mark.parametrize("weight", [None, WEIGHTS])
def test_regression(weight: np.ndarray | None) -> None:
    sk = pytest.importorskip("sklearn.metrics")
    for name, peer in (("mse", sk.mean_squared_error), ("mae", sk.mean_absolute_error), ("r2", sk.r2_score)):
        wanted = peer(TARGETS, OUTPUTS, sample_weight=weight)
        assert measured(metric(name), OUTPUTS, TARGETS, weight) == pytest.approx(wanted), name
        flat = peer(TARGETS[:, 0], OUTPUTS[:, 0], sample_weight=weight)
        assert measured(metric(name), OUTPUTS[:, :1], TARGETS[:, 0], weight) == pytest.approx(flat), name


def test_r2_where_the_targets_do_not_vary() -> None:
    same = np.full((N, 1), 7.0)
    assert measured(metric("r2"), same, same) == 1.0
    assert measured(metric("r2"), same + 1, same) == 0.0


def test_nothing_counted_is_nan() -> None:
    for name in ("accuracy", "precision", "mse", "r2"):
        x, t = (SCORES, LABELS) if name in ("accuracy", "precision") else (OUTPUTS, TARGETS)
        assert np.isnan(measured(metric(name), x, t, np.zeros(N))), name


def test_what_does_not_fit() -> None:
    with pytest.raises(
        ShapeError, match=r"the node is \(4,\), the target is \(3,\): accuracy needs a target"
    ):
        metric("accuracy").sums(Tensor(SCORES), Tensor(np.zeros((N, 3))), None)
    with pytest.raises(ShapeError, match=r"the node is \(4,\).*: top_k needs at least 5 outputs"):
        metric("top_k").sums(Tensor(SCORES), Tensor(LABELS), None)
    with pytest.raises(ShapeError, match=r"mse needs a target of the node's shape"):
        metric("mse").sums(Tensor(OUTPUTS), Tensor(LABELS), None)


@pytest.mark.parametrize("name", METRICS)
@pytest.mark.parametrize("weighted", [False, True])
def test_the_same_sums_in_a_program(name: str, weighted: bool) -> None:
    regression = name in ("mse", "mae", "r2")
    arrays = [OUTPUTS, TARGETS] if regression else [SCORES, LABELS]
    arrays = [BOXES, TRUE_BOXES] if name == "detection_f1" else arrays
    arrays += [WEIGHTS] if weighted else []
    made = metric(name, k=2) if name == "top_k" else metric(name)
    values = [input_value(f"x{i}", TensorType(a.shape, dtype(a.dtype))) for i, a in enumerate(arrays)]
    sums = made.sums(*values[:2], values[2] if weighted else None)
    backend = get("numpy")
    plan = compile_graph(Graph(tuple(values), {f"s{i}": s for i, s in enumerate(sums)}), backend)
    program = Program(plan, backend, Store(backend.devices()[0]))
    results = program.run({f"x{i}": a for i, a in enumerate(arrays)})
    eager = made.sums(*map(Tensor, arrays[:2]), Tensor(WEIGHTS) if weighted else None)
    for i, s in enumerate(eager):
        np.testing.assert_allclose(np.asarray(results[f"s{i}"]), s.numpy(), rtol=1e-12)
