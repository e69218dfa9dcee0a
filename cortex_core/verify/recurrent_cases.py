"""The cases of the gradient suite for recurrent layers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from cortex_core.ops.indexing import concatenate
from cortex_core.ops.views import flatten
from cortex_core.registry import LAYERS
from cortex_core.verify.case import Case, cases, of_layer

Rng = np.random.Generator
Made = Iterator[Case]
MASK = np.array([[1, 1, 1], [1, 0, 0]], bool)
LENGTHS = np.array([1, 3])


class Whole:
    """A layer whose first states are inputs behind the sequence, and all of whose results are one vector."""

    def __init__(self, name: str, **fields: Any) -> None:
        self.layer = LAYERS[name](**fields)
        self.kind = name

    def parameters(self, x: Any, *initial: Any) -> Any:
        return self.layer.parameters(x)

    def forward(self, p: Any, x: Any, *initial: Any, **named: Any) -> Any:
        found = self.layer.forward(p, x, initial=initial, **named)
        y, others = found if isinstance(found, tuple) else (found, {})
        return concatenate([flatten(v) for v in (y, *others.values())])


def recurrent(name: str, states: int, **others: dict[str, Any]) -> None:
    """The cases that the layers of units share, and others by the fields that they change."""

    @cases("layer", name)
    def generator(rng: Rng) -> Made:
        x, initial = rng.normal(size=(2, 3, 2)), rng.normal(size=(states, 2, 2))
        yield of_layer("last", Whole(name, units=2), x, rng=rng)
        yield of_layer("backwards", Whole(name, units=2, gives="sequence", reverse=True), x, rng=rng)
        plain = Whole(name, units=2, gives="both", use_bias=False)
        yield of_layer("masked, no bias", plain, x, rng=rng, mask=MASK)
        both = Whole(name, units=2, gives="both")
        yield of_layer("from a state, lengths", both, x, *initial, rng=rng, lengths=LENGTHS)
        yield of_layer("carried", Whole(name, units=2, stateful=True), x, rng=rng)
        for variant, fields in others.items():
            drawn = np.random.default_rng(HARD_SEED) if "recurrent_activation" in fields else rng
            yield of_layer(variant, Whole(name, units=2, gives="both", **fields), x, rng=drawn, mask=MASK)
        holding = Whole(name, units=2, gives="both", masked="hold", reverse=True)
        yield of_layer("held, backwards", holding, x, *initial, rng=rng, mask=MASK)


HARD = {"recurrent_activation": {"hard_sigmoid": {"slope": 0.2}}}  # that of Keras 1 and 2
HARD_SEED = 1735  # draws weights for which no sum lies nearer than `GAP` to a corner, which the tests assert
OTHERS = {"activation": "softplus", "recurrent_activation": "softsign"}
recurrent("simple_rnn", 1, relu={"activation": "relu"}, other={"activation": "softplus"})
recurrent(
    "lstm",
    2,
    projection={"projection": 1},
    projection_backwards={"projection": 3, "reverse": True},
    hard=HARD,
    hard_relu={"activation": "relu", **HARD},
    others=OTHERS,
    others_projected={"projection": 1, **OTHERS},
)
recurrent(
    "gru",
    1,
    reset_before={"reset_after": False},
    hard=HARD,
    hard_relu_before={"reset_after": False, "activation": "relu", **HARD},
    others=OTHERS,
    others_before={"reset_after": False, **OTHERS},
)


@cases("layer", "bidirectional")
def bidirectional(rng: Rng) -> Made:
    x, lstm = rng.normal(size=(2, 3, 2)), LAYERS["lstm"](units=1, gives="both")
    initial = rng.normal(size=(4, 2, 1))
    for merge in ("concat", "sum", "multiply", "average"):
        yield of_layer(merge, Whole("bidirectional", layer=lstm, merge=merge), x, rng=rng, mask=MASK)
    yield of_layer("from states", Whole("bidirectional", layer=lstm), x, *initial, rng=rng)
    gru = LAYERS["gru"](units=1)
    yield of_layer("last", Whole("bidirectional", layer=gru), x, rng=rng)


@cases("layer", "time_distributed")
def time_distributed(rng: Rng) -> Made:
    def over(inner: str, **fields: Any) -> Any:
        return LAYERS["time_distributed"](layer=LAYERS[inner](**fields))

    yield of_layer("dense", over("dense", units=2), rng.normal(size=(2, 3, 2)), rng=rng)
    yield of_layer("conv2d", over("conv2d", filters=1, kernel=2), rng.normal(size=(2, 2, 2, 3, 1)), rng=rng)
    yield of_layer("batch_norm", over("batch_norm"), rng.normal(size=(2, 3, 2)), rng=rng)
    masked = LAYERS["time_distributed"](layer=LAYERS["lstm"](units=1, gives="sequence"), mask="m")
    words = np.stack([MASK, MASK[::-1]], 1)
    yield of_layer("lstm, masked", masked, rng.normal(size=(2, 2, 3, 2)), rng=rng, mask=words)


@cases("layer", "masked_mean")
def masked_mean(rng: Rng) -> Made:
    layer, none = LAYERS["masked_mean"](mask="m"), MASK & [[True], [False]]
    yield of_layer("sequence", layer, rng.normal(size=(2, 3, 2)), rng=rng, mask=MASK)
    yield of_layer("pictures, none", layer, rng.normal(size=(2, 3, 2, 2)), rng=rng, mask=none)


@cases("layer", "conv_lstm2d")
def conv_lstm2d(rng: Rng) -> Made:
    x, initial = rng.normal(size=(2, 3, 3, 2, 1)), rng.normal(size=(2, 2, 2, 1, 1))
    fields = {"filters": 1, "kernel": 2, "gives": "both"}
    yield of_layer("valid, from a state", Whole("conv_lstm2d", **fields), x, *initial, rng=rng)
    strided = Whole("conv_lstm2d", **fields, padding="same", stride=2, reverse=True)
    yield of_layer("same, stride 2, masked, backwards", strided, x, rng=rng, mask=MASK)
    yield of_layer("other activations", Whole("conv_lstm2d", **fields, **OTHERS), x, rng=rng)
