"""Convolution, pooling, normalisation and recurrence as plain functions on CuPy arrays, forward and backward.

CuPy 14 removed `cupy.cudnn`; this gives it back.  Nothing else of Cortex is needed::

    import cupy
    from cortex_gpu import ops

    x = cupy.random.standard_normal((32, 28, 28, 3), dtype="float32")
    w = cupy.random.standard_normal((5, 5, 3, 20), dtype="float32")
    y = ops.convolution(x, w, stride=1, padding=2)
    dw = ops.convolution_backward_filter(x, dy, (5, 5), padding=2)

Arrays are C-contiguous, on the current device, of one floating type: float32, float16, float64, or bfloat16
as `ml_dtypes` has it.  Work is enqueued on CuPy's current stream; results are new arrays.  The first
convolution of its kind waits for the device, to see which algorithm is fastest: not while a graph is
captured.  Images lie
(N, H, W, C) with kernels (kh, kw, C / groups, O) in the layout "NHWC", (N, C, H, W) with kernels
(O, C / groups, kh, kw) in "NCHW"; one and three spatial axes likewise ("NHWC" stands for channels last).

Where cuDNN is not installed, or lacks a kernel, convolution, pooling, batch norm and softmax are computed by
generated kernels; the other functions say what to install.  ``CORTEX_CUDNN=never`` leaves cuDNN out,
``CORTEX_TF32=1`` lets products of float32 round their factors, ``CORTEX_DETERMINISTIC=1`` gives equal bits in
equal runs.
"""

from __future__ import annotations

from cortex_gpu.ops.activation import activation, activation_backward
from cortex_gpu.ops.convolution import convolution, convolution_backward_data, convolution_backward_filter
from cortex_gpu.ops.normalization import (
    Saved,
    batch_norm,
    batch_norm_backward,
    batch_norm_inference,
    local_response,
    local_response_backward,
)
from cortex_gpu.ops.pooling import pooling, pooling_backward
from cortex_gpu.ops.recurrence import (
    Kept,
    recurrence,
    recurrence_backward,
    recurrence_parameters,
    recurrence_weights,
)
from cortex_gpu.ops.softmax import softmax, softmax_backward

__all__ = [
    "Kept",
    "Saved",
    "activation",
    "activation_backward",
    "batch_norm",
    "batch_norm_backward",
    "batch_norm_inference",
    "convolution",
    "convolution_backward_data",
    "convolution_backward_filter",
    "local_response",
    "local_response_backward",
    "pooling",
    "pooling_backward",
    "recurrence",
    "recurrence_backward",
    "recurrence_parameters",
    "recurrence_weights",
    "softmax",
    "softmax_backward",
]
