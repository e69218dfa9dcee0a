"""Arrays in files: mapped, converted as they are gathered, and refused where they are wrong."""

from __future__ import annotations

import io
import json
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cortex
from cortex_compute.errors import DataError, SpecError
from cortex_datasets.pictures import Arrays
from cortex_datasets.source import Stream
from tests.datasets.pictures.made import beside, rows_of

RNG = np.random.default_rng(5)
IMAGE = RNG.integers(0, 256, (20, 4, 5, 3), dtype=np.uint8)
LABEL = RNG.integers(0, 3, 20).astype(np.uint8)
X = RNG.normal(size=(20, 7))
STREAMS = {
    "image": Stream((4, 5, 3), "float32"),
    "label": Stream((), "int64"),
    "x": Stream((7,), "float32"),
}
EXPECTED = {
    "image": (IMAGE.astype(np.float64) / 255).astype(np.float32),
    "label": LABEL.astype(np.int64),
    "x": X.astype(np.float32),
}


def save(root: Path) -> None:
    arrays = {"image": IMAGE, "label": LABEL, "x": X}
    np.savez(root / "set.npz", **arrays)
    np.savez_compressed(root / "small.npz", **arrays)
    (root / "folder").mkdir()
    for name, array in arrays.items():
        np.save(root / "folder" / name, array)


FORMS: list[Any] = [
    "set.npz",
    "small.npz",
    "folder",
    {"image": "folder/image.npy", "label": "folder/label.npy", "x": "folder/x.npy"},
]


@pytest.mark.parametrize("files", FORMS)
def test_each_form(tmp_path: Path, files: Any) -> None:
    save(tmp_path)
    examples = Arrays(files=files).open(beside(tmp_path))
    assert len(examples) == 20
    encoding = examples.learn(np.arange(20), ["image", "x"], ["label"])
    assert encoding.streams == STREAMS
    rows = RNG.permutation(20)[:9]
    source = encoding.encode(examples, rows, ["image", "label", "x"])
    for name, found in rows_of(source).items():
        np.testing.assert_array_equal(found, EXPECTED[name][rows], strict=True)
    whole = encoding.encode(examples, np.arange(20), ["x"])
    np.testing.assert_array_equal(rows_of(whole)["x"], EXPECTED["x"])
    assert len(encoding.encode(examples, np.arange(0), ["x"])) == 0
    mapped = [
        isinstance(a.base, np.memmap) or isinstance(a, np.memmap) for a in examples.arrays["train"].values()
    ]
    assert all(mapped) == (files != "small.npz")
    told = [note.partition(" is held")[0].rpartition(" ")[2] for note in examples.notes]
    assert told == (["image", "label", "x"] if files == "small.npz" else [])


def test_parts(tmp_path: Path) -> None:
    save(tmp_path)
    np.savez(tmp_path / "test.npz", image=IMAGE[:6][::-1], label=LABEL[:6][::-1], x=X[:6])
    examples = Arrays(files="set.npz", test="test.npz", validation={"x": "folder/x.npy"}).open(
        beside(tmp_path)
    )
    assert {part: (rows[0], rows[-1]) for part, rows in examples.parts.items()} == {
        "train": (0, 19),
        "test": (20, 25),
        "validation": (26, 45),
    }
    encoding = examples.learn(examples.parts["train"], ["image"], ["label"])
    out = rows_of(encoding.encode(examples, np.array([21, 25]), ["label", "image"]))
    np.testing.assert_array_equal(out["label"], LABEL[[4, 0]])
    np.testing.assert_array_equal(out["image"], EXPECTED["image"][[4, 0]])
    with pytest.raises(DataError, match="there is no array 'image'; there is x"):
        encoding.encode(examples, examples.parts["validation"], ["image"])


def test_a_column_to_divide_by(tmp_path: Path) -> None:
    save(tmp_path)
    examples = Arrays(files="set.npz", test="set.npz").open(beside(tmp_path))
    assert examples.column("label").tolist() == LABEL.tolist() * 2
    for name in ("x", "klass"):
        with pytest.raises(DataError, match=f"'{name}' is no stream with one number .* there are label"):
            examples.column(name)


