"""Pooling over windows, over everything, and to a size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from cortex_core.exchange.to_keras.at import At, Shape, exports
from cortex_core.exchange.to_keras.convolution import padded, rank
from cortex_core.exchange.to_keras.graph import Tensor
from cortex_core.layers.windows import same_padding

KINDS = {"max": "Max", "avg": "Average"}
RANKS = (1, 2, 3)


def _class(at: At) -> str:
    """AveragePooling2D for (global, adaptive) avg_pool2d."""
    *_, kind, pool = at.kind.split("_")
    return f"{KINDS[kind]}Pooling{pool[-2:].upper()}"


@exports(
    *(f"max_pool{n}d" for n in RANKS),
    to="`MaxPooling1D` to `3D`; margins as copies of the border, which change no maximum",
)
def largest(at: At) -> Tensor:
    pairs = _margins(at)
    if pairs is None:
        return _pooled(at, at.x, at.layer.padding)
    return _pooled(at, bordered(at, at.x, pairs), "valid")


@exports(
    *(f"avg_pool{n}d" for n in RANKS),
    to="`AveragePooling1D` to `3D`; margins as zeros, and a factor for each place, since they do not count",
    refuses="margins of pictures of any size",
)
def mean(at: At) -> Tensor:
    """The mean over a window that reaches into zeros is too small by the part of it that does."""
    pairs = _margins(at)
    if pairs is None:
        return _pooled(at, at.x, at.layer.padding)
    sizes = at.known(at.x, "its margin does not count, which takes a factor for each place")[:-1]
    y = _pooled(at, padded(at, at.x, pairs), "valid")
    factor = np.ones((), np.float64)
    for n, pair, k, s in zip(sizes, pairs, at.layer.size, at.layer.stride):
        inside = np.pad(np.ones(n), pair)
        counts = np.array([inside[i : i + k].sum() for i in range(0, len(inside) - k + 1, s)])
        factor = np.multiply.outer(factor, k / counts)
    return at.put("Rescaling", y, part="counted", scale=factor[..., None].tolist(), offset=0.0)


def _margins(at: At) -> Sequence[Sequence[int]] | None:
    """Those that Keras has no word for."""
    padding = at.layer.padding
    if isinstance(padding, str) or not any(map(any, padding)):
        return None
    sizes = at.x.shape[:-1]
    known = [n for n in sizes if n is not None]
    same = len(known) == len(sizes) and same_padding(known, at.layer.size, at.layer.stride) == padding
    return None if same else padding


def _pooled(at: At, x: Tensor, padding: Any) -> Tensor:
    if not isinstance(padding, str):
        padding = "same" if any(map(any, padding)) else "valid"
    config = {"pool_size": [*at.layer.size], "strides": [*at.layer.stride], "padding": padding}
    return at.put(_class(at), x, **config)


def bordered(at: At, x: Tensor, pairs: Sequence[Sequence[int]], part: str = "border") -> Tensor:
    """x with its border repeated: copies of the first and the last place of an axis stand beside it."""
    for axis, (before, after) in enumerate(pairs, 1):
        if not before and not after:
            continue
        whole = [slice(None)] * axis
        ends: list[Tensor] = []
        for place in (slice(0, 1), slice(-1, None)):
            name, shape = f"{part}_{axis}_{'last' if ends else 'first'}", _with(x.shape, axis, 1)
            ends.append(at.op("GetItem", x, [*whole, place], part=name, shape=shape, gives=x.dtype))
        size = x.shape[axis - 1]
        shape = _with(x.shape, axis, size if size is None else size + before + after)
        parts = [ends[0]] * before + [x] + [ends[1]] * after
        x = at.put("Concatenate", parts, part=f"{part}_{axis}", shape=shape, axis=axis)
    return x


def _with(shape: Shape, axis: int, size: int | None) -> Shape:
    return (*shape[: axis - 1], size, *shape[axis:])


@exports(
    *(f"global_{kind}_pool{n}d" for kind in KINDS for n in RANKS),
    to="`GlobalMaxPooling1D` to `3D`, `GlobalAveragePooling1D` to `3D`",
)
def everything(at: At) -> Tensor:
    return at.put(f"Global{_class(at)}", at.x, keepdims=at.layer.keepdims)


@exports(
    *(f"adaptive_{kind}_pool{n}d" for kind in KINDS for n in RANKS),
    to="pooling over windows, or over everything, where the size divides that of the input; else "
    "`AdaptiveMaxPooling1D` to `3D`, `AdaptiveAveragePooling1D` to `3D`, which older Keras 3 lacks",
)
def to_a_size(at: At) -> Tensor:
    """Windows of one size, where the output divides the input, are those of any version of Keras."""
    size, sizes = [*at.layer.size], at.x.shape[:-1]
    if set(size) == {1}:
        return at.put(f"Global{_class(at)}", at.x, keepdims=True)
    if all(n is not None and n % m == 0 for n, m in zip(sizes, size)):
        steps = [(n or 0) // m for n, m in zip(sizes, size)]
        return at.put(_class(at), at.x, pool_size=steps, strides=steps, padding="valid")
    return at.put(f"Adaptive{_class(at)}", at.x, output_size=size if rank(at) > 1 else size[0])
