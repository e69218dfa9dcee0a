"""The modules that fill the table of translators."""

from __future__ import annotations

from importlib import import_module

from cortex_core.exchange.to_keras.at import REFUSED, TABLE, At, Result, Unfit

PACKAGE = "cortex_core.exchange.to_keras"
MODULES = (
    *("dense", "activations", "convolution", "pooling", "normalization", "noise", "shapes", "merging"),
    *("arithmetic", "recurrent", "attention", "masks", "steps"),
)


def load() -> None:
    """Makes every layer known that can be exported, or that is known to be refused."""
    for name in MODULES:
        import_module(f"{PACKAGE}.{name}")


def translated(at: At) -> Result:
    """What becomes of a layer.  Raises `Unfit`."""
    load()
    if at.kind not in TABLE:
        other = (
            "it is a layer of your own, which Keras does not know; write it as a block of layers that it does"
        )
        raise Unfit(REFUSED.get(at.kind, other))
    return TABLE[at.kind].translator(at)
