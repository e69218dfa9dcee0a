"""Lines with labels, and lines as a language model reads them, against padding by hand."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from cortex_compute.errors import DataError, SpecError
from cortex_datasets.text import Lines

Find = Callable[[str], Path]
GOOD = ["a good film", "good", "very very good , indeed", "what a film"]
BAD = ["a bad film", "a very bad thing to do to a film", "bad"]


@pytest.fixture
def reviews(tmp_path: Path) -> Path:
    (tmp_path / "good.txt").write_text("\n".join(GOOD) + "\n")
    (tmp_path / "bad.txt").write_text("a bad film\n\na very bad thing to do to a film\n   \nbad")
    return tmp_path


def labelled(**fields: object) -> Lines:
    return Lines(files={"good": "good.txt", "bad": "bad.txt"}, tokens="words", **fields)


def test_classes_by_file(reviews: Path, find: Find, gathered) -> None:
    lines = labelled()
    examples = lines.open(find)
    assert examples.notes == [f"{reviews / 'bad.txt'}: 2 lines without text are left out"]
    assert examples.column("label").tolist() == ["good"] * 4 + ["bad"] * 3
    encoding = examples.learn(np.arange(7), ["text"], ["label"])
    assert encoding.notes[1] == "texts are padded to 9 tokens"
    encoding = lines.restore(json.loads(json.dumps(encoding.state())))
    source = encoding.encode(examples, np.array([5, 0, 2]), ["text", "label"])
    assert source.streams["text"].shape == (9,)
    assert source.streams["label"].classes == ("good", "bad")
    assert source.lengths is None
    batch = gathered(source, [0, 2, 1])
    assert encoding.decode("text", batch["text"]).tolist() == [BAD[1], GOOD[2], GOOD[0]]
    assert (batch["text"] == 0).sum(axis=1).tolist() == [0, 4, 6]
    assert (batch["text"][2, 3:] == 0).all()
    assert batch["label"].tolist() == [1, 0, 0]
    assert encoding.decode("label", batch["label"]).tolist() == ["bad", "good", "good"]


def test_a_file_of_names_is_learned_as_language(find: Find, tmp_path: Path, gathered) -> None:
    (tmp_path / "names.txt").write_text("ava\nbo\n")
    lines = Lines(file="names.txt")
    examples = lines.open(find)
    encoding = examples.learn(np.arange(2), ["text"], ["next"])
    # The end of a line and "a" twice, the rest once.
    assert encoding.streams["text"].classes == ("", "\ufffd", "\n", "a", "b", "o", "v")
    source = encoding.encode(examples, np.arange(2), ["text", "next"])
    batch = gathered(source, [0, 1])
    assert batch["text"].tolist() == [[2, 3, 6, 3], [2, 4, 5, 0]]
    assert batch["next"].tolist() == [[3, 6, 3, 2], [4, 5, 2, 0]]
    again = lines.restore(json.loads(json.dumps(encoding.state())))
    alone = again.encode(lines.read(["ava"], find), np.arange(1), ["text"])
    assert gathered(alone, [0])["text"].tolist() == [[2, 3, 6, 3]]


@pytest.mark.parametrize("tokens", ["characters", "words", "bytepair"])
def test_what_separates_lines(tokens: str, find: Find, gathered) -> None:
    """The token that every text begins with and every `next` ends with."""
    lines = Lines(tokens=tokens, vocabulary=300)
    examples = lines.read(["ab c", "a"], find)
    encoding = examples.learn(np.arange(2), ["text"], ["next"])
    batch = gathered(encoding.encode(examples, np.arange(2), ["text", "next"]), [0, 1])
    assert {encoding.separator} == {*batch["text"][:, 0]} == {batch["next"][1][1]}
    labels = lines.read({"one": ["ab c"], "two": ["a"]}, find).learn(np.arange(2), ["text"], ["label"])
    assert labels.separator is None


def test_a_vocabulary_without_the_end_of_a_line_has_no_separator(find: Find) -> None:
    encoding = Lines(vocabulary=3).read(["aaaa", "aaa"], find).learn(np.arange(2), ["text"], ["next"])
    assert encoding.separator is None


@pytest.mark.parametrize("tokens", ["characters", "words", "bytepair"])
@pytest.mark.parametrize("labels", [True, False])
def test_buckets(tokens: str, labels: bool, find: Find, gathered) -> None:
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice(["ab", "c", "def"], n)) for n in rng.integers(1, 30, 200)]
    lines = Lines(tokens=tokens, vocabulary=300, buckets=4)
    given = {"one": texts[:100], "two": texts[100:]} if labels else texts
    examples = lines.read(given, find)
    names = ["text", "label" if labels else "next"]
    encoding = examples.learn(np.arange(200), names[:1], names[1:])
    source = encoding.encode(examples, np.arange(200), names)
    assert source.streams["text"].shape == (None,)
    counts = np.array([len(encoding.vocabulary.encode(t)) + (not labels) for t in texts])
    lengths = source.lengths
    kinds, sizes = np.unique(lengths, return_counts=True)
    assert len(kinds) == 4
    assert sizes.min() > 20  # about a quarter each
    assert kinds[-1] == counts.max()
    assert (lengths >= counts).all()
    assert all(length == kinds[kinds >= count][0] for length, count in zip(lengths, counts))
    seen = []
    for length in kinds:
        rows = np.flatnonzero(lengths == length)
        batch = gathered(source, rows.tolist(), int(length))
        seen += rows.tolist()
        for row, ids in zip(rows, batch["text"]):
            line = encoding.vocabulary.encode(("" if labels else "\n") + texts[row])
            np.testing.assert_array_equal(ids, np.pad(line, (0, length - len(line))))
        if not labels:
            np.testing.assert_array_equal(
                batch["next"][:, :-1] * (batch["text"][:, 1:] > 0), batch["text"][:, 1:]
            )
            assert ((batch["next"] == encoding.vocabulary.encode("\n")[0]).sum(axis=1) == 1).all()
    assert sorted(seen) == list(range(200))
    part = source.select(np.array([9, 3]))
    np.testing.assert_array_equal(part.lengths, lengths[[9, 3]])


def test_longer_lines_are_cut_and_counted(reviews: Path, find: Find, gathered) -> None:
    examples = labelled(length=3).open(find)
    encoding = examples.learn(np.arange(7), ["text"], ["label"])
    source = encoding.encode(examples, np.arange(7), ["text"])
    assert source.notes == ("2 of 7 texts are longer than 3 tokens and cut",)
    shown = encoding.decode("text", gathered(source, list(range(7)))["text"]).tolist()
    assert shown == [" ".join(text.split()[:3]) for text in GOOD + BAD]
    assert source.streams["text"].shape == (3,)
    # Longer than all that were seen in training, without a length of its own:
    encoding = labelled().open(find).learn(np.array([1, 6]), ["text"], ["label"])
    source = encoding.encode(examples, np.arange(7), ["text"])
    assert source.streams["text"].shape == (1,)
    assert "5 of 7 texts are longer than 1 tokens and cut" in source.notes


def test_cut_lines_of_a_language_model(find: Find, gathered) -> None:
    lines = Lines(length=3)
    examples = lines.read(["abcd", "ab", "abc"], find)
    encoding = examples.learn(np.arange(3), ["text"], ["next"])
    source = encoding.encode(examples, np.arange(3), ["text", "next"])
    batch = gathered(source, [0, 1, 2])
    assert encoding.decode("text", batch["text"]).tolist() == ["\nab", "\nab", "\nab"]
    assert encoding.decode("next", batch["next"]).tolist() == ["abc", "ab\n", "abc"]
    assert source.notes == ("2 of 3 texts are longer than 3 tokens and cut",)


def test_unknown_words_are_counted(reviews: Path, find: Find) -> None:
    examples = labelled().open(find)
    encoding = examples.learn(np.array([0, 1, 4]), ["text"], ["label"])
    source = encoding.encode(examples, np.array([2, 5]), ["text"])
    assert source.notes[0] == (
        "9 of 14 words (64.29%) are not in the vocabulary and read as unknown, such as 'very', 'to', ','"
    )


def test_a_word_of_any_length_is_named_in_a_short_note(reviews: Path, find: Find) -> None:
    lines = labelled()
    encoding = lines.open(find).learn(np.arange(7), ["text"], ["label"])
    source = encoding.encode(lines.read(["x" * 10_000_000], find), np.arange(1), ["text"])
    assert source.notes[0].endswith(f"such as '{'x' * 40}'")


def test_texts_without_tokens_stay_rows(find: Find, reviews: Path, gathered) -> None:
    lines = labelled()
    encoding = lines.open(find).learn(np.arange(7), ["text"], ["label"])
    examples = lines.read(["", "good\nfilm", "  "], find)
    assert len(examples) == 3
    batch = gathered(encoding.encode(examples, np.arange(3), ["text"]), [0, 1, 2])
    assert (batch["text"] > 0).sum(axis=1).tolist() == [0, 3, 0]  # the end of the line is unknown
    assert examples.where(1) == "text 1"


def test_a_batch_of_nothing_but_empty_texts(reviews: Path, find: Find, gathered) -> None:
    lines = labelled()
    encoding = lines.open(find).learn(np.arange(7), ["text"], ["label"])
    examples = lines.read(["", "  "], find)
    source = encoding.encode(examples, np.arange(2), ["text"])
    assert gathered(source, [1, 0])["text"].tolist() == [[0] * 9] * 2
    for wrong in (-1, 2):
        with pytest.raises(IndexError):
            gathered(source, [wrong])


@pytest.mark.parametrize("ends", ["\r", "\r\n", "\n"])
def test_ends_of_lines_of_every_kind(ends: str, find: Find, tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_bytes(ends.join(["good", "bad", "ugly", ""]).encode())
    assert Lines(file="x.txt").open(find).lines == ["good", "bad", "ugly"]


def test_what_the_reader_takes(reviews: Path, find: Find) -> None:
    lines = labelled()
    encoding = lines.open(find).learn(np.arange(7), ["text"], ["label"])
    by_class = {"bad": ["bad", "a bad film"], "good": reviews / "good.txt"}
    for given, labels in ((by_class, [1, 1, 0, 0, 0, 0]), ({"good": "a b", "bad": "b"}, [0, 1])):
        assert lines.takes(given)
        examples = lines.read(given, find)
        source = encoding.encode(examples, np.arange(len(examples)), ["label"])
        out = np.empty(len(labels), np.int64)
        source.gather(np.arange(len(labels)), {"label": out})
        assert out.tolist() == labels
    assert lines.takes(["a film", "b"])
    plain = {"text": np.zeros((2, 3), np.int64), "label": np.zeros(2, np.int64)}
    assert not any(map(lines.takes, (plain, {}, [], "a", 5, None, [1], [["a"]], {"a": [1]}, np.zeros(3))))


@pytest.mark.parametrize("given", [5, {}, {"good": 5, "bad": "b"}, [1], None, {"good": [None]}, []])
def test_what_is_no_text(given: object, find: Find) -> None:
    with pytest.raises(DataError, match="expected"):
        labelled().read(given, find)


def test_errors_of_labels(reviews: Path, find: Find) -> None:
    lines = labelled()
    examples = lines.open(find)
    with pytest.raises(
        DataError, match="no line of the class 'bad' is in the training part; write split: str"
    ):
        examples.learn(np.arange(4), ["text"], ["label"])
    encoding = examples.learn(np.arange(7), ["text"], ["label"])
    source = encoding.encode(examples, np.arange(4), ["text", "label"])
    assert source.notes == ("all 4 texts are of one class; split: stratified spreads them",)
    with pytest.raises(DataError, match="these lines have no labels; give them by class"):
        encoding.encode(lines.read(["good"], find), np.arange(1), ["label"])
    other = lines.read({"good": ["good"], "fair": ["so so"]}, find)
    with pytest.raises(DataError, match="the class 'fair', which is none of the model's: good, bad"):
        encoding.encode(other, np.arange(2), ["label"])
    assert encoding.encode(lines.read({"bad": "bad.txt"}, find), np.arange(3), ["label"]).notes
    with pytest.raises(DataError, match="'next' is no stream of these lines; it has text, label"):
        examples.learn(np.arange(7), ["text"], ["next"])
    with pytest.raises(DataError, match="no column 'x' to divide by; they have only 'label'"):
        examples.column("x")
    with pytest.raises(DataError, match="one file, without classes"):
        lines.read(["a"], find).column("label")
    with pytest.raises(DataError, match="names no file"):
        Lines().open(find)


def test_a_very_long_line(find: Find, tmp_path: Path, gathered) -> None:
    (tmp_path / "long.txt").write_text("ab\n" + "x" * 10_000_000 + "\nc\n")
    examples = Lines(file="long.txt").open(find)
    with pytest.raises(DataError, match=r"long.txt: line 2 has 10,000,001 tokens.*give 'length'"):
        examples.learn(np.arange(3), ["text"], ["next"])
    (tmp_path / "long.txt").write_text("ab\n" + "x" * 20_000 + "\nc\n")
    examples = Lines(file="long.txt", length=5).open(find)
    encoding = examples.learn(np.arange(3), ["text"], ["next"])
    source = encoding.encode(examples, np.arange(3), ["text"])
    assert encoding.decode("text", gathered(source, [1])["text"]).tolist() == ["\nxxxx"]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"files": {"a": "a.txt"}}, "files: these are not the files of several classes: expected a"),
        ({"files": ["a.txt", "b.txt"]}, "files: these are not the files of several classes"),
        ({"files": {"a": "a.txt", "b": 3}}, "files.b: 3 is not the name of a file"),
        (
            {"files": {"a": "a", "b": "b"}, "file": "c"},
            "files: 'file' is given, too: expected one of the two",
        ),
        ({"buckets": 5}, "buckets: 5 is too large"),
        ({"length": 0}, "length: 0 is too small"),
        ({"encoding": "utf-9"}, "unknown encoding 'utf-9'.*'utf-8'"),
    ],
)
def test_wrong_fields(fields: dict[str, object], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        Lines(**fields)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"classes": "ab"}, "saved classes"),
        ({"classes": [1]}, "saved classes"),
        ({"lengths": []}, "saved padded lengths"),
        ({"lengths": [3, 3]}, "saved padded lengths"),
        ({"lengths": [0]}, "saved padded lengths"),
        ({"lengths": [2.5]}, "saved padded lengths"),
        ({"lengths": None}, "saved padded lengths"),
        ({"vocabulary": None}, "saved vocabulary"),
    ],
)
def test_a_damaged_state(reviews: Path, find: Find, change: dict[str, object], message: str) -> None:
    lines = labelled()
    state = lines.open(find).learn(np.arange(7), ["text"], ["label"]).state()
    with pytest.raises(DataError, match=message):
        lines.restore({**state, **change})


def test_film_reviews(real: Find, gathered) -> None:
    folder = "text/rt_polarity/rt-polarity"
    lines = Lines(
        files={"positive": f"{folder}.pos", "negative": f"{folder}.neg"},
        tokens="words",
        vocabulary=5000,
        length=48,
        buckets=4,
    )
    examples = lines.open(real)
    assert len(examples) == 10_662
    encoding = examples.learn(np.arange(0, len(examples), 3), ["text"], ["label"])
    source = encoding.encode(examples, examples.parts["train"], ["text", "label"])
    assert len(source.streams["text"].classes) == 5000
    assert np.unique(source.lengths, return_counts=True)[1].min() > 2000
    row = int(np.flatnonzero(source.lengths == 48)[0])
    shown = encoding.decode("text", gathered(source, [row], 48)["text"])[0].split()
    words = real(f"{folder}.pos").read_text().split("\n")[row].split()
    assert words[0] in (shown[0], f"{shown[0]}{shown[1]}")


def test_names(real: Find) -> None:
    examples = Lines(file="text/names/names.txt").open(real)
    assert len(examples) == 32_033
    encoding = examples.learn(examples.parts["train"], ["text"], ["next"])
    assert encoding.streams["text"].shape == (16,)  # fifteen letters and the end
    assert set(encoding.streams["text"].classes[2:]) == set("\nabcdefghijklmnopqrstuvwxyz")
