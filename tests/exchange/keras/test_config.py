"""Configurations of Keras 1 to 3 become one form: what is called with what, under which names."""

from __future__ import annotations

from typing import Any

import pytest

from cortex_core.exchange.keras.config import read_model, version_of
from cortex_core.exchange.keras.model import Call, Layer, Model, Out
from cortex_core.exchange.keras.order import steps
from tests.exchange.keras.configs import (
    Json,
    entry,
    given,
    graph,
    listed,
    new_entry,
    new_given,
    node,
    sequential,
    tensor,
)


def layer_of(model: Model, name: str) -> Layer:
    return next(layer for layer in model.layers if layer.name == name)


def calls(model: Model, name: str) -> tuple[Call, ...]:
    return layer_of(model, name).calls


def names(model: Model) -> list[str]:
    return [layer.name for layer in model.layers]


def config_of(kind: str, version: str, **config: Any) -> tuple[str, dict[str, Any]]:
    """What becomes of a layer's class and configuration."""
    first = listed("InputLayer", name="a", batch_input_shape=[None, 4])
    layer = read_model(sequential(first, listed(kind, name="x", **config)), version).layers[1]
    return layer.kind, {key: value for key, value in layer.config.items() if key != "name"}


# Sequential


def test_a_sequential_model_of_keras_2_may_be_a_list_whose_first_layer_says_the_shape() -> None:
    embedding = listed("Embedding", name="e", batch_input_shape=[None, 20], input_dim=9, dtype="int32")
    dense = listed("Dense", name="d", units=2)
    model = read_model({"class_name": "Sequential", "config": [embedding, dense]}, "2.1.6")
    assert names(model) == ["e_input", "e", "d"]
    assert model.layers[0].config == {"batch_shape": [None, 20], "dtype": "int32"}
    assert model.inputs == (Out("e_input"),)
    assert model.outputs == (Out("d"),)
    assert calls(model, "e") == (Call((Out("e_input"),), {}),)
    assert calls(model, "d") == (Call((Out("e"),), {}),)


def test_a_sequential_model_may_write_its_input_or_what_it_was_built_for() -> None:
    told = sequential(listed("InputLayer", name="a", batch_input_shape=[None, 3]), listed("Dense", name="d"))
    assert names(read_model(told, "2.5.0")) == ["a", "d"]
    built = read_model(sequential(listed("Dense", name="d"), build_input_shape=[None, 7]), "2.4.0")
    assert built.layers[0].config["batch_shape"] == [None, 7]


def test_the_model_inside_a_sequential_one_says_the_shape() -> None:
    inner = sequential(listed("Dense", name="d", batch_input_shape=[None, 5]), name="inner")
    model = read_model(sequential(inner, listed("Dense", name="e")), "2.2.4")
    assert names(model) == ["inner_input", "inner", "e"]
    assert model.layers[0].config["batch_shape"] == [None, 5]
    held = layer_of(model, "inner").model
    assert held is not None
    assert names(held) == ["d_input", "d"]


def test_keras_1_puts_models_together_by_a_merge() -> None:
    left, right = (
        {"class_name": "Sequential", "config": [listed("Dense", name=n, output_dim=2, batch_input_shape=s)]}
        for n, s in (("l", [None, 3]), ("r", [None, 4]))
    )
    merge = listed(
        "Merge", name="m", mode="concat", mode_type="raw", concat_axis=-1, dot_axes=-1, layers=[left, right]
    )
    data = {"class_name": "Sequential", "config": [merge, listed("Dense", name="d", output_dim=1)]}
    model = read_model(data, "1.2.2")
    assert names(model) == ["l_input", "l", "r_input", "r", "m", "d"]
    assert model.inputs == (Out("l_input"), Out("r_input"))
    assert layer_of(model, "m").kind == "Concatenate"
    assert layer_of(model, "m").config == {"name": "m", "axis": -1}
    assert calls(model, "m") == (Call(([Out("l"), Out("r")],), {}),)
    assert calls(model, "d") == (Call((Out("m"),), {}),)


