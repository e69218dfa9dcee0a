"""Weights of files without an architecture go to descriptions: by name or in order, old forms turned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from cortex_compute.errors import SpecError
from cortex_core.exchange.keras.assign import assign
from cortex_core.exchange.keras.imported import load
from tests.exchange.keras.handmade import numbered_bytes

RNG = np.random.default_rng(0)
File = Mapping[str, Mapping[str, np.ndarray]]


def drawn(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape).astype(np.float32)


def stored(folder: Path, layers: File, version: str = "2.2.4", backend: str = "tensorflow") -> Path:
    """A file of weights as Keras 1 and 2 write them."""
    path = folder / "weights.h5"
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [name.encode() for name in layers]
        file.attrs.update({k: v for k, v in (("keras_version", version), ("backend", backend)) if v})
        for name, arrays in layers.items():
            group = file.create_group(name)
            group.attrs["weight_names"] = [weight.encode() for weight in arrays]
            for weight, array in arrays.items():
                group[weight] = array
    return path


def described(shape: Sequence[int], *layers: Any, **more: Any) -> dict[str, Any]:
    return {"cortex": 1, "name": "net", "inputs": {"x": [*shape]}, "layers": [*layers], **more}


def dense(name: str, into: int, out: int) -> dict[str, np.ndarray]:
    return {f"{name}/kernel:0": drawn(into, out), f"{name}/bias:0": drawn(out)}


TWO = described([3], {"dense": {"units": 3, "id": "first"}}, {"dense": {"units": 3, "id": "second"}})


def test_by_name_whatever_the_order(tmp_path: Path) -> None:
    second, first = dense("second", 3, 3), dense("first", 3, 3)
    made = assign(TWO, stored(tmp_path, {"second": second, "drop": {}, "first": first}))
    np.testing.assert_array_equal(made.parameters["first/kernel"], first["first/kernel:0"])
    np.testing.assert_array_equal(made.parameters["second/bias"], second["second/bias:0"])


def test_in_order_where_no_name_is_known(tmp_path: Path) -> None:
    layers = {"dense_7": dense("dense_7", 3, 3), "flatten_1": {}, "dense_3": dense("dense_3", 3, 3)}
    made = assign(TWO, stored(tmp_path, layers))
    np.testing.assert_array_equal(made.parameters["first/kernel"], layers["dense_7"]["dense_7/kernel:0"])
    np.testing.assert_array_equal(made.parameters["second/kernel"], layers["dense_3"]["dense_3/kernel:0"])


def test_a_file_of_keras_3_that_says_no_version_is_not_of_keras_1(tmp_path: Path) -> None:
    """There the axes of a transposed convolution lie as they do here."""
    kernel, bias = drawn(3, 3, 4, 4), drawn(4)
    group = "layers/conv2d_transpose/vars"
    (tmp_path / "w.weights.h5").write_bytes(numbered_bytes({f"{group}/0": kernel, f"{group}/1": bias}))
    up = {"conv_transpose2d": {"filters": 4, "kernel": 3, "id": "up"}}
    made = assign(described([5, 5, 4], up), tmp_path / "w.weights.h5")
    np.testing.assert_array_equal(made.parameters["up/kernel"], kernel)


def test_all_that_does_not_fit_is_told(tmp_path: Path) -> None:
    path = stored(tmp_path, {"first": dense("first", 2, 3), "third": dense("third", 3, 3)})
    with pytest.raises(SpecError) as caught:
        assign(TWO, path)
    for told in (
        "weights for 'third'; the description has no layer of this id",
        "no weights for 'second'",
        "first: kernel has shape [2, 3] in the file; expected [3, 3]",
    ):
        assert told in str(caught.value)


def test_too_many_and_too_few_layers_in_order(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"weights for 1 layers \(a\), the description 2 \(first, second\)"):
        assign(TWO, stored(tmp_path, {"a": dense("a", 3, 3)}))


def test_too_few_arrays(tmp_path: Path) -> None:
    layers = {"first": dense("first", 3, 3), "second": {"second/kernel:0": drawn(3, 3)}}
    with pytest.raises(SpecError, match="second: the file has 1 arrays for it; expected 2: kernel, bias"):
        assign(TWO, stored(tmp_path, layers))


BLOCK = {
    "layers": [{"dense": {"units": 3, "id": "a"}}, {"dense": {"units": 3, "use_bias": False, "id": "b"}}]
}


@pytest.mark.parametrize("mapped", [False, True])
def test_a_block_takes_the_arrays_of_one_layer(tmp_path: Path, mapped: bool) -> None:
    """One after the other; the block is the description's, or that of a file."""
    use = {"Gate": {"id": "gate"}}
    network = described([3], use, **({} if mapped else {"blocks": {"Gate": BLOCK}}))
    file = tmp_path / "gate.yaml"
    file.write_text("layers:\n- dense: {units: 3, id: a}\n- dense: {units: 3, use_bias: false, id: b}\n")
    arrays = {f"gate/W{k}:0": x for k, x in enumerate([drawn(3, 3), drawn(3), drawn(3, 3)])}
    made = assign(network, stored(tmp_path, {"gate": arrays}), {"Gate": file} if mapped else None)
    for name, array in zip(("a/kernel", "a/bias", "b/kernel"), arrays.values()):
        np.testing.assert_array_equal(made.parameters[f"gate/{name}"], array)


