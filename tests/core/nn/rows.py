"""One row for each module and loss: how it is made, spelled as in PyTorch, and what it is given."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np


class Row(NamedTuple):
    """``make(nn, t)`` builds it from a package ``nn`` whose tensors ``t`` makes of a list."""

    make: Callable[[Any, Any], Any]
    shapes: tuple[tuple[int, ...], ...]
    kind: str = "normal"  # of the first input: normal, unit (0 to 1), tokens (whole numbers below 5)
    target: str = ""  # of a loss: a kind of `sample`, or the number of classes


def row(make: Callable[..., Any], *shapes: tuple[int, ...], kind: str = "normal", target: str = "") -> Row:
    return Row(make, shapes, kind, target)


IMAGE = (2, 4, 6, 5)


def first(nn: Any, module: Any) -> Any:
    """A module that gives the first of what ``module`` gives."""

    class First(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.inner = module

        def forward(self, *inputs: Any) -> Any:
            return self.inner(*inputs)[0]

    return First()


def square(nn: Any, module: Any) -> Any:
    """Attention of x to itself, without weights."""

    class Square(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.inner = module

        def forward(self, x: Any) -> Any:
            return self.inner(x, x, x, need_weights=False)[0]

    return Square()


MODULES: dict[str, Row] = {
    "identity": row(lambda nn, t: nn.Identity(54, unused=1), (2, 3)),
    "linear": row(lambda nn, t: nn.Linear(5, 3), (4, 5)),
    "linear of any rank": row(lambda nn, t: nn.Linear(5, 3, bias=False), (2, 4, 5)),
    "linear of one example": row(lambda nn, t: nn.Linear(5, 3), (5,)),
    "bilinear": row(lambda nn, t: nn.Bilinear(3, 4, 2), (5, 3), (5, 4)),
    "bilinear without bias": row(lambda nn, t: nn.Bilinear(3, 4, 2, bias=False), (2, 5, 3), (2, 5, 4)),
    "flatten": row(lambda nn, t: nn.Flatten(), (2, 3, 4, 1)),
    "flatten some": row(lambda nn, t: nn.Flatten(1, -2), (2, 3, 4, 5)),
    "unflatten": row(lambda nn, t: nn.Unflatten(1, (2, 3)), (4, 6)),
    # convolutions
    "conv1d": row(lambda nn, t: nn.Conv1d(4, 3, 3, stride=2, padding=1), (2, 4, 9)),
    "conv2d": row(lambda nn, t: nn.Conv2d(4, 3, 3), IMAGE),
    "conv2d of one example": row(lambda nn, t: nn.Conv2d(4, 3, 3), IMAGE[1:]),
    "conv2d strided": row(lambda nn, t: nn.Conv2d(4, 6, (3, 2), stride=(2, 1), padding=(1, 0)), IMAGE),
    "conv2d dilated": row(lambda nn, t: nn.Conv2d(4, 3, 3, padding=2, dilation=2, bias=False), IMAGE),
    "conv2d in groups": row(lambda nn, t: nn.Conv2d(4, 6, 3, groups=2), IMAGE),
    "conv2d depthwise": row(lambda nn, t: nn.Conv2d(4, 8, 3, padding=1, groups=4), IMAGE),
    "conv2d same": row(lambda nn, t: nn.Conv2d(4, 3, (4, 3), padding="same", dilation=(1, 2)), IMAGE),
    "conv2d valid": row(lambda nn, t: nn.Conv2d(4, 3, 2, padding="valid"), IMAGE),
    "conv2d reflect": row(lambda nn, t: nn.Conv2d(4, 3, 3, padding=(1, 2), padding_mode="reflect"), IMAGE),
    "conv2d replicate": row(
        lambda nn, t: nn.Conv2d(4, 3, 4, padding="same", padding_mode="replicate"), IMAGE
    ),
    "conv2d circular": row(
        lambda nn, t: nn.Conv2d(4, 3, 3, stride=2, padding=2, padding_mode="circular"), IMAGE
    ),
    "conv3d": row(lambda nn, t: nn.Conv3d(2, 3, (1, 2, 3), padding=(0, 1, 1)), (1, 2, 3, 4, 5)),
    "conv_transpose1d": row(lambda nn, t: nn.ConvTranspose1d(4, 3, 3, stride=2), (2, 4, 5)),
    "conv_transpose2d": row(lambda nn, t: nn.ConvTranspose2d(4, 3, 3, 2, 1, output_padding=1), IMAGE),
    "conv_transpose2d in groups": row(
        lambda nn, t: nn.ConvTranspose2d(4, 6, (2, 3), (2, 1), groups=2, dilation=2, bias=False), IMAGE
    ),
    "conv_transpose3d": row(lambda nn, t: nn.ConvTranspose3d(2, 3, 2, stride=2), (1, 2, 2, 3, 2)),
    # pooling
    "max_pool1d": row(lambda nn, t: nn.MaxPool1d(3, 2, 1), (2, 4, 9)),
    "max_pool2d": row(lambda nn, t: nn.MaxPool2d(2), IMAGE),
    "max_pool2d ceil": row(lambda nn, t: nn.MaxPool2d((3, 2), (2, 2), (1, 0), ceil_mode=True), IMAGE),
    "avg_pool1d": row(lambda nn, t: nn.AvgPool1d(3, 2, 1), (2, 4, 9)),
    "avg_pool2d": row(lambda nn, t: nn.AvgPool2d(3, 2, 1), IMAGE),
    "avg_pool2d ceil": row(lambda nn, t: nn.AvgPool2d(2, 2, ceil_mode=True), IMAGE),
    "avg_pool2d uncounted": row(
        lambda nn, t: nn.AvgPool2d((3, 2), 2, (1, 0), count_include_pad=False), IMAGE
    ),
    "max_pool3d": row(lambda nn, t: nn.MaxPool3d((1, 2, 3), 2, (0, 1, 1)), (2, 2, 3, 4, 5)),
    "avg_pool3d": row(lambda nn, t: nn.AvgPool3d(2, (1, 2, 2), 1), (2, 2, 3, 4, 5)),
    "adaptive_avg_pool1d": row(lambda nn, t: nn.AdaptiveAvgPool1d(4), (2, 3, 9)),
    "adaptive_avg_pool2d whole": row(lambda nn, t: nn.AdaptiveAvgPool2d(1), IMAGE),
    "adaptive_avg_pool2d even": row(lambda nn, t: nn.AdaptiveAvgPool2d((3, None)), IMAGE),
    "adaptive_avg_pool2d uneven": row(lambda nn, t: nn.AdaptiveAvgPool2d((4, 3)), IMAGE),
    "adaptive_avg_pool2d larger": row(lambda nn, t: nn.AdaptiveAvgPool2d((7, 8)), IMAGE[1:]),
    "adaptive_avg_pool3d": row(lambda nn, t: nn.AdaptiveAvgPool3d((2, None, 3)), (2, 2, 3, 4, 5)),
    "adaptive_max_pool1d": row(lambda nn, t: nn.AdaptiveMaxPool1d(4), (2, 3, 9)),
    "adaptive_max_pool2d even": row(lambda nn, t: nn.AdaptiveMaxPool2d((3, None)), IMAGE),
    "adaptive_max_pool2d uneven": row(lambda nn, t: nn.AdaptiveMaxPool2d((4, 3)), IMAGE),
    "adaptive_max_pool2d larger": row(lambda nn, t: nn.AdaptiveMaxPool2d((7, 8)), IMAGE[1:]),
    "adaptive_max_pool3d": row(lambda nn, t: nn.AdaptiveMaxPool3d(2), (2, 2, 3, 4, 5)),
    # sizes
    "upsample": row(lambda nn, t: nn.Upsample(scale_factor=2), IMAGE),
    "upsample to a size": row(lambda nn, t: nn.Upsample((4, 9)), IMAGE),
    "upsample sequences": row(lambda nn, t: nn.Upsample(scale_factor=1.7), (2, 3, 9)),
    "upsample linear": row(lambda nn, t: nn.Upsample(7, mode="linear"), (2, 3, 4)),
    "upsample bilinear": row(lambda nn, t: nn.Upsample(scale_factor=(2, 2.5), mode="bilinear"), IMAGE),
    "upsample bilinear by corners": row(
        lambda nn, t: nn.Upsample((9, 3), mode="bilinear", align_corners=True), IMAGE
    ),
    "upsample trilinear": row(lambda nn, t: nn.Upsample((3, 4, 1), mode="trilinear"), (1, 2, 2, 5, 3)),
    "pixel_shuffle": row(lambda nn, t: nn.PixelShuffle(2), (2, 8, 3, 2)),
    "pixel_unshuffle": row(lambda nn, t: nn.PixelUnshuffle(3), (2, 6, 9)),
    "zero_pad2d": row(lambda nn, t: nn.ZeroPad2d((1, 2, 0, -1)), IMAGE),
    "reflection_pad2d": row(lambda nn, t: nn.ReflectionPad2d(2), IMAGE),
    "replication_pad2d": row(lambda nn, t: nn.ReplicationPad2d((1, 2, 0, 3)), IMAGE),
    "zero_pad1d": row(lambda nn, t: nn.ZeroPad1d((3, -1)), (2, 3, 5)),
    "zero_pad3d": row(lambda nn, t: nn.ZeroPad3d((1, 0, 2, 1, 0, 3)), (1, 2, 2, 3, 2)),
    "constant_pad1d": row(lambda nn, t: nn.ConstantPad1d(2, 0.5), (3, 5)),
    "constant_pad2d": row(lambda nn, t: nn.ConstantPad2d((1, 2, 0, -1), -3.0), IMAGE),
    "constant_pad3d": row(lambda nn, t: nn.ConstantPad3d(1, 7), (1, 2, 2, 3, 2)),
    "reflection_pad1d": row(lambda nn, t: nn.ReflectionPad1d((4, 1)), (2, 3, 5)),
    "reflection_pad3d": row(lambda nn, t: nn.ReflectionPad3d((1, 0, 2, 1, 0, 1)), (1, 2, 2, 3, 2)),
    "replication_pad1d": row(lambda nn, t: nn.ReplicationPad1d((0, 7)), (2, 3, 5)),
    "replication_pad3d": row(lambda nn, t: nn.ReplicationPad3d(2), (1, 2, 2, 3, 2)),
    "circular_pad1d": row(lambda nn, t: nn.CircularPad1d((5, 1)), (2, 3, 5)),
    "circular_pad2d": row(lambda nn, t: nn.CircularPad2d((1, 5, 0, 2)), IMAGE),
    "circular_pad3d": row(lambda nn, t: nn.CircularPad3d((1, 2, 0, 3, 2, 1)), (1, 2, 2, 3, 2)),
    "upsample to twice": row(lambda nn, t: nn.Upsample(scale_factor=2), IMAGE),
    "upsample by whole factors": row(lambda nn, t: nn.Upsample(scale_factor=(3, 2)), IMAGE),
    # normalisation
    "local_response_norm": row(lambda nn, t: nn.LocalResponseNorm(3, 0.5, 0.6, 1.5), (2, 7, 3, 2)),
    "local_response_norm of lines": row(lambda nn, t: nn.LocalResponseNorm(4, alpha=2.0), (2, 5, 3)),
    "local_response_norm of all": row(lambda nn, t: nn.LocalResponseNorm(9), (2, 3, 2, 2, 2)),
    "batch_norm1d": row(lambda nn, t: nn.BatchNorm1d(4), (6, 4)),
    "batch_norm1d of sequences": row(lambda nn, t: nn.BatchNorm1d(4, eps=1e-3, momentum=0.3), (3, 4, 5)),
    "batch_norm2d": row(lambda nn, t: nn.BatchNorm2d(4), IMAGE),
    "batch_norm2d cumulative": row(lambda nn, t: nn.BatchNorm2d(4, momentum=None), IMAGE),
    "batch_norm2d bare": row(lambda nn, t: nn.BatchNorm2d(4, affine=False), IMAGE),
    "batch_norm2d untracked": row(lambda nn, t: nn.BatchNorm2d(4, track_running_stats=False), IMAGE),
    "batch_norm2d without bias": row(lambda nn, t: nn.BatchNorm2d(4, bias=False), IMAGE),
    "batch_norm3d": row(lambda nn, t: nn.BatchNorm3d(2), (2, 2, 3, 2, 2)),
    "layer_norm of one example": row(lambda nn, t: nn.LayerNorm(5), (5,)),
    "layer_norm": row(lambda nn, t: nn.LayerNorm(5), (2, 3, 5)),
    "layer_norm of two axes": row(lambda nn, t: nn.LayerNorm([3, 5], eps=1e-3), (2, 3, 5)),
    "layer_norm bare": row(lambda nn, t: nn.LayerNorm(5, elementwise_affine=False), (2, 5)),
    "layer_norm without bias": row(lambda nn, t: nn.LayerNorm(5, bias=False), (2, 5)),
    "group_norm": row(lambda nn, t: nn.GroupNorm(2, 4), IMAGE),
    "group_norm bare": row(lambda nn, t: nn.GroupNorm(4, 4, affine=False), (2, 4, 5)),
    "group_norm without bias": row(lambda nn, t: nn.GroupNorm(2, 4, bias=False), IMAGE),
    "instance_norm2d without bias": row(
        lambda nn, t: nn.InstanceNorm2d(4, affine=True, track_running_stats=True, bias=False), IMAGE
    ),
    "instance_norm2d": row(lambda nn, t: nn.InstanceNorm2d(4), IMAGE),
    "instance_norm2d tracked": row(
        lambda nn, t: nn.InstanceNorm2d(4, affine=True, track_running_stats=True), IMAGE
    ),
    "instance_norm2d of one example": row(lambda nn, t: nn.InstanceNorm2d(4, affine=True), IMAGE[1:]),
    "instance_norm1d": row(
        lambda nn, t: nn.InstanceNorm1d(4, affine=True, track_running_stats=True), (2, 4, 5)
    ),
    "rms_norm": row(lambda nn, t: nn.RMSNorm(5), (2, 3, 5)),
    "rms_norm of two axes": row(lambda nn, t: nn.RMSNorm((3, 5), eps=0.01), (2, 3, 5)),
    # sequences
    "rnn": row(lambda nn, t: first(nn, nn.RNN(3, 4)), (5, 2, 3)),
    "rnn of relu": row(
        lambda nn, t: first(nn, nn.RNN(3, 4, 2, nonlinearity="relu", bias=False, bidirectional=True)),
        (4, 2, 3),
    ),
    "lstm": row(lambda nn, t: first(nn, nn.LSTM(3, 4, batch_first=True)), (2, 5, 3)),
    "lstm of two layers": row(lambda nn, t: first(nn, nn.LSTM(3, 2, 2, bidirectional=True)), (4, 2, 3)),
    "lstm projected": row(
        lambda nn, t: first(nn, nn.LSTM(3, 4, 2, bias=False, bidirectional=True, proj_size=2)), (4, 2, 3)
    ),
    "lstm of one sequence": row(lambda nn, t: first(nn, nn.LSTM(3, 4)), (5, 3)),
    "gru": row(lambda nn, t: first(nn, nn.GRU(3, 4, bidirectional=True)), (4, 2, 3)),
    "gru of two layers": row(lambda nn, t: first(nn, nn.GRU(3, 2, 2, bias=False)), (4, 2, 3)),
    "rnn_cell": row(lambda nn, t: nn.RNNCell(3, 4, nonlinearity="relu"), (2, 3), (2, 4)),
    "lstm_cell": row(lambda nn, t: first(nn, nn.LSTMCell(3, 4)), (2, 3)),
    "gru_cell": row(lambda nn, t: nn.GRUCell(3, 4), (2, 3), (2, 4)),
    "multihead_attention": row(lambda nn, t: first(nn, nn.MultiheadAttention(6, 2)), *[(4, 2, 6)] * 3),
    "multihead_attention by blocks": row(lambda nn, t: square(nn, nn.MultiheadAttention(6, 2)), (4, 2, 6)),
    "multihead_attention of other sizes": row(
        lambda nn, t: first(
            nn,
            nn.MultiheadAttention(
                6, 3, bias=False, add_bias_kv=True, add_zero_attn=True, kdim=5, vdim=4, batch_first=True
            ),
        ),
        (2, 3, 6), (2, 4, 5), (2, 4, 4),
    ),
    "transformer_encoder_layer": row(lambda nn, t: nn.TransformerEncoderLayer(6, 2, 8, 0.0), (4, 2, 6)),
    "transformer_encoder": row(
        lambda nn, t: nn.TransformerEncoder(
            nn.TransformerEncoderLayer(4, 2, 8, 0.0, "gelu", 1e-4, True, norm_first=True, bias=False),
            2,
            nn.LayerNorm(4),
            enable_nested_tensor=False,
        ),
        (2, 4, 4),
    ),
    "transformer_decoder_layer": row(
        lambda nn, t: nn.TransformerDecoderLayer(6, 2, 8, 0.0), (4, 2, 6), (3, 2, 6)
    ),
    "transformer_decoder": row(
        lambda nn, t: nn.TransformerDecoder(nn.TransformerDecoderLayer(4, 2, 8, 0.0, norm_first=True), 2),
        (3, 4), (5, 4),
    ),
    "transformer": row(
        lambda nn, t: nn.Transformer(8, 2, 1, 2, 8, 0.0, batch_first=True), (2, 4, 8), (2, 3, 8)
    ),
    # the rest
    "dropout of nothing": row(lambda nn, t: nn.Dropout(0.0), (2, 3)),
    "dropout of everything": row(lambda nn, t: nn.Dropout2d(1.0), IMAGE),
    "dropout of volumes": row(lambda nn, t: nn.Dropout3d(1.0), (2, 3, 2, 2, 2)),
    "dropout in place": row(lambda nn, t: nn.Dropout(0.0, inplace=True), (2, 3)),
    "embedding": row(lambda nn, t: nn.Embedding(5, 3), (2, 4), kind="tokens"),
    "embedding with padding": row(lambda nn, t: nn.Embedding(5, 3, padding_idx=-3), (2, 4), kind="tokens"),
    "sequential": row(
        lambda nn, t: nn.Sequential(nn.Conv2d(4, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten()), IMAGE
    ),
    "cosine_similarity": row(lambda nn, t: nn.CosineSimilarity(), (4, 3, 2), (4, 3, 1)),
    "cosine_similarity of rows": row(lambda nn, t: nn.CosineSimilarity(dim=-1, eps=1e-4), (4, 3), (4, 3)),
    "pairwise_distance": row(lambda nn, t: nn.PairwiseDistance(), (4, 3), (4, 3)),
    "pairwise_distance of 3": row(lambda nn, t: nn.PairwiseDistance(3.0, 0.1, True), (4, 3), (4, 3)),
    "triplet_margin": row(lambda nn, t: nn.TripletMarginLoss(), (6, 3), (6, 3), (6, 3)),
    "triplet_margin with swap": row(
        lambda nn, t: nn.TripletMarginLoss(2.0, p=3, swap=True, reduction="none"), (6, 3), (6, 3), (6, 3)
    ),
    "gaussian_nll": row(lambda nn, t: nn.GaussianNLLLoss(), (4, 3), (4, 3), (4, 3), kind="unit"),
    "gaussian_nll full": row(
        lambda nn, t: nn.GaussianNLLLoss(full=True, reduction="sum"), (4, 3), (4, 3), (4, 1), kind="unit"
    ),
    # activations
    "relu": row(lambda nn, t: nn.ReLU(), (3, 7)),
    "relu6": row(lambda nn, t: nn.ReLU6(), (3, 7)),
    "leaky_relu": row(lambda nn, t: nn.LeakyReLU(0.2), (3, 7)),
    "prelu": row(lambda nn, t: nn.PReLU(), (3, 7)),
    "prelu of channels": row(lambda nn, t: nn.PReLU(4, init=0.1), IMAGE),
    "elu": row(lambda nn, t: nn.ELU(1.5), (3, 7)),
    "selu": row(lambda nn, t: nn.SELU(), (3, 7)),
    "gelu": row(lambda nn, t: nn.GELU(), (3, 7)),
    "gelu by tanh": row(lambda nn, t: nn.GELU(approximate="tanh"), (3, 7)),
    "silu": row(lambda nn, t: nn.SiLU(), (3, 7)),
    "mish": row(lambda nn, t: nn.Mish(), (3, 7)),
    "sigmoid": row(lambda nn, t: nn.Sigmoid(), (3, 7)),
    "tanh": row(lambda nn, t: nn.Tanh(), (3, 7)),
    "softplus": row(lambda nn, t: nn.Softplus(2), (3, 7)),
    "softsign": row(lambda nn, t: nn.Softsign(), (3, 7)),
    "hardsigmoid": row(lambda nn, t: nn.Hardsigmoid(), (3, 7)),
    "hardswish": row(lambda nn, t: nn.Hardswish(), (3, 7)),
    "in place": row(
        lambda nn, t: nn.Sequential(
            nn.Linear(5, 7), nn.LeakyReLU(0.2, True), nn.Linear(7, 3), nn.ELU(1.2, True)
        ),
        (3, 5),
    ),
    "celu": row(lambda nn, t: nn.CELU(0.7), (3, 7)),
    "hardtanh": row(lambda nn, t: nn.Hardtanh(-0.5, 0.8), (3, 7)),
    "threshold": row(lambda nn, t: nn.Threshold(0.2, -3.0), (3, 7)),
    "logsigmoid": row(lambda nn, t: nn.LogSigmoid(), (3, 7)),
    "glu": row(lambda nn, t: nn.GLU(), (3, 8)),
    "glu of channels": row(lambda nn, t: nn.GLU(1), IMAGE),
    "softmax": row(lambda nn, t: nn.Softmax(dim=1), (3, 7, 2)),
    "log_softmax": row(lambda nn, t: nn.LogSoftmax(dim=-1), (3, 7)),
}  # fmt: skip

WEIGHTS = [0.5, 2.0, 1.0]

LOSSES: dict[str, Row] = {
    "mse": row(lambda nn, t: nn.MSELoss(), (4, 3), target="normal"),
    "mse sum": row(lambda nn, t: nn.MSELoss(reduction="sum"), (4, 3), target="normal"),
    "mse none": row(lambda nn, t: nn.MSELoss(reduction="none"), (4, 3), target="normal"),
    "l1": row(lambda nn, t: nn.L1Loss(), (4, 3), target="normal"),
    "smooth_l1": row(lambda nn, t: nn.SmoothL1Loss(beta=0.7), (4, 3), target="normal"),
    "smooth_l1 of beta 0": row(lambda nn, t: nn.SmoothL1Loss(beta=0.0), (4, 3), target="normal"),
    "huber": row(lambda nn, t: nn.HuberLoss(delta=0.6, reduction="none"), (4, 3), target="normal"),
    "bce": row(lambda nn, t: nn.BCELoss(), (4, 3), kind="unit", target="unit"),
    "bce weighted": row(lambda nn, t: nn.BCELoss(weight=t(WEIGHTS)), (4, 3), kind="unit", target="unit"),
    "bce with logits": row(lambda nn, t: nn.BCEWithLogitsLoss(), (4, 3), target="unit"),
    "bce with logits weighted": row(
        lambda nn, t: nn.BCEWithLogitsLoss(weight=t(WEIGHTS), pos_weight=t([3.0, 0.1, 1.0]), reduction="sum"),
        (4, 3),
        target="unit",
    ),
    "kl_div": row(lambda nn, t: nn.KLDivLoss(reduction="batchmean"), (4, 3), target="one-hot"),
    "kl_div sum": row(lambda nn, t: nn.KLDivLoss(reduction="sum"), (4, 3), target="unit"),
    "kl_div of logs": row(
        lambda nn, t: nn.KLDivLoss(reduction="none", log_target=True), (4, 3), target="logs"
    ),
    "hinge_embedding": row(lambda nn, t: nn.HingeEmbeddingLoss(margin=0.8), (4, 3), target="signs"),
    "soft_margin": row(lambda nn, t: nn.SoftMarginLoss(), (4, 3), target="signs"),
    "poisson_nll": row(lambda nn, t: nn.PoissonNLLLoss(), (4, 3), target="counts"),
    "poisson_nll of rates": row(
        lambda nn, t: nn.PoissonNLLLoss(log_input=False, full=True, reduction="none"),
        (4, 3), kind="unit", target="counts",
    ),
    "margin_ranking": row(lambda nn, t: nn.MarginRankingLoss(0.4), (7,), (7,), target="signs"),
    "cosine_embedding": row(lambda nn, t: nn.CosineEmbeddingLoss(), (8, 3), (8, 3), target="signs of rows"),
    "cosine_embedding margin": row(
        lambda nn, t: nn.CosineEmbeddingLoss(0.3, reduction="sum"), (8, 3), (8, 3), target="signs of rows"
    ),
    "nll": row(lambda nn, t: nn.NLLLoss(), (4, 3), target="3"),
    "nll weighted": row(lambda nn, t: nn.NLLLoss(t(WEIGHTS), ignore_index=1), (2, 3, 4, 2), target="3"),
    "nll none": row(lambda nn, t: nn.NLLLoss(t(WEIGHTS), reduction="none"), (4, 3), target="3"),
    "cross_entropy": row(lambda nn, t: nn.CrossEntropyLoss(), (4, 3), target="3"),
    "cross_entropy of one example": row(lambda nn, t: nn.CrossEntropyLoss(), (3,), target="3"),
    "cross_entropy weighted": row(lambda nn, t: nn.CrossEntropyLoss(weight=t(WEIGHTS)), (4, 3), target="3"),
    "cross_entropy of images": row(
        lambda nn, t: nn.CrossEntropyLoss(ignore_index=0), (2, 3, 4, 2), target="3"
    ),
    "cross_entropy smoothed": row(
        lambda nn, t: nn.CrossEntropyLoss(label_smoothing=0.1, ignore_index=2), (9, 3), target="3"
    ),
    "cross_entropy smoothed and weighted": row(
        lambda nn, t: nn.CrossEntropyLoss(t(WEIGHTS), label_smoothing=0.2, ignore_index=2), (9, 3), target="3"
    ),
    "cross_entropy none": row(
        lambda nn, t: nn.CrossEntropyLoss(t(WEIGHTS), reduction="none", ignore_index=1), (9, 3), target="3"
    ),
    "cross_entropy sum": row(lambda nn, t: nn.CrossEntropyLoss(reduction="sum"), (2, 3, 5), target="3"),
    "cross_entropy of probabilities": row(lambda nn, t: nn.CrossEntropyLoss(), (4, 3), target="one-hot"),
    "cross_entropy of weighted probabilities": row(
        lambda nn, t: nn.CrossEntropyLoss(t(WEIGHTS), label_smoothing=0.3), (2, 3, 4), target="unit"
    ),
}  # fmt: skip


def inputs_of(row: Row, rng: np.random.Generator) -> list[np.ndarray]:
    """float64 arrays, or tokens."""
    return [sample(row.kind, shape, rng) for shape in row.shapes]


def target_of(row: Row, rng: np.random.Generator) -> np.ndarray:
    shape = row.shapes[0]
    if row.target.isdigit():
        return rng.integers(0, int(row.target), (shape[0], *shape[2:]) if len(shape) > 1 else ())
    return sample(row.target, shape, rng)


def sample(kind: str, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    if kind == "normal":
        return rng.standard_normal(shape)
    if kind == "unit":
        return rng.uniform(0.05, 0.95, shape)
    if kind == "signs":
        return rng.choice([-1.0, 1.0], shape)
    if kind == "signs of rows":
        return rng.choice([-1.0, 1.0], shape[:1])
    if kind == "counts":
        return rng.integers(0, 9, shape).astype(np.float64)
    if kind == "logs":
        return np.log(rng.uniform(0.05, 0.95, shape))
    if kind == "one-hot":
        return np.eye(shape[1])[rng.integers(0, shape[1], shape[0])]
    return rng.integers(0, 5, shape)
