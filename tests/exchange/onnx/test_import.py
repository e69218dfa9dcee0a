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


@pytest.mark.parametrize(
    ("start", "stop", "step"),
    [(-1, -(2**63), -1), (-2, -(2**31), -2), (2**31 - 1, 0, -1), (-1, -4, -1), (3, 0, -2)],
)
@pytest.mark.parametrize("size", [5, None])
def test_a_part_backwards(tmp_path: Path, start: int, stop: int, step: int, size: int | None) -> None:
    held = {"start": np.array([start]), "stop": np.array([stop]), "axis": np.array([1])}
    nodes = [node("Slice", ["x", "start", "stop", "axis", "step"], ["y"])]
    shape = ["n", "steps" if size is None else size, 2]
    found = load(saved(tmp_path, nodes, {"x": shape}, ["y"], held | {"step": np.array([step])}))
    for length in (5,) if size else (5, 8):
        x = numbers(3, length, 2)
        np.testing.assert_array_equal(found.network.predict(x), x[:, start:stop:step])


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


@pytest.mark.parametrize("factors", [["x", "s"], ["s", "x"]])
def test_a_silu_written_out(tmp_path: Path, factors: list[str]) -> None:
    nodes = [node("Sigmoid", ["x"], ["s"]), node("Mul", factors, ["y"])]
    found = load(saved(tmp_path, nodes, {"x": ["n", 5]}, ["y"]))
    assert kinds(found) == ["silu"]
    x = numbers(3, 5)
    np.testing.assert_allclose(found.network.predict(x), x / (1 + np.exp(-x)), rtol=1e-5)


def test_a_gate_that_others_take_too_stays(tmp_path: Path) -> None:
    nodes = [node("Sigmoid", ["x"], ["s"]), node("Mul", ["x", "s"], ["y"]), node("Mul", ["z", "s"], ["w"])]
    found = load(saved(tmp_path, nodes, {"x": ["n", 5], "z": ["n", 5]}, ["y", "w"]))
    assert kinds(found) == ["sigmoid", "multiply", "multiply"]


ADDED: dict[str, tuple[list[int | str], list[int], list[int], str, str]] = {
    "Conv": (["n", 2, 5], [4, 2, 1], [4, 1], "ncl,oci->nol", "conv1d"),
    "ConvTranspose": (["n", 2, 3, 3], [2, 4, 1, 1], [1, 4, 1, 1], "nchw,coij->nohw", "conv_transpose2d"),
    "Gemm": (["n", 3], [3, 4], [4], "nc,co->no", "dense"),
    "MatMul": (["n", 5, 3], [3, 4], [1, 4], "ntc,co->nto", "dense"),
}
"""Of an operator the shapes of its input, its kernel and what is added, its formula, and our layer."""


@pytest.mark.parametrize("op", ADDED)
def test_what_is_added_to_each_channel_is_the_bias(tmp_path: Path, op: str) -> None:
    shape, kernel, added, formula, kind = ADDED[op]
    nodes = [node(op, ["x", "w"], ["m"]), node("Add", ["b", "m"], ["a"]), node("Relu", ["a"], ["y"])]
    held = {"w": numbers(*kernel), "b": numbers(*added)}
    found = load(saved(tmp_path, nodes, {"x": shape}, ["y"], held))
    assert [k for k in kinds(found) if k != "permute"] == [kind, "relu"]
    x = numbers(2, *(n for n in shape if isinstance(n, int)))
    wanted = np.maximum(np.einsum(formula, x, held["w"]) + held["b"], 0)
    np.testing.assert_allclose(found.network.predict(x), wanted, rtol=1e-4, atol=1e-5)


