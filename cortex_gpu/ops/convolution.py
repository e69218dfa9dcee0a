"""Convolution (cross-correlation, as everywhere in the field) and its two gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cortex_compute.errors import ShapeError
from cortex_compute.primitives.convolution import Conv, ConvInputGrad, ConvKernelGrad
from cortex_compute.types import TensorType
from cortex_gpu.cudnn import convolution as by_cudnn
from cortex_gpu.cudnn.convolution import Problem
from cortex_gpu.cudnn_convolution import Found
from cortex_gpu.ops.arrays import (
    Axes,
    Size,
    address,
    back,
    checked,
    compute,
    counted,
    dims,
    each,
    either,
    empty_like,
    here,
    images,
    kernels,
    kernels_back,
    last,
    pairs,
    planar,
    scratch,
    spatial,
)


def convolution(
    x: Any,
    w: Any,
    stride: Size = 1,
    padding: Size = 0,
    dilation: Size = 1,
    groups: int = 1,
    layout: str = "NHWC",
) -> Any:
    """y[n, i, o] = sum over k, c of x[n, i stride + k dilation - padding, c] w[k, c, o]

    "NHWC": x (N, *S, C), w (*K, C / groups, O) -> (N, *S', O).  "NCHW": x (N, C, *S), w (O, C / groups, *K)
    -> (N, O, *S').
    """
    checked(x=x, w=w)
    form = _Form(spatial("x", x), stride, padding, dilation, groups, layout)
    shape = form.result(x.shape, w.shape)

    def generated() -> Any:
        (y,) = compute(Conv(**form.fields), images(x, form.last), kernels(w, form.last))
        return back(y, form.last)

    return form.solve(by_cudnn.FORWARD, x.shape, w.shape, shape, x, w, shape, generated)


def convolution_backward_data(
    w: Any,
    dy: Any,
    shape: Axes,
    stride: Size = 1,
    padding: Size = 0,
    dilation: Size = 1,
    groups: int = 1,
    layout: str = "NHWC",
) -> Any:
    """The gradient of x, whose ``shape`` is given, from that of y.  Also the transposed convolution of dy."""
    checked(w=w, dy=dy)
    form = _Form(spatial("dy", dy), stride, padding, dilation, groups, layout)
    form.expect(shape, w.shape, dy.shape)

    def generated() -> Any:
        n, *rest = shape
        inner = tuple(shape) if form.last else (n, *rest[1:], rest[0])
        p = ConvInputGrad(**form.fields, shape=inner)
        (dx,) = compute(p, images(dy, form.last), kernels(w, form.last))
        return back(dx, form.last)

    return form.solve(by_cudnn.BACKWARD_DATA, shape, w.shape, dy.shape, w, dy, shape, generated)


def convolution_backward_filter(
    x: Any,
    dy: Any,
    kernel: Axes,
    stride: Size = 1,
    padding: Size = 0,
    dilation: Size = 1,
    groups: int = 1,
    layout: str = "NHWC",
) -> Any:
    """The gradient of w from that of y; ``kernel`` is the size of the window, *K."""
    checked(x=x, dy=dy)
    form = _Form(spatial("x", x), stride, padding, dilation, groups, layout)
    window = each("kernel", kernel, spatial("x", x))
    axis = -1 if form.last else 1
    inner, out = x.shape[axis] // form.fields["groups"], dy.shape[axis]
    shape = (*window, inner, out) if form.last else (out, inner, *window)
    form.expect(x.shape, shape, dy.shape)

    def generated() -> Any:
        p = ConvKernelGrad(**form.fields, kernel=window)
        (dw,) = compute(p, images(x, form.last), images(dy, form.last))
        return kernels_back(dw, form.last)

    return form.solve(by_cudnn.BACKWARD_FILTER, x.shape, shape, dy.shape, x, dy, shape, generated)


class _Form:
    """The fields of a convolution, and how its arrays lie."""

    def __init__(
        self, axes: int, stride: Size, padding: Size, dilation: Size, groups: int, layout: str
    ) -> None:
        self.last = last(layout)
        self.fields: dict[str, Any] = {
            "stride": each("stride", stride, axes),
            "padding": pairs(padding, axes),
            "dilation": each("dilation", dilation, axes),
            "groups": counted("groups", groups),
        }

    def result(self, x: Axes, w: Axes) -> Axes:
        """The shape of y."""
        if not self.last:
            x, w = (x[0], *x[2:], x[1]), (*w[2:], *w[1::-1])
        n, *rest, out = Conv(**self.fields).product(TensorType(tuple(x)), TensorType(tuple(w))).shape
        return (n, *rest, out) if self.last else (n, out, *rest)

    def expect(self, x: Axes, w: Axes, dy: Axes) -> None:
        wanted = self.result(tuple(x), tuple(w))
        if tuple(dy) != wanted:
            raise ShapeError(f"dy has shape {tuple(dy)}; x {tuple(x)} and w {tuple(w)} give {wanted}")

    def solve(
        self,
        way: str,
        x: Axes,
        w: Axes,
        y: Axes,
        first: Any,
        second: Any,
        shape: Axes,
        generated: Callable[[], Any],
    ) -> Any:
        """The result: channels first cuDNN has the arrays as they are, channels last our kernel turns w."""
        if self.last:
            return generated()
        return either(lambda _: self._run(way, x, w, y, first, second, shape), generated, first, second)

    def _run(self, way: str, x: Axes, w: Axes, y: Axes, first: Any, second: Any, shape: Axes) -> Any:
        """cuDNN's result, channels first."""
        gpu, f = here().gpu, self.fields
        problem = Problem(
            way=way,
            x=dims(x, False),
            w=(*w[:2], *planar(tuple(w[2:]))),
            y=dims(y, False),
            padding=planar(tuple(p for p, _ in f["padding"]), 0),
            stride=planar(f["stride"]),
            dilation=planar(f["dilation"]),
            groups=f["groups"],
            dtype=checked(first=first),
            channels_last=False,
            tf32=gpu.tf32,
        )
        found = Found(problem, gpu)
        result, work = empty_like(first, shape), scratch(found.algorithm.nbytes)
        places = address(first), address(second), address(result), address(work)
        by_cudnn.launcher(found.library, problem, found.algorithm, *places)()
        return result
