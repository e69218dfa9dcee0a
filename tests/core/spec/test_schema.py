"""The JSON schema: good descriptions pass, wrong ones do not, in every editor that knows the standard."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from cortex_core.registry import LAYERS
from cortex_core.spec import read
from cortex_core.spec.schema import schema
from tests.core.spec.reading import EXAMPLES
from tests.core.spec.test_mutations import FEATURES

SCHEMA = schema()
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)


@pytest.mark.slow
def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.stem)
def test_examples_and_their_canonical_forms_are_valid(file: Path) -> None:
    VALIDATOR.validate(yaml.safe_load(file.read_text()))
    VALIDATOR.validate(read(file).canonical)


def test_every_feature_is_valid() -> None:
    VALIDATOR.validate(yaml.safe_load(FEATURES))


def test_every_layer_is_documented() -> None:
    layers = SCHEMA["$defs"]["layer"]["anyOf"][1]["properties"]
    assert set(layers) == set(LAYERS)
    assert all(entry["description"] for entry in layers.values())
    assert layers["dense"]["anyOf"][0]["properties"]["units"]["minimum"] == 1


GOOD: dict[str, Any] = {"inputs": {"x": [3]}, "layers": [{"dense": {"units": 3}}]}
WRONG: list[dict[str, Any]] = [
    {**GOOD, "layer": []},
    {"inputs": {"x": [3]}},
    {**GOOD, "inputs": {"x": [0]}},
    {**GOOD, "layers": []},
    {**GOOD, "layers": [{"dense": {"unit": 3}}]},
    {**GOOD, "layers": [{"dense": {"units": 0}}]},
    {**GOOD, "layers": [{"dense": {"units": 3, "activation": "rleu"}}]},
    {**GOOD, "layers": [{"dense": {"units": 3, "trainable": "no"}}]},
    {**GOOD, "layers": [{"relu": {}, "dense": 3}]},
    {**GOOD, "loss": {"softmax_crossentropy": {"target": "y"}}, "outputs": []},
    {**GOOD, "train": {"optimizer": {"adma": {}}}},
    {**GOOD, "train": {"epochs": 0}},
    {**GOOD, "train": {"epoch": 1}},
]


@pytest.mark.parametrize("data", WRONG)
def test_mistakes_are_not_valid(data: dict[str, Any]) -> None:
    VALIDATOR.validate(GOOD)
    assert not VALIDATOR.is_valid(data)


IN_BLOCKS: list[Any] = [
    {"dense": {"units": "$n * 4"}},
    {"dense": "$n / 2"},
    {"reshape": [1, "$n", "$n + 1"]},
    {"reshape": {"shape": [1, "$n"]}},
    {"padding2d": [["$n", 0], [0, "$n - 1"]]},
    {"conv2d": {"filters": 3, "kernel": ["$n", 1], "repeat": "$n - 1"}},
    {"other": {"size": "$n", "repeat": "$n - 1"}},
]


@pytest.mark.parametrize("layer", IN_BLOCKS, ids=str)
def test_values_in_blocks_may_be_computed(layer: Any) -> None:
    def within(layer: Any) -> dict[str, Any]:
        return {**GOOD, "blocks": {"piece": {"parameters": {"n": 4}, "layers": [layer]}}}

    VALIDATOR.validate(within(layer))
    assert not VALIDATOR.is_valid({**GOOD, "layers": [layer]})
    assert not VALIDATOR.is_valid(within({"dense": {"units": "n * 4"}}))
