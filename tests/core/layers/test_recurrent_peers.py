"""Recurrent layers against PyTorch and Keras from equal weights, in float64: values and gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from cortex_core.registry import LAYERS
from tests.core.keras_in_float64 import keras_in_float64
from tests.core.layers.use import Used

pytestmark = pytest.mark.peers

RNG = np.random.default_rng(9)
X = RNG.standard_normal((3, 6, 4))
LENGTHS = np.array([6, 2, 4])
MASK = np.arange(6) < LENGTHS[:, None]
IMAGES = RNG.standard_normal((2, 4, 5, 4, 3))
UNITS = 5


def close(a: Any, b: Any) -> None:
    np.testing.assert_allclose(np.asarray(a), np.asarray(b), rtol=1e-10, atol=1e-12)


def gradients(used: Used) -> dict[str, np.ndarray]:
    """Of the sum of the cubes of what the layer gives, by x and the parameters."""
    total: Any = sum((y * y * y).sum() for y in (used.output, *used.others.values()))
    total.backward()
    named: dict[str, Any] = {"x": used.inputs[0], **used.parameters}
    return {name: value.grad.numpy() for name, value in named.items()}


# PyTorch: rows of gates, two biases


def torch_weights(kind: str, values: dict[str, Any], torch: Any, suffix: str) -> dict[str, Any]:
    made = {"weight_ih": values["kernel"].T, "weight_hh": values["recurrent_kernel"].T}
    made["bias_ih"], second = values["bias"], torch.zeros_like(values["bias"])
    if kind == "gru":
        second = torch.cat([second[: 2 * UNITS], values["recurrent_bias"]])
    made["bias_hh"] = second
    if "projection" in values:
        made["weight_hr"] = values["projection"].T
    return {f"{name}_l0{suffix}": value for name, value in made.items()}


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize(("kind", "fields", "options"), [
    ("simple_rnn", {}, {}), ("simple_rnn", {"activation": "relu"}, {"nonlinearity": "relu"}),
    ("lstm", {}, {}), ("lstm", {"projection": 3}, {"proj_size": 3}), ("gru", {}, {}),
])  # fmt: skip
def test_pytorch(kind: str, fields: Any, options: Any, masked: bool, bidirectional: bool) -> None:
    torch = pytest.importorskip("torch")
    layer = LAYERS[kind](units=UNITS, gives="both", **fields)
    whole = LAYERS["bidirectional"](layer=layer) if bidirectional else layer
    named: Any = {"mask": MASK} if masked else {}
    used = Used(whole, X, **named)

    x = torch.tensor(X, requires_grad=True)
    values = {k: torch.tensor(np.asarray(v), requires_grad=True) for k, v in used.parameters.items()}
    weights = torch_weights(kind, values, torch, "") if not bidirectional else {}
    for prefix, suffix in (("forward_", ""), ("backward_", "_reverse")) if bidirectional else ():
        own = {k[len(prefix) :]: v for k, v in values.items() if k.startswith(prefix)}
        weights |= torch_weights(kind, own, torch, suffix)
    cls = {"simple_rnn": torch.nn.RNN, "lstm": torch.nn.LSTM, "gru": torch.nn.GRU}[kind]
    module = cls(4, UNITS, batch_first=True, bidirectional=bidirectional, **options).double()
    rnn = torch.nn.utils.rnn
    packed = rnn.pack_padded_sequence(x, LENGTHS, batch_first=True, enforce_sorted=False) if masked else x
    y, last = torch.func.functional_call(module, weights, (packed,))
    y = rnn.pad_packed_sequence(y, batch_first=True)[0] if masked else y
    states = [torch.cat(list(s), -1) for s in (last if kind == "lstm" else (last,))]

    close(used.y, y.detach())
    for ours, theirs in zip(used.others.values(), states):
        close(ours, theirs.detach())
    total = sum((v * v * v).sum() for v in (y, *states))
    theirs = torch.autograd.grad(total, [x, *values.values()])
    for name, wanted in zip(("x", *values), theirs):
        close(gradients(used)[name] if name == "x" else used.parameters[name].grad, wanted)


# Keras: a GRU has the update gate before the reset gate


@pytest.fixture(scope="module")
def keras() -> Any:
    return keras_in_float64()


def keras_gates(a: np.ndarray, kind: str) -> np.ndarray:
    if kind != "gru":
        return a
    r, z, m = np.split(a, 3, -1)
    return np.concatenate([z, r, m], -1)


def keras_weights(kind: str, used: Used, prefix: str = "") -> list[np.ndarray]:
    """In the order of `get_weights`."""
    values = {k: np.asarray(v) for k, v in used.parameters.items()}
    kernel, recurrent = (keras_gates(values[prefix + k], kind) for k in ("kernel", "recurrent_kernel"))
    bias = keras_gates(values[prefix + "bias"], kind)
    if prefix + "recurrent_bias" in values:
        inner = np.concatenate([np.zeros(2 * UNITS), values[prefix + "recurrent_bias"]])
        bias = np.stack([bias, inner])
    return [kernel, recurrent, bias]


def compare(keras: Any, made: Any, weights: list[np.ndarray], used: Used, **options: Any) -> None:
    """Values where steps count, and the gradient of the sum of the cubes of these by x."""
    jax = pytest.importorskip("jax")
    x = np.asarray(used.inputs[0].data)
    made.build(x.shape)
    made.set_weights(weights)
    seen = options["mask"][..., None] if "mask" in options else np.ones(x.shape[:2] + (1,) * (x.ndim - 2))

    def f(x: Any) -> Any:
        y = made(x, **options)
        return y * seen.reshape(seen.shape + (1,) * (y.ndim - seen.ndim)) if y.ndim == x.ndim else y

    close(used.y, f(x))
    close(gradients(used)["x"], jax.grad(lambda x: (f(x) ** 3).sum())(x))


HARD = {"recurrent_activation": {"hard_sigmoid": {"slope": 0.2}}}


def clipped(x: Any) -> Any:
    """`hard_sigmoid` before Keras 3."""
    import keras

    return keras.ops.clip(0.2 * x + 0.5, 0, 1)


KINDS: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "tanh": ("simple_rnn", {}, {}),
    "relu": ("simple_rnn", {"activation": "relu"}, {"activation": "relu"}),
    "lstm": ("lstm", {}, {}),
    "gru": ("gru", {}, {}),
    "gru before": ("gru", {"reset_after": False}, {"reset_after": False}),
    "hard lstm": ("lstm", HARD, {"recurrent_activation": clipped}),
    "hard lstm of Keras 3": (
        "lstm",
        {"recurrent_activation": "hard_sigmoid", "activation": "relu"},
        {"recurrent_activation": "hard_sigmoid", "activation": "relu"},
    ),
    "hard gru": ("gru", HARD, {"recurrent_activation": clipped}),
    "hard gru before": (
        "gru",
        {"reset_after": False, "activation": "relu", **HARD},
        {"reset_after": False, "activation": "relu", "recurrent_activation": clipped},
    ),
}


def peer(keras: Any, kind: str) -> Callable[..., Any]:
    found: Callable[..., Any] = getattr(
        keras.layers, {"simple_rnn": "SimpleRNN", "lstm": "LSTM", "gru": "GRU"}[kind]
    )
    return found


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize(("sequence", "masked", "reverse"), [
    (False, False, False), (False, True, True), (True, True, False), (True, False, True),
])  # fmt: skip
def test_keras(keras: Any, name: str, sequence: bool, masked: bool, reverse: bool) -> None:
    kind, fields, options = KINDS[name]
    named: Any = {"mask": MASK} if masked else {}
    layer = LAYERS[kind](units=UNITS, gives="sequence" if sequence else "last", reverse=reverse, **fields)
    used = Used(layer, X, **named)
    made = peer(keras, kind)(UNITS, return_sequences=sequence, go_backwards=reverse, **options)
    if sequence and reverse:  # Keras gives the sequence in the order in which it was walked
        made = Turned(made)
    compare(keras, made, keras_weights(kind, used), used, **named)


class Turned:
    def __init__(self, layer: Any) -> None:
        self.build, self.set_weights, self.layer = layer.build, layer.set_weights, layer

    def __call__(self, *args: Any, **options: Any) -> Any:
        return self.layer(*args, **options)[:, ::-1]


@pytest.mark.parametrize(("merge", "theirs"), [
    ("concat", "concat"), ("sum", "sum"), ("multiply", "mul"), ("average", "ave"),
])  # fmt: skip
@pytest.mark.parametrize(("sequence", "masked"), [(False, True), (True, False)])
def test_kerass_merges(keras: Any, merge: str, theirs: str, sequence: bool, masked: bool) -> None:
    named: Any = {"mask": MASK} if masked else {}
    inner = LAYERS["gru"](units=UNITS, gives="sequence" if sequence else "last", reset_after=False)
    used = Used(LAYERS["bidirectional"](layer=inner, merge=merge), X, **named)
    one = keras.layers.GRU(UNITS, return_sequences=sequence, reset_after=False)
    made = keras.layers.Bidirectional(one, merge_mode=theirs)
    weights = keras_weights("gru", used, "forward_") + keras_weights("gru", used, "backward_")
    compare(keras, made, weights, used, **named)


@pytest.mark.parametrize(("padding", "stride", "sequence"), [
    ("valid", 1, True), ("same", 1, False), ("same", 2, True), ("valid", 2, False),
])  # fmt: skip
def test_kerass_conv_lstm(keras: Any, padding: str, stride: int, sequence: bool) -> None:
    """Without a mask: on JAX Keras spreads one of images along the wrong axes."""
    layer = LAYERS["conv_lstm2d"](
        filters=2,
        kernel=[3, 2],
        padding=padding,
        stride=stride,
        gives="sequence" if sequence else "last",
    )
    used = Used(layer, IMAGES)
    made = keras.layers.ConvLSTM2D(2, (3, 2), strides=stride, padding=padding, return_sequences=sequence)
    compare(keras, made, [np.asarray(v) for v in used.parameters.values()], used)


def test_kerass_time_distributed(keras: Any) -> None:
    inner = LAYERS["conv2d"](filters=2, kernel=3, kernel_initializer="he_normal")
    used = Used(LAYERS["time_distributed"](layer=inner), IMAGES)
    made = keras.layers.TimeDistributed(keras.layers.Conv2D(2, 3))
    compare(keras, made, [np.asarray(v) for v in used.parameters.values()], used)
