"""cuDNN's descriptors: made once for equal values, destroyed when nobody holds them any more."""

from __future__ import annotations

import math
import weakref
from collections.abc import Sequence
from ctypes import byref, c_double, c_float, c_int
from functools import lru_cache
from typing import Any

from cortex_compute.types import DType, contiguous_strides, float64
from cortex_gpu.cudnn import constants as c
from cortex_gpu.cudnn.library import Desc, Library, UnsupportedError

Sizes = tuple[int, ...]
LARGEST = (1 << 31) - 1  # an int of C
Setting = tuple[Any, ...]  # the name of a function after ``cudnnSet``, and its arguments


class Descriptor:
    """What cuDNN was told of an array or an operation; an argument of its functions, while this lives."""

    def __init__(self, library: Library, kind: str, settings: Sequence[Setting]) -> None:
        self._as_parameter_ = Desc()
        library.call(f"Create{kind}Descriptor", byref(self._as_parameter_))
        destroy = getattr(library.c, f"cudnnDestroy{kind}Descriptor")
        weakref.finalize(self, destroy, self._as_parameter_)
        for name, *values in settings:
            library.call(f"Set{name}", self, *(ints(v) if isinstance(v, tuple) else v for v in values))
        self._settings = settings  # cuDNN keeps no copy of a descriptor that is told to another one


def ints(values: Sequence[int]) -> Any:
    """Sizes as C has them.  Raises `UnsupportedError` for one that an int of C does not hold."""
    if max(values, default=0) > LARGEST:
        raise UnsupportedError(f"cuDNN counts sizes and strides in 32 bits, too few for {tuple(values)}")
    return (c_int * len(values))(*values)


@lru_cache(maxsize=8192)
def made(library: Library, kind: str, *settings: Setting) -> Descriptor:
    """A descriptor of this kind after these calls of ``cudnnSet*``; an error leaves none behind."""
    return Descriptor(library, kind, settings)


def tensor(library: Library, dims: Sizes, strides: Sizes, dtype: DType) -> Descriptor:
    """An array: sizes in cuDNN's order (N, C, *S), strides in elements."""
    return made(library, "Tensor", ("TensorNdDescriptor", c.DTYPES[dtype], len(dims), dims, strides))


def image(library: Library, dims: Sizes, dtype: DType, channels_last: bool) -> Descriptor:
    """A dense image (N, C, *S); channels last it lies (N, *S, C)."""
    if not channels_last:
        return tensor(library, dims, contiguous_strides(dims), dtype)
    n, *spatial, channels = contiguous_strides((dims[0], *dims[2:], dims[1]))
    return tensor(library, dims, (n, channels, *spatial), dtype)


def row(library: Library, shape: Sizes, dtype: DType) -> Descriptor:
    """A dense array whose axes do not matter."""
    dims = 1, 1, 1, math.prod(shape)
    return tensor(library, dims, contiguous_strides(dims), dtype)


def filters(library: Library, dims: Sizes, dtype: DType, channels_last: bool) -> Descriptor:
    """A kernel (out, in / groups, *K), dense; channels last it lies (out, *K, in / groups)."""
    form = c.TENSOR_NHWC if channels_last else c.TENSOR_NCHW
    return made(library, "Filter", ("FilterNdDescriptor", c.DTYPES[dtype], form, len(dims), dims))


def factors(dtype: DType) -> tuple[Any, Any]:
    """1 and 0 as cuDNN scales results: double for float64, float for all other types."""
    number = c_double if dtype is float64 else c_float
    return byref(number(1.0)), byref(number(0.0))


def convolution(
    library: Library, padding: Sizes, stride: Sizes, dilation: Sizes, groups: int, dtype: DType, math: int
) -> Descriptor:
    """A cross-correlation that adds up in float64 for float64, in float32 for all other types."""
    compute = c.DTYPES[float64] if dtype is float64 else 0
    geometry = len(stride), padding, stride, dilation, c.CROSS_CORRELATION, compute
    return made(
        library, "Convolution", ("ConvolutionNdDescriptor", *geometry), ("ConvolutionMathType", math),
        ("ConvolutionGroupCount", groups),
    )  # fmt: skip


def pooling(library: Library, mode: int, size: Sizes, padding: Sizes, stride: Sizes) -> Descriptor:
    """Windows along each spatial axis."""
    values = mode, c.PROPAGATE_NAN, len(size), size, padding, stride
    return made(library, "Pooling", ("PoolingNdDescriptor", *values))


def activation(library: Library, mode: int, coefficient: float) -> Descriptor:
    """A function of one number; NaN stays NaN."""
    return made(library, "Activation", ("ActivationDescriptor", mode, c.PROPAGATE_NAN, coefficient))


def lrn(library: Library, size: int, alpha: float, beta: float, k: float) -> Descriptor:
    """x / (k + alpha / size sum(x^2))^beta, the sum over ``size`` channels around each."""
    return made(library, "LRN", ("LRNDescriptor", size, alpha, beta, k))