# Graphs


def test_several_inputs_outputs_and_calls_of_keras_2() -> None:
    layers = [
        given("a"),
        given("b"),
        entry("Dense", "d", [["a", 0, 0, {}]], [["b", 0, 0, {}]], units=4),
        entry("Add", "s", [["d", 0, 0, {}], ["d", 1, 0, {}]]),
    ]
    model = read_model(graph(layers, [["b", 0, 0], ["a", 0, 0]], [["s", 0, 0], ["d", 1, 0]]), "2.3.1")
    assert model.inputs == (Out("b"), Out("a"))
    assert model.outputs == (Out("s"), Out("d", 1))
    assert calls(model, "d") == (Call((Out("a"),), {}), Call((Out("b"),), {}))
    assert calls(model, "s") == (Call(([Out("d"), Out("d", 1)],), {}),)


def test_a_layer_of_tf_keras_may_be_called_with_a_mapping() -> None:
    x = entry("InputLayer", "x", batch_input_shape=[None, 4])
    inner = graph([x, entry("Dense", "d", [["x", 0, 0, {}]], units=2)], {"x": ["x", 0, 0]}, [["d", 0, 0]])
    held = {**inner, "name": "held", "inbound_nodes": [{"x": ["a", 0, 0, {}]}]}
    model = read_model(graph([given(), held], [["a", 0, 0]], [["held", 1, 0]]), "2.4.0")
    assert calls(model, "held") == (Call(({"x": Out("a")},), {}),)


def test_nodes_of_keras_1_have_no_keywords() -> None:
    layers = [given(), entry("Dense", "d", [["a", 0, 0]], output_dim=2)]
    assert calls(read_model(graph(layers, [["a", 0, 0]], [["d", 0, 0]]), "1.0"), "d")[0].args == (Out("a"),)


def test_layers_are_called_behind_what_they_take_however_they_are_shared() -> None:
    """d(e(d(a))): neither layer stands behind the other."""
    layers = [
        given(),
        entry("Dense", "d", [["a", 0, 0, {}]], [["e", 0, 0, {}]]),
        entry("Dense", "e", [["d", 0, 0, {}]]),
    ]
    model = read_model(graph(layers, [["a", 0, 0]], [["d", 1, 0]]), "2.2.0")
    assert [(layer.name, number) for layer, number in steps(model)] == [("d", 0), ("e", 0), ("d", 1)]
    assert names(model) == ["a", "d", "e"]


def test_layers_that_the_file_lists_last_may_be_called_first() -> None:
    layers = [entry("Dense", "e", [["d", 0, 0, {}]]), entry("Dense", "d", [["a", 0, 0, {}]]), given()]
    model = read_model(graph(layers, [["a", 0, 0]], [["e", 0, 0]]), "2.2.0")
    assert [layer.name for layer, _ in steps(model)] == ["d", "e"]


def nested(version: str, *nodes: Any, takes: Any, outputs: Any) -> Model:
    inner = graph([given("n"), entry("Dense", "d", [["n", 0, 0, {}]])], [["n", 0, 0]], [["d", 0, 0]])
    layers = [given(), {**inner, "name": "inner", "inbound_nodes": [*nodes]}, entry("Dense", "e", takes)]
    return read_model(graph(layers, [["a", 0, 0]], outputs, name="outer"), version)


def test_keras_2_counts_the_calls_of_models_from_1() -> None:
    model = nested(
        "2.2.4", [["a", 0, 0, {}]], [["inner", 1, 0, {}]], takes=[["inner", 2, 0, {}]], outputs=[["e", 0, 0]]
    )
    assert [call.args for call in calls(model, "inner")] == [(Out("a"),), (Out("inner", 0),)]
    assert calls(model, "e")[0].args == (Out("inner", 1),)


