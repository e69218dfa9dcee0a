"""The file format: what goes in comes out, and what is damaged is refused."""

from __future__ import annotations

import json
import resource
import shutil
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from cortex_compute.errors import CheckpointError, CortexError
from cortex_core.network import network
from cortex_core.training import checkpoint, files
from cortex_core.training.callbacks import Callback
from cortex_core.training.train import train
from tests.core.training.networks import blobs, description, plain, states


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return train(description(), blobs(), out=tmp_path_factory.mktemp("run") / "r", progress=False)


def test_a_model_comes_back_with_the_same_bits(run: Any, tmp_path: Path) -> None:
    run.network.save(tmp_path / "m.cortex")
    loaded = checkpoint.load(tmp_path / "m.cortex")
    for name in ("parameters", "variables"):
        there, here = getattr(loaded, name), getattr(run.network, name)
        assert list(there) == list(here)
        assert all(there[n].tobytes() == here[n].tobytes() for n in here)
    assert loaded.description.hash == run.network.description.hash
    x = blobs()["x"]
    assert loaded.predict(x).tobytes() == run.network.predict(x).tobytes()


def test_the_last_checkpoint_is_a_model_too(run: Any) -> None:
    loaded = checkpoint.load(run.path / "last.cortex")
    assert loaded.predict(blobs()["x"]).shape == (50, 3)
    assert network(str(run.path / "last.cortex")).name == "blobs"


def test_the_folder_of_a_run_is_its_model(run: Any, tmp_path: Path) -> None:
    expected = checkpoint.load(run.path / "model.cortex").predict(blobs()["x"]).tobytes()
    for loaded in (checkpoint.load(run.path), network(str(run.path)), network(run.path)):
        assert loaded.predict(blobs()["x"]).tobytes() == expected
    for loads in (checkpoint.load, network):
        with pytest.raises(CheckpointError, match=r"model\.cortex: no such file"):
            loads(tmp_path)


def test_a_description_is_no_model(tmp_path: Path) -> None:
    (tmp_path / "net.yaml").write_text("cortex: 1")
    with pytest.raises(CheckpointError, match=r"net\.yaml: this is a description; train it first"):
        checkpoint.load(tmp_path / "net.yaml")


def test_the_file_is_plain_hdf5_by_name(run: Any) -> None:
    with h5py.File(run.path / "last.cortex", "r") as file:
        assert dict(file.attrs) == {"format": "cortex", "version": 1, "kind": "run"}
        assert file["parameters/hidden/kernel"].shape == (4, 8)
        assert file["moments/m/hidden/kernel"].shape == (4, 8)
        assert set(file["variables/batch_norm"]) == {"moving_mean", "moving_variance"}
        text = file["description"][:].tobytes()
        assert json.loads(text) == run.network.description.canonical
        progress = json.loads(file["run"][:].tobytes())
        assert (progress["epoch"], progress["batch"], progress["step"]) == (3, 0, 21)
    with h5py.File(run.path / "model.cortex", "r") as file:
        assert set(file) == {"description", "parameters", "variables"}


def test_the_same_state_is_the_same_file(run: Any, tmp_path: Path) -> None:
    run.network.save(tmp_path / "a.cortex")
    run.network.save(tmp_path / "b.cortex")
    assert (tmp_path / "a.cortex").read_bytes() == (tmp_path / "b.cortex").read_bytes()


def edit(change: Callable[[Any], Any]) -> Callable[[Path], None]:
    def apply(path: Path) -> None:
        with h5py.File(path, "r+") as file:
            change(file)

    return apply


def replace(where: str, **options: Any) -> Callable[[Any], None]:
    def change(file: Any) -> None:
        del file[where]
        file.create_dataset(where, **options).attrs["crc32"] = 0

    return change


def text(where: str, content: bytes) -> Callable[[Any], None]:
    def change(file: Any) -> None:
        del file[where]
        data = np.frombuffer(content, np.uint8)
        file.create_dataset(where, data=data).attrs["crc32"] = zlib.crc32(content)

    return change


