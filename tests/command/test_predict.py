"""``cortex predict``: what it reads and what it writes."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import cortex
from tests.conftest import Cli

FLOWERS = np.random.default_rng(0).normal(size=(30, 4)).astype(np.float32)


@pytest.fixture
def expected(iris_run: Path) -> np.ndarray:
    """The probabilities by another way: matrices in float64."""
    p = {n: a.astype(np.float64) for n, a in cortex.load(iris_run / "model.cortex").parameters.items()}
    hidden = np.tanh(FLOWERS @ p["dense/kernel"] + p["dense/bias"])
    logits = hidden @ p["kind/kernel"] + p["kind/bias"]
    e = np.exp(logits - logits.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("kind", ["npy", "npz", "csv", "header.csv"])
@pytest.mark.parametrize("out", ["npy", "npz", "csv"])
def test_reads_and_writes(
    cli: Cli, iris_run: Path, tmp_path: Path, expected: np.ndarray, kind: str, out: str
) -> None:
    path, target = tmp_path / f"in.{kind}", tmp_path / f"out.{out}"
    if kind == "npy":
        np.save(path, FLOWERS)
    elif kind == "npz":
        np.savez(path, features=FLOWERS)
    else:
        header = "a,b,c,d" if "header" in kind else ""
        np.savetxt(path, FLOWERS, delimiter=",", header=header, comments="")
    assert cli("predict", iris_run / "model.cortex", path, "--out", target).code == 0
    if out == "csv":
        assert target.read_text().splitlines()[0] == "kind.0,kind.1,kind.2"
        found = np.loadtxt(target, delimiter=",", skiprows=1)
    else:
        found = np.load(target) if out == "npy" else np.load(target)["kind"]
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_the_table_names_classes(cli: Cli, iris_run: Path, tmp_path: Path, expected: np.ndarray) -> None:
    np.save(tmp_path / "in.npy", FLOWERS)
    lines = cli("predict", iris_run, tmp_path / "in.npy").out.splitlines()
    names = np.array(["setosa", "versicolor", "virginica"])[expected.argmax(axis=1)]
    assert lines[0].split() == ["example", "kind", "probability"]
    assert [line.split()[1] for line in lines[2:22]] == list(names[:20])
    assert lines[22].startswith("... and 10 more")


IMAGE_NET = "inputs: {image: [4, 6, CHANNELS]}\nlayers: [global_avg_pool2d]\n"


@pytest.mark.parametrize("channels", [1, 3])
def test_pictures(cli: Cli, tmp_path: Path, channels: int) -> None:
    (tmp_path / "net.yaml").write_text(IMAGE_NET.replace("CHANNELS", str(channels)))
    cortex.network(tmp_path / "net.yaml").save(tmp_path / "net.cortex")
    folder = tmp_path / "pictures"
    folder.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (2, 4, 6, channels), dtype=np.uint8)
    for i in (0, 1):
        Image.fromarray(pixels[i].squeeze()).save(folder / f"{i}.png")
    assert cli("predict", tmp_path / "net.cortex", folder, "--out", tmp_path / "o.npy").code == 0
    np.testing.assert_allclose(np.load(tmp_path / "o.npy"), pixels.mean(axis=(1, 2)) / 255, atol=1e-6)
    said = cli("predict", tmp_path / "net.cortex", folder / "1.png")
    assert "1.png" in said.out
    Image.new("L", (9, 9)).save(tmp_path / "other.png")
    said = cli("predict", tmp_path / "net.cortex", tmp_path / "other.png")
    assert said.code == 2
    assert "is 9 x 9, the network takes 4 x 6" in said.err


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("nowhere.npy", None, "there is no such file"),
        ("in.txt", b"1,2,3,4", "expected .npy, .npz, .csv, .png or a folder of .png"),
        ("in.npy", b"\x93NUMPY no", "damaged"),
        ("in.npz", b"PK no", "damaged"),
        ("in.csv", b"1,2,3,4\n1,2,x,4\n", "in.csv:2: expected numbers"),
        ("in.csv", b"1,2,3,4\n1,2,3\n", "in.csv:2: has 3 columns, the lines before have 4"),
        ("in.csv", b"1,2,3\n", "in.csv: has 3 columns, the network takes [4] per line"),
        ("in.csv", b"1,2,3,nan\n", "example 0 holds NaN or infinity"),
        ("in.png", b"\x89PNG no", "no picture"),
    ],
)
def test_wrong_input(
    cli: Cli, iris_run: Path, tmp_path: Path, name: str, content: bytes | None, expected: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    said = cli("predict", iris_run, tmp_path / name)
    assert (said.code, said.out) == (2, "")
    assert expected in said.err


def test_a_pickle_is_not_loaded(cli: Cli, iris_run: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "in.npy", np.array([{"a": 1}], object), allow_pickle=True)
    said = cli("predict", iris_run, tmp_path / "in.npy")
    assert said.code == 2
    assert "no .npy file of a plain array" in said.err


@pytest.mark.parametrize("name", ["in.npy", "in.npz"])
@pytest.mark.parametrize("shape", ["(2, 4)", "(10000000000000,)", "(2, 4", "[[1]]", "({}, {[]: 1})"])
def test_damaged_arrays(cli: Cli, iris_run: Path, tmp_path: Path, name: str, shape: str) -> None:
    header = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}}}".ljust(117) + "\n"
    npy = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode() + bytes(64)
    if name == "in.npy":
        (tmp_path / name).write_bytes(npy[:-1])
    else:
        with zipfile.ZipFile(tmp_path / name, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("features.npy", npy)
        whole = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(whole[:44] + b"\xff" + whole[45:])  # inside what is compressed
    said = cli("predict", iris_run, tmp_path / name)
    assert (said.code, said.out) == (2, "")
    assert f"{name}: " in said.err
    assert "damaged" in said.err


def test_out_of_an_unknown_kind(cli: Cli, iris_run: Path, tmp_path: Path) -> None:
    said = cli("predict", iris_run, tmp_path / "in.npy", "--out", "o.txt")
    assert said.code == 2
    assert "expected .npy, .npz or .csv" in said.err


def test_a_csv_of_whole_numbers_feeds_an_embedding(cli: Cli, tmp_path: Path) -> None:
    made = cortex.network(
        {
            "inputs": {"words": {"shape": [3], "dtype": "int64"}},
            "layers": [
                {"embedding": {"tokens": 7, "units": 2}},
                "flatten",
                {"dense": {"units": 2, "id": "y"}},
            ],
        }
    )
    made.save(tmp_path / "m.cortex")
    table, out = np.array([[0, 6, 2], [1, 1, 5]]), tmp_path / "out.npy"
    np.savetxt(tmp_path / "in.csv", table, "%d", ",")
    assert cli("predict", tmp_path / "m.cortex", tmp_path / "in.csv", "--out", out).code == 0
    np.testing.assert_array_equal(np.load(out), made.predict(table))
    (tmp_path / "bad.csv").write_text("1,2,2.5\n")
    done = cli("predict", tmp_path / "m.cortex", tmp_path / "bad.csv")
    assert (done.code, "takes whole numbers" in done.err) == (2, True)
