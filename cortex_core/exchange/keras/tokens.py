"""Which inputs are tokens: in Keras an embedding rounds its input, an input here says that it is whole."""

from __future__ import annotations

from collections.abc import Mapping

from cortex_core.exchange.keras.model import Layer, Model, Out
from cortex_core.exchange.keras.order import taken

COMPARISONS = ("Equal", "NotEqual", "Greater", "GreaterEqual", "Less", "LessEqual")
COMPARES = frozenset((*COMPARISONS, *(f"ops.{name}" for name in COMPARISONS)))
"""What masks of tokens are made with in Keras 3."""

Kinds = Mapping[Out, set[str]]


def tokens(model: Model) -> set[Out]:
    """The inputs of a model that embeddings take, and nothing else does."""
    kinds = _takers(model)
    return {
        out
        for out in model.inputs
        if "Embedding" in (found := kinds.get(out, set())) and found <= {"Embedding"} | COMPARES
    }


def _takers(model: Model) -> Kinds:
    """The classes of the layers that are called with each value, also of those in nested models."""
    found: dict[Out, set[str]] = {}
    for layer in model.layers:
        inside = _takers(layer.model) if layer.model is not None else {}
        for call in layer.calls:
            for place, out in enumerate(taken(call)):
                found.setdefault(out, set()).update(_takers_in(layer, place, inside))
    return found


def _takers_in(layer: Layer, place: int, inside: Kinds) -> set[str]:
    """The classes of what takes a value that a layer is called with, as the one at this place."""
    if layer.model is not None:
        inputs = layer.model.inputs
        return inside.get(inputs[place], set()) if place < len(inputs) else set()
    inner = layer.config.get("layer") if layer.kind == "TimeDistributed" else None
    return {inner["class_name"] if inner else layer.kind}
