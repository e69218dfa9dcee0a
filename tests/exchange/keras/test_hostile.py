"""What a file may not do is refused by an error that says where, before memory is taken."""

from __future__ import annotations

import io
import itertools
import json
import pickle
import resource
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from cortex_compute.errors import SpecError
from cortex_core.exchange.keras import hdf5
from cortex_core.exchange.keras.hdf5 import Hdf5
from cortex_core.exchange.keras.reader import read, read_weights
from tests.exchange.keras.handmade import (
    dense,
    numbered_bytes,
    numbers,
    save_archive,
    save_named,
    sequential,
    weights_of,
)

CONFIG = sequential(dense("a", 2))
GROUPS = {"a": weights_of("a", 3, 2)}
KERNEL = "model_weights/a/a/kernel:0"
NUMBERED = {"layers/dense/vars/0": numbers(3, 2), "layers/dense/vars/1": numbers(2)}
LARGE = 1 << 26
UNPACKS = "does not unpack to the [0-9]+ bytes that it declares"


@pytest.fixture
def good(tmp_path: Path) -> Path:
    return save_named(tmp_path / "model.h5", GROUPS, CONFIG)


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    return save_archive(tmp_path / "model.keras", CONFIG, numbered_bytes(NUMBERED))


def refused(path: Path, match: str) -> None:
    """Reading is refused, with the file's name and this text, and takes no memory to speak of."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(SpecError, match=match) as caught:
        everything(path)
    assert str(caught.value).startswith(str(path))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # kilobytes


def everything(path: Path) -> list[tuple[int, ...]]:
    return [weight.read().shape for layer in read(path).model.layers for weight in layer.weights]


def packed_zeros(megabytes: int) -> bytes:
    packer = zlib.compressobj(9)
    return b"".join([*(packer.compress(bytes(1 << 20)) for _ in range(megabytes)), packer.flush()])


def test_the_good_files_are_good(good: Path, archive: Path) -> None:
    for path in (good, archive):
        assert everything(path) == [(3, 2), (2,)]


# Links


def link(target: Any) -> Callable[[Any], None]:
    def put(file: Any) -> None:
        del file[KERNEL]
        file[KERNEL] = target

    return put


def loop(file: Any) -> None:
    file["model_weights/a/inner"] = file["model_weights"]


def soft_loop(file: Any) -> None:
    file["model_weights/a/inner"] = h5py.SoftLink("/model_weights")


def soft_circle(file: Any) -> None:
    file["one"], file["two"] = h5py.SoftLink("/two"), h5py.SoftLink("/one")


def deep(file: Any) -> None:
    file.create_group("/".join("d" * 80))


def laughs(file: Any) -> None:
    """Each group holds the next one twice: 2**40 paths."""
    group = file.create_group("laugh")
    for _ in range(40):
        inner = group.create_group("a")
        group["b"] = inner
        group = inner


@pytest.mark.parametrize(
    ("put", "told"),
    [
        (link(h5py.ExternalLink("other.h5", "/x")), rf"{KERNEL}': a link out of this file"),
        (link(h5py.SoftLink("/nowhere")), rf"{KERNEL}': a soft link that leads to nothing in this file"),
        (link(h5py.SoftLink("../../../../etc/passwd")), "a soft link that leads to nothing in this file"),
        (loop, "model_weights/a/inner': a group that holds itself"),
        (soft_loop, "model_weights/a/inner': a group that holds itself"),
        (soft_circle, "leads to nothing|damaged"),
        (deep, "nest deeper than"),
        (laughs, "more than 2000 objects"),
    ],
)
def test_links(good: Path, put: Any, told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hdf5, "MOST_OBJECTS", 2000)
    with h5py.File(good, "r+") as file:
        put(file)
    refused(good, told)


def test_an_external_file_is_not_even_opened(good: Path, tmp_path: Path) -> None:
    """Not by a soft link over an external one, either."""
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = numbers(3, 2)
    with h5py.File(good, "r+") as file:
        del file[KERNEL]
        file[KERNEL] = h5py.SoftLink("/out/x")
        file["zz"] = file["model_weights"]
        file["out"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "/")
    refused(good, "out': a link out of this file")


def test_soft_links_inside_the_file_are_followed(good: Path) -> None:
    with h5py.File(good, "r+") as file:
        file["elsewhere"] = file[KERNEL][()]
        del file[KERNEL]
        file[KERNEL] = h5py.SoftLink("/elsewhere")
    assert read(good).model.layers[1].weights[0].read().shape == (3, 2)


# Storage


def replaced(**created: Any) -> Callable[[Any], None]:
    def put(file: Any) -> None:
        del file[KERNEL]
        file.create_dataset(KERNEL, **created)

    return put


def external(file: Any) -> None:
    replaced(shape=(3, 2), dtype="f4", external=[("secret.bin", 0, 24)])(file)


def virtual(file: Any) -> None:
    del file[KERNEL]
    layout = h5py.VirtualLayout((3, 2), "f4")
    layout[:] = h5py.VirtualSource("other.h5", "x", (3, 2))
    file.create_virtual_dataset(KERNEL, layout)


def filtered(file: Any) -> None:
    """Filter 32015 is zstd: a plug-in.  It is named as optional, so that h5py writes without it."""
    created = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    created.set_filter(32015, h5py.h5z.FLAG_OPTIONAL, (3,))
    packed(file, created)


def packed_twice(file: Any) -> None:
    created = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    created.set_deflate(9)
    created.set_deflate(9)
    packed(file, created)


def packed(file: Any, created: Any) -> None:
    created.set_chunk((3, 2))
    del file[KERNEL]
    h5py.h5d.create(
        file["model_weights/a/a"].id,
        b"kernel:0",
        h5py.h5t.NATIVE_FLOAT,
        h5py.h5s.create_simple((3, 2)),
        created,
    )


def referring(file: Any) -> None:
    del file[KERNEL]
    file[KERNEL] = np.array([file.ref] * 6, h5py.ref_dtype).reshape(3, 2)


@pytest.mark.parametrize(
    ("put", "told"),
    [
        (external, "its numbers lie in other files"),
        (virtual, "its numbers lie in other files"),
        (filtered, "filter .*32015.*code from outside"),
        (packed_twice, "packed twice by one filter"),
        (referring, "holds object; expected numbers"),
        (replaced(data=["text"] * 6), "expected numbers"),
        (replaced(data=np.zeros((3, 2), [("x", "f4")])), "expected numbers"),
        (replaced(data=np.zeros((3, 2), "c8")), "expected numbers"),
        (replaced(shape=(3, 2), dtype=h5py.vlen_dtype(np.float32)), "expected numbers"),
        (replaced(shape=(1 << 40, 1 << 20), dtype="f4", chunks=(1, 1)), "would take more than 32 times"),
        (replaced(shape=(1 << 30,), dtype="f4"), "would take more than 32 times"),
        (replaced(data=np.zeros(1 << 24, "f4"), compression="gzip"), "would take more than 32 times"),
        (
            replaced(shape=(2,), maxshape=(None,), dtype="f4", chunks=(1 << 28,), compression="gzip"),
            "would take more than 32 times",
        ),
    ],
)
def test_storage(good: Path, put: Any, told: str) -> None:
    with h5py.File(good, "r+") as file:
        put(file)
    refused(good, rf"{KERNEL}': .*{told}")


def test_many_arrays_that_are_each_small_enough(good: Path) -> None:
    with h5py.File(good, "r+") as file:
        for number in range(60):
            file.create_dataset(f"more/{number}", (1 << 20,), "f4", chunks=True, compression="gzip")
    refused(good, "would take more than 32 times")


@pytest.mark.parametrize("more", [{}, {"shuffle": True}, {"fletcher32": True}])
@pytest.mark.parametrize(("length", "told"), [(6, "bytes are stored for a chunk of 24"), (100_000, UNPACKS)])
def test_a_packed_chunk_that_unpacks_to_more_than_it_should(
    good: Path, length: int, told: str, more: Any
) -> None:
    """128 megabytes, of the few that it declares."""
    with h5py.File(good, "r+") as file:
        replaced(shape=(length,), dtype="f4", chunks=(length,), compression="gzip", **more)(file)
        file[KERNEL].id.write_direct_chunk((0,), packed_zeros(128) + bytes(4 if "fletcher32" in more else 0))
    refused(good, rf"{KERNEL}': .*{told}")


@pytest.mark.parametrize(
    ("content", "skipped"), [(zlib.compress(bytes(8)), 0), (bytes(8), 1), (zlib.compress(bytes(24))[:-3], 0)]
)
def test_packed_chunks_that_hold_less(good: Path, content: bytes, skipped: int) -> None:
    """What HDF5 reads of them would be whatever lies behind them in memory."""
    with h5py.File(good, "r+") as file:
        replaced(shape=(3, 2), dtype="f4", chunks=(3, 2), compression="gzip")(file)
        file[KERNEL].id.write_direct_chunk((0, 0), content, skipped)
    refused(good, UNPACKS)


def test_chunks_that_are_not_packed_among_those_that_are(good: Path) -> None:
    """HDF5 stores so what a filter would make larger."""
    with h5py.File(good, "r+") as file:
        replaced(shape=(3, 2), dtype="f4", chunks=(3, 2), compression="gzip")(file)
        file[KERNEL].id.write_direct_chunk((0, 0), numbers(3, 2).tobytes(), 1)
    assert read(good).model.layers[1].weights[0].read().tolist() == numbers(3, 2).tolist()


def test_packed_weights_are_read(good: Path) -> None:
    with h5py.File(good, "r+") as file:
        replaced(data=numbers(3, 2), compression="gzip", shuffle=True, fletcher32=True)(file)
    assert read(good).model.layers[1].weights[0].read().tolist() == numbers(3, 2).tolist()


@pytest.mark.parametrize("chunk", [(3, 2), (2, 1), (100, 7)])
@pytest.mark.parametrize("order", [*itertools.permutations(("gzip", "shuffle", "fletcher32"))])
def test_packed_weights_are_read_in_any_order_of_filters(good: Path, order: Any, chunk: Any) -> None:
    created = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    created.set_chunk(chunk)
    for name in order:
        (created.set_deflate if name == "gzip" else getattr(created, f"set_{name}"))()
    with h5py.File(good, "r+") as file:
        del file[KERNEL]
        space = h5py.h5s.create_simple((3, 2), (h5py.h5s.UNLIMITED,) * 2)
        group = file["model_weights/a/a"].id
        h5py.h5d.create(group, b"kernel:0", h5py.h5t.NATIVE_FLOAT, space, created)
        file[KERNEL][...] = numbers(3, 2)
    assert read(good).model.layers[1].weights[0].read().tolist() == numbers(3, 2).tolist()


# Attributes


@pytest.mark.parametrize(
    ("where", "name", "value", "told"),
    [
        ("/", "model_config", "{", "no JSON"),
        ("/", "model_config", "[" * 100_000, "no JSON"),
        ("/", "model_config", "[]", "expected an object"),
        ("/", "model_config", np.zeros(3), "'model_config' is no text"),
        ("/", "model_config", np.bytes_(b"\xff\xfe{"), "not in UTF-8"),
        ("model_weights", "layer_names", np.arange(3), "no list of names"),
        ("model_weights", "layer_names", "a", "no list of names"),
        ("model_weights", "layer_names", [b"a", b"a"], "one name"),
        ("model_weights", "layer_names", [b"a", b"../b"], "has no group for it"),
        ("model_weights/a", "weight_names", [b"/a", b"b"], "does not have it"),
        ("model_weights/a", "weight_names", [b"a"], "is no array|does not have it"),
    ],
)
def test_attributes(good: Path, where: str, name: str, value: Any, told: str) -> None:
    with h5py.File(good, "r+", libver="latest") as file:
        file[where].attrs[name] = value
    refused(good, told)


def test_an_attribute_of_references(good: Path) -> None:
    with h5py.File(good, "r+") as file:
        file["model_weights"].attrs.create("layer_names", [file.ref], dtype=h5py.ref_dtype)
    refused(good, "'layer_names' is no text")


# Damage


def test_truncated_files(good: Path) -> None:
    content = good.read_bytes()
    for length in (*range(0, len(content), 97), len(content) - 1):
        good.write_bytes(content[:length])
        with pytest.raises(SpecError):
            everything(good)


def test_truncated_archives(archive: Path) -> None:
    content = archive.read_bytes()
    for length in (*range(0, len(content), 97), len(content) - 1):
        archive.write_bytes(content[:length])
        with pytest.raises(SpecError):
            everything(archive)


@pytest.mark.parametrize("name", ["model.h5", "model.keras"])
def test_bytes_that_fell_over(good: Path, archive: Path, tmp_path: Path, name: str) -> None:
    """Whatever happens to a few bytes, the file is read, or refused by an error of ours."""
    path = tmp_path / name
    content = path.read_bytes()
    telling = np.flatnonzero(np.frombuffer(content, np.uint8))
    rng = np.random.default_rng(0)
    refusals = 0
    for _ in range(100):
        changed = bytearray(content)
        for at in rng.choice(telling, rng.choice([1, 2, 4, 16])):
            changed[at] = rng.choice([0, 1, 255, int(rng.integers(256))])
        path.write_bytes(changed)
        try:
            everything(path)
        except SpecError:
            refusals += 1
    assert refusals > 1


def test_a_file_is_let_go_of(good: Path) -> None:
    """What was read, or refused, can be written again: no handle is left in a circle of references."""
    everything(good)
    with h5py.File(good, "r+") as file:
        file["loop"] = file["/"]
    with pytest.raises(SpecError, match="holds itself") as caught:
        read(good)
    with h5py.File(good, "r+") as file:
        del file["loop"]
    assert "loop" in str(caught.value)
    assert everything(good) == [(3, 2), (2,)]


def test_files_of_other_kinds(tmp_path: Path) -> None:
    path = tmp_path / "model.h5"
    for content in (b"", b"\0" * 600, pickle.dumps({"weights": [1]}), b"\x93NUMPY", b"- not: json"):
        path.write_bytes(content)
        refused(path, "neither HDF5, nor an archive of Keras")
    refused(tmp_path, "is a folder")
    with pytest.raises(FileNotFoundError):
        read(tmp_path / "none.h5")


def test_hdf5_of_something_else(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "data.h5", "w") as file:
        file["x/y"] = numbers(3)
    with pytest.raises(SpecError, match="does not hold weights as any version of Keras"):
        read_weights(tmp_path / "data.h5")


# Archives


def test_an_archive_that_unpacks_to_too_much(tmp_path: Path) -> None:
    path = save_archive(tmp_path / "m.keras", CONFIG, bytes(LARGE), packing=zipfile.ZIP_DEFLATED)
    refused(path, r"model\.weights\.h5': it declares 67108864 bytes")


def test_what_both_pack_is_measured_by_the_archive(tmp_path: Path) -> None:
    """8 MB of zeros, packed once, and 200 MB of them, packed twice."""
    content = io.BytesIO()
    with h5py.File(content, "w") as file:
        file["layers/dense/vars/0"] = np.zeros(1 << 21, "f4")
        file.create_dataset("layers/dense/vars/1", data=np.zeros(50_000_000, "f4"), compression="gzip")
    path = save_archive(tmp_path / "m.keras", CONFIG, content.getvalue(), packing=zipfile.ZIP_DEFLATED)
    refused(path, "would take more than 32 times")


def test_a_configuration_that_unpacks_to_too_much(tmp_path: Path) -> None:
    config = {"layers": " " * (1 << 25)}
    path = save_archive(tmp_path / "m.keras", config, numbered_bytes(NUMBERED), packing=zipfile.ZIP_DEFLATED)
    refused(path, r"config\.json': it declares")


def test_a_member_that_declares_less_than_it_has(tmp_path: Path) -> None:
    """Both headers say 100 bytes of what are many million."""
    path = save_archive(tmp_path / "m.keras", CONFIG, bytes(LARGE), packing=zipfile.ZIP_DEFLATED)
    size = struct.pack("<L", LARGE)
    path.write_bytes(path.read_bytes().replace(size, struct.pack("<L", 100)))
    refused(path, "damaged or cut short")


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("../evil", "leads out of the archive"),
        ("/etc/evil", "leads out of the archive"),
        ("..\\evil", "leads out of the archive"),
        ("C:\\evil", "leads out of the archive"),
        ("config.json", "this member twice"),
    ],
)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_members(archive: Path, name: str, told: str) -> None:
    with zipfile.ZipFile(archive, "a") as file:
        file.writestr(name, "{}")
    refused(archive, told)


def test_members_that_are_missing_encrypted_or_packed_otherwise(tmp_path: Path) -> None:
    path = tmp_path / "m.keras"
    for lost in ("config.json", "model.weights.h5"):
        with zipfile.ZipFile(path, "w") as file:
            for name in {"config.json", "model.weights.h5"} - {lost}:
                file.writestr(name, "{}")
        refused(path, rf"{lost}': an archive of Keras has this member")
    save_archive(path, CONFIG, numbered_bytes(NUMBERED), packing=zipfile.ZIP_BZIP2)
    refused(path, "packed by method 12")
    save_archive(path, CONFIG, numbered_bytes(NUMBERED))
    content = bytearray(path.read_bytes())
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = -1
        while (at := content.find(mark, at + 1)) >= 0:
            content[at + offset] |= 1
    path.write_bytes(content)
    refused(path, "encrypted")


def test_links_in_an_archive_are_those_of_its_file(tmp_path: Path) -> None:
    content = io.BytesIO(numbered_bytes(NUMBERED))
    with h5py.File(content, "r+") as file:
        file["layers/out"] = h5py.ExternalLink("other.h5", "/x")
    refused(save_archive(tmp_path / "m.keras", CONFIG, content.getvalue()), "layers/out': a link out")


def test_nothing_of_an_archive_lands_on_the_disk(archive: Path, tmp_path: Path) -> None:
    before = sorted(tmp_path.rglob("*"))
    read(archive)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_large_json_file_is_no_architecture(tmp_path: Path) -> None:
    path = tmp_path / "m.json"
    path.write_text(json.dumps(CONFIG) + " " * hdf5.LONGEST_TEXT)
    refused(path, "is no architecture")


def test_a_name_twice_by_a_backslash(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "w.h5", "w") as file:
        file["layers/dense/vars/0"] = numbers(2)
        file.create_group("layers\\dense").create_group("vars")["0"] = numbers(2)
    with pytest.raises(SpecError, match="this name twice"):
        Hdf5(tmp_path / "w.h5")
