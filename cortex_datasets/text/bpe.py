"""Byte-pair encoding: the most frequent pair of neighbouring tokens becomes a token, again and again.

P. Gage, "A New Algorithm for Data Compression", 1994; R. Sennrich, B. Haddow, A. Birch, "Neural Machine
Translation of Rare Words with Subword Units", 2016.  Tokens are made of bytes of UTF-8, so that every text
can be encoded, and decoding gives it back exactly.
"""

from __future__ import annotations

import codecs
import itertools
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from heapq import heapify, heappop, heappush
from typing import Any

import numpy as np

from cortex_compute.errors import DataError
from cortex_datasets.text.tokens import Array, Vocabulary

Pair = tuple[int, int]

FIRST_BYTE = 1  # id 0 is padding
FIRST_MERGE = FIRST_BYTE + 256

LENIENT = "cortex.lenient"  # how bytes become text: each piece in the same way, whatever stands beside it

LONGEST_TOKEN = 65 * 4  # bytes of the longest piece

# A word with the space before it, a run of marks, the end of a line, a run of spaces: no token crosses their
# borders.  At most 64 characters, so that a text without spaces is no slower than another.
PIECE = re.compile(r" ?\w{1,64}| ?[^\w\s]{1,64}|\n|[^\S\n]{1,64}(?!\S)|[^\S\n]")


class BytePair(Vocabulary):
    """Bytes, and pairs of tokens.  ``merges``: the pairs of ids, in the order in which they were learned.

    Ids: 0 padding, 1 .. 256 the bytes, then one for each merge.  Nothing is unknown.  The texts in ``tokens``
    show each byte as the character of that number.
    """

    kind = "bytepair"

    def __init__(self, merges: Iterable[Pair]) -> None:
        self.merges = tuple(merges)
        self._bytes = [b"", *(bytes([byte]) for byte in range(256))]
        for left, right in self.merges:
            self._bytes.append(self._bytes[left] + self._bytes[right])
        self._merged = {pair: FIRST_MERGE + rank for rank, pair in enumerate(self.merges)}
        self._encode_piece = lru_cache(maxsize=1 << 16)(self._encode_one)
        self.tokens = tuple(token.decode("latin-1") for token in self._bytes)

    @classmethod
    def learn(cls, texts: Iterable[str], size: int) -> BytePair:
        """Merges learned from texts: ``size`` tokens, or fewer where no pair is left that occurs twice."""
        counts: Counter[str] = Counter()
        for text in texts:
            counts.update(match.group() for match in PIECE.finditer(text))
        return cls(learn_merges({_bytes(piece): n for piece, n in counts.items()}, size - FIRST_MERGE))

    @classmethod
    def restore(cls, state: Mapping[str, Any]) -> BytePair:
        """From what ``state`` gave.  Raises DataError where it is damaged."""
        merges = state.get("merges")
        if not isinstance(merges, list) or not all(
            isinstance(pair, list)
            and len(pair) == 2
            and all(type(id_) is int and FIRST_BYTE <= id_ < FIRST_MERGE + rank for id_ in pair)
            for rank, pair in enumerate(merges)
        ):
            raise DataError("the saved vocabulary of byte pairs is damaged: expected pairs of earlier ids")
        sizes = [0] + [1] * 256
        for rank, (left, right) in enumerate(merges):
            sizes.append(sizes[left] + sizes[right])
            if sizes[-1] > LONGEST_TOKEN:
                what = f"merge {rank} has more than {LONGEST_TOKEN} bytes, which none that is learned has"
                raise DataError(f"the saved vocabulary of byte pairs is damaged: {what}")
        return cls((left, right) for left, right in merges)

    def state(self) -> dict[str, Any]:
        return {"kind": self.kind, "merges": [list(pair) for pair in self.merges]}

    def encode(self, text: str) -> Array:
        pieces = (self._encode_piece(match.group()) for match in PIECE.finditer(text))
        return np.fromiter(itertools.chain.from_iterable(pieces), self.dtype)

    def decode(self, ids: Array) -> str:
        """The text of ids; bytes that are no UTF-8, such as half a character, become U+FFFD."""
        self.check(ids)
        return b"".join([self._bytes[id_] for id_ in ids.tolist()]).decode("utf-8", LENIENT)

    def unseen(self, text: str) -> Counter[str]:
        return Counter()

    def _encode_one(self, piece: str) -> tuple[int, ...]:
        """Joins the pair that was learned first, until none is left that was learned."""
        word = [byte + FIRST_BYTE for byte in _bytes(piece)]
        while len(word) > 1:
            ranks = [self._merged.get(pair, len(self)) for pair in itertools.pairwise(word)]
            best = min(ranks)
            if best == len(self):
                break
            word = join(word, self.merges[best - FIRST_MERGE], best)
        return tuple(word)


def learn_merges(counts: Mapping[bytes, int], limit: int) -> list[Pair]:
    """At most ``limit`` merges from words and how often each occurs.

    Of equally frequent pairs the one with the smaller ids is taken.  Ends where no pair occurs twice.  The
    counts of pairs are kept up to date: a merge touches only the words that hold its pair.
    """
    words = [[byte + FIRST_BYTE for byte in word] for word in counts]
    weights = list(counts.values())
    pairs: Counter[Pair] = Counter()
    holders: defaultdict[Pair, set[int]] = defaultdict(set)  # also words that held the pair once
    for index, word in enumerate(words):
        for pair in itertools.pairwise(word):
            pairs[pair] += weights[index]
            holders[pair].add(index)
    queue = [(-count, pair) for pair, count in pairs.items()]
    heapify(queue)
    merges: list[Pair] = []
    while queue and len(merges) < limit:
        count, pair = heappop(queue)
        if -count != pairs[pair]:  # counted before a later merge: the newer count is queued, too
            continue
        if -count < 2:
            break
        token = FIRST_MERGE + len(merges)
        merges.append(pair)
        changed: set[Pair] = set()
        for index in holders.pop(pair):
            before = words[index]
            after = words[index] = join(before, pair, token)
            for old in itertools.pairwise(before):
                pairs[old] -= weights[index]
                changed.add(old)
            for new in itertools.pairwise(after):
                pairs[new] += weights[index]
                holders[new].add(index)
                changed.add(new)
        for touched in changed:
            heappush(queue, (-pairs[touched], touched))
    return merges


def join(word: Sequence[int], pair: Pair, token: int) -> list[int]:
    """A word with each occurrence of a pair, from left to right, replaced by one token."""
    left, right = pair
    joined: list[int] = []
    index, last = 0, len(word) - 1
    while index <= last:
        if word[index] == left and index < last and word[index + 1] == right:
            joined.append(token)
            index += 2
        else:
            joined.append(word[index])
            index += 1
    return joined


def _lenient(error: UnicodeError) -> tuple[str | bytes, int]:
    """A lone surrogate, as `_bytes` writes it, is itself; other bytes that are no UTF-8 become U+FFFD."""
    try:
        return codecs.lookup_error("surrogatepass")(error)
    except UnicodeDecodeError:
        return codecs.lookup_error("replace")(error)


codecs.register_error(LENIENT, _lenient)


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