def test_a_model_that_begins_without_an_input_is_counted_from_0() -> None:
    model = nested("2.5.0", [["a", 0, 0, {}]], takes=[["inner", 0, 0, {}]], outputs=[["inner", 0, 0]])
    assert calls(model, "e")[0].args == model.outputs == (Out("inner", 0),)


def test_keras_3_counts_the_calls_of_graphs_from_1_among_the_outputs_alone() -> None:
    inner = graph([new_given("n"), new_entry("Dense", "d", node(tensor("n")))], ["n", 0, 0], ["d", 0, 0])
    inner |= {"module": "keras.src.models.functional", "class_name": "Functional", "name": "inner"}
    inner["inbound_nodes"] = [node(tensor("a"), mask=None), node(tensor("inner"), mask=None)]
    layers = [new_given(), inner]
    model = read_model(graph(layers, ["a", 0, 0], [["inner", 1, 0], ["inner", 2, 0]], "Functional"), "3.9.0")
    assert calls(model, "inner") == (Call((Out("a"),), {}), Call((Out("inner", 0),), {}))
    assert model.outputs == (Out("inner", 0), Out("inner", 1))


def test_calls_of_tf_keras_have_constants_and_values_among_the_keywords() -> None:
    attention = [["q", 0, 0, {"value": ["v", 0, 0], "key": None, "training": False}]]
    layers = [
        given("q", 5, 4),
        given("v", 3, 4),
        entry("MultiHeadAttention", "m", attention, num_heads=2, key_dim=2),
        entry("TFOpLambda", "plus", ["m", 0, 0, {"y": 3.0, "name": None}], function="__operators__.add"),
        entry("TFOpLambda", "from", ["_CONSTANT_VALUE", -1, 6.0, {"y": ["plus", 0, 0]}], function="math.sub"),
        entry("TFOpLambda", "cat", [["plus", 0, 0, {"axis": -1}], ["from", 0, 0, {"axis": -1}]]),
        entry(
            "SlicingOpLambda",
            "part",
            ["cat", 0, 0, {"slice_spec": {"class_name": "__tuple__", "items": [ELLIPSIS, part(None, 2)]}}],
            function="__operators__.getitem",
        ),
    ]
    model = read_model(graph(layers, [["q", 0, 0], ["v", 0, 0]], [["part", 0, 0]], "Functional"), "2.9.0")
    assert calls(model, "m") == (Call((Out("q"),), {"value": Out("v"), "training": False}),)
    assert calls(model, "plus") == (Call((Out("m"),), {"y": 3.0}),)
    assert calls(model, "from") == (Call((6.0,), {"y": Out("plus")}),)
    assert calls(model, "cat") == (Call(([Out("plus"), Out("from")],), {"axis": -1}),)
    assert calls(model, "part") == (Call((Out("cat"),), {"slice_spec": [..., slice(None, 2, None)]}),)


ELLIPSIS = {"class_name": "__ellipsis__"}


def part(start: Any, stop: Any) -> dict[str, Any]:
    return {"start": start, "stop": stop, "step": None}


def test_an_operation_of_keras_3_is_no_layer_of_the_same_name() -> None:
    array = {"class_name": "__numpy__", "config": {"value": [[1.0, 2.0]], "dtype": "float32"}}
    cut = {"class_name": "__slice__", "config": {"start": 1, "stop": None, "step": None}}
    plus = entry("Add", "plus", node(tensor("a"), array))
    layers = [
        new_given(),
        {**plus, "module": "keras.src.ops.numpy", "registered_name": "Add"},
        new_entry("Add", "sum", node([tensor("a"), tensor("plus")])),
        entry("GetItem", "part", node(tensor("sum"), [cut, 0])),
    ]
    model = read_model(graph(layers, ["a", 0, 0], ["part", 0, 0], "Functional"), "3.3.0")
    assert [layer.kind for layer in model.layers] == ["InputLayer", "ops.Add", "Add", "ops.GetItem"]
    assert calls(model, "plus")[0].args == (Out("a"), [[1.0, 2.0]])
    assert calls(model, "sum")[0].args == ([Out("a"), Out("plus")],)
    assert calls(model, "part")[0].args == (Out("sum"), [slice(1, None, None), 0])


