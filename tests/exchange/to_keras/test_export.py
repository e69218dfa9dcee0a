"""The files, what is refused, and what people are told."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import cortex
from cortex_core.training import source
from tests.conftest import Cli
from tests.examples import made
from tests.exchange.to_keras.support import CASES, apart, drawn, inputs

PAGE = Path(__file__).parents[3] / "docs/export.md"
DENSE: dict[str, Any] = {"inputs": {"x": [4]}, "layers": [{"dense": {"units": 3, "id": "kind"}}]}
UNDERSCORES = {
    "inputs": {"_x": [2], "x": [2]},
    "layers": [{"subtract": {"from": ["_x", "x"], "id": "_y"}}],
}
LOGITS = {"softmax_cross_entropy": {"of": "kind", "target": "k"}}


def refusal(description: dict[str, Any], folder: Path, **how: Any) -> str:
    """Why a network is refused; nothing is written then."""
    with pytest.raises(cortex.SpecError) as caught:
        cortex.to_keras(drawn(description), folder / "model.keras", **how)
    assert not [*folder.iterdir()]
    return str(caught.value)


def alone(layer: Any, *shape: int | None) -> dict[str, Any]:
    return {"inputs": {"x": [*shape]}, "layers": [layer]}


# Files


def test_the_same_network_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        for end in (".keras", ".weights.h5"):
            cortex.to_keras(drawn(CASES["masked words"]), tmp_path / f"{name}{end}")
    for end in (".keras", ".weights.h5"):
        assert (tmp_path / f"one{end}").read_bytes() == (tmp_path / f"two{end}").read_bytes()


def test_an_archive_is_as_keras_writes_it(tmp_path: Path) -> None:
    network = drawn(DENSE)
    cortex.to_keras(network, tmp_path / "model.keras")
    archive = zipfile.ZipFile(tmp_path / "model.keras")
    members = {info.filename: info.compress_type for info in archive.infolist()}
    stored = zipfile.ZIP_STORED
    assert members == {"metadata.json": stored, "config.json": stored, "model.weights.h5": stored}
    assert json.loads(archive.read("metadata.json"))["keras_version"].startswith("3.")
    config = json.loads(archive.read("config.json"))
    assert (config["module"], config["class_name"]) == ("keras.src.models.functional", "Functional")
    layers = {layer["name"]: layer for layer in config["config"]["layers"]}
    assert layers["x"]["config"]["batch_shape"] == [None, 4]
    assert layers["kind"]["inbound_nodes"][0]["args"][0]["config"]["keras_history"] == ["x", 0, 0]
    with h5py.File(io.BytesIO(archive.read("model.weights.h5"))) as file:
        assert file["layers/dense/vars"].attrs["name"] == "kind"
        np.testing.assert_array_equal(file["layers/dense/vars/0"], network.parameters["kind/kernel"])
        np.testing.assert_array_equal(file["layers/dense/vars/1"], network.parameters["kind/bias"])


def test_weights_alone_say_whose_they_are(tmp_path: Path) -> None:
    found = cortex.to_keras(drawn(CASES["masked words"]), tmp_path / "model.weights.h5")
    assert found == [
        "the input 'x' is int32 in Keras, and numbers of more bits become others",
        "layers/embedding has the weights of words (Embedding)",
        "layers/lstm has the weights of read (LSTM)",
    ]
    with h5py.File(tmp_path / "model.weights.h5") as file:
        assert [*file["layers/lstm/cell/vars"]] == ["0", "1", "2"]


@pytest.mark.parametrize("name", ["model.h5", "model", "weights.keras.zip", "model.cortex"])
def test_other_names_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(
        cortex.ArgumentError, match=r"expected a name that ends in \.keras, or in \.weights\.h5"
    ):
        cortex.to_keras(drawn(DENSE), tmp_path / name)


def test_a_stored_model_goes_out_too(tmp_path: Path) -> None:
    network = drawn(DENSE)
    network.save(tmp_path / "model.cortex")
    assert cortex.to_keras(tmp_path / "model.cortex", tmp_path / "model.keras") == []
    x = inputs(network)
    assert apart(network.predict(x), cortex.from_keras(tmp_path / "model.keras").predict(x)) == 0


# What is shown


@pytest.mark.parametrize("raw", [False, True])
def test_probabilities_or_logits(raw: bool, tmp_path: Path) -> None:
    network = drawn({**DENSE, "loss": LOGITS})
    cortex.to_keras(network, tmp_path / "model.keras", raw=raw)
    x = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)
    found = cortex.from_keras(tmp_path / "model.keras").predict(x)
    logits = np.float64(x) @ network.parameters["kind/kernel"] + network.parameters["kind/bias"]
    expected = logits if raw else np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_a_scaled_target_is_shown_in_its_unit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Grams of penguins, of which the network learns deviations from their mean."""
    made.write_tables(tmp_path)
    monkeypatch.setenv("CORTEX_DATA", str(tmp_path))
    for name, data in made.pictures().items():
        monkeypatch.setitem(source._registered, name, data)
    example = PAGE.parents[1] / "examples/body_mass.yaml"
    run = cortex.train(str(example), epochs=1, out=tmp_path / "run", progress=False, threads=1)
    cortex.to_keras(run.network, tmp_path / "model.keras")
    cortex.to_keras(run.network, tmp_path / "raw.keras", raw=True)
    x = inputs(run.network)
    grams, numbers = run.network.predict(x), run.network.predict(x, raw=True)
    assert grams.mean() > 1000 > np.abs(numbers).max()
    assert apart(grams, cortex.from_keras(tmp_path / "model.keras").predict(x)) <= 1e-6
    assert apart(numbers, cortex.from_keras(tmp_path / "raw.keras").predict(x)) <= 1e-6


