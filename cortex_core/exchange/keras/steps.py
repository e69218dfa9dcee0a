"""Layers that work at each step of a sequence."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from typing import Any

import numpy as np

from cortex_core.exchange.build import Builder, Shape, Unfit

ELEMENTWISE = frozenset(
    ("add", "subtract", "multiply", "divide", "average", "maximum", "minimum", "logical_and", "logical_or")
)


class Steps(Builder):
    """Puts what a translator puts, at each step of sequences: values have no axis of time for it."""

    def __init__(self, whole: Builder) -> None:
        self._whole = whole

    def name(self, wanted: str, others: Container[str] = ()) -> str:
        return self._whole.name(wanted, others)

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
            return self._whole.put(id_, kind, _of_several(kind, fields), sources, weights, share, common)
        inner, mask = _without_mask(fields)
        outer = {"layer": {kind: inner}} | ({"mask": mask} if mask else {})
        return self._whole.put(id_, "time_distributed", outer, sources, weights, share, common)

    def shape(self, source: str) -> Shape:
        return self._whole.shape(source)[1:]

    def dtype(self, source: str) -> str:
        return self._whole.dtype(source)

    def knows(self, source: str) -> bool:
        return self._whole.knows(source)


def _of_several(kind: str, fields: Mapping[str, Any]) -> Mapping[str, Any]:
    """The fields of a layer that makes one value of several, of which all have an axis of time more."""
    if kind in ELEMENTWISE:
        return fields
    axis = fields.get("axis", -1)
    if kind == "concatenate":
        return {**fields, "axis": axis + 1 if axis > 0 else axis}
    raise Unfit(f"{kind} of several values is not supported at each step of a sequence")


def _without_mask(fields: Mapping[str, Any]) -> tuple[dict[str, Any], Any]:
    """The fields without the mask of the layer, or of the one that it turns around; and that mask."""
    left, mask = {**fields}, fields.get("mask")
    left.pop("mask", None)
    inner = fields.get("layer")
    if isinstance(inner, Mapping):
        ((kind, own),) = inner.items()
        if isinstance(own, Mapping):
            own, found = _without_mask(own)
            left["layer"], mask = {kind: own}, mask or found
    return left, mask
