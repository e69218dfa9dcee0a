"""Windows that slide over spatial axes: what `same` padding means, and whether a window fits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cortex_compute.primitives.windows import window_count
from cortex_core.layers.expect import refuse

Pairs = tuple[tuple[int, int], ...]


def paddings(
    layer: Any, x: Any, window: Sequence[int], stride: Sequence[int], padding: Any, dilation: Sequence[int]
) -> Pairs:
    """(before, after) for each spatial axis of x; a window that does not fit in is refused."""
    sizes = x.shape[1:-1]
    if padding == "valid":
        pairs: Pairs = ((0, 0),) * len(sizes)
    elif padding == "same":
        pairs = same_padding(sizes, [(k - 1) * d + 1 for k, d in zip(window, dilation)], stride)
    else:
        pairs = padding
    window_counts(layer, x, window, stride, pairs, dilation)
    return pairs


def window_counts(
    layer: Any, x: Any, window: Sequence[int], stride: Sequence[int], padding: Pairs, dilation: Sequence[int]
) -> tuple[int, ...]:
    """How many windows there are along each spatial axis of x; one that does not fit in is refused."""
    counts = tuple(map(window_count, x.shape[1:-1], window, stride, padding, dilation))
    if min(counts) < 1:
        reach = tuple((k - 1) * d + 1 for k, d in zip(window, dilation))
        refuse(f"{layer.kind} has a window of {reach}, which does not fit into it", x)
    return counts


def same_padding(sizes: Sequence[int], reach: Sequence[int], stride: Sequence[int]) -> Pairs:
    """(before, after) of `same` for each axis: ceil(n / stride) windows, each reaching over ``reach``.

    What must be added is halved, and of an odd number the larger half goes behind.
    """
    needs = [max(0, (-(-n // s) - 1) * s + r - n) for n, r, s in zip(sizes, reach, stride)]
    return tuple((n // 2, n - n // 2) for n in needs)