def test_boxes_are_refused_but_raw(tmp_path: Path) -> None:
    loss = {"yolo2": {"of": "kind", "target": "b", "classes": 1, "anchors": [[1.0, 1.0]]}}
    layers = [{"conv2d": {"filters": 6, "kernel": 1, "id": "kind"}}]
    description = {"inputs": {"x": [4, 4, 2]}, "layers": layers, "loss": loss}
    told = "kind: what the loss yolo2 shows of it cannot be said in Keras; --raw (in Python raw=True)"
    assert told in refusal(description, tmp_path)
    assert cortex.to_keras(drawn(description), tmp_path / "model.keras", raw=True) == []


def test_what_leads_to_no_output_stays_here(tmp_path: Path) -> None:
    layers = [
        {"dense": {"units": 3, "from": "x", "id": "kind"}},
        {"dense": {"units": 2, "from": "y", "id": "aside"}},
    ]
    losses = [{"mse": {"of": "aside", "target": "t"}}, {"mse": {"of": "kind", "target": "k"}}]
    network = drawn({"inputs": {"x": [4], "y": [2]}, "layers": layers, "loss": losses, "outputs": ["kind"]})
    told = "the model does not take 'y', which leads to no output"
    assert cortex.to_keras(network, tmp_path / "model.keras") == [told]
    again = cortex.from_keras(tmp_path / "model.keras")
    x = inputs(network)
    assert [node.id for node in again.description.layers] == ["kind"]
    assert apart(network.predict(x), again.predict(x["x"])) == 0


@pytest.mark.parametrize(
    ("name", "barriers"), [("masked, then not", ["lstm_unmasked"]), ("masked twice", [])]
)
def test_a_mask_goes_no_further_than_here(name: str, barriers: list[str], tmp_path: Path) -> None:
    """Keras would hand that of the first layer on to the second, which heeds none."""
    cortex.to_keras(drawn(CASES[name]), tmp_path / "model.keras")
    config = json.loads(zipfile.ZipFile(tmp_path / "model.keras").read("config.json"))
    layers = {layer["name"]: layer for layer in config["config"]["layers"]}
    assert [name for name in layers if name.endswith("_unmasked")] == barriers
    assert layers["lstm"]["inbound_nodes"][0]["kwargs"]["mask"]["config"]["keras_history"][0] == "padded_mask"


def test_an_input_that_only_training_reads_stays_here(tmp_path: Path) -> None:
    layers = [
        {"dense": {"units": 2, "from": "y", "id": "spread"}},
        {"sampling": {"log_variance": "spread", "from": "x"}},
    ]
    network = drawn({"inputs": {"x": [2], "y": [3]}, "layers": layers})
    *_, told = cortex.to_keras(network, tmp_path / "model.keras")
    assert told == "the model does not take 'y', which leads to no output"
    x = inputs(network)
    assert apart(network.predict(x), cortex.from_keras(tmp_path / "model.keras").predict(x["x"])) == 0


