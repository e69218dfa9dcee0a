"""Overrides such as ``train.optimizer.adam.learning_rate=0.01``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cortex_core.spec import read
from tests.core.spec.reading import inspected

TEXT = """\
name: net
inputs: {image: [28, 28, 1]}
layers:
  - flatten
  - dense: 500
  - [dense, 64, {activation: relu}]
  - dense: {units: 10, id: digit}
loss: {softmax_cross_entropy: {of: digit, target: label}}
train: {optimizer: sgd, schedule: {cosine: {warm_up: 1}}}
"""


def changed(tmp_path: Path, *overrides: str) -> dict[str, Any]:
    description, problems = inspected(tmp_path, TEXT, overrides)
    assert problems == []
    assert description is not None
    return description.canonical


def test_each_way_to_write_a_layer_can_be_overridden(tmp_path: Path) -> None:
    data = changed(tmp_path, "layers[1].dense.units=7", "layers[2].dense.units=8", "layers.3.dense.units=9")
    assert [layer["dense"]["units"] for layer in data["layers"][1:]] == [7, 8, 9]
    data = changed(tmp_path, "layers[1].dense.activation=tanh", "layers[0].flatten.id=flat", "layers[1]=relu")
    assert [list(layer) for layer in data["layers"]] == [["flatten"], ["relu"], ["dense"], ["dense"]]
    assert data["layers"][1]["relu"]["from"] == "flat"


def test_values_are_yaml(tmp_path: Path) -> None:
    data = changed(
        tmp_path,
        "name=x",
        "train.optimizer.sgd.learning_rate=1e-2",
        "train.optimizer.sgd.momentum=0.9",
        "train.epochs=3",
        "train.clip_norm=1",
        "train.schedule=null",
        "train.metrics=[accuracy, {top_k: 3}]",
        "layers[3].dense.kernel_initializer.normal.std=0.5",
        "loss.softmax_cross_entropy.label_smoothing=0.1",
        "layers[1].dense.penalty.l2=0.01",
    )
    assert data["name"] == "x"
    assert data["train"]["optimizer"]["sgd"]["learning_rate"] == 0.01
    assert data["train"]["optimizer"]["sgd"]["momentum"] == 0.9
    assert (data["train"]["epochs"], data["train"]["clip_norm"], data["train"]["schedule"]) == (3, 1.0, None)
    assert data["train"]["metrics"][1]["top_k"]["k"] == 3
    assert data["layers"][3]["dense"]["kernel_initializer"] == {"normal": {"mean": 0.0, "std": 0.5}}
    assert data["loss"][0]["softmax_cross_entropy"]["label_smoothing"] == 0.1
    assert data["layers"][1]["dense"]["penalty"] == {"kernel": {"l2": 0.01}}


def test_a_whole_section_can_be_given(tmp_path: Path) -> None:
    data = changed(tmp_path, "train.optimizer={adam: {learning_rate: 0.01}}", "train.seed=4")
    assert data["train"]["optimizer"]["adam"]["learning_rate"] == 0.01


def test_a_dict_is_left_as_it_was() -> None:
    given: dict[str, Any] = {"inputs": {"x": [3]}, "layers": [{"dense": 2}]}
    assert read(given, ["layers[0].dense.units=5"]).layers[0].layer.units == 5
    assert given == {"inputs": {"x": [3]}, "layers": [{"dense": 2}]}


WRONG = {
    "train.epoch=3": "train.epoch: unknown field. Did you mean 'epochs'?",
    "trian.epochs=3": "trian: unknown section. Did you mean 'train'?",
    "train.epochs=many": "train.epochs: 'many' is text: expected a whole number, at least 1",
    "train.epochs=": "train.epochs: there is no value (null): expected a whole number, at least 1",
    "layers[1].dense.unit=3": "layers[1].dense.unit: unknown field. Did you mean 'units'?",
    "layers[1].dens.units=3": "layers[1].dens: layers[1] is 'dense', not 'dens'. Did you mean 'dense'?",
    "layers[4].dense.units=3": "layers[4]: layers has 4 items: expected an index from 0 to 3",
    "train.optimizer.adam.learning_rate=1": "train.optimizer.adam: train.optimizer is 'sgd', not 'adam'. "
    "Write train.optimizer={adam: ...} to replace it",
    "name.x=3": "name.x: name has no fields: expected a path to one value",
    "train[0]=3": "train[0]: train is no list: expected a name",
    "epochs": "'epochs' has no '=': expected PATH=VALUE",
    "a..b=3": "'a..b' is no path: expected one such as train.epochs or layers[0]",
    "train.seed=[": "train.seed: a list or mapping that breaks off",
    "train.seed=!!python/name:os.system x": "train.seed: a tag (!!python/name:os.system): "
    "a description is plain data. Leave it out",
}


@pytest.mark.parametrize("override", WRONG)
def test_an_override_that_names_nothing(tmp_path: Path, override: str) -> None:
    assert inspected(tmp_path, TEXT, (override,))[1] == [f"<override>: {WRONG[override]}"]
