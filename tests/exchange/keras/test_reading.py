"""Files of every layout give each layer its weights, in their order."""

from __future__ import annotations

import io
import json
import os
import zipfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from cortex_compute.errors import SpecError
from cortex_core.exchange.keras.model import File, Model
from cortex_core.exchange.keras.reader import read, read_weights
from tests.exchange.keras.handmade import (
    dense,
    numbered_bytes,
    numbers,
    save_archive,
    save_named,
    save_numbered,
    sequential,
    weights_of,
)

DATA = Path(os.environ.get("CORTEX_DATA", "/nowhere")) / "keras"
TWO = sequential(dense("a", 2), dense("b", 4))
OF_TWO = {"a": weights_of("a", 3, 2), "b": weights_of("b", 2, 4, start=50)}


def firsts(model: Model, prefix: str = "") -> dict[str, list[float]]:
    """The first number of each array of each layer that has some: the arrays here all begin differently."""
    found = {}
    for layer in model.layers:
        if layer.weights:
            found[prefix + layer.name] = [float(w.read().ravel()[0]) for w in layer.weights]
        if layer.model is not None:
            found |= firsts(layer.model, f"{prefix}{layer.name}/")
    return found


def assert_two(file: File) -> None:
    assert firsts(file.model) == {"a": [0, 100], "b": [50, 150]}
    assert [w.shape for layer in file.model.layers for w in layer.weights] == [(3, 2), (2,), (2, 4), (4,)]


@pytest.mark.parametrize(("text", "found"), [("null", None), ("{", {}), ("[]", {}), ("7", {}), ("{}", {})])
def test_a_model_predicts_whatever_is_said_of_its_training(tmp_path: Path, text: str, found: Any) -> None:
    path = save_named(tmp_path / "m.h5", OF_TWO, TWO)
    with h5py.File(path, "r+") as file:
        file.attrs["training_config"] = text
    assert_two(read(path))
    assert read(path).training == found


def test_weights_in_several_files_are_told(tmp_path: Path) -> None:
    """As Keras writes them from 3.11 on, where `max_shard_size` is given."""
    listed = {"metadata": {"total_size": 32}, "weight_map": {"/layers/dense/vars": "m_00000.weights.h5"}}
    (tmp_path / "m.json").write_text(json.dumps(TWO))
    (tmp_path / "m.weights.json").write_text(json.dumps(listed))
    for given in ((tmp_path / "m.weights.json",), (tmp_path / "m.json", tmp_path / "m.weights.json")):
        with pytest.raises(SpecError, match=r"m\.weights\.json: lists files .*without max_shard_size"):
            read(*given)


# A group for each layer


def test_a_full_model_of_keras_2(tmp_path: Path) -> None:
    training = {"loss": "mse", "optimizer_config": {"class_name": "Custom>SGD", "config": {"momentum": 0.5}}}
    file = read(save_named(tmp_path / "m.h5", OF_TWO, TWO, training_config=training))
    assert_two(file)
    assert (file.version, file.backend) == ("2.4.0", "tensorflow")
    assert file.training == training
    assert file.optimizer is not None
    assert (file.optimizer.kind, file.optimizer.config) == ("SGD", {"momentum": 0.5})


def test_the_suffix_says_nothing(tmp_path: Path) -> None:
    assert_two(read(save_named(tmp_path / "hdf5.keras", OF_TWO, TWO)))
    arrays = {"layers/dense/vars/0": numbers(3, 1), "layers/dense/vars/1": numbers(1)}
    archive = save_numbered(tmp_path / "archive.h5", sequential(dense("a", 1)), arrays)
    assert firsts(read(archive).model) == {"a": [0, 0]}


def test_long_lists_of_names_stand_in_several_attributes(tmp_path: Path) -> None:
    path = save_named(tmp_path / "m.h5", OF_TWO, TWO, split=1)
    with h5py.File(path) as file:
        assert "layer_names1" in file["model_weights"].attrs
    assert_two(read(path))


