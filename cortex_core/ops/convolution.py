"""Convolution and its transpose, over any number of spatial axes, channels last."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cortex_compute.errors import ShapeError
from cortex_compute.primitives.convolution import Conv, ConvInputGrad, ConvKernelGrad, Convolution
from cortex_compute.primitives.windows import Padding
from cortex_core.ops.apply import apply
from cortex_core.ops.array import Node
from cortex_core.ops.differentiate import gradient_of

Sizes = int | Sequence[int]
Margins = int | Sequence[int | Sequence[int]]


def conv(
    x: Any, w: Any, stride: Sizes = 1, padding: Margins = 0, dilation: Sizes = 1, groups: int = 1
) -> Any:
    """y[n, i, o] = sum over k, c of x[n, i stride + k dilation - before, c] w[k, c, o]

    x (N, *S, C), w (*K, C/groups, O) -> (N, *S', O).  Sizes are one number for all spatial axes, or one each;
    ``padding`` one number, or for each axis a number or (before, after).
    dx[n, i stride + k dilation - before, c] = sum of g[n, i, o] w[k, c, o];
    dw[k, c, o] = sum of x[n, i stride + k dilation - before, c] g[n, i, o]
    """
    return apply(Conv(*geometry("conv", len(x.shape) - 2, stride, padding, dilation), groups), x, w)


def conv_transpose(
    x: Any,
    w: Any,
    stride: Sizes = 1,
    padding: Margins = 0,
    dilation: Sizes = 1,
    groups: int = 1,
    output_padding: Sizes = 0,
) -> Any:
    """The adjoint of `conv` with the same arguments: it spreads each element of x over a window of y.

    x (N, *S, C), w (*K, O/groups, C) -> (N, *S', O) with S' = (S - 1) stride + (K - 1) dilation + 1 - before
    - after + output_padding, which is below the stride: it tells apart the sizes S' that `conv` makes S.
    dx = conv(g, w);  dw is that of conv(g, w) whose gradient is x
    """
    spatial = len(x.shape) - 2
    strides, pairs, steps = geometry("conv_transpose", spatial, stride, padding, dilation)
    extra = per_axis("conv_transpose: output_padding", spatial, output_padding)
    if len(w.shape) != spatial + 2:
        raise ShapeError(f"conv_transpose: w has shape {w.shape}; needs {spatial + 2} axes, as x {x.shape}")
    if not all(0 <= more < s for more, s in zip(extra, strides)):
        told = f"conv_transpose: output_padding {extra} with stride {strides}"
        raise ShapeError(f"{told}; it must be at least 0 and below the stride")
    sizes = transposed_sizes(x.shape[1:-1], w.shape[:-2], strides, pairs, steps, extra)
    if min(sizes) < 1:
        raise ShapeError(f"conv_transpose: padding {pairs} leaves nothing of x {x.shape} under w {w.shape}")
    shape = (x.shape[0], *sizes, w.shape[-2] * groups)
    return apply(ConvInputGrad(strides, pairs, steps, groups, shape), x, w)


def transposed_sizes(
    sizes: Sequence[int],
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Padding,
    dilation: Sequence[int],
    output_padding: Sequence[int],
) -> tuple[int, ...]:
    """S' of `conv_transpose`; below 1 where padding leaves nothing."""
    axes = zip(sizes, kernel, stride, padding, dilation, output_padding)
    return tuple((n - 1) * s + (k - 1) * d + 1 - sum(pair) + extra for n, k, s, pair, d, extra in axes)


def geometry(
    what: str, spatial: int, stride: Sizes, padding: Margins, dilation: Sizes
) -> tuple[tuple[int, ...], Padding, tuple[int, ...]]:
    """Stride, padding and dilation, written out for each spatial axis."""
    return (
        per_axis(f"{what}: stride", spatial, stride),
        margins(f"{what}: padding", spatial, padding),
        per_axis(f"{what}: dilation", spatial, dilation),
    )


def per_axis(what: str, spatial: int, sizes: Sizes) -> tuple[int, ...]:
    """One size for each spatial axis."""
    listed = (sizes,) * spatial if isinstance(sizes, int) else tuple(sizes)
    if len(listed) != spatial:
        raise ShapeError(f"{what} {listed} is for {len(listed)} spatial axes, x has {spatial}")
    return listed


def margins(what: str, spatial: int, padding: Margins) -> Padding:
    """(before, after) for each spatial axis."""
    listed = (padding,) * spatial if isinstance(padding, int) else tuple(padding)
    pairs = tuple((m, m) if isinstance(m, int) else tuple(m) for m in listed)
    if len(pairs) != spatial or any(len(pair) != 2 for pair in pairs):
        raise ShapeError(f"{what} {padding} is not (before, after) for each of {spatial} spatial axes")
    return tuple((before, after) for before, after in pairs)


def _shared(p: Convolution) -> tuple[tuple[int, ...], Padding, tuple[int, ...], int]:
    return p.stride, p.padding, p.dilation, p.groups


def _input_gradient(p: Convolution, x: Any, g: Any, w: Any) -> Any:
    return apply(ConvInputGrad(*_shared(p), x.shape), g, w)


def _kernel_gradient(p: Convolution, w: Any, x: Any, g: Any) -> Any:
    return apply(ConvKernelGrad(*_shared(p), w.shape[:-2]), x, g)


@gradient_of(Conv)
def _conv(node: Node, g: Any) -> Any:
    """y = x * w:  dx[i stride + k dilation - before, c] = sum of g[i, o] w[k, c, o],
    dw[k, c, o] = sum of x[i stride + k dilation - before, c] g[i, o]
    """
    p, (x, w) = node.primitive, node.inputs
    assert isinstance(p, Conv)
    assert p.epilogue is None, "epilogues are fused after differentiation"
    return lambda: _input_gradient(p, x, g, w), lambda: _kernel_gradient(p, w, x, g)


@gradient_of(ConvInputGrad)
def _conv_input_grad(node: Node, d: Any) -> Any:
    """The adjoint of x * w, <d, dx(g, w)> = <d * w, g>:  where d is the gradient of the result, that of g is
    d * w, and that of w is that of the kernel of d * w
    """
    p, (g, w) = node.primitive, node.inputs
    assert isinstance(p, ConvInputGrad)
    return lambda: apply(Conv(*_shared(p)), d, w), lambda: _kernel_gradient(p, w, d, g)


@gradient_of(ConvKernelGrad)
def _conv_kernel_grad(node: Node, d: Any) -> Any:
    """<d, dw(x, g)> = <x * d, g>:  the gradient of x is ConvInputGrad(g, d),  of g x * d"""
    p, (x, g) = node.primitive, node.inputs
    assert isinstance(p, ConvKernelGrad)
    assert not p.bias, "the bias' gradient is fused after differentiation"
    return lambda: _input_gradient(p, x, g, d), lambda: apply(Conv(*_shared(p)), x, d)