def test_a_bias_that_is_computed_behind_the_convolution(tmp_path: Path) -> None:
    nodes = [
        node("Conv", ["x", "w"], ["m"]),
        node("Reshape", ["b", "shape"], ["wide"]),
        node("Add", ["m", "wide"], ["y"]),
    ]
    held = {"w": numbers(4, 2, 1), "b": numbers(4), "shape": np.array([1, -1, 1])}
    found = load(saved(tmp_path, nodes, {"x": ["n", 2, 5]}, ["y"], held))
    assert kinds(found) == ["permute", "conv1d", "permute"]
    x = numbers(2, 2, 5)
    wanted = np.einsum("ncl,oci->nol", x, held["w"]) + held["b"][:, None]
    np.testing.assert_allclose(found.network.predict(x), wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("added", [[1, 1, 3], [4, 3], [1, 4, 3], [1, 1]])
def test_what_is_no_bias_stays_a_layer_of_its_own(tmp_path: Path, added: list[int]) -> None:
    """Numbers for each place, and one number for all channels."""
    nodes = [node("Conv", ["x", "w"], ["c"]), node("Add", ["c", "b"], ["y"])]
    held = {"w": numbers(4, 2, 1), "b": numbers(*added)}
    found = load(saved(tmp_path, nodes, {"x": ["n", 2, 3]}, ["y"], held))
    assert len(kinds(found)) > 1
    x = numbers(2, 2, 3)
    wanted = np.einsum("ncl,oci->nol", x, held["w"]) + held["b"]
    np.testing.assert_allclose(found.network.predict(x), wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("outputs", [["c", "y"], ["z", "y"]])
def test_what_others_take_too_is_without_the_bias(tmp_path: Path, outputs: list[str]) -> None:
    nodes = [
        node("Conv", ["x", "w"], ["c"]),
        node("Add", ["c", "b"], ["y"]),
        node("Neg", ["c"], ["z"]),
    ]
    held = {"w": numbers(4, 2, 1), "b": numbers(4, 1)}
    found = load(saved(tmp_path, nodes, {"x": ["n", 2, 3]}, outputs, held))
    x = numbers(2, 2, 3)
    c = np.einsum("ncl,oci->nol", x, held["w"])
    y = found.network.predict(x)
    for name, wanted in (("c", c), ("z", -c), ("y", c + held["b"])):
        if name in outputs:
            np.testing.assert_allclose(y[found.outputs[name].source], wanted, rtol=1e-4, atol=1e-5)


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


@pytest.mark.parametrize("sides", [["x", "low"], ["low", "x"], ["x", "two"], ["x", "z"]])
def test_what_a_constant_condition_does_not_choose_may_be_anything(tmp_path: Path, sides: list[str]) -> None:
    shown = np.array([[True, False, True], [False, True, True]])
    held = {"shown": shown, "low": np.float32(-2), "two": numbers(2, 3)}
    ports = {name: ["n", 2, 3] for name in ("x", "z") if name in sides}
    found = load(saved(tmp_path, [node("Where", ["shown", *sides], ["y"])], ports, ["y"], held))
    x = np.where(shown == (sides[0] == "x"), numbers(4, 2, 3), np.array([np.nan, np.inf, -np.inf]))
    given = {"x": x.astype(np.float32), "z": numbers(4, 2, 3)}
    one, other = ({**held, **given}[name] for name in sides)
    have = found.network.predict({name: given[name] for name in ports})
    np.testing.assert_array_equal(have, np.where(shown, one, other))
    (mask,) = (layer for layer in found.network.description.layers if layer.id == "y_truths")
    assert not mask.trainable


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


def test_weights_that_are_not_finite_are_told(tmp_path: Path) -> None:
    names = [f"w{i}" for i in range(7)]
    nodes = [node("Gemm", ["x", w], [f"y{w}"], f"layer_{w}") for w in names]
    held = {w: np.full((3, 2), np.nan if w < "w3" else -np.inf, np.float32) for w in names}
    held["w2"] = numbers(3, 2)
    found = load(saved(tmp_path, nodes, {"x": ["n", 3]}, [f"y{w}" for w in names], held))
    (told,) = found.notes
    first = ", ".join(f"yw{i}/kernel" for i in (0, 1, 3, 4, 5))
    assert told == f"NaN or infinite numbers, as the file has them, are in {first} and 1 more"
    assert found.network.summary().endswith(told)


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
