"""Graphs of ONNX become clean layers, and give what their formulas say."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto

import cortex
from cortex_core.exchange.from_onnx.imported import Imported, load
from tests.exchange.onnx.handmade import forward, node, perceptron, saved, written

DRAW = np.random.default_rng(1)


def kinds(found: Imported) -> list[str]:
    """The layers of the description, in order."""
    return [layer.kind for layer in found.network.description.layers]


def numbers(*shape: int) -> np.ndarray:
    return DRAW.normal(size=shape).astype(np.float32)


def test_a_perceptron(tmp_path: Path) -> None:
    model = perceptron()
    found = load(written(tmp_path, model))
    assert kinds(found) == ["dense", "relu", "dense"]
    assert [layer.id for layer in found.network.description.layers] == ["hidden", "relu", "out"]
    x = numbers(5, 3)
    np.testing.assert_allclose(found.network.predict(x), forward(model, x), rtol=1e-5, atol=1e-6)
    assert found.network.origin == {"file": "model.onnx (ONNX opset 17, hand)", "proof": "unproved"}


def test_from_python(tmp_path: Path) -> None:
    model = perceptron()
    network = cortex.from_onnx(written(tmp_path, model))
    x = numbers(2, 3)
    np.testing.assert_allclose(network.predict(x), forward(model, x), rtol=1e-5, atol=1e-6)


def test_an_imported_network_trains(tmp_path: Path) -> None:
    data = dict(cortex.from_onnx(written(tmp_path, perceptron())).description.canonical)
    data["loss"] = {"mse": {"of": "out", "target": "y"}}
    network = cortex.network(data)
    step = cortex.compile(network, batch_size=4)
    batch = {"x": numbers(4, 3), "y": numbers(4, 2)}
    losses = [float(step.run(batch)["loss"]) for _ in range(20)]
    assert losses[-1] < losses[0]


# Where the axes lie


def test_pictures_are_turned_once(tmp_path: Path) -> None:
    """Channels go last before the first convolution, and first again before the flattening alone."""
    nodes = [
        node("Conv", ["x", "w"], ["a"], pads=[1, 1, 1, 1]),
        node("BatchNormalization", ["a", "one", "zero", "zero", "one"], ["b"]),
        node("Relu", ["b"], ["c"]),
        node("MaxPool", ["c"], ["d"], kernel_shape=[2, 2], strides=[2, 2]),
        node("Flatten", ["d"], ["y"]),
    ]
    held = {"w": numbers(4, 2, 3, 3), "one": np.ones(4, np.float32), "zero": np.zeros(4, np.float32)}
    found = load(saved(tmp_path, nodes, {"x": ["n", 2, 4, 4]}, ["y"], held))
    turned = ["permute", "conv2d", "batch_norm", "relu", "max_pool2d", "permute", "reshape"]
    assert kinds(found) == turned


def test_transposes_that_undo_each_other_put_nothing(tmp_path: Path) -> None:
    nodes = [
        node("Transpose", ["x"], ["a"], perm=[1, 0, 2]),
        node("Tanh", ["a"], ["b"]),
        node("Unsqueeze", ["b", "axes"], ["c"]),
        node("Squeeze", ["c", "axes"], ["d"]),
        node("Transpose", ["d"], ["y"], perm=[1, 0, 2]),
    ]
    found = load(saved(tmp_path, nodes, {"x": ["n", 3, 4]}, ["y"], {"axes": np.array([1])}))
    assert kinds(found) == ["tanh"]
    x = numbers(2, 3, 4)
    np.testing.assert_allclose(found.network.predict(x), np.tanh(x), rtol=1e-5)


def test_the_shape_computed_in_the_graph(tmp_path: Path) -> None:
    """Shape, Gather, Concat, Reshape: what exporters write for x.view(x.shape[0], -1)."""
    nodes = [
        node("Shape", ["x"], ["s"]),
        node("Gather", ["s", "first"], ["n"], axis=0),
        node("Unsqueeze", ["n", "axes"], ["n1"]),
        node("Concat", ["n1", "rest"], ["shape"], axis=0),
        node("Reshape", ["x", "shape"], ["y"]),
    ]
    held = {"first": np.array(0), "axes": np.array([0]), "rest": np.array([-1])}
    found = load(saved(tmp_path, nodes, {"x": ["n", 3, 4]}, ["y"], held))
    assert kinds(found) == ["reshape"]
    x = numbers(5, 3, 4)
    np.testing.assert_array_equal(found.network.predict(x), x.reshape(5, 12))


@pytest.mark.parametrize("shape", [[0, -1], [-1, 12], [2, 12], [2, -1]])
def test_a_reshape_keeps_the_examples(tmp_path: Path, shape: list[int]) -> None:
    """Also where the graph was made for two examples: predictions take any number."""
    held = {"shape": np.array(shape)}
    path = saved(tmp_path, [node("Reshape", ["x", "shape"], ["y"])], {"x": [2, 3, 4]}, ["y"], held)
    x = numbers(5, 3, 4)
    np.testing.assert_array_equal(cortex.from_onnx(path).predict(x), x.reshape(5, 12))


def test_axes_of_any_length(tmp_path: Path) -> None:
    nodes = [node("MatMul", ["x", "w"], ["a"]), node("Softmax", ["a"], ["y"], axis=-1)]
    w = numbers(3, 4)
    network = cortex.from_onnx(saved(tmp_path, nodes, {"x": ["n", "steps", 3]}, ["y"], {"w": w}))
    for length in (1, 6):
        x = numbers(2, length, 3)
        e = np.exp(x @ w)
        np.testing.assert_allclose(network.predict(x), e / e.sum(-1, keepdims=True), rtol=1e-4)


def test_a_sum_over_the_first_axis_makes_all_one_example(tmp_path: Path) -> None:
    """The first axis cannot be that of the examples then; a note says how the input is read."""
    nodes = [node("ReduceSum", ["x", "axes"], ["y"], keepdims=0)]
    found = load(saved(tmp_path, nodes, {"x": [3, 4]}, ["y"], {"axes": np.array([0])}))
    assert found.notes == [
        "the whole of an input is one example: give it with an axis of the examples before all others, "
        "for the graph cannot be read with them along its first axis"
    ]
    x = numbers(2, 3, 4)
    np.testing.assert_allclose(found.network.predict(x), x.sum(1), rtol=1e-5)


def test_an_output_with_its_examples_elsewhere_is_told(tmp_path: Path) -> None:
    path = saved(tmp_path, [node("Transpose", ["x"], ["y"], perm=[1, 0])], {"x": ["n", 3]}, ["y"])
    found = load(path)
    told = "the output y: its examples lie along axis 1 there, and along the first here"
    assert found.notes == [told]
    assert found.network.summary().endswith(told)
    x = numbers(2, 3)
    np.testing.assert_array_equal(found.network.predict(x), x)


# What exporters write out


@pytest.mark.parametrize("half_first", [False, True])
def test_a_gelu_written_out(tmp_path: Path, half_first: bool) -> None:
    last = [node("Mul", ["x", "half"], ["h"]), node("Mul", ["h", "s"], ["y"])]
    other = [node("Mul", ["x", "s"], ["h"]), node("Mul", ["h", "half"], ["y"])]
    nodes = [
        node("Div", ["x", "root"], ["d"]),
        node("Erf", ["d"], ["e"]),
        node("Add", ["e", "one"], ["s"]),
        *(last if half_first else other),
    ]
    held = {"root": np.float32(math.sqrt(2)), "one": np.float32(1), "half": np.float32(0.5)}
    found = load(saved(tmp_path, nodes, {"x": ["n", 5]}, ["y"], held))
    assert kinds(found) == ["gelu"]
    x = numbers(3, 5)
    wanted = [[v * 0.5 * (1 + math.erf(v / math.sqrt(2))) for v in row] for row in x.tolist()]
    np.testing.assert_allclose(found.network.predict(x), wanted, rtol=1e-4, atol=1e-6)


def test_numbers_for_each_place_become_parameters(tmp_path: Path) -> None:
    """Such as learned positions: the first examples' steps differ, and all examples are alike."""
    table = numbers(1, 3, 4)
    found = load(saved(tmp_path, [node("Add", ["x", "p"], ["y"])], {"x": ["n", 3, 4]}, ["y"], {"p": table}))
    assert sum(slot.type.size for slot in found.network.slots.values()) == 12
    x = numbers(2, 3, 4)
    np.testing.assert_allclose(found.network.predict(x), x + table, rtol=1e-6)