def test_numbers_are_looked_at_only_where_they_are_asked_for(tmp_path: Path) -> None:
    bad = X.copy()
    bad[13, 2] = np.nan
    np.savez(tmp_path / "set.npz", x=X, bad=bad, far=X * 1e300)
    examples = Arrays(files="set.npz").open(beside(tmp_path))
    encoding = examples.learn(np.arange(20), ["x", "bad", "far"], [])
    encoding.encode(examples, np.arange(20), ["x"])
    with pytest.raises(DataError, match="'bad': example 13 holds nan, which is not finite in float32"):
        encoding.encode(examples, np.arange(20), ["x", "bad"])
    with pytest.raises(DataError, match=r"'far': example 0 holds .*e\+.*, which is not finite in float32"):
        encoding.encode(examples, np.arange(20), ["far"])


@pytest.mark.parametrize(
    ("array", "stream"),
    [
        (np.arange(6, dtype=">i2"), Stream((), "int64")),
        (np.arange(6) % 2 == 0, Stream((), "int64")),
        (np.arange(12, dtype=np.float16).reshape(6, 2), Stream((2,), "float32")),
        (np.arange(12, dtype=">f8").reshape(6, 2), Stream((2,), "float32")),
        (np.asfortranarray(np.arange(12.0).reshape(6, 2)), Stream((2,), "float32")),
        (np.arange(6 * 8, dtype=np.uint8).reshape(6, 2, 2, 2), Stream((2, 2, 2), "int64")),
    ],
)
def test_data_types(tmp_path: Path, array: np.ndarray, stream: Stream) -> None:
    np.savez(tmp_path / "a.npz", a=array)
    np.save(tmp_path / "a.npy", array)
    for files in ("a.npz", {"a": "a.npy"}):
        examples = Arrays(files=files).open(beside(tmp_path))
        encoding = examples.learn(np.arange(6), ["a"], [])
        assert encoding.streams["a"] == stream
        out = rows_of(encoding.encode(examples, np.array([4, 1]), ["a"]))["a"]
        np.testing.assert_array_equal(out, array[[4, 1]].astype(stream.dtype), strict=True)
        assert bool(examples.notes) == (array.ndim > 1 and array.flags.f_contiguous)


def test_opening_and_gathering_hold_nothing_in_memory(tmp_path: Path) -> None:
    np.savez(tmp_path / "large.npz", image=np.zeros((2000, 32, 32, 3), np.uint8), x=np.zeros((2000, 1000)))
    tracemalloc.start()
    examples = Arrays(files="large.npz").open(beside(tmp_path))
    encoding = examples.learn(np.arange(2000), ["image", "x"], [])
    source = encoding.encode(examples, np.arange(1000), ["image", "x"])
    out = {"image": np.empty((8, 32, 32, 3), np.float32), "x": np.empty((8, 1000), np.float32)}
    source.gather(np.arange(8) * 100, out)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1_000_000, peak  # the file has 22 MB


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"x": X, "y": X[:19]}, "need equally many examples, but 'x' has 20, 'y' has 19"),
        ({"x": X[:0]}, "the part 'train' of the data has no examples"),
        ({}, "the part 'train' of the data has no examples"),
        ({"x": np.array([{}], object)}, "damaged, or no .npz file of plain arrays: .*objects"),
    ],
)
def test_arrays_that_are_wrong(tmp_path: Path, content: dict[str, np.ndarray], message: str) -> None:
    np.savez(tmp_path / "a.npz", **content)
    with pytest.raises(DataError, match=message):
        Arrays(files="a.npz").open(beside(tmp_path))


@pytest.mark.parametrize("array", [np.array(["a", "b"]), np.array([1j]), np.array(3.0)])
def test_what_is_no_array_of_numbers(tmp_path: Path, array: np.ndarray) -> None:
    np.savez(tmp_path / "a.npz", a=array, x=np.zeros(len(array) if array.ndim else 1))
    examples = Arrays(files="a.npz").open(beside(tmp_path))
    with pytest.raises(DataError, match=r"'a': found .* expected an array \(examples, ...\) of numbers"):
        examples.learn(np.arange(1), ["x"], ["a"])


