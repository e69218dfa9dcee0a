"""Softmax and mean pooling by cuDNN: taken where its kernels are asked for, else ours are as fast.

The maximum and batch norm stay with ours under every policy.  cuDNN gives the gradient of a maximum to one of
equal elements, not always the first, does not say what becomes of a NaN, and its batch norm keeps
1 / sqrt(variance + epsilon), where the running statistics need the variance.  `cortex_gpu.ops` has both as
cuDNN means them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from cortex_compute.frozen import frozen
from cortex_compute.primitives.base import Primitive
from cortex_compute.primitives.pooling import Averaging, AvgPool, AvgPoolGrad
from cortex_compute.primitives.softmax import LogSoftmax, Softmax
from cortex_compute.protocol import Offer, Operand, Refusal, row_major
from cortex_compute.types import TensorType
from cortex_gpu.backend import Gpu, offers
from cortex_gpu.cudnn import pooling, softmax
from cortex_gpu.cudnn.constants import DTYPES
from cortex_gpu.cudnn.descriptors import image
from cortex_gpu.cudnn.library import Library, UnsupportedError
from cortex_gpu.cudnn.pooling import Windows
from cortex_gpu.kernels import Memory, Source, kernel, seconds

LAUNCHES = 1.5  # of a generated kernel: what the library's own preparation takes
Binder = Callable[[Library, int, int], Callable[[], None]]


@frozen
class Unary:
    """The step of one call of cuDNN from the first operand to the first output."""

    library: Library
    binder: Binder
    sources: ClassVar[tuple[Source, ...]] = ()

    def bind(self, memory: Memory) -> Callable[[], None]:
        x, y = memory.inputs[0], memory.outputs[0]
        return self.binder(self.library, _address(x), _address(y))


def _address(array: Any) -> int:
    return int(array.data.ptr)


@offers(Softmax, LogSoftmax, way="cudnn")
def softmax_by_cudnn(p: Primitive, operands: Sequence[Operand], gpu: Gpu) -> Offer | Refusal:
    if reason := _unfit(operands):
        return Refusal(reason)
    x = operands[0].type
    dims, logarithm = (x.size // x.shape[-1], x.shape[-1], 1, 1), isinstance(p, LogSoftmax)
    if reason := _undescribed(lambda: image(gpu.cudnn, dims, x.dtype, True)):
        return Refusal(reason)

    def binder(library: Library, x_at: int, y_at: int) -> Callable[[], None]:
        return softmax.forward(library, dims, x.dtype, x_at, y_at, logarithm)

    return _offer(gpu, binder, 2 * x.nbytes)


@offers(AvgPool, way="cudnn")
def mean_by_cudnn(p: AvgPool, operands: Sequence[Operand], gpu: Gpu) -> Offer | Refusal:
    x = operands[0].type
    (y,) = p.infer(x)
    if reason := _unfit(operands) or _unpoolable(p, x, y):
        return Refusal(reason)
    windows = _windows(p, x, y)
    if reason := _undescribed(lambda: windows.described(gpu.cudnn)):
        return Refusal(reason)

    def binder(library: Library, x_at: int, y_at: int) -> Callable[[], None]:
        return pooling.forward(library, windows, x_at, y_at)

    return _offer(gpu, binder, x.nbytes + y.nbytes)


@offers(AvgPoolGrad, way="cudnn")
def mean_gradient_by_cudnn(p: AvgPoolGrad, operands: Sequence[Operand], gpu: Gpu) -> Offer | Refusal:
    g = operands[0].type
    (x,) = p.infer(g)
    if reason := _unfit(operands) or _unpoolable(p, x, g):
        return Refusal(reason)
    windows = _windows(p, x, g)
    if reason := _undescribed(lambda: windows.described(gpu.cudnn)):
        return Refusal(reason)

    def binder(library: Library, g_at: int, dx_at: int) -> Callable[[], None]:
        return pooling.backward(library, windows, g_at, g_at, dx_at, dx_at)

    return _offer(gpu, binder, x.nbytes + g.nbytes)


def _offer(gpu: Gpu, binder: Binder, nbytes: int) -> Offer:
    cost = LAUNCHES * seconds(nbytes)
    return kernel(lambda: [Unary(gpu.cudnn, binder)], "cudnn", cost=cost)


def _unfit(operands: Sequence[Operand]) -> str:
    """Why cuDNN cannot have the operand, or nothing."""
    (x,) = operands
    if not row_major(x):
        return "cuDNN wants a row-major operand here"
    if 0 in x.type.shape:
        return "cuDNN knows no empty arrays"
    return "" if x.type.dtype in DTYPES else f"cuDNN has no {x.type.dtype}"


def _undescribed(describe: Callable[[], Any]) -> str:
    """Why cuDNN cannot be told of arrays and windows, or nothing."""
    try:
        describe()
    except UnsupportedError as error:
        return str(error)
    return ""


def _unpoolable(p: Averaging, x: TensorType, y: TensorType) -> str:
    """Why cuDNN's windows would be others, or nothing."""
    if len(p.size) > 3:
        return f"cuDNN's windows have at most 3 axes, not {len(p.size)}"
    if any(before != after for before, after in p.padding):
        return f"cuDNN pads both sides alike, not by {p.padding}"
    axes = zip(x.shape[1:-1], p.size, p.padding, p.stride, y.shape[1:-1])
    if any((n + 2 * b - k) // s + 1 != count for n, k, (b, _), s, count in axes):
        return "cuDNN's last window may not reach over the edge"
    return ""


def _windows(p: Averaging, x: TensorType, y: TensorType) -> Windows:
    one = (1,) if len(p.size) == 1 else ()  # a line is an image of one row
    return Windows(
        mode="average, padding counts" if p.count_padding else "average",
        x=(x.shape[0], x.shape[-1], *one, *x.shape[1:-1]),
        y=(y.shape[0], y.shape[-1], *one, *y.shape[1:-1]),
        size=one + p.size,
        padding=(0,) * len(one) + tuple(before for before, _ in p.padding),
        stride=one + p.stride,
        dtype=x.dtype,
    )