def test_a_model_in_a_model_keeps_what_is_not_trained_at_its_end(tmp_path: Path) -> None:
    block = {"layers": [{"batch_norm": {"id": "norm"}}, {"dense": {"units": 3, "id": "dense"}}]}
    network = described([3], {"Inner": {"id": "inner"}}, blocks={"Inner": block})
    names = [f"norm/{x}:0" for x in ("gamma", "beta")] + ["dense/kernel:0", "dense/bias:0"]
    names += ["norm/moving_mean:0", "norm/moving_variance:0"]
    arrays = {name: drawn(3, 3) if "kernel" in name else drawn(3) for name in names}
    made = assign(network, stored(tmp_path, {"inner": arrays}))
    np.testing.assert_array_equal(made.variables["inner/norm/moving_mean"], arrays["norm/moving_mean:0"])
    np.testing.assert_array_equal(made.parameters["inner/norm/shift"], arrays["norm/beta:0"])
    np.testing.assert_array_equal(made.parameters["inner/dense/bias"], arrays["dense/bias:0"])


def of_core(start: str = "") -> dict[str, np.ndarray]:
    """The arrays of a model in a model, with those that are not trained at the end."""
    names = [f"{start}{name}/{array}" for name in ("d1", "d2") for array in ("kernel", "bias")]
    names += [f"{start}norm/{array}" for array in ("gamma", "beta", "moving_mean", "moving_variance")]
    return {name: drawn(3, 3) if "kernel" in name else drawn(3) for name in names}


def core(outer: str, first: str, frozen: str = "") -> list[Any]:
    """What the import makes of that model."""
    kinds = {"d1": "dense", "d2": "dense", "norm": "batch_norm"}
    made = []
    for name, kind in kinds.items():
        fields: dict[str, Any] = {"id": f"{outer}_{name}", "from": first}
        fields |= {"units": 3} if kind == "dense" else {}
        made.append({kind: fields | ({"trainable": False} if name == frozen else {})})
        first = f"{outer}_{name}"
    return made