def cut(part: float) -> Callable[[Path], None]:
    def apply(path: Path) -> None:
        content = path.read_bytes()
        path.write_bytes(content[: int(len(content) * part)])

    return apply


def link(file: Any, made: Any) -> None:
    del file["parameters/out/bias"]
    file["parameters/out/bias"] = made


def flip(path: Path) -> None:
    """One bit of a parameter."""
    with h5py.File(path, "r") as file:
        offset = file["parameters/out/bias"].id.get_offset()
    content = bytearray(path.read_bytes())
    content[offset + 2] ^= 16
    path.write_bytes(content)


def description_bomb(file: Any) -> None:
    """A network of four terabytes in a file of a few kilobytes."""
    spec = json.loads(file["description"][:].tobytes())
    spec["layers"][0]["dense"]["units"] = 1_000_000
    spec["layers"][-1]["dense"]["units"] = 1_000_000
    text("description", json.dumps(spec).encode())(file)
    for name, shape in (("hidden/kernel", (4, 1_000_000)), ("out/kernel", (1_000_000, 1_000_000))):
        replace(f"parameters/{name}", shape=shape, dtype="f4")(file)


KERNEL = "parameters/hidden/kernel"
DAMAGE: list[tuple[str, Callable[[Path], None], str]] = [
    ("half of it", cut(0.5), "cut short or damaged"),
    ("all but the end", cut(0.99), "cut short or damaged"),
    ("nothing", cut(0), "no .cortex file"),
    ("a text", lambda path: path.write_text("cortex: 1"), "no .cortex file"),
    ("gone", lambda path: path.unlink(), "no such file"),
    ("another format", edit(lambda f: f.attrs.update(format="keras")), "no .cortex file"),
    ("no format", edit(lambda f: f.attrs.clear()), "no .cortex file"),
    ("a later version", edit(lambda f: f.attrs.update(version=2)), "version 2.*reads version 1"),
    ("a version that is text", edit(lambda f: f.attrs.update(version="one")), "version one"),
    ("no description", edit(lambda f: f.pop("description")), "description is missing"),
    ("a description that is no JSON", edit(text("description", b"{")), "description is no JSON"),
    ("a description that is a list", edit(text("description", b"[]")), "description is no mapping"),
    ("deep JSON", edit(text("description", b"[" * 100_000)), "description is no JSON"),
    ("a wrong description", edit(text("description", b"{}")), "description is not valid"),
    ("no parameter", edit(lambda f: f.pop(KERNEL)), f"{KERNEL} is missing"),
    ("a group for a parameter", edit(lambda f: (f.pop(KERNEL), f.create_group(KERNEL))), "is missing"),
    ("another shape", edit(replace(KERNEL, data=np.zeros((8, 4), "f4"))), r"\(8, 4\).*needs \(4, 8\)"),
    ("another dtype", edit(replace(KERNEL, data=np.zeros((4, 8)))), "holds float64.*needs float32"),
    ("objects", edit(replace(KERNEL, shape=(4, 8), dtype=h5py.string_dtype())), "holds object"),
    ("no bytes", edit(replace(KERNEL, shape=(4, 8), dtype="f4")), "does not hold its 128 bytes"),
    ("chunks", edit(replace(KERNEL, data=np.zeros((4, 8), "f4"), chunks=(2, 2))), "does not hold"),
    ("a bomb", edit(description_bomb), "does not hold its"),
    ("a soft link", edit(lambda f: link(f, h5py.SoftLink("/parameters/out/kernel"))), "is missing"),
    ("an external link", edit(lambda f: link(f, h5py.ExternalLink("/etc/passwd", "/x"))), "is missing"),
    ("a flipped bit", flip, "parameters/out/bias have changed"),
]


