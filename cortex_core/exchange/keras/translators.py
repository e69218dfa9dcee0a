"""The modules that fill the table of translators."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec

PACKAGE = "cortex_core.exchange.keras"
MODULES = (
    *(
        "activations",
        "arithmetic",
        "attention",
        "convolution",
        "core",
        "masks",
        "merging",
        "normalization",
        "pooling",
    ),
    *("recurrent", "sequences", "shapes"),
)


def load() -> None:
    """Makes every class known that can be imported."""
    for name in MODULES:
        if find_spec(f"{PACKAGE}.{name}"):
            import_module(f"{PACKAGE}.{name}")