def test_names_are_text_or_bytes(tmp_path: Path) -> None:
    path = save_named(tmp_path / "m.h5", OF_TWO, TWO)
    with h5py.File(path, "r+") as file:
        file.attrs["model_config"] = np.bytes_(json.dumps(TWO))
        file["model_weights"].attrs["keras_version"] = "2.9.0"
        file["model_weights"].attrs["layer_names"] = ["a", "b"]
        file["model_weights/a"].attrs["weight_names"] = ["a/kernel:0", "a/bias:0"]
    file = read(path)
    assert_two(file)
    assert file.version == "2.9.0"


def test_an_architecture_and_weights_in_two_files(tmp_path: Path) -> None:
    (tmp_path / "m.json").write_text(json.dumps({**TWO, "keras_version": "2.1.6"}))
    weights = save_named(tmp_path / "w.h5", OF_TWO)
    assert_two(read(tmp_path / "m.json", weights))
    assert_two(read(tmp_path / "m.json", save_named(tmp_path / "full.h5", OF_TWO, TWO)))
    with pytest.raises(SpecError, match=r"m\.json: holds an architecture without weights.*--weights"):
        read(tmp_path / "m.json")
    with pytest.raises(SpecError, match=r"w\.h5: holds weights without an architecture.*--weights"):
        read(weights)


def test_an_architecture_as_weights_is_told(tmp_path: Path) -> None:
    """The file that holds none is at fault, not the model."""
    arch, whole = tmp_path / "arch.json", save_named(tmp_path / "m.h5", OF_TWO, TWO)
    arch.write_text(json.dumps(TWO))
    for path in (whole, arch):
        with pytest.raises(SpecError, match=r"arch\.json: it holds an architecture, no weights; --weights"):
            read(path, arch)
    with pytest.raises(SpecError, match=r"arch\.json: it holds an architecture, no weights"):
        read_weights(arch)


KERNELS = {"conv": numbers(3, 3, 3, 3), "up": numbers(3, 3, 3, 3, start=100)}
"""Square ones, whose shapes do not say in which order their axes lie."""
NUMBERED = {"layers/conv2d/vars/0": KERNELS["conv"], "layers/conv2d_transpose/vars/0": KERNELS["up"]}
OLD = {"nb_filter": 3, "nb_row": 3, "nb_col": 3, "dim_ordering": "th", "bias": False}
NEW = {"filters": 3, "kernel_size": [3, 3], "use_bias": False}


def two_of(first: str, other: str, shape: list[int], **config: Any) -> dict[str, Any]:
    """A convolution and a transposed one."""
    given = {"batch_input_shape": [None, *shape]}
    layers = [
        {"class_name": first, "config": {"name": "conv", **given, **config}},
        {"class_name": other, "config": {"name": "up", **config}},
    ]
    return {"class_name": "Sequential", "config": layers}


OF_KERAS_1 = two_of("Convolution2D", "Deconvolution2D", [3, 5, 5], **OLD)
OF_KERAS_2 = two_of("Conv2D", "Conv2DTranspose", [5, 5, 3], **NEW)


def on_theano(path: Path, groups: Any, config: Any, version: str) -> Path:
    save_named(path, groups, config, version)
    with h5py.File(path, "r+") as file:
        for place in (file, file["model_weights"]):
            place.attrs["backend"] = b"theano"
    return path


def named(**kernels: np.ndarray) -> dict[str, Any]:
    return {name: [(f"{name}/kernel:0", kernel)] for name, kernel in kernels.items()}


def kernels_of(file: File) -> dict[str, np.ndarray]:
    return {layer.name: layer.weights[0].read() for layer in file.model.layers if layer.weights}


@pytest.mark.parametrize(("config", "version"), [(OF_KERAS_1, "1.2.2"), (OF_KERAS_2, "2.2.4")])
def test_weights_lie_as_those_who_wrote_them_had_them(tmp_path: Path, config: Any, version: str) -> None:
    """In the place of those of a model of Theano, which convolves: kernels of others lie as today."""
    model = on_theano(tmp_path / "th.h5", named(**KERNELS), config, version)
    (tmp_path / "w.weights.h5").write_bytes(numbered_bytes(NUMBERED))
    save_numbered(tmp_path / "m.keras", OF_KERAS_2, NUMBERED)
    save_named(tmp_path / "named.h5", named(**KERNELS), version="2.4.0")
    with h5py.File(tmp_path / "named.h5", "r+") as file:
        del file.attrs["backend"]
    for name in ("w.weights.h5", "m.keras", "named.h5"):
        found = kernels_of(read(model, tmp_path / name))
        for layer, kernel in KERNELS.items():
            np.testing.assert_array_equal(found[layer], kernel, err_msg=f"{name} {layer}")


