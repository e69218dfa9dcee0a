"""Layers that work at each step of a sequence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cortex_core.exchange.keras.build import Builder, Shape, Unfit


class Steps(Builder):
    """Puts what a translator puts, at each step of sequences: values have no axis of time for it."""

    def __init__(self, whole: Builder) -> None:
        self._whole = whole

    def name(self, wanted: str) -> str:
        return self._whole.name(wanted)

    def put(
        self,
        id_: str,
        kind: str,
        fields: Mapping[str, Any],
        sources: Sequence[str],
        weights: Mapping[str, np.ndarray],
        share: str = "",
        common: Mapping[str, Any] | None = None,
    ) -> str:
        if len(sources) > 1:
            raise Unfit(f"{kind} of several values is not supported at each step of a sequence")
        layer = {"layer": {kind: {**fields}}}
        return self._whole.put(id_, "time_distributed", layer, sources, weights, share, common)

    def shape(self, source: str) -> Shape:
        return self._whole.shape(source)[1:]

    def dtype(self, source: str) -> str:
        return self._whole.dtype(source)

    def knows(self, source: str) -> bool:
        return self._whole.knows(source)