def test_names_in_an_array_are_to_be_indices(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", a=np.array(["cat", "dog"]))
    with pytest.raises(DataError, match=r"'a': found .*; write names as 0, 1, ..., and `classes` for what"):
        Arrays(files="a.npz").open(beside(tmp_path)).learn(np.arange(2), [], ["a"])


def test_an_unknown_name(tmp_path: Path) -> None:
    save(tmp_path)
    examples = Arrays(files="set.npz").open(beside(tmp_path))
    with pytest.raises(
        DataError, match=r"'imag' is no array .* it has image, label, x. Did you mean 'image'\?"
    ):
        examples.learn(np.arange(20), ["imag"], ["label"])


def test_damaged_files(tmp_path: Path) -> None:
    save(tmp_path)
    npz, npy = (tmp_path / "set.npz").read_bytes(), (tmp_path / "folder/x.npy").read_bytes()
    for name, content in {
        "short.npz": npz[: len(npz) // 2],
        "text.npz": b"text",
        "short.npy": npy[:-8],
        "long.npy": npy + b"12345678",
        "text.npy": b"text",
        "empty.npy": b"",
    }.items():
        (tmp_path / name).write_bytes(content)
        files = name if name.endswith("npz") else {"x": name}
        with pytest.raises(DataError, match=rf"{name}: damaged, or no .np. file of (a )?plain array"):
            Arrays(files=files).open(beside(tmp_path))
    compressed = bytearray((tmp_path / "small.npz").read_bytes())
    compressed[400] ^= 255
    (tmp_path / "flipped.npz").write_bytes(compressed)
    with pytest.raises(DataError, match=r"flipped.npz: damaged"):
        Arrays(files="flipped.npz").open(beside(tmp_path))


def test_a_member_that_claims_the_bytes_of_others(tmp_path: Path) -> None:
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f8", "fortran_order": False, "shape": (9,)})
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("x.npy", header.getvalue() + bytes(8 * 8))
        archive.writestr("secret.npy", header.getvalue() + bytes(8 * 9))
    with pytest.raises(DataError, match=r"damaged.*holds 64 bytes of numbers, and 72 by its header"):
        Arrays(files="a.npz").open(beside(tmp_path))


def test_a_compressed_member_takes_no_memory_by_its_header_alone(tmp_path: Path) -> None:
    header = io.BytesIO()
    told = {"descr": "<f4", "fortran_order": False, "shape": (1 << 28,)}  # a gigabyte
    np.lib.format.write_array_header_1_0(header, told)
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", header.getvalue() + bytes(100))
    tracemalloc.start()
    with pytest.raises(DataError, match="holds 100 bytes of numbers, and 1,073,741,824 by its header"):
        Arrays(files="a.npz").open(beside(tmp_path))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10_000_000, peak


def test_an_encrypted_member(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "a.npz", x=X)
    content = bytearray((tmp_path / "a.npz").read_bytes())
    content[6] |= 1  # the flag "encrypted", in the header of the member and in the directory
    content[content.find(b"PK\1\2") + 8] |= 1
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(DataError, match=r"a\.npz: damaged, or no .npz file of plain arrays: .*encrypted"):
        Arrays(files="a.npz").open(beside(tmp_path))


def test_other_files(tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    with pytest.raises(DataError, match=r"none: holds no .npy files"):
        Arrays(files="none").open(beside(tmp_path))
    (tmp_path / "a.parquet").write_text("")
    with pytest.raises(DataError, match=r"a.parquet: expected an .npz, a folder of .npy files, or"):
        Arrays(files="a.parquet").open(beside(tmp_path))
    with pytest.raises(DataError, match=r"damaged, or no .npy file of a plain array: No such file"):
        Arrays(files={"x": "nowhere.npy"}).open(beside(tmp_path))
    for files in (3, {"x": 1}, {}, ["a.npy"]):
        with pytest.raises(SpecError, match=r"this names no files: expected an .npz"):
            Arrays(files=files)
    with pytest.raises(SpecError, match="'files' is missing"):
        Arrays()  # type: ignore[call-arg]


def test_what_a_model_file_keeps(tmp_path: Path) -> None:
    save(tmp_path)
    reader = Arrays(files="set.npz")
    encoding = reader.open(beside(tmp_path)).learn(np.arange(20), ["image", "x"], ["label"])
    again = reader.restore(json.loads(json.dumps(encoding.state())))
    assert again.streams == encoding.streams
    assert again.known == encoding.known
    for damaged in (
        {"x": [7]},
        {"x": {"shape": [7], "dtype": "float32"}},
        {"x": {"shape": [-7], "dtype": "float32", "pixels": False}},
        {"x": {"shape": 7, "dtype": "float32", "pixels": False}},
        {"x": {"shape": [7], "dtype": "object", "pixels": False}},
        {"x": {"shape": [], "dtype": "int64", "pixels": False, "classes": "ab"}},
        {"x": {"shape": [], "dtype": "int64", "pixels": False, "classes": ["a", 3]}},
        {"x": {"shape": [], "dtype": "int64", "pixels": False, "classes": 4}},
        [],
    ):
        with pytest.raises(DataError, match="the model file says of its arrays is damaged"):
            reader.restore(damaged)  # type: ignore[arg-type]


def test_reading_arrays_from_elsewhere(tmp_path: Path) -> None:
    save(tmp_path)
    np.save(tmp_path / "new.npy", IMAGE[3:])
    reader = Arrays(files="set.npz")
    encoding = reader.open(beside(tmp_path)).learn(np.arange(20), ["image"], ["label"])
    scaled = EXPECTED["image"][3:]
    for given in (
        "new.npy",
        tmp_path / "new.npy",
        {"image": IMAGE[3:]},
        IMAGE[3:],
        scaled,
        {"image": scaled},
    ):
        examples = reader.read(given, beside(tmp_path))
        np.testing.assert_array_equal(
            rows_of(encoding.encode(examples, np.arange(17), ["image"]))["image"], scaled, strict=True
        )
    for given in ("set.npz", "folder"):
        examples = reader.read(given, beside(tmp_path))
        out = rows_of(encoding.encode(examples, np.arange(20), ["image", "label"]))
        np.testing.assert_array_equal(out["label"], LABEL)
    with pytest.raises(DataError, match="there is no array 'image'; there is one array without a name"):
        encoding.encode(reader.read(IMAGE, beside(tmp_path)), np.arange(20), ["image", "label"])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"image": IMAGE[:, 1:]}, r"'image' has examples of \(3, 5, 3\), expected \(4, 5, 3\)"),
        (
            {"image": IMAGE.astype(np.float32)},
            r"'image' was learned as pixels: give uint8, or floats in 0..1",
        ),
        ({"image": IMAGE.astype(np.int64)}, r"'image' was learned as pixels"),
        ({"label": X[:, 0]}, "'label': found float64 .* expected .* of what int64 can hold"),
        ({"picture": IMAGE}, "there is no array 'image'; there is picture"),
    ],
)
def test_arrays_that_do_not_fit_what_was_learned(tmp_path: Path, given: Any, message: str) -> None:
    save(tmp_path)
    reader = Arrays(files="set.npz")
    encoding = reader.open(beside(tmp_path)).learn(np.arange(20), ["image"], ["label"])
    name = "label" if "label" in given else "image"
    with pytest.raises(DataError, match=message):
        encoding.encode(reader.read(given, beside(tmp_path)), np.arange(20), [name])


