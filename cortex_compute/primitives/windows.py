"""Windows that slide along the axes of an array: what convolution and pooling share."""

from __future__ import annotations

Padding = tuple[tuple[int, int], ...]
"""For each spatial axis: how many elements are added before and after."""


def window_count(
    n: int, size: int, stride: int, padding: tuple[int, int], dilation: int = 1, ceil: bool = False
) -> int:
    """How many windows there are along an axis of ``n`` elements; below 1 if not even one fits.

    With ``ceil`` the last window may reach beyond the padding, but not start in the padding behind, as in
    PyTorch.
    """
    before, after = padding
    room = n + before + after - (dilation * (size - 1) + 1)
    if not ceil:
        return room // stride + 1
    count = -(-room // stride) + 1
    return count - 1 if (count - 1) * stride >= n + before else count