def test_numbers_of_channels_behind_a_convolution(tmp_path: Path) -> None:
    nodes = [node("Conv", ["x", "w"], ["c"]), node("Mul", ["c", "g"], ["m"]), node("Add", ["m", "b"], ["y"])]
    held = {"w": numbers(4, 2, 1, 1), "g": numbers(4, 1, 1), "b": numbers(1, 4, 1, 1)}
    path = saved(tmp_path, nodes, {"x": ["n", 2, 3, 3]}, ["y"], held)
    x = numbers(2, 2, 3, 3)
    wanted = np.einsum("ncij,oc->noij", x, held["w"][..., 0, 0]) * held["g"] + held["b"]
    np.testing.assert_allclose(cortex.from_onnx(path).predict(x), wanted, rtol=1e-4, atol=1e-5)


def test_a_token_before_a_sequence(tmp_path: Path) -> None:
    """A class token that is repeated for each example, as in a vision transformer."""
    nodes = [
        node("Shape", ["x"], ["s"], start=0, end=1),
        node("Concat", ["s", "rest"], ["shape"], axis=0),
        node("Expand", ["token", "shape"], ["tokens"]),
        node("Concat", ["tokens", "x"], ["y"], axis=1),
    ]
    token = numbers(1, 1, 4)
    path = saved(tmp_path, nodes, {"x": ["n", 3, 4]}, ["y"], {"rest": np.array([1, 4]), "token": token})
    x = numbers(2, 3, 4)
    wanted = np.concatenate([np.broadcast_to(token, (2, 1, 4)), x], 1)
    np.testing.assert_allclose(cortex.from_onnx(path).predict(x), wanted, rtol=1e-6)


