"""The modules that fill the table of translators."""

from __future__ import annotations

from importlib import import_module

PACKAGE = "cortex_core.exchange.keras"
MODULES = (
    *("activations", "attention", "convolution", "core", "former", "functions", "images", "masks"),
    *("merging", "normalization", "pooling", "rearranging", "recurrent", "sequences", "shapes", "slicing"),
)


def load() -> None:
    """Makes every class known that can be imported."""
    for name in MODULES:
        import_module(f"{PACKAGE}.{name}")
