"""What a file says of the training of a layer, and a description does not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from cortex_core.exchange.keras.at import At

INNER = ("layer", "backward_layer", "forward_layer", "cell", "cells")


def penalties(at: At) -> Iterator[str]:
    """A note for each regularizer and constraint that no weight of the layer has here."""
    told = dict.fromkeys(key for key in _penalties(at.layer.config) if key not in at.penalised)
    yield from (f"{at.path}: its {key} is not imported" for key in told)


def _penalties(config: Any) -> Iterator[str]:
    """The fields of a configuration that hold one, also those of layers inside."""
    if isinstance(config, (list, tuple)):
        for inner in config:
            yield from _penalties(inner)
    elif isinstance(config, Mapping):
        own = config.get("config", config)
        for key, said in own.items() if isinstance(own, Mapping) else ():
            if key in INNER:
                yield from _penalties(said)
            elif said and key.endswith(("_regularizer", "_constraint")):
                yield key
