"""Maximum and mean over windows."""

from __future__ import annotations

from typing import Any

from cortex_compute.errors import ArgumentError, ShapeError
from cortex_compute.primitives.pooling import AvgPool, AvgPoolGrad, MaxPool, MaxPoolGrad
from cortex_compute.types import TensorType
from cortex_gpu.cudnn import pooling as by_cudnn
from cortex_gpu.cudnn.constants import POOLING
from cortex_gpu.cudnn.library import Library
from cortex_gpu.cudnn.pooling import Windows
from cortex_gpu.ops.arrays import (
    Axes,
    Size,
    address,
    back,
    checked,
    compute,
    dims,
    each,
    either,
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

    ``mode``: "max" (padding never wins), "average" (over the elements of x alone), or "average, padding
    counts".  ``stride``: default is the size.
    """
    d = checked(x=x)
    form = _Form(x, size, stride, padding, mode, layout)

    def by_library(library: Library) -> Any:
        y = empty_like(x, form.result)
        by_cudnn.forward(library, form.windows(d), address(x), address(y))()
        return y

    return either(by_library, lambda: back(compute(form.primitive, images(x, form.last))[0], form.last), x)


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
    """The gradient of x from that of y.

    Of equal elements of a window one gets it, in equal runs the same one; by generated kernels the first.
    """
    d = checked(x=x, y=y, dy=dy)
    form = _Form(x, size, stride, padding, mode, layout)
    for name, a in (("y", y), ("dy", dy)):
        if tuple(a.shape) != form.result:
            raise ShapeError(f"{name} has shape {a.shape}; x {x.shape} gives {form.result}")

    def by_library(library: Library) -> Any:
        dx = empty_like(x)
        by_cudnn.backward(library, form.windows(d), address(y), address(dy), address(x), address(dx))()
        return dx

    def generated() -> Any:
        inside, g = images(x, form.last), images(dy, form.last)
        if mode == "max":
            made, winners = compute(form.primitive, inside)
            (dx,) = compute(MaxPoolGrad(**form.fields), inside, made, winners, g)
        else:
            p = AvgPoolGrad(**form.fields, count_padding=form.counting, shape=inside.shape)
            (dx,) = compute(p, g)
        return back(dx, form.last)

    return either(by_library, generated, x, dy)


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
