"""`CortexClassifier`."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import ClassifierMixin  # type: ignore[import-untyped]
from sklearn.utils.multiclass import check_classification_targets  # type: ignore[import-untyped]
from sklearn.utils.validation import column_or_1d, validate_data  # type: ignore[import-untyped]

from cortex.sklearn.estimator import CortexEstimator
from cortex.sklearn.recipe import classes as telling


class CortexClassifier(ClassifierMixin, CortexEstimator):  # type: ignore[misc]
    """A network that tells classes apart.

    X (examples, features) is read as float32, y (examples,) holds labels of any kind.  The features are not
    scaled: put a StandardScaler before it, in a Pipeline.

    Parameters
    ----------
    hidden_layer_sizes : how many units each hidden dense layer has; () for none.
    activation : of the hidden layers, as descriptions name them: relu, tanh, gelu, ...
    description : instead of these two: a description (a dict, or the path of a YAML file) with one input, of
        as many numbers as X has features in any shape ([8, 8, 1] for pictures of 64 pixels), and one output,
        of a number for each class in the order of ``classes_``.  Its loss is softmax_cross_entropy or focal;
        without one the first.  X and y stand for its data, ``random_state`` for its seed.
    optimizer, learning_rate, schedule, batch_size, epochs : as under ``train`` in descriptions.  What is None
        is as the description says under ``train``; where there is no such section, as here: adamw with
        a weight_decay of 0.3 and a rate that runs through one_cycle up to 0.01 (of another optimizer: up to
        its own default), batches of at most 64, as equal as can be, and 30 epochs or as many as make
        100 steps.
    early_stopping : whether to hold examples out, to keep the epoch with the best score on them, and to
        stop when it has not improved for ``patience`` epochs.
    validation_fraction : how large a part of the examples early stopping holds out.
    patience : epochs.
    warm_start : whether a further fit starts from the weights that the last one left.
    random_state : decides the weights, the order of the examples, dropout, and what is held out.
    backend : what computes; see `cortex backends`.

    Attributes
    ----------
    classes_ : the labels, sorted.
    n_features_in_, feature_names_in_ : of X; names where X was a DataFrame with such.
    weights_ : parameters and running statistics by name, read-only.
    description_ : the description that was trained, as plain data.
    network_ : a new `cortex.Network` with both.
    loss_curve_, loss_, n_iter_ : the mean loss of each epoch, that of the last one, and how many there were.
    validation_scores_ : the accuracy after each epoch, of early stopping; else None.

    Raises `SpecError`, a ValueError, for parameters that are wrong, and `NonFiniteError` where the loss stops
    being finite.
    """

    classes_: np.ndarray

    def fit(self, X: Any, y: Any) -> CortexClassifier:
        """Trains a network on X (examples, features) and labels y (examples,)."""
        x, y = self._examples(X, y, reset=True)
        labels, codes = np.unique(y, return_inverse=True)
        if len(labels) < 2:
            raise ValueError(f"y has one class, {labels.tolist()[0]!r}: a classifier needs two at least")
        if self.warm_start and hasattr(self, "classes_") and not np.array_equal(self.classes_, labels):
            raise ValueError(f"warm_start needs the classes of before, {self.classes_}; y has {labels}")
        self._fit(x, codes.astype(np.int64), telling(len(labels)))
        self.classes_ = labels
        return self

    def partial_fit(self, X: Any, y: Any, classes: Any = None) -> CortexClassifier:
        """One pass over X and y, at a constant learning rate (0.001 unless given), going on with weights and
        moments.

        ``classes``: all labels that will ever come; needed by the first call.
        """
        fresh = not hasattr(self, "classes_")
        if fresh and classes is None:
            raise ValueError("classes is needed by the first call of partial_fit: all labels that will come")
        known = np.unique(classes) if fresh else self.classes_
        if classes is not None and not np.array_equal(known, np.unique(classes)):
            raise ValueError(f"classes is {classes!r:.60}, but before they were {known}")
        if len(known) < 2:
            raise ValueError(f"classes is {classes!r:.60}: a classifier needs two classes at least")
        x, y = self._examples(X, y, reset=fresh)
        unknown = np.setdiff1d(y, known)
        if len(unknown):
            raise ValueError(f"y holds {unknown.tolist()[0]!r}, which is none of the classes {known}")
        self._partial_fit(x, np.searchsorted(known, y), telling(len(known)))
        self.classes_ = known
        return self

    def predict_proba(self, X: Any) -> np.ndarray:
        """The probability of each class: float64 (examples, classes), in the order of ``classes_``."""
        found = self._outputs(X)
        found /= found.sum(axis=1, keepdims=True)  # float32 adds up to 1 within 1e-7; metrics want 1e-8
        return found

    def predict(self, X: Any) -> np.ndarray:
        """The most probable label of each example."""
        found = self._outputs(X).argmax(axis=1)
        labels: np.ndarray = self.classes_[found]
        return labels

    def _examples(self, given: Any, y: Any, reset: bool) -> tuple[np.ndarray, np.ndarray]:
        x, y = validate_data(self, given, y, reset=reset, dtype=np.float32, order="C")
        y = column_or_1d(y, warn=True)
        check_classification_targets(y)
        return x, y

    def _score(self, outputs: np.ndarray, y: np.ndarray) -> float:
        return float((outputs.argmax(axis=1) == y).mean())