def test_weights_of_keras_1_that_say_nothing_were_written_by_what_their_model_ran_on(tmp_path: Path) -> None:
    model = on_theano(tmp_path / "th.h5", named(**KERNELS), OF_KERAS_2, "2.0.0")
    weights = save_named(tmp_path / "w.h5", named(**KERNELS), version="")
    conv = kernels_of(read(model, weights))["conv"]
    np.testing.assert_array_equal(conv, KERNELS["conv"][::-1, ::-1])


def test_numbered_weights_are_of_no_version_that_did_not_number_them(tmp_path: Path) -> None:
    """Whatever the archive says, or does not: Keras 1 has the axes of a transposed convolution otherwise."""
    for version in ("", "1.2.2"):
        path = save_numbered(tmp_path / "m.keras", OF_KERAS_2, NUMBERED, version=version)
        np.testing.assert_array_equal(kernels_of(read(path))["up"], KERNELS["up"])
        assert read_weights(path).version == "2.12.0"


def test_keras_1_says_no_version_and_puts_groups_into_groups(tmp_path: Path) -> None:
    config = {**TWO, "config": [dense("fire/a", 2, batch_input_shape=[None, 3]), dense("fire/b", 4)]}
    groups = {
        "fire/a": [("uniform1", numbers(3, 2)), ("fire/a_b", numbers(2, start=9))],
        "fire/b": OF_TWO["b"],
    }
    (tmp_path / "m.json").write_text(json.dumps(config))
    file = read(tmp_path / "m.json", save_named(tmp_path / "w.h5", groups, version=""))
    assert firsts(file.model) == {"fire/a": [0, 9], "fire/b": [50, 150]}
    assert file.version == ""


def test_layers_that_were_named_anew_take_weights_in_order(tmp_path: Path) -> None:
    groups = {"b": OF_TWO["a"], "c": OF_TWO["b"], "dropout_7": []}
    assert_two(read(save_named(tmp_path / "m.h5", groups, TWO)))


def test_weights_of_no_layer_are_refused(tmp_path: Path) -> None:
    path = save_named(tmp_path / "m.h5", {**OF_TWO, "extra": weights_of("extra", 1, 1)}, TWO)
    with pytest.raises(SpecError, match=r"m\.h5: .*does not have: extra; .*weights are a, b"):
        read(path)


def test_what_the_file_names_must_be_there(tmp_path: Path) -> None:
    for lost, told in (("a/a/bias:0", "names this array"), ("a", "names this layer")):
        path = save_named(tmp_path / f"{len(lost)}.h5", OF_TWO, TWO)
        with h5py.File(path, "r+") as file:
            del file[f"model_weights/{lost}"]
        with pytest.raises(SpecError, match=rf"model_weights/{lost}': the file {told}"):
            read(path)


@pytest.mark.parametrize(
    ("version", "limit"), [("2.3.1", "global_clipnorm"), ("2.4.0", "clipnorm"), ("2.2.4-tf", "clipnorm")]
)
def test_what_the_norm_is_of_that_is_clipped(tmp_path: Path, version: str, limit: str) -> None:
    told = {"optimizer_config": {"class_name": "SGD", "config": {"clipnorm": 0.5}}}
    found = read(save_named(tmp_path / "m.h5", OF_TWO, TWO, version, training_config=told)).optimizer
    assert found is not None
    assert found.config == {limit: 0.5}


# Nested models

BATCH_NORM: dict[str, Any] = {"class_name": "BatchNormalization", "config": {"name": "bn", "axis": -1}}
PARTS = [(f"bn/{name}:0", numbers(2, start=s)) for s, name in zip((1, 2, 3, 4), ("gamma", "beta", "m", "v"))]


ENDS = {"first": weights_of("first", 3, 3, start=7), "last": weights_of("last", 4, 1)}
INSIDE = {
    "first": [7, 107],
    "inner/a": [0, 100],
    "inner/bn": [1, 2, 3, 4],
    "inner/b": [50, 150],
    "last": [0, 100],
}


def nested(*inner: Any) -> dict[str, Any]:
    return sequential(dense("first", 3), sequential(*inner, name="inner"), dense("last", 1))


def test_a_nested_model_has_one_group_with_what_is_trained_first(tmp_path: Path) -> None:
    arrays = [*OF_TWO["a"], *PARTS[:2], *OF_TWO["b"], *PARTS[2:]]
    groups = {**ENDS, "inner": arrays}
    config = nested(dense("a", 2), BATCH_NORM, dense("b", 4))
    expected = INSIDE
    assert firsts(read(save_named(tmp_path / "m.h5", groups, config)).model) == expected
    nameless = [(f"param_{i}", array) for i, (_, array) in enumerate(arrays)]
    assert (
        firsts(read(save_named(tmp_path / "n.h5", {**groups, "inner": nameless}, config)).model) == expected
    )


def test_a_frozen_layer_has_all_its_weights_among_the_others(tmp_path: Path) -> None:
    frozen = {"class_name": "BatchNormalization", "config": {**BATCH_NORM["config"], "trainable": False}}
    arrays = [(f"param_{i}", array) for i, (_, array) in enumerate([*OF_TWO["a"], *OF_TWO["b"], *PARTS])]
    config = nested(dense("a", 2), frozen, dense("b", 4))
    assert firsts(read(save_named(tmp_path / "m.h5", {**ENDS, "inner": arrays}, config)).model) == INSIDE


def test_a_frozen_layer_of_keras_1_0_has_its_weights_among_the_trained_ones(tmp_path: Path) -> None:
    """As their names tell, which Keras 1 joins to those of the layers."""
    parts = [*OF_TWO["a"], *PARTS[:2], *OF_TWO["b"], *PARTS[2:]]
    arrays = [(name.replace("/", "_").removesuffix(":0"), array) for name, array in parts]
    config = nested(dense("a", 2, trainable=False), BATCH_NORM, dense("b", 4))
    path = save_named(tmp_path / "m.h5", {**ENDS, "inner": arrays}, config, version="")
    assert firsts(read(path).model) == INSIDE


def test_names_tell_where_the_order_is_another_one(tmp_path: Path) -> None:
    """A model that was frozen as a whole, whose layers do not say so."""
    arrays = [*OF_TWO["a"], *PARTS, *OF_TWO["b"]]
    config = nested(dense("a", 2), BATCH_NORM, dense("b", 4))
    assert firsts(read(save_named(tmp_path / "m.h5", {**ENDS, "inner": arrays}, config)).model) == INSIDE


def test_a_nested_model_with_other_layers_is_refused(tmp_path: Path) -> None:
    config = nested(dense("x", 2), dense("b", 4))
    groups = {"inner": [*OF_TWO["a"], *PARTS]}
    with pytest.raises(SpecError, match=r"inner: the file has 6 arrays.*need 4: x \(2\), b \(2\)"):
        read(save_named(tmp_path / "m.h5", groups, config))


# Groups numbered by class

CLASSES = sequential(dense("z", 2), BATCH_NORM, dense("a", 4), sequential(dense("c", 1), name="inner"))
BY_NUMBER = {
    **{f"layers/dense/vars/{i}": array for i, (_, array) in enumerate(OF_TWO["a"])},
    **{f"layers/dense_1/vars/{i}": array for i, (_, array) in enumerate(OF_TWO["b"])},
    **{f"layers/batch_normalization/vars/{i}": array for i, (_, array) in enumerate(PARTS)},
    "layers/sequential/layers/dense/vars/0": numbers(4, 1, start=30),
    "layers/sequential/layers/dense/vars/1": numbers(1, start=31),
}
EXPECTED = {"z": [0, 100], "bn": [1, 2, 3, 4], "a": [50, 150], "inner/c": [30, 31]}


@pytest.mark.parametrize("separator", ["/", "\\"])
def test_groups_numbered_by_class(tmp_path: Path, separator: str) -> None:
    path = save_numbered(tmp_path / "m.keras", CLASSES, BY_NUMBER, separator=separator, version="2.15.0")
    file = read(path)
    assert firsts(file.model) == EXPECTED
    assert file.version == "2.15.0"


@pytest.mark.parametrize(
    ("kind", "group"),
    [
        ("SyncBatchNormalization", "sync_batch_normalization"),
        ("GroupQueryAttention", "grouped_query_attention"),  # its class in Python is GroupedQueryAttention
    ],
)
def test_groups_are_numbered_by_the_class_in_the_file(kind: str, group: str, tmp_path: Path) -> None:
    """Whatever its layers are here."""
    config = sequential(BATCH_NORM, {"class_name": kind, "config": {"name": "own"}})
    stems = [("batch_normalization", start) for start in (1, 2, 3, 4)] + [(group, 11), (group, 12)]
    arrays = {f"layers/{stem}/vars/{start % 10 - 1}": numbers(2, start=start) for stem, start in stems}
    path = save_numbered(tmp_path / "m.keras", config, arrays, version="2.15.0")
    assert firsts(read(path).model) == {"bn": [1, 2, 3, 4], "own": [11, 12]}


def test_until_2_13_a_layer_with_weights_took_two_numbers(tmp_path: Path) -> None:
    renamed = {path.replace("layers", "_layer_checkpoint_dependencies"): a for path, a in BY_NUMBER.items()}
    old = {path.replace("dense_1", "dense_2"): array for path, array in renamed.items()}
    path = save_numbered(tmp_path / "m.keras", CLASSES, old, version="2.12.0")
    assert firsts(read(path).model) == EXPECTED


def test_what_windows_writes_into_archives_is_found(tmp_path: Path) -> None:
    path = tmp_path / "m.keras"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(".\\assets\\note.txt", "")
        archive.writestr("config.json", json.dumps(CLASSES))
        archive.writestr("metadata.json", json.dumps({"keras_version": "2.15.0"}))
        archive.writestr("model.weights.h5", numbered_bytes(BY_NUMBER, "\\"))
    assert firsts(read(path).model) == EXPECTED


def test_groups_may_say_the_name_of_their_layer(tmp_path: Path) -> None:
    """From 3.5 on; where a class comes twice, the name counts."""
    content = io.BytesIO(numbered_bytes(BY_NUMBER))
    with h5py.File(content, "r+") as file:
        file["layers/dense/vars"].attrs["name"] = "a"
        file["layers/dense_1/vars"].attrs["name"] = "z"
    path = save_archive(tmp_path / "m.keras", CLASSES, content.getvalue())
    assert firsts(read(path).model) == {**EXPECTED, "a": [0, 100], "z": [50, 150]}


def test_parts_of_a_layer_come_in_the_order_of_its_weights(tmp_path: Path) -> None:
    cell = {"class_name": "LSTM", "config": {"name": "lstm", "units": 2}}
    config = sequential(
        {
            "class_name": "Bidirectional",
            "config": {"name": "two", "layer": cell, "batch_input_shape": [None, 5, 3]},
        }
    )
    config["config"]["layers"][0]["config"]["batch_input_shape"] = [None, 5, 3]
    arrays = {
        f"layers/bidirectional/{way}_layer/cell/vars/{i}": numbers(8, start=start + i)
        for way, start in (("backward", 10), ("forward", 20))
        for i in range(3)
    }
    made_from = {"layers/bidirectional/layer/cell/vars/0": numbers(8, start=99)}
    path = save_numbered(tmp_path / "m.keras", config, arrays | made_from)
    assert firsts(read(path).model) == {"two": [20, 21, 22, 10, 11, 12]}


def test_numbered_weights_of_no_layer_are_refused(tmp_path: Path) -> None:
    path = save_numbered(tmp_path / "m.keras", CLASSES, {**BY_NUMBER, "layers/dense_2/vars/0": numbers(1)})
    with pytest.raises(SpecError, match=r"layers/dense_2/vars/0': .*the model has no layer for them"):
        read(path)


def test_ten_variables_are_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    layer = {"class_name": "Foo", "config": {"name": "foo"}}
    arrays = {f"layers/foo/vars/{i}": numbers(1, start=i) for i in range(12)}
    path = save_numbered(tmp_path / "m.keras", sequential(layer), arrays)
    assert firsts(read(path).model) == {"foo": [*range(12)]}


def test_bfloat16_becomes_float32(tmp_path: Path) -> None:
    path = save_named(tmp_path / "m.h5", OF_TWO, TWO)
    exact = np.array([1.0, -2.5], np.float32)
    with h5py.File(path, "r+") as file:
        del file["model_weights/a/a/bias:0"]
        file["model_weights/a/a/bias:0"] = (exact.view(np.uint32) >> 16).astype(np.uint16).view("V2")
    weight = read(path).model.layers[1].weights[1]
    assert weight.dtype == "bfloat16"
    assert weight.read().tolist() == exact.tolist()


def test_numbers_of_the_other_byte_order_come_in_ours(tmp_path: Path) -> None:
    path = save_named(tmp_path / "m.h5", {**OF_TWO, "a": [(n, x.astype(">f8")) for n, x in OF_TWO["a"]]}, TWO)
    file = read(path)
    assert_two(file)
    assert file.model.layers[1].weights[0].read().dtype == np.dtype("=f8")


# Weights alone


def test_weights_alone_by_the_names_of_the_file(tmp_path: Path) -> None:
    found = read_weights(save_named(tmp_path / "w.h5", OF_TWO))
    assert (found.version, found.backend) == ("2.4.0", "tensorflow")
    assert [*found.layers] == ["a", "b"]
    assert [w.name for w in found.layers["b"]] == ["b/kernel:0", "b/bias:0"]
    (tmp_path / "n.weights.h5").write_bytes(numbered_bytes(BY_NUMBER))
    numbered = read_weights(tmp_path / "n.weights.h5").layers
    assert {name: len(weights) for name, weights in numbered.items()} == {
        "batch_normalization": 4,
        "dense": 2,
        "dense_1": 2,
        "sequential/dense": 2,
    }


def test_weights_of_a_model_class_by_its_attributes(tmp_path: Path) -> None:
    arrays = {
        "encoder/first/vars/0": numbers(2),
        "blocks/block/mixer/cell/vars/0": numbers(2),
        "blocks/block_1/mixer/cell/vars/0": numbers(2),
        "seed_generator/vars/0": numbers(2),
        "optimizer/vars/0": numbers(1),
    }
    (tmp_path / "w.h5").write_bytes(numbered_bytes(arrays))
    found = [*read_weights(tmp_path / "w.h5").layers]
    assert found == ["blocks/block/mixer", "blocks/block_1/mixer", "encoder/first"]


# Weights that are missing, or there once for two

TWINS = sequential(
    dense("z", 2),
    sequential(dense("z", 2), dense("c", 1), name="one", width=2),
    sequential(dense("z", 2), name="two", width=1),
)
OF_TWINS = {
    **{f"layers/dense/vars/{i}": array for i, (_, array) in enumerate(weights_of("z", 3, 2))},
    **{f"layers/sequential/layers/dense/vars/{i}": numbers(2, 2, start=7)[i] for i in range(2)},
    **{f"layers/sequential/layers/dense_1/vars/{i}": numbers(2, 1, start=9)[i] for i in range(2)},
    **{f"layers/sequential_1/layers/dense/vars/{i}": numbers(2, 2, start=5)[i] for i in range(2)},
}


def test_what_a_layer_lacks_is_not_taken_from_its_namesake(tmp_path: Path) -> None:
    for lost, told in (
        ("sequential/layers/dense/", "1 of the layers: one/z$"),
        ("sequential_1/", "1 of the layers: two/z$"),
        ("sequential", "3 of the layers: one/z, one/c, two/z$"),
    ):
        left = {path: array for path, array in OF_TWINS.items() if f"layers/{lost}" not in path}
        with pytest.raises(SpecError, match=rf"m\.keras: the file has no weights for {told}"):
            read(save_numbered(tmp_path / "m.keras", TWINS, left))


