"""``cortex import keras``: what it writes and prints, and that it writes nothing where something is wrong."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import pytest

import cortex
from cortex_compute.errors import ArgumentError
from cortex_core.check import check
from tests.conftest import Cli
from tests.exchange.keras.handmade import numbered_bytes, save_named, save_numbered, weights_of
from tests.keras_file import LAYERS, forward, weights, write_model, write_recording

SWISH = {"class_name": "Lambda", "config": {"name": "swish", "function": ["x", None, None]}}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    write_model(tmp_path / "model.h5")
    return tmp_path / "model.h5"


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    write_recording(tmp_path / "recording.npz")
    return tmp_path / "recording.npz"


UNPROVED = """\
layer   of Keras  output
------  --------  ------  --------
hidden  Dense     4       unproved
out     Dense     2       unproved
{}: unproved
"""


def test_without_a_recording_it_is_unproved(cli: Cli, model: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "net.cortex"
    assert cli("import", "keras", model, "-o", out) == (0, UNPROVED.format(out), "")
    assert sorted(p.name for p in out.parent.iterdir()) == ["net.cortex", "net.report.json", "net.yaml"]
    network = cortex.load(out)
    x = np.ones((2, 3), np.float32)
    np.testing.assert_allclose(network.predict(x), forward(x)[1], rtol=1e-5)
    assert network.origin == {"file": "model.h5 (Keras 2.9.0)", "proof": "unproved"}
    assert network.summary().endswith("imported from model.h5 (Keras 2.9.0): unproved")
    report = json.loads((out.parent / "net.report.json").read_text())
    assert (report["verdict"], report["file"]) == ("unproved", "model.h5 (Keras 2.9.0)")
    text = (out.parent / "net.yaml").read_text()
    assert text.startswith("# Imported from model.h5 (Keras 2.9.0): unproved.\ncortex: 1\n")
    assert check(out.parent / "net.yaml").problems == ()
    assert cortex.network(out.parent / "net.yaml").description.canonical == network.description.canonical


def test_a_recording_proves_it(cli: Cli, model: Path, recording: Path, tmp_path: Path) -> None:
    out = tmp_path / "net.cortex"
    said = cli("import", "keras", model, "--outputs", recording, "-o", out)
    assert (said.code, said.err) == (0, "")
    *rows, last = said.out.splitlines()[2:]
    assert [(row.split()[0], row.split()[-1]) for row in rows[:2]] == [
        ("hidden", "agrees"),
        ("out", "agrees"),
    ]
    assert rows[2].startswith("prediction out")
    assert last == f"{out}: proved: 2 of 2 layers within 1e-6 of Keras, on 4 examples"
    assert cortex.load(out).origin["proof"].startswith("proved: ")
    report = json.loads((tmp_path / "net.report.json").read_text())
    assert (report["verdict"], report["first_departing"]) == ("proved", None)
    assert [row["layer"] for row in report["layers"]] == ["hidden", "out", "prediction out"]
    assert report["layers"][0]["relative"] < 1e-5


def test_the_first_layer_that_departs_is_named(
    cli: Cli, model: Path, recording: Path, tmp_path: Path
) -> None:
    write_recording(recording, wrong=0.001)
    out = tmp_path / "net.cortex"
    said = cli("import", "keras", model, "--outputs", recording, "-o", out, "--json", "-")
    assert said.code == 1
    assert said.err.splitlines()[-1] == f"{out}: departs from Keras, first at out"
    assert json.loads(said.out)["first_departing"] == "out"
    assert cortex.load(out).origin["proof"] == "departs from Keras, first at out"
    assert cli("import", "keras", model, "--outputs", recording, "-o", out, "--tolerance", 0.1).code == 0


def test_the_origin_stays_when_it_is_saved_again(cli: Cli, model: Path, tmp_path: Path) -> None:
    cortex.from_keras(model).save(tmp_path / "a.cortex")
    cortex.load(tmp_path / "a.cortex").save(tmp_path / "b.cortex")
    assert cortex.load(tmp_path / "b.cortex").origin["proof"] == "unproved"


def test_what_the_command_imports_tells_its_notes_too(cli: Cli, tmp_path: Path) -> None:
    write_model(tmp_path / "model.h5", LAYERS, training={"loss": "poisson"})
    code, _, told = cli("import", "keras", tmp_path / "model.h5", "-o", tmp_path / "net.cortex")
    (note,) = cortex.load(tmp_path / "net.cortex").origin["notes"]
    assert (code, told) == (0, f"note: {note}\n")
    assert "'poisson'" in note


def test_what_python_imports_tells_its_notes_also_from_a_file(tmp_path: Path) -> None:
    """As the command line does."""
    bound = {"class_name": "MyBound", "config": {}}
    hidden = {"class_name": "Dense", "config": {**LAYERS[1]["config"], "kernel_constraint": bound}}
    write_model(tmp_path / "model.h5", layers=[LAYERS[0], hidden, LAYERS[2]])
    network = cortex.from_keras(tmp_path / "model.h5")
    (note,) = network.origin["notes"]
    assert "MyBound" in note
    assert network.summary().endswith(f"unproved\nnote: {note}")
    network.save(tmp_path / "a.cortex")
    assert cortex.load(tmp_path / "a.cortex").summary().endswith(f"unproved\nnote: {note}")


@pytest.mark.parametrize(("trained", "anew"), [(True, "; the optimizer starts anew"), (False, "")])
def test_given_weights_win_over_those_of_the_model_and_a_note_says_so(
    cli: Cli, tmp_path: Path, trained: bool, anew: str
) -> None:
    """The state of some other training is none of this one's, and not even looked at."""
    model, other = tmp_path / "model.h5", tmp_path / "other.h5"
    write_model(model, training=COMPILED)
    save_named(other, {"hidden": weights_of("hidden", 3, 4), "out": weights_of("out", 4, 2)})
    for path in (model, other) if trained else (other,):
        with h5py.File(path, "r+") as file:
            state = file.create_group("optimizer_weights")
            state.attrs["weight_names"] = [b"Adam/iterations:0", b"Adam/m:0"]
            state["Adam/iterations:0"], state["Adam/m:0"] = 7, np.ones(5)
    code, _, told = cli("import", "keras", model, "--weights", other, "-o", tmp_path / "net.cortex")
    note = f"other.h5: the weights are those of this file, not of model.h5{anew}"
    assert (code, told) == (0, f"note: {note}\n")
    network = cortex.load(tmp_path / "net.cortex")
    assert network.origin["file"] == "model.h5, other.h5 (Keras 2.9.0)"
    np.testing.assert_array_equal(network.parameters["out/logits/kernel"], np.arange(8).reshape(4, 2))


