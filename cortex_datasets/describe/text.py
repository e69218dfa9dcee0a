"""A description of a text: lines, characters, words."""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from cortex_datasets.describe.columns import shortened
from cortex_datasets.describe.numbers import statistics
from cortex_datasets.describe.report import Count, TextReport
from cortex_datasets.text.files import read_text

Array = np.ndarray[Any, Any]
SHOWN = 20  # of the characters and the words, the most frequent
PIECE = 2**18  # characters that are counted together: lists of words take a multiple of their memory
BLANK = re.compile(r"\s")
END = ord("\n")


def describe_text(path: Path, encoding: str) -> TextReport:
    """The report of a text file.  Words are what white space parts, as they are written."""
    document = read_text(path, encoding)
    letters, lengths = _letters_and_lines(document.text)
    words: Counter[str] = Counter()
    for piece in _whole_words(document.text):
        words.update(piece.split())
    return {
        "file": str(path),
        "bytes": path.stat().st_size,
        "notes": list(document.notes),
        "kind": "text",
        "lines": len(lengths),
        "empty_lines": int(np.count_nonzero(lengths == 0)),
        "characters": len(document.text),
        "different_characters": len(letters),
        "words": sum(words.values()),
        "different_words": len(words),
        "lengths": statistics(lengths),
        "common_characters": _most_common(letters),
        "common_words": _most_common(words),
    }


def _letters_and_lines(text: str) -> tuple[dict[str, int], Array]:
    """How often each character occurs, and the lengths of the lines; no line follows the last end of one."""
    counts = np.zeros(sys.maxunicode + 1, np.int64)
    ends = [np.array([-1])]
    for begin in range(0, len(text), PIECE):
        piece = text[begin : begin + PIECE].encode("utf-32-le", "surrogatepass")
        points = np.frombuffer(piece, np.uint32)
        found = np.bincount(points)
        counts[: len(found)] += found
        ends.append(begin + np.flatnonzero(points == END))
    if not text.endswith("\n"):
        ends.append(np.array([len(text)]))
    letters = {chr(point): int(counts[point]) for point in np.flatnonzero(counts).tolist()}
    return letters, np.diff(np.concatenate(ends)).astype(np.float64) - 1


def _whole_words(text: str) -> Iterator[str]:
    begin = 0
    while begin < len(text):
        blank = BLANK.search(text, begin + PIECE)
        end = blank.end() if blank else len(text)
        yield text[begin:end]
        begin = end


def _most_common(counts: dict[str, int]) -> list[Count]:
    ranked = sorted(counts, key=lambda value: (-counts[value], value))[:SHOWN]
    return [{"value": shortened(value), "count": counts[value]} for value in ranked]
