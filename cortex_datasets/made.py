"""Sets of sequences that are made, not read: the same on every machine, nothing to fetch."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from cortex_datasets.source import ArraySource, DataSet

Array = np.ndarray[Any, Any]

START = "^"
SYMBOLS = ("", *"abcdefgh", ">")  # a blank, what is to be remembered, and the sign to say it
KEPT, WAIT = 8, 20  # how many symbols, for how many steps

MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
FORMS: tuple[Callable[[datetime.date], str], ...] = (
    lambda day: f"{day.day} {MONTHS[day.month - 1]} {day.year}",
    lambda day: f"{day.day}-{MONTHS[day.month - 1][:3]}-{day.year}",
    lambda day: f"{MONTHS[day.month - 1]} {day.day}, {day.year}",
    lambda day: f"{WEEKDAYS[day.weekday()]}, {day.day} {MONTHS[day.month - 1]} {day.year}",
    lambda day: f"{day.day}.{day.month}.{day.year}",
    lambda day: f"{day.year}/{day.month}/{day.day}",
)
FIRST, LAST = datetime.date(1900, 1, 1).toordinal(), datetime.date(2099, 12, 31).toordinal()
WRITTEN = ("", *sorted({*" ,-./0123456789", *"".join((*MONTHS, *WEEKDAYS))}))
ISO = ("", START, "-", *"0123456789")
LONGEST = len("Wednesday, 30 September 1999")


@dataclass(frozen=True, repr=False)
class MadeSet(DataSet):
    """``make(count)`` gives all examples, none of them twice; the first are the training part.

    Whole numbers may come in any dtype: they are served as the streams say.
    """

    make: Callable[[int], dict[str, Array]]

    def load(self, split: str) -> ArraySource:
        self.check_split(split)
        train, test = self.lengths["train"], self.lengths["test"]
        rows = {"train": slice(0, train), "test": slice(train, train + test)}[split]
        arrays = {name: array[rows] for name, array in self.make(train + test).items()}
        classes = {name: s.classes for name, s in self.streams.items() if s.classes}
        whole = {name: s.dtype for name, s in self.streams.items() if s.dtype == "int64"}
        return ArraySource(arrays, classes, served=whole)


def remembered(count: int) -> dict[str, Array]:
    """What is to be remembered, then blanks, then `>`; beside it blanks, and from `>` on the same again."""
    numbers = _draw(8**KEPT, count)
    kept = 1 + numbers[:, None] // 8 ** np.arange(KEPT) % 8
    given = np.zeros((2, count, KEPT + WAIT + KEPT), np.int64)
    given[0, :, :KEPT] = given[1, :, -KEPT:] = kept
    given[0, :, -KEPT] = SYMBOLS.index(">")
    return {"symbols": given[0], "copied": given[1]}


def written_dates(count: int) -> dict[str, Array]:
    """Days as people write them, and in ISO 8601: behind `^` as what a decoder reads, and as what it says."""
    numbers = _draw((LAST - FIRST + 1) * len(FORMS), count)
    days = [datetime.date.fromordinal(FIRST + int(n) // len(FORMS)) for n in numbers]
    source = (FORMS[int(n) % len(FORMS)](day) for n, day in zip(numbers, days))
    target = _ids([day.isoformat() for day in days], ISO, 10)
    shifted = np.concatenate([np.full((count, 1), ISO.index(START)), target[:, :-1]], axis=1)
    return {"source": _ids(source, WRITTEN, LONGEST), "target_in": shifted, "target": target}


def _draw(below: int, count: int) -> Array:
    """Different whole numbers, from the raw words of Philox with key 0, which NumPy keeps the same in all
    versions."""
    words = np.random.Philox(key=0).random_raw(2 * count) % np.uint64(below)
    _, first = np.unique(words, return_index=True)
    found: Array = words[np.sort(first)[:count]].astype(np.int64)
    return found


def _ids(texts: Iterable[str], characters: tuple[str, ...], length: int) -> Array:
    """Texts as ids of their characters, (texts, length), padded with 0."""
    number: Mapping[str, int] = {character: i for i, character in enumerate(characters)}
    rows = [[number[c] for c in text] for text in texts]
    return np.array([row + [0] * (length - len(row)) for row in rows], np.int64)