def test_an_input_of_grey_pixels_without_channels(tmp_path: Path) -> None:
    grey, mask = IMAGE[..., 0], np.repeat(LABEL, 20).reshape(20, 4, 5)
    np.savez(tmp_path / "a.npz", image=grey, mask=mask)
    reader = Arrays(files="a.npz")
    examples = reader.open(beside(tmp_path))
    encoding = examples.learn(np.arange(20), ["image"], ["mask"])
    assert encoding.streams == {"image": Stream((4, 5), "float32"), "mask": Stream((4, 5), "int64")}
    assert encoding.notes == [
        "image: uint8 of 4 x 5 is pixels, served as float32 in 0..1; save whole numbers as int64",
        "mask: uint8 of 4 x 5 is whole numbers, served as int64; save other numbers as float32",
    ]
    out = rows_of(encoding.encode(examples, np.arange(20), ["image", "mask"]))
    np.testing.assert_array_equal(out["image"], EXPECTED["image"][..., 0], strict=True)
    np.testing.assert_array_equal(out["mask"], mask.astype(np.int64), strict=True)
    again = reader.restore(json.loads(json.dumps(encoding.state())))
    for given in (grey, EXPECTED["image"][..., 0]):
        found = rows_of(again.encode(reader.read(given, beside(tmp_path)), np.arange(20), ["image"]))["image"]
        np.testing.assert_array_equal(found, EXPECTED["image"][..., 0], strict=True)
    both = examples.learn(np.arange(20), ["image"], ["image"])  # of an autoencoder
    assert both.streams["image"].dtype == "float32"
    assert examples.learn(np.arange(20), ["image"], []).notes[0].startswith("image: uint8 of 4 x 5 is pixels")


