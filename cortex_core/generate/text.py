"""Prompts become tokens, and tokens text, as it grows."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from cortex_compute.errors import DataError

NUMBERS = re.compile(r"\s*\d{1,18}(?:[\s,]+\d{1,18})*\s*")  # of 64 bits
SHOWN = 100  # so many characters are listed where one is not among them
HALF = "\ufffd"  # what stands for bytes that are no character yet, and for what a vocabulary lacks


class Text:
    """The text of a network that learned a vocabulary.

    ``separator`` is the token that ends one sequence and begins the next, such as the end of a line, or None.
    """

    def __init__(self, vocabulary: Any, separator: int | None) -> None:
        self._vocabulary, self.separator = vocabulary, separator

    @property
    def hidden(self) -> tuple[int, ...]:
        """The tokens that stand for no text: padding and unknown."""
        return tuple(i for i, token in enumerate(self._vocabulary.tokens) if token in ("", HALF))

    def __len__(self) -> int:
        """How many tokens there are."""
        return len(self._vocabulary)

    def encode(self, prompt: str, what: str = "the prompt") -> list[int]:
        """The tokens of a text.  Raises `DataError` for one that the vocabulary lacks: where in ``what``."""
        unseen = self._vocabulary.unseen(prompt)
        if unseen:
            piece = next(iter(unseen))
            where = f"at character {self._place(piece, prompt) + 1} of {what}"
            raise DataError(
                f"{piece!r}, {where}, is not among the {len(self):,} tokens that this network knows"
                + self._known(piece)
            )
        return [int(id_) for id_ in self._vocabulary.encode(prompt)]

    def _known(self, piece: str) -> str:
        """What the vocabulary has instead: all of it, if it is a few characters, or the small letters."""
        shown = [token for i, token in enumerate(self._vocabulary.tokens) if i not in self.hidden]
        if len(shown) <= SHOWN and max(map(len, shown), default=0) == 1:
            return f": {''.join(sorted(shown))!r}"
        small = piece.lower()
        return f", but {small!r} is" if small in shown else ""

    def _place(self, piece: str, prompt: str) -> int:
        """Where a token first stands as a whole."""
        at = 0
        for found in self._vocabulary.split(prompt):
            at = prompt.index(found, at)
            if found == piece:
                break
            at += len(found)
        return at

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of tokens."""
        text: str = self._vocabulary.decode(np.asarray(tokens, np.int64))
        return text


class Letters:
    """The vocabulary of a stream whose classes are characters, as data sets that are made have them; padding
    is the empty text."""

    def __init__(self, classes: Sequence[str]) -> None:
        self.tokens = tuple(classes)
        self._ids = {letter: id_ for id_, letter in enumerate(classes) if letter}

    def __len__(self) -> int:
        return len(self.tokens)

    @staticmethod
    def split(text: str) -> str:
        """The pieces of a text that may be tokens."""
        return text

    def encode(self, text: str) -> list[int]:
        """The ids of characters that there are."""
        return [self._ids[letter] for letter in text]

    def decode(self, ids: Sequence[int]) -> str:
        """The characters of ids.  Raises `DataError` for an id that is no token."""
        wrong = [id_ for id_ in ids if not 0 <= id_ < len(self)]
        if wrong:
            raise DataError(f"{wrong[0]} is the id of no token; there are 0 .. {len(self) - 1}")
        return "".join(self.tokens[id_] for id_ in ids)

    def unseen(self, text: str) -> list[str]:
        """The characters that there are not."""
        return [letter for letter in text if letter not in self._ids]


class Numbers:
    """The tokens of a network without a vocabulary, written as numbers: ``3 14 15``."""

    separator: int | None = None
    hidden: tuple[int, ...] = ()

    def encode(self, prompt: str, what: str = "the prompt") -> list[int]:
        """The numbers of a text, with spaces or commas between.  Raises `DataError` for other text."""
        if prompt.strip() and not NUMBERS.fullmatch(prompt):
            raise DataError(
                f"{what} is {prompt!r:.60}, and this network learned no text; expected the numbers of "
                "tokens, such as 3,14,15"
            )
        return list(map(int, re.findall(r"\d+", prompt)))

    def decode(self, tokens: Sequence[int]) -> str:
        """The numbers."""
        return " ".join(map(str, tokens))


class Decoder:
    """The text of a sequence of tokens that grows behind ``before``."""

    def __init__(self, speech: Text | Numbers, before: Sequence[int]) -> None:
        self._speech = speech
        self._start(before)

    def _start(self, tokens: Sequence[int]) -> None:
        """From here on only the last token matters: a space may depend on its neighbour."""
        self._tokens = list(tokens[-1:])
        self._shown = self._speech.decode(self._tokens)

    def add(self, token: int) -> str:
        """What one more token adds: nothing, while it ends in a part of a character."""
        self._tokens.append(token)
        text = self._speech.decode(self._tokens)
        if text.endswith(HALF):
            return ""
        added = text[len(self._shown) :]
        self._start(self._tokens)
        return added

    def end(self) -> str:
        """What is left: the part of a character that never became whole."""
        return self._speech.decode(self._tokens)[len(self._shown) :]
