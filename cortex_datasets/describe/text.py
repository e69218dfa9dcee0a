"""A description of a text: lines, characters, words."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np

from cortex_datasets.describe.columns import shortened
from cortex_datasets.describe.numbers import statistics
from cortex_datasets.describe.report import Count, TextReport
from cortex_datasets.text.files import read_text

SHOWN = 20  # of the characters and the words, the most frequent


def describe_text(path: Path, encoding: str) -> TextReport:
    """The report of a text file.  Words are what white space parts, as they are written."""
    document = read_text(path, encoding)
    lines = document.text.removesuffix("\n").split("\n")
    lengths = np.array([len(line) for line in lines], np.float64)
    points, counts = np.unique(
        np.frombuffer(document.text.encode("utf-32-le", "surrogatepass"), np.uint32), return_counts=True
    )
    words = Counter(document.text.split())
    return {
        "file": str(path),
        "bytes": path.stat().st_size,
        "notes": list(document.notes),
        "kind": "text",
        "lines": len(lines),
        "empty_lines": int(np.count_nonzero(lengths == 0)),
        "characters": len(document.text),
        "different_characters": len(points),
        "words": sum(words.values()),
        "different_words": len(words),
        "lengths": statistics(lengths),
        "common_characters": _most_common({chr(p): n for p, n in zip(points.tolist(), counts.tolist())}),
        "common_words": _most_common(words),
    }


def _most_common(counts: dict[str, int]) -> list[Count]:
    ranked = sorted(counts, key=lambda value: (-counts[value], value))[:SHOWN]
    return [{"value": shortened(value), "count": counts[value]} for value in ranked]
