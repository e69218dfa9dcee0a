"""What stands in an exported model: names, sizes, nodes, metadata; and what onnx's reference makes of it."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cortex
from cortex_compute.errors import CortexError, DTypeError, SpecError
from cortex_compute.expression import ARITY
from cortex_core.exchange.to_onnx import model as made_models
from cortex_core.exchange.to_onnx import pointwise
from cortex_core.exchange.to_onnx.exported import to_onnx
from cortex_core.network import Network, network
from cortex_core.ops.indexing import concatenate, cumsum, one_hot, scatter_add, take_along, top_k
from cortex_core.ops.pointwise import cast, divide, isfinite, relu
from cortex_core.ops.pooling import avg_pool, max_pool
from cortex_core.ops.reduce import argmax, prod
from cortex_core.ops.views import reshape
from cortex_core.spec import read
from tests.exchange.to_onnx.support import TOLERANCE, difference, draw, inputs_of, predicted

EXAMPLES = Path(__file__).parents[3] / "examples"


def made(inputs: dict[str, Any], layers: list[Any], **sections: Any) -> Network:
    """A network with biases, scales and statistics of its own."""
    net = Network(read({"cortex": 1, "inputs": inputs, "layers": layers, **sections}), seed=1)
    rng = np.random.default_rng(0)
    draw(net, rng, inputs_of(net, 4, rng, 12))
    return net


def ran(model: Any, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The outputs of a model by name, as onnx's own reference computes them."""
    onnx = pytest.importorskip("onnx")
    onnx.checker.check_model(model, full_check=True)
    evaluator = pytest.importorskip("onnx.reference").ReferenceEvaluator(model)
    with np.errstate(all="ignore"):
        return dict(zip(evaluator.output_names, evaluator.run(None, inputs)))


def assert_same(net: Network, inputs: dict[str, np.ndarray]) -> None:
    theirs, ours = ran(to_onnx(net), inputs), predicted(net, inputs)
    assert theirs.keys() == ours.keys()
    for name in ours:
        assert theirs[name].shape == ours[name].shape
        assert difference(ours[name], theirs[name]) <= TOLERANCE, name


def shapes(values: Any) -> dict[str, list[Any]]:
    return {
        value.name: [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim] for value in values
    }


def ops(model: Any) -> Counter[str]:
    return Counter(node.op_type for node in model.graph.node)


def test_names_and_sizes() -> None:
    model = to_onnx(network(EXAMPLES / "siamese.yaml"))
    assert shapes(model.graph.input) == {"image": ["batch", 28, 28, 1], "other": ["batch", 28, 28, 1]}
    assert shapes(model.graph.output) == {"left/code": ["batch", 16], "right/code": ["batch", 16]}
    assert (model.producer_name, model.opset_import[0].version) == ("cortex", 17)
    assert model.graph.name == "siamese"


def test_a_chain_of_convolutions_has_a_transpose_at_each_end() -> None:
    net = network(EXAMPLES / "resnet20_cifar10.yaml")
    model = to_onnx(net)
    norms = sum(node.kind == "batch_norm" for node in net.description.layers)
    assert (ops(model)["Transpose"], ops(model)["BatchNormalization"]) == (1, norms)  # the last is a reshape
    assert {node.op_type for node in model.graph.node} <= {
        *("Transpose", "Conv", "BatchNormalization", "Relu", "Add", "GlobalAveragePool", "Reshape", "Gemm"),
        "Softmax",
    }


def test_padding_slices_and_joins_stay_between_the_transposes() -> None:
    net = made(
        {"image": [8, 8, 2]},
        [
            {"conv2d": {"filters": 3, "kernel": 3, "id": "a"}},
            {"padding2d": 1},
            {"cropping2d": 1},
            {"max_pool2d": 2},
            {"conv2d": {"filters": 3, "kernel": 1, "id": "b"}},
            {"concatenate": {"from": ["b", "max_pool2d"]}},
            "global_avg_pool2d",
        ],
    )
    assert ops(to_onnx(net))["Transpose"] == 1
    assert_same(net, inputs_of(net, 3, np.random.default_rng(1)))


