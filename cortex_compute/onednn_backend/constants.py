"""Numbers of oneDNN's `dnnl_types.h` (3.2), by the names that they have there without ``dnnl_``."""

from __future__ import annotations

from cortex_compute.types import DType, bfloat16, bool_, float32, int8, int32, uint8

DTYPES: dict[DType, int] = {bfloat16: 2, float32: 3, int32: 4, int8: 5, uint8: 6, bool_: 6}

ANY = 1  # format tag: the implementation chooses

FORWARD_TRAINING, FORWARD_INFERENCE, BACKWARD = 64, 96, 128

CONVOLUTION_DIRECT = 1
RELU, TANH, ABS, SQRT, LINEAR, EXP = 32, 33, 36, 37, 38, 42
GELU_TANH, SWISH, CLIP_V2, GELU_ERF = 43, 44, 47, 49
POOL_MAX, POOL_AVG_INCLUDE, POOL_AVG_EXCLUDE = 511, 767, 1023
ADD, MUL, MAX, MIN, DIV, SUB, GREATER = 131056, 131057, 131058, 131059, 131060, 131061, 131063
REDUCE_MAX, REDUCE_SUM, REDUCE_MEAN = 196594, 196596, 196598
SOFTMAX = 196608
USE_SCALE, USE_SHIFT, FUSE_RELU = 2, 4, 8
LEFT_TO_RIGHT, RIGHT_TO_LEFT = 1, 2
OVERWRITE_DIFF_WEIGHTS = 1

# Arguments of execution.
SRC, SRC_1, DST = 1, 2, 17
WEIGHTS, BIAS = 33, 41
MEAN, VARIANCE, SCALE, SHIFT = 49, 50, 51, 52
WORKSPACE, SCRATCHPAD = 64, 80
DIFF_SRC, DIFF_DST, DIFF_WEIGHTS, DIFF_BIAS = 129, 145, 161, 169
DIFF_SCALE, DIFF_SHIFT = 255, 256
SRC_ITER, SRC_ITER_C, DST_ITER, DST_ITER_C, WEIGHTS_ITER = 2, 3, 18, 19, 34
DIFF_SRC_ITER, DIFF_SRC_ITER_C, DIFF_DST_ITER, DIFF_DST_ITER_C, DIFF_WEIGHTS_ITER = 130, 131, 146, 147, 162
FROM, TO = 1, 17

# What a primitive descriptor tells of its operands; the number is `dnnl_query_NAME_md`.
QUERY = {
    "src": 129, "diff_src": 130, "weights": 131, "diff_weights": 132, "dst": 133, "diff_dst": 134,
    "workspace": 135, "scratchpad": 136,
}  # fmt: skip
QUERY_IMPLEMENTATION = 8


def of_post_op(index: int, argument: int = SRC_1) -> int:
    """The argument number of an operand of the ``index``-th post-op."""
    return 32768 * (index + 1) | argument
