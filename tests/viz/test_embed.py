"""Embeddings: components, t-SNE and how far to trust them, compared with scikit-learn and with SVD."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_digits  # type: ignore[import-untyped]
from sklearn.manifold import trustworthiness as reference  # type: ignore[import-untyped]

from cortex_compute.errors import ArgumentError, DataError
from cortex_viz import embed
from cortex_viz.embed import Array, explained, pca, trustworthiness, tsne


@pytest.fixture(scope="module")
def digits() -> tuple[Array, Array]:
    images, labels = load_digits(return_X_y=True)
    return images[:300].astype(np.float32), labels[:300]


@pytest.fixture(params=["openTSNE", "scikit-learn"])
def library(request: Any, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each of the libraries, the first where it is installed."""
    if request.param == "openTSNE":
        pytest.importorskip("openTSNE")
    else:
        monkeypatch.setattr(embed, "find_spec", lambda name: None)
    return str(request.param)


def test_digits_of_a_kind_lie_together(digits: tuple[Array, Array], library: str) -> None:
    images, labels = digits
    points = tsne(images)
    assert points.shape == (300, 2)
    assert np.isfinite(points).all()
    assert embed.library().startswith(library)
    assert reference(images, points, n_neighbors=5) > 0.97  # of two principal components 0.80
    near = ((points[:, None] - points) ** 2).sum(-1) + np.diag(np.full(300, np.inf))
    assert (labels[near.argmin(axis=1)] == labels).mean() > 0.9


def test_a_seed_gives_the_same_points(digits: tuple[Array, Array], library: str) -> None:
    few = digits[0][:60]
    points = tsne(few, seed=3)
    np.testing.assert_array_equal(points, tsne(few, seed=3))
    assert not np.array_equal(points, tsne(few, seed=4))


@pytest.mark.parametrize("n", [4, 5, 11])
def test_few_examples(digits: tuple[Array, Array], n: int) -> None:
    assert np.isfinite(tsne(digits[0][:n])).all()


def test_odd_features(digits: tuple[Array, Array]) -> None:
    few = digits[0][:40]
    doubled = np.repeat(few[:10], 5, axis=0)
    for odd in (doubled, few[:, 20:21], few * np.float32(1e25), few * np.float32(1e-25), few > 8):
        assert np.isfinite(tsne(odd, perplexity=5)).all()
    np.testing.assert_array_equal(tsne(few.reshape(40, 8, 8)), tsne(few))


def test_components_are_those_of_an_svd(digits: tuple[Array, Array]) -> None:
    images = digits[0] + np.float32(1000)
    centred = images.astype(np.float64) - images.astype(np.float64).mean(axis=0)
    u, s, _ = np.linalg.svd(centred, full_matrices=False)
    found = pca(images, 5)
    np.testing.assert_allclose(abs(found), abs(u[:, :5] * s[:5]), atol=2e-2)  # of about 30, in float32
    np.testing.assert_array_equal(found, pca(images, 5))


@pytest.mark.parametrize(("dtype", "size"), [(np.float32, 2e38), (np.float64, 1e300), (np.float64, 1e-300)])
def test_the_largest_and_smallest_numbers(digits: tuple[Array, Array], dtype: type, size: float) -> None:
    few = digits[0][:60].astype(np.float64) / 16 + 0.5  # 0.5 to 1.5
    huge = (few * size).astype(dtype)
    assert np.isfinite(huge).all()
    np.testing.assert_allclose(pca(huge) / size, pca(few), atol=5e-5)
    np.testing.assert_allclose(tsne(huge, 5)[:, 0].std(), tsne(few, 5)[:, 0].std(), rtol=0.5)
    points = np.random.default_rng(0).normal(size=(60, 2))  # by chance
    assert trustworthiness(huge, points) == pytest.approx(reference(few, points, n_neighbors=5), abs=1e-3)


def test_components_that_are_not_there() -> None:
    found = pca(np.array([[1.0], [2.0], [4.0], [5.0]]), 2)
    np.testing.assert_allclose(abs(found), [[2, 0], [1, 0], [1, 0], [2, 0]])


@pytest.mark.parametrize("neighbours", [1, 5, 40])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_trust_is_scikit_learns(neighbours: int, dtype: type, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    features = rng.normal(3, 1, (203, 17)).astype(dtype)
    points = features[:, :2] + rng.normal(0, 0.3, (203, 2))
    monkeypatch.setattr(embed, "CHUNK", 203 * 10)  # ten rows at a time
    expected = reference(features, points, n_neighbors=neighbours)
    assert trustworthiness(features, points, neighbours) == pytest.approx(expected, abs=1e-12)


def test_trust_of_some_points_stands_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    features = rng.normal(size=(400, 10))
    points = features[:, :2]
    expected = reference(features, points, n_neighbors=5)
    monkeypatch.setattr(embed, "WORK", 400 * 10 * 150)
    found = trustworthiness(features, points)
    assert found != expected
    assert found == pytest.approx(expected, abs=0.02)


def test_trust_has_its_limits() -> None:
    features = np.random.default_rng(2).normal(size=(10, 3))
    assert trustworthiness(features, features[:, :2], 4) <= 1
    with pytest.raises(ArgumentError, match=r"neighbours is 5: expected 1 to 4, for 10 points"):
        trustworthiness(features, features[:, :2], 5)
    with pytest.raises(DataError, match="10 examples and 9 points"):
        trustworthiness(features, features[:9, :2])


def test_a_perplexity_that_is_too_large_says_what_is_possible(digits: tuple[Array, Array]) -> None:
    told = r"perplexity is 30: expected 1 to 16.3333, .*; 30 needs 91 examples"
    with pytest.raises(ArgumentError, match=told):
        tsne(digits[0][:50], perplexity=30)
    assert tsne(digits[0][:91], perplexity=30).shape == (91, 2)
    for bad in (0, -3, float("nan")):
        with pytest.raises(ArgumentError, match="expected 1 to"):
            tsne(digits[0][:50], perplexity=bad)


def test_features_that_cannot_be_laid_out() -> None:
    features = np.random.default_rng(3).normal(size=(20, 3))
    features[4, 1], features[7, 0] = np.nan, np.inf
    cases = {
        "2 of 20 examples are not finite, first of example 4": features,
        "the features of all 20 examples are the same": np.full((20, 3), 0.1),
        "3 examples are too few": features[:3],
        "features are .*int64": np.arange(20),
        "these are str32": np.array([["a"]] * 20),
    }
    for told, bad in cases.items():
        for of in (tsne, pca):
            with pytest.raises(DataError, match=told):
                of(bad)


@pytest.mark.parametrize("size", [1.0, 1e30, 1e-30])
def test_explained_variance_is_scikit_learns(digits: tuple[Array, Array], size: float) -> None:
    from sklearn.decomposition import PCA

    images = np.asarray(digits[0], np.float64)
    expected = PCA(3).fit(images.reshape(len(images), -1)).explained_variance_ratio_
    scaled = (images * size).astype(np.float32)
    np.testing.assert_allclose(explained(scaled, pca(scaled, 3)), expected, rtol=1e-4)
    line = np.outer(np.arange(5.0), [3, 4])
    np.testing.assert_allclose(explained(line, pca(line)), [1, 0], atol=1e-12)