def test_initializers_are_called_as_the_parameters() -> None:
    net = made(
        {"image": [6, 6, 2]}, [{"conv2d": {"filters": 5, "kernel": 3}}, "batch_norm", "flatten", {"dense": 4}]
    )
    found = {x.name: tuple(x.dims) for x in to_onnx(net).graph.initializer}
    assert {*net.parameters, *net.variables} <= found.keys()
    assert found["conv2d/kernel"] == (5, 2, 3, 3)


def test_nodes_are_called_by_the_place_of_their_layer() -> None:
    names = {node.op_type: node.name for node in to_onnx(network(EXAMPLES / "digits.yaml")).graph.node}
    assert names["Conv"].startswith("layers[")
    assert names["Conv"].endswith("/Conv")


@pytest.mark.usefixtures("made_data")
@pytest.mark.parametrize("name", ["digits", "text_gru", "seq2seq_attention"])
def test_the_reference_of_onnx_gives_the_same_at_any_batch(name: str) -> None:
    net = network(EXAMPLES / f"{name}.yaml")
    for batch in (1, 3):
        assert_same(net, inputs_of(net, batch, np.random.default_rng(batch)))


def test_a_place_out_of_range_is_the_nearest_one() -> None:
    net = made({"words": {"shape": [4], "dtype": "int32"}}, [{"embedding": {"tokens": 5, "units": 3}}])
    given = {"words": np.array([[0, 4, 9, -2]], np.int32)}
    (found,) = ran(to_onnx(net), given).values()
    table = net.parameters["embedding/table"]
    np.testing.assert_array_equal(found[0], table[[0, 4, 4, 0]])


SENTENCE = {"words": {"shape": [None], "dtype": "int32"}}
WORDS = {"embedding": {"tokens": 7, "units": 8, "mask_zero": True, "id": "in"}}


@pytest.mark.parametrize(
    "layers",
    [
        [WORDS, {"gru": {"units": 3, "mask": "in.mask", "return": "sequence"}}, {"lstm": 4}, {"dense": 2}],
        [WORDS, {"multi_head_attention": {"heads": 2, "causal": True, "mask": "in.mask"}}, "layer_norm"],
        [WORDS, {"conv1d": {"filters": 3, "kernel": 3}}, {"max_pool1d": 2}, "flip", "global_avg_pool1d"],
        [WORDS, {"positional_encoding": {"kind": "learned", "length": 40}}, {"dense": 2}],
    ],
    ids=["recurrent", "attention", "convolution", "positions"],
)
def test_an_axis_of_any_length(layers: list[Any]) -> None:
    net = made(SENTENCE, layers)
    assert shapes(to_onnx(net).graph.input) == {"words": ["batch", "words_length"]}
    for length in (7, 12):
        assert_same(net, inputs_of(net, 2, np.random.default_rng(length), length))


def test_pictures_of_any_size_that_are_halved_and_joined() -> None:
    net = made(
        {"image": [None, None, 1]},
        [
            {"conv2d": {"filters": 2, "kernel": 3, "padding": "same", "id": "fine"}},
            {"max_pool2d": 2},
            {"conv_transpose2d": {"filters": 2, "kernel": 2, "stride": 2, "id": "up"}},
            {"concatenate": {"from": ["fine", "up"]}},
            {"conv2d": {"filters": 2, "kernel": 1}},
        ],
    )
    model = to_onnx(net)
    assert shapes(model.graph.input) == {"image": ["batch", "image_axis1", "image_axis2", 1]}
    for size in ((8, 6), (4, 10), (2, 14)):
        image = np.random.default_rng(0).normal(size=(2, *size, 1)).astype(np.float32)
        assert_same(net, {"image": image})


def test_padding_that_depends_on_the_length() -> None:
    """Of "same": with a stride an even length has another padding than an odd one, here on both levels."""
    strided = {"filters": 3, "kernel": 3, "stride": 2, "padding": "same"}
    layers = [{"conv2d": {**strided}}, {"max_pool2d": {"size": 3, "stride": 2, "padding": "same"}}]
    net = made({"image": [None, None, 1]}, layers)
    for size in ((8, 9), (10, 11), (7, 6)):
        image = np.random.default_rng(0).normal(size=(2, *size, 1)).astype(np.float32)
        assert_same(net, {"image": image})


