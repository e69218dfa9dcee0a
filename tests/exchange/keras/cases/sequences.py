"""Recurrent layers, attention, masks."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from tests.exchange.keras.cases.table import (
    BOTH,
    LIST,
    PICTURE,
    RATE,
    UNITS,
    Settings,
    among,
    case,
    inner,
)

STEPS, LONGER = (6, 4), (7, 4)
WAYS = {
    **{"return_sequences": BOTH, "return_state": BOTH, "go_backwards": BOTH},
    "zero_output_for_mask": BOTH,
}


def _zeros_without_steps(found: Settings) -> bool:
    return found["zero_output_for_mask"] and not found["return_sequences"]


MASKED: Settings = {"masks": True, "unless": _zeros_without_steps}
CELL = {"units": UNITS, "activation": among("tanh", "relu", "linear"), "use_bias": BOTH}
GATED = {**CELL, "recurrent_activation": among("sigmoid", "hard_sigmoid", "tanh")}
case("SimpleRNN", STEPS, how=MASKED, **WAYS, **CELL)
case("LSTM", STEPS, how=MASKED, unit_forget_bias=BOTH, **WAYS, **GATED)
case("GRU", STEPS, how=MASKED, reset_after=BOTH, **WAYS, **GATED)

CELLS = st.one_of(
    inner("SimpleRNNCell", **CELL), inner("LSTMCell", **GATED), inner("GRUCell", reset_after=BOTH, **GATED)
)


def _states_of_several(found: Settings) -> bool:
    return _zeros_without_steps(found) or (found["return_state"] and isinstance(found["cell"], list))


OF_CELLS = {"masks": True, "unless": _states_of_several}
case("RNN", STEPS, how=OF_CELLS, cell=st.one_of(CELLS, st.lists(CELLS, min_size=2, max_size=2)), **WAYS)
OWN = {"units": 3, "return_sequences": BOTH}
BOTH_WAYS = st.one_of(inner("LSTM", **OWN), inner("GRU", reset_after=BOTH, **OWN), inner("SimpleRNN", **OWN))
case(
    "Bidirectional",
    STEPS,
    how={"masks": True},
    layer=BOTH_WAYS,
    merge_mode=among("concat", "sum", "mul", "ave", None),
)
AT_EACH = st.one_of(
    inner("Dense", units=3),
    inner("Conv2D", filters=2, kernel_size=3, strides=among(1, 2)),
    inner("MaxPooling2D"),
    inner("GlobalAveragePooling2D"),
    inner("BatchNormalization"),
    inner("Flatten"),
)
case("TimeDistributed", (3, *PICTURE), layer=AT_EACH)
KERNEL = {"filters": among(2, 3), "kernel_size": among(1, 3), "padding": among("same", "valid")}
STRIDES = {"strides": among(1, 2), "unit_forget_bias": BOTH}
GATES = {key: found for key, found in GATED.items() if key != "units"}
case("ConvLSTM2D", (3, 6, 5, 2), how={"unless": _zeros_without_steps}, **WAYS, **GATES, **KERNEL, **STRIDES)


def _masked(layer: Any, x: Any) -> Any:
    """Behind the layer one that takes its mask."""
    import keras

    return keras.layers.LSTM(3)(layer(x))


case("Embedding", (6,), how={"call": _masked, "tokens": 4}, input_dim=4, output_dim=UNITS, mask_zero=BOTH)
case("Masking", STEPS, how={"call": _masked, "masks": True}, mask_value=among(0.0, 1.0))

HEADS = {"num_heads": among(1, 2), "key_dim": among(2, 3), "value_dim": among(None, 4), "use_bias": BOTH}
GROUPS = {"num_query_heads": 4, "num_key_value_heads": among(1, 2, 4), "head_dim": among(2, 3)}
TWO, THREE = (STEPS, LONGER), (STEPS, LONGER, (7, 3))


def _other_values(found: Settings) -> bool:
    """Keras on JAX fails at these itself."""
    return found["value_dim"] is not None and not found["dropout"]


OF_HEADS = {"masks": True, "unless": _other_values}
case("MultiHeadAttention", TWO, THREE, how=OF_HEADS, output_shape=among(None, 5), dropout=RATE, **HEADS)
case("GroupQueryAttention", TWO, use_bias=BOTH, **GROUPS)
case("Attention", TWO, (STEPS, LONGER, LONGER), how={"masks": True, **LIST}, use_scale=BOTH, dropout=RATE)
case("AdditiveAttention", TWO, how={"masks": True, **LIST}, use_scale=BOTH)