def test_weights_of_an_architecture_are_no_news(tmp_path: Path, model: Path) -> None:
    with h5py.File(model) as file:
        (tmp_path / "model.json").write_text(file.attrs["model_config"])
    network = cortex.from_keras(tmp_path / "model.json", model)
    assert network.origin == {"file": "model.json, model.h5 (Keras 2.9.0)", "proof": "unproved"}
    assert "notes" not in cortex.from_keras(model, model).origin


@pytest.mark.parametrize("by_number", [True, False])
def test_where_no_file_says_the_version_a_note_tells_which_is_taken(tmp_path: Path, by_number: bool) -> None:
    """Groups by classes and numbers came with 2.12."""
    config = {"class_name": "Sequential", "config": {"name": "sequential", "layers": [*LAYERS]}}
    (tmp_path / "model.json").write_text(json.dumps(config))
    path = tmp_path / "model.weights.h5"
    held, groups = weights(), {"hidden": "dense", "out": "dense_1"}
    if by_number:
        names = {f"layers/{groups[layer]}/vars/{n}": held[f"{layer}/{part}"] for layer, n, part in PARTS}
        path.write_bytes(numbered_bytes(names))
    else:
        named = {"hidden": weights_of("hidden", 3, 4), "out": weights_of("out", 4, 2)}
        save_named(path, named, version="")
    network = cortex.from_keras(tmp_path / "model.json", path)
    told = f"it is read as one of Keras {'2.12.0' if by_number else '1'}"
    assert network.origin["notes"] == [f"model.weights.h5: no version of Keras is said; {told}"]
    assert network.origin["file"] == "model.json, model.weights.h5"


