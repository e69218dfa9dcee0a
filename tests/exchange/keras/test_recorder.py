"""The script that records a model: it stands alone, and what it writes proves an import."""

from __future__ import annotations

import ast
import json
import re
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from cortex_core.exchange.keras import proof
from cortex_core.exchange.keras.imported import load
from cortex_core.exchange.keras.recorder import script
from cortex_core.exchange.keras.recording import Recording
from tests.conftest import Cli


@pytest.fixture
def record() -> ModuleType:
    """The script as a module."""
    made = ModuleType("record")
    exec(compile(script(), "record.py", "exec"), made.__dict__)
    return made


def test_the_command_prints_it(cli: Cli) -> None:
    assert cli("keras-recorder") == (0, script(), "")


def test_it_stands_alone() -> None:
    """Keras itself is found by name when the script runs."""
    tree = ast.parse(script())
    nodes = list(ast.walk(tree))
    imported = {a.name for node in nodes if isinstance(node, ast.Import) for a in node.names}
    assert imported == {"argparse", "importlib", "json", "os", "sys", "numpy"}
    assert {node.module for node in nodes if isinstance(node, ast.ImportFrom)} == {"__future__"}


def test_a_python_of_the_days_of_keras_1_reads_it() -> None:
    """No annotations and f-strings, nor other words that came later."""
    nodes = list(ast.walk(ast.parse(script(), feature_version=(3, 4))))
    assert not [node for node in nodes if isinstance(node, (ast.JoinedStr, ast.AnnAssign, ast.NamedExpr))]
    functions = [node for node in nodes if isinstance(node, ast.FunctionDef)]
    assert functions
    assert not [f for f in functions if f.returns or any(a.annotation for a in f.args.args)]
    assert not [f for f in functions if f.args.kwonlyargs or f.args.posonlyargs]


