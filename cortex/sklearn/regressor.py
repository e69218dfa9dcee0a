"""`CortexRegressor`."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.base import RegressorMixin  # type: ignore[import-untyped]
from sklearn.metrics import r2_score  # type: ignore[import-untyped]
from sklearn.utils.validation import validate_data  # type: ignore[import-untyped]

from cortex.sklearn.estimator import CortexEstimator
from cortex.sklearn.recipe import Task, targets

LARGE = 100
"""Beyond this mean or standard deviation of y, weights and rates that suit numbers of about 1 fall short."""


class CortexRegressor(RegressorMixin, CortexEstimator):  # type: ignore[misc]
    """A network that predicts one number or several.

    X (examples, features) and y, (examples,) or (examples, targets), are read as float32.  Neither is scaled:
    put a StandardScaler before it, in a Pipeline, and a TransformedTargetRegressor around it.  `fit` warns
    where the mean or the standard deviation of a target is above 100 and no ``description`` is given.

    The parameters are those of `CortexClassifier`.  The output of a ``description`` is a number for each
    target; its loss is mse, mae, huber or censor_loss; without one the first.

    Attributes are those of `CortexClassifier`, without ``classes_``; ``validation_scores_`` are R².
    """

    def fit(self, X: Any, y: Any) -> CortexRegressor:
        """Trains a network on X (examples, features) and y, (examples,) or (examples, targets)."""
        return self._trained(self._fit, X, y, reset=True)

    def partial_fit(self, X: Any, y: Any) -> CortexRegressor:
        """One pass over X and y, at a constant learning rate (0.001 unless given), going on with weights and
        moments."""
        return self._trained(self._partial_fit, X, y, reset=not hasattr(self, "weights_"))

    def predict(self, X: Any) -> np.ndarray:
        """The numbers of each example: float64, (examples,) or (examples, targets) as y was in fit."""
        found = self._outputs(X)
        return found[:, 0] if self._single else found

    def _trained(self, train: Callable[..., None], given: Any, y: Any, reset: bool) -> CortexRegressor:
        x, y = validate_data(
            self, given, y, reset=reset, dtype=np.float32, order="C", multi_output=True, y_numeric=True
        )
        with np.errstate(over="ignore"):  # told below
            numbers = np.ascontiguousarray(y.reshape(len(y), -1), np.float32)
        if not np.isfinite(numbers).all():
            told = f"y holds {y.flat[np.abs(y).argmax()]:g}, which is too large for float32"
            raise ValueError(f"{told}: scale y, as a TransformedTargetRegressor does")
        train(x, numbers, targets(numbers.shape[1]))
        self._single = y.ndim == 1  # only now: a training that was refused changes no prediction
        return self

    def _fit(self, x: np.ndarray, y: np.ndarray, task: Task) -> None:
        mean, spread = (np.abs(found(y, axis=0, dtype=np.float64)).max() for found in (np.mean, np.std))
        if self.description is None and max(mean, spread) > LARGE:
            told = f"y has a mean of {mean:.3g} and a standard deviation of {spread:.3g}"
            hint = "scale y: TransformedTargetRegressor(this estimator, transformer=StandardScaler())"
            warnings.warn(f"{told}, where this network suits numbers of about 1; {hint}", stacklevel=4)
        super()._fit(x, y, task)

    def _score(self, outputs: np.ndarray, y: np.ndarray) -> float:
        return float(r2_score(y, outputs))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags
