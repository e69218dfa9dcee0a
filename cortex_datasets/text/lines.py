"""Texts of one line each: to tell which class they are of, or to learn how they go on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cortex_compute.errors import DataError
from cortex_core.registry import Fault, Plain, field, reader
from cortex_datasets.source import Stream
from cortex_datasets.text.files import Document, Find, documents, is_texts
from cortex_datasets.text.options import Tokenized, expect_streams, unknown_notes, vocabulary_note
from cortex_datasets.text.padded import (
    MOST_BUCKETS,
    PaddedSource,
    Ragged,
    padded_lengths,
    restored_lengths,
)
from cortex_datasets.text.tokens import Array, Vocabulary, decode_each, restore

END = "\n"
LONGEST = 10_000  # tokens of a line that others are padded to without anybody asking for it


@reader("lines", main="file")
class Lines(Tokenized):
    """Texts of one line each: `text` (length,), padded with 0, and `label` or `next`.

    With ``files``, one for each class, `label` is the class.  With one ``file``, `next` is the text one token
    later, as language models learn it: the end of a line is the first token of `text` and the last of `next`.
    With several ``buckets`` the shape is (null,), and each batch has lines of about one length.
    """

    file: str | None = field(default=None, doc="a file of lines without classes")
    files: Plain = field(default=None, doc="a file of lines for each class: {class: file, ...}")
    length: int | None = field(
        default=None, doc="tokens that longer lines are cut to; default: the longest in training", minimum=1
    )
    buckets: int = field(default=1, doc="lengths that are padded to", minimum=1, maximum=MOST_BUCKETS)

    def check(self) -> Iterator[Fault]:
        """Either ``file`` or ``files``, which name two classes or more."""
        yield from super().check()
        expected = "expected a file for each of two classes or more, {class: file, ...}"
        if self.files is None:
            return
        if self.file is not None:
            yield Fault(("files",), "'file' is given, too", "expected one of the two")
        elif not isinstance(self.files, Mapping) or len(self.files) < 2:
            yield Fault(("files",), "these are not the files of several classes", expected)
        else:
            for name, file in self.files.items():
                if not isinstance(file, str):
                    yield Fault(("files", name), f"{file!r} is not the name of a file", expected)

    @staticmethod
    def takes(given: Any) -> bool:
        """Whether this is a list of texts, or of each class a file, a text or a list of texts."""
        named = list(given.values()) if isinstance(given, Mapping) else []
        return is_texts(given) or (
            bool(named) and all(isinstance(texts, (str, Path)) or is_texts(texts) for texts in named)
        )

    def open(self, find: Find) -> LineExamples:
        """The lines of its files."""
        if self.files is not None:
            return self.read({name: Path(file) for name, file in self.files.items()}, find)
        if self.file is None:
            raise DataError("the reader 'lines' names no file; give 'file', or 'files' for each class")
        return self.read(Path(self.file), find)

    def read(self, given: Any, find: Find) -> LineExamples:
        """Other texts: the lines of a file, a text, or a list of texts; or {class: any of these}."""
        named = given if isinstance(given, Mapping) else {None: given}
        if not named:
            raise DataError("there are no classes in {}; expected texts for each: {class: texts, ...}")
        return LineExamples(
            self,
            [
                (name, document)
                for name, texts in named.items()
                for document in documents(texts, find, self.encoding)
            ],
        )

    def restore(self, state: Mapping[str, Any]) -> LineEncoding:
        """The encoding that a file holds."""
        classes = state.get("classes")
        named = isinstance(classes, list) and all(isinstance(name, str) for name in classes)
        if classes is not None and not named:
            raise DataError(f"the saved classes are {classes!r}; expected a list of names")
        edges = restored_lengths(state.get("lengths"))
        return LineEncoding(restore(state.get("vocabulary")), edges, classes)


class LineExamples:
    """Lines of documents, each document of one class, or of none.

    Each line of a file is a row, but for those without text; a text that was given otherwise is one row.
    """

    def __init__(self, reader: Lines, named: Sequence[tuple[str | None, Document]]) -> None:
        self._reader, self.notes = reader, [note for _, document in named for note in document.notes]
        self.classes = None if named[0][0] is None else tuple(dict.fromkeys(str(name) for name, _ in named))
        self.lines: list[str] = []
        places: list[tuple[int, int]] = []
        for number, (_, document) in enumerate(named):
            lines = document.text.removesuffix(END).split(END) if document.is_file else [document.text]
            kept = [i for i, line in enumerate(lines) if line.strip() or not document.is_file]
            self.lines += [lines[i] for i in kept]
            places += [(number, i + 1) for i in kept]
            if empty := len(lines) - len(kept):
                self.notes.append(f"{document.origin}: {empty:,} lines without text are left out")
        self._documents = [document for _, document in named]
        self._places = np.array(places)
        self._labels: Array = np.array([str(name) for name, _ in named])[self._places[:, 0]]
        self.parts = {"train": np.arange(len(self.lines))}

    def __len__(self) -> int:
        return len(self.lines)

    @property
    def streams(self) -> tuple[str, str]:
        """The names of what can be made of them."""
        return ("text", "next") if self.classes is None else ("text", "label")

    def column(self, name: str) -> Array:
        """The class of each line, by the name "label"."""
        if name != "label" or self.classes is None:
            has = "only 'label'" if self.classes else "none: there is one file, without classes"
            raise DataError(f"these lines have no column {name!r} to divide by; they have {has}")
        return self._labels

    def where(self, row: int) -> str:
        """Where a line stands."""
        number, line = self._places[row]
        document = self._documents[number]
        return f"{document.origin}: line {line}" if document.is_file else document.origin

    def learn(self, rows: Array, inputs: Sequence[str], targets: Sequence[str]) -> LineEncoding:
        """The vocabulary of these rows, and the lengths to pad to."""
        expect_streams([*inputs, *targets], self.streams, "these lines")
        for name in self.classes or ():
            if not (self._labels[rows] == name).any():
                raise DataError(
                    f"no line of the class {name!r} is in the training part; write split: stratified"
                )
        end = "" if self.classes else END
        vocabulary = self._reader.learn_vocabulary(self.lines[row] + end for row in rows)
        lengths = np.array([len(vocabulary.encode(self.lines[row] + end)) for row in rows])
        longest = int(lengths.argmax())
        if self._reader.length is None and lengths[longest] > LONGEST:
            found = f"{lengths[longest]:,} tokens, and all others would be padded to that"
            raise DataError(f"{self.where(rows[longest])} has {found}; give 'length', where lines are cut")
        edges = padded_lengths(lengths, self._reader.buckets, self._reader.length)
        return LineEncoding(vocabulary, edges, None if self.classes is None else list(self.classes))


class LineEncoding:
    """The vocabulary, the lengths to pad to, and the names of the classes, or None."""

    def __init__(self, vocabulary: Vocabulary, edges: Sequence[int], classes: Sequence[str] | None) -> None:
        self.vocabulary, self.edges, self.classes = vocabulary, edges, classes
        shape = (edges[0] if len(edges) == 1 else None,)
        text = Stream(shape, "int64", vocabulary.tokens)
        other = {"next": text} if classes is None else {"label": Stream((), "int64", tuple(classes))}
        self.streams = {"text": text, **(other if classes != [] else {})}
        padded = f"texts are padded to {' or '.join(map(str, edges))} tokens"
        self.notes = [vocabulary_note(vocabulary), padded]

    @property
    def separator(self) -> int | None:
        """The token of the end of a line, which also begins the next; None where lines have classes."""
        ids = self.vocabulary.encode(END)
        known = self.classes is None and self.vocabulary.decode(ids) == END
        return int(ids[0]) if known else None

    def state(self) -> dict[str, Any]:
        return {
            "vocabulary": self.vocabulary.state(),
            "lengths": list(self.edges),
            "classes": self.classes,
        }

    def encode(self, examples: LineExamples, rows: Array, names: Sequence[str]) -> PaddedSource:
        """The streams ``names`` of these rows; what is longer than the longest length is cut."""
        expect_streams(names, list(self.streams), "these lines")
        begin, end = ("", "") if self.classes is not None else (END, END)
        surplus = len(end)  # a token that is in `next` and not in `text`
        encoded = [self.vocabulary.encode(begin + examples.lines[row] + end) for row in rows]
        tokens, counts = np.concatenate(encoded), np.array([len(ids) for ids in encoded])
        starts = np.cumsum(counts) - counts
        lengths = np.minimum(counts - surplus, self.edges[-1])
        ragged = {"text": Ragged(tokens, starts, lengths), "next": Ragged(tokens, starts + 1, lengths)}
        arrays = {"label": self._numbers(examples, rows)} if "label" in names else {}
        notes = list(unknown_notes(self.vocabulary, tokens, (examples.lines[row] for row in rows)))
        if cut := int((counts - surplus > lengths).sum()):
            notes.append(f"{cut:,} of {len(rows):,} texts are longer than {self.edges[-1]} tokens and cut")
        if "label" in names and len(rows) > 1 and len(np.unique(arrays["label"])) == 1:
            notes.append(f"all {len(rows):,} texts are of one class; split: stratified spreads them")
        streams = {name: self.streams[name] for name in names}
        return PaddedSource(streams, ragged, arrays, lengths, self.edges, notes)

    def decode(self, name: str, values: Array) -> Array:
        """Names of classes, or texts of ids, (..., tokens) -> (...)."""
        expect_streams([name], list(self.streams), "these lines")
        if name == "label":
            return np.array(self.classes)[values]
        return decode_each(self.vocabulary, values)

    def without(self, names: Sequence[str]) -> LineEncoding:
        """The same without the classes, if these are among ``names``: the vocabulary stays."""
        forgets = "label" in names and self.classes is not None
        return LineEncoding(self.vocabulary, self.edges, [] if forgets else self.classes)

    def completed(self, learned: LineEncoding, names: Sequence[str]) -> LineEncoding:
        """The same, with the classes that another one learned."""
        return LineEncoding(self.vocabulary, self.edges, learned.classes)

    def _numbers(self, examples: LineExamples, rows: Array) -> Array:
        """The class of each row, (rows,) int64.  Raises DataError for lines of none, or of an unknown one."""
        assert self.classes is not None
        if examples.classes is None:
            raise DataError("these lines have no labels; give them by class: {class: file, ...}")
        unknown = [name for name in examples.classes if name not in self.classes]
        if unknown:
            known = ", ".join(self.classes)
            raise DataError(f"lines of the class {unknown[0]!r}, which is none of the model's: {known}")
        numbers = {name: number for number, name in enumerate(self.classes)}
        return np.array([numbers[name] for name in examples.column("label")[rows].tolist()], np.int64)