def test_what_it_tells_is_text_in_python_2_too(
    record: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There JSON is made of bytes, as NumPy has them."""
    x = np.ones((2, 3), "float32")
    run = SimpleNamespace(model=lambda *given: None, found={"layer/a/0/0": x}, left_out=[])
    monkeypatch.setattr(record, "Run", lambda library: run)
    monkeypatch.setattr(record, "with_calls", lambda model, library: model)
    monkeypatch.setattr(record, "random_inputs", lambda *given: [x])
    monkeypatch.setattr(record, "input_names", lambda model: ["x"])
    monkeypatch.setattr(record, "json", SimpleNamespace(dumps=lambda about: json.dumps(about).encode()))
    record.write(None, str(tmp_path / "r.npz"), library=SimpleNamespace(__version__="1.2.2"))
    assert Recording(tmp_path / "r.npz").about["keras"] == "1.2.2"


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (
            TypeError("Could not locate class 'A'.\nIt is not registered.\n"),
            "TypeError: Could not locate class 'A'.",
        ),
        (ValueError(), "ValueError: "),
    ],
)
def test_what_keras_cannot_load_is_told_in_one_line(
    record: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    error: Exception,
    told: str,
) -> None:
    def load_model(path: str, **options: Any) -> None:
        raise error

    keras = SimpleNamespace(__version__="3.15.1", models=SimpleNamespace(load_model=load_model))
    monkeypatch.setitem(sys.modules, "keras", keras)
    out, old = tmp_path / "recording.npz", tmp_path / "old.h5"
    monkeypatch.setattr(sys, "argv", ["record.py", str(old), str(out)])
    assert record.main() == 2
    assert capsys.readouterr().err == f"{old}: there is no such file\n"
    old.touch()
    assert record.main() == 2
    assert capsys.readouterr().err == (
        f"{old}: Keras 3.15.1 cannot load this file ({told}); record it where the version that wrote it is, "
        "or build the model in code and call record.write\n"
    )
    assert not out.exists()


def pretend(monkeypatch: pytest.MonkeyPatch, **inputs: tuple[tuple[int | None, ...], str]) -> None:
    """A library of Keras whose model has these inputs, of which nothing more is asked."""
    tensors = [SimpleNamespace(shape=shape, dtype=dtype) for shape, dtype in inputs.values()]
    call = SimpleNamespace()
    model = SimpleNamespace(inputs=tensors, input_names=[*inputs], layers=[], _nodes_by_depth={0: [call]})
    models = SimpleNamespace(load_model=lambda path, **_: model)
    monkeypatch.setitem(sys.modules, "keras", SimpleNamespace(models=models))


WRONG: dict[str, tuple[Any, str]] = {
    "absent.npz": (None, "absent.npz: No such file or directory"),
    "folder.npz": ("a folder", "folder.npz: Is a directory"),
    "text.npz": (b"x,y\n1,2\n", r"text\.npz: no .npz or .npy of numbers \(.*\); pickles are not read"),
    "cut.npz": (b"PK\x03\x04", r"cut\.npz: no .npz or .npy of numbers \(BadZipFile: .*\); pickles are"),
    "pickled.npy": (np.array([{}]), r"pickled\.npy: no .npz or .npy of numbers \(ValueError: Object arrays"),
    "pickled.npz": ({"x": np.array([{}]), "n": 1}, r"pickled\.npz: no .npz or .npy of numbers"),
    "one.npy": (np.ones((2, 3)), r"one array is given; the model takes \['x', 'n'\]: give an .npz by these"),
    "names.npz": ({"x": 1, "m": 1}, r"the inputs given are \['m', 'x'\]; the model takes \['x', 'n'\]"),
    "rank.npz": (
        {"x": np.ones((2, 3, 1)), "n": 1},
        r"'x' has the shape \(2, 3, 1\); the model takes \(any, 3\)",
    ),
    "size.npz": ({"x": np.ones((2, 4)), "n": 1}, r"'x' has the shape \(2, 4\); the model takes \(any, 3\)"),
    "text_in.npz": ({"x": np.full((2, 3), "a"), "n": 1}, "'x' is of the type <U1; the model takes numbers"),
    "nan.npz": ({"x": np.full((2, 3), np.nan), "n": 1}, "'x' holds NaN or infinity, which prove nothing"),
    "none.npz": ({"x": np.ones((0, 3)), "n": 1}, "input 'x' has no examples"),
    "half.npz": ({"x": np.ones((2, 3)), "n": np.full((2, 5), 0.5)}, "'n' holds numbers that are not whole"),
    "count.npz": (
        {"x": np.ones((2, 3)), "n": np.ones((4, 5))},
        r"different numbers of examples: \{'x': 2, 'n': 4\}",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_inputs_are_told_in_one_line(
    record: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    name: str,
) -> None:
    given, told = WRONG[name]
    monkeypatch.chdir(tmp_path)
    pretend(monkeypatch, x=((None, 3), "float32"), n=((None, 5), "int32"))
    Path("model.h5").touch()
    if isinstance(given, bytes):
        Path(name).write_bytes(given)
    elif isinstance(given, dict):
        np.savez(name, **given)
    elif isinstance(given, np.ndarray):
        np.save(name, given)
    elif given is not None:
        Path(name).mkdir()
    monkeypatch.setattr(sys, "argv", ["record.py", "model.h5", "out.npz", "--inputs", name])
    assert record.main() == 2
    said = capsys.readouterr()
    assert said.out == ""
    (line,) = said.err.splitlines()
    assert re.search(told, line), line
    assert not Path("out.npz").exists()


def test_a_place_that_cannot_be_written_is_told_in_one_line(
    record: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    pretend(monkeypatch, x=((None, 3), "float32"))
    Path("model.h5").touch()
    monkeypatch.setattr(sys, "argv", ["record.py", "model.h5", "absent/out.npz"])
    assert record.main() == 2
    assert capsys.readouterr().err == "absent/out.npz.partial: No such file or directory\n"


def two_towers() -> Any:
    """Two inputs, a nested model that is called twice, a shared layer, and arithmetic between layers."""
    import keras
    from keras import layers

    inner = [keras.Input((4,)), layers.Dense(3, activation="tanh", name="d1"), layers.Dense(2, name="d2")]
    tower = keras.Sequential(inner, name="tower")
    shared = layers.Dense(4, name="shared")
    tokens, numbers = keras.Input((6,), name="tokens"), keras.Input((4,), name="numbers")
    words = layers.Embedding(9, 4, name="words")(tokens)
    flat = layers.Flatten(name="flat")(words)
    first, second = shared(numbers), shared(layers.Dense(4, name="narrow")(flat))
    found = layers.Concatenate(name="all")([tower(first), tower(second + 1.0)])
    return keras.Model([tokens, numbers], layers.Dense(2, activation="softmax", name="out")(found))


@pytest.mark.peers
def test_what_it_records_proves_an_import(record: ModuleType, tmp_path: Path) -> None:
    model = two_towers()
    made = record.write(model, str(tmp_path / "recording.npz"), examples=3)
    assert made["input/tokens"].shape == (3, 6)
    assert set(np.unique(made["input/tokens"])) <= set(range(9))
    x = {name: made[f"input/{name}"] for name in ("tokens", "numbers")}
    np.testing.assert_allclose(made["layer/out/0/0"], model.predict(x, verbose=0), atol=1e-6)
    np.testing.assert_allclose(made["layer/tower/d2/1/0"], made["layer/tower/1/0"], atol=1e-6)
    assert np.abs(made["layer/shared/0/0"] - made["layer/shared/1/0"]).max() > 0.01
    recording = Recording(tmp_path / "recording.npz")
    assert recording.about["backend"] == "jax"
    assert recording.left_out == ()
    for name in ("model.keras", "model.h5"):
        model.save(tmp_path / name)
        found = proof.compare(load(tmp_path / name), recording)
        assert found.verdict == proof.PROVED, str(found)
        assert len(found.rows) == len(recording.layers) + 1


@pytest.mark.peers
def test_a_sequential_that_knows_no_calls(record: ModuleType, tmp_path: Path) -> None:
    """As those of tf.keras 2.0 and 2.1 that no Input begins; other models without calls are refused."""
    import keras
    from keras import layers

    model = keras.Sequential([layers.Dense(4, name="a"), layers.Dense(2, name="b")])
    model.build((None, 3))
    right = model.predict(np.ones((2, 3), "float32"), verbose=0)
    model._functional, model._build_input_shape = None, (None, 3)
    made = record.write(model, str(tmp_path / "r.npz"), {"a_input": np.ones((2, 3), "float32")})
    np.testing.assert_allclose(made["layer/b/0/0"], right, atol=1e-6)
    model._build_input_shape = None
    with pytest.raises(record.Refused, match="its layers cannot be seen"):
        record.write(model, str(tmp_path / "other.npz"))
    assert not (tmp_path / "other.npz").exists()


@pytest.mark.peers
def test_it_runs_as_a_program(
    record: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import keras
    from keras import layers

    body = [keras.Input((None, None, 2), name="x"), layers.Conv2D(3, 3, name="conv")]
    model = keras.Sequential([*body, layers.GlobalAveragePooling2D(name="mean")])
    model.save(tmp_path / "model.keras")
    np.savez(tmp_path / "given.npz", x=np.ones((2, 5, 7, 2), np.float32))
    out = tmp_path / "recording.npz"
    for options, shape in (([], (4, 64, 64, 2)), (["--inputs", str(tmp_path / "given.npz")], (2, 5, 7, 2))):
        monkeypatch.setattr(sys, "argv", ["record.py", str(tmp_path / "model.keras"), str(out), *options])
        assert not record.main()
        assert capsys.readouterr().out == f"{out}: 2 values of layers\n"
        recording = Recording(out)
        assert recording.inputs["x"].shape == shape
        assert proof.compare(load(tmp_path / "model.keras"), recording).first is None
    with pytest.raises(ValueError, match="the model takes"):
        record.write(model, str(out), {"y": np.ones((2, 5, 7, 2))})


@pytest.mark.peers
@pytest.mark.filterwarnings("ignore:Layer 'inner'.*does not support masking")
def test_the_inside_of_a_model_that_is_called_with_a_mask_is_left_out(
    record: ModuleType, tmp_path: Path
) -> None:
    import keras
    from keras import layers

    inner = keras.Sequential([keras.Input((None, 4)), layers.LSTM(3, name="lstm")], name="inner")
    words = layers.Embedding(9, 4, mask_zero=True, name="words")
    tokens = keras.Input((5,), name="tokens")
    model = keras.Model(tokens, layers.Dense(2, name="out")(inner(words(tokens))))
    made = record.write(model, str(tmp_path / "recording.npz"))
    assert Recording(tmp_path / "recording.npz").left_out == ("inner",)
    assert "layer/inner/0/0" in made
    assert "layer/inner/lstm/0/0" not in made


def masked(first: list[Any]) -> Any:
    """A Sequential whose LSTM takes a mask, which Keras 3 makes by operations that it does not save."""
    import keras
    from keras import layers

    last = [layers.LSTM(3, name="lstm"), layers.Dense(2, name="out")]
    return keras.Sequential([*first, *last])


@pytest.mark.peers
@pytest.mark.parametrize("kind", ["Embedding", "Masking"])
@pytest.mark.parametrize("file", ["model.keras", "model.h5"])
def test_a_masked_sequential_is_proved(record: ModuleType, tmp_path: Path, kind: str, file: str) -> None:
    import keras
    from keras import layers

    words = [keras.Input((6,), name="x"), layers.Embedding(9, 4, mask_zero=True, name="words")]
    numbers = [keras.Input((6, 4), name="x"), layers.Masking(name="steps")]
    masked(words if kind == "Embedding" else numbers).save(tmp_path / file)
    model = keras.models.load_model(tmp_path / file, compile=False)
    x = np.random.default_rng(0).integers(1, 9, (4, 6) if kind == "Embedding" else (4, 6, 4))
    x[1:3, 4:] = 0
    made = record.write(model, str(tmp_path / "recording.npz"), x.astype("float32"))
    layers_ = [layer.name for layer in model.layers]
    assert [key for key in made if key.startswith("layer/")] == [f"layer/{name}/0/0" for name in layers_]
    found = proof.compare(load(tmp_path / file), Recording(tmp_path / "recording.npz"))
    assert found.verdict == proof.PROVED, str(found)
    assert found.compared == (3, 3)
