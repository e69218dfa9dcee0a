"""Features of examples as points of a plane: by principal components, and by t-SNE, which keeps neighbours.

scikit-learn does both; openTSNE, where it is installed, has a faster t-SNE.  The same features, seed,
libraries and number of threads give the same points.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import numpy as np

from cortex_compute.errors import ArgumentError, DataError
from cortex_compute.threads import threads

Array = np.ndarray[Any, Any]

PERPLEXITY = 30.0
FEWEST = 4  # points: a perplexity is at least 1, and needs three neighbours for each 1
FEW = 3_000  # points that one thread lays out: on a busy machine two of them mostly wait for each other
MANY = 20_000  # points from which on openTSNE's interpolation is faster than its trees
CHUNK = 1 << 22  # distances that are held at once
WORK = 5e11  # multiplications that a measure of trust may take, some ten seconds


def pca(features: Any, components: int = 2, seed: int = 0) -> Array:
    """The first principal components (n, components) of features (n, ...), largest first.

    Where there are fewer, the columns that are missing are 0.  The seed matters to large features alone,
    whose components scikit-learn finds by random projections (Halko et al., 2011).  Raises `DataError` for
    features that are not finite or equal for all examples, ImportError where scikit-learn is absent.
    """
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    given = _matrix(features)
    from sklearn.decomposition import PCA  # type: ignore[import-untyped]

    kept = min(components, *given.shape)
    scaled, exponent = _scaled(given)
    scaled -= scaled.mean(axis=0)
    with threadpool_limits(threads()):
        found = PCA(kept, copy=False, random_state=seed).fit_transform(scaled).astype(np.float64)
    return np.pad(np.ldexp(found, exponent), ((0, 0), (0, components - kept)))


def explained(features: Any, points: Any) -> Array:
    """Which share of the variance of features (n, ...) each component of ``points`` (n, components) has."""
    given, exponent = _scaled(_matrix(features).astype(np.float64))
    own = np.ldexp(np.asarray(points, np.float64), -exponent).var(axis=0)
    return np.asarray(own / given.var(axis=0).sum())


def tsne(features: Any, perplexity: float | None = None, seed: int = 0, components: int = 50) -> Array:
    """Points (n, 2) of which those are near whose features (n, ...) are (van der Maaten and Hinton, 2008).

    ``perplexity``: how many neighbours each point has, roughly; 30 by default, and a third of the other
    points where they are fewer than 90.  Features of more than ``components`` numbers are first reduced to
    their principal components.  The points start at the first two of these, disturbed a little by ``seed``.

    Raises `ArgumentError` for a perplexity that so few points do not have; otherwise as `pca`.
    """
    given = _matrix(features)
    perplexity = perplexity_of(perplexity, len(given))
    reduced = pca(given, max(2, min(components, given.shape[1])), seed)
    reduced, _ = _scaled(reduced)
    reduced /= reduced[:, 0].std()
    start = 1e-4 * reduced[:, :2]
    start += np.random.Generator(np.random.Philox(seed)).normal(0, 1e-6, start.shape)
    made = _open_tsne if find_spec("openTSNE") else _scikit_tsne
    return made(reduced, start, perplexity, seed)


def library() -> str:
    """What computes `tsne`, with its version."""
    from importlib.metadata import version

    name = "openTSNE" if find_spec("openTSNE") else "scikit-learn"
    return f"{name} {version(name)}"


def trustworthiness(features: Any, points: Any, neighbours: int = 5) -> float:
    """How far the neighbours of points (n, 2) are neighbours of features (n, ...), too: 1 if all of them are,
    about 0.5 if they are chosen by chance (Venna and Kaski, 2001).

    As scikit-learn's, in the memory of the features in float64, twice at most, and no n² numbers.  Where it
    would take more than some ten seconds, it is the mean over some of the points, evenly chosen.  Raises
    `ArgumentError` for too many neighbours.
    """
    from sklearn.neighbors import NearestNeighbors  # type: ignore[import-untyped]
    from threadpoolctl import threadpool_limits

    given, places = _matrix(features), np.asarray(points, np.float64)
    n = len(given)
    if len(places) != n:
        raise DataError(f"there are {n} examples and {len(places)} points")
    if not 1 <= neighbours < n / 2:
        raise ArgumentError(f"neighbours is {neighbours}: expected 1 to {(n - 1) // 2}, for {n} points")
    given, _ = _scaled(given.astype(np.float64))
    given -= given.mean(axis=0)
    chosen = np.unique(np.linspace(0, n - 1, min(n, max(1, int(WORK / given.size)))).astype(np.intp))
    with threadpool_limits(threads()):
        near = NearestNeighbors(n_neighbors=neighbours).fit(places).kneighbors(return_distance=False)
        surplus = sum(
            np.maximum(0, _ranks(given, rows, near[rows]) - neighbours).sum()
            for rows in np.array_split(chosen, -(-len(chosen) * n // CHUNK))
        )
    worst = len(chosen) * neighbours * (2 * n - 3 * neighbours - 1) / 2
    return float(1 - surplus / worst)


def _ranks(given: Array, rows: Array, near: Array) -> Array:
    """For each row and each of its ``near`` ones: which nearest neighbour that is, counted from 1."""
    # |a - b|² = |a|² + |b|² - 2 ab, and |a|² changes no order.
    distances = np.einsum("ij,ij->i", given, given) - 2 * (given[rows] @ given.T)
    distances[np.arange(len(rows)), rows] = np.inf  # nobody is a neighbour of its own
    own = np.take_along_axis(distances, near, axis=1)
    ranks = [(distances < own[:, i : i + 1]).sum(axis=1) + 1 for i in range(near.shape[1])]
    return np.stack(ranks, axis=1)


def _matrix(features: Any) -> Array:
    """The features as (n, d) floats."""
    given = np.asarray(features)
    if given.ndim < 2 or given.dtype.kind not in "fiub" or not given.size:
        raise DataError(f"features are (examples, ...) numbers; these are {given.dtype.name} {given.shape}")
    given = given.reshape(len(given), -1)
    if given.dtype != np.float64:
        given = given.astype(np.float32, copy=False)
    if len(given) < FEWEST:
        raise DataError(f"{len(given)} examples are too few to lay out: at least {FEWEST} are needed")
    finite = np.isfinite(given).all(axis=1)
    if not finite.all():
        bad, first = int((~finite).sum()), int(np.argmin(finite))
        raise DataError(
            f"the features of {bad} of {len(given)} examples are not finite, first of example {first}"
        )
    if (given == given[0]).all():
        raise DataError(
            f"the features of all {len(given)} examples are the same: there is nothing to lay out"
        )
    return given


def _scaled(given: Array) -> tuple[Array, int]:
    """A copy within -1..1, and the power of two by which it was divided: no sum and no square of it is too
    large for its dtype."""
    exponent = int(np.frexp(np.abs(given).max())[1])
    return np.ldexp(given, -exponent), exponent


def perplexity_of(asked: float | None, count: int) -> float:
    """The perplexity for so many points.  Raises `ArgumentError` for one that they do not have."""
    most = (count - 1) / 3
    if asked is None:
        return min(PERPLEXITY, most)
    if not 1 <= asked <= most + 1e-9:
        need = "" if not asked > most else f"; {asked:g} needs {int(np.ceil(3 * asked)) + 1:,} examples"
        raise ArgumentError(
            f"perplexity is {asked:g}: expected 1 to {most:g}, a third of the others of {count}{need}"
        )
    return asked


def _open_tsne(reduced: Array, start: Array, perplexity: float, seed: int) -> Array:
    from openTSNE import TSNE  # type: ignore[import-untyped]
    from openTSNE.affinity import PerplexityBasedNN  # type: ignore[import-untyped]

    # All neighbours are found exactly: up to some 50,000 points that is no slower than an index of them.
    jobs = threads() if len(reduced) > FEW else 1
    affinities = PerplexityBasedNN(reduced, perplexity, method="exact", n_jobs=jobs, random_state=seed)
    gradient = "bh" if len(reduced) <= MANY else "fft"
    made = TSNE(n_jobs=jobs, random_state=seed, negative_gradient_method=gradient)
    return np.array(made.fit(affinities=affinities, initialization=start), np.float64)


def _scikit_tsne(reduced: Array, start: Array, perplexity: float, seed: int) -> Array:
    from sklearn.manifold import TSNE  # type: ignore[import-untyped]
    from threadpoolctl import threadpool_limits

    made = TSNE(perplexity=perplexity, init=start, random_state=seed, n_jobs=threads())
    with threadpool_limits(threads()):
        return np.array(made.fit_transform(reduced), np.float64)
