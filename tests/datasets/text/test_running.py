"""Windows of running text, against slicing by hand."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cortex_compute.errors import DataError, SpecError
from cortex_datasets.text import Text
from cortex_datasets.text.running import stretches

Find = Callable[[str], Path]
BOTH = ["text", "next"]
POEM = "".join(f"line {i} of a poem that goes on\n" for i in range(40))


def nowhere(name: str) -> Path:
    raise DataError(f"there is no {name!r}")


def test_windows_are_slices(gathered) -> None:
    text = Text(window=10, stride=4)
    examples = text.read(POEM, nowhere)
    rows = examples.parts["train"]
    encoding = text.restore(json.loads(json.dumps(examples.learn(rows, ["text"], ["next"]).state())))
    source = encoding.encode(examples, rows, BOTH)
    starts = range(0, len(POEM) - 10, 4)
    assert len(source) == len(starts)
    batch = gathered(source, [0, 5, len(starts) - 1])
    found = [encoding.decode(name, batch[name]).tolist() for name in BOTH]
    for i, start in enumerate([0, 20, starts[-1]]):
        assert found[0][i] == POEM[start : start + 10]
        assert found[1][i] == POEM[start + 1 : start + 11]
    assert source.streams["next"].shape == (10,)
    assert source.streams["next"].dtype == "int64"
    assert source.streams["next"].classes == (
        "",
        "\ufffd",
        *sorted(set(POEM), key=lambda c: (-POEM.count(c), c)),
    )


@pytest.mark.parametrize("tokens", ["characters", "words", "bytepair"])
@pytest.mark.parametrize("stride", [3, 8])
def test_no_token_is_in_two_parts(tokens: str, stride: int, gathered) -> None:
    """Every token of the text by its number: the words are all different."""
    many = " ".join(str(n) for n in range(3000))
    text = Text(window=8, stride=stride, tokens=tokens, vocabulary=300 if tokens == "bytepair" else None)
    examples = text.read([many, "9 " * 300], nowhere)
    order = np.random.default_rng(0).permutation(len(examples))
    test, train = order[:10], order[10:]
    encoding = examples.learn(train, ["text"], ["next"])
    one = "".join(examples.runs(train))
    other = "".join(examples.runs(test))
    assert sorted(one + other) == sorted(many + "9 " * 300)
    for rows, runs in ((train, list(examples.runs(train))), (test, list(examples.runs(test)))):
        source = encoding.encode(examples, rows, BOTH)
        reference = [encoding.vocabulary.encode(run) for run in runs]
        expected = [
            ids[start : start + 9]
            for ids in reference
            for start in range(0, len(ids), stride)
            if start + 9 <= len(ids)
        ]
        assert len(source) == len(expected)
        batch = gathered(source, list(range(len(source))))
        np.testing.assert_array_equal(batch["text"], np.array(expected)[:, :-1])
        np.testing.assert_array_equal(batch["next"], np.array(expected)[:, 1:])


def test_the_vocabulary_is_that_of_the_training_rows() -> None:
    text = Text(window=4)
    examples = text.read("abcd " * 100 + "xyz " * 100, nowhere)
    last = examples.parts["train"][-3:]
    encoding = examples.learn(examples.parts["train"][:10], ["text"], ["next"])
    assert set(encoding.streams["text"].classes[2:]) == set("abcd ")
    source = encoding.encode(examples, last, BOTH)
    run = "".join(examples.runs(last))
    unknown = sum(run.count(c) for c in "xyz")
    assert source.notes[0] == (
        f"{unknown} of {len(run)} characters ({unknown / len(run):.2%}) are not in the vocabulary and read as"
        " unknown, such as 'x', 'y', 'z'"
    )


@given(st.text("ab \n", max_size=3000), st.integers(1, 40))
def test_stretches_cover_the_text_once(text: str, window: int) -> None:
    spans = list(stretches(text, window))
    assert "".join(text[a:b] for a, b in spans) == text
    assert all(b - a >= 2 * window for a, b in spans) or len(spans) == 1
    assert all(
        a == 0 or text[a - 1].isspace() or not any(map(str.isspace, text[a : a + window])) for a, _ in spans
    )


def test_a_long_text_has_a_thousand_stretches() -> None:
    spans = list(stretches("x" * 1_000_000, 8))
    assert len(spans) == 1000
    assert {b - a for a, b in spans} == {1000}


def test_what_is_left_over_is_counted() -> None:
    text = Text(window=5, stride=7)
    source = text.read("a" * 20, nowhere)
    encoding = source.learn(np.array([0]), ["text"], ["next"])
    assert encoding.notes == ["the vocabulary has 3 tokens (characters) with padding and unknown"]
    # Windows of 5 and one behind: 0 .. 5, 7 .. 12, 14 .. 19.
    assert encoding.encode(source, np.array([0]), BOTH).notes == ("2 of 20 tokens are in no window",)
    assert len(encoding.encode(source, np.array([0]), BOTH)) == 3


def test_prediction_needs_no_token_behind_the_window(gathered) -> None:
    text = Text(window=6)
    encoding = text.read("abcdef" * 20, nowhere).learn(np.array([0]), ["text"], ["next"])
    examples = text.read("fedcba", nowhere)
    source = encoding.encode(examples, np.array([0]), ["text"])
    assert encoding.decode("text", gathered(source, [0])["text"]).tolist() == ["fedcba"]
    with pytest.raises(DataError, match="text 0: the longest run has 6 tokens, which a window of 6"):
        encoding.encode(examples, np.array([0]), BOTH)


def test_a_part_of_the_windows(gathered) -> None:
    text = Text(window=4)
    examples = text.read(POEM, nowhere)
    source = examples.learn(examples.parts["train"], ["text"], ["next"]).encode(
        examples, examples.parts["train"], BOTH
    )
    part = source.select(np.array([7, 3, 9])).select(np.array([2, 0]))
    assert len(part) == 2
    np.testing.assert_array_equal(gathered(part, [1, 0])["next"], gathered(source, [7, 9])["next"])
    with pytest.raises(IndexError):
        gathered(part, [2])


def test_rows_that_do_not_exist_and_what_a_reader_takes(find: Find) -> None:
    reader = Text(window=4)
    examples = reader.read(["abcdefghijklmnop"], find)
    source = examples.learn(np.arange(1), ["text"], []).encode(examples, np.arange(1), ["text"])
    for wrong in (-1, len(source)):
        with pytest.raises(IndexError):
            source.gather(np.array([wrong]), {"text": np.zeros((1, 4), np.int64)})
    assert reader.takes(["a", "b"])
    assert not any(map(reader.takes, ("a", [], [1], {"a": "b"}, np.zeros(3), None)))


def test_a_file_and_its_errors(find: Find, tmp_path: Path) -> None:
    (tmp_path / "poem.txt").write_text(POEM)
    examples = Text(file="poem.txt").open(find)
    assert "".join(examples.runs(examples.parts["train"])) == POEM
    (tmp_path / "poem.txt").write_text("short")
    examples = Text(file="poem.txt").open(find)
    encoding = examples.learn(np.array([0]), ["text"], ["next"])
    with pytest.raises(DataError, match=r"poem.txt: the longest run has 5 tokens, which a window of 64"):
        encoding.encode(examples, np.array([0]), BOTH)
    with pytest.raises(DataError, match="names no file"):
        Text().open(find)
    with pytest.raises(DataError, match=r"'txt' is no stream of running text; it has text, next. Did you"):
        examples.learn(np.array([0]), ["txt"], ["next"])
    with pytest.raises(DataError, match="no column 'label' to divide by; write split: last"):
        examples.column("label")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"window": 0}, "window: 0 is too small: expected a whole number, at least 1"),
        ({"stride": 0}, "stride: 0 is too small"),
        ({"tokens": "letters"}, "expected characters, words or bytepair"),
        ({"tokens": "bytepair"}, "tokens: bytepair needs the field 'vocabulary': expected .* above 257"),
        ({"tokens": "bytepair", "vocabulary": 257}, "vocabulary: 257 is too small for bytepair"),
        ({"vocabulary": 2}, "vocabulary: 2 is too small"),
        ({"encoding": "utf8x"}, "encoding: unknown encoding 'utf8x'"),
    ],
)
def test_wrong_fields(fields: dict[str, object], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        Text(**fields)


def test_tiny_shakespeare(real: Find, gathered) -> None:
    content = real("text/tinyshakespeare/input.txt").read_text()
    text = Text(file="text/tinyshakespeare/input.txt", window=32, tokens="bytepair", vocabulary=500)
    examples = text.open(real)
    train, test = np.split(examples.parts["train"], [900])
    encoding = examples.learn(train, ["text"], ["next"])
    source = encoding.encode(examples, test, BOTH)
    shown = encoding.decode("text", gathered(source, list(range(len(source))))["text"])
    assert "".join(shown) == content[-len("".join(examples.runs(test))) :][: len("".join(shown))]
    letters = Text(file="text/tinyshakespeare/input.txt").open(real)
    assert len(letters.learn(letters.parts["train"], [], []).streams["text"].classes) == 65 + 2