def test_what_two_models_share_is_there_once(tmp_path: Path) -> None:
    """The first of them may not say so: Keras has copied its configuration by then."""
    for first in ({}, {"shared_object_id": 7}):
        shared = {**dense("z", 2), "shared_object_id": 7}
        config = sequential(
            sequential({**dense("z", 2), **first}, name="one"),
            sequential(shared, name="two", width=2),
            sequential({**shared, "shared_object_id": 8}, name="three", width=2),
        )
        arrays = {
            "layers/sequential/layers/dense/vars/0": numbers(3, 2, start=4),
            "layers/sequential_2/layers/dense/vars/0": numbers(2, 2, start=5),
        }
        file = read(save_numbered(tmp_path / "m.keras", config, arrays))
        assert firsts(file.model) == {"one/z": [4], "two/z": [4], "three/z": [5]}
    other = {path: array for path, array in arrays.items() if "_2" in path}
    with pytest.raises(SpecError, match="no weights for 2 of the layers: one/z, two/z"):
        read(save_numbered(tmp_path / "m.keras", config, other))


def test_groups_that_the_file_does_not_name_are_missing(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"m\.h5: the file has no weights for 1 of the layers: b$"):
        read(save_named(tmp_path / "m.h5", {"a": OF_TWO["a"]}, TWO))
    with pytest.raises(SpecError, match="2 of the layers: first, last"):
        read(save_named(tmp_path / "m.h5", {"inner": OF_TWO["a"]}, nested(dense("a", 2))))


# The real files

REAL = pytest.mark.skipif(not DATA.is_dir(), reason="needs CORTEX_DATA")


@REAL
@pytest.mark.parametrize(
    ("name", "version", "parameters"),
    [
        ("fer2013_mini_XCEPTION.102-0.66.hdf5", "2.0.5", 58_423),
        ("ethnicolr_census2010_lstm_k216.h5", "2.1.6", 981 * 32 + 512 * (32 + 128 + 1) + 129 * 4),
        ("ethnicolr_census2010_lstm_k250.h5", "2.5.0", 977 * 32 + 512 * (32 + 128 + 1) + 129 * 4),
        ("dice_ml_adult.h5", "2.9.0", 30 * 20 + 21),
    ],
)
def test_real_models(name: str, version: str, parameters: int) -> None:
    file = read(DATA / name)
    assert (file.version, file.backend) == (version, "tensorflow")
    assert sum(w.read().size for layer in file.model.layers for w in layer.weights) == parameters
    assert file.optimizer is not None
    assert file.optimizer.kind == "Adam"
    moments = file.optimizer.weights[1:]
    assert file.optimizer.weights[0].shape == ()
    assert sum(int(np.prod(w.shape)) for w in moments) >= 2 * parameters * 0.9


@REAL
@pytest.mark.parametrize(
    ("name", "version", "layer", "weights"),
    [
        ("deepcut_cnn_weights_k202.h5", "2.0.2", "conv1d_12", ["conv1d_12/kernel:0", "conv1d_12/bias:0"]),
        ("mhcnuggets_HLA-A31_01_BA.h5", "2.2.2", "dense_2", ["dense_2/kernel:0", "dense_2/bias:0"]),
        ("squeezenet_weights_tf_dim_ordering_tf_kernels_notop.h5", "", "conv1", ["uniform1", "conv1_b"]),
        ("squeezenet_weights_th_dim_ordering_th_kernels_notop.h5", "", "conv1", ["uniform1", "conv1_b"]),
        ("textgenrnn_weights.hdf5", "2.1.5", "attention", ["attention/attention_W:0"]),
    ],
)
def test_real_weights(name: str, version: str, layer: str, weights: list[str]) -> None:
    found = read_weights(DATA / name)
    assert found.version == version
    assert [w.name for w in found.layers[layer]] == weights
    assert all(w.read().shape == w.shape for ws in found.layers.values() for w in ws)
    with pytest.raises(SpecError, match="weights without an architecture"):
        read(DATA / name)