@pytest.mark.parametrize(
    ("told", "names"), [(["cat", "dog", "eel"], ("cat", "dog", "eel")), (3, ("0", "1", "2"))]
)
def test_names_of_classes(tmp_path: Path, told: Any, names: tuple[str, ...]) -> None:
    save(tmp_path)
    reader = Arrays(files="set.npz", classes={"label": told})
    examples = reader.open(beside(tmp_path))
    encoding = examples.learn(np.arange(20), ["x"], ["label"])
    assert encoding.streams["label"] == Stream((), "int64", names)
    source = encoding.encode(examples, np.arange(20), ["x", "label"])
    assert source.streams["label"].classes == names
    np.testing.assert_array_equal(rows_of(source)["label"], LABEL)
    again = reader.restore(json.loads(json.dumps(encoding.state())))
    assert again.streams == encoding.streams
    assert again.decode("label", np.array([2, 0])).tolist() == [names[2], names[0]]
    assert again.decode("x", X) is X


def test_classes_that_do_not_fit(tmp_path: Path) -> None:
    save(tmp_path)
    for told in (1, 0, True, ["cat"], ["cat", "cat"], "cat", [1, 2], 2.0, None, 10**9):
        with pytest.raises(SpecError, match=r"these are no classes: expected \{label: "):
            Arrays(files="set.npz", classes={"label": told})
    with pytest.raises(SpecError, match="these are no classes"):
        Arrays(files="set.npz", classes=["label"])
    examples = Arrays(files="set.npz", classes={"label": 2}).open(beside(tmp_path))
    with pytest.raises(DataError, match=r"label 2 in example \d+ is out of range, expected 0 .. 1"):
        examples.learn(np.arange(20), ["x"], ["label"]).encode(examples, np.arange(20), ["label"])
    examples = Arrays(files="set.npz", classes={"lable": 3}).open(beside(tmp_path))
    with pytest.raises(DataError, match=r"'lable' is no array .* Did you mean 'label'\?"):
        examples.learn(np.arange(20), ["x"], [])
    examples = Arrays(files="set.npz", classes={"x": 3}).open(beside(tmp_path))
    with pytest.raises(DataError, match=r"'x': found float64 .* expected one whole number for each example"):
        examples.learn(np.arange(20), ["x"], [])


def test_floats_are_not_taken_for_pixels(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", image=IMAGE.astype(np.float64), whole=np.arange(20.0))
    reader = Arrays(files="a.npz")
    encoding = reader.open(beside(tmp_path)).learn(np.arange(20), ["image", "whole"], [])
    with pytest.raises(DataError, match="'image' was learned as floats, as they were: give no uint8"):
        encoding.encode(reader.read(IMAGE, beside(tmp_path)), np.arange(20), ["image"])
    whole = reader.read({"whole": np.arange(20)}, beside(tmp_path))
    out = rows_of(encoding.encode(whole, np.arange(20), ["whole"]))["whole"]
    np.testing.assert_array_equal(out, np.arange(20, dtype=np.float32), strict=True)


def test_missing_labels_in_files(tmp_path: Path) -> None:
    """What is learned of a file with NaN in the target of a censor_loss is what memory teaches, in the model
    file too; elsewhere NaN is refused, and infinity everywhere."""
    x, t = RNG.normal(size=(32, 3)).astype(np.float32), RNG.normal(size=(32, 2)).astype(np.float32)
    t[::3, 1], t[1] = np.nan, np.nan
    np.savez(tmp_path / "gaps.npz", x=x, t=t)
    spec: dict[str, Any] = {
        "inputs": {"x": [3]},
        "layers": [{"dense": {"units": 2, "id": "y"}}],
        "loss": {"censor_loss": {"of": "y", "target": "t"}},
        "train": {"batch_size": 8, "validation": 0.25},
    }
    plain = {"backend": "numpy", "progress": False}
    file = {**spec, "train": {**spec["train"], "data": str(tmp_path / "gaps.npz")}}
    run = cortex.train(file, out=tmp_path / "run", **plain)
    expected = cortex.train(spec, data={"x": x, "t": t}, **plain)
    assert run.metrics["train"]["loss"] == expected.metrics["train"]["loss"]
    network = cortex.load(tmp_path / "run" / "model.cortex")
    found = cortex.evaluate(network, tmp_path / "gaps.npz")["loss"]
    assert found == cortex.evaluate(network, {"x": x, "t": t})["loss"]
    np.savez(tmp_path / "gaps.npz", x=x, t=np.where(t > 1, np.inf, t))
    with pytest.raises(DataError, match="holds inf, which is not finite"):
        cortex.train(file, **plain)
    np.savez(tmp_path / "gaps.npz", x=x, t=t)
    with pytest.raises(DataError, match="'t': example 0 holds nan, which is not finite"):
        cortex.train({**file, "loss": {"mse": {"of": "y", "target": "t"}}}, **plain)
