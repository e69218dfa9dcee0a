"""What a layer is called with beside its inputs is honoured, or refused by its name; never dropped."""

from __future__ import annotations

import inspect
import re
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cortex_compute.errors import DataError, SpecError
from cortex_core.exchange.keras import translators
from cortex_core.exchange.keras.at import PASSES_MASK, TRANSLATORS
from cortex_core.exchange.keras.convert import convert
from cortex_core.exchange.keras.imported import load
from cortex_core.exchange.keras.model import Call, File, Layer, Model, Out, Weight
from tests.exchange.keras.support import check_layers
from tests.exchange.keras.test_operations import A, B, converted, layer, weight

ROWS = np.random.default_rng(0).normal(size=(4, 12)).astype(np.float32)
LSTM = {
    "units": 3,
    "activation": "tanh",
    "recurrent_activation": "sigmoid",
    "use_bias": False,
}


def called(kind: str, *args: Any, config: Any = None, weights: Any = (), **keywords: Any) -> Layer:
    return Layer("it", kind, config or {}, (Call(args, keywords),), tuple(map(weight, weights)))


def lstm(**keywords: Any) -> Layer:
    return called("LSTM", A, config=LSTM, weights=(ROWS, ROWS[:3]), **keywords)


def attention(**keywords: Any) -> Layer:
    config = {"num_heads": 1, "key_dim": 4, "use_bias": False}
    kernels = [ROWS[:, :4].reshape(4, 1, 4)] * 3 + [ROWS[:, :4].reshape(1, 4, 4)]
    return called("MultiHeadAttention", A, A, config=config, weights=kernels, **keywords)


TRIANGLE = np.tri(3).tolist()


@pytest.mark.parametrize(
    ("made", "told"),
    [
        (called("Dropout", A, True, config={"rate": 0.5}), "it is called with True"),
        (called("Add", [A, [1.0, 2.0, 3.0, 4.0]]), "it is called with 1.0"),
        (called("Activation", A, context=B, config={"activation": "relu"}), "it is called with context"),
        (lstm(initial_state=[[0.0] * 3, [0.0] * 3]), "it is called with 0.0"),
        (lstm(mask=[[True, True, False]]), "its mask is a constant"),
        (lstm(constants=[B]), "constants of a recurrent layer"),
        (lstm(training=1), "it is called with training"),
        (attention(attention_mask=np.tri(3).T.tolist()), "not the triangle of causal attention"),
        (attention(attention_mask=TRIANGLE[:2]), r"a constant of shape \[2, 3\], which does not fit"),
        (attention(value_mask=B), "it is called with value_mask"),  # which Keras 2.5 does not know
        (attention(return_attention_scores=True), "return_attention_scores is not supported"),
        (called("Attention", [A, B], mask=[None, [True] * 3]), "its mask is not"),
    ],
)
def test_what_is_neither_a_value_nor_known_is_refused(made: Layer, told: str) -> None:
    with pytest.raises(SpecError, match=told):
        converted(made)


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ({"ragged": True}, "a (InputLayer): it takes ragged tensors"),
        ({"sparse": True}, "a (InputLayer): it takes sparse tensors"),
        ({"dtype": "string"}, "a (InputLayer): it takes text"),
    ],
)
def test_inputs_that_are_no_arrays_are_refused(config: Any, told: str) -> None:
    first = Layer("a", "InputLayer", {"batch_shape": [None, 4], **config}, (Call((), {}),))
    last = Layer("it", "Activation", {"activation": "relu"}, (Call((A,), {}),))
    model = Model("m", (first, last), (A,), (Out("it"),))
    with pytest.raises(SpecError, match=re.escape(told)):
        convert(File("2.5.0", "tensorflow", model))


def test_flags_that_say_nothing_are_no_reason_to_refuse() -> None:
    converted(lstm(training=False))
    converted(called("Dropout", A, False, config={"rate": 0.5}))


