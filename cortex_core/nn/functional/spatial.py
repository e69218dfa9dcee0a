"""The way between PyTorch's order of axes, (N, C, *S), and the language's, (N, *S, C).

Both turns are views: between two layers they cancel, and nothing is copied for them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cortex_compute.errors import ShapeError
from cortex_core.ops.views import reshape, transpose


def channels_last(x: Any) -> Any:
    """(N, C, *S) -> (N, *S, C)"""
    return transpose(x, (0, *range(2, len(x.shape)), 1))


def channels_first(x: Any) -> Any:
    """(N, *S, C) -> (N, C, *S)"""
    rank = len(x.shape)
    return transpose(x, (0, rank - 1, *range(1, rank - 1)))


def over_images(what: str, spatial: int, x: Any, f: Callable[[Any], Any]) -> Any:
    """``f``, which takes (N, *S, C), applied to x (N, C, *S), or to one example (C, *S)."""
    rank = len(x.shape)
    if rank not in (spatial + 1, spatial + 2):
        axes = ("L", "H, W", "D, H, W")[spatial - 1]
        raise ShapeError(f"{what}: the input has shape {x.shape}; needs (N, C, {axes}) or (C, {axes})")
    if rank == spatial + 2:
        return channels_first(f(channels_last(x)))
    y = over_images(what, spatial, reshape(x, (1, *x.shape)), f)
    return reshape(y, y.shape[1:])
