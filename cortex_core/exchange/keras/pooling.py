"""Pooling over windows, over everything, and to a size."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from cortex_core.exchange.keras.at import At, translates
from cortex_core.exchange.keras.convolution import numbers
from cortex_core.exchange.keras.sequences import masked_mean
from cortex_core.exchange.keras.value import Value


def _ours(at: At) -> str:
    """avg_pool2d for (Global, Adaptive) AveragePooling2D."""
    kind = at.kind.removeprefix("Global").removeprefix("Adaptive")
    return f"{'max' if kind.startswith('Max') else 'avg'}_pool{kind[-2:].lower()}"


@translates(*(f"{kind}Pooling{rank}D" for kind in ("Max", "Average") for rank in (1, 2, 3)))
def windows(at: At) -> Value:
    x = at.channels(at.any())
    rank = len(x.shape) - 1
    strides = numbers(at, "strides", rank) if at.get("strides", None) else None
    padding = at.expect("padding", "valid", "same")
    return at.put(_ours(at), x, size=numbers(at, "pool_size", rank), stride=strides, padding=padding)


@translates(*(f"Global{kind}Pooling{rank}D" for kind in ("Max", "Average") for rank in (1, 2, 3)))
def everything(at: At) -> Value:
    x = at.channels(at.any())
    mask = at.mask_of(x) if at.kind == "GlobalAveragePooling1D" else None
    if mask:
        return masked_mean(at, replace(x, moved=False), mask)
    keeps = bool(at.get("keepdims", False))
    y = at.put(f"global_{_ours(at)}", x, keepdims=keeps)
    return y if keeps else replace(y, moved=False)


@translates(*(f"Adaptive{kind}Pooling{rank}D" for kind in ("Max", "Average") for rank in (1, 2, 3)))
def to_a_size(at: At) -> Value:
    x = at.channels(at.any())
    size: Any = numbers(at, "output_size", len(x.shape) - 1)
    return at.put(f"adaptive_{_ours(at)}", x, size=size)