@pytest.mark.parametrize(("damage", "message"), [d[1:] for d in DAMAGE], ids=[d[0] for d in DAMAGE])
def test_a_damaged_file_is_refused(
    run: Any, tmp_path: Path, damage: Callable[[Path], None], message: str
) -> None:
    path = tmp_path / "m.cortex"
    shutil.copy(run.path / "model.cortex", path)
    damage(path)
    with pytest.raises(CheckpointError, match=message) as error:
        checkpoint.load(path)
    assert str(path) in str(error.value)


@pytest.mark.parametrize("seed", range(20))
def test_random_bytes_in_a_file_never_pass_as_something_else(run: Any, tmp_path: Path, seed: int) -> None:
    """Loads either refuse, or give what was written (where the bytes do not matter)."""
    generator = np.random.default_rng(seed)
    content = bytearray((run.path / "model.cortex").read_bytes())
    for position in generator.integers(0, len(content), 3):
        content[position] = generator.integers(0, 256)
    (tmp_path / "m.cortex").write_bytes(content)
    try:
        loaded = checkpoint.load(tmp_path / "m.cortex")
    except CheckpointError:
        return
    saved = checkpoint.load(run.path / "model.cortex")
    assert all(loaded.parameters[n].tobytes() == a.tobytes() for n, a in saved.parameters.items())


def resumed(path: Path, spec: Any) -> Any:
    return train(spec, blobs(), resume=path, progress=False)


def test_the_run_of_another_network_is_refused_and_nothing_changes(run: Any, tmp_path: Path) -> None:
    other = description()
    other["layers"][0]["dense"]["units"] = 9
    made = network(other)
    before = states(made)
    with pytest.raises(
        CheckpointError, match=r"another network: layers\[0\]\.dense\.units is 8 there, 9 here"
    ):
        resumed(run.path, made)
    assert states(made) == before


def test_a_model_is_no_run(run: Any, tmp_path: Path) -> None:
    shutil.copy(run.path / "model.cortex", tmp_path / "last.cortex")
    with pytest.raises(CheckpointError, match="is a model"):
        resumed(tmp_path, None)


def test_a_run_without_its_moments_is_refused(run: Any, tmp_path: Path) -> None:
    shutil.copytree(run.path, tmp_path / "r")
    edit(lambda f: f.pop("moments"))(tmp_path / "r" / "last.cortex")
    with pytest.raises(CheckpointError, match=r"moments/m/.* is missing"):
        resumed(tmp_path / "r", None)


def test_there_is_nothing_to_resume(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no last\.cortex to resume from"):
        resumed(tmp_path / "nowhere", plain())


@pytest.mark.parametrize("fails", ["write", "fsync", "replace"])
def test_where_writing_fails_the_old_file_stays(
    run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    path = tmp_path / "m.cortex"
    run.network.save(path)
    before = path.read_bytes()
    if fails == "write":  # a disk that is full: the system refuses to write past 1000 bytes
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    else:
        monkeypatch.setattr(files.os, fails, lambda *a: (_ for _ in ()).throw(OSError(28, "No space left")))
    try:
        with pytest.raises(
            CortexError, match=r"m\.cortex: cannot be written \((File too large|No space left)\)"
        ):
            run.network.save(path)
    finally:
        if fails == "write":
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["m.cortex"]


def test_what_could_not_be_read_again_is_refused_before_the_first_step(
    run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint, "TEXT_LIMIT", len(json.dumps(run.network.description.canonical)) - 1)
    expected = r"the description of this network is .* of which 'layers' takes .*; a \.cortex file holds"
    with pytest.raises(CheckpointError, match=expected):
        run.network.save(tmp_path / "m.cortex")
    assert not (tmp_path / "m.cortex").exists()
    seen: list[int] = []

    class Steps(Callback):
        def step(self, trainer: Any) -> None:
            seen.append(trainer.step)

    with pytest.raises(CheckpointError, match=expected):
        train(description(), blobs(), out=tmp_path / "r", progress=False, callbacks=[Steps()])
    assert seen == []
