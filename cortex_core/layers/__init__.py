"""What each layer type means: one layer, one short piece, which its module registers when it is imported."""

from __future__ import annotations

_ACTIVATIONS = """
linear relu relu6 leaky_relu elu selu gelu gelu_tanh silu sigmoid tanh softplus softsign softmax log_softmax
hard_sigmoid hard_swish mish exponential clipped_relu celu hard_tanh log_sigmoid tanh_shrink soft_shrink
hard_shrink squareplus sparse_plus
"""
_ADAPTIVE = """
adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d
adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d
"""
_GLOBAL = """
global_avg_pool1d global_avg_pool2d global_avg_pool3d global_max_pool1d global_max_pool2d global_max_pool3d
"""
_PICTURES = """
padding1d padding2d padding3d cropping1d cropping2d cropping3d upsampling1d upsampling2d upsampling3d
"""

KINDS = {
    "activations": _ACTIVATIONS,
    "adaptive_pool": _ADAPTIVE,
    "positional": "positional_encoding",
    "attention": "multi_head_attention",
    "bidirectional": "bidirectional",
    "conv": "conv1d conv2d conv3d",
    "recurrent": "simple_rnn lstm gru",
    "conv_lstm": "conv_lstm2d",
    "conv_transpose": "conv_transpose1d conv_transpose2d conv_transpose3d",
    "dense": "dense",
    "depthwise": "depthwise_conv1d depthwise_conv2d separable_conv1d separable_conv2d",
    "dropout": (
        "dropout stochastic_depth alpha_dropout spatial_dropout1d spatial_dropout2d spatial_dropout3d"
    ),
    "embedding": "embedding unembedding",
    "flip": "flip",
    "global_pool": _GLOBAL,
    "local_response": "local_response_normalization",
    "locally_connected": "locally_connected1d locally_connected2d",
    "masking": "masking masked_mean any logical_and logical_or logical_not",
    "normalization": "batch_norm layer_norm rms_norm unit_norm group_norm",
    "merge": (
        "add subtract multiply divide average maximum minimum compare where dot matmul einsum concatenate"
    ),
    "noise": "gaussian_noise gaussian_dropout",
    "pictures": _PICTURES,
    "plain_attention": "attention additive_attention",
    "pool": "max_pool1d max_pool2d max_pool3d avg_pool1d avg_pool2d avg_pool3d",
    "prelu": "prelu",
    "resizing": "resize2d",
    "sampling": "sampling",
    "scale": "scale affine layer_scale clip cast power elementwise mean sum",
    "shape": "flatten reshape permute repeat_vector",
    "slicing": "slice select take",
    "time_distributed": "time_distributed",
}
"""The names that each module registers, which is imported when one of them is needed."""