def test_inputs_and_outputs_by_name_stand_as_keras_sorts_them() -> None:
    layers = [new_given("x"), new_given("y"), new_entry("Add", "s", node([tensor("x"), tensor("y")]))]
    data = graph(layers, {"b": ["x", 0, 0], "a": ["y", 0, 0]}, {"out": ["s", 0, 0]}, "Functional")
    model = read_model(data, "3.0.0")
    assert model.inputs == (Out("y"), Out("x"))
    assert model.outputs == (Out("s"),)


# Configurations


def test_names_of_keras_1() -> None:
    kind, new = config_of(
        "Convolution2D",
        "1.2.0",
        nb_filter=8,
        nb_row=3,
        nb_col=5,
        subsample=[2, 1],
        border_mode="same",
        dim_ordering="th",
        bias=True,
        init="normal",
        W_regularizer=None,
    )
    assert kind == "Conv2D"
    assert new == {
        "filters": 8,
        "kernel_size": [3, 5],
        "strides": [2, 1],
        "padding": "same",
        "data_format": "channels_first",
        "use_bias": True,
        "kernel_initializer": "normal",
        "kernel_regularizer": None,
    }


@pytest.mark.parametrize(
    ("kind", "config", "expected"),
    [
        ("Convolution1D", {"filter_length": 3, "subsample_length": 2}, {"kernel_size": 3, "strides": 2}),
        ("Dropout", {"p": 0.5}, {"rate": 0.5}),
        ("MaxPooling1D", {"pool_length": 2, "stride": 2}, {"pool_size": 2, "strides": 2}),
        ("Embedding", {"output_dim": 3, "dropout": 0.2}, {"output_dim": 3}),
        ("TimeDistributedDense", {"output_dim": 3}, {"units": 3}),
        ("BatchNormalization", {"mode": 0, "axis": 1}, {"axis": 1}),
        ("BatchNormalization", {"mode": 1}, {"mode": 1}),
        ("ZeroPadding2D", {"padding": [1, 2, 3, 4]}, {"padding": [[1, 2], [3, 4]]}),
        ("ZeroPadding2D", {"padding": {"left_pad": 1}}, {"padding": [[0, 0], [1, 0]]}),
        ("ZeroPadding2D", {"padding": [1, 2]}, {"padding": [1, 2]}),
        ("ZeroPadding1D", {"padding": {"right_pad": 1}}, {"padding": [0, 1]}),
    ],
)
def test_fields_of_keras_1(kind: str, config: dict[str, Any], expected: dict[str, Any]) -> None:
    assert config_of(kind, "1.1.0", **config)[1] == expected


def test_recurrent_layers_of_keras_1() -> None:
    _, new = config_of(
        "GRU",
        "",
        output_dim=5,
        inner_activation="hard_sigmoid",
        inner_init="orthogonal",
        forget_bias_init="one",
        activation="tanh",
        consume_less="cpu",
        dropout_W=0.1,
        dropout_U=0.2,
    )
    assert new == {
        "units": 5,
        "activation": "tanh",
        "recurrent_activation": "hard_sigmoid_0.2",
        "recurrent_initializer": "orthogonal",
        "dropout": 0.1,
        "recurrent_dropout": 0.2,
        "reset_after": False,
    }


def test_the_hard_sigmoid_of_keras_3_is_another_one() -> None:
    for version, expected in (("2.15.0", "hard_sigmoid_0.2"), ("3.0.0", "hard_sigmoid")):
        assert config_of("Activation", version, activation="hard_sigmoid")[1] == {"activation": expected}
        assert config_of("Lambda", version, mode="hard_sigmoid")[1] == {"mode": "hard_sigmoid"}


