"""What a configuration must not do: run code, name what is not Keras's, or be no model at all."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from cortex_compute.errors import SpecError
from cortex_core.exchange.keras.config import read_model
from cortex_core.exchange.keras.convert import convert
from cortex_core.exchange.keras.model import File, Layer
from cortex_core.exchange.keras.order import count
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

LAMBDA = {"class_name": "__lambda__", "config": {"code": "4wEAAAA=", "defaults": None, "closure": None}}
FUNCTION = {"module": "os", "class_name": "function", "config": "system", "registered_name": "system"}
OWN = {"module": "builtins", "class_name": "function", "config": "my_relu", "registered_name": "function"}
OBJECT: Json = {"module": "evil.things", "class_name": "Zeros", "config": {}, "registered_name": None}
CUSTOM: Json = {"module": None, "class_name": "My", "config": {}, "registered_name": "Custom>My"}


def judged(kind: str = "Dense", module: Any = "keras.layers", name: Any = None, **config: Any) -> Layer:
    """A layer of a Keras 3 model, with this module and registered name."""
    layer = {**new_entry(kind, "x", node(tensor("a")), module=module, **config), "registered_name": name}
    model = read_model(graph([new_given(), layer], ["a", 0, 0], ["x", 0, 0], "Functional"), "3.5.0")
    return model.layers[1]


@pytest.mark.parametrize(
    "module",
    [
        "keras",
        "keras.layers",
        "keras.src.layers.core.dense",
        "keras.src.engine.functional",
        "keras.engine.sequential",
        "keras.models",
        "tensorflow.keras.layers",
        "tensorflow.python.keras.layers.core",
        "tf_keras.src.layers",
        "keras.src.applications.convnext",
    ],
)
def test_modules_that_keras_writes(module: str) -> None:
    assert judged(module=module).refused == ""
    assert judged(module=module, name="Dense").refused == ""


@pytest.mark.parametrize(
    "module",
    [
        "os",
        "subprocess",
        "builtins",
        "keras.utils",
        "keras.src.saving",
        "keras.layers;os",
        "keras.layers\n",
        "keras.layers.",
        "kеras.layers",  # with a letter that only looks right
        "keraslayers",
        "evil.keras.layers",
        "keras_cv.layers",
        "",
        7,
        ["keras.layers"],
    ],
)
def test_any_other_module_is_refused_and_not_imported(module: Any) -> None:
    before = set(sys.modules)
    layer = judged(module=module)
    assert "is none of Keras's" in layer.refused
    assert layer.kind == "Dense"
    assert set(sys.modules) == before


@pytest.mark.parametrize(("name", "kind"), [("Custom>Dense", "Custom>Dense"), ("Conv2D", "Conv2D")])
def test_another_registered_name_is_refused(name: str, kind: str) -> None:
    layer = judged(name=name)
    assert "custom class" in layer.refused
    assert layer.kind == kind


def test_a_class_without_a_module_is_a_custom_one_whatever_its_name() -> None:
    assert "custom class" in judged(module=None, name="Dense").refused
    assert "custom class" in judged(module=None, name=None).refused


@pytest.mark.parametrize("value", [LAMBDA, FUNCTION, OWN, OBJECT, CUSTOM])
@pytest.mark.parametrize("key", ["activation", "kernel_initializer", "anything"])
def test_code_and_foreign_objects_in_a_configuration_are_refused(key: str, value: Json) -> None:
    for config in ({key: value}, {key: [{"deep": value}]}):
        assert judged("Dense", "keras.layers", None, **config).refused


def test_an_initializer_of_tensorflow_says_nothing_of_the_model() -> None:
    """The EfficientNetV2 of tf.keras has one; other modules of TensorFlow stay refused."""
    module = "tensorflow.python.ops.init_ops_v2"
    zeros: Json = {"class_name": "Constant", "config": {"value": 0}, "registered_name": "Constant"}
    assert judged(bias_initializer={**zeros, "module": module}).refused == ""
    for other in (f"{module}.os", "tensorflow.python.ops.gen_io_ops"):
        assert "is none of Keras's" in judged(bias_initializer={**zeros, "module": other}).refused


def test_code_in_a_call_is_refused() -> None:
    for call in (node(tensor("a"), LAMBDA), node(tensor("a"), function=FUNCTION)):
        layers = [new_given(), new_entry("Dense", "x", call)]
        model = read_model(graph(layers, ["a", 0, 0], ["x", 0, 0], "Functional"), "3.5.0")
        assert "code" in model.layers[1].refused


def test_a_layer_inside_another_one_is_judged_too() -> None:
    inners: list[Json] = [
        {"module": "evil", "class_name": "Dense", "config": {}, "registered_name": None},
        {"module": "keras.layers", "class_name": "Lambda", "config": {"function": LAMBDA}},
        {"module": "keras.layers", "class_name": "Dense", "config": {"activation": LAMBDA}},
    ]
    for inner in inners:
        assert judged("TimeDistributed", layer=inner).refused
        assert judged("RNN", cell={"class_name": "StackedRNNCells", "config": {"cells": [inner]}}).refused


def test_a_layer_that_runs_as_in_training_is_refused() -> None:
    dropout = entry("Dropout", "x", [["a", 0, 0, {"training": True}]], rate=0.5)
    model = read_model(graph([given(), dropout], [["a", 0, 0]], [["x", 0, 0]]), "2.4.0")
    assert "training=True" in model.layers[1].refused


def test_a_nested_model_that_is_refused_is_reported() -> None:
    nested = entry(
        "Sequential",
        "inner",
        [["a", 0, 0, {"training": True}]],
        layers=[
            {"class_name": "Dropout", "config": {"name": "d", "rate": 0.5, "batch_input_shape": [None, 3]}}
        ],
    )
    model = read_model(graph([given(), nested], [["a", 0, 0]], [["inner", 0, 0]]), "2.4.0")
    with pytest.raises(SpecError, match=r"inner \(Sequential\): .*training=True"):
        convert(File("2.4.0", "tensorflow", model))


def test_all_refused_layers_are_reported_together_each_with_the_way_to_map_it() -> None:
    layers = [
        new_given(),
        new_entry("Dense", "own", node(tensor("a")), module="evil"),
        new_entry("Lambda", "code", node(tensor("own")), function=LAMBDA),
        {**new_entry("My", "mine", node(tensor("code")), module=None), "registered_name": "Custom>My"},
        new_entry("Foo", "new", node(tensor("mine"))),
    ]
    model = read_model(graph(layers, ["a", 0, 0], ["new", 0, 0], "Functional"), "3.5.0")
    with pytest.raises(SpecError) as caught:
        convert(File("3.5.0", "jax", model))
    told = str(caught.value).splitlines()
    assert told[0] == "4 of the model's layers cannot be imported:"
    *faults, how = told[1:]
    assert [line.split()[0] for line in faults] == ["own", "code", "mine", "new"]
    assert [line.split("; ")[-1] for line in faults] == ["map it to a block"] * 4
    assert how == "--map NAME=block.yaml maps a layer to a block; in Python maps={'NAME': block} does"


# What is no model


def dense(*nodes: Any, name: str = "d") -> Json:
    return entry("Dense", name, *nodes, units=2)


A = [["a", 0, 0, {}]]
WRONG: list[tuple[str, Any, str]] = [
    ("no mapping", [1], "is no mapping"),
    ("a class of the user", {"class_name": "MyModel", "config": {}}, "'MyModel', whose code is not in the"),
    ("a module", {**sequential(), "module": "evil", "registered_name": None}, "whose code is not"),
    ("no layers", sequential(), "has no layers"),
    ("layers that are none", {"class_name": "Sequential", "config": {"layers": 3}}, "3 is no list"),
    ("no configuration", {"class_name": "Model"}, "None is no mapping"),
    ("no shape", sequential(listed("Dense", name="d")), "does not say the shape"),
    ("no shape", sequential(listed("Dense", name="d", batch_input_shape=[None, -1])), "is no list of whole"),
    ("no shape", sequential(listed("Dense", name="d", batch_input_shape="wide")), "is no list of whole"),
    ("no name", sequential(listed("Dense", batch_input_shape=[None, 1])), "None is no name"),
    ("an ill name", sequential(listed("Dense", name="\x1b[2J", batch_input_shape=[None, 1])), r"\x1b[2J"),
    (
        "two of a name",
        graph([given(), dense(A), dense(A)], [["a", 0, 0]], [["d", 0, 0]]),
        "have the name 'd'",
    ),
    ("no inputs", graph([given(), dense(A)], [], [["d", 0, 0]]), "has no inputs"),
    ("no outputs", graph([given(), dense(A)], [["a", 0, 0]], []), "has no outputs"),
    ("an input twice", graph([given()], [["a", 0, 0], ["a", 0, 0]], [["a", 0, 0]]), "is there twice"),
    ("no input", graph([given(), dense(A)], [["d", 0, 0]], [["d", 0, 0]]), "is no InputLayer"),
    ("an input that is none", graph([given(), dense(A)], [["b", 0, 0]], [["d", 0, 0]]), "no layer 'b'"),
    (
        "an unknown layer",
        graph([given(), dense([["z", 0, 0, {}]])], [["a", 0, 0]], [["d", 0, 0]]),
        "layer 'z'",
    ),
    (
        "an unknown call",
        graph([given(), dense(A)], [["a", 0, 0]], [["d", 1, 0]]),
        "call 1 of 'd', which has 1",
    ),
    ("a call of minus 1", graph([given(), dense(A)], [["a", 0, 0]], [["d", -1, 0]]), "names no value"),
    ("no node", graph([given(), dense(5)], [["a", 0, 0]], [["d", 0, 0]]), "5 is no call"),
    ("a node of text", graph([given(), dense({"args": "a"})], [["a", 0, 0]], [["d", 0, 0]]), "is no call"),
    (
        "a tensor of nothing",
        graph([given(), dense(node({"class_name": "__keras_tensor__"}))], [], []),
        "no 'keras",
    ),
    (
        "a circle",
        graph(
            [given(), dense([["e", 0, 0, {}]]), dense([["d", 0, 0, {}]], name="e")],
            [["a", 0, 0]],
            [["e", 0, 0]],
        ),
        "d, e take each other's values in a circle",
    ),
    ("itself", graph([given(), dense([["d", 0, 0, {}]])], [["a", 0, 0]], [["d", 0, 0]]), "in a circle"),
]


@pytest.mark.parametrize(("data", "told"), [case[1:] for case in WRONG], ids=[case[0] for case in WRONG])
def test_what_is_no_model_is_told(data: Any, told: str) -> None:
    with pytest.raises(SpecError) as caught:
        read_model(data, "2.4.0")
    assert told in str(caught.value)
    assert str(caught.value).isprintable()


def test_deep_data_and_deep_models_are_refused() -> None:
    deep: Any = 1
    for _ in range(200):
        deep = [deep]
    with pytest.raises(SpecError, match="nests deeper than 64 levels"):
        read_model(sequential(listed("Dense", name="d", batch_input_shape=[None, 1], x=deep)), "2.4.0")
    model = sequential(listed("Dense", name="d", batch_input_shape=[None, 1]))
    for _ in range(40):
        model = sequential(model)
    with pytest.raises(SpecError, match="models nest deeper than 32 levels"):
        read_model(model, "2.4.0")
    wrapped: Json = listed("Dense", name="d")
    for _ in range(100):
        wrapped = listed("TimeDistributed", name="t", layer=wrapped, batch_input_shape=[None, 1])
    with pytest.raises(SpecError, match="nests deeper than 64 levels"):
        read_model(sequential(wrapped), "2.4.0")


def twice(inner: Json, name: str) -> Json:
    """A model that calls another one twice, one behind the other."""
    held = {**inner, "name": "inner", "inbound_nodes": [A, [["inner", 1, 0, {}]]]}
    return graph([given(), held], [["a", 0, 0]], [["inner", 2, 0]], name=name)


def test_models_that_call_models_are_bounded_by_what_they_call_in_all() -> None:
    model = graph([given(), dense(A)], [["a", 0, 0]], [["d", 0, 0]], name="m")
    for number in range(10):
        model = twice(model, f"m{number}")
    dense_layers, models = 2**10, 2**11 - 2  # 2 + 4 + ... + 1,024
    assert count(read_model(model, "2.4.0")) == dense_layers + models
    for number in range(10, 20):
        model = twice(model, f"m{number}")
    with pytest.raises(SpecError, match="more than 100,000 times"):
        read_model(model, "2.4.0")


def test_models_that_hold_nothing_but_models_count_too() -> None:
    model = graph([given()], [["a", 0, 0]], [["a", 0, 0]], name="m")
    for number in range(24):
        model = twice(model, f"m{number}")
    with pytest.raises(SpecError, match="more than 100,000 times"):
        read_model(model, "2.4.0")


def test_of_very_many_layers_that_cannot_be_imported_some_are_told() -> None:
    layers = [entry(f"Own{number}", f"x{number}", A) for number in range(20_000)]
    model = read_model(graph([given(), *layers], [["a", 0, 0]], [["x0", 0, 0]]), "2.4.0")
    with pytest.raises(SpecError, match=r"^20,000 of the model's layers cannot") as caught:
        convert(File("2.4.0", "tensorflow", model))
    _, *told, last, _ = str(caught.value).split("\n")
    assert len(told) == 50
    assert told[49].startswith("  x49 (Own49): ")
    assert last == "  and 19,950 more"
