"""Recurrent layers: masks, lengths, states, truncation, directions, steps, and what they refuse."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from cortex_compute.errors import CortexError, DTypeError, ShapeError, SpecError
from cortex_compute.types import TensorType, bfloat16, int64
from cortex_core.generate import generate
from cortex_core.generate.steps import NotStepwise, trace_step
from cortex_core.network import Network
from cortex_core.registry import LAYERS
from cortex_core.spec import read
from cortex_core.step import predict_graph, train_step
from cortex_core.trace import batch_type
from tests.core.layers.use import Used

RNG = np.random.default_rng(3)
X = RNG.standard_normal((3, 6, 4))
MASK = np.arange(6) < np.array([6, 2, 4])[:, None]
LAYERS_OF_UNITS = {"simple_rnn": 1, "lstm": 2, "gru": 1}
HARD = {"hard_sigmoid": {"slope": 0.2}}
each_kind = pytest.mark.parametrize("kind", LAYERS_OF_UNITS)


def layer(kind: str, **fields: Any) -> Any:
    return LAYERS[kind](**{"units": 5} | fields)


def states(kind: str, batch: int = 3, units: int = 5) -> tuple[np.ndarray, ...]:
    return tuple(RNG.standard_normal((batch, units)) for _ in range(LAYERS_OF_UNITS[kind]))


def network(*layers: Any, **inputs: Any) -> Network:
    return Network(read({"cortex": 1, "inputs": inputs, "layers": list(layers)}))


def gradient_of(used: Used) -> np.ndarray:
    found = used.inputs[0].grad
    assert found is not None
    return found.numpy()


@each_kind
def test_what_is_returned(kind: str) -> None:
    last, sequence = Used(layer(kind), X), Used(layer(kind, gives="sequence"), X)
    both = Used(layer(kind, gives="both"), X)
    assert last.y.shape == (3, 5)
    assert sequence.y.shape == (3, 6, 5)
    np.testing.assert_array_equal(both.y, sequence.y)
    np.testing.assert_array_equal(sequence.y[:, -1], last.y)
    np.testing.assert_array_equal(both.others["last"].data, last.y)
    assert set(both.others) == {"last", "cell"} if kind == "lstm" else {"last"}
    backwards = Used(layer(kind, gives="both", reverse=True), X)
    np.testing.assert_array_equal(backwards.y[:, 0], backwards.others["last"].data)
    turned = Used(layer(kind, gives="sequence"), X[:, ::-1])
    np.testing.assert_allclose(backwards.y, turned.y[:, ::-1], rtol=1e-12)


@each_kind
def test_the_last_state_is_that_after_the_last_step_that_counts(kind: str) -> None:
    masked = Used(layer(kind), X, mask=MASK)
    for i, n in enumerate(MASK.sum(1)):
        alone = Used(layer(kind), X[i : i + 1, :n])
        np.testing.assert_allclose(masked.y[i], alone.y[0], rtol=1e-12)


@each_kind
@pytest.mark.parametrize("reverse", [False, True])
def test_lengths_are_masks(kind: str, reverse: bool) -> None:
    fields = {"gives": "sequence", "reverse": reverse}
    masked = Used(layer(kind, **fields), X, mask=MASK)
    for shape in ((3,), (3, 1)):
        counted = Used(layer(kind, **fields), X, lengths=MASK.sum(1).reshape(shape))
        np.testing.assert_array_equal(counted.y, masked.y)
    whole_numbers = Used(layer(kind, **fields), X, mask=MASK.astype(np.int32) * 7)
    np.testing.assert_array_equal(whole_numbers.y, masked.y)


@each_kind
def test_a_sequence_goes_on_from_the_states_of_its_first_half(kind: str) -> None:
    whole = Used(layer(kind, gives="sequence"), X)
    first = Used(layer(kind, gives="both"), X[:, :2])
    handed = tuple(s.data for s in first.others.values())
    second = Used(layer(kind, gives="sequence"), X[:, 2:], initial=handed)
    np.testing.assert_allclose(second.y, whole.y[:, 2:], rtol=1e-12)


@each_kind
def test_truncation_cuts_gradients_and_nothing_else(kind: str) -> None:
    whole = Used(layer(kind), X)
    cut = Used(layer(kind, truncate=4), X)
    np.testing.assert_allclose(cut.y, whole.y, rtol=1e-12)
    (cut.output * cut.output).sum().backward()
    gradient = gradient_of(cut)
    assert not gradient[:, :4].any()
    tail = Used(layer(kind, gives="both"), X[:, :4])
    handed = tuple(s.data for s in tail.others.values())
    alone = Used(layer(kind), X[:, 4:], initial=handed)
    (alone.output * alone.output).sum().backward()
    np.testing.assert_allclose(gradient[:, 4:], gradient_of(alone), rtol=1e-10)


@each_kind
def test_truncation_backwards_counts_from_the_end(kind: str) -> None:
    masked = Used(layer(kind, gives="sequence", reverse=True), X, mask=MASK)
    cut = Used(layer(kind, gives="sequence", reverse=True, truncate=4), X, mask=MASK)
    np.testing.assert_allclose(cut.y, masked.y, rtol=1e-12)
    cut.output[:, 0].sum().backward()
    gradient = gradient_of(cut)
    assert gradient[0, :2].all()
    assert not gradient[:, 2:].any()


@each_kind
def test_stateful_training_goes_on(kind: str) -> None:
    whole = Used(layer(kind, gives="sequence"), X)
    chosen = layer(kind, gives="sequence", stateful=True)
    kept: dict[str, np.ndarray] = {}
    for start in (0, 2, 4):
        used = Used(chosen, X[:, start : start + 2], values=kept)
        np.testing.assert_allclose(used.y, whole.y[:, start : start + 2], rtol=1e-12)
        kept = {name: np.asarray(value) for name, value in used.updates.items()}
        assert all(value.node is None for value in used.updates.values())
    assert len(kept) == LAYERS_OF_UNITS[kind]
    predicting = Used(chosen, X[:, 2:4], values=kept, training=False)
    np.testing.assert_allclose(predicting.y, Used(layer(kind, gives="sequence"), X[:, 2:4]).y, rtol=1e-12)
    assert not predicting.updates


def test_initial_biases_and_names_of_gates() -> None:
    made = network({"lstm": {"units": 3, "id": "l"}}, {"gru": {"units": 2, "from": "x"}}, x=[4, 2])
    assert made.parameters["l/bias"].tolist() == [0, 0, 0, 1, 1, 1, 0, 0, 0, 0, 0, 0]
    assert made.parameters["l/kernel.forget"].shape == (2, 3)
    assert made.parameters["gru/kernel.candidate"].shape == (2, 2)
    for gate in ("input", "forget", "cell", "output"):
        u = made.parameters[f"l/recurrent_kernel.{gate}"]
        np.testing.assert_allclose(u.T @ u, np.eye(3), atol=1e-6)


@each_kind
def test_a_layer_without_bias_has_one_of_zeros(kind: str) -> None:
    plain = Used(layer(kind, use_bias=False), X)
    zeros = {"bias": np.zeros(5 * {"lstm": 4, "gru": 3}.get(kind, 1)), "recurrent_bias": np.zeros(5)}
    np.testing.assert_array_equal(Used(layer(kind), X, values=zeros).y, plain.y)
    assert set(plain.parameters) == {"kernel", "recurrent_kernel"}


@pytest.mark.parametrize("merge", ["concat", "sum", "multiply", "average"])
@each_kind
def test_bidirectional_is_both_directions_merged(kind: str, merge: str) -> None:
    inner = layer(kind, gives="both")
    initial = states(kind) + states(kind)
    half = len(initial) // 2
    used = Used(LAYERS["bidirectional"](layer=inner, merge=merge), X, mask=MASK, initial=initial)
    values = {k: np.asarray(v) for k, v in used.parameters.items()}
    ways = []
    for prefix, reverse in (("forward_", False), ("backward_", True)):
        own = {k[len(prefix) :]: v for k, v in values.items() if k.startswith(prefix)}
        first = initial[half:] if reverse else initial[:half]
        way = layer(kind, gives="both", reverse=reverse)
        ways.append(Used(way, X, values=own, mask=MASK, initial=first))
    merged: Any = {
        "concat": lambda a, b: np.concatenate([a, b], -1),
        "sum": np.add,
        "multiply": np.multiply,
        "average": lambda a, b: (a + b) / 2,
    }[merge]
    a, b = ways
    np.testing.assert_allclose(used.y, merged(a.y, b.y), rtol=1e-12)
    for name, state in used.others.items():
        np.testing.assert_allclose(state.data, merged(a.others[name].data, b.others[name].data), rtol=1e-12)


def test_a_bidirectional_lstm_over_padded_sequences_is_the_sequences_one_by_one() -> None:
    """Lengths 1 to 50, as float32 in a compiled program."""
    lengths = np.arange(1, 51)
    x = RNG.standard_normal((50, 50, 3)).astype(np.float32)
    inner = {"lstm": {"units": 8, "return": "both", "lengths": "n"}}
    layers = {"bidirectional": {"layer": inner, "from": "x", "id": "b"}}
    described = {"cortex": 1, "inputs": {"x": [None, 3], "n": {"shape": [], "dtype": "int64"}}}
    made = Network(read(described | {"layers": [layers], "outputs": ["b", "b.last"]}))
    padded = made.predict({"x": x, "n": lengths})
    for k, n in enumerate(lengths):
        one = made.predict({"x": x[k : k + 1, :n], "n": lengths[k : k + 1]})
        np.testing.assert_allclose(padded["b"][k, :n], one["b"][0], atol=1e-6)
        np.testing.assert_allclose(padded["b.last"][k], one["b.last"][0], atol=1e-6)
        assert not padded["b"][k, n:].any()


def test_time_distributed_is_the_layer_at_each_step() -> None:
    x = RNG.standard_normal((2, 3, 5, 4, 1))
    inner = LAYERS["conv2d"](filters=2, kernel=3, kernel_initializer="he_normal")
    used = Used(LAYERS["time_distributed"](layer=inner), x)
    values = {k: np.asarray(v) for k, v in used.parameters.items()}
    for t in range(3):
        np.testing.assert_allclose(used.y[:, t], Used(inner, x[:, t], values=values).y, rtol=1e-12)


@pytest.mark.parametrize(("kind", "fields"), [
    ("lstm", {"units": 3}), ("gru", {"units": 3, "gives": "both"}), ("multi_head_attention", {"heads": 2}),
    ("bidirectional", {"layer": layer("lstm", units=3)}),
])  # fmt: skip
def test_a_sequence_at_each_step(kind: str, fields: Any) -> None:
    """Sentences of words."""
    x, inner = RNG.standard_normal((2, 3, 5, 4)), LAYERS[kind](**fields)
    used = Used(LAYERS["time_distributed"](layer=inner), x)
    values = {k: np.asarray(v) for k, v in used.parameters.items()}
    for t in range(3):
        np.testing.assert_allclose(used.y[:, t], Used(inner, x[:, t], values=values).y, rtol=1e-12)


def held(y: np.ndarray, mask: np.ndarray, first: np.ndarray) -> np.ndarray:
    """y with, where a step does not count, what stands before it."""
    found = y.copy()
    for row in range(len(y)):
        last = first[row]
        for t in range(y.shape[1]):
            found[row, t] = last = y[row, t] if mask[row, t] else last
    return found


@each_kind
@pytest.mark.parametrize("reverse", [False, True])
def test_a_sequence_holds_what_it_had(kind: str, reverse: bool) -> None:
    mask = RNG.random((3, 6)) < 0.5
    mask[0] = False
    initial = states(kind)
    fields = {"gives": "both", "reverse": reverse}
    zero = Used(layer(kind, **fields), X, mask=mask, initial=initial)
    hold = Used(layer(kind, masked="hold", **fields), X, mask=mask, initial=initial)
    way = slice(None, None, -1 if reverse else 1)
    np.testing.assert_array_equal(hold.y[:, way], held(zero.y[:, way], mask[:, way], initial[0]))
    np.testing.assert_array_equal(hold.others["last"].data, zero.others["last"].data)
    plain = Used(layer(kind, masked="hold", gives="sequence"), X)
    np.testing.assert_array_equal(plain.y, Used(layer(kind, gives="sequence"), X).y)


@each_kind
@pytest.mark.parametrize("fields", [
    {}, {"reset_after": False}, {"projection": 2}, {"activation": "relu"}, {"recurrent_activation": HARD},
    {"activation": "relu", "recurrent_activation": HARD, "reset_after": False},
])  # fmt: skip
def test_composed_as_the_kernels(kind: str, fields: Any) -> None:
    """The walk for any activation, of those that kernels compute."""
    if not fields.keys() <= {f.name for f in dataclasses.fields(LAYERS[kind])}:
        return
    made = layer(kind, gives="both", **fields)
    used = Used(made, X, mask=MASK)
    object.__setattr__(made, "walk", made.composed)
    composed = Used(made, X, mask=MASK)
    np.testing.assert_allclose(composed.y, used.y, rtol=1e-12)
    for name, state in used.others.items():
        np.testing.assert_allclose(composed.others[name].data, state.data, rtol=1e-12)


def clipped(x: np.ndarray) -> np.ndarray:
    return np.clip(0.2 * x + 0.5, 0, 1)


OTHERS = {"activation": "softsign", "recurrent_activation": HARD}


def described(kind: str, **fields: Any) -> Network:
    return network({kind: {"units": 5, "return": "sequence", **fields}}, x=[6, 4])


@pytest.mark.parametrize("fields", [{}, {"activation": "relu"}])
def test_gates_of_hard_sigmoids_are_one_kernel(fields: Any) -> None:
    """However long the sequence; the default of Keras 1 and 2."""
    for kind in ("lstm", "gru"):
        made = network({kind: {"units": 5, "recurrent_activation": HARD, **fields}}, x=[2000, 4])
        graph = predict_graph(made, {"x": TensorType((3, 2000, 4))})
        primitives = [type(node.primitive).__name__ for node in graph.nodes()]
        assert primitives.count(kind.capitalize()) == 1
        assert len(primitives) < 20


@pytest.mark.parametrize("described", [
    {"lstm": {"units": 2, "activation": "softsign", "truncate": 10}},
    {"gru": {"units": 2, "recurrent_activation": "tanh"}}, {"simple_rnn": {"units": 2, "activation": "elu"}},
    {"bidirectional": {"layer": {"lstm": {"units": 2, "activation": None}}}},
    {"conv_lstm2d": {"filters": 1, "kernel": 1}},
])  # fmt: skip
def test_a_sequence_that_is_too_long_to_plan_each_step(described: Any) -> None:
    image = [1, 1] if "conv_lstm2d" in described else []
    with pytest.raises(SpecError, match=r"plans each step by itself, so that there may be 2,000; lstm, gru"):
        network(described, x=[2001, *image, 1])


def test_an_lstm_of_other_activations_beside_numpy() -> None:
    made = described("lstm", **OTHERS)
    w, u, b = (RNG.standard_normal(p.shape).astype(np.float32) for p in made.parameters.values())
    for name, array in zip([*made.parameters], (w, u, b)):
        made.store.write(name, array)
    h = c = np.zeros((3, 5))
    found = made.predict(X.astype(np.float32))
    for t in range(6):
        i, f, g, o = np.split(X[:, t] @ w + h @ u + b, 4, 1)
        c = clipped(f) * c + clipped(i) * (g / (1 + abs(g)))
        h = clipped(o) * (c / (1 + abs(c)))
        np.testing.assert_allclose(found[:, t], h, atol=1e-5)


@pytest.mark.parametrize("after", [False, True])
def test_a_gru_of_other_activations_beside_numpy(after: bool) -> None:
    made = described("gru", reset_after=after, **OTHERS)
    arrays = [RNG.standard_normal(p.shape).astype(np.float32) for p in made.parameters.values()]
    for name, array in zip([*made.parameters], arrays):
        made.store.write(name, array)
    (w, u, b), inner = arrays[:3], arrays[3] if after else 0
    h = np.zeros((3, 5))
    found = made.predict(X.astype(np.float32))
    for t in range(6):
        a, s = X[:, t] @ w + b, h @ u
        r, z = clipped(a[:, :5] + s[:, :5]), clipped(a[:, 5:10] + s[:, 5:10])
        m = a[:, 10:] + (r * (s[:, 10:] + inner) if after else (r * h) @ u[:, 10:])
        h = (1 - z) * (m / (1 + abs(m))) + z * h
        np.testing.assert_allclose(found[:, t], h, atol=1e-5)


def test_conv_lstm2d_of_one_pixel_is_an_lstm() -> None:
    x = RNG.standard_normal((2, 5, 1, 1, 3))
    used = Used(LAYERS["conv_lstm2d"](filters=4, kernel=1, gives="both"), x, mask=MASK[:2, :5])
    values = {k: np.asarray(v).reshape(np.shape(v)[-2:]) for k, v in used.parameters.items()}
    lstm = Used(layer("lstm", units=4, gives="both"), x[:, :, 0, 0], values=values, mask=MASK[:2, :5])
    np.testing.assert_allclose(used.y[:, :, 0, 0], lstm.y, rtol=1e-12)
    np.testing.assert_allclose(used.others["cell"].data[:, 0, 0], lstm.others["cell"].data, rtol=1e-12)


@pytest.mark.parametrize(("kind", "fields", "named", "words"), [
    ("lstm", {}, {"mask": MASK[:, :5]}, r"lstm needs a mask of one truth for each step, \(6,\)"),
    ("lstm", {}, {"mask": MASK[:2]}, r"lstm needs a mask of one truth for each step, \(6,\)"),
    ("lstm", {}, {"lengths": np.ones((3, 2), int)}, "lstm needs lengths of one whole number each"),
    ("lstm", {}, {"lengths": np.ones(3)}, "lstm needs lengths of one whole number each, not float64"),
    ("lstm", {}, {"initial": states("gru")}, r"needs the initial states hidden \(5,\) and cell \(5,\)"),
    ("gru", {}, {"initial": states("gru", 2)}, r"gru needs the initial state hidden \(5,\)"),
    ("gru", {}, {"initial": states("gru", 3, 4)}, r"gru needs the initial state hidden \(5,\)"),
    ("lstm", {"projection": 2}, {"initial": states("lstm")}, r"hidden \(2,\) and cell \(5,\)"),
])  # fmt: skip
def test_what_does_not_fit(kind: str, fields: Any, named: Any, words: str) -> None:
    with pytest.raises(ShapeError, match=words):
        Used(layer(kind, **fields), X, **named)


def test_kinds_of_numbers_that_do_not_fit() -> None:
    with pytest.raises(DTypeError, match="needs a mask of truths or whole numbers, not float64"):
        Used(layer("gru"), X, mask=MASK.astype(float))
    with pytest.raises(DTypeError, match="needs floating initial states"):
        Used(layer("gru"), X, initial=(np.ones((3, 5), int),))
    with pytest.raises(DTypeError, match="needs floating features, not int64; an embedding"):
        Used(layer("gru"), np.ones((3, 5, 2), int))
    with pytest.raises(ShapeError, match="gru needs a sequence of one step at least"):
        Used(layer("gru"), X[:, :0])
    with pytest.raises(ShapeError, match=r"gru needs \(length, features\)"):
        Used(layer("gru"), X[:, 0])
    with pytest.raises(ShapeError, match="needs 2 initial states: hidden forwards, hidden backwards"):
        Used(LAYERS["bidirectional"](layer=layer("gru")), X, initial=states("gru"))
    words = "needs 4 initial states: hidden and cell forwards, hidden and cell backwards"
    with pytest.raises(ShapeError, match=words):
        Used(LAYERS["bidirectional"](layer=layer("lstm")), X, initial=states("lstm"))


@pytest.mark.parametrize(("fields", "words"), [
    ({"lstm": {"units": 2, "mask": "m", "lengths": "m"}}, "lengths: there is a mask already"),
    ({"lstm": {"units": 2, "stateful": True, "initial": "m"}}, "initial: a stateful layer goes on"),
    ({"lstm": {"units": 2, "stateful": True, "reverse": True}}, "reverse: a stateful layer goes on"),
    ({"lstm": {"units": 2, "truncate": 0}}, "lstm.truncate: 0 is too small"),
    ({"lstm": {"units": 2, "return": "all"}}, "return: 'all' is text: expected last, sequence or both"),
    ({"simple_rnn": {"units": 2, "activation": "dense"}}, "activation: .*dense"),
    ({"bidirectional": {"layer": {"dense": 2}}}, "layer: dense is no recurrent layer"),
    ({"bidirectional": {"layer": {"gru": {"units": 2, "reverse": True}}}}, "layer.gru.reverse: one of the"),
    ({"bidirectional": {"layer": {"gru": {"units": 2, "stateful": True}}}}, "layer.gru.stateful: one of"),
    ({"time_distributed": {"layer": {"gru": {"units": 2, "stateful": True}}}}, "gru.stateful: each step"),
    ({"time_distributed": {"layer": "add"}}, "layer: add cannot work on one input"),
    ({"time_distributed": {"layer": "relu", "from": "m"}}, r"'m' is \(6,\): time_distributed needs"),
    ({"conv_lstm2d": {"filters": 2, "kernel": 3}}, r"needs \(length, height, width, channels\)"),
    ({"lstm": {"units": 2, "mask": "m"}}, "lstm needs a mask of truths or whole numbers"),
])  # fmt: skip
def test_descriptions_that_are_wrong(fields: Any, words: str) -> None:
    ((kind, given),) = fields.items()
    named = {kind: {"from": "x"} | given}
    inputs = {name: shape for name, shape in (("x", [6, 4]), ("m", [6])) if f"'{name}'" in repr(named)}
    with pytest.raises(SpecError, match=words):
        network(named, **inputs)


def test_outputs_that_are_not_there() -> None:
    with pytest.raises(SpecError, match="'a' gives no cell: expected return: both in a"):
        network({"lstm": {"units": 2, "id": "a"}}, {"dense": {"units": 2, "from": "a.cell"}}, x=[6, 4])
    inner = {"gru": {"units": 2, "return": "both"}}
    with pytest.raises(SpecError, match="'a' gives no cell"):
        network(
            {"bidirectional": {"layer": inner, "id": "a"}},
            {"dense": {"units": 2, "from": "a.cell"}},
            x=[6, 4],
        )


def text(*layers: Any, **inputs: Any) -> Network:
    """A network over tokens that ends in scores of the next one."""
    shapes = {"x": {"shape": [None], "dtype": "int64"}, **inputs}
    embedding = {"embedding": {"tokens": 7, "units": 6, "from": "x", "kernel_initializer": "glorot_uniform"}}
    scores = {"time_distributed": {"layer": {"dense": 7}, "id": "scores"}}
    return network(embedding, *layers, scores, **shapes)


@pytest.mark.parametrize("gives", ["sequence", "both"])
@pytest.mark.parametrize("kind", [
    {"simple_rnn": {"units": 8}}, {"lstm": {"units": 8}}, {"gru": {"units": 8}},
    {"lstm": {"units": 8, "projection": 3}}, {"gru": {"units": 8, "reset_after": False}},
])  # fmt: skip
def test_a_step_goes_on_where_the_one_before_ended(kind: dict[str, Any], gives: str) -> None:
    ((name, fields),) = kind.items()
    made = text({name: fields | {"return": gives}}, {name: fields | {"return": gives}})
    cached = generate(made, [1, 2], tokens=20, temperature=0)
    assert not cached.notes
    assert cached.tokens == generate(made, [1, 2], tokens=20, temperature=0, cache=False).tokens


def test_a_layer_that_sees_later_steps_is_not_stepped() -> None:
    made = text({"bidirectional": {"layer": {"gru": {"units": 8, "return": "sequence"}}}})
    with pytest.raises(CortexError):
        generate(made, [1, 2], tokens=3, temperature=0)


def test_a_state_that_is_read_is_known_at_the_end_only() -> None:
    first = {"gru": {"units": 8, "return": "both", "id": "a"}}
    made = text(first, {"gru": {"units": 8, "return": "sequence", "initial": "a.last"}})
    with pytest.raises(NotStepwise, match=r"'a\.last' is known behind the last position only"):
        trace_step(made, {"x": TensorType((1, 5), int64)}, "x", "scores", 5)
    with pytest.raises(CortexError, match="is not causal: the scores 'scores'"):
        generate(made, [1, 2], tokens=3, temperature=0)


@pytest.mark.parametrize("fields", [
    {"simple_rnn": {"units": 2}}, {"gru": {"units": 2, "mask": "m"}},
    {"lstm": {"units": 2, "projection": 3, "truncate": 2, "use_bias": False}},
    {"lstm": {"units": 2, "stateful": True}},
    {"bidirectional": {"layer": {"lstm": {"units": 2, "lengths": "n"}}, "merge": "average"}},
    {"conv_lstm2d": {"filters": 2, "kernel": 2, "mask": "m"}},
    {"conv_lstm2d": {"filters": 2, "kernel": 2, "stateful": True, "use_bias": False}},
])  # fmt: skip
def test_training_in_bfloat16_has_no_mixed_types(fields: dict[str, Any]) -> None:
    ((kind, given),) = fields.items()
    shape = [6, 3, 3, 1] if kind == "conv_lstm2d" else [6, 4]
    inputs = {"x": shape, "m": {"shape": [6], "dtype": "bool"}, "n": {"shape": [], "dtype": "int64"}}
    named = {name: of for name, of in inputs.items() if name == "x" or f"'{name}'" in repr(given)}
    layers = [{kind: {"from": "x"} | given}, "flatten", {"dense": {"units": 2, "id": "y"}}]
    described = {
        "cortex": 1,
        "inputs": named,
        "layers": layers,
        "train": {"precision": "bfloat16", "batch_size": 2},
    }
    made = Network(read(described | {"loss": {"softmax_cross_entropy": {"of": "y", "target": "t"}}}))
    types = {x.name: batch_type(x.shape or (), x.dtype, 2) for x in made.description.inputs}
    step = train_step(made, types | {"t": TensorType((2,), int64)})
    kinds = {type(node.primitive).__name__: node for node in step.graph.nodes()}
    wanted = {"simple_rnn": "RnnGrad", "gru": "GruGrad", "lstm": "LstmGrad", "bidirectional": "LstmGrad"}
    node = kinds[wanted.get(kind, "ConvKernelGrad")]
    assert node.inputs[0].dtype is bfloat16


def test_a_forget_bias_needs_biases() -> None:
    with pytest.raises(SpecError, match="forget_bias: without biases there is none to begin with"):
        LAYERS["lstm"](units=2, use_bias=False, forget_bias=2.0)
