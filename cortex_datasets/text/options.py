"""The fields that the readers of text share, and what they learn: a vocabulary."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal

from cortex_compute.errors import DataError
from cortex_core.registry import Fault, base, field, nearest
from cortex_datasets.text.bpe import FIRST_MERGE
from cortex_datasets.text.files import is_encoding
from cortex_datasets.text.tokens import UNKNOWN, Array, Listed, Vocabulary, learn

SHOWN = 40  # characters of a token in a note: a word may be as long as its file


@base
class Tokenized:
    """How text becomes tokens."""

    tokens: Literal["characters", "words", "bytepair"] = field(
        default="characters", doc="characters, words, or bytepair: learned pieces of words, over bytes"
    )
    vocabulary: int | None = field(
        default=None, doc="the most tokens to learn, padding and unknown among them", minimum=3
    )
    encoding: str = field(default="utf-8", doc="how the files are encoded, as Python names it")

    def check(self) -> Iterator[Fault]:
        """Byte pairs need a size that holds the bytes; the encoding is known."""
        needed = f"expected the number of tokens to learn, above {FIRST_MERGE}, such as 1024"
        if self.tokens == "bytepair":
            if self.vocabulary is None:
                yield Fault(("tokens",), "bytepair needs the field 'vocabulary'", needed)
            elif self.vocabulary <= FIRST_MERGE:
                yield Fault(("vocabulary",), f"{self.vocabulary} is too small for bytepair", needed)
        if not is_encoding(self.encoding):
            found = f"unknown encoding '{self.encoding}'"
            hint = nearest(self.encoding, ("utf-8", "utf-16", "latin-1", "cp1252", "ascii"))
            yield Fault(("encoding",), found, "expected a name such as utf-8", hint)

    def learn_vocabulary(self, texts: Iterable[str]) -> Vocabulary:
        """The vocabulary of the training part."""
        return learn(self.tokens, texts, self.vocabulary)


def vocabulary_note(vocabulary: Vocabulary) -> str:
    """How many tokens there are."""
    special = " with padding and unknown" if isinstance(vocabulary, Listed) else " with padding"
    return f"the vocabulary has {len(vocabulary):,} tokens ({vocabulary.kind}){special}"


def unknown_notes(vocabulary: Vocabulary, tokens: Array, texts: Iterable[str]) -> Iterator[str]:
    """How many tokens are unknown, and the most frequent of them, where there are any."""
    count = int((tokens == UNKNOWN).sum()) if isinstance(vocabulary, Listed) else 0
    if count:
        counts: Counter[str] = Counter()
        for text in texts:
            counts.update(vocabulary.unseen(text))
        often = ", ".join(repr(token[:SHOWN]) for token, _ in counts.most_common(3))
        share = f"{count:,} of {len(tokens):,} {vocabulary.kind} ({count / len(tokens):.2%})"
        yield f"{share} are not in the vocabulary and read as unknown, such as {often}"


def expect_streams(names: Iterable[str], streams: Sequence[str], what: str) -> None:
    """Raises DataError for a name that is no stream of these data."""
    for name in names:
        if name not in streams:
            hint = nearest(name, streams)
            raise DataError(f"{name!r} is no stream of {what}; it has {', '.join(streams)}. {hint}".strip())