def test_inputs_of_one_free_length_that_are_added() -> None:
    net = made(
        {"a": [None, 2], "b": [None, 2]},
        [{"add": {"from": ["a", "b"]}}, {"dense": 3}],
    )
    assert set(shapes(to_onnx(net).graph.input)["b"][:2]) == {"batch", "length"}
    assert_same(net, inputs_of(net, 2, np.random.default_rng(0)))


def test_all_that_cannot_be_said_is_told_at_once_and_nothing_is_written(tmp_path: Path) -> None:
    layers = [
        {"dense": 4},
        {"positional_encoding": {}},
        {"dense": {"units": 4, "id": "then"}},
        {"multi_head_attention": {"heads": 2, "rotary": True}},
    ]
    net = made({"x": [None, 3]}, layers)
    with pytest.raises(SpecError) as error:
        to_onnx(net, tmp_path / "net.onnx")
    told = str(error.value).splitlines()
    assert told[0] == "2 parts of the network cannot be said in ONNX:"
    assert told[1].startswith(
        "  layers[1].positional_encoding: its numbers depend on a length that is free; fix"
    )
    assert told[2].startswith("  layers[3].multi_head_attention: its numbers depend on a length")
    assert not list(tmp_path.iterdir())
    fixed = cortex.surgery.resize_input(net, [6, 3])  # the way round that is told
    assert_same(fixed, inputs_of(fixed, 2, np.random.default_rng(0)))


def test_layers_that_are_computed_in_another_way_for_another_length_are_named() -> None:
    net = made(
        {"x": [None, 4, 4, 1]}, [{"conv_lstm2d": {"filters": 2, "kernel": 3}}, "flatten", {"dense": 2}]
    )
    with pytest.raises(
        SpecError, match=r"\n  layers\[0\]\.conv_lstm2d: it is computed in another way for other"
    ):
        to_onnx(net)


@pytest.mark.usefixtures("own_registry")
def test_a_primitive_without_a_word_is_named() -> None:
    class Scattered:
        """x (B, T) added up in three places"""

        def forward(self, p: Any, x: Any) -> Any:
            ids = np.array([0, 2, 0], np.int64)
            return scatter_add(x * 0.0, ids, x, 1)

    cortex.layer("scattered")(Scattered)
    net = made({"x": [3]}, ["scattered"])
    with pytest.raises(SpecError, match=r"layers\[0\]\.scattered: ONNX has no ScatterAdd; put other layers"):
        to_onnx(net)


class Odd:
    """x (B, 7, 6, 2) through ops that no layer of ours has"""

    def forward(self, p: Any, x: Any) -> Any:
        pooled = max_pool(x, 2, 2, ((1, 0), (0, 1)), ceil=True)
        means = avg_pool(pooled, 3, 2, ((1, 1), (1, 1)), ceil=True, count_padding=True)
        flat = reshape(means, (x.shape[0], -1))
        values, places = top_k(flat, 3)
        picked = take_along(flat, places, -1)
        chosen = one_hot(argmax(flat, -1) - 4, 9)  # which is below 0 for some
        finite = cast(isfinite(divide(flat, relu(flat))), "float32")
        return concatenate([cumsum(values), picked, chosen, prod(flat, 1, keepdims=True), finite], -1)


@pytest.mark.usefixtures("own_registry")
def test_ops_of_a_layer_of_ones_own() -> None:
    cortex.layer("odd")(Odd)
    net = made({"x": [7, 6, 2]}, ["odd"])
    assert_same(net, inputs_of(net, 3, np.random.default_rng(0)))


def test_every_pointwise_function_has_a_node() -> None:
    assert {*ARITY} <= {*pointwise.OPS, *pointwise.COMPOSED}


LOSS = {"softmax_cross_entropy": {"of": "dense", "target": "kind"}}