PARTS = [(layer, n, part) for layer in ("hidden", "out") for n, part in enumerate(("kernel", "bias"))]


def test_a_proof_is_of_the_weights_as_they_were_imported(recording: Path, tmp_path: Path) -> None:
    """Whatever trains the network on, and wherever it is written."""
    write_model(tmp_path / "model.h5", training=COMPILED)
    network = cortex.from_keras(tmp_path / "model.h5", outputs=recording)
    proof = "proved: 2 of 2 layers within 1e-6 of Keras, on 4 examples"
    program = cortex.compile(network, batch_size=4)
    network.predict(np.ones((4, 3), np.float32))
    assert network.origin["proof"] == proof
    for _ in range(2):
        program.run({"x": np.ones((4, 3), np.float32), "target": np.arange(4) % 2})
    assert network.origin["proof"] == f"{proof}; trained since"
    network.save(tmp_path / "trained.cortex")
    told = cortex.load(tmp_path / "trained.cortex").summary()
    assert told.endswith(f"imported from model.h5 (Keras 2.9.0): {proof}; trained since")


def test_a_recording_proves_it_in_python(model: Path, recording: Path) -> None:
    network = cortex.from_keras(model, outputs=recording)
    proof = "proved: 2 of 2 layers within 1e-6 of Keras, on 4 examples"
    assert network.origin["proof"] == proof
    assert network.summary().endswith(f"imported from model.h5 (Keras 2.9.0): {proof}")


def test_python_is_warned_of_what_departs(model: Path, recording: Path) -> None:
    write_recording(recording, wrong=0.001)
    with pytest.warns(UserWarning, match=r"model.h5: departs from Keras, first at out$") as caught:
        network = cortex.from_keras(model, outputs=recording)
    assert caught[0].filename == __file__
    assert network.origin["proof"] == "departs from Keras, first at out"
    assert cortex.from_keras(model, outputs=recording, tolerance=0.1).origin["proof"].startswith("proved")


@pytest.mark.parametrize("tolerance", [0.0, -1.0, np.nan, np.inf])
def test_wrong_tolerances_in_python(model: Path, recording: Path, tolerance: float) -> None:
    with pytest.raises(ArgumentError, match=f"tolerance {tolerance:g}: expected a number above 0"):
        cortex.from_keras(model, outputs=recording, tolerance=tolerance)
    with pytest.raises(ArgumentError, match="a tolerance is for recorded outputs"):
        cortex.from_keras(model, tolerance=0.1)


def test_what_a_file_says_stays_on_its_line(cli: Cli, tmp_path: Path) -> None:
    """The description begins with a comment that holds the version and the name of the file."""
    write_model(tmp_path / "a\nb.h5")
    with h5py.File(tmp_path / "a\nb.h5", "r+") as file:
        for place in (file, file["model_weights"]):
            place.attrs["keras_version"] = "2.9.0\noutputs: []"
    assert cli("import", "keras", tmp_path / "a\nb.h5", "-o", tmp_path / "net.cortex").code == 0
    first, second, *_ = (tmp_path / "net.yaml").read_text().splitlines()
    assert first == r"# Imported from 'a\nb.h5' (Keras '2.9.0\noutputs: []'): unproved."
    assert second == "cortex: 1"


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("my model (1)", "my_model__1_"),
        ("über", "_ber"),
        ("-x", "x"),
        ("...", "network"),
        ("y" * 200, "y" * 100),
    ],
)
def test_a_file_may_have_any_name(cli: Cli, tmp_path: Path, file: str, name: str) -> None:
    write_model(tmp_path / f"{file}.h5")
    assert cli("import", "keras", tmp_path / f"{file}.h5", "-o", tmp_path / "net.cortex").code == 0
    assert cortex.network(tmp_path / "net.yaml").description.name == name
    shown = f"{file}.h5" if len(file) < 200 else f"{file[:197]}..."
    assert cortex.load(tmp_path / "net.cortex").origin["file"] == f"{shown} (Keras 2.9.0)"


