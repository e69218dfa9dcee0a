"""The small sets that scikit-learn carries along: nothing to download."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from cortex_compute.errors import DataError
from cortex_datasets.source import ArraySource, DataSet

Array = np.ndarray[Any, Any]

TEST_PART = 0.2


@dataclass(frozen=True, repr=False)
class ScikitSet(DataSet):
    """A set of scikit-learn with a fixed, stratified held-out test part (a fifth of each class).

    ``prepare(values, train)`` makes the float32 stream from scikit-learn's float64 values (examples,
    columns); ``train`` holds the rows of the training part, the only ones to take statistics from.
    """

    prepare: Callable[[Array, Array], Array]

    def load(self, split: str) -> ArraySource:
        self.check_split(split)
        values, labels = self._read()
        train, test = split_rows(labels)
        rows = {"train": train, "test": test}[split]
        content, label = self.streams
        return ArraySource(
            {content: self.prepare(values, train)[rows], label: labels[rows]},
            {name: stream.classes for name, stream in self.streams.items() if stream.classes},
        )

    def _read(self) -> tuple[Array, Array]:
        try:
            import sklearn.datasets
        except ImportError:
            raise DataError(
                f"{self.name} comes with scikit-learn, which is not installed:"
                " pip install 'cortex-nn[datasets]'"
            ) from None
        values, labels = getattr(sklearn.datasets, f"load_{self.name}")(return_X_y=True)
        columns = int(np.prod(next(iter(self.streams.values())).shape))
        expected = (sum(self.lengths.values()), columns)
        if values.shape != expected or len(labels) != len(values):
            raise DataError(
                f"{self.name}: scikit-learn {sklearn.__version__} gives values of shape {values.shape},"
                f" expected {expected}; install a version that carries the published set"
            )
        return values, labels.astype(np.int64)


def split_rows(labels: Array) -> tuple[Array, Array]:
    """The rows of the training and of the test part, each in a fixed random order.

    A fifth of each class, rounded, is held out.  The order comes from the raw words of Philox with key 0,
    which NumPy keeps the same in all versions (it does not promise that of ``permutation``).
    """
    order = np.argsort(np.random.Philox(key=0).random_raw(len(labels)), kind="stable")
    held_out = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        rows = order[labels[order] == label]
        held_out[rows[: round(TEST_PART * len(rows))]] = True
    return order[~held_out[order]], order[held_out[order]]


def standardize(values: Array, train: Array) -> Array:
    """Each column less its mean, over its standard deviation (ddof 0), both of the training rows."""
    mean, deviation = values[train].mean(axis=0), values[train].std(axis=0)
    return np.asarray((values - mean) / deviation, dtype=np.float32)


def grey_8x8(values: Array, train: Array) -> Array:
    """Sixteen grey levels, 0 .. 16, to images (8, 8, 1) in 0..1."""
    return (values / 16).astype(np.float32).reshape(-1, 8, 8, 1)