@pytest.mark.parametrize(
    ("mask", "causal"), [(TRIANGLE, True), ([TRIANGLE], True), (np.ones((3, 3)).tolist(), False)]
)
def test_a_constant_triangle_is_causal_attention(mask: Any, causal: bool) -> None:
    (made,) = (
        x for x in converted(attention(attention_mask=mask)).builder.layers if "multi_head_attention" in x
    )
    assert made["multi_head_attention"].get("causal", False) is causal


@pytest.mark.parametrize("kind", ["Attention", "AdditiveAttention"])
def test_long_sequences_take_no_triangle_of_memory(kind: str) -> None:
    """A million steps: a truth for each pair would be a terabyte, before anything is computed."""
    made = called(kind, [A, B], config={"causal": True, "use_scale": False})
    assert converted(made, shape=(1_000_000, 4)).outputs[0].shape == (1_000_000, 4)
    seen = Layer("seen", "ops.NotEqual", {}, (Call((Out("b"), 0.0), {}),))
    sums = Layer("any", "ops.Any", {"axis": -1}, (Call((Out("seen"),), {}),))
    whole = replace(
        attention(), calls=(Call((A, A), {"attention_mask": Out("any"), "use_causal_mask": True}),)
    )
    assert converted(whole, seen, sums, shape=(1_000_000, 4)).outputs[0].shape == (1_000_000, 4)


def test_the_reason_of_an_array_that_cannot_be_read_is_told() -> None:
    def damaged() -> np.ndarray:
        raise DataError("the file ends too early")

    kernel = Weight("", (4, 2), "float32", damaged)
    made = Layer("it", "Dense", {"units": 2, "use_bias": False}, (Call((A,), {}),), (kernel,))
    with pytest.raises(SpecError, match=r"it \(Dense\): the file ends too early"):
        converted(made)


def test_penalties_that_are_not_imported_are_told_once() -> None:
    of = {"class_name": "L1L2", "config": {"l1": 0.0, "l2": 0.5}}
    config = {"units": 4, "use_bias": False, "kernel_regularizer": of, "activity_regularizer": of}
    twice = (Call((A,), {}), Call((Out("it"),), {}))
    made = converted(Layer("it", "Dense", config, twice, (weight(ROWS[:, :4]),)))
    assert made.notes == ["it: its activity_regularizer is not imported"]
    inner = {"class_name": "Dense", "config": config}
    wrapped = layer("TimeDistributed", ROWS[:, :4], layer=inner)
    assert converted(wrapped).notes == ["it: its activity_regularizer is not imported"]


def test_penalties_of_the_projections_of_attention() -> None:
    of = {"class_name": "L2", "config": {"l2": 0.5}}
    made = attention()
    config = {
        **made.config,
        "kernel_regularizer": of,
        "kernel_constraint": {"class_name": "MaxNorm", "config": {}},
    }
    found = converted(Layer("it", made.kind, config, made.calls, made.weights))
    (entry,) = (x["multi_head_attention"] for x in found.builder.layers if "multi_head_attention" in x)
    names = ("query_kernel", "key_kernel", "value_kernel", "output_kernel")
    assert entry["penalty"] == {name: {"l2": 0.5} for name in names}
    told = [f"it: the constraint 'MaxNorm' of {name} is not imported" for name in names]
    assert len(found.notes) == len(told)
    assert all(note.startswith(start) for note, start in zip(found.notes, told))


# Masks, beside Keras