def test_of_two_files_with_long_names_both_are_told(tmp_path: Path) -> None:
    model, other = (tmp_path / f"{letter * 220}.h5" for letter in "mw")
    write_model(model)
    save_named(other, {"hidden": weights_of("hidden", 3, 4), "out": weights_of("out", 4, 2)})
    told = f"{'m' * 197}..., {'w' * 197}... (Keras 2.9.0)"
    assert cortex.from_keras(model, other).origin["file"] == told


COMPILED = {
    "loss": "sparse_categorical_crossentropy",
    "optimizer_config": {"class_name": "Adam", "config": {"learning_rate": 0.009999999776482582}},
}


def test_it_is_trained_as_it_was(cli: Cli, tmp_path: Path) -> None:
    """The file has the loss and the optimiser; numbers are as short as float32 knows them."""
    write_model(tmp_path / "model.h5", training=COMPILED)
    out = tmp_path / "net.cortex"
    assert cli("import", "keras", tmp_path / "model.h5", "-o", out).code == 0
    text = (tmp_path / "net.yaml").read_text()
    assert "  - softmax_cross_entropy: {of: out, target: target}\n" in text
    assert "  optimizer: {adam: {learning_rate: 0.01, epsilon: 1.0e-07, epsilon_hat: true}}\n" in text
    network = cortex.load(out)
    x = np.random.default_rng(0).normal(size=(99, 3)).astype(np.float32)
    np.testing.assert_allclose(network.predict(x), forward(x)[1], rtol=1e-4)
    np.savez(tmp_path / "data.npz", x=x, target=np.arange(99) % 2)
    assert cli("train", out, f"train.data={tmp_path / 'data.npz'}", "--out", tmp_path / "run").code == 0
    trained = cortex.load(tmp_path / "run")
    assert 0 < np.abs(trained.parameters["out/logits/kernel"] - weights()["out/kernel"]).max() < 0.1
    assert trained.origin == {"file": "model.h5 (Keras 2.9.0)", "proof": "unproved; trained since"}


def test_a_recording_proves_what_has_a_loss(cli: Cli, recording: Path, tmp_path: Path) -> None:
    """The loss takes the softmax off its layer; what the layer gives is as before."""
    write_model(tmp_path / "model.h5", training=COMPILED)
    said = cli(
        "import", "keras", tmp_path / "model.h5", "--outputs", recording, "-o", tmp_path / "net.cortex"
    )
    assert said.code == 0
    assert said.out.splitlines()[-1].endswith("proved: 2 of 2 layers within 1e-6 of Keras, on 4 examples")


@pytest.mark.parametrize("loss", ["SparseCategoricalCrossentropy", "BinaryCrossentropy"])
def test_a_note_says_that_predict_gives_probabilities_of_logits(tmp_path: Path, loss: str) -> None:
    """Keras gives the logits, as with `raw`; of a model that ends in softmax both are the same: no note."""
    linear = {"class_name": "Dense", "config": {**LAYERS[2]["config"], "activation": "linear"}}
    training = {"loss": {"class_name": loss, "config": {"from_logits": True}}}
    write_model(tmp_path / "model.h5", [*LAYERS[:2], linear], training)
    network = cortex.from_keras(tmp_path / "model.h5")
    told = "predict gives probabilities; predict(x, raw=True) gives what Keras predicts, the logits"
    assert network.origin["notes"] == [f"out: {told}"]
    x, w = np.ones((2, 3), np.float32), weights()
    logits = forward(x)[0] @ w["out/kernel"] + w["out/bias"]
    np.testing.assert_allclose(network.predict(x, raw=True), logits, rtol=1e-5)
    assert np.all(network.predict(x) < 1)
    assert np.abs(network.predict(x) - logits).max() > 0.1
    write_model(tmp_path / "model.h5", training=COMPILED)
    assert "notes" not in cortex.from_keras(tmp_path / "model.h5").origin


