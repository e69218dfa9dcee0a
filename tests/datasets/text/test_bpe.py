"""Byte-pair encoding against the example of Sennrich et al. and against the plain algorithm."""

from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from cortex_datasets.text.bpe import FIRST_MERGE, PIECE, BytePair, join, learn_merges

ANY = st.text(st.characters(), max_size=80)
FEW = st.text("ab c\n!", max_size=80)  # so few characters that pairs are met again


def plain_merges(counts: dict[bytes, int], limit: int) -> list[tuple[int, int]]:
    """The algorithm as it is told: count all pairs anew for each merge."""
    words = {tuple(byte + 1 for byte in word): n for word, n in counts.items()}
    merges: list[tuple[int, int]] = []
    while len(merges) < limit:
        pairs: Counter[tuple[int, int]] = Counter()
        for word, n in words.items():
            for i in range(len(word) - 1):
                pairs[word[i], word[i + 1]] += n
        if not pairs or max(pairs.values()) < 2:
            break
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merged: dict[tuple[int, ...], int] = {}
        for word, n in words.items():
            out: list[int] = []
            i = 0
            while i < len(word):
                if word[i : i + 2] == best:
                    out.append(257 + len(merges))
                    i += 2
                else:
                    out.append(word[i])
                    i += 1
            merged[tuple(out)] = n
        words = merged
        merges.append(best)
    return merges


def test_the_example_of_sennrich() -> None:
    """Listing 1 of the paper, with "_" for the end of a word.

    Whichever of the equally frequent pairs is taken first, the first three merges (9 times) make "est_", the
    next two (7 times) "low", three more (6 times) "newest_", and one (5 times) "low_".
    """
    counts = {b"low_": 5, b"lower_": 2, b"newest_": 6, b"widest_": 3}

    def pieces(merges: int, word: str) -> list[str]:
        learned = BytePair(learn_merges(counts, merges))
        return [learned.tokens[id_] for id_ in learned.encode(word)]

    assert pieces(3, "widest_") == ["w", "i", "d", "est_"]
    assert pieces(5, "lowest_") == ["low", "est_"]
    assert pieces(8, "newest_") == ["newest_"]
    assert pieces(8, "low_") == ["low", "_"]
    assert pieces(9, "low_") == ["low_"]


@given(st.dictionaries(st.binary(min_size=1, max_size=12), st.integers(1, 5), max_size=12))
def test_merges_are_those_of_the_plain_algorithm(counts: dict[bytes, int]) -> None:
    assert learn_merges(counts, 30) == plain_merges(counts, 30)


@given(
    st.dictionaries(st.text("aab", min_size=1, max_size=12).map(str.encode), st.integers(1, 5), max_size=12)
)
def test_repeats_and_overlaps_are_merged_alike(counts: dict[bytes, int]) -> None:
    assert learn_merges(counts, 30) == plain_merges(counts, 30)


@given(FEW, FEW)
def test_encoding_applies_the_merges_in_their_order(text: str, other: str) -> None:
    learned = BytePair.learn([text], 280)
    expected: list[int] = []
    for piece in PIECE.findall(other):
        word = [byte + 1 for byte in piece.encode()]
        for rank, pair in enumerate(learned.merges):
            word = join(word, pair, FIRST_MERGE + rank)
        expected += word
    assert learned.encode(other).tolist() == expected


@given(ANY, ANY)
def test_any_text_comes_back(text: str, other: str) -> None:
    learned = BytePair.learn([text], 290)
    for given_text in (text, other):
        assert learned.decode(learned.encode(given_text)) == given_text
        assert not learned.unseen(given_text)


@given(ANY)
def test_pieces_leave_nothing_out(text: str) -> None:
    assert "".join(PIECE.findall(text)) == text


def test_pieces_by_hand() -> None:
    text = "To be,  or\nnot 'tis \n x"
    assert PIECE.findall(text) == ["To", " be", ",", " ", " or", "\n", "not", " '", "tis", " ", "\n", " x"]


def test_tokens_do_not_cross_words() -> None:
    learned = BytePair.learn(["aa aa aa aa\naa aa!!"], 400)
    assert learned.tokens[FIRST_MERGE:] == ("aa", " aa", "!!")[: len(learned.tokens) - FIRST_MERGE]
    assert learned.encode("\naa aa").tolist() == [ord("\n") + 1, 257, 258]


def test_learning_ends_where_no_pair_occurs_twice() -> None:
    assert BytePair.learn(["abcdef"], 1000).merges == ()
    assert len(BytePair.learn(["abab"], 1000).merges) == 1


def test_half_a_character() -> None:
    learned = BytePair([])
    ids = learned.encode("é!")
    assert ids.tolist() == [0xC3 + 1, 0xA9 + 1, ord("!") + 1]
    assert learned.decode(ids[1:]) == "\ufffd!"


def test_a_long_text_without_spaces() -> None:
    learned = BytePair.learn(["ab" * 5000], 300)
    ids = learned.encode("ab" * 500_000)
    assert learned.decode(ids) == "ab" * 500_000
    assert len(ids) < 50_000
    assert ids.dtype == np.uint16
