"""A layer that the reader does not know, or must not run, becomes a block that the user writes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cortex_compute.errors import ArgumentError, SpecError
from cortex_core.declared import declare
from cortex_core.exchange.keras.at import Translator
from cortex_core.exchange.keras.config import read_model
from cortex_core.exchange.keras.convert import convert
from cortex_core.exchange.keras.custom import Given, blocks, translator
from cortex_core.exchange.keras.model import File, Weight
from cortex_core.network import Network
from cortex_core.spec import read
from tests.exchange.keras.configs import Json, entry, given, graph

GATE = """
parameters: {units: null, factor: 1}
weights: [gate/kernel, gate/bias, value/kernel]
layers:
  - dense: {units: $units, use_bias: false, id: value}
  - dense: {units: $units, activation: sigmoid, from: input, id: gate}
  - multiply: {from: [value, gate]}
  - scale: {factor: $factor}
"""
RNG = np.random.default_rng(0)
KERNEL, BIAS, VALUE, X = (RNG.normal(size=s).astype(np.float32) for s in ((4, 3), (3,), (4, 3), (2, 4)))


def file_of(*layers: Json, weights: tuple[np.ndarray, ...] = (KERNEL, BIAS, VALUE)) -> File:
    """A model of Keras 2 whose layer `x` has these weights, and is its output."""
    model = read_model(graph([given(), *layers], [["a", 0, 0]], [["x", 0, 0]]), "2.2.4")
    held = tuple(Weight("w", array.shape, "float32", array.copy) for array in weights)
    found = tuple(replace(layer, weights=held) if layer.name == "x" else layer for layer in model.layers)
    return File("2.2.4", "tensorflow", replace(model, layers=found))


def gated(kind: str = "Custom>Gate", **config: Any) -> File:
    return file_of(entry(kind, "x", [["a", 0, 0, {}]], units=3, **config))


def mapped(**maps: Given) -> dict[str, Translator]:
    return {name: translator(block) for name, block in blocks(maps).items()}


def predicted(file: File, maps: dict[str, Given]) -> np.ndarray:
    converted = convert(file, mapped(**maps))
    description = read(converted.description("m"))
    network = Network.blank(description, declare(description))
    for name, array in converted.builder.weights.items():
        network.store.write(name, array)
    found: np.ndarray = network.predict(X)
    return found


def written(folder: Path, text: str) -> Path:
    path = folder / "block.yaml"
    path.write_text(text)
    return path


def expected(factor: float = 1) -> np.ndarray:
    found: np.ndarray = factor * (X @ VALUE) / (1 + np.exp(-(X @ KERNEL + BIAS)))
    return found


@pytest.mark.parametrize("name", ["x", "Custom>Gate", "Gate"])
def test_a_layer_is_mapped_by_its_name_or_its_class_with_or_without_the_package(
    tmp_path: Path, name: str
) -> None:
    found = predicted(gated(factor=2.5), {name: written(tmp_path, GATE)})
    np.testing.assert_allclose(found, expected(2.5), rtol=1e-5)


def test_weights_stand_in_the_order_of_the_block_where_it_says_no_other(tmp_path: Path) -> None:
    text = "parameters: {units: null}\nlayers: [dense: {units: $units}]"
    file = file_of(entry("Mine", "x", [["a", 0, 0, {}]], units=3), weights=(KERNEL, BIAS))
    np.testing.assert_allclose(
        predicted(file, {"Mine": written(tmp_path, text)}), X @ KERNEL + BIAS, rtol=1e-5
    )


def test_a_lambda_is_mapped_by_its_name_with_its_arguments(tmp_path: Path) -> None:
    code = {"function": ["4wEAAAAA", None, None], "function_type": "lambda", "arguments": {"factor": 3.0}}
    file = file_of(entry("Lambda", "x", [["a", 0, 0, {}]], **code), weights=())
    path = written(tmp_path, "parameters: {factor: 1}\nlayers: [scale: {factor: $factor}]")
    np.testing.assert_allclose(predicted(file, {"x": path}), 3 * X, rtol=1e-6)
    with pytest.raises(SpecError, match=r"x \(Lambda\): it holds code of Python, .*; map it to a block"):
        convert(file)


def test_several_inputs_and_calls_share_the_weights(tmp_path: Path) -> None:
    text = "layers: [add: {from: [input.0, input.1]}]"
    layers = [
        entry("Mine", "x", [["a", 0, 0, {}]], [["a", 0, 0, {}]], units=3),
        entry("Sum", "y", [["x", 0, 0, {}], ["x", 1, 0, {}]]),
    ]
    model = file_of(*layers, weights=(KERNEL, BIAS))
    file = replace(model, model=replace(model.model, outputs=(replace(model.model.outputs[0], layer="y"),)))
    dense = tmp_path / "dense.yaml"
    dense.write_text("parameters: {units: null}\nlayers: [dense: {units: $units}]")
    converted = convert(file, mapped(Sum=written(tmp_path, text), Mine=dense))
    assert list(converted.builder.weights) == ["x/kernel", "x/bias"]
    found = predicted(file, {"Sum": written(tmp_path, text), "Mine": dense})
    np.testing.assert_allclose(found, 2 * (X @ KERNEL + BIAS), rtol=1e-5)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("layers: 3", "this is no list of layers"),
        ("foo: 3", "block.yaml: expected 'layers', and maybe parameters, optional, weights"),
        ("[1, 2]", "block.yaml: expected 'layers'"),
        ("layers: [tanh]\nweights: [kernel]", "expected a list of names such as dense/kernel"),
        ("layers: [tan]", "unknown layer 'tan'. Did you mean 'tanh'?"),
        ("layers: [dense: {units: 3}]", "the file has 1 more arrays for it than expected"),
        ("layers: [{dense: {units: 5}}, {dense: {units: 5}}]", "the file has 3 arrays for it; lacking are"),
        ("layers: [tanh]\nweights: [a/b, a/c, a/d]", "the block has no parameters a/b, a/c, a/d"),
        ("layers: [conv2d: {filters: 3, kernel: 3}]", "conv2d"),
        (GATE.replace("value/kernel]", "value/kernel, value/bias]"), "lacking are value/bias"),
        (GATE.replace("units: $units, use_bias", "units: 9, use_bias"), "has shape [4, 3]; expected [4, 9]"),
        (GATE.replace("units: null", "units: 3, rate: null"), "rate"),
    ],
)
def test_what_is_wrong_with_a_block_is_told(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(SpecError) as caught:
        predicted(gated(), {"Gate": written(tmp_path, text)})
    assert told in str(caught.value)
    assert str(caught.value).count("block.yaml: ") == 1  # whose mistake it is


def test_no_file_and_no_layer_of_that_name(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"none\.yaml: No such file"):
        mapped(x=tmp_path / "none.yaml")
    both = mapped(Gate=written(tmp_path, GATE), Gaet=written(tmp_path, GATE))
    told = "no layer or class of the model is called Gaet.* Did you mean 'Gate'"
    with pytest.raises(SpecError, match=told):
        convert(gated(), both)
    with pytest.raises(SpecError, match=r"(?s)this class is not known.*" + told):
        convert(gated(), {"Gaet": both["Gaet"]})


@pytest.mark.parametrize("units", [3, np.int64(3)])
def test_a_block_is_a_dict_as_well(units: Any) -> None:
    """As YAML says it; numbers may be NumPy's."""
    gate = {"dense": {"units": units, "activation": "sigmoid", "from": "input", "id": "gate"}}
    layers = [{"dense": {"units": units, "use_bias": False, "id": "value"}}, gate]
    names = ["gate/kernel", "gate/bias", "value/kernel"]
    block = {"weights": names, "layers": [*layers, {"multiply": {"from": ["value", "gate"]}}]}
    np.testing.assert_allclose(predicted(gated(), {"Gate": block}), expected(), rtol=1e-5)


@pytest.mark.parametrize(
    ("maps", "told"),
    [
        ("Gate=block.yaml", "maps is 'Gate=block.yaml'; expected a dict of blocks by the names of layers"),
        ([], r"maps is \[\]; expected a dict"),
        ({3: "block.yaml"}, "maps has the name 3; expected the name or the class of a layer"),
        ({"Gate": 3}, r"maps\['Gate'\] is 3; expected the file of a block, or a dict such as"),
        ({"Gate": None}, r"maps\['Gate'\] is None; expected the file"),
        ({"Gate": {"layer": []}}, r"maps\['Gate'\]: expected 'layers', and maybe parameters"),
        ({"Gate": {"layers": [{"tanh"}]}}, r"maps\['Gate'\]: .*set is not JSON.*; expected numbers, text"),
    ],
)
def test_what_is_no_block_is_refused(maps: Any, told: str) -> None:
    with pytest.raises((ArgumentError, SpecError), match=told):
        blocks(maps)


def test_what_is_wrong_with_a_dict_is_told_of_it() -> None:
    with pytest.raises(SpecError, match=r"x \(Custom>Gate\): maps\['Gate'\]: .*Did you mean 'tanh'"):
        predicted(gated(), {"Gate": {"layers": ["tan"]}})