TRAINED = """\
loss:
  softmax_cross_entropy: {of: out, target: y}
train:
  data: data.npz
  epochs: 1
"""


def test_what_lacks_a_loss_gets_one_in_the_description(cli: Cli, model: Path, tmp_path: Path) -> None:
    """It takes the same weights again, and is trained."""
    np.savez(tmp_path / "data.npz", x=np.random.default_rng(0).normal(size=(99, 3)), y=np.arange(99) % 2)
    assert cli("import", "keras", model, "-o", tmp_path / "net.cortex").code == 0
    spec, out = tmp_path / "net.yaml", tmp_path / "again.cortex"
    spec.write_text(spec.read_text() + TRAINED)
    said = cli("import", "keras", spec, "--weights", model, "-o", out)
    assert (said.code, said.err) == (0, "")
    x = np.ones((2, 3), np.float32)
    np.testing.assert_allclose(cortex.load(out).predict(x), forward(x)[1], rtol=1e-5)
    assert cli("train", out, f"train.data={tmp_path / 'data.npz'}", "--out", tmp_path / "run").code == 0
    trained = cortex.load(tmp_path / "run").parameters["out/logits/kernel"]
    assert 0 < np.abs(trained - weights()["out/kernel"]).max() < 0.1


def with_state(path: Path, archive: bool) -> None:
    """A model, and the state of its optimizer, in HDF5 or in an archive."""
    if archive:
        names = {"hidden": "layers/dense", "out": "layers/dense_1"}
        arrays = {
            f"{names[layer]}/vars/{n}": weights()[f"{layer}/{part}"]
            for layer in names
            for n, part in enumerate(("kernel", "bias"))
        }
        config = {"class_name": "Sequential", "config": {"name": "sequential", "layers": [*LAYERS]}}
        save_numbered(path, config, arrays | {"optimizer/vars/0": np.array(7)})
        return
    write_model(path)
    with h5py.File(path, "r+") as file:
        file["optimizer_weights/Adam/iterations:0"] = 7


@pytest.mark.parametrize("name", ["whole.h5", "whole.keras"])
def test_a_description_takes_no_state_of_an_optimizer_and_a_note_says_so(
    cli: Cli, model: Path, tmp_path: Path, name: str
) -> None:
    assert cli("import", "keras", model, "-o", tmp_path / "net.cortex").code == 0
    with_state(tmp_path / name, archive=name.endswith("keras"))
    spec, out = tmp_path / "net.yaml", tmp_path / "again.cortex"
    said = cli("import", "keras", spec, "--weights", tmp_path / name, "-o", out)
    note = f"{name}: it holds the state of an optimizer, which starts anew"
    assert (said.code, said.err) == (0, f"note: {note}\n")
    assert cortex.load(out).origin["notes"] == [note]
    x = np.ones((2, 3), np.float32)
    np.testing.assert_allclose(cortex.load(out).predict(x), forward(x)[1], rtol=1e-5)


def test_a_description_that_is_imported_stays_as_it_is(cli: Cli, model: Path, tmp_path: Path) -> None:
    assert cli("import", "keras", model, "-o", tmp_path / "net.cortex").code == 0
    spec = tmp_path / "net.yaml"
    written = "# Mine.\n" + spec.read_text()
    spec.write_text(written)
    (tmp_path / "net.cortex").unlink()
    said = cli("import", "keras", spec, "--weights", model, "-o", tmp_path / "net.cortex")
    assert (said.code, said.err) == (0, "")
    assert spec.read_text() == written
    assert (tmp_path / "net.cortex").exists()


