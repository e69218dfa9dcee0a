"""A classifier with scikit-learn's face that is fitted to a small set of scikit-learn's.

Started by `benchmarks.turns`.
"""

from __future__ import annotations

import warnings
from itertools import cycle
from typing import Any

from sklearn import datasets  # type: ignore[import-untyped]
from sklearn.model_selection import StratifiedKFold, cross_val_score  # type: ignore[import-untyped]
from sklearn.pipeline import make_pipeline  # type: ignore[import-untyped]
from sklearn.preprocessing import StandardScaler  # type: ignore[import-untyped]

from benchmarks.serve import Step, Task, serve

HIDDEN = (100,)
SEEDS = range(5)  # each of other folds and other first weights
FOLDS = 5


def make(task: Task) -> Step:
    """A step is a fit to four of five folds, the next four at each; it gives the cross-validated accuracy.

    Both estimators have the parameters that they have by themselves, behind a StandardScaler.
    """
    warnings.simplefilter("ignore")  # MLPClassifier's, that it has not converged in its 200 epochs
    x, y = getattr(datasets, f"load_{task['workload']}")(return_X_y=True)
    scores = [cross_val_score(classifier(task["way"], seed), x, y, cv=folds(seed)) for seed in SEEDS]
    accuracy = float(sum(map(sum, scores))) / (FOLDS * len(SEEDS))
    parts = cycle([train for train, _ in folds(0).split(x, y)])

    def step() -> float:
        train = next(parts)
        classifier(task["way"], 0).fit(x[train], y[train])
        return accuracy

    return step


def folds(seed: int) -> Any:
    return StratifiedKFold(FOLDS, shuffle=True, random_state=seed)


def classifier(way: str, seed: int) -> Any:
    """A new estimator: scikit-learn's own, or that of Cortex."""
    if way == "sklearn":
        from sklearn.neural_network import MLPClassifier as Kind  # type: ignore[import-untyped]
    else:
        from cortex.sklearn import CortexClassifier as Kind
    return make_pipeline(StandardScaler(), Kind(HIDDEN, random_state=seed))


if __name__ == "__main__":
    serve(make)