def test_probabilities_or_raw() -> None:
    net = made({"x": [3]}, [{"dense": 4}], loss=LOSS)
    x = {"x": np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)}
    np.testing.assert_allclose(ran(to_onnx(net), x)["dense"].sum(1), 1, rtol=1e-5)
    theirs = ran(to_onnx(net, raw=True), x)["dense"]
    np.testing.assert_allclose(theirs, net.predict(x, raw=True), rtol=1e-5, atol=1e-6)


def test_one_value_under_two_names() -> None:
    net = made({"x": [3]}, [{"dense": 4}, {"dropout": 0.5}], outputs=["dense", "dropout"])
    assert_same(net, inputs_of(net, 2, np.random.default_rng(0)))


def test_an_input_as_output_is_refused() -> None:
    net = made({"x": [3]}, [{"dense": 4}], outputs=["dense", "x"])
    with pytest.raises(SpecError, match="'x' is an input and an output"):
        to_onnx(net)


def test_values_in_the_unit_of_the_target_and_what_was_learned(tmp_path: Path) -> None:
    rows = "".join(f"{a},{'red' if a % 2 else 'blue'},{10**8 + a % 11}\n" for a in range(40))
    (tmp_path / "table.csv").write_text("size,colour,price\n" + rows)
    description = {
        "cortex": 1,
        "inputs": {"features": "auto"},
        "layers": [{"dense": {"units": 1, "id": "price"}}],
        "loss": {"mse": {"of": "price", "target": "price"}},
        "train": {"data": {"table": {"file": str(tmp_path / "table.csv")}}, "epochs": 1, "batch_size": 8},
    }
    net = cortex.train(description, out=tmp_path / "run").network
    x = {"features": np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)}
    assert np.abs(net.predict(x)).min() > 100  # a price, and not a number around 0
    assert_same(net, x)
    (theirs,), ours = ran(to_onnx(net), x).values(), net.predict(x)
    assert theirs.dtype == ours.dtype == np.float64
    np.testing.assert_allclose(theirs, ours, rtol=1e-14)
    told = {entry.key: entry.value for entry in to_onnx(net).metadata_props}
    assert json.loads(told["cortex.preprocessing"])["header"] == ["size", "colour", "price"]
    assert read_back(told["cortex.description"]) == net.description.canonical


def read_back(text: str) -> Any:
    import yaml

    return read(yaml.safe_load(text)).canonical


def test_a_file_is_the_model(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    net = network(EXAMPLES / "softmax_regression.yaml")
    model = cortex.to_onnx(net, tmp_path / "new" / "net.onnx")
    assert onnx.load(tmp_path / "new" / "net.onnx") == model


@pytest.mark.parametrize("most", [1000, 140_000], ids=["weights", "weights and all else"])
def test_what_no_file_holds_is_refused(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    net = network(EXAMPLES / "digits.yaml")
    weights = sum(array.nbytes for array in (*net.parameters.values(), *net.variables.values()))
    monkeypatch.setattr(made_models, "MOST", min(most, weights))
    with pytest.raises(CortexError, match=r"digits: it takes 0\.00 GB, and an ONNX file holds at most"):
        to_onnx(net)


def test_what_the_checker_refuses_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(made_models, "OPSET", 5)
    with pytest.raises(CortexError, match="digits: the checker of onnx refuses what was made of it"):
        to_onnx(network(EXAMPLES / "digits.yaml"), tmp_path / "net.onnx")
    assert not list(tmp_path.iterdir())


def test_arguments_are_checked_before_the_work(tmp_path: Path) -> None:
    with pytest.raises(
        DTypeError, match=r"to_onnx: got a int where the path stands, expected to_onnx\(network, "
    ):
        to_onnx(network(EXAMPLES / "digits.yaml"), 3)  # type: ignore[arg-type]
    with pytest.raises(DTypeError, match="to_onnx: got a Network where the path stands"):
        to_onnx(str(tmp_path / "net.onnx"), network(EXAMPLES / "digits.yaml"))  # type: ignore[arg-type]


def test_without_the_library_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "onnx", None)
    with pytest.raises(CortexError, match=r"pip install 'cortex-nn\[onnx\]'"):
        to_onnx(network(EXAMPLES / "digits.yaml"))
