"""What a description of data looks like: plain data, ready for JSON.

A `Report` is one of `TableReport`, `ArraysReport`, `PicturesReport`, `TextReport`; its ``kind`` says which.
Each has ``file``, ``bytes`` (on the disk) and ``notes``: what was counted, and each rule that was applied.
Numbers are null where there is nothing to compute them from.
"""

from __future__ import annotations

from typing import Literal, TypedDict, Union


class Histogram(TypedDict):
    """``counts[i]`` values lie in ``edges[i] <= x < edges[i + 1]``; in the last bin also at its end."""

    edges: list[float]
    counts: list[int]


class Statistics(TypedDict):
    """Of the finite numbers; ``std`` is that of a sample (over n - 1), quartiles are interpolated."""

    min: float | None
    quartiles: list[float] | None  # 25 %, 50 %, 75 %
    max: float | None
    mean: float | None
    std: float | None
    infinite: int
    histogram: Histogram | None


class Count(TypedDict):
    value: str
    count: int


class Lengths(TypedDict):
    """How long texts are, in characters; ``words`` is the mean number of words."""

    min: int
    mean: float
    max: int
    words: float
    example: str  # the first text, at most 200 characters of it


class Dates(TypedDict):
    """ISO 8601, without the time where it is midnight."""

    first: str
    last: str
    histogram: Histogram | None  # edges in seconds since 1970


class _ColumnOfAll(TypedDict):
    name: str
    kind: str  # number, category, date, text or skip: guessed on all rows, training guesses on its own
    why: str
    missing: int
    distinct: int  # different values, missing cells not counted


class Column(_ColumnOfAll, total=False):
    """One column of a table, with one of the four parts below, as its values are; all missing: none.

    ``unreadable``: how many cells of a column of numbers or dates are neither missing nor such.
    """

    unreadable: int
    number: Statistics
    category: list[Count]  # the most frequent first, at most 20
    date: Dates
    text: Lengths


class Pair(TypedDict):
    """How two columns go together, over the ``rows`` in which neither is missing.

    pearson: -1 to 1, two numbers.  cramers_v: 0 to 1, two categories.  correlation_ratio: 0 to 1, a number
    and a category (the root of the share of the number's variance that lies between the categories).
    """

    a: str
    b: str
    measure: Literal["pearson", "cramers_v", "correlation_ratio"]
    value: float
    rows: int


class Correlations(TypedDict):
    columns: list[str]
    pairs: list[Pair]  # every pair that has a value, the strongest first


class TableReport(TypedDict):
    file: str
    bytes: int
    notes: list[str]
    kind: Literal["table"]
    rows: int
    duplicates: int  # rows that are equal to an earlier one in every column
    columns: list[Column]
    correlations: Correlations


class _ArrayOfAll(TypedDict):
    name: str
    shape: list[int]
    dtype: str


class ArrayPart(_ArrayOfAll, total=False):
    """One array; ``number`` where it holds real numbers, ``nan`` then counts what is no number."""

    nan: int
    number: Statistics
    category: list[Count]  # whole numbers with at most 20 different values, by value


class ArraysReport(TypedDict):
    file: str
    bytes: int
    notes: list[str]
    kind: Literal["arrays"]
    arrays: list[ArrayPart]


class PictureClass(TypedDict):
    part: str  # "" where there are no parts
    name: str
    count: int


class Damaged(TypedDict):
    file: str
    problem: str


class PicturesReport(TypedDict):
    file: str
    bytes: int
    notes: list[str]
    kind: Literal["pictures"]
    pictures: int
    classes: list[PictureClass]  # one without a name where there are no folders of classes
    sizes: list[Count]  # "height x width", the most frequent first, at most 20
    different_sizes: int
    modes: list[Count]  # Pillow's: RGB, L (grey), P (palette), RGBA, ...
    formats: list[Count]
    damaged: list[Damaged]


class TextReport(TypedDict):
    file: str
    bytes: int
    notes: list[str]
    kind: Literal["text"]
    lines: int
    empty_lines: int
    characters: int
    different_characters: int
    words: int
    different_words: int
    lengths: Statistics  # of the lines, in characters
    common_characters: list[Count]
    common_words: list[Count]


Report = Union[TableReport, ArraysReport, PicturesReport, TextReport]