def test_a_description_that_was_changed_is_not_written_over(
    cli: Cli, model: Path, recording: Path, tmp_path: Path
) -> None:
    """The same once more, with another proof, is written; a loss or a comment of one's own is never lost."""
    importing = ["import", "keras", model, "-o", tmp_path / "net.cortex"]
    spec = tmp_path / "net.yaml"
    assert cli(*importing).code == 0
    written = spec.read_text()
    assert cli(*importing, "--outputs", recording).code == 0
    assert spec.read_text().partition("\n")[0].endswith("on 4 examples.")
    assert cli(*importing).code == 0
    assert spec.read_text() == written
    before = {p.name: p.stat().st_mtime_ns for p in tmp_path.glob("net*")}
    for mine in (written + TRAINED, "# Mine.\n" + written.partition("\n")[2], "notes: ü\n", ""):
        spec.write_text(mine, encoding="utf-8")
        before["net.yaml"] = spec.stat().st_mtime_ns
        said = cli(*importing)
        assert (said.code, said.out) == (2, "")
        told = "net.yaml is there and was changed, or is of another model: give another name, or remove it"
        assert told in " ".join(said.err.split())
        assert {p.name: p.stat().st_mtime_ns for p in tmp_path.glob("net*")} == before
        assert spec.read_text(encoding="utf-8") == mine


def unwritten(folder: Path) -> bool:
    return not list(folder.glob("*net*"))


def test_nothing_is_written_where_something_is_wrong(
    cli: Cli, model: Path, recording: Path, tmp_path: Path
) -> None:
    out = tmp_path / "net.cortex"
    said = cli("import", "keras", tmp_path / "other.h5", "-o", out)
    assert said.code == 2
    assert "other.h5" in said.err
    said = cli("import", "keras", model, "--outputs", model, "-o", out)
    assert said.code == 2
    assert "this is no recording of a Keras model" in said.err
    with h5py.File(model, "r+") as file:
        del file["model_weights/out/out/bias:0"]
    said = cli("import", "keras", model, "--outputs", recording, "-o", out)
    assert said.code == 2
    assert unwritten(tmp_path)


def test_all_three_files_or_none(cli: Cli, model: Path, tmp_path: Path) -> None:
    out = tmp_path / "net.cortex"
    (tmp_path / "net.report.json").mkdir()
    (tmp_path / "net.report.json" / "in the way").touch()
    said = cli("import", "keras", model, "-o", out)
    assert said.code == 2
    assert "net.report.json: cannot be written" in said.err
    assert sorted(p.name for p in tmp_path.glob("*net*")) == ["net.report.json"]


def test_wrong_arguments(cli: Cli, model: Path, tmp_path: Path) -> None:
    assert "ends in .cortex" in cli("import", "keras", model, "-o", tmp_path / "net.h5").err
    out = tmp_path / "net.cortex"
    assert "expected NAME=block.yaml" in cli("import", "keras", model, "--map", "Lambda", "-o", out).err
    (tmp_path / "net.yaml").write_text("cortex: 1\n")
    said = cli("import", "keras", tmp_path / "net.yaml", "-o", out)
    assert said.code == 2
    assert "give the file of its weights (--weights, in Python weights=)" in said.err


