"""Weights of layers of a description as PyTorch's and Keras's: there and back, and the same outputs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cortex_compute.errors import ArgumentError
from cortex_core.exchange.weights import from_keras, from_torch, to_keras, to_torch
from cortex_core.network import network
from cortex_core.nn.from_spec import from_spec
from cortex_core.tensor import Tensor
from tests.core.keras_in_float64 import keras_in_float64

LAYERS: dict[str, dict[str, Any]] = {
    "simple_rnn": {"simple_rnn": {"units": 4}},
    "simple_rnn of relu": {"simple_rnn": {"units": 4, "activation": "relu", "use_bias": False}},
    "lstm": {"lstm": {"units": 4}},
    "lstm projected": {"lstm": {"units": 4, "projection": 2}},
    "gru": {"gru": {"units": 4}},
    "gru reset before": {"gru": {"units": 4, "reset_after": False}},
    "bidirectional lstm": {"bidirectional": {"layer": {"lstm": {"units": 4}}}},
    "bidirectional gru": {"bidirectional": {"layer": {"gru": {"units": 4}}}},
    "multi_head_attention": {"multi_head_attention": {"heads": 2}},
    "multi_head_attention without bias": {"multi_head_attention": {"heads": 2, "use_bias": False}},
    "grouped attention": {"multi_head_attention": {"heads": 4, "key_heads": 2, "size": 3}},
}
BATCH, STEPS, SIZE = 2, 5, 6


def inner(name: str) -> tuple[str, dict[str, Any]]:
    """The kind and the fields of what has the weights."""
    ((kind, fields),) = LAYERS[name].items()
    if kind == "bidirectional":
        ((kind, fields),) = fields["layer"].items()
    return kind, fields


def sequences(name: str) -> tuple[dict[str, Any], str]:
    """The layer, giving all steps, and its kind."""
    ((outer, fields),) = LAYERS[name].items()
    kind, own = inner(name)
    if kind == "multi_head_attention":
        return LAYERS[name], kind
    own = {**own, "return": "sequence"}
    return {outer: {**fields, "layer": {kind: own}} if outer == "bidirectional" else own}, kind


def module_of(name: str) -> Any:
    """The layer as a module of float64, with weights that are all different."""
    spec, _ = sequences(name)
    ((kind, fields),) = spec.items()
    description = {
        "cortex": 1,
        "name": "one",
        "inputs": {"x": [STEPS, SIZE]},
        "layers": [{kind: {**fields, "id": "r"}}],
    }
    module = from_spec(network(description)).double().eval()
    rng = np.random.default_rng(0)
    module.load_state_dict(
        {k: 0.5 * rng.standard_normal(p.shape) for k, p in module.named_parameters()}, strict=False
    )
    return module


def arrays_of(module: Any) -> dict[str, np.ndarray]:
    return {k.removeprefix("r/"): p.detach().numpy() for k, p in module.named_parameters()}


def same(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    assert set(found) == set(expected)
    for name, array in expected.items():
        np.testing.assert_allclose(found[name], array, rtol=1e-15, err_msg=name)


X = np.random.default_rng(1).standard_normal((BATCH, STEPS, SIZE))
TORCH = {"simple_rnn": "RNN", "lstm": "LSTM", "gru": "GRU", "multi_head_attention": "MultiheadAttention"}
KERAS = {"simple_rnn": "SimpleRNN", "lstm": "LSTM", "gru": "GRU"}
IN_TORCH = [n for n in LAYERS if n not in ("gru reset before", "grouped attention")]
IN_KERAS = [n for n in LAYERS if n != "lstm projected"]


def of_torch(torch: Any, name: str) -> Any:
    kind, fields = inner(name)
    bias = fields.get("use_bias", True)
    if kind == "multi_head_attention":
        return torch.nn.MultiheadAttention(SIZE, fields["heads"], bias=bias, batch_first=True).double()
    options = {"nonlinearity": fields.get("activation", "tanh")} if kind == "simple_rnn" else {}
    if "projection" in fields:
        options["proj_size"] = fields["projection"]
    two = name.startswith("bidirectional")
    make = getattr(torch.nn, TORCH[kind])
    return make(SIZE, 4, bias=bias, batch_first=True, bidirectional=two, **options).double()


@pytest.mark.peers
@pytest.mark.parametrize("name", IN_TORCH)
def test_outputs_are_pytorchs(name: str) -> None:
    torch = pytest.importorskip("torch")
    module, other, (kind, _) = module_of(name), of_torch(torch, name), inner(name)
    state = to_torch(kind, arrays_of(module))
    other.load_state_dict({k: torch.tensor(v) for k, v in state.items()})

    def run() -> np.ndarray:
        x = torch.tensor(X)
        found = other(x, x, x)[0] if kind == "multi_head_attention" else other(x)[0]
        return found.detach().numpy()

    np.testing.assert_allclose(module(Tensor(X)).numpy(), run(), rtol=1e-10, atol=1e-12)
    for p in other.parameters():  # both biases, now
        torch.nn.init.normal_(p)
    arrays = from_torch(kind, other.state_dict())
    module.load_state_dict({f"r/{k}": v for k, v in arrays.items()}, strict=False)
    np.testing.assert_allclose(module(Tensor(X)).numpy(), run(), rtol=1e-10, atol=1e-12)


@pytest.fixture(scope="module")
def keras() -> Any:
    return keras_in_float64()


def of_keras(keras: Any, name: str) -> Any:
    kind, fields = inner(name)
    options = {"use_bias": fields.get("use_bias", True), "dtype": "float64"}
    if "key_heads" in fields:
        heads = (fields["size"], fields["heads"], fields["key_heads"])
        return keras.layers.GroupQueryAttention(*heads, **options)
    if kind == "multi_head_attention":
        return keras.layers.MultiHeadAttention(fields["heads"], SIZE // fields["heads"], **options)
    options |= {"reset_after": fields.get("reset_after", True)} if kind == "gru" else {}
    options |= {"activation": fields["activation"]} if "activation" in fields else {}
    made = getattr(keras.layers, KERAS[kind])(4, return_sequences=True, **options)
    return keras.layers.Bidirectional(made, dtype="float64") if name.startswith("bidirectional") else made


@pytest.mark.peers
@pytest.mark.filterwarnings("ignore:__array__ implementation")
@pytest.mark.parametrize("name", IN_KERAS)
def test_outputs_are_keras(name: str, keras: Any) -> None:
    module, other, (kind, fields) = module_of(name), of_keras(keras, name), inner(name)

    def run() -> np.ndarray:
        x = keras.ops.convert_to_tensor(X, "float64")
        if kind == "multi_head_attention":  # without the scores JAX computes them in float32
            return keras.ops.convert_to_numpy(other(x, x, return_attention_scores=True)[0])
        return keras.ops.convert_to_numpy(other(x))

    run()
    other.set_weights(to_keras(kind, arrays_of(module), fields.get("heads")))
    np.testing.assert_allclose(module(Tensor(X)).numpy(), run(), rtol=1e-10, atol=1e-12)
    rng = np.random.default_rng(2)
    other.set_weights([0.5 * rng.standard_normal(w.shape) for w in other.get_weights()])
    arrays = from_keras(kind, other.get_weights())
    module.load_state_dict({f"r/{k}": v for k, v in arrays.items()}, strict=False)
    np.testing.assert_allclose(module(Tensor(X)).numpy(), run(), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", IN_TORCH)
def test_to_pytorch_and_back(name: str) -> None:
    arrays, (kind, _) = arrays_of(module_of(name)), inner(name)
    same(from_torch(kind, to_torch(kind, arrays, layer=1), layer=1) if kind != "multi_head_attention"
         else from_torch(kind, to_torch(kind, arrays)), arrays)  # fmt: skip


@pytest.mark.parametrize("name", IN_KERAS)
def test_to_keras_and_back(name: str) -> None:
    arrays, (kind, fields) = arrays_of(module_of(name)), inner(name)
    same(from_keras(kind, to_keras(kind, arrays, fields.get("heads"))), arrays)


def test_a_worked_example() -> None:
    """A gru of one unit: reset, update, candidate here; update before reset in Keras, rows in PyTorch."""
    arrays = {
        "kernel": np.array([[1.0, 2.0, 3.0]]),
        "recurrent_kernel": np.array([[4.0, 5.0, 6.0]]),
        "bias": np.array([7.0, 8.0, 9.0]),
        "recurrent_bias": np.array([10.0]),
    }
    assert {k: v.tolist() for k, v in to_torch("gru", arrays).items()} == {
        "weight_ih_l0": [[1], [2], [3]],
        "weight_hh_l0": [[4], [5], [6]],
        "bias_ih_l0": [7, 8, 9],
        "bias_hh_l0": [0, 0, 10],
    }
    expected = [[[2, 1, 3]], [[5, 4, 6]], [[8, 7, 9], [0, 0, 10]]]
    assert [x.tolist() for x in to_keras("gru", arrays)] == expected


def test_the_arrays_are_copies() -> None:
    arrays = arrays_of(module_of("lstm"))
    for found in (list(to_torch("lstm", arrays).values()), to_keras("lstm", arrays)):
        assert not any(np.shares_memory(x, y) for x in found for y in arrays.values())


def test_a_gru_without_biases_has_to_say_when_it_resets() -> None:
    """Its arrays look the same either way, and PyTorch has only one of the two."""
    arrays = arrays_of(module_of("gru"))
    bare = {name: arrays[name] for name in ("kernel", "recurrent_kernel")}
    assert set(to_torch("gru", bare, reset_after=True)) == {"weight_ih_l0", "weight_hh_l0"}
    with pytest.raises(ArgumentError, match="does not show its reset_after: give it, True or False"):
        to_torch("gru", bare)
    for given in (bare, arrays):
        with pytest.raises(ArgumentError, match="resets after the product; this one before it"):
            to_torch("gru", given, reset_after=False)


@pytest.mark.parametrize("kind", ["simple_rnn", "lstm", "gru"])
@pytest.mark.parametrize("given", ["simple_rnn", "lstm", "gru"])
def test_weights_of_another_kind_are_refused(kind: str, given: str) -> None:
    if kind == given:
        return
    arrays = arrays_of(module_of(given))
    for convert in (
        lambda: to_torch(kind, arrays),
        lambda: to_keras(kind, arrays),
        lambda: from_torch(kind, to_torch(given, arrays)),
        lambda: from_keras(kind, to_keras(given, arrays)),
    ):
        with pytest.raises(ArgumentError, match=rf"{kind}: kernel has shape .*; needs .* for 4 units"):
            convert()


def test_biases_of_another_size_are_refused() -> None:
    arrays = arrays_of(module_of("lstm"))
    kernel, recurrent_kernel, bias = to_keras("lstm", arrays)
    with pytest.raises(ArgumentError, match=r"bias has shape \(2, 16\).*; needs \(16,\)"):
        from_keras("lstm", [kernel, recurrent_kernel, np.stack([bias, bias])])
    with pytest.raises(ArgumentError, match="a lstm has no recurrent_bias"):
        to_keras("lstm", {**arrays, "recurrent_bias": np.zeros(4)})


def test_names_that_are_not_there_are_told_whole() -> None:
    state = to_torch("lstm", arrays_of(module_of("bidirectional lstm")))
    with pytest.raises(ArgumentError, match="no 'weight_ih_l1' among weight_ih_l0, weight_hh_l0, bias"):
        from_torch("lstm", state, layer=1)
    with pytest.raises(ArgumentError, match=r"no 'weight_ih_l0' among rnn\.weight_ih_l0"):
        from_torch("lstm", {f"rnn.{name}": x for name, x in state.items()})
    del state["weight_hh_l0_reverse"]
    with pytest.raises(ArgumentError, match="no 'weight_hh_l0_reverse' among"):
        from_torch("lstm", state)


@pytest.mark.peers
def test_parameters_of_a_module_of_pytorch_will_do() -> None:
    torch = pytest.importorskip("torch")
    for module, kind in (
        (torch.nn.GRU(3, 4), "gru"),
        (torch.nn.MultiheadAttention(4, 2), "multi_head_attention"),
    ):
        same(from_torch(kind, dict(module.named_parameters())), from_torch(kind, module.state_dict()))


def test_what_has_no_place_is_refused() -> None:
    arrays = {name: arrays_of(module_of(name)) for name in LAYERS}
    with pytest.raises(
        ArgumentError, match="unknown kind 'lsmt'; choose simple_rnn, lstm, gru or multi_head"
    ):
        to_torch("lsmt", {})
    with pytest.raises(ArgumentError, match="there is no 'kernel' among bias"):
        to_torch("lstm", {"bias": np.zeros(4)})
    with pytest.raises(ArgumentError, match="there is no 'weight_ih_l0' among no arrays"):
        from_torch("lstm", {})
    with pytest.raises(ArgumentError, match="PyTorch's GRU resets after the product"):
        to_torch("gru", arrays["gru reset before"])
    with pytest.raises(ArgumentError, match="Keras's LSTM has no projection"):
        to_keras("lstm", arrays["lstm projected"])
    with pytest.raises(
        ArgumentError, match="one size for query, heads and output; here 6 channels become 12"
    ):
        to_torch("multi_head_attention", arrays["grouped attention"])
    with pytest.raises(ArgumentError, match="heads=None: say into how many heads 6 numbers are split"):
        to_keras("multi_head_attention", arrays["multi_head_attention"])
    with pytest.raises(ArgumentError, match="lstm: 5 arrays"):
        from_keras("lstm", [np.zeros(1)] * 5)
    with pytest.raises(ArgumentError, match="multi_head_attention: 3 arrays"):
        from_keras("multi_head_attention", [np.zeros(1)] * 3)
    with pytest.raises(ArgumentError, match="no bias_k and bias_v"):
        from_torch("multi_head_attention", {"bias_k": np.zeros(1)})
