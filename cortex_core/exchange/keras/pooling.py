"""Pooling over windows, over everything, and to a size."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from cortex_core.exchange.keras.at import At, translates
from cortex_core.exchange.keras.convolution import around, numbers
from cortex_core.exchange.keras.legacy import OF_THEANO
from cortex_core.exchange.keras.sequences import masked_mean
from cortex_core.exchange.keras.value import Value

COUNTS_ZEROS = (2, 0, 4), (2, 1, 5)
"""From the first of these versions until before the last, means counted the zeros around, on Theano."""


def _ours(at: At) -> str:
    """avg_pool2d for (Global, Adaptive) AveragePooling2D."""
    kind = at.kind.removeprefix("Global").removeprefix("Adaptive")
    return f"{'max' if kind.startswith('Max') else 'avg'}_pool{kind[-2:].lower()}"


@translates(*(f"{kind}Pooling{rank}D" for kind in ("Max", "Average") for rank in (1, 2, 3)))
def windows(at: At) -> Value:
    x = at.channels(at.any())
    rank = len(x.shape) - 1
    size = numbers(at, "pool_size", rank)
    strides = numbers(at, "strides", rank) if at.get("strides", None) else None
    padding = at.expect("padding", "valid", "same", OF_THEANO)
    if padding == OF_THEANO:
        before = [n - 2 if n > 2 and n % 2 else n - 1 for n in size]
        if at.kind in ("AveragePooling1D", "AveragePooling2D") and _counts_zeros(at):
            margins = [[b, n - 1 - b] for b, n in zip(before, size)]
            x, padding = at.put(f"padding{rank}d", x, part="zeros", padding=margins), "valid"
        else:
            padding = around(before, [n - 1 for n in size], strides or size)
    return at.put(_ours(at), x, size=size, stride=strides, padding=padding)


def _counts_zeros(at: At) -> bool:
    return COUNTS_ZEROS[0] <= at.version < COUNTS_ZEROS[1]


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