WRONG: list[tuple[list[str], str]] = [
    (["--tolerance", "nan", "--outputs", "recording.npz"], "nan: expected a number above 0"),
    (["--tolerance", "inf", "--outputs", "recording.npz"], "inf: expected a number above 0"),
    (["--tolerance", "-1", "--outputs", "recording.npz"], "-1: expected a number above 0"),
    (["--tolerance", "0.1"], "a tolerance is for recorded outputs (--outputs, in Python outputs=)"),
    (["--outputs", "folder"], "folder: cannot be read: Is a directory"),
    (["--outputs", "other.npz"], "other.npz: cannot be read: No such file"),
    (["--weights", "other.h5"], "other.h5: No such file"),
    (["--weights", "folder"], "folder: is a folder"),
    (["--map", "x=a.yaml", "--map", "x=b.yaml"], "x is mapped twice, to a.yaml and b.yaml"),
    (["--map", "x=folder"], "folder: Is a directory; expected the YAML file of a block"),
    (["--map", "x=silu"], "silu: No such file or directory; expected the YAML file of a block"),
    (
        ["--map", "x=pic.png"],
        "pic.png: this is no text, but a binary file; expected the YAML file of a block",
    ),
    (["--map", "x=latin.yaml"], "latin.yaml:1:4: byte 0xe4 is not UTF-8"),
    (["--map", "x=no_block.yaml"], "no_block.yaml: expected 'layers'"),
    (["--map", "x=block.yaml"], "no layer or class of the model is called x"),
    (["--json", "folder"], "folder: cannot be written"),
    (["--json", "model.h5"], "model.h5 is read, and would be written: give another name"),
    (["--json", "./net.cortex"], "net.cortex would be written twice: give another name"),
    (["--json", "net.yaml"], "net.yaml would be written twice: give another name"),
]


@pytest.mark.parametrize(("options", "told"), WRONG, ids=range(len(WRONG)))
def test_wrong_options_write_nothing(
    cli: Cli,
    model: Path,
    recording: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    options: list[str],
    told: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "block.yaml").write_text("layers: [silu]\n")
    (tmp_path / "no_block.yaml").write_text("cortex: 1\n")
    (tmp_path / "pic.png").write_bytes(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR")
    (tmp_path / "latin.yaml").write_bytes("#  ä".encode("latin-1"))
    said = cli("import", "keras", "model.h5", *options, "-o", "net.cortex")
    assert said.code == 2
    assert told in " ".join(said.err.split())
    assert unwritten(tmp_path)


@pytest.mark.parametrize("read", ["net.cortex", "net.yaml", "net.report.json"])
def test_what_is_read_is_not_written(
    cli: Cli, model: Path, recording: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read: str
) -> None:
    """Whatever a file is called: the model, its weights, a recording or a block."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "block.yaml").write_text("layers: [silu]\n")
    write_model(tmp_path / "two.h5", [*LAYERS[:2], SWISH, LAYERS[2]])
    for name, arguments in {
        "model.h5": [read],
        "recording.npz": ["model.h5", "--outputs", read],
        "block.yaml": ["two.h5", "--map", f"swish={read}"],
    }.items():
        if (name, read) == ("model.h5", "net.yaml"):
            continue  # a description may be imported again
        content = (tmp_path / name).read_bytes()
        (tmp_path / read).write_bytes(content)
        said = cli("import", "keras", *arguments, "-o", tmp_path / "net.cortex")
        assert said.code == 2
        assert "is read, and would be written: give another name" in " ".join(said.err.split())
        assert [(p.name, p.read_bytes()) for p in tmp_path.glob("*net*")] == [(read, content)]


def test_an_interrupt_leaves_nothing(
    cli: Cli, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("os.fsync", interrupted)
    assert cli("import", "keras", model, "-o", tmp_path / "net.cortex").code == 130
    assert unwritten(tmp_path)


def test_outputs_that_are_not_recorded_prove_nothing(
    cli: Cli, model: Path, recording: Path, tmp_path: Path
) -> None:
    """Of a description those layers are compared that have the same name."""
    assert cli("import", "keras", model, "-o", tmp_path / "net.cortex").code == 0
    with np.load(recording) as arrays:
        np.savez(recording, **{key.replace("out", "other"): array for key, array in arrays.items()})
    again = ["import", "keras", tmp_path / "net.yaml", "--weights", model, "-o", tmp_path / "again.cortex"]
    said = cli(*again, "--outputs", recording)
    assert said.code == 1
    assert "unproved: prediction out is not recorded; 1 of 2 layers within 1e-6" in said.out
