"""Measures of class probabilities equal scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
from sklearn import metrics
from sklearn.calibration import calibration_curve

from cortex_viz.report.measures import areas, calibration, corners, entropy, matrix, roc, scores


def said(n: int = 400, classes: int = 5, seed: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Labels, and probabilities with many ties."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, classes, n)
    raw = generator.random((n, classes)).round(1) + 0.05
    raw[np.arange(n), labels] += generator.random(n).round(1)
    return labels, raw / raw.sum(axis=1, keepdims=True)


def test_scores_of_classes() -> None:
    labels, probabilities = said()
    labels[labels == 4] = 0  # the last class never occurs, but is predicted
    predicted = probabilities.argmax(axis=1)
    predicted[predicted == 3] = 1  # and this one is never predicted
    counts = matrix(labels, predicted, 5)
    np.testing.assert_array_equal(counts, metrics.confusion_matrix(labels, predicted, labels=range(5)))
    expected = metrics.precision_recall_fscore_support(labels, predicted, labels=range(5), zero_division=0.0)
    for mine, theirs in zip(scores(counts), expected):
        np.testing.assert_allclose(mine, theirs, rtol=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_roc(seed: int) -> None:
    labels, probabilities = said(seed=seed)
    for k in range(5):
        positive, score = labels == k, probabilities[:, k]
        mine = roc(positive, score)
        assert mine.area == pytest.approx(metrics.roc_auc_score(positive, score), rel=1e-12)
        x, y, _ = metrics.roc_curve(positive, score, drop_intermediate=False)
        np.testing.assert_allclose(mine.false_positives, x, rtol=1e-12)
        np.testing.assert_allclose(mine.true_positives, y, rtol=1e-12)


def test_areas_of_all_classes() -> None:
    labels, probabilities = said()
    labels[labels == 4] = 0  # never occurs
    expected = [metrics.roc_auc_score(labels == k, probabilities[:, k]) for k in range(4)]
    found = areas(probabilities, labels)
    np.testing.assert_allclose(found[:4], expected, rtol=1e-12)
    assert np.isnan(found[4])
    assert np.isnan(areas(probabilities[:0], labels[:0])).all()


def test_corners_keep_the_area() -> None:
    labels, probabilities = said(5000)
    curve = roc(labels == 1, probabilities[:, 1])
    x, y = corners(curve, most=10**6)
    assert len(x) < len(curve.false_positives)
    assert np.sum(np.diff(x) * (y[1:] + y[:-1]) / 2) == pytest.approx(curve.area, rel=1e-12)
    few, _ = corners(curve, most=50)
    assert len(few) <= 50
    assert few[0] == 0
    assert few[-1] == 1


def test_roc_of_one_kind_has_no_area() -> None:
    assert np.isnan(roc(np.ones(3, bool), np.array([0.1, 0.2, 0.3])).area)
    assert np.isnan(roc(np.zeros(0, bool), np.zeros(0)).area)


def test_calibration() -> None:
    labels, probabilities = said(2000)
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    found = calibration(probabilities, right, bins=10)
    share, mean = calibration_curve(right, confidence, n_bins=10)
    np.testing.assert_allclose(found.accuracy, share, rtol=1e-12)
    np.testing.assert_allclose(found.confidence, mean, rtol=1e-12)
    assert found.counts.sum() == 2000
    assert found.error == pytest.approx(np.abs(share - mean) @ found.counts / 2000, rel=1e-12)


def test_a_sure_and_right_network_is_calibrated() -> None:
    found = calibration(np.eye(3)[[0, 1, 2, 1]], np.ones(4, bool))
    assert (found.error, found.accuracy.tolist(), found.confidence.tolist()) == (0, [1], [1])


def test_what_is_right_at_one_half_is_what_was_predicted() -> None:
    found = calibration(np.full((4, 2), 0.5), np.array([True, True, True, False]))
    assert (found.accuracy.tolist(), found.error) == ([0.75], 0.25)


def test_entropy() -> None:
    _, probabilities = said()
    probabilities[0] = np.eye(5)[2]
    np.testing.assert_allclose(entropy(probabilities), scipy.stats.entropy(probabilities, axis=1), atol=1e-12)
