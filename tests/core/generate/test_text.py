"""Prompts to tokens, and text as it grows, with the vocabularies of real texts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cortex_compute.errors import DataError
from cortex_core.generate.text import Decoder, Letters, Numbers, Text
from cortex_datasets.text.bpe import BytePair
from cortex_datasets.text.tokens import Characters, Vocabulary, Words

WRITTEN = "the king, the queen\nand the fool: 'tis naïve — 日本 the end\n" * 3
CHARACTERS, WORDS = Characters.learn([WRITTEN]), Words.learn([WRITTEN])
PAIRS = BytePair.learn([WRITTEN], 270)


def grown(text: Text | Numbers, before: list[int], tokens: list[int]) -> list[str]:
    decoder = Decoder(text, before)
    return [*map(decoder.add, tokens), decoder.end()]


@pytest.mark.parametrize("vocabulary", [CHARACTERS, PAIRS])
@given(data=st.data())
def test_pieces_make_the_whole(vocabulary: Vocabulary, data: st.DataObject) -> None:
    text = Text(vocabulary, None)
    begin = data.draw(st.integers(0, 40))
    end = data.draw(st.integers(begin, 80))
    pieces = grown(text, text.encode(WRITTEN[:begin]), text.encode(WRITTEN[begin:end]))
    assert "".join(pieces) == WRITTEN[begin:end]


@given(ids=st.lists(st.integers(1, 269), max_size=30), before=st.lists(st.integers(1, 269), max_size=3))
def test_any_bytes_grow_to_what_they_decode_to(ids: list[int], before: list[int]) -> None:
    """Also those that are no UTF-8, behind a prompt that is."""
    text = Text(PAIRS, None)
    start = text.encode("so ")
    assert "so " + "".join(grown(text, start, ids)) == text.decode([*start, *ids])


def test_a_character_appears_as_a_whole() -> None:
    text = Text(PAIRS, None)
    ids = [byte + 1 for byte in "日x".encode()]
    assert grown(text, [], ids) == ["", "", "日", "x", ""]
    assert grown(text, [], ids[:2]) == ["", "", "\ufffd"]


def test_a_broken_byte_changes_nothing_elsewhere() -> None:
    text = Text(PAIRS, None)
    ids = [byte + 1 for byte in b"\x80 \xed\xa0\x80"]
    assert text.decode(ids) == "".join(grown(text, [], ids)) == "\ufffd \ud800"


def test_words_have_spaces_and_lines_none() -> None:
    text = Text(WORDS, None)
    pieces = grown(text, text.encode("the"), text.encode("king,\nthe end"))
    assert "".join(pieces) == " king ,\nthe end"
    assert pieces[:2] == [" king", " ,"]


@pytest.mark.parametrize(
    ("vocabulary", "prompt", "message"),
    [
        (CHARACTERS, "the Zoo", "'Z', at character 5 of the prompt, is not among the 27 tokens"),
        (WORDS, "the king sleeps", "'sleeps', at character 10 of the prompt"),
        (WORDS, "the  end-king, kin", "'end-king', at character 6 of the prompt"),
        (WORDS, "king kin", "'kin', at character 6 of the prompt"),
        (CHARACTERS, "a\ufffd", "at character 2 of the prompt"),
    ],
)
def test_what_a_vocabulary_lacks(vocabulary: Vocabulary, prompt: str, message: str) -> None:
    with pytest.raises(DataError) as error:
        Text(vocabulary, None).encode(prompt)
    assert message in str(error.value)


def test_what_a_vocabulary_has_is_said() -> None:
    for vocabulary, prompt, message in (
        (Letters(("", "a", "b")), "c", "is not among the 3 tokens that this network knows: 'ab'"),
        (Characters.learn(["cab\n"]), "B", "6 tokens that this network knows: '\\nabc'"),
        (WORDS, "the King", "tokens that this network knows, but 'king' is"),
    ):
        with pytest.raises(DataError) as error:
            Text(vocabulary, None).encode(prompt)
        assert str(error.value).endswith(message)


def test_byte_pairs_know_every_text() -> None:
    text = Text(PAIRS, None)
    assert text.decode(text.encode("Ünseen 🙂")) == "Ünseen 🙂"


def test_padding_and_unknown_are_hidden() -> None:
    assert Text(CHARACTERS, None).hidden == (0, 1)
    assert Text(PAIRS, None).hidden == (0,)


def test_numbers() -> None:
    numbers = Numbers()
    assert numbers.encode("3, 14 15") == numbers.encode("3,14,15") == [3, 14, 15]
    assert numbers.encode("  ") == []
    assert numbers.decode([3, 14]) == "3 14"
    assert grown(numbers, [3, 14], [15, 9]) == [" 15", " 9", ""]
    assert grown(numbers, [], [15, 9]) == ["15", " 9", ""]
    for wrong in ("abc", "1,-2", "1.5", "1;2", "1" * 5000):
        with pytest.raises(DataError, match="learned no text; expected the numbers of tokens, such as 3,14"):
            numbers.encode(wrong)


def test_letters() -> None:
    text = Text(Letters(("", "a", "b")), None)
    assert text.encode("abba") == [1, 2, 2, 1]
    assert text.decode([2, 0, 1]) == "ba"
    assert text.hidden == (0,)
    with pytest.raises(DataError, match="'c', at character 3 of the prompt, is not among the 3 tokens"):
        text.encode("abc")
    for wrong in (3, -1):
        with pytest.raises(DataError, match=f"{wrong} is the id of no token; there are 0 .. 2"):
            text.decode([1, wrong])
