"""Convolution and its two gradients as generated kernels: products whose left factor is never stored.

The forward is windows(x) w, the kernel's gradient windows(x)^T g, and the image's gradient goes the other way
round: each pixel gathers from the windows that looked at it.  The places of windows are found while the tiled
product brings its factors into shared memory.  Where each channel has a kernel of its own there is another
way (`cortex_gpu.depthwise`); where windows are single pixels, cuBLASLt's product is one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from cortex_compute.primitives.convolution import Conv, ConvInputGrad, ConvKernelGrad, Convolution
from cortex_compute.primitives.matrix import Gemm
from cortex_compute.protocol import Layout, Offer, Operand, Refusal
from cortex_compute.types import TensorType
from cortex_gpu import depthwise
from cortex_gpu.backend import Gpu, offers
from cortex_gpu.epilogue import ending
from cortex_gpu.geometry import Geometry
from cortex_gpu.kernels import In, kernel, refusal
from cortex_gpu.matrix import beside_sums, gemm_by_library
from cortex_gpu.memory import nbytes
from cortex_gpu.prelude import storage
from cortex_gpu.product import LARGEST, Product, Way

NARROW = 8  # with fewer channels or filters, neighbours in memory are better found along the image


@offers(Conv)
def conv(p: Conv, operands: Sequence[Operand], gpu: Gpu) -> Offer | Refusal:
    x, w = (o.type for o in operands[:2])
    g = Geometry.of(p, x, w)
    (result,) = p.infer(*(o.type for o in operands))
    end = ending("conv", x.dtype, result, p.epilogue, p.literals, operands[2:])
    if g.channelwise:
        return _offer(p, operands, gpu, depthwise.forward(g, end))
    find, inside = g.seen()
    window = f"{g.split_window('i')} {g.split_tap('p', g.inner, 'c')} {find}"
    way = Product(
        name=end.name, dtype=x.dtype, m=g.windows, n=g.outer, depth=g.taps * g.inner, batch=g.groups,
        parameters=(*_factors(x, "x", "w"), *end.parameters),
        a=_x(g, "i", "p") if g.plain else f"{window} if ({inside}) value = load(x[{_channel(g)}]);",
        b=f"value = load(w[p * {g.filters} + z * {g.outer} + j]);",
        store=_place(g.filters, g.outer) + end.store,
        a_deep=g.inner >= NARROW, b_deep=False,
        processors=gpu.processors, most_workspace=gpu.workspace,
    )  # fmt: skip
    return _offer(p, operands, gpu, way)


@offers(ConvInputGrad)
def conv_input_grad(p: ConvInputGrad, operands: Sequence[Operand], gpu: Gpu) -> Offer | Refusal:
    x, w = TensorType(p.shape, operands[0].type.dtype), operands[1].type
    g = Geometry.of(p, x, w)
    end = ending("conv_input_grad", x.dtype, x, None, (), ())
    if g.channelwise:
        return _offer(p, operands, gpu, depthwise.input_gradient(g, end))
    find, there = g.seen_by()
    gather = f"{g.split_pixel('i')} {g.split_tap('p', g.outer, 'f')} {find}"
    seen = g.in_y(f"z * {g.outer} + (int)f")
    way = Product(
        name=end.name, dtype=x.dtype, m=g.pixels, n=g.inner, depth=g.taps * g.outer, batch=g.groups,
        parameters=(*_factors(x, "g", "w"), *end.parameters),
        a=f"value = load(g[({g.integer})i * {g.filters} + z * {g.outer} + p]);" if g.plain
        else f"{gather} if ({there}) value = load(g[{seen}]);",
        b=f"const int f = p % {g.outer}, tap = p / {g.outer}; "
          f"value = load(w[(tap * {g.inner} + j) * {g.filters} + z * {g.outer} + f]);",
        store=_place(g.channels, g.inner) + end.store,
        a_deep=g.outer >= NARROW, b_deep=True,
        processors=gpu.processors, most_workspace=gpu.workspace,
    )  # fmt: skip
    return _offer(p, operands, gpu, way)


@offers(ConvKernelGrad)
def conv_kernel_grad(p: ConvKernelGrad, operands: Sequence[Operand], gpu: Gpu) -> Offer | Refusal:
    x, y = (o.type for o in operands)
    w = p.infer(x, y)[0]
    g = Geometry.of(p, x, w)
    end = ending("conv_kernel_grad", x.dtype, w, None, (), ())
    if g.channelwise:
        return _offer(p, operands, gpu, depthwise.KernelGradient(g, end, gpu.processors, gpu.workspace))
    find, inside = g.seen()
    window = f"{g.split_window('p')} {g.split_tap('i', g.inner, 'c')} {find}"
    way = Product(
        name=end.name, dtype=x.dtype, m=g.taps * g.inner, n=g.outer, depth=g.windows, batch=g.groups,
        parameters=(*_factors(x, "x", "g"), *end.parameters),
        a=_x(g, "p", "i") if g.plain else f"{window} if ({inside}) value = load(x[{_channel(g)}]);",
        b=f"value = load(g[({g.integer})p * {g.filters} + z * {g.outer} + j]);",
        store=_place(g.filters, g.outer) + end.store,
        a_deep=g.inner < NARROW, b_deep=False,
        processors=gpu.processors, most_workspace=gpu.workspace,
    )  # fmt: skip
    return _offer(p, operands, gpu, way)


@offers(Conv, ConvInputGrad, ConvKernelGrad, way="cublaslt")
def as_product(p: Convolution, operands: Sequence[Operand], gpu: Gpu) -> Offer | Refusal:
    """Windows of one pixel, one beside the other: a product of matrices, which cuBLASLt computes."""
    first, second = (o.type for o in operands[:2])
    if isinstance(p, ConvKernelGrad):
        g = Geometry.of(p, first, p.infer(first, second)[0])
        gemm = Gemm(transpose_a=True, sums=p.bias)
    elif isinstance(p, ConvInputGrad):
        g, gemm = Geometry.of(p, TensorType(p.shape, first.dtype), second), Gemm(transpose_b=True)
    else:
        assert isinstance(p, Conv)
        g, gemm = Geometry.of(p, first, second), Gemm(epilogue=p.epilogue, literals=p.literals)
    if not g.plain or g.groups > 1:
        return Refusal("cuBLASLt convolves windows of one pixel alone, of all channels")
    no = refusal(p, operands)
    if no is not None:
        return no
    if any(o.type.size != g.filters or o.type.shape[-1:] != (g.filters,) for o in operands[2:]):
        return Refusal("cuBLASLt's only epilogue here is a bias along the last axis")
    matrices = [Operand(TensorType((math.prod(t.shape[:-1]), t.shape[-1]), t.dtype)) for t in (first, second)]
    vectors = [Operand(TensorType((g.filters,), o.type.dtype), Layout(o.strides[-1:])) for o in operands[2:]]
    return gemm_by_library(gemm, [*matrices, *vectors], gpu)


def _offer(p: Convolution, operands: Sequence[Operand], gpu: Gpu, way: Way) -> Offer | Refusal:
    if not way.fits or (not isinstance(p, ConvKernelGrad) and operands[1].type.size > LARGEST):
        return Refusal("cupy counts pixels, windows and the numbers of a kernel in 32 bits")
    no = refusal(p, operands)
    if no is not None:
        return no
    types = [o.type for o in operands]
    cost = way.cost(nbytes(*types, *p.infer(*types)), p.flops(*types))
    if isinstance(p, ConvKernelGrad) and p.bias:
        return beside_sums(way, operands, gpu, cost)
    return kernel(way.steps, workspace=way.workspace, cost=cost)


# Pieces of C.


def _factors(t: TensorType, *names: str) -> tuple[tuple[str, In], ...]:
    return tuple((f"const {storage(t.dtype)}* __restrict__ {name}", In(k)) for k, name in enumerate(names))


def _x(g: Geometry, pixel: str, channel: str) -> str:
    """The value of x where windows are pixels."""
    return f"value = load(x[({g.integer}){pixel} * {g.channels} + z * {g.inner} + {channel}]);"


def _channel(g: Geometry) -> str:
    return g.in_x(f"z * {g.inner} + (int)c")


def _place(row: int, part: int) -> str:
    """Where the result's row i of group z is, and its column j."""
    column = f"[[maybe_unused]] const int column = z * {part} + j;"
    return f"const i64 at = (i64)i * {row} + z * {part} + j; {column}\n          "