@pytest.mark.parametrize("frozen", ["", "d1"])
def test_models_in_models_go_to_the_layers_that_the_import_made_of_them(tmp_path: Path, frozen: str) -> None:
    """One is called twice, one holds another one, and the name of one begins with that of another.  A layer
    may be frozen in the description alone: the names of the arrays tell what order they have."""
    tower, deep, other = of_core(), {**of_core(), **dense("deep/last", 3, 3)}, of_core("tower_b/")
    again = {"dense": {"units": 3, "id": "tower_d1_2", "from": "tower_norm", "share": "tower_d1"}}
    last = {"dense": {"units": 3, "id": "deep_last", "from": "deep_core_norm"}}
    layers = [*core("tower", "x", frozen), again, *core("deep_core", "tower_d1_2"), last]
    layers += [
        *core("tower_b", "deep_last"),
        {"dense": {"units": 3, "id": "tower_out", "from": "tower_b_norm"}},
    ]
    file = {"tower": tower, "deep": deep, "tower_b": other, "tower_out": dense("tower_out", 3, 3)}
    made = assign(described([3], *layers), stored(tmp_path, file, "3.15.1"))
    here = {"gamma": "scale", "beta": "shift", "kernel": "kernel", "bias": "bias"}
    for outer, arrays in (("tower", tower), ("deep_core", deep), ("tower_b", other)):
        for name, array in arrays.items():
            *_, layer, own = name.split("/")
            if layer == "last":
                continue
            held = made.variables if own.startswith("moving") else made.parameters
            np.testing.assert_array_equal(held[f"{outer}_{layer}/{here.get(own, own)}"], array)
    np.testing.assert_array_equal(made.parameters["deep_last/kernel"], deep["deep/last/kernel:0"])
    np.testing.assert_array_equal(made.parameters["tower_out/bias"], file["tower_out"]["tower_out/bias:0"])


def test_a_name_that_begins_with_another_one_is_no_part_of_it(tmp_path: Path) -> None:
    layers = [{"dense": {"units": 3, "id": id_}} for id_ in ("first", "dense_new")]
    path = stored(tmp_path, {"first": dense("first", 3, 3), "dense": dense("dense", 3, 3)})
    with pytest.raises(SpecError, match=r"(?s)weights for 'dense'; .* no weights for 'dense_new'"):
        assign(described([3], *layers), path)


def test_a_model_in_a_model_that_has_other_layers(tmp_path: Path) -> None:
    layers = core("tower", "x")[:2]
    told = r"tower: the file has 8 arrays for this model; its layers need 4: d1 \(2\), d2 \(2\)"
    with pytest.raises(SpecError, match=told):
        assign(described([3], *layers), stored(tmp_path, {"tower": of_core()}))


@pytest.mark.peers
@pytest.mark.parametrize("name", ["net.h5", "net.keras"])
def test_the_description_of_an_imported_model_takes_the_weights_of_its_file(
    tmp_path: Path, name: str
) -> None:
    import keras
    from keras import layers

    def inner(name: str) -> Any:
        x = keras.Input((3,))
        a = layers.BatchNormalization(name="norm")(layers.Dense(3, name="d1")(x))
        return keras.Model(x, layers.Add(name="sum")([a, layers.Dense(3, name="d2")(a)]), name=name)

    tower = inner("tower")
    deep = keras.Sequential([keras.Input((3,)), inner("core"), layers.Dense(3, name="last")], name="deep")
    x = keras.Input((3,), name="x")
    model = keras.Model(x, layers.Dense(2, name="out")(deep(tower(tower(x)))))
    model.set_weights([RNG.uniform(0.5, 1.5, w.shape) for w in model.get_weights()])
    model.save(tmp_path / name)
    spec = tmp_path / "net.yaml"
    spec.write_text(load(tmp_path / name).yaml)
    given = drawn(5, 3)
    ours = load(spec, tmp_path / name).network.predict(given)
    np.testing.assert_allclose(ours, model.predict(given, verbose=0), rtol=1e-5)


def test_arrays_that_lie_otherwise(tmp_path: Path) -> None:
    """A gru of Keras has its update gate first, and both biases in one array."""
    network = described(
        [4, 2], {"bidirectional": {"layer": {"gru": 1}, "id": "both"}}, {"dense": {"units": 1, "id": "end"}}
    )
    way = [np.arange(6.0).reshape(2, 3), np.arange(3.0).reshape(1, 3), np.array([[1.0, 2, 3], [10, 20, 30]])]
    names = [f"{d}/{x}:0" for d in ("forward", "backward") for x in ("kernel", "recurrent_kernel", "bias")]
    layers = {"both": dict(zip(names, [*way, *(x + 1 for x in way)])), "end": dense("end", 2, 1)}
    made = assign(network, stored(tmp_path, layers, "2.4.0")).parameters
    np.testing.assert_array_equal(made["both/forward_kernel"], [[1, 0, 2], [4, 3, 5]])
    np.testing.assert_array_equal(made["both/forward_bias"], [22, 11, 3])
    np.testing.assert_array_equal(made["both/forward_recurrent_bias"], [30])
    np.testing.assert_array_equal(made["both/backward_recurrent_kernel"], [[2, 1, 3]])


