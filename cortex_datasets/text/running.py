"""Running text for language models: windows of tokens, and the same windows one token later."""

from __future__ import annotations

import copy
import itertools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from cortex_compute.errors import DataError
from cortex_core.registry import field, reader
from cortex_datasets.source import Stream
from cortex_datasets.text.files import Document, Find, documents, is_texts
from cortex_datasets.text.options import Tokenized, expect_streams, unknown_notes, vocabulary_note
from cortex_datasets.text.padded import taken
from cortex_datasets.text.tokens import Array, Vocabulary, decode_each, restore

STREAMS = ("text", "next")
MOST_STRETCHES = 1000  # a part is at best so fine a fraction of a text
LEAST_WINDOWS = 4  # characters of a stretch, in windows: stretches by themselves still hold some
SPACE = re.compile(r"\s+")


@reader("text", main="file", suffixes=(".txt",))
class Text(Tokenized):
    """Windows of running text: `text` (window,), and `next`, the same one token later.

    The rows of these data are stretches of the text, at most 1,000.  Parts are made of whole stretches, and a
    window never leaves a run of neighbouring ones, so that no token is in two parts, whatever the stride.
    """

    file: str | None = field(default=None, doc="the text")
    window: int = field(default=64, doc="tokens in a window", minimum=1)
    stride: int = field(
        doc="tokens from one window to the next; default: the window", minimum=1, like="window"
    )

    @staticmethod
    def takes(given: Any) -> bool:
        """Whether this is a list of texts."""
        return is_texts(given)

    def open(self, find: Find) -> TextExamples:
        """The stretches of the file."""
        if self.file is None:
            raise DataError("the reader 'text' names no file; give one, as in data: {text: input.txt}")
        return self.read(Path(self.file), find)

    def read(self, given: Any, find: Find) -> TextExamples:
        """The stretches of another text: a path, a text, or a list of texts."""
        return TextExamples(self, documents(given, find, self.encoding))

    def restore(self, state: Mapping[str, Any]) -> TextEncoding:
        """The encoding with the vocabulary that a file holds."""
        return TextEncoding(self, restore(state.get("vocabulary")))


class TextExamples:
    """Texts, cut into stretches: the rows, (document, begin, end) each."""

    def __init__(self, reader: Text, documents: Sequence[Document]) -> None:
        self._reader, self.documents = reader, documents
        self._stretches = np.array(
            [
                (number, *span)
                for number, document in enumerate(documents)
                for span in stretches(document.text, reader.window)
            ]
        )
        self.parts = {"train": np.arange(len(self._stretches))}
        self.notes = [note for document in documents for note in document.notes]

    def __len__(self) -> int:
        return len(self._stretches)

    def column(self, name: str) -> Array:
        raise DataError(f"running text has no column {name!r} to divide by; write split: last")

    def runs(self, rows: Array) -> Iterator[str]:
        """The text of each run of neighbouring rows."""
        rows = np.unique(rows)
        spans = self._stretches[rows]
        apart = (np.diff(rows) != 1) | (np.diff(spans[:, 0]) != 0)
        firsts = np.concatenate(([0], np.flatnonzero(apart) + 1))
        lasts = np.concatenate((firsts[1:], [len(rows)])) - 1
        for (number, begin, _), (_, _, end) in zip(spans[firsts], spans[lasts]):
            yield self.documents[number].text[begin:end]

    def learn(self, rows: Array, inputs: Sequence[str], targets: Sequence[str]) -> TextEncoding:
        """The vocabulary of these rows."""
        expect_streams([*inputs, *targets], STREAMS, "running text")
        return TextEncoding(self._reader, self._reader.learn_vocabulary(self.runs(rows)))


class TextEncoding:
    """The vocabulary, and the windows that a reader asks for."""

    def __init__(self, reader: Text, vocabulary: Vocabulary) -> None:
        self._reader, self.vocabulary = reader, vocabulary
        stream = Stream((reader.window,), "int64", vocabulary.tokens)
        self.streams = dict.fromkeys(STREAMS, stream)
        self.notes = [vocabulary_note(vocabulary)]

    def state(self) -> dict[str, Any]:
        return {"vocabulary": self.vocabulary.state()}

    def encode(self, examples: TextExamples, rows: Array, names: Sequence[str]) -> WindowSource:
        """The windows in these rows.  Raises DataError where there are too few tokens for one."""
        expect_streams(names, STREAMS, "running text")
        window, stride = self._reader.window, self._reader.stride
        width = window + ("next" in names)
        runs = [self.vocabulary.encode(text) for text in examples.runs(rows)]
        ends = np.cumsum([0, *map(len, runs)])
        spans = [np.arange(a, b - width + 1, stride) for a, b in itertools.pairwise(ends)]
        starts, tokens = np.concatenate(spans), np.concatenate(runs)
        if not len(starts):
            longest, origin = max(map(len, runs)), examples.documents[0].origin
            raise DataError(
                f"{origin}: the longest run has {longest:,} tokens, which a window of {window} and what comes"
                " behind it do not fit into; give a smaller 'window', or a longer text"
            )
        read = sum((len(span) - 1) * min(stride, width) + width for span in spans if len(span))
        notes = list(unknown_notes(self.vocabulary, tokens, examples.runs(rows)))
        if read < len(tokens):
            notes.append(f"{len(tokens) - read:,} of {len(tokens):,} tokens are in no window")
        return WindowSource({name: self.streams[name] for name in names}, tokens, starts, width, notes)

    def without(self, names: Sequence[str]) -> TextEncoding:
        """The same: what is predicted are tokens of the vocabulary that is read."""
        return self

    def decode(self, name: str, values: Array) -> Array:
        """Texts of ids, (..., tokens) -> (...)."""
        expect_streams([name], STREAMS, "running text")
        return decode_each(self.vocabulary, values)


class WindowSource:
    """Random access to windows of ``width`` tokens of one long array: `text`, and `next`, one token later."""

    fixed = True  # every epoch sees the same examples

    def __init__(
        self,
        streams: Mapping[str, Stream],
        tokens: Array,
        starts: Array,
        width: int,
        notes: Iterable[str] = (),
    ) -> None:
        self.streams, self.notes = streams, tuple(notes)
        self._windows, self._starts = sliding_window_view(tokens, width), starts

    @property
    def running(self) -> bool:
        """Whether each window goes on where the one before it ended."""
        window = next(iter(self.streams.values())).shape[0]
        return bool((np.diff(self._starts) == window).all())

    def __len__(self) -> int:
        return len(self._starts)

    def gather(self, indices: Array, out: Mapping[str, Array], *, epoch: int = 0) -> None:
        """Write rows ``indices`` of each stream named in ``out`` into ``out[name][:len(indices)]``.

        Raises IndexError for a row that does not exist.
        """
        found = self._windows[taken(self._starts, indices)]
        for name, target in out.items():
            first = STREAMS.index(name)
            target[: len(found)] = found[:, first : first + target.shape[1]]

    def select(self, indices: Array) -> WindowSource:
        """The windows ``indices``, in that order, over the same memory."""
        part = copy.copy(self)
        part._starts = taken(self._starts, indices)
        return part


def stretches(text: str, window: int) -> Iterator[tuple[int, int]]:
    """Where stretches of a text begin and end: about equal in length, cut behind white space where some is
    near."""
    size = max(LEAST_WINDOWS * window, -(-len(text) // MOST_STRETCHES))
    begin = 0
    for near in range(size, len(text) - size + 1, size):
        space = SPACE.search(text, near, near + size // 2)
        end = space.end() if space else near
        yield begin, end
        begin = end
    yield begin, len(text)
