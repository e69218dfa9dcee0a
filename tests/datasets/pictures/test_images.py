"""The reader of picture files: parts, classes, lists, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from cortex_compute.errors import DataError, SpecError
from cortex_datasets.pictures import Images
from cortex_datasets.source import Stream
from tests.datasets.pictures.made import beside, folder_of, noise, rows_of, save, write_list

SHAPE = Stream((6, 8, 3), "float32")


def scaled(pixels: np.ndarray) -> np.ndarray:
    return (pixels.astype(np.float64) / 255).astype(np.float32)


def test_a_folder_for_each_class(tmp_path: Path) -> None:
    made = folder_of(tmp_path / "pets", {"dog": 3, "cat": 2, "cat/kittens": 1})
    examples = Images(folder="pets").open(beside(tmp_path))
    assert len(examples) == 6
    assert list(examples.parts) == ["train"]
    names = examples.column("file").tolist()
    assert sorted(names) == sorted(made)
    assert examples.column("label").tolist() == ["cat"] * 3 + ["dog"] * 3
    encoding = examples.learn(np.arange(6), ["image"], ["label"])
    assert encoding.streams == {"image": SHAPE, "label": Stream((), "int64", ("cat", "dog"))}
    rows = np.array([5, 0, 3])
    source = encoding.encode(examples, rows, ["image", "label"])
    assert source.fixed
    out = rows_of(source)
    np.testing.assert_array_equal(out["image"], scaled(np.stack([made[names[r]] for r in rows])), strict=True)
    assert encoding.decode("label", out["label"]).tolist() == ["dog", "cat", "dog"]
    np.testing.assert_array_equal(encoding.decode("image", out["image"])[1], made[names[0]], strict=True)
    assert source.streams == encoding.streams


@pytest.mark.parametrize(
    ("train", "test", "validation"),
    [("train", "test", "validation"), ("Train", "Test", "val"), ("training", "TESTING", "valid")],
)
def test_folders_that_are_parts(tmp_path: Path, train: str, test: str, validation: str) -> None:
    counts = {f"{train}/0": 2, f"{train}/10": 2, f"{train}/9": 2, f"{test}/9": 2, f"{validation}/0": 1}
    made = folder_of(tmp_path, counts)
    examples = Images(folder=".").open(beside(tmp_path))
    assert {part: len(rows) for part, rows in examples.parts.items()} == {
        "train": 6,
        "test": 2,
        "validation": 1,
    }
    encoding = examples.learn(examples.parts["train"], ["image"], ["label"])
    assert encoding.streams["label"].classes == ("0", "9", "10")
    out = rows_of(encoding.encode(examples, examples.parts["test"], ["label", "image"]))
    assert out["label"].tolist() == [1, 1]
    np.testing.assert_array_equal(
        out["image"], scaled(np.stack([made[f"{test}/9/0.png"], made[f"{test}/9/1.png"]]))
    )


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    folder_of(tmp_path, {"train": 1, "car": 2})
    examples = Images(folder=".").open(beside(tmp_path))
    assert examples.column("label").tolist() == ["car", "car", "train"]
    assert examples.learn(np.arange(3), ["image"], ["label"]).notes == ["classes with one picture: 1 (train)"]


@pytest.mark.parametrize("parts", [("test_set", "train_set"), ("fold1", "fold2", "fold3")])
def test_parts_that_look_like_classes(tmp_path: Path, parts: tuple[str, ...]) -> None:
    folder_of(tmp_path / "set", {f"{part}/{label}": 2 for part in parts for label in ("cat", "dog")})
    told = (
        rf"{len(parts)} \({', '.join(sorted(parts))}\) hold no .* same folders in them: 2 \(cat, dog\)\. If"
    )
    with pytest.raises(DataError, match=told):
        Images(folder="set").open(beside(tmp_path))
    save(tmp_path / "set" / parts[0] / "own.png", noise())
    examples = Images(folder="set").open(beside(tmp_path))
    assert set(examples.column("label")) == set(parts)
    count = 4 * len(parts)
    assert examples.notes == [f"pictures in deeper folders, which belong to the class around them: {count}"]


def test_deeper_folders_of_other_names_belong_to_their_class(tmp_path: Path) -> None:
    folder_of(tmp_path, {"train/cat/tabby": 2, "train/dog/poodle/small": 1, "test/cat": 1, "test/dog/pug": 1})
    examples = Images(folder=".").open(beside(tmp_path))
    assert examples.column("label")[examples.parts["train"]].tolist() == ["cat", "cat", "dog"]
    assert examples.notes == ["pictures in deeper folders, which belong to the class around them: 4"]


def test_pictures_without_classes(tmp_path: Path) -> None:
    folder_of(tmp_path, {"flat": 3})
    examples = Images(folder="flat").open(beside(tmp_path))
    encoding = examples.learn(np.arange(3), ["image"], [])
    assert encoding.streams == {"image": SHAPE}
    with pytest.raises(DataError, match="'label' is not known of these pictures"):
        examples.learn(np.arange(3), ["image"], ["label"])


def test_classes_do_not_hang_on_the_rows(tmp_path: Path) -> None:
    folder_of(tmp_path, {"a": 2, "b": 2, "c": 2})
    examples = Images(folder=".").open(beside(tmp_path))
    encoding = examples.learn(np.array([0, 1, 2]), ["image"], ["label"])
    assert encoding.streams["label"].classes == ("a", "b", "c")
    assert encoding.notes == ["classes with no training picture: 1 (c)", "classes with one picture: 1 (b)"]


def test_what_is_counted_is_counted_in_the_rows_alone(tmp_path: Path) -> None:
    folder_of(tmp_path, {".": 6})
    cells = [("x", 1), ("x", 1), ("y", 2), ("y", 2), ("", 3), ("y", "")]
    lines = [f"{i}.png,{label},{age}" for i, (label, age) in enumerate(cells)]
    write_list(tmp_path / "l.csv", "file,label,age", *lines)
    examples = Images(list="l.csv", numbers=["age"]).open(beside(tmp_path))
    rows = np.array([0, 1, 2])
    encoding = examples.learn(rows, ["image"], ["label"])
    assert encoding.streams["label"].classes == ("x", "y")
    assert encoding.notes == ["classes with one picture: 1 (y)"]
    out = rows_of(encoding.encode(examples, rows, ["image", "label"]))
    assert out["label"].tolist() == [0, 0, 1]
    for asked in (np.arange(5), np.array([4])):
        with pytest.raises(DataError, match=r"l.csv:6: 'label' is empty"):
            examples.learn(asked, ["image"], ["label"])
    with pytest.raises(DataError, match=r"l.csv:6: 'label' is empty"):
        encoding.encode(examples, np.array([3, 4]), ["image", "label"])
    with pytest.raises(DataError, match=r"'aeg' is no stream .* Did you mean 'age'\?"):
        Images(list="l.csv", numbers=["aeg"]).open(beside(tmp_path)).learn(rows, ["image"], ["label"])


def test_other_files_are_counted_and_hidden_ones_ignored(tmp_path: Path) -> None:
    folder_of(tmp_path, {"a": 1, "b": 1})
    for name in ("README", "a/notes.txt", ".DS_Store", "a/._0.png", "b/.DS_Store", ".git/x.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("no picture")
    save(tmp_path / "stray.png", noise())
    examples = Images(folder=".", cache=False).open(beside(tmp_path))
    told = "files that are no pictures of a class, passed by: 3 (a/notes.txt, README, stray.png)"
    assert examples.notes == [told]
    assert len(examples) == 2


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ({}, r"holds no pictures \(.png .jpg"),
        ({"a": 2, "b": 0}, r"b: holds no pictures; fill the folder of this class, or remove it"),
        ({"a": 0, "b": 0}, r"a: holds no pictures; a class needs some"),
        ({"train/a": 1, "test/a": 1, "more/a": 1}, r"1 \(more\) beside test, train: move it into a part"),
        (
            {"train/a": 1, "test/a": 1, "val/a": 1, "validation/a": 1},
            "both val and validation; one is enough",
        ),
        ({"Train/a": 1, "training/a": 1, "test/a": 1}, "both Train and training; one is enough"),
        ({"train/a": 1, "test": 1}, r"test: has no folders of classes, though another part has them"),
    ],
)
def test_folders_that_cannot_be_read(tmp_path: Path, counts: dict[str, int], message: str) -> None:
    (tmp_path / "set").mkdir()
    for name in counts:
        (tmp_path / "set" / name).mkdir(parents=True)
    folder_of(tmp_path / "set", counts)
    with pytest.raises(DataError, match=message):
        Images(folder="set").open(beside(tmp_path))


def test_one_class_only(tmp_path: Path) -> None:
    folder_of(tmp_path / "set", {"cat": 3})
    examples = Images(folder="set").open(beside(tmp_path))
    with pytest.raises(DataError, match="all pictures have the label 'cat'; at least two classes are needed"):
        examples.learn(np.arange(3), ["image"], ["label"])


def test_a_class_that_training_does_not_have(tmp_path: Path) -> None:
    folder_of(tmp_path, {"train/a": 1, "train/b": 1, "test/bird": 1})
    examples = Images(folder=".").open(beside(tmp_path))
    encoding = examples.learn(examples.parts["train"], ["image"], ["label"])
    with pytest.raises(DataError, match=r"bird.0.png: 'label' is 'bird', as no picture .* there are a, b"):
        encoding.encode(examples, examples.parts["test"], ["image", "label"])


def test_a_list(tmp_path: Path) -> None:
    made = folder_of(tmp_path / "set/photos", {".": 4})
    write_list(
        tmp_path / "set/labels.csv",
        "file,species,age,remark,part",
        'photos/2.png,"dog, small",1.5,,train',
        "",
        "photos/0.png,cat,2,x,train",
        "photos/3.png,cat,-3e1,,test",
        "photos/1.png,cat,4,,val",
    )
    examples = Images(list="set/labels.csv", numbers=["age"]).open(beside(tmp_path))
    assert {part: rows.tolist() for part, rows in examples.parts.items()} == {
        "train": [0, 1],
        "test": [2],
        "validation": [3],
    }
    encoding = examples.learn(examples.parts["train"], ["image"], ["species", "age"])
    assert encoding.streams["species"].classes == ("cat", "dog, small")
    assert encoding.streams["age"] == Stream((1,), "float32")
    out = rows_of(encoding.encode(examples, np.arange(3), ["image", "species", "age"]))
    order = [made[f"./{i}.png"] for i in (2, 0, 3)]
    np.testing.assert_array_equal(out["image"], scaled(np.stack(order)))
    assert out["species"].tolist() == [1, 0, 0]
    assert encoding.decode("age", out["age"]).tolist() == [1.5, 2, -30]
    with pytest.raises(DataError, match=r"labels.csv:2: 'remark' is empty"):
        examples.learn(examples.parts["train"], ["image"], ["remark"])
    with pytest.raises(DataError, match=r"'specie' is no stream .* Did you mean 'species'\?"):
        examples.learn(examples.parts["train"], ["image"], ["specie"])


def test_mixed_sizes_are_an_error_unless_a_size_is_given(tmp_path: Path) -> None:
    save(tmp_path / "set/a/0.png", noise(6, 8))
    save(tmp_path / "set/b/1.png", noise(6, 9))
    with pytest.raises(DataError, match=r"a.0.png is 6 x 8 and .*b.1.png is 6 x 9 .* `size: \[64, 64\]`"):
        Images(folder="set").open(beside(tmp_path))
    examples = Images(folder="set", size=[5, 4], channels=1).open(beside(tmp_path))
    assert examples.learn(np.arange(2), ["image"], ["label"]).streams["image"].shape == (5, 4, 1)


def test_one_damaged_picture_among_many(tmp_path: Path) -> None:
    folder_of(tmp_path / "set", {"a": 20, "b": 20})
    for name in ("a/0.png", "b/7.png", "b/9.png"):
        (tmp_path / "set" / name).write_bytes(b"")
    with pytest.raises(DataError, match=r"a.0.png: is empty \(2 more of 40 are damaged\)"):
        Images(folder="set").open(beside(tmp_path))
    examples = Images(folder="set", damaged="skip").open(beside(tmp_path))
    assert len(examples) == 37
    (note,) = examples.notes
    assert note.startswith("damaged pictures left out: 3 of 40: ")
    assert "b/7.png: is empty; " in note.replace("\\", "/")
    names = examples.column("file").tolist()
    assert not {"a/0.png", "b/7.png", "b/9.png"} & set(names)
    encoding = examples.learn(np.arange(37), ["image"], ["label"])
    out = rows_of(encoding.encode(examples, np.arange(37), ["image", "label"]))
    assert out["label"].tolist() == [name[0] == "b" for name in names]
    assert out["image"].any(axis=(1, 2, 3)).all()


def test_every_picture_that_is_asked_for_gets_its_prediction(tmp_path: Path) -> None:
    folder_of(tmp_path / "set", {"a": 2, "b": 2})
    folder_of(tmp_path / "new", {".": 3})
    (tmp_path / "new/1.png").write_bytes(b"junk")
    write_list(tmp_path / "new/list.csv", "file", "0.png", "1.png", "2.png")
    reader = Images(folder="set", damaged="skip")
    for given in ("new", "new/list.csv", [tmp_path / f"new/{i}.png" for i in range(3)]):
        with pytest.raises(DataError, match=r"1.png: is no picture.* Replace the picture, or do not ask"):
            reader.read(given, beside(tmp_path))


def test_one_picture_that_is_damaged(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"a.png: is empty$"):
        Images(folder="set").read("a.png", beside(tmp_path))


def test_all_damaged(tmp_path: Path) -> None:
    for name in ("a/0.png", "b/1.png"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text("no picture")
    with pytest.raises(DataError, match=r"0.png: is no picture.* nor can any other of 2 pictures be read"):
        Images(folder=".", damaged="skip").open(beside(tmp_path))


def test_a_folder_of_arrays_says_what_reads_it(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    np.save(tmp_path / "set" / "x.npy", np.zeros(3))
    with pytest.raises(
        DataError, match=r"holds no pictures .*; its arrays are read by `data: \{arrays: FOLDER\}`"
    ):
        Images(folder="set").open(beside(tmp_path))


def test_what_a_model_file_keeps(tmp_path: Path) -> None:
    folder_of(tmp_path / "set", {"a": 2, "b": 2})
    reader = Images(folder="set")
    examples = reader.open(beside(tmp_path))
    encoding = examples.learn(np.arange(4), ["image"], ["label"])
    again = reader.restore(json.loads(json.dumps(encoding.state())))
    assert again.streams == encoding.streams
    for damaged in (
        {},
        {**encoding.state(), "shape": [6, 8]},
        {**encoding.state(), "shape": [6, 8, 0]},
        {**encoding.state(), "classes": {"label": "ab"}},
        {**encoding.state(), "classes": ["label"]},
        {**encoding.state(), "numbers": [1]},
    ):
        with pytest.raises(DataError, match="the model file says of its pictures is damaged"):
            reader.restore(damaged)


def test_reading_pictures_from_elsewhere(tmp_path: Path) -> None:
    folder_of(tmp_path / "set", {"a": 2, "b": 2})
    reader = Images(folder="set")
    own = reader.open(beside(tmp_path))
    encoding = own.learn(np.arange(4), ["image"], ["label"])
    made = folder_of(tmp_path / "new", {".": 3})
    pixels = np.stack([made[f"./{i}.png"] for i in range(3)])
    (tmp_path / "new/.hidden.png").write_text("")
    write_list(tmp_path / "new/list.csv", "file", "0.png", "1.png", "2.png")
    paths = [tmp_path / "new" / f"{i}.png" for i in range(3)]
    for given in (
        "new",
        tmp_path / "new",
        "new/list.csv",
        paths,
        list(map(str, paths)),
        pixels,
        scaled(pixels),
    ):
        examples = reader.read(given, beside(tmp_path))
        out = rows_of(encoding.encode(examples, np.arange(3), ["image"]))
        np.testing.assert_array_equal(out["image"], scaled(pixels), strict=True)
    one = reader.read("new/1.png", beside(tmp_path))
    np.testing.assert_array_equal(
        rows_of(encoding.encode(one, np.arange(1), ["image"]))["image"][0], scaled(pixels[1])
    )
    folder_of(tmp_path / "other", {"b": 1, "a": 1})
    labelled = reader.read("other", beside(tmp_path))
    assert rows_of(encoding.encode(labelled, np.arange(2), ["image", "label"]))["label"].tolist() == [0, 1]


def test_what_cannot_be_predicted_on(tmp_path: Path) -> None:
    folder_of(tmp_path / "set", {"a": 1, "b": 1})
    reader = Images(folder="set")
    encoding = reader.open(beside(tmp_path)).learn(np.arange(2), ["image"], ["label"])
    save(tmp_path / "large.png", noise(60, 80))
    large = reader.read("large.png", beside(tmp_path))
    with pytest.raises(
        DataError, match="pictures are 60 x 80 with 3 channels, expected 6 x 8 with 3 channels"
    ):
        encoding.encode(large, np.arange(1), ["image"])
    (tmp_path / "t.txt").write_text("text")
    for given, message in (
        ("t.txt", "expected a picture, a folder of pictures, or a .csv"),
        ([tmp_path / "nowhere.png"], "there is no such picture"),
        ([], "found list, expected a path, a list of paths, or an array"),
        (7, "found int, expected a path"),
        (np.zeros((6, 8, 3), np.uint8), r"found uint8 of shape \(6, 8, 3\)"),
        (np.full((1, 6, 8, 3), 255.0), r"need values in 0..1; give 0..255 as uint8"),
        (np.full((1, 6, 8, 3), np.nan), r"need values in 0..1"),
    ):
        with pytest.raises(DataError, match=message):
            reader.read(given, beside(tmp_path))


def test_fields() -> None:
    assert Images(folder="x", size=32).size == (32, 32)
    for fields, message in (
        ({}, "there are no pictures: expected folder or list"),
        ({"folder": "a", "list": "b"}, "folder is given too"),
        ({"folder": "a", "channels": 4}, "channels"),
        ({"folder": "a", "fit": "zoom"}, "fit"),
        ({"folder": "a", "size": [0, 4]}, "size"),
        ({"folder": "a", "damaged": "ignore"}, "damaged"),
    ):
        with pytest.raises(SpecError, match=message):
            Images(**fields)  # type: ignore[arg-type]
