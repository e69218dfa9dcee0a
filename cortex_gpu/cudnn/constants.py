"""Numbers of cuDNN 9's headers (9.28), by the names that they have there without ``CUDNN_``."""

from __future__ import annotations

from cortex_compute.types import DType, bfloat16, float16, float32, float64

DTYPES: dict[DType, int] = {float32: 0, float64: 1, float16: 2, bfloat16: 9}

TENSOR_NCHW, TENSOR_NHWC = 0, 1
CROSS_CORRELATION = 1
DETERMINISTIC = 1
PROPAGATE_NAN = 1

# How products are computed: as the GPU likes (TF32 for float32), on tensor cores, and by multiplications and
# additions alone.  What rounds to 16 bits beforehand is never allowed.
DEFAULT_MATH, TENSOR_OP_MATH, FMA_MATH = 0, 1, 3

POOLING = {"max": 3, "average, padding counts": 1, "average": 2}  # the maximum that is deterministic
SOFTMAX_ACCURATE, SOFTMAX_LOG = 1, 2
SOFTMAX_MODE_CHANNEL = 1
ACTIVATIONS = {"sigmoid": 0, "relu": 1, "tanh": 2, "clipped_relu": 3, "elu": 4, "swish": 6}
BATCHNORM_SPATIAL = 1
LRN_CROSS_CHANNEL_DIM1 = 0

RNN_MODES = {"relu": 0, "tanh": 1, "lstm": 2, "gru": 3}
RNN_ALGO_STANDARD = 0
RNN_NO_BIAS, RNN_DOUBLE_BIAS = 0, 2
UNIDIRECTIONAL, BIDIRECTIONAL = 0, 1
LINEAR_INPUT = 0
RNN_PADDED_IO_ENABLED = 1
RNN_DATA_BATCH_MAJOR = 2
FWD_MODE_INFERENCE, FWD_MODE_TRAINING = 0, 1
WGRAD_MODE_ADD = 0
