"""Streams made of a stream of the data, for losses: ``target: {index: scores}``.

``derive(x)`` makes the stream of a batch ``x`` of the one that ``of`` names.  ``given(wanted, x)`` is the
type of that one where no data tells it, for a stream of the type ``wanted`` beside a node of type ``x``.
``wrong(x)``, if there is one, is the first example of the data of which it cannot be made, and why.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from cortex_compute.errors import ShapeError
from cortex_compute.types import TensorType, float32, int64
from cortex_core.layers.expect import reasoned
from cortex_core.losses.common import Wrong, wrong_class
from cortex_core.ops.indexing import one_hot
from cortex_core.ops.pointwise import cast, divide, equal
from cortex_core.ops.reduce import argmax
from cortex_core.ops.reduce import sum as total
from cortex_core.ops.views import reshape
from cortex_core.registry import field, stream


@stream("index")
class Index:
    """The place of the largest number on the last axis, as of a label that is one-hot.   (..., n) -> (...)"""

    of: str = field(doc="the stream")

    def derive(self, x: Any) -> Any:
        if len(x.shape) < 2:
            raise reasoned(
                ShapeError, f"'{self.of}' is one number", "index needs scores (..., n) of each example"
            )
        return argmax(x, -1)

    def given(self, wanted: TensorType, x: TensorType) -> TensorType:
        return TensorType((*wanted.shape, x.shape[-1]), float32)


@stream("one_hot")
class OneHot:
    """1 at the place that a whole number says, else 0.   (...) -> (..., classes)"""

    of: str = field(doc="the stream")
    classes: int = field(doc="how many places there are", minimum=1)

    def derive(self, x: Any) -> Any:
        return one_hot(x, self.classes)

    def wrong(self, x: np.ndarray) -> Wrong:
        return wrong_class(x, self.classes)

    def given(self, wanted: TensorType, x: TensorType) -> TensorType:
        return TensorType(wanted.shape[:-1], int64)


@stream("inverse_counts")
class InverseCounts:
    """1 / n, where n examples of the batch have the same label.   (B,) -> (B,)

    As weights of examples they give each class of a batch the same weight.
    """

    of: str = field(doc="the stream")

    def derive(self, x: Any) -> Any:
        if x.size != x.shape[0]:
            needs = "inverse_counts needs one label for each example"
            raise reasoned(ShapeError, f"'{self.of}' is {x.shape[1:]}", needs)
        rows, columns = reshape(x, (x.shape[0], 1)), reshape(x, (1, x.shape[0]))
        return divide(1.0, total(cast(equal(rows, columns), float32), 1))

    def given(self, wanted: TensorType, x: TensorType) -> TensorType:
        return TensorType(wanted.shape, int64)
