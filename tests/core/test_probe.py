"""Looking inside networks: inner layers against truncated descriptions, gradients against worked examples."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cortex_compute.errors import CortexError, DataError, SpecError
from cortex_core.network import Network, network
from cortex_core.probe import activations, each, gradients, last_hidden, scored
from cortex_core.registry import layer
from cortex_core.training.source import Arrays

RNG = np.random.default_rng(7)
IMAGES = RNG.random((11, 6, 6, 2)).astype(np.float32)
SOURCE = Arrays({"x": IMAGES, "label": np.zeros(11, np.int64)})

LAYERS: list[Any] = [
    {"conv2d": {"filters": 3, "kernel": 3, "activation": "relu", "id": "maps"}},
    {"batch_norm": {"id": "norm"}},
    "flatten",
    {"dropout": {"rate": 0.5, "id": "drop"}},
    {"dense": {"units": 5, "activation": "tanh", "id": "hidden"}},
    {"dense": {"units": 4, "id": "out"}},
]


def classifier(layers: list[Any] = LAYERS, of: str = "out", shape: Any = (6, 6, 2)) -> Network:
    loss = {"softmax_cross_entropy": {"of": of, "target": "label"}}
    return network({"name": "probed", "inputs": {"x": list(shape)}, "layers": layers, "loss": loss})


@pytest.mark.parametrize("count", [1, 2, 5])
def test_activations_are_what_the_truncated_network_predicts(count: int) -> None:
    whole = classifier()
    cut = network({"name": "cut", "inputs": {"x": [6, 6, 2]}, "layers": LAYERS[:count]})
    for name in cut.parameters:
        cut.parameters[name] = whole.parameters[name]
    last = cut.description.outputs[0]
    found = activations(whole, IMAGES, [last], batch_size=4)
    np.testing.assert_allclose(found[last], cut.predict(IMAGES), rtol=1e-5, atol=1e-6)


def test_several_layers_and_inputs_in_order() -> None:
    made = classifier()
    found = activations(made, {"x": IMAGES}, ["out", "x", "drop", "flatten"], batch_size=4)
    assert list(found) == ["out", "x", "drop", "flatten"]
    np.testing.assert_array_equal(found["x"], IMAGES)
    np.testing.assert_array_equal(found["drop"], found["flatten"])  # nothing falls
    np.testing.assert_allclose(found["out"], made.predict(IMAGES, raw=True), rtol=1e-5, atol=1e-6)


def test_a_source_gives_the_same_as_arrays_whole_or_batch_by_batch() -> None:
    made, source = classifier(), Arrays({"x": IMAGES, "label": np.zeros(11, np.int64)})
    expected = activations(made, IMAGES, ["hidden"])["hidden"]
    np.testing.assert_allclose(activations(made, source, ["hidden"])["hidden"], expected, rtol=1e-6)
    seen = np.full_like(expected, np.nan)
    for rows, outputs in each(made, source, ["hidden"], batch_size=4):
        seen[rows] = outputs["hidden"]
    np.testing.assert_allclose(seen, expected, rtol=1e-6)


def test_other_outputs_of_a_layer() -> None:
    layers = [{"embedding": {"tokens": 9, "units": 3, "mask_zero": True, "id": "words"}}]
    made = network({"name": "m", "inputs": {"x": {"shape": [4], "dtype": "int64"}}, "layers": layers})
    tokens = np.array([[1, 2, 0, 0]])
    found = activations(made, tokens, ["words.mask", "words"])
    assert found["words.mask"].tolist() == [[True, True, False, False]]
    np.testing.assert_array_equal(found["words"][0], made.parameters["words/table"][tokens[0]])


def test_the_network_stays_as_it_is() -> None:
    made = classifier()
    before, key = made.description, made.store.array("random_key").copy()
    activations(made, IMAGES, ["maps"])
    gradients(made, IMAGES, ["x"])
    assert made.description is before
    np.testing.assert_array_equal(made.store.array("random_key"), key)
    assert made.predict(IMAGES).shape == (11, 4)


def test_the_last_hidden_layer() -> None:
    assert last_hidden(classifier()) == "hidden"
    softmax = [*LAYERS[:-1], {"dense": {"units": 4, "activation": "softmax", "id": "out"}}]
    assert last_hidden(classifier(softmax)) == "hidden"
    assert scored(classifier(softmax)) == "out/logits"
    assert last_hidden(classifier([*LAYERS, {"softmax": {"id": "p"}}], of="p")) == "hidden"
    assert last_hidden(classifier([*LAYERS[2:3], LAYERS[-1]])) == "flatten"
    assert last_hidden(classifier(LAYERS[-1:], shape=[7])) is None  # reads an input


@pytest.mark.parametrize("sources", [["b", "r"], ["r", "b"]])
def test_the_output_layer_is_the_last_on_any_way(sources: list[str]) -> None:
    layers = [
        {"dense": {"units": 4, "id": "a"}},
        {"relu": {"id": "r"}},
        {"dense": {"units": 4, "id": "b"}},
        {"add": {"from": sources, "id": "sum"}},
    ]
    assert last_hidden(classifier(layers, of="sum", shape=[7])) == "r"


def test_a_norm_behind_the_output_layer_is_none() -> None:
    layers = [*LAYERS, {"batch_norm": {"id": "last"}}]
    assert last_hidden(classifier(layers, of="last")) == "hidden"


def test_another_output_of_a_layer_is_hidden_too(own_registry: None) -> None:
    @layer("halves", outputs=("second",))
    class Halves:
        def forward(self, p: Any, x: Any) -> Any:
            return x[:, :3], {"second": x[:, 3:]}

    layers = [
        {"dense": {"units": 5, "id": "a"}},
        {"halves": {"id": "halves"}},
        {"dense": {"units": 4, "from": "halves.second", "id": "out"}},
    ]
    made = classifier(layers, shape=[7])
    assert last_hidden(made) == "halves.second"
    assert activations(made, np.ones((2, 7)), ["halves.second"])["halves.second"].shape == (2, 2)


# Gradients.


def test_the_gradient_of_a_linear_network_is_its_kernel() -> None:
    made = classifier(LAYERS[-1:], shape=[3])
    x = np.array([[1, 2, 3], [-1, 0, 1]], np.float32)
    found = gradients(made, x, ["x"], classes=[2, 0])
    kernel = made.parameters["out/kernel"]
    np.testing.assert_array_equal(found.gradients["x"], [kernel[:, 2], kernel[:, 0]])
    np.testing.assert_allclose(found.scores, [x[0] @ kernel[:, 2], x[1] @ kernel[:, 0]], rtol=1e-6)
    np.testing.assert_array_equal(found.values["x"], x)


def test_gradients_are_central_differences_of_the_scores() -> None:
    smooth = {"conv2d": {"filters": 3, "kernel": 3, "activation": "tanh"}}
    made = classifier([smooth, *LAYERS[1:]])
    found = gradients(made, IMAGES[:2], ["x", "hidden"])
    scores = made.predict(IMAGES[:2], raw=True)
    np.testing.assert_allclose(found.scores, scores.max(axis=1), rtol=1e-5)
    chosen, step = scores.argmax(axis=1), 2e-3
    for place in [(0, 1, 2, 0), (1, 3, 3, 1), (1, 5, 0, 0)]:
        ends = []
        for sign in (1, -1):
            moved = IMAGES[:2].copy()
            moved[place] += sign * step
            ends.append(made.predict(moved, raw=True)[place[0], chosen[place[0]]])
        slope = (float(ends[0]) - float(ends[1])) / (2 * step)
        np.testing.assert_allclose(found.gradients["x"][place], slope, rtol=0.01, atol=1e-3)
    kernel = made.parameters["out/kernel"]
    np.testing.assert_allclose(found.gradients["hidden"], kernel[:, chosen].T, rtol=1e-6)


def test_layers_behind_tokens_have_gradients() -> None:
    layers = [
        {"embedding": {"tokens": 9, "units": 3, "id": "words"}},
        "global_avg_pool1d",
        {"dense": {"units": 2, "id": "out"}},
    ]
    loss = {"softmax_cross_entropy": {"of": "out", "target": "label"}}
    inputs = {"x": {"shape": [4], "dtype": "int64"}}
    made = network({"name": "m", "inputs": inputs, "layers": layers, "loss": loss})
    found = gradients(made, np.array([[1, 2, 3, 4]]), ["words"], classes=[1])
    expected = np.tile(made.parameters["out/kernel"][:, 1] / 4, (1, 4, 1))
    np.testing.assert_allclose(found.gradients["words"], expected, rtol=1e-6)
    with pytest.raises(SpecError, match=r"'x' holds int64, which has no gradient"):
        gradients(made, np.array([[1, 2, 3, 4]]), ["x"])


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda n: activations(n, IMAGES, ["hiden"]), SpecError, "Did you mean 'hidden'"),
        (lambda n: activations(n, IMAGES, ["zzz"]), SpecError, "Its layers are maps, norm, flatten"),
        (lambda n: activations(n, IMAGES, []), SpecError, "at least one layer"),
        (lambda n: activations(n, IMAGES, "hidden"), SpecError, r"expected: \['hidden'\]"),
        (lambda n: activations(n, IMAGES, [3]), SpecError, "no layer 3"),
        (lambda n: list(each(n, SOURCE, ["hidden"], batch_size=0)), SpecError, "batch_size is 0"),
        (lambda n: list(each(n, SOURCE, ["hidden"], batch_size=-1)), SpecError, "batch_size is -1"),
        (lambda n: gradients(n, IMAGES, "x"), SpecError, r"expected: \['x'\]"),
        (lambda n: gradients(n, IMAGES[:1], ["x"], [1.7]), DataError, "classes hold float64"),
        (lambda n: gradients(n, IMAGES, ["nope"]), SpecError, "no layer 'nope'"),
        (lambda n: gradients(n, IMAGES, ["x"], of="maps"), SpecError, r"is \[4, 4, 3\] for each"),
        (lambda n: gradients(n, IMAGES, ["x"], [4] * 11), DataError, "no class 4; the classes are 0 to 3"),
        (lambda n: gradients(n, IMAGES, ["x"], [-1] * 11), DataError, "no class -1"),
        (lambda n: gradients(n, IMAGES, ["x"], [0]), DataError, "11 examples need as many classes"),
        (lambda n: gradients(n, IMAGES, ["out"], of="hidden"), SpecError, "do not depend on 'out'"),
        (lambda n: gradients(n, IMAGES[0], ["x"]), DataError, "expected"),
    ],
)
def test_what_cannot_be_looked_at(call: Any, error: type[CortexError], words: str) -> None:
    with pytest.raises(error, match=words):
        call(classifier())


def test_a_tied_table_behind_repeated_blocks_reads_the_norm() -> None:
    block = {"units": 4, "heads": 2, "hidden": 8, "causal": True, "repeat": 2}
    layers = [
        {"embedding": {"tokens": 3, "units": 4, "id": "tokens"}},
        {"transformer_encoder": block},
        {"layer_norm": {"id": "norm"}},
        {"unembedding": {"table": "tokens.table", "id": "scores"}},
    ]
    inputs = {"text": {"shape": [5], "dtype": "int64"}}
    loss = {"softmax_cross_entropy": {"of": "scores", "target": "next"}}
    made = network({"inputs": inputs, "layers": layers, "loss": loss})
    assert last_hidden(made) == "norm"
    without = [*layers[:2], {"dense": {"units": 3, "id": "scores"}}]
    assert last_hidden(network({"inputs": inputs, "layers": without, "loss": loss})) == (
        "transformer_encoder.1/add"
    )


def test_a_loss_on_a_parameter_has_no_scores() -> None:
    losses = [{"l2": {"of": "dense/kernel"}}, {"mse": {"of": "dense_2", "target": "y"}}]
    layers = [{"dense": 3}, {"dense": 2}]
    net = network({"inputs": {"x": [4]}, "layers": layers, "loss": losses})
    assert scored(net) == "dense_2"
    assert last_hidden(net) == "dense"
