"""Columns of text in a table: which words are in it.

Where the text is the point, not one column of many, the reader `text` is the one to use.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

import numpy as np

from cortex_compute.errors import DataError
from cortex_core.registry import Fault, field
from cortex_datasets.source import Stream
from cortex_datasets.table.column import LONGEST_NAME, Array, Column, count
from cortex_datasets.table.declare import Where, kind, learned
from cortex_datasets.table.numbers import nothing_in

WORD = re.compile(r"\w+")


@kind("text", main="words")
class Text:
    """Text.  As features: 1 for each of the ``words`` that are in the cell, else 0, in lower case.

    The words are those in the most training rows.  A missing cell has none.
    """

    words: int = field(default=100, minimum=1, maximum=100_000, doc="how many words are told apart")

    def learn(self, column: Column, where: Where, notes: list[str]) -> LearnedText:
        """Raises DataError for a column without cells."""
        if column.missing == len(column):
            raise nothing_in(column)
        rows: Counter[str] = Counter()
        for cell, held in zip(column.texts, column.counts.tolist()):
            rows.update(dict.fromkeys(words_of(cell), held))
        long = [word for word in rows if len(word) > LONGEST_NAME]
        for word in long:
            del rows[word]
        if long:
            found = f"{count(len(long), 'word')} of more than {LONGEST_NAME:,} characters"
            notes.append(f"{column.name}: {found} left out")
        if not rows:
            raise DataError(
                f"column {column.name!r} is declared text, and no training row has a word (of letters "
                f"or digits); declare it a category, or leave it out by `columns: {{{column.name}: skip}}`"
            )
        ranked = sorted(rows, key=lambda word: (-rows[word], word))
        return LearnedText(words=tuple(sorted(ranked[: self.words])))


@learned("text")
class LearnedText:
    """text -> which of ``words`` are in it."""

    words: tuple[str, ...]

    def check(self) -> Iterator[Fault]:
        if len(set(self.words)) < len(self.words):
            yield Fault(("words",), "a word is given twice", "expected distinct words")

    def parts(self) -> list[str]:
        return list(self.words)

    def fill_in(self, column: Column, where: Where, notes: list[str], out: Array) -> None:
        places = {word: index for index, word in enumerate(self.words)}
        found = [[places[word] for word in words_of(cell) if word in places] for cell in column.texts]
        out[:] = 0
        for row, code in enumerate(column.codes.tolist()):
            if code >= 0:
                out[row, found[code]] = 1

    def stream(self) -> Stream:
        return Stream((len(self.words),), "float32")

    def values(self, column: Column, where: Where, notes: list[str]) -> Array:
        made = np.empty((len(column), len(self.words)), np.float32)
        self.fill_in(column, where, notes, made)
        return made

    def decode(self, values: Array) -> Array:
        """Raises DataError: which words are in a text does not tell the text."""
        raise DataError("a text cannot be told from the words that are in it")


def words_of(text: str) -> set[str]:
    """The different words of a text, in lower case: runs of letters, digits and underscores."""
    return set(WORD.findall(text.lower()))
