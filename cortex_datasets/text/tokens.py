"""Vocabularies: the tokens of a text, and a number for each.

A token is its text, and a vocabulary is the list of them, by id.  Id 0 is padding, the empty text.  Where a
text may hold what the vocabulary lacks, id 1 is unknown, U+FFFD, the replacement character of Unicode.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import numpy as np

from cortex_compute.errors import DataError

Array = np.ndarray[Any, Any]

PADDING, UNKNOWN = 0, 1
PADDING_TEXT, UNKNOWN_TEXT = "", "\ufffd"

WORD = re.compile(r"\w+(?:['’-]\w+)*|[^\w\s]|\n")


class Vocabulary(ABC):
    """What a text is encoded with.  ``tokens`` holds the text of each id."""

    kind: ClassVar[str]
    tokens: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.tokens)

    @property
    def dtype(self) -> np.dtype[Any]:
        """The smallest unsigned type that holds every id."""
        return np.min_scalar_type(len(self) - 1)

    @abstractmethod
    def encode(self, text: str) -> Array:
        """The ids of a text, (tokens,), of ``dtype``."""

    @abstractmethod
    def decode(self, ids: Array) -> str:
        """The text of ids, (tokens,); padding is nothing.  Raises DataError for an id that is no token."""

    @abstractmethod
    def unseen(self, text: str) -> Counter[str]:
        """What is encoded as unknown, and how often."""

    @abstractmethod
    def state(self) -> dict[str, Any]:
        """The vocabulary as JSON data, for `restore`."""

    def check(self, ids: Array) -> None:
        """Raises DataError for an id that is no token."""
        if ids.size and not (ids.min() >= 0 and ids.max() < len(self)):
            wrong = ids[(ids < 0) | (ids >= len(self))].flat[0]
            raise DataError(f"{wrong} is the id of no token; the vocabulary has 0 .. {len(self) - 1}")


class Listed(Vocabulary):
    """A vocabulary of what was seen: ids from 2 on, the most frequent first, equals in the order of text."""

    def __init__(self, seen: Iterable[str]) -> None:
        self.tokens = (PADDING_TEXT, UNKNOWN_TEXT, *seen)
        self._ids = {token: id_ for id_, token in enumerate(self.tokens)}
        if len(self._ids) != len(self.tokens):
            raise DataError(f"a vocabulary of {self.kind} that holds one of them twice")

    @classmethod
    def learn(cls, texts: Iterable[str], size: int | None = None) -> Listed:
        """The vocabulary of some texts: at most ``size`` tokens, padding and unknown among them."""
        counts: Counter[str] = Counter()
        for text in texts:
            counts.update(cls.split(text))
        counts.pop(UNKNOWN_TEXT, None)
        seen = sorted(counts, key=lambda token: (-counts[token], token))
        return cls(seen if size is None else seen[: size - 2])

    @staticmethod
    @abstractmethod
    def split(text: str) -> Iterable[str]:
        """The pieces of a text that may be tokens."""

    def encode(self, text: str) -> Array:
        ids = self._ids
        return np.fromiter((ids.get(piece, UNKNOWN) for piece in self.split(text)), self.dtype)

    def unseen(self, text: str) -> Counter[str]:
        return Counter(piece for piece in self.split(text) if self._ids.get(piece, UNKNOWN) == UNKNOWN)

    def state(self) -> dict[str, Any]:
        return {"kind": self.kind, "tokens": list(self.tokens[2:])}


class Characters(Listed):
    """Each character (code point) is a token.  What is decoded is what was encoded, but for the unknown."""

    kind = "characters"

    @staticmethod
    def split(text: str) -> Iterable[str]:
        return text

    def decode(self, ids: Array) -> str:
        self.check(ids)
        return "".join([self.tokens[id_] for id_ in ids.tolist()])


class Words(Listed):
    """Words, marks and ends of lines are tokens; other white space only parts them.

    A word is a run of letters, digits and underscores, apostrophes and hyphens inside it included; every
    other character is a mark.  Decoding puts one space between tokens, and none around the end of a line.
    """

    kind = "words"

    @staticmethod
    def split(text: str) -> Iterable[str]:
        return (match.group() for match in WORD.finditer(text))

    def decode(self, ids: Array) -> str:
        self.check(ids)
        text = " ".join([self.tokens[id_] for id_ in ids.tolist() if id_ != PADDING])
        return re.sub(" ?\n ?", "\n", text)


def learn(kind: str, texts: Iterable[str], size: int | None) -> Vocabulary:
    """A vocabulary of at most ``size`` tokens, learned from texts: "characters", "words" or "bytepair"."""
    from cortex_datasets.text.bpe import BytePair

    if kind == BytePair.kind:
        if size is None:
            raise DataError("byte pairs need the number of tokens to learn; give 'vocabulary', such as 1024")
        return BytePair.learn(texts, size)
    return {"characters": Characters, "words": Words}[kind].learn(texts, size)


def restore(state: Any) -> Vocabulary:
    """The vocabulary that gave this state.  Raises DataError where it is none."""
    from cortex_datasets.text.bpe import BytePair

    kind = state.get("kind") if isinstance(state, Mapping) else None
    if kind == BytePair.kind:
        return BytePair.restore(state)
    listed = {"characters": Characters, "words": Words}.get(kind) if isinstance(kind, str) else None
    if listed is None:
        raise DataError(
            f"the saved vocabulary is of the kind {kind!r}; expected characters, words or bytepair"
        )
    tokens = state.get("tokens")
    if not isinstance(tokens, list) or not all(isinstance(token, str) and token for token in tokens):
        raise DataError(f"the saved vocabulary of {kind} is damaged: expected a list of texts under 'tokens'")
    return listed(tokens)


def decode_each(vocabulary: Vocabulary, values: Array) -> Array:
    """The texts of rows of ids, (..., tokens) -> (...) of str."""
    ids = np.atleast_1d(values)
    texts = np.empty(ids.shape[:-1], object)
    for place in np.ndindex(texts.shape):
        texts[place] = vocabulary.decode(ids[place])
    return texts