# Notes


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("one layer twice", []),
        ("batch_norm twice", []),
        (
            "its numbers in another layer",
            [f"{id_}: it has a copy of the numbers of one in Keras, where training moves them apart"
             for id_ in ("two", "three")],
        ),
        ("attention of pairs", [
            "multi_head_attention: a query that sees no key finds 0 here, and the mean of all values in Keras"
        ]),
    ],
)  # fmt: skip
def test_notes(name: str, told: list[str], tmp_path: Path) -> None:
    assert cortex.to_keras(drawn(CASES[name]), tmp_path / "model.keras") == told


def test_inputs_keep_their_names(tmp_path: Path) -> None:
    notes = cortex.to_keras(drawn(UNDERSCORES), tmp_path / "model.keras")
    assert notes == ["_y: it is called 'y' in Keras"]
    config = json.loads(zipfile.ZipFile(tmp_path / "model.keras").read("config.json"))["config"]
    assert config["input_layers"] == [["_x", 0, 0], ["x", 0, 0]]


def test_a_layer_that_cannot_keep_its_name_is_told(tmp_path: Path) -> None:
    """A block and a layer that are called alike where "_" stands for "/"."""
    blocks = {"unit": {"layers": [{"dense": {"units": 2, "id": "a"}}]}}
    layers = [{"unit": {"id": "u"}}, {"dense": {"units": 2, "id": "u_a"}}]
    network = drawn({"inputs": {"x": [2]}, "blocks": blocks, "layers": layers})
    assert cortex.to_keras(network, tmp_path / "model.keras") == ["u_a: it is called 'u_a_2' in Keras"]


def test_an_input_that_keras_cannot_name(tmp_path: Path) -> None:
    told = "input 'a/b': Keras takes no name with '/'; call it otherwise"
    assert told in refusal({"inputs": {"a/b": [2]}, "layers": ["relu"]}, tmp_path)


def test_whole_numbers_of_64_bits_are_told(tmp_path: Path) -> None:
    description = {"inputs": {"n": {"shape": [2], "dtype": "int64"}}, "layers": ["cast"]}
    told = "the input 'n' is int32 in Keras, and numbers of more bits become others"
    assert cortex.to_keras(drawn(description), tmp_path / "model.keras") == [told]


@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_constants_that_are_not_finite(number: float, tmp_path: Path) -> None:
    network = drawn(alone({"positional_encoding": {"kind": "learned", "length": 6}}, 6, 3))
    (name,) = network.parameters
    network.parameters[name] = np.full((6, 3), number, np.float32)
    with pytest.raises(cortex.SpecError, match=r"positional_encoding .*: one of its numbers is not finite"):
        cortex.to_keras(network, tmp_path / "model.keras")
    assert not [*tmp_path.iterdir()]


def test_what_only_training_needs_is_told(tmp_path: Path) -> None:
    fields = {"penalty": {"kernel": {"l2": 0.1}}, "constraint": {"bias": "non_negative"}, "learning_rate": 2}
    network = drawn(alone({"dense": {"units": 3, **fields}}, 4))
    rules = "l2 of kernel, non_negative of bias, its learning rate times 2"
    told = f"dense: not exported for training: {rules}"
    assert cortex.to_keras(network, tmp_path / "model.keras") == [told]


def test_frozen_layers_are_frozen_there(tmp_path: Path) -> None:
    cortex.to_keras(drawn(CASES["frozen"]), tmp_path / "model.keras")
    again = cortex.from_keras(tmp_path / "model.keras")
    assert [node.trainable for node in again.description.layers] == [False, True]


# What is refused


