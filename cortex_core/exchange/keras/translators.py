"""The modules that fill the table of translators."""

from __future__ import annotations

from importlib import import_module

from cortex_core.exchange.keras.at import TRANSLATORS, Translator

PACKAGE = "cortex_core.exchange.keras"
MODULES = (
    *("core", "shapes", "convolution", "pooling", "normalization", "merging", "recurrent", "functions"),
    *("rearranging", "attention", "slicing", "sequences", "images", "truths", "activations", "former"),
    *("reductions", "repeating", "products", "of_tensorflow"),
)
"""What most models hold comes first."""


def load() -> None:
    """Makes every class known that can be imported."""
    for name in MODULES:
        import_module(f"{PACKAGE}.{name}")


def find(kind: str) -> Translator | None:
    """The translator of a class.  Modules are imported in turn until one has it: a model needs few."""
    for name in MODULES:
        if kind in TRANSLATORS:
            break
        import_module(f"{PACKAGE}.{name}")
    return TRANSLATORS.get(kind)
