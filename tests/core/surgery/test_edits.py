"""What becomes of a description."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import cortex
from cortex import surgery
from cortex_compute.errors import SpecError
from cortex_core.surgery import edits
from tests.core.surgery.networks import DIGITS, RESIDUAL, canonical, fields_of, layers, numbers


def test_edits_leave_what_they_are_given() -> None:
    data = canonical(DIGITS)
    copy = canonical(DIGITS)
    edits.removed(data, "dropout")
    edits.added(data, ["relu"], "flatten")
    edits.headed(data, 2)
    edits.frozen_until(data, "dense")
    edits.resized(data, (6, 6, 1))
    assert data == copy


def test_a_removed_layer_is_bridged() -> None:
    data = edits.removed(canonical(DIGITS), "dropout").data
    assert layers(data)[-2:] == [("dense", "flatten"), ("digit", "dense")]
    assert data["loss"] == canonical(DIGITS)["loss"]


def test_a_removed_block_is_bridged() -> None:
    data = edits.removed(canonical(RESIDUAL), "u.1").data
    assert layers(data) == [
        ("u.0/main", "image"),
        ("u.0/add", ["u.0/main", "image"]),
        ("u.0/relu", "u.0/add"),
        ("global_avg_pool2d", "u.0/relu"),
        ("kind", "global_avg_pool2d"),
    ]
    both = edits.removed(canonical(RESIDUAL), "u").data
    assert layers(both) == [("global_avg_pool2d", "image"), ("kind", "global_avg_pool2d")]


def test_a_loss_goes_with_what_it_learns_from() -> None:
    """Behind a removed activation the loss stands before it; with a removed dense layer it is gone."""
    net = {
        "inputs": {"x": [3]},
        "layers": [{"dense": 2}, "tanh"],
        "loss": {"mse": {"of": "tanh", "target": "y"}},
        "train": {"metrics": [{"mae": {"of": "tanh", "target": "y"}}]},
    }
    bare = edits.removed(canonical(net), "tanh")
    assert bare.data["loss"][0]["mse"]["of"] == "dense"
    assert bare.data["train"]["metrics"][0]["mae"]["of"] == "dense"
    assert bare.data["outputs"] == ["dense"]
    headless = edits.removed(canonical(DIGITS), "digit")
    assert "loss" not in headless.data
    assert headless.data["outputs"] == ["dropout"]
    assert headless.notes == ("the loss softmax_cross_entropy is removed with 'digit'",)


def test_a_head_with_its_softmax_is_removed_whole() -> None:
    net = {
        **DIGITS,
        "layers": [*DIGITS["layers"][:-1], {"dense": {"units": 5, "activation": "softmax", "id": "digit"}}],
    }
    assert [id_ for id_, _ in layers(canonical(net))][-2:] == ["digit/logits", "digit"]
    data = edits.removed(canonical(net), "digit").data
    assert layers(data)[-1] == ("dropout", "dense")


def test_what_a_sum_leaves_is_chosen() -> None:
    data = edits.removed(canonical(RESIDUAL), "u.1/add", instead="u.1/main").data
    assert dict(layers(data))["u.1/relu"] == "u.1/main"
    with pytest.raises(
        SpecError, match=r"remove: there are 2 values that 'u.1/add' takes: u.1/main, u.0/relu"
    ):
        edits.removed(canonical(RESIDUAL), "u.1/add")


def test_added_layers_stand_between() -> None:
    data = edits.added(
        canonical(DIGITS), ["batch_norm", {"dense": {"units": 7, "activation": "relu"}}], "flatten"
    ).data
    data = canonical(data)
    assert layers(data)[2:6] == [
        ("flatten", "max_pool2d"),
        ("batch_norm", "flatten"),
        ("dense_2", "batch_norm"),
        ("dense", "dense_2"),
    ]
    assert fields_of(data, "dense_2")["kernel_initializer"] == "he_normal"
    first = canonical(edits.added(canonical(DIGITS), [{"conv2d": {"filters": 1, "kernel": 1}}], "image").data)
    assert layers(first)[:2] == [("conv2d_2", "image"), ("conv2d", "conv2d_2")]


def test_layers_added_at_the_end_become_the_output() -> None:
    body = edits.removed(canonical(DIGITS), "digit").data
    loss = {"mse": {"target": "y"}}
    data = canonical(edits.added(body, [{"dense": {"units": 1, "id": "size", "loss": loss}}]).data)
    assert data["outputs"] == ["size"]
    assert data["loss"][0]["mse"] | {"of": "size", "target": "y"} == data["loss"][0]["mse"]


def test_a_head_is_found_behind_what_learns_nothing() -> None:
    sequence = {
        "inputs": {"x": [4, 3]},
        "layers": [{"time_distributed": {"layer": {"dense": 5}}}, "softmax"],
        "loss": {"softmax_cross_entropy": {"of": "softmax", "target": "y"}},
    }
    data = edits.headed(canonical(sequence), 2).data
    assert fields_of(data, "time_distributed")["layer"]["dense"]["units"] == 2
    pixels = {
        "inputs": {"x": [4, 4, 3]},
        "layers": [{"conv2d": {"filters": 7, "kernel": 1}}, "relu", "global_avg_pool2d"],
        "loss": {"softmax_cross_entropy": {"of": "global_avg_pool2d", "target": "y"}},
    }
    assert fields_of(edits.headed(canonical(pixels), 2).data, "conv2d")["filters"] == 2


def test_a_head_of_larger_windows_is_one_whose_channels_the_loss_compares() -> None:
    """As mini_XCEPTION ends (Arriaga et al., 2017); behind `flatten` the channels are mixed with places."""
    maps = {
        "inputs": {"x": [4, 4, 3]},
        "layers": [{"conv2d": {"filters": 7, "kernel": 3}}, "global_avg_pool2d", "softmax"],
        "loss": {"softmax_cross_entropy": {"of": "softmax", "target": "y"}},
    }
    assert fields_of(edits.headed(canonical(maps), 2).data, "conv2d")["filters"] == 2
    without = {key: value for key, value in maps.items() if key != "loss"}
    assert fields_of(edits.headed(canonical(without), 2).data, "conv2d")["filters"] == 2
    maps["layers"][1] = "flatten"
    with pytest.raises(SpecError, match="expected dense, or a convolution whose channels the loss compares"):
        edits.headed(canonical(maps), 2)


def test_it_still_tells_where_it_was_imported() -> None:
    network = cortex.network(DIGITS)
    network.origin = {"file": "x.h5", "proof": "proved", "notes": ["its rate"]}
    twice = surgery.freeze(surgery.replace_head(network, 3), "dense")
    told = {"file": "x.h5", "proof": "proved; changed by surgery since", "notes": ["its rate"]}
    assert twice.origin == told
    assert network.origin["proof"] == "proved"
    assert surgery.replace_head(cortex.network(DIGITS), 3).origin is None


def test_norms_alone_are_frozen_wherever_they_stand(tmp_path: Path) -> None:
    spec = {
        "inputs": {"x": [3, 4]},
        "layers": [
            {"dense": {"units": 5, "id": "first"}},
            {"batch_norm": {"id": "norm"}},
            {"time_distributed": {"layer": {"batch_norm": {}}, "id": "inner"}},
            "flatten",
            {"dense": {"units": 3, "id": "out"}},
        ],
        "loss": {"softmax_cross_entropy": {"of": "out", "target": "y"}},
    }
    data = {"x": np.random.default_rng(0).normal(5, 2, (64, 3, 4)).astype(np.float32), "y": np.arange(64) % 3}
    network = surgery.freeze_norms(cortex.network(spec))
    before = numbers(network)
    cortex.train(network, data, out=tmp_path, progress=False, report=False)
    changed = {name for name, bits in numbers(network).items() if bits != before[name]}
    assert changed == {"first/kernel", "first/bias", "out/kernel", "out/bias"}
    with pytest.raises(SpecError, match="freeze_norms: there is no batch_norm"):
        surgery.freeze_norms(DIGITS)


def test_a_frozen_norm_without_parameters_keeps_its_statistics(tmp_path: Path) -> None:
    norm = {"batch_norm": {"scale": False, "center": False}}
    spec = {
        "inputs": {"x": [4]},
        "layers": [norm, {"dense": {"units": 3, "id": "out"}}],
        "loss": {"softmax_cross_entropy": {"of": "out", "target": "y"}},
    }
    data = {"x": np.random.default_rng(0).normal(5, 2, (64, 4)).astype(np.float32), "y": np.arange(64) % 3}
    network = cortex.network(spec)
    frozen = surgery.freeze(network, "batch_norm")
    cortex.train(frozen, data, out=tmp_path / "a", progress=False, report=False)
    cortex.train(network, data, out=tmp_path / "b", progress=False, report=False)
    assert np.all(np.asarray(frozen.variables["batch_norm/moving_mean"]) == 0)
    assert np.all(np.asarray(network.variables["batch_norm/moving_mean"]) > 0.4)


def test_of_heads_behind_each_other_the_last_is_meant() -> None:
    net = {
        "inputs": {"x": [4]},
        "layers": [{"dense": {"units": 3, "id": "features"}}, "relu", {"dense": {"units": 6, "id": "kind"}}],
        "loss": [
            {"mse": {"of": "features", "target": "y"}},
            {"softmax_cross_entropy": {"of": "kind", "target": "label"}},
        ],
    }
    edit = edits.headed(canonical(net), 2)
    assert fields_of(edit.data, "kind")["units"] == 2
    assert fields_of(edit.data, "features")["units"] == 3
    assert edit.streams == ("label",)


def test_what_a_loss_says_of_classes_follows_the_head() -> None:
    weighted = {
        **DIGITS,
        "loss": {
            "softmax_cross_entropy": {"of": "digit", "target": "label", "class_weights": [1, 2, 3, 4, 5]}
        },
    }
    edit = edits.headed(canonical(weighted), 4)
    assert edit.data["loss"][0]["softmax_cross_entropy"]["class_weights"] is None
    assert "class_weights" in edit.notes[0]
    counted = {
        **DIGITS,
        "loss": {"mse": {"of": "digit", "target": {"one_hot": {"of": "label", "classes": 5}}}},
    }
    edit = edits.headed(canonical(counted), 4)
    assert edit.data["loss"][0]["mse"]["target"] == {"one_hot": {"of": "label", "classes": 4}}


def test_freezing_goes_back_along_all_branches() -> None:
    data = edits.frozen_until(canonical(RESIDUAL), "u.1/add").data
    frozen = [f["id"] for layer in data["layers"] for f in layer.values() if f.get("trainable") is False]
    assert frozen == ["u.0/main", "u.1/main"]
    assert edits.frozen_until(canonical(RESIDUAL), "u").data == data
    assert edits.unfrozen(data).data == canonical(RESIDUAL)
    half = edits.unfrozen(data, "u.0").data
    assert half == edits.unfrozen(edits.frozen_until(canonical(RESIDUAL), "u.1").data, "u.0").data
    assert fields_of(half, "u.1/main")["trainable"] is False


def test_shared_parameters_are_frozen_where_they_belong() -> None:
    tied = {
        "inputs": {"x": [3]},
        "layers": [
            {"dense": {"units": 3, "id": "a", "share": "b"}},
            {"dense": {"units": 3, "id": "b"}},
            {"dense": {"units": 3, "id": "c", "share": {"kernel": "a/kernel"}}},
        ],
    }
    network = surgery.freeze(cortex.network(tied), "a")
    assert network.summary().endswith("15 parameters, 12 of them frozen")
    with pytest.raises(SpecError, match="replace_head: 'c' shares parameters with others"):
        surgery.replace_head(tied, 3)
