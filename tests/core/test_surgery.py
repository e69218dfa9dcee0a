"""Network surgery: what becomes of a description, which numbers stay, what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cortex
from cortex import surgery
from cortex_compute.errors import SpecError
from cortex_core.spec import read
from cortex_core.surgery import edits

DIGITS: dict[str, Any] = {
    "name": "digits",
    "inputs": {"image": [8, 8, 1]},
    "layers": [
        {"conv2d": {"filters": 6, "kernel": 3, "padding": "same", "activation": "relu"}},
        {"max_pool2d": 2},
        "flatten",
        {"dense": {"units": 24, "activation": "relu"}},
        {"dropout": 0.2},
        {"dense": {"units": 5, "id": "digit"}},
    ],
    "loss": {"softmax_cross_entropy": {"of": "digit", "target": "label"}},
    "train": {"optimizer": {"adam": {"learning_rate": 0.01}}, "epochs": 8, "batch_size": 32},
}
RESIDUAL: dict[str, Any] = {
    "inputs": {"image": [4, 4, 2]},
    "blocks": {
        "unit": {
            "layers": [
                {"conv2d": {"filters": 2, "kernel": 3, "padding": "same", "id": "main"}},
                {"add": {"from": ["main", "input"]}},
                "relu",
            ]
        }
    },
    "layers": [
        {"unit": {"repeat": 2, "id": "u"}},
        "global_avg_pool2d",
        {"dense": {"units": 3, "id": "kind"}},
    ],
    "loss": {"softmax_cross_entropy": {"of": "kind", "target": "label"}},
}
TOWERS: dict[str, Any] = {
    "inputs": {"a": [4], "b": [4]},
    "blocks": {
        "tower": {
            "layers": [{"dense": {"units": 5, "activation": "relu"}}, {"dense": {"units": 2, "id": "code"}}]
        }
    },
    "layers": [
        {"tower": {"from": "a", "id": "left"}},
        {"tower": {"from": "b", "share": "left", "id": "right"}},
    ],
    "loss": {"contrastive": {"of": "left", "other": "right", "target": "same"}},
}


def pairs() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    numbers = {name: rng.normal(size=(64, 4)).astype(np.float32) for name in "ab"}
    return {**numbers, "same": rng.integers(0, 2, 64)}


def canonical(source: dict[str, Any]) -> dict[str, Any]:
    return read(source).canonical


def layers(data: dict[str, Any]) -> list[tuple[str, Any]]:
    """The id of each layer, and what it takes."""
    return [(fields["id"], fields["from"]) for layer in data["layers"] for fields in layer.values()]


def fields_of(data: dict[str, Any], id_: str) -> dict[str, Any]:
    return next(f for layer in data["layers"] for f in layer.values() if f["id"] == id_)


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


def trained_on(low: int, high: int) -> dict[str, np.ndarray]:
    """scikit-learn's digits from ``low`` up to ``high``, counted from 0."""
    from sklearn.datasets import load_digits

    found = load_digits()
    rows = (found.target >= low) & (found.target < high)
    image = (found.images[rows] / 16).astype(np.float32)[..., None]
    return {"image": image, "label": found.target[rows] - low}