@pytest.mark.parametrize(
    ("mode", "kind", "config"),
    [
        ("sum", "Add", {}),
        ("ave", "Average", {}),
        ("concat", "Concatenate", {"axis": 2}),
        ("dot", "Dot", {"axes": [1, 2]}),
    ],
)
def test_merges_of_keras_1(mode: str, kind: str, config: dict[str, Any]) -> None:
    merge = entry("Merge", "m", [["a", 0, 0], ["a", 0, 0]], mode=mode, concat_axis=2, dot_axes=[[1], [2]])
    model = read_model(graph([given(), merge], [["a", 0, 0]], [["m", 0, 0]]), "1.2.2")
    assert (model.layers[1].kind, model.layers[1].config) == (kind, {"name": "m", **config})


def test_layers_of_cudnn_say_what_they_compute() -> None:
    assert config_of("CuDNNLSTM", "2.2.0", units=3) == (
        "LSTM",
        {"units": 3, "activation": "tanh", "recurrent_activation": "sigmoid", "use_bias": True},
    )
    kind, config = config_of("CuDNNGRU", "2.2.0", units=3)
    assert kind == "GRU"
    assert config["reset_after"] is True


def test_a_layer_in_another_one_is_read_as_any() -> None:
    inner = listed("CuDNNLSTM", name="l", units=3)
    _, config = config_of("Bidirectional", "2.1.0", layer=inner, merge_mode="sum")
    assert config["layer"]["class_name"] == "LSTM"
    assert config["layer"]["config"]["recurrent_activation"] == "sigmoid"
    _, config = config_of("TimeDistributed", "1.2.0", layer=listed("Dense", output_dim=3))
    assert config["layer"] == {"class_name": "Dense", "config": {"units": 3}}


def test_values_of_keras_3() -> None:
    policy = {"module": "keras", "class_name": "DTypePolicy", "config": {"name": "mixed_float16"}}
    values = {
        "class_name": "__tuple__",
        "items": [1, {"class_name": "__tensor__", "config": {"value": [2.0]}}],
    }
    function = {"module": "keras.activations", "class_name": "function", "config": "silu"}
    zeros: Json = {
        "module": "keras.initializers",
        "class_name": "Zeros",
        "config": {},
        "registered_name": None,
    }
    _, config = config_of("Dense", "3.1.0", dtype=policy, axes=values, activation=function, init=zeros)
    assert config == {
        "dtype": "mixed_float16",
        "axes": [1, [2.0]],
        "activation": "silu",
        "init": {"class_name": "Zeros", "config": {}},
    }


def test_the_version_where_the_file_does_not_say_it() -> None:
    assert version_of({"class_name": "Sequential"}, "2.1.6") == "2.1.6"
    assert version_of({"class_name": "Sequential", "keras_version": "2.2.4-tf"}) == "2.2.4-tf"
    assert version_of({"class_name": "Sequential", "module": "keras"}) == "3"
    assert version_of({"class_name": "Sequential"}) == ""


def test_what_custom_classes_say_stays_as_it_is() -> None:
    """Their authors may call a field what Keras 1 called another one."""
    own = {"p": 2, "nb_filter": 3, "bias": True, "activation": "hard_sigmoid", "dim_ordering": "th"}
    assert config_of("Gate", "1.2.0", **own) == ("Gate", own)
    assert config_of("Dropout", "1.2.0", p=0.5) == ("Dropout", {"rate": 0.5})
    cell = {"class_name": "GRUCell", "config": {"recurrent_activation": "hard_sigmoid"}}
    _, config = config_of("RNN", "2.3.0", cell=cell)
    assert config["cell"]["config"]["recurrent_activation"] == "hard_sigmoid_0.2"