def test_scores_masked_by_infinity(tmp_path: Path) -> None:
    """A constant causal mask: the masked scores have no part in the softmax."""
    nodes = [node("Where", ["seen", "x", "low"], ["m"]), node("Softmax", ["m"], ["y"], axis=-1)]
    held = {"seen": np.tril(np.ones((3, 3), bool)), "low": np.float32(-np.inf)}
    found = load(saved(tmp_path, nodes, {"x": ["n", 2, 3, 3]}, ["y"], held))
    x = numbers(2, 2, 3, 3)
    e = np.exp(x) * held["seen"]
    np.testing.assert_allclose(found.network.predict(x), e / e.sum(-1, keepdims=True), rtol=1e-4)


def test_attention_of_several_heads(tmp_path: Path) -> None:
    nodes = [
        node("Reshape", ["x", "heads"], ["h"]),
        node("Transpose", ["h"], ["q"], perm=[0, 2, 1, 3]),
        node("Transpose", ["h"], ["k"], perm=[0, 2, 3, 1]),
        node("MatMul", ["q", "k"], ["s"]),
        node("Softmax", ["s"], ["p"], axis=-1),
        node("MatMul", ["p", "q"], ["y"]),
    ]
    found = load(saved(tmp_path, nodes, {"x": ["n", 5, 6]}, ["y"], {"heads": np.array([0, 0, 2, 3])}))
    assert kinds(found).count("matmul") == 2
    x = numbers(2, 5, 6)
    h = x.reshape(2, 5, 2, 3).transpose(0, 2, 1, 3)
    e = np.exp(h @ h.swapaxes(-1, -2))
    np.testing.assert_allclose(
        found.network.predict(x), e / e.sum(-1, keepdims=True) @ h, rtol=1e-4, atol=1e-5
    )


def test_an_embedding(tmp_path: Path) -> None:
    table = numbers(7, 3)
    found = load(
        saved(
            tmp_path,
            [node("Gather", ["table", "x"], ["y"])],
            {"x": ["n", 4]},
            ["y"],
            {"table": table},
            dtype=TensorProto.INT64,
        )
    )
    assert kinds(found) == ["embedding"]
    x = DRAW.integers(0, 7, (2, 4))
    np.testing.assert_array_equal(found.network.predict(x), table[x])