REFUSED = {
    "conv2d strides": (
        alone({"conv2d": {"filters": 2, "kernel": 2, "stride": 2, "dilation": 2}}, 6, 6, 1),
        "a stride and a dilation above 1 exclude each other in Keras; give it the stride 1",
    ),
    "transposed groups": (
        alone({"conv_transpose2d": {"filters": 2, "kernel": 2, "groups": 2}}, 4, 4, 2),
        "Keras has no groups in transposed convolutions; write one for each part",
    ),
    "mean of any size": (
        alone({"avg_pool1d": {"size": 3, "stride": 1, "padding": [[2, 0]]}}, None, 2),
        "an axis has any length; `cortex surgery --resize-input` gives the input a size",
    ),
    "trilinear": (
        alone({"upsampling3d": {"size": 2, "mode": "trilinear"}}, 2, 2, 2, 1),
        "Keras has no trilinear volumes; train it with the mode nearest",
    ),
    "projection": (alone({"lstm": {"units": 3, "projection": 2}}, 4, 2), "Keras's LSTM has no projection"),
    "gates": (
        alone({"lstm": {"units": 3, "recurrent_activation": {"hard_sigmoid": 0.2}}}, 4, 2),
        "hard_sigmoid, which lstm has inside, is no activation of Keras as it is; train it with another",
    ),
    "rotary": (
        alone({"multi_head_attention": {"heads": 1, "rotary": True}}, 4, 2),
        "Keras has no rotary positions; train it with a positional_encoding",
    ),
    "few keys": (
        alone({"multi_head_attention": {"heads": 2, "key_heads": 1, "units": 3}}, 4, 2),
        "train it with units and value_size as they are by default",
    ),
    "queries that do not ask": (
        {
            "inputs": {"x": [4, 2], "seen": {"shape": [4], "dtype": "bool"}},
            "layers": [{"multi_head_attention": {"heads": 1, "query_mask": "seen", "from": "x"}}],
        },
        "'unseen: mean' is that, or leave the query_mask to what follows",
    ),
    "states at each step": (
        alone({"time_distributed": {"layer": {"lstm": {"units": 2, "return": "both"}}}}, 3, 4, 2),
        "Keras takes one: 'return: sequence' or last",
    ),
    "learned positions of any length": (
        alone({"positional_encoding": {"kind": "learned", "length": 6}}, None, 2),
        "the positions are constants in Keras, and an axis has any length",
    ),
    "positions of any length": (
        alone("positional_encoding", None, 2),
        "the positions are constants in Keras, and an axis has any length",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str, tmp_path: Path) -> None:
    description, told = REFUSED[name]
    assert told in refusal(description, tmp_path)


def test_all_at_once(tmp_path: Path, cli: Cli) -> None:
    """What the page shows; what follows a refused layer is looked at too."""
    layers = [
        {"locally_connected1d": {"filters": 4, "kernel": 2, "id": "places"}},
        {"layer_norm": {"id": "norm"}},
        {"multi_head_attention": {"heads": 2, "rotary": True, "id": "attended"}},
    ]
    drawn({"inputs": {"x": [5, 4]}, "layers": layers}).save(tmp_path / "places.cortex")
    said = cli("export", "keras", tmp_path / "places.cortex", "-o", tmp_path / "places.keras")
    assert said.code == 2
    assert said.err in PAGE.read_text(encoding="utf-8")
    assert [path.name for path in tmp_path.iterdir()] == ["places.cortex"]


@pytest.mark.usefixtures("own_registry")
def test_a_layer_of_your_own(tmp_path: Path) -> None:
    @cortex.layer("cubed")
    class Cubed:
        """x^3"""

        def forward(self, p: Any, x: Any) -> Any:
            return x**3

    told = "cubed (cubed): it is a layer of your own, which Keras does not know; write it as a block"
    assert told in refusal(alone("cubed", 4), tmp_path)


# The command


def test_command(tmp_path: Path, cli: Cli) -> None:
    network = drawn({**CASES["its numbers in another layer"], "name": "small"})
    network.save(tmp_path / "small.cortex")
    said = cli("export", "keras", tmp_path / "small.cortex", "-o", tmp_path / "small.keras", "--json", "-")
    assert said.code == 0
    data = json.loads(said.out)
    assert data["model"] == str(tmp_path / "small.keras")
    assert [f"note: {note}" for note in data["notes"]] == said.err.splitlines()[:2]
    assert len(data["notes"]) == 2


@pytest.mark.parametrize("name", ["model.h5", "model.onnx"])
def test_command_of_another_name(name: str, tmp_path: Path, cli: Cli) -> None:
    drawn(DENSE).save(tmp_path / "small.cortex")
    said = cli("export", "keras", tmp_path / "small.cortex", "-o", tmp_path / name)
    assert said.code == 2
    assert "expected a name that ends in .keras or .weights.h5" in said.err


def test_command_of_no_model(tmp_path: Path, cli: Cli) -> None:
    said = cli("export", "keras", tmp_path / "none.cortex", "-o", tmp_path / "model.keras")
    assert (said.code, said.out) == (2, "")
    assert "there is no such model" in said.err
