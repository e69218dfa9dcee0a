"""How many arrays a layer has, where a file holds those of several layers in a row."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from cortex_core.exchange.keras.model import Config, Layer

Counts = tuple[int, int]
"""Of the weights that are trained, and of the others."""

OF_OLD_CELLS = {"LSTM": 12, "GRU": 9, "SimpleRNN": 3}
"""Keras 1 has one array for each gate."""


def counts(kind: str, config: Config, keras_1: bool = False) -> Counts:
    """Of a layer of this class and configuration.  Those that are not in the table have none."""
    if kind == "Bidirectional":
        trained, others = _inner(config, keras_1)
        return 2 * trained, 2 * others
    if kind == "TimeDistributed":
        return _inner(config, keras_1)
    if kind == "SpectralNormalization":
        trained, others = _inner(config, keras_1)
        return trained, others + 1
    if keras_1 and kind in OF_OLD_CELLS:
        return OF_OLD_CELLS[kind], 0
    return COUNTS[kind](config) if kind in COUNTS else (0, 0)


def untrained(layer: Layer) -> int:
    """How many weights of a layer, its last ones, are never trained."""
    return min(counts(layer.kind, layer.config)[1], len(layer.weights))


def _inner(config: Config, keras_1: bool) -> Counts:
    layer: Any = config.get("layer")
    known = isinstance(layer, Mapping) and isinstance(layer.get("config"), Mapping)
    return counts(layer["class_name"], layer["config"], keras_1) if known else (0, 0)


def _with_bias(kernels: int, each: bool = False) -> Callable[[Config], Counts]:
    def count(config: Config) -> Counts:
        bias = config.get("use_bias", True) is not False
        return kernels * (2 if bias else 1) if each else kernels + bias, 0

    return count


def _normalization(others: int) -> Callable[[Config], Counts]:
    return lambda config: (sum(config.get(key, True) is not False for key in ("scale", "center")), others)


def _scaled(default: bool) -> Callable[[Config], Counts]:
    return lambda config: (int(bool(config.get("use_scale", default))), 0)


ONE_KERNEL = (
    "Dense", "Conv1D", "Conv2D", "Conv3D", "Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose",
    "DepthwiseConv1D", "DepthwiseConv2D", "LocallyConnected1D", "LocallyConnected2D", "MaxoutDense",
)  # fmt: skip
TWO_KERNELS = (
    "SeparableConv1D", "SeparableConv2D", "SimpleRNN", "LSTM", "GRU", "ConvLSTM1D", "ConvLSTM2D",
    "ConvLSTM3D",
)  # fmt: skip

COUNTS: dict[str, Callable[[Config], Counts]] = {
    **dict.fromkeys(ONE_KERNEL, _with_bias(1)),
    **dict.fromkeys(TWO_KERNELS, _with_bias(2)),
    **dict.fromkeys(("MultiHeadAttention", "GroupQueryAttention"), _with_bias(4, each=True)),
    **dict.fromkeys(("Embedding", "PReLU", "LayerScale", "RMSNormalization"), lambda config: (1, 0)),
    **dict.fromkeys(("BatchNormalization", "SyncBatchNormalization"), _normalization(2)),
    "Highway": _with_bias(2, each=True),
    "ParametricSoftplus": lambda config: (2, 0),
    "LayerNormalization": _normalization(0),
    "GroupNormalization": _normalization(0),
    "EinsumDense": lambda config: (1 + (config.get("bias_axes") is not None), 0),
    "Attention": _scaled(False),
    "AdditiveAttention": _scaled(True),
    "Normalization": lambda config: (0, 3 if config.get("mean") is None else 0),
}