REQUIRED: dict[str, Any] = {
    **dict.fromkeys(("units", "filters", "kernel_size", "output_size", "n", "axes", "output_shape"), 1),
    **dict.fromkeys(("num_heads", "key_dim", "head_dim", "num_query_heads", "num_key_value_heads"), 1),
    **{"input_dim": 1, "output_dim": 1, "rate": 0.1, "stddev": 0.1, "scale": 1.0, "activation": "relu"},
    **{"height": 2, "width": 2, "height_factor": 0.1, "size": 2, "bin_boundaries": [0.0]},
    **{"dims": (1,), "target_shape": (1,), "equation": "ab,bc->ac"},
}
OF_THEIR_OWN = ("MultiHeadAttention", "GroupQueryAttention", "TimeDistributed")
"""Translators of these hand the mask on themselves."""
UNASKED = ("SpectralNormalization",)
"""Keras says that it drops masks; but the layer inside hands them on."""


@pytest.mark.peers
def test_masks_go_through_the_classes_that_hand_them_on_in_keras() -> None:
    keras = pytest.importorskip("keras")
    translators.load()
    layers = {kind: getattr(keras.layers, kind) for kind in TRANSLATORS if hasattr(keras.layers, kind)}
    assert len(layers) > 80
    wanted = {kind for kind, of_keras in layers.items() if _hands_on(keras, of_keras)}
    assert wanted - {*OF_THEIR_OWN} == (PASSES_MASK & layers.keys()) - {*UNASKED}


def _hands_on(keras: Any, of_keras: Any) -> bool:
    """Whether a class says that the mask of its input is that of what it gives."""
    inner = keras.layers.LSTM(1) if of_keras is keras.layers.Bidirectional else keras.layers.Dense(1)
    known = {**REQUIRED, "layer": inner, "cell": keras.layers.LSTMCell(1)}
    parameters = inspect.signature(of_keras).parameters.values()
    needed = [x.name for x in parameters if x.default is x.empty and x.kind is x.POSITIONAL_OR_KEYWORD]
    made = of_keras(**{name: known.get(name, 1) for name in needed})
    return made.supports_masking and type(made).compute_mask is keras.Layer.compute_mask


@pytest.mark.peers
@pytest.mark.filterwarnings("ignore:Layer 'functional:UserWarning")
@pytest.mark.parametrize("several", [False, True])
def test_a_nested_model_is_called_with_a_mask(several: bool) -> None:
    """It stands above the one that the value brings."""
    keras = pytest.importorskip("keras")
    layers = keras.layers
    rng = np.random.default_rng(1)
    tokens, kept = rng.integers(0, 4, (3, 6)), rng.integers(0, 2, (3, 6))
    kept[:, 0] = 1
    a, b = keras.Input((6, 4)), keras.Input((6, 4))
    both = layers.Add()([layers.LSTM(5)(a), layers.GRU(5)(b)])
    inner = keras.Model([a, b], both) if several else keras.Model(a, layers.LSTM(5)(a))
    t, k = (keras.Input((6,), dtype="int32") for _ in range(2))
    embedded, mask = layers.Embedding(4, 4, mask_zero=True)(t), keras.ops.not_equal(k, 0)
    y = inner([embedded, embedded], mask=[mask, None]) if several else inner(embedded, mask=mask)
    model = keras.Model([t, k], layers.Dense(2)(y))
    wanted, other = (np.asarray(model([tokens, n])) for n in (kept, np.ones_like(kept)))
    assert np.abs(wanted - other).max() > 0.01
    for name in ("model.h5", "model.keras"):
        with tempfile.TemporaryDirectory() as folder:
            model.save(Path(folder) / name)
            found = load(Path(folder) / name)
        names = [value.source for value in found.converted.inputs]
        predicted = np.asarray(found.network.predict(dict(zip(names, (tokens, kept)))))
        np.testing.assert_allclose(predicted, wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.peers
def test_constant_masks_of_attention() -> None:
    keras = pytest.importorskip("keras")
    triangle = np.tril(np.ones((6, 6), bool))

    def call(x: Any) -> Any:
        made = keras.layers.MultiHeadAttention(2, 3)
        return [made(x, x, attention_mask=triangle), made(x, x, attention_mask=triangle[None])]

    check_layers(None, (6, 4), call=call)
