"""Gradients that hold some rows only: those of a table from which rows were gathered.

A step on a small batch touches few rows of a large embedding.  `Rows` is a Tensor like any other, whose
numbers are put together when somebody looks at them; optimisers that can (SGD and Adagrad without momentum
and decay, Adam with ``lazy=True``) read the rows alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from cortex_compute.primitives.base import Primitive
from cortex_compute.primitives.indexing import ScatterRows
from cortex_compute.types import TensorType
from cortex_core import changes
from cortex_core.modes import MODE, no_grad
from cortex_core.ops.apply import apply
from cortex_core.tensor import Tensor


class Rows(Tensor):
    """Zeros of ``type``, to whose rows ``ids`` (n,) the ``values`` (n, ...) are added; ids may repeat."""

    __slots__ = ("_ids", "_values", "_whole")

    def __init__(self, ids: Any, values: Any, type: TensorType, machine: Any) -> None:
        self._ids, self._values, self._whole = ids, values, None
        self.type, self.machine = type, machine
        self.node, self.index, self.grad, self._extra = None, 0, None, None
        self._requires_grad = False

    @property
    def _data(self) -> Any:
        if self._whole is None:
            primitive = ScatterRows(0, self.shape[0])
            self._whole = apply(primitive, Tensor(self._ids), Tensor(self._values))._data
            self._values = None  # from here on the rows are those of the whole, which may be changed
        return self._whole

    @_data.setter
    def _data(self, whole: Any) -> None:
        self._whole, self._values = whole, None

    @property
    def is_sparse(self) -> bool:
        return True

    def coalesced(self) -> tuple[np.ndarray, np.ndarray]:
        """The rows that are there, in order and each once, and their numbers: (n,) int64, (n, ...)."""
        if self._whole is not None:  # which somebody may have changed, also where there was no row
            there = self._whole.any(axis=tuple(range(1, self.ndim)))
            there[self._ids] = True
            ids = np.flatnonzero(there)
            return ids, self._whole[ids]
        ids, places = np.unique(self._ids, return_inverse=True)
        if ids.size == self._ids.size:
            values = np.empty_like(self._values)
            values[places] = self._values
            return ids, values
        added = apply(ScatterRows(0, ids.size), Tensor(places.reshape(-1)), Tensor(self._values))
        return ids, added._data

    def __deepcopy__(self, memo: Any) -> Tensor:
        return self.detach().clone()

    def __add__(self, other: Any) -> Any:
        if isinstance(other, Rows) and other.type == self.type and None is self._whole is other._whole:
            ids = np.concatenate([self._ids, other._ids])
            return Rows(ids, np.concatenate([self._values, other._values]), self.type, self.machine)
        return super().__add__(other)


def scatter(primitive: Any, ids: Any, g: Tensor) -> Rows | None:
    """The gradient of a gather of rows, if it need not be differentiated again."""
    if primitive.axis or MODE.get().recording:
        return None
    changes.check([ids])
    places = np.asarray(ids).reshape(-1).astype(np.int64)
    if places.size:
        np.clip(places, 0, primitive.size - 1, out=places)  # as the kernels take them
    rest = g.shape[len(ids.shape) :]
    values = g.data.reshape(places.size, *rest)
    return Rows(places, values, TensorType((primitive.size, *rest), g.dtype), g.machine)


def update(
    primitive: Primitive, gradient: Rows, arrays: Sequence[np.ndarray], scalars: Sequence[float]
) -> None:
    """Applies an optimiser's ``primitive`` (parameter, gradient, moments, scalars) to the rows of the
    parameter and its moments, ``arrays``, that the gradient touches.
    """
    ids, values = gradient.coalesced()
    parameter, *moments = (a[ids] for a in arrays)
    numbers = (np.asarray(x, parameter.dtype) for x in scalars)
    with no_grad():
        new = apply(primitive, *map(Tensor, (parameter, values, *moments, *numbers)))
    for a, part in zip(arrays, new if isinstance(new, tuple) else (new,)):
        a[ids] = part.data
