"""Configurations of Keras 1 and 2 with the names, the defaults and the classes of Keras 3."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from cortex_core.exchange.keras import translators
from cortex_core.exchange.keras.model import release

Fields = dict[str, Any]

KINDS = {
    "AtrousConvolution1D": "Conv1D",
    "AtrousConvolution2D": "Conv2D",
    "BatchNormalizationV1": "BatchNormalization",
    "BatchNormalizationV2": "BatchNormalization",
    "Convolution1D": "Conv1D",
    "Convolution2D": "Conv2D",
    "Convolution3D": "Conv3D",
    "CuDNNGRU": "GRU",
    "CuDNNLSTM": "LSTM",
    "Deconvolution2D": "Conv2DTranspose",
    "Deconvolution3D": "Conv3DTranspose",
    "SeparableConvolution1D": "SeparableConv1D",
    "SeparableConvolution2D": "SeparableConv2D",
    "SyncBatchNormalization": "BatchNormalization",
    "TimeDistributedDense": "Dense",
}
FIELDS = {
    "atrous_rate": "dilation_rate",
    "b_constraint": "bias_constraint",
    "b_regularizer": "bias_regularizer",
    "beta_init": "beta_initializer",
    "bias": "use_bias",
    "border_mode": "padding",
    "dim_ordering": "data_format",
    "dropout_U": "recurrent_dropout",
    "dropout_W": "dropout",
    "filter_length": "kernel_size",
    "gamma_init": "gamma_initializer",
    "init": "kernel_initializer",
    "inner_activation": "recurrent_activation",
    "inner_init": "recurrent_initializer",
    "length": "size",
    "nb_filter": "filters",
    "output_dim": "units",
    "p": "rate",
    "pool_length": "pool_size",
    "sigma": "stddev",
    "stride": "strides",
    "subsample": "strides",
    "subsample_length": "strides",
    "U_regularizer": "recurrent_regularizer",
    "W_constraint": "kernel_constraint",
    "W_regularizer": "kernel_regularizer",
}
OF_EMBEDDING = {
    "init": "embeddings_initializer",
    "output_dim": "output_dim",
    "W_constraint": "embeddings_constraint",
    "W_regularizer": "embeddings_regularizer",
}
OF_TRAINING = ("consume_less", "forget_bias_init")
"""Fields of Keras 1 that say nothing of what a trained layer computes."""

KERNELS = (("nb_row", "nb_col"), ("kernel_dim1", "kernel_dim2", "kernel_dim3"))
ORDERS = {"th": "channels_first", "tf": "channels_last", "default": "channels_last"}
FORMER = ("Highway", "MaxoutDense")
"""Classes of Keras 1 that Keras 2 kept as they were."""
SILENT = tuple(f"{kind}{rank}D" for kind in ("Cropping", "UpSampling", "ZeroPadding") for rank in (2, 3))
"""Classes whose order of axes Keras 1 does not write: when it reads them, its settings say it."""
MERGES = {
    "ave": "Average",
    "concat": "Concatenate",
    "dot": "Dot",
    "max": "Maximum",
    "min": "Minimum",
    "mul": "Multiply",
    "sum": "Add",
}
HELD = ("GRUCell", "LSTMCell", "SimpleRNNCell", "StackedRNNCells")
"""Classes of Keras that have no translator: what they say is read with the layer around them."""
STEEP = "hard_sigmoid_0.2"
"""`hard_sigmoid` before Keras 3: its slope is 0.2, not 1/6."""


def modern(kind: str, config: Mapping[str, Any], version: str) -> tuple[str, Fields]:
    """The class and the configuration of a layer as Keras 3 would have them.

    Of a class that is not one of Keras's the fields have the meaning that its author gave them.
    """
    known = release(version) < (3,) and _is_known(kind)
    old = release(version) < (2,) or kind in FORMER
    fields = _renamed(kind, config) if known and old else dict(config)
    if "batch_input_shape" in fields:
        fields["batch_shape"] = fields.pop("batch_input_shape")
    change = CHANGES.get(kind)
    if change is not None:
        change(fields)
    if known:
        _defaults(KINDS.get(kind, kind), fields)
    if kind == "Merge":
        return _merged(fields)
    return KINDS.get(kind, kind), fields


def _is_known(kind: str) -> bool:
    """Inputs have no translator; looking for it would import the modules of all."""
    if kind == "InputLayer":
        return False
    return kind in KINDS or kind in HELD or translators.find(kind) is not None


def _renamed(kind: str, config: Mapping[str, Any]) -> Fields:
    names = {**FIELDS, **OF_EMBEDDING} if kind == "Embedding" else FIELDS
    fields = {names.get(key, key): value for key, value in config.items() if key not in OF_TRAINING}
    for parts in KERNELS:
        if all(part in fields for part in parts):
            fields["kernel_size"] = [fields.pop(part) for part in parts]
    order = fields.get("data_format")
    if isinstance(order, str):
        fields["data_format"] = ORDERS.get(order, order)
    return fields


def orders(config: Any) -> set[str]:
    """The orders of axes that the layers of a configuration of Keras 1 have."""
    found, left = set(), [config]
    while left:
        inner = left.pop()
        if isinstance(inner, Mapping):
            order = inner.get("dim_ordering")
            found |= {ORDERS[order]} if isinstance(order, str) and order in ORDERS else set()
            left += inner.values()
        elif isinstance(inner, list):
            left += inner
    return found


def _defaults(kind: str, fields: Fields) -> None:
    """Writes out what Keras 3 would take to mean something else."""
    if kind in ("LSTM", "GRU", "ConvLSTM2D"):
        fields.setdefault("recurrent_activation", "hard_sigmoid")
    if kind == "ConvLSTM2D":
        fields.setdefault("strides", [1, 1])  # Keras 1 does not write them, and builds it with these
    if kind == "GRU":
        fields.setdefault("reset_after", False)
    for key, value in fields.items():
        if value == "hard_sigmoid" and (key == "activation" or key.endswith("_activation")):
            fields[key] = STEEP


def _merged(fields: Fields) -> tuple[str, Fields]:
    """The layer that a Merge of Keras 1 stands for; itself where none does."""
    mode, kind = fields.get("mode"), MERGES.get(str(fields.get("mode")))
    if kind is None or fields.get("mode_type", "raw") != "raw":
        told: Fields = {
            key: fields[key] for key in ("name", "trainable", "dot_axes", "arguments") if key in fields
        }
        return "Merge", {**told, "mode": mode}
    made: Fields = {key: fields[key] for key in ("name", "trainable") if key in fields}
    if kind == "Concatenate":
        made["axis"] = fields.get("concat_axis", -1)
    if kind == "Dot":
        axes = fields.get("dot_axes", -1)
        made["axes"] = [_only(axis) for axis in axes] if isinstance(axes, list) else axes
    return kind, made


def _only(x: Any) -> Any:
    """What a list of one holds."""
    return x[0] if isinstance(x, list) and len(x) == 1 else x


def _batch_normalization(fields: Fields) -> None:
    if fields.get("mode") == 0:
        del fields["mode"]
    if "axis" in fields:
        fields["axis"] = _only(fields["axis"])


def _leaky_relu(fields: Fields) -> None:
    if "alpha" in fields:
        fields["negative_slope"] = fields.pop("alpha")


def _embedding(fields: Fields) -> None:
    fields.pop("dropout", None)  # of whole words, in training


def _zero_padding1d(fields: Fields) -> None:
    if isinstance(fields.get("padding"), dict):
        fields["padding"] = _sides(fields["padding"], "left", "right")


def _zero_padding2d(fields: Fields) -> None:
    """Keras 1 takes four numbers, or a mapping, where the sides differ."""
    padding = fields.get("padding")
    if isinstance(padding, dict):
        fields["padding"] = [_sides(padding, "top", "bottom"), _sides(padding, "left", "right")]
    elif isinstance(padding, list) and len(padding) == 4:
        fields["padding"] = [padding[:2], padding[2:]]


def _sides(padding: Mapping[str, Any], *names: str) -> list[Any]:
    return [padding.get(f"{name}_pad", 0) for name in names]


def _cudnn_lstm(fields: Fields) -> None:
    fields |= {"activation": "tanh", "recurrent_activation": "sigmoid", "use_bias": True}


def _cudnn_gru(fields: Fields) -> None:
    _cudnn_lstm(fields)
    fields["reset_after"] = True


CHANGES: dict[str, Callable[[Fields], None]] = {
    "BatchNormalization": _batch_normalization,
    "BatchNormalizationV1": _batch_normalization,
    "BatchNormalizationV2": _batch_normalization,
    "CuDNNGRU": _cudnn_gru,
    "CuDNNLSTM": _cudnn_lstm,
    "Embedding": _embedding,
    "LeakyReLU": _leaky_relu,
    "SyncBatchNormalization": _batch_normalization,
    "ZeroPadding1D": _zero_padding1d,
    "ZeroPadding2D": _zero_padding2d,
}