def test_separable_kernels_and_a_wrapped_dense(tmp_path: Path) -> None:
    network = described(
        [5, 5, 2],
        {"separable_conv2d": {"filters": 4, "kernel": 3, "multiplier": 2, "id": "s"}},
        {"time_distributed": {"layer": {"dense": 1}, "id": "t"}},
    )
    shapes = (3, 3, 2, 2), (1, 1, 4, 4), (4,)
    own = {f"s/{k}:0": drawn(*shape) for k, shape in enumerate(shapes)}
    made = assign(network, stored(tmp_path, {"s": own, "t": dense("t", 4, 1)})).parameters
    assert made["s/depthwise_kernel"].shape == (3, 3, 1, 4)
    np.testing.assert_array_equal(made["s/depthwise_kernel"][1, 2, 0], own["s/0:0"][1, 2].ravel())


CONVOLUTIONS = described(
    [8, 8, 3],
    {"conv2d": {"filters": 3, "kernel": 3, "id": "square"}},
    {"conv2d": {"filters": 2, "kernel": 3, "id": "other"}},
)


def kernels(first: bool) -> dict[str, dict[str, np.ndarray]]:
    shapes = ((3, 3, 3, 3), (2, 3, 3, 3)) if first else ((3, 3, 3, 3), (3, 3, 3, 2))
    return {
        name: {f"{name}_W": drawn(*shape), f"{name}_b": drawn(2 if name == "other" else 3)}
        for name, shape in zip(("square", "other"), shapes)
    }


@pytest.mark.parametrize(
    ("first", "backend", "turned"),
    [(True, "", True), (True, "tensorflow", False), (False, "", False), (False, "theano", True)],
)
def test_kernels_of_keras_1(tmp_path: Path, first: bool, backend: str, turned: bool) -> None:
    """A kernel of 3 x 3 from 3 to 3 channels says nothing of its order; the other one of the file does."""
    layers = kernels(first)
    made = assign(CONVOLUTIONS, stored(tmp_path, layers, "", backend)).parameters
    for name, arrays in layers.items():
        kernel = arrays[f"{name}_W"]
        kernel = kernel.transpose(2, 3, 1, 0) if first else kernel
        kernel = kernel[::-1, ::-1] if turned else kernel
        np.testing.assert_array_equal(made[f"{name}/kernel"], kernel)


def test_the_backend_of_the_file_counts(tmp_path: Path) -> None:
    layers = kernels(first=False)
    made = assign(CONVOLUTIONS, stored(tmp_path, layers, "2.0.0", "theano")).parameters
    np.testing.assert_array_equal(made["other/kernel"], layers["other"]["other_W"][::-1, ::-1])


def test_a_map_that_names_arrays(tmp_path: Path) -> None:
    file = tmp_path / "gate.yaml"
    file.write_text("weights: [a/kernel]\nlayers: [dense: {units: 3, id: a}]\n")
    path = stored(tmp_path, {"gate": dense("gate", 3, 3)})
    with pytest.raises(SpecError, match=r"gate\.yaml: weights: .*in their order"):
        assign(described([3], {"Gate": {"id": "gate"}}), path, {"Gate": file})


@pytest.mark.parametrize("name", ["Gaet", "Own", "relu", "Custom>Gate", "a.b"])
def test_a_map_that_the_description_does_not_need(tmp_path: Path, name: str) -> None:
    """It uses no such layer, has a block of its own for it, or knows it; the others do not hide that."""
    file = tmp_path / "gate.yaml"
    file.write_text("layers: [dense: {units: 3, id: a}]\n")
    layers = {"Gate": {"id": "gate"}}, {"Own": {"id": "own"}}, {"relu": {"id": "end"}}
    network = described([3], *layers, blocks={"Own": {"layers": ["tanh"]}})
    path = stored(tmp_path, {"gate": dense("gate", 3, 3)})
    told = f"no layer of the description is called '{name}' and needs a block; map only names"
    with pytest.raises(SpecError, match=rf"gate\.yaml: {told}"):
        assign(network, path, {"Gate": file, name: file})
    assert "gate/a/kernel" in assign(network, path, {"Gate": file}).parameters