@pytest.fixture(scope="module")
def low_digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that tells 0 to 4 apart."""
    folder = tmp_path_factory.mktemp("low") / "run"
    run = cortex.train(DIGITS, data=trained_on(0, 5), validation=0.2, out=folder, progress=False)
    assert run.metrics["validation"]["accuracy"] > 0.9
    return folder


def numbers(network: Any) -> dict[str, bytes]:
    return {name: x.tobytes() for name, x in (*network.parameters.items(), *network.variables.items())}


def test_a_frozen_body_learns_other_classes(low_digits: Path, tmp_path: Path) -> None:
    """Trained on 0 to 4, it tells 5 to 9 apart with a new head; what is frozen keeps its bits."""
    old = cortex.load(low_digits)
    made = surgery.freeze(surgery.replace_head(low_digits, 5), until="max_pool2d")
    before = numbers(made)
    assert all(before[name] == x for name, x in numbers(old).items() if not name.startswith("digit/"))
    assert before["digit/kernel"] != numbers(old)["digit/kernel"]
    made.save(tmp_path / "high.cortex")
    run = cortex.train(
        tmp_path / "high.cortex", data=trained_on(5, 10), validation=0.2, out=tmp_path / "run", progress=False
    )
    after = numbers(run.network)
    kept = {name for name in after if after[name] == before[name]}
    assert kept == {"conv2d/kernel", "conv2d/bias"}
    assert run.metrics["validation"]["accuracy"] > 0.85
    assert numbers(old) == numbers(cortex.load(low_digits))


def test_the_report_is_made_of_the_numbers(low_digits: Path) -> None:
    old = cortex.load(low_digits)
    made = surgery.freeze(surgery.remove(surgery.replace_head(old, 3), "dropout"), "conv2d")
    found = surgery.report(old, made)
    assert found.kept == {
        "conv2d/kernel": (3, 3, 1, 6),
        "conv2d/bias": (6,),
        "dense/kernel": (96, 24),
        "dense/bias": (24,),
    }
    assert found.new == {"digit/kernel": (24, 3), "digit/bias": (3,)}
    assert found.removed == {}
    assert found.frozen == {"conv2d/kernel": (3, 3, 1, 6), "conv2d/bias": (6,)}
    assert found.layers["removed"] == ("dropout",)
    assert found.layers["new"] == ("digit",)
    rows = [line.split() for line in str(found).splitlines()[2:]]
    assert rows == [
        ["kept", "4", "2,388"],
        ["new", "1", "75", "digit"],
        ["removed", "1", "0", "dropout"],
        ["frozen", "1", "60"],
    ]


def test_a_smaller_network_computes_what_is_left(low_digits: Path) -> None:
    """Without its head a network gives the features: the first layers by hand, in float64."""
    old = cortex.load(low_digits)
    body = surgery.remove(surgery.remove(old, "digit"), "dropout")
    x = trained_on(0, 5)["image"][:3]
    p = {name: np.asarray(value, np.float64) for name, value in old.parameters.items()}
    around = np.pad(x.astype(np.float64), ((0, 0), (1, 1), (1, 1), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(around, (3, 3), axis=(1, 2))  # (B, 8, 8, 1, 3, 3)
    maps = np.maximum(np.einsum("bhwcij,ijco->bhwo", windows, p["conv2d/kernel"]) + p["conv2d/bias"], 0)
    pooled = maps.reshape(3, 4, 2, 4, 2, 6).max((2, 4)).reshape(3, -1)
    features = np.maximum(pooled @ p["dense/kernel"] + p["dense/bias"], 0)
    np.testing.assert_allclose(body.predict(x), features, rtol=1e-4, atol=1e-5)


def test_running_statistics_stay_and_values_of_classes_do_not(tmp_path: Path) -> None:
    net = {
        "inputs": {"x": [6]},
        "layers": [{"dense": 4}, "batch_norm", "relu", {"dense": {"units": 3, "id": "kind"}}],
        "loss": [
            {"softmax_cross_entropy": {"of": "kind", "target": "y"}},
            {"center_loss": {"of": "relu", "target": "y", "classes": 3}},
        ],
    }
    rng = np.random.default_rng(0)
    data = {"x": rng.normal(size=(64, 6)).astype(np.float32), "y": rng.integers(0, 3, 64)}
    old = cortex.train(net, data=data, epochs=2, out=tmp_path / "run", progress=False).network
    made = surgery.replace_head(old, 3)
    assert numbers(made)["batch_norm/moving_mean"] == numbers(old)["batch_norm/moving_mean"]
    assert np.asarray(old.variables["center_loss/centers"]).any()
    assert not np.asarray(made.variables["center_loss/centers"]).any()
    wider = surgery.replace_head(old, 5)
    assert wider.variables["center_loss/centers"].shape == (5, 4)


def test_input_of_another_size() -> None:
    pooled = cortex.network(RESIDUAL)
    larger = surgery.resize_input(pooled, (9, 7, 2))
    assert numbers(larger) == numbers(pooled)
    assert larger.predict(np.ones((2, 9, 7, 2), np.float32)).shape == (2, 3)
    flat = cortex.network(DIGITS)
    with pytest.raises(
        SpecError, match=r"resize_input: 'dense/kernel' is \(96, 24\) and would be \(216, 24\)"
    ):
        surgery.resize_input(flat, (12, 12, 1))
    made = surgery.resize_input(flat, [12, 12, 1], drop_unfitting=True)
    found = surgery.report(flat, made)
    assert found.new == {"dense/kernel": (216, 24)}
    assert found.layers["new"] == ("dense",)


def test_seeds_of_new_weights() -> None:
    old = cortex.network(DIGITS)
    first, again, other = (numbers(surgery.replace_head(old, 4, seed=seed)) for seed in (1, 1, 2))
    assert first == again
    assert {name for name in first if first[name] != other[name]} == {"digit/kernel"}


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
