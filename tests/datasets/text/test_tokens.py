"""Vocabularies of characters and words, against counting by hand."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cortex_compute.errors import DataError
from cortex_datasets.text.tokens import (
    Characters,
    Vocabulary,
    Words,
    decode_each,
    learn,
    restore,
)

ANY = st.text(st.characters(), max_size=60)  # lone surrogates, too: a str may hold them


def test_characters_by_hand() -> None:
    made = Characters.learn(["banana", "bun"])
    assert made.tokens == ("", "\ufffd", "a", "n", "b", "u")  # 3, 3, 2, 1 of them; equals by their text
    ids = made.encode("nab x")
    assert ids.tolist() == [3, 2, 4, 1, 1]
    assert made.decode(ids) == "nab\ufffd\ufffd"
    assert made.unseen("nab x x") == {" ": 2, "x": 2}


def test_words_by_hand() -> None:
    text = "The dog's dog-house, the end.\n\nIt 'is'  naïve!\tYes"
    pieces = ["The", "dog's", "dog-house", ",", "the", "end", ".", "\n", "\n"]
    pieces += ["It", "'", "is", "'", "naïve", "!", "Yes"]
    assert list(Words.split(text)) == pieces
    made = Words.learn([text])
    assert made.decode(made.encode(text)) == "The dog's dog-house , the end .\n\nIt ' is ' naïve ! Yes"
    assert made.unseen("the cat The\ncat") == {"cat": 2}


@pytest.mark.parametrize(("size", "kept"), [(4, "ab"), (3, "a"), (9, "abc")])
def test_the_most_frequent_are_kept(size: int, kept: str) -> None:
    assert Characters.learn(["cabbaa", "b"], size).tokens[2:] == tuple(kept)
    assert Words.learn(["c a b b a a", "b"], size).tokens[2:] == tuple(kept)


@given(ANY, ANY)
def test_characters_give_back_what_they_know(text: str, other: str) -> None:
    made = Characters.learn([text])
    assert made.decode(made.encode(text)) == text
    expected = "".join(c if c in text else "\ufffd" for c in other)
    assert made.decode(made.encode(other)) == expected


@given(ANY, ANY)
def test_words_give_back_tokens_with_single_spaces(text: str, other: str) -> None:
    made = Words.learn([text])
    for given_text in (text, other):
        ids = made.encode(given_text)
        np.testing.assert_array_equal(made.encode(made.decode(ids)), ids)
    lines = text.replace("\ufffd", "").split("\n")
    decoded = made.decode(made.encode("\n".join(lines))).split("\n")
    assert [line.replace(" ", "") for line in decoded] == ["".join(line.split()) for line in lines]


@given(ANY, st.sampled_from(["characters", "words", "bytepair"]))
def test_the_state_is_json_and_comes_back(text: str, kind: str) -> None:
    made = learn(kind, [text], 300)
    again = restore(json.loads(json.dumps(made.state())))
    assert type(again) is type(made)
    assert again.tokens == made.tokens
    np.testing.assert_array_equal(again.encode(text), made.encode(text))


@pytest.mark.parametrize(("count", "dtype"), [(254, "uint8"), (255, "uint16"), (70_000, "uint32")])
def test_the_smallest_type_that_holds_the_ids(count: int, dtype: str) -> None:
    made = Characters(map(chr, range(0x20000, 0x20000 + count)))
    last = made.tokens[-1]
    assert made.encode(last).dtype == dtype
    assert made.decode(made.encode(last)) == last


def test_padding_is_nothing() -> None:
    letters, words = Characters("ab"), Words(["a", "b"])
    assert letters.decode(np.array([2, 0, 3, 0, 0])) == "ab"
    assert words.decode(np.array([2, 0, 3, 0, 0])) == "a b"


def test_rows_of_ids() -> None:
    made = Characters("ab")
    texts = decode_each(made, np.array([[[2, 3], [3, 0]], [[0, 0], [2, 2]]]))
    assert texts.tolist() == [["ab", "b"], ["", "aa"]]


@pytest.mark.parametrize("made", [Characters("ab"), Words("ab"), learn("bytepair", ["ab"], 260)])
@pytest.mark.parametrize("wrong", [-1, 1000])
def test_an_id_that_is_no_token(made: Vocabulary, wrong: int) -> None:
    with pytest.raises(DataError, match=f"{wrong} is the id of no token; the vocabulary has 0 .. "):
        made.decode(np.array([2, wrong]))


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (None, "of the kind None; expected"),
        ([], "of the kind None; expected"),
        ({"kind": "letters"}, "of the kind 'letters'"),
        ({"kind": ["words"]}, "of the kind"),
        ({"kind": "words"}, "words is damaged"),
        ({"kind": "words", "tokens": "ab"}, "words is damaged"),
        ({"kind": "words", "tokens": ["a", ""]}, "words is damaged"),
        ({"kind": "characters", "tokens": ["a", 3]}, "characters is damaged"),
        ({"kind": "characters", "tokens": ["a", "a"]}, "twice"),
        ({"kind": "characters", "tokens": ["\ufffd"]}, "twice"),
        ({"kind": "bytepair"}, "byte pairs is damaged"),
        ({"kind": "bytepair", "merges": [[1, 2], [3]]}, "byte pairs is damaged"),
        ({"kind": "bytepair", "merges": [[1, 257]]}, "byte pairs is damaged"),  # made by itself
        ({"kind": "bytepair", "merges": [[0, 1]]}, "byte pairs is damaged"),
        (
            {"kind": "bytepair", "merges": [[1, 1], *([n, n] for n in range(257, 300))]},
            "merge 8 has more than",
        ),
        ({"kind": "bytepair", "merges": [[1.0, 2]]}, "byte pairs is damaged"),
    ],
)
def test_a_damaged_state(state: object, message: str) -> None:
    with pytest.raises(DataError, match=message):
        restore(state)


def test_byte_pairs_need_a_size() -> None:
    with pytest.raises(DataError, match="give 'vocabulary', such as 1024"):
        learn("bytepair", ["ab"], None)
