"""Which inputs are tokens: in Keras an embedding rounds its input, an input here says that it is whole."""

from __future__ import annotations

from collections.abc import Iterator

from cortex_core.exchange.keras.model import Layer, Model, Out
from cortex_core.exchange.keras.order import taken

COMPARES = ("ops.NotEqual", "NotEqual")
"""What Keras 3 makes masks with."""


def is_tokens(model: Model, out: Out) -> bool:
    """Whether embeddings take a value, and nothing else does."""
    kinds = set(_takers(model, out))
    return "Embedding" in kinds and kinds <= {"Embedding", *COMPARES}


def _takers(model: Model, out: Out) -> Iterator[str]:
    """The classes of the layers that are called with a value, also of those in nested models."""
    for layer in model.layers:
        for call in layer.calls:
            for place in (i for i, one in enumerate(taken(call)) if one == out):
                yield from _takers_in(layer, place)


def _takers_in(layer: Layer, place: int) -> Iterator[str]:
    if layer.model is None:
        inner = layer.config.get("layer") if layer.kind == "TimeDistributed" else None
        yield inner["class_name"] if inner else layer.kind
    elif place < len(layer.model.inputs):
        yield from _takers(layer.model, layer.model.inputs[place])