def test_several_outputs_and_names_of_the_file(tmp_path: Path) -> None:
    """What is the input as it is, and what is given twice, has a layer of its own."""
    nodes = [node("Identity", ["x"], ["same"]), node("Neg", ["x"], ["a"]), node("Identity", ["a"], ["b"])]
    found = load(saved(tmp_path, nodes, {"x": ["n", 3]}, ["same", "a", "b"]))
    x = numbers(2, 3)
    y = found.network.predict(x)
    for name, wanted in (("same", x), ("a", -x), ("b", -x)):
        np.testing.assert_array_equal(y[found.outputs[name].source], wanted)


def test_what_leads_to_no_output_is_left_out(tmp_path: Path) -> None:
    nodes = [node("Relu", ["x"], ["y"]), node("NoSuchOperator", ["x"], ["z"])]
    assert kinds(load(saved(tmp_path, nodes, {"x": ["n", 3]}, ["y"]))) == ["relu"]


def test_half_precision_is_told(tmp_path: Path) -> None:
    path = saved(tmp_path, [node("Relu", ["x"], ["y"])], {"x": ["n", 3]}, ["y"], dtype=TensorProto.FLOAT16)
    assert load(path).notes == ["x is of FLOAT16 there; here all is computed in float32"]


def test_bytes_are_cast_before_they_are_computed_with(tmp_path: Path) -> None:
    nodes = [node("Cast", ["x"], ["f"], to=TensorProto.FLOAT), node("Div", ["f", "most"], ["y"])]
    held = {"most": np.float32(255)}
    path = saved(tmp_path, nodes, {"x": ["n", 3]}, ["y"], held, dtype=TensorProto.UINT8)
    x = np.array([[0, 51, 255]])
    np.testing.assert_allclose(cortex.from_onnx(path).predict(x), x / 255, rtol=1e-6)


def test_heads_of_all_examples_side_by_side(tmp_path: Path) -> None:
    """(N heads, steps, channels), as older exports of PyTorch's attention have it; and back."""
    nodes = [
        node("Shape", ["x"], ["n"], end=1),
        node("Mul", ["n", "two"], ["all"]),
        node("Concat", ["all", "rest"], ["shape"], axis=0),
        node("Reshape", ["x", "shape"], ["h"]),
        node("Transpose", ["h"], ["t"], perm=[0, 2, 1]),
        node("MatMul", ["h", "t"], ["s"]),
        node("Softmax", ["s"], ["p"], axis=-1),
        node("MatMul", ["p", "h"], ["z"]),
        node("Concat", ["n", "back"], ["last"], axis=0),
        node("Reshape", ["z", "last"], ["y"]),
    ]
    held = {"two": np.array([2]), "rest": np.array([5, 3]), "back": np.array([2, 5, 3])}
    path = saved(tmp_path, nodes, {"x": ["n", 2, 5, 3]}, ["y"], held)
    x = numbers(4, 2, 5, 3)
    e = np.exp(x @ x.swapaxes(-1, -2))
    wanted = e / e.sum(-1, keepdims=True) @ x
    np.testing.assert_allclose(cortex.from_onnx(path).predict(x), wanted, rtol=1e-4, atol=1e-5)


def test_what_would_mix_the_examples_with_their_heads_is_no_batch(tmp_path: Path) -> None:
    """A sum over examples and heads: the whole is one example then."""
    nodes = [node("Reshape", ["x", "shape"], ["h"]), node("ReduceSum", ["h", "axes"], ["y"], keepdims=0)]
    held = {"shape": np.array([6, 4]), "axes": np.array([0])}
    found = load(saved(tmp_path, nodes, {"x": [2, 3, 4]}, ["y"], held))
    x = numbers(1, 2, 3, 4)
    np.testing.assert_allclose(found.network.predict(x), x.sum((1, 2)), rtol=1e-5)
    assert "the whole of an input is one example" in found.notes[0]