def test_a_map_for_a_block_that_every_description_knows(tmp_path: Path) -> None:
    maps = blocks_in(tmp_path, squeeze_excite="relu")
    path = stored(tmp_path, {"gate": dense("gate", 3, 3)})
    with pytest.raises(SpecError, match="no layer of the description is called 'squeeze_excite' and needs"):
        assign(described([3], {"squeeze_excite": {"id": "gate"}}), path, maps)


def blocks_in(folder: Path, **layers: str) -> dict[str, Path]:
    """The files of blocks that hold one layer each."""
    for name, layer in layers.items():
        (folder / f"{name}.yaml").write_text(f"parameters: {{inner: relu}}\nlayers: [{layer}]\n")
    return {name: folder / f"{name}.yaml" for name in layers}


def test_maps_that_only_need_each_other(tmp_path: Path) -> None:
    """They are in a circle, which nothing enters."""
    maps = blocks_in(tmp_path, Gate="dense: {units: 3, id: a}", C="D", D="C")
    path = stored(tmp_path, {"gate": dense("gate", 3, 3)})
    with pytest.raises(SpecError, match=r"C\.yaml: no layer of the description is called 'C' and needs "):
        assign(described([3], {"Gate": {"id": "gate"}}), path, maps)


@pytest.mark.parametrize(
    ("layer", "own", "layers"),
    [
        ({"Gate": {"id": "gate"}}, {}, {"Gate": "Deep: {id: deep}"}),
        ({"Gate": {"id": "gate", "inner": "Deep"}}, {}, {"Gate": "$inner"}),
        ({"Own": {"id": "gate"}}, {"Own": {"layers": ["Deep"]}}, {}),
        ({"dense": {"units": 3, "id": "gate"}}, {"Unused": {"layers": ["Deep"]}}, {}),
    ],
)
def test_maps_that_other_blocks_need(tmp_path: Path, layer: Any, own: Any, layers: dict[str, str]) -> None:
    """In a mapped block, as an argument of one, in a block of the description, and in one that it never uses:
    that is read all the same."""
    maps = blocks_in(tmp_path, **layers, Deep="dense: {units: 3}")
    path = stored(tmp_path, {"gate": dense("gate", 3, 3)})
    assert len(assign(described([3], layer, blocks=own), path, maps).parameters) == 2
    del maps["Deep"]
    with pytest.raises(SpecError, match="'Deep'"):
        assign(described([3], layer, blocks=own), path, maps)


def test_a_mistake_in_a_mapped_block_is_told_with_its_file(tmp_path: Path) -> None:
    path = stored(tmp_path, {"gate": dense("gate", 3, 3)})
    for layer, told in (("Gate", "the block contains itself"), ("dense: {unit: 3}", "unknown field")):
        maps = blocks_in(tmp_path, Gate=layer)
        with pytest.raises(SpecError, match=rf"Gate\.yaml: blocks\.Gate.*: {told}"):
            assign(described([3], {"Gate": {"id": "gate"}}), path, maps)


def test_the_mistake_in_a_description_is_told_before_its_maps(tmp_path: Path) -> None:
    """What it needs is not known where its layers are none, or are in a circle."""
    maps, path = blocks_in(tmp_path, Gate="relu"), stored(tmp_path, {"gate": dense("gate", 3, 3)})
    for network, told in (
        ({"cortex": 1, "inputs": {"x": [3]}, "layers": 7}, "this is no list of layers"),
        (described([3], "Own", blocks={"Own": {"layers": ["Own"]}}), "the block contains itself"),
    ):
        with pytest.raises(SpecError, match=told):
            assign(network, path, maps)
