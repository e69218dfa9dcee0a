"""Maximum and mean over windows."""

from __future__ import annotations

from typing import Any

from cortex_compute.errors import ArgumentError, ShapeError
from cortex_compute.primitives.pooling import AvgPool, AvgPoolGrad, MaxPool, MaxPoolGrad
from cortex_compute.types import TensorType
from cortex_gpu.cudnn import pooling as by_cudnn
from cortex_gpu.cudnn.constants import POOLING
from cortex_gpu.cudnn.pooling import Windows
from cortex_gpu.ops.arrays import (
    Axes,
    Size,
    address,
    back,
    checked,
    compute,
    cudnn,
    dims,
    each,
    empty_like,
    images,
    last,
    pairs,
    planar,
    spatial,
)


def pooling(
    x: Any, size: Size, stride: Size | None = None, padding: Size = 0, mode: str = "max", layout: str = "NHWC"
) -> Any:
    """The maximum or mean over windows of ``size``.  x (N, *S, C) -> (N, *S', C), or channels first.

    ``mode``: "max" (padding never wins, NaN does), "average" (over the elements of x alone), or "average,
    padding counts".  ``stride``: default is the size.
    """
    d = checked(x=x)
    form = _Form(x, size, stride, padding, mode, layout)
    if (library := cudnn()) is not None:
        y = empty_like(x, form.result)
        by_cudnn.forward(library, form.windows(d), address(x), address(y))()
        return y
    return back(compute(form.primitive, images(x, form.last))[0], form.last)


def pooling_backward(
    x: Any,
    y: Any,
    dy: Any,
    size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    mode: str = "max",
    layout: str = "NHWC",
) -> Any:
    """The gradient of x from that of y; of equal elements of a window the first one gets it."""
    d = checked(x=x, y=y, dy=dy)
    form = _Form(x, size, stride, padding, mode, layout)
    for name, a in (("y", y), ("dy", dy)):
        if tuple(a.shape) != form.result:
            raise ShapeError(f"{name} has shape {a.shape}; x {x.shape} gives {form.result}")
    if (library := cudnn()) is not None:
        dx = empty_like(x)
        by_cudnn.backward(library, form.windows(d), address(y), address(dy), address(x), address(dx))()
        return dx
    g = images(dy, form.last)
    if mode == "max":
        inside = images(x, form.last)
        made, winners = compute(form.primitive, inside)
        (dx,) = compute(MaxPoolGrad(**form.fields), inside, made, winners, g)
    else:
        shape = images(x, form.last).shape
        (dx,) = compute(AvgPoolGrad(**form.fields, count_padding=form.counting, shape=shape), g)
    return back(dx, form.last)


class _Form:
    """Windows over an image in one of the layouts."""

    def __init__(
        self, x: Any, size: Size, stride: Size | None, padding: Size, mode: str, layout: str
    ) -> None:
        if mode not in POOLING:
            raise ArgumentError(f"mode is {mode!r}; known are {', '.join(map(repr, POOLING))}")
        axes, self.last, self.mode, self.x = spatial("x", x), last(layout), mode, tuple(x.shape)
        self.counting = mode == "average, padding counts"
        self.fields: dict[str, Any] = {
            "size": each("size", size, axes),
            "stride": each("stride", size if stride is None else stride, axes),
            "padding": pairs(padding, axes),
        }
        inner = self.x if self.last else (self.x[0], *self.x[2:], self.x[1])
        n, *rest, channels = self.primitive.pooled(TensorType(inner)).shape
        self.result: Axes = (n, *rest, channels) if self.last else (n, channels, *rest)

    @property
    def primitive(self) -> MaxPool | AvgPool:
        if self.mode == "max":
            return MaxPool(**self.fields)
        return AvgPool(**self.fields, count_padding=self.counting)

    def windows(self, d: Any) -> Windows:
        f = self.fields
        return Windows(
            mode=self.mode,
            x=dims(self.x, self.last),
            y=dims(self.result, self.last),
            size=planar(f["size"]),
            padding=planar(tuple(p for p, _ in f["padding"]), 0),
            stride=planar(f["stride"]),
            dtype=d,
            channels_last=self.last,
        )
