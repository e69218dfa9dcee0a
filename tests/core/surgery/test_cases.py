"""What is refused, and networks with several towers, heads and losses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cortex
from cortex import surgery
from cortex_compute.errors import SpecError
from cortex_core.surgery import edits
from tests.core.surgery.networks import DIGITS, TOWERS, canonical, fields_of, numbers, pairs


def test_descriptions_become_descriptions(tmp_path: Path) -> None:
    path = tmp_path / "net.yaml"
    path.write_text("inputs: {x: [3]}\nlayers: [{dense: 4}, relu, {dense: 2}]\n")
    for source in (path, str(path)):
        made = surgery.replace_head(source, 7)
        assert fields_of(made, "dense_2")["units"] == 7
        assert canonical(made) == made
    assert surgery.freeze(surgery.replace_head(DIGITS, 7), "dense") == canonical(
        edits.frozen_until(edits.headed(canonical(DIGITS), 7).data, "dense").data
    )


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (
            lambda n: surgery.remove(n, "drop_out"),
            "remove: there is no layer 'drop_out'. Did you mean 'dropout'?",
        ),
        (lambda n: surgery.freeze(n, "dens"), "freeze: there is no layer 'dens'. Did you mean 'dense'?"),
        (lambda n: surgery.freeze(n, "digit"), "freeze: nothing would be left to train behind 'digit'"),
        (lambda n: surgery.unfreeze(n, "nowhere"), "unfreeze: there is no layer 'nowhere'"),
        (
            lambda n: surgery.add(n, ["relu"], "flaten"),
            "add: there is no layer 'flaten'. Did you mean 'flatten'?",
        ),
        (lambda n: surgery.add(n, "relu"), "add: 'relu' is no list of layers"),
        (lambda n: surgery.add(n, 5), "add: 5 is no list of layers"),
        (
            lambda n: surgery.add(n, [{"dense": {"units": 3, "id": "digit"}}]),
            "add: layers[0].dense.id: 'digit' is the id",
        ),
        (lambda n: surgery.resize_input(n, 8), "resize_input: 8 is no shape"),
        (lambda n: surgery.add(n, ["relu", "reluu"], "dense"), "add: layers[1]: unknown layer 'reluu'"),
        (
            lambda n: surgery.add(n, [{"dense": 9}], "flatten"),
            "add: 'dense/kernel' is (96, 24) and would be (9, 24)",
        ),
        (lambda n: surgery.add(n, [{"reshape": [5, 5]}], "flatten"), "add: layers[3].reshape"),
        (lambda n: surgery.remove(n, "dense"), "remove: 'digit/kernel' is (24, 5) and would be (96, 5)"),
        (lambda n: surgery.remove(n, "dropout", instead="dropout"), "remove: 'dropout' is removed itself"),
        (
            lambda n: surgery.remove(n, "dropout", instead="digit"),
            "remove: 'digit' stands behind 'dropout', and cannot be taken instead of it; expected a value",
        ),
        (lambda n: surgery.remove(n, "dropout", instead=["image"]), "remove: ['image'] is no name"),
        (lambda n: surgery.add(n, ["relu"], after=["image"]), "add: ['image'] is no name"),
        (lambda n: surgery.resize_input(n, (8, 8, 1), ["image"]), "resize_input: ['image'] is no name"),
        (lambda n: surgery.replace_head(n, 0), "replace_head: 'units' (--replace-head): 0 is too small"),
        (
            lambda n: surgery.replace_head(n, 3, of="conv2d"),
            "replace_head: 'conv2d' is no head; heads are: digit",
        ),
        (lambda n: surgery.replace_head(n, 3, of="dense"), "'dense' is no head; heads are: digit"),
        (lambda n: surgery.replace_head(n, 3, of="dropout"), "'dropout' is no head; heads are: digit"),
        (lambda n: surgery.replace_head(n, 3, of="image"), "no layer with parameters comes before 'image'"),
        (
            lambda n: surgery.resize_input(n, (8, 8, 1), "picture"),
            "resize_input: there is no input 'picture'",
        ),
        (lambda n: surgery.resize_input(n, (8, 0, 1)), "resize_input: inputs.image"),
        (lambda n: surgery.resize_input(n, (2, 8, 1)), "resize_input: 'dense/kernel' is"),
    ],
)
def test_what_cannot_be_done_is_told(call: Any, told: str) -> None:
    network = cortex.network(DIGITS)
    before = numbers(network)
    with pytest.raises(SpecError) as error:
        call(network)
    assert told in str(error.value)
    assert numbers(network) == before


def test_a_new_head_is_trained_though_the_old_one_was_frozen(tmp_path: Path) -> None:
    layers = [{"dense": {"units": 2, "id": id_, "trainable": False}} for id_ in ("body", "top")]
    loss = {"softmax_cross_entropy": {"of": "top", "target": "y"}}
    frozen = cortex.network({"inputs": {"x": [4]}, "layers": layers, "loss": loss})
    data = {"x": pairs()["a"], "y": pairs()["same"]}
    with pytest.raises(SpecError, match=r"no layer is trained.*surgery\.unfreeze"):
        cortex.train(frozen, data, out=tmp_path / "frozen", progress=False, report=False)
    assert not (tmp_path / "frozen").exists()
    made = surgery.replace_head(frozen, 2)
    assert made.description.notes == ("'top' is trained: it was frozen, and its new weights know nothing",)
    before = numbers(made)["top/kernel"]
    run = cortex.train(made, data, out=tmp_path / "run", progress=False, report=False, epochs=1)
    assert numbers(run.network)["top/kernel"] != before
    np.testing.assert_array_equal(run.network.parameters["body/kernel"], frozen.parameters["body/kernel"])


def test_a_report_of_files(tmp_path: Path) -> None:
    network = cortex.network(DIGITS)
    network.save(tmp_path / "a.cortex")
    other = surgery.replace_head(network, 7)
    assert surgery.report(tmp_path / "a.cortex", other) == surgery.report(network, other)


def test_no_head() -> None:
    recurrent = {
        "inputs": {"x": [4, 3]},
        "layers": [{"lstm": 5}],
        "loss": {"mse": {"of": "lstm", "target": "y"}},
    }
    with pytest.raises(SpecError, match="the last layer with parameters is lstm 'lstm', which is no head"):
        surgery.replace_head(recurrent, 2)
    bare = {"inputs": {"x": [3]}, "layers": ["relu"]}
    with pytest.raises(SpecError, match="no layer with parameters comes before 'relu': there is no head"):
        surgery.replace_head(bare, 2)
    two = {
        "inputs": {"x": [3]},
        "layers": [{"dense": {"units": 2, "id": "a"}}, {"dense": {"units": 2, "id": "b", "from": "x"}}],
    }
    with pytest.raises(
        SpecError, match="replace_head: there are 2 heads: a, b; say by 'of' \\(--head\\) which"
    ):
        surgery.replace_head(two, 2)
    assert fields_of(surgery.replace_head(two, 9, of="b"), "b")["units"] == 9


def test_what_others_take_is_not_removed() -> None:
    masked = {
        "inputs": {"words": {"shape": [4], "dtype": "int64"}},
        "layers": [
            {"embedding": {"tokens": 5, "units": 3, "mask_zero": True, "id": "words_in"}},
            {"gru": {"units": 2, "mask": "words_in.mask"}},
        ],
    }
    with pytest.raises(SpecError, match=r"remove: 'gru' takes 'words_in.mask', which would be gone"):
        surgery.remove(masked, "words_in")
    only = {"inputs": {"x": [3]}, "layers": ["relu"]}
    with pytest.raises(SpecError, match="remove: no layer would be left without 'relu'"):
        surgery.remove(only, "relu")


def test_one_tower_of_two(tmp_path: Path) -> None:
    """The tower that has the parameters stays, without what compares it with the other, and its input."""
    network = cortex.train(TOWERS, data=pairs(), out=tmp_path / "run", progress=False).network
    tower = surgery.remove(network, "right")
    assert [x.name for x in tower.description.inputs] == ["a"]
    assert tower.description.outputs == ("left/code",)
    assert tower.description.notes[-2:] == (
        "the loss contrastive is removed with 'right'",
        "the input b is removed with 'right': nobody else takes it",
    )
    x = pairs()["a"]
    expected = network.predict({"a": x, "b": x})
    np.testing.assert_array_equal(tower.predict(x), expected["left/code"])
    tower.save(tmp_path / "tower.cortex")
    np.testing.assert_array_equal(cortex.load(tmp_path / "tower.cortex").predict(x), expected["right/code"])
    told = "remove: 'right/dense' has the parameters of 'left/dense', which would be gone"
    with pytest.raises(SpecError, match=told):
        surgery.remove(network, "left")


def test_a_head_that_towers_share_is_replaced_in_both() -> None:
    network = cortex.network(TOWERS)
    for of in (None, "left", "right"):
        other = surgery.replace_head(network, 3, of)
        assert other.parameters["left/code/kernel"].shape == (5, 3)
        assert other.types["left/code"].shape == other.types["right/code"].shape == (2, 3)
        assert surgery.report(network, other).layers["new"] == ("left/code",)


def test_a_detector_of_other_classes() -> None:
    """The head of a yolo2 has filters for boxes and classes: the loss follows it."""
    detector = {
        "inputs": {"image": [4, 4, 3]},
        "layers": [{"conv2d": {"filters": 16, "kernel": 1, "id": "cells"}}],
        "loss": {"yolo2": {"target": "boxes", "classes": 3, "anchors": [[1, 1], [1, 2]]}},
    }
    edit = edits.headed(canonical(detector), 14)
    assert edit.data["loss"][0]["yolo2"]["classes"] == 2
    assert edit.notes == ("the loss yolo2 is one of 2 classes, not 3",)
    with pytest.raises(SpecError, match="2 anchors x \\(5 \\+ 3 classes\\) = 16"):
        surgery.replace_head(detector, 15)


def test_weights_of_the_old_classes_in_focal() -> None:
    net = {**DIGITS, "loss": {"focal": {"of": "digit", "target": "label", "alpha": [1, 2, 3, 4, 5]}}}
    edit = edits.headed(canonical(net), 4)
    assert edit.data["loss"][0]["focal"]["alpha"] is None
    assert edit.notes == ("the alpha of the loss focal were those of the old classes, and are left out",)


def test_what_watched_a_removed_metric_watches_the_loss() -> None:
    two = {
        "inputs": {"x": [4]},
        "layers": [
            {"dense": {"units": 5, "activation": "relu", "id": "body"}},
            {"dense": {"units": 3, "id": "kind"}},
            {"dense": {"units": 1, "id": "size", "from": "body"}},
        ],
        "loss": [
            {"softmax_cross_entropy": {"of": "kind", "target": "label"}},
            {"mse": {"of": "size", "target": "length"}},
            {"l2": {"of": "kind/kernel", "weight": 0.1}},
        ],
        "train": {
            "early_stopping": {"monitor": "validation_accuracy", "patience": 7},
            "schedule": {"reduce_on_plateau": {"monitor": "mse"}},
            "metrics": [{"accuracy": {"of": "kind", "target": "label"}}],
        },
    }
    made = surgery.remove(cortex.network(two), "kind").description
    assert [x.name for x in made.losses] == ["mse"]
    assert (made.train.early_stopping.monitor, made.train.early_stopping.patience) == ("validation_loss", 7)
    assert made.train.schedule.monitor == "validation_loss"  # of one loss there is no column mse
    assert "the metric accuracy is removed with 'kind'" in made.notes
    assert made.notes[-2:] == (
        "train.early_stopping watches validation_loss: validation_accuracy is not measured any more",
        "train.schedule watches validation_loss: mse is not measured any more",
    )
    kept = surgery.remove(cortex.network({**two, "loss": two["loss"][:2]}), "size").description
    assert kept.train.early_stopping.monitor == "validation_accuracy"
