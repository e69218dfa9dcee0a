"""The kind of a column, where nobody declares it: one guess, for training and for `cortex data describe`.

A guess is said, with its reason, and gives way to what the description declares under ``columns``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from cortex_datasets.table.column import Column, fitting, short
from cortex_datasets.table.sheet import listed

FEW = 10  # so many different whole numbers, or fewer, may be codes
REPEATS = 10  # a category's names occur so often on average
NAMES = 20  # a column with so few different cells has no need to repeat them
MOST_NAMES = 1000
SPARSE = 10  # row numbers of which nine in ten rows were taken out still count the rows
TWICE = 2  # as many numbers as rows, at most, lie between those that name shuffled rows
WORDS = 2.5  # words a cell, on average, from which a column is text
MOSTLY = 0.9  # of the cells are numbers: a column of numbers with some that cannot be read

# Numbers as people print them: 1,69 and 1,100.50 and $13.50 and 12 %.
ALMOST = re.compile(r"(?=.*[,%$€£¥])[+-]?[$€£¥]? ?[+-]?\d+([.,]\d+)* ?[$€£¥%]?", re.ASCII)


@dataclass(frozen=True)
class Guess:
    """``kind`` is number, category, date, text or skip; ``why`` is the reason, as half a sentence, and
    ``hint`` what speaks for another kind, and how it is declared (empty where nothing does)."""

    kind: str
    why: str
    hint: str = ""


def guess(column: Column) -> Guess:
    """What kind of column this seems to be, from the cells of its rows.

    * All cells missing: skip.
    * Numbers: **number**; but **category** where they are whole and at most 10 different ones occur 10 times
      each on average, or where there are just two (codes, such as a passenger's class); and **skip** where
      they count the rows (whole, rising from row to row, at least every tenth number there, since rows may
      have been taken out) and the column bears no name, or one that ends in id or index.  Where at least
      nine cells in ten are numbers the others cannot be read, and it is a number still.
    * Dates (ISO 8601, or a form where day and month cannot be mistaken for each other): **date**.
    * Other text: **category** where the cells repeat (10 times on average, or twice with at most 50
      different); **text** where they have several words (2.5 on average); **category** where at most 20
      differ, or half of the cells at most; else they name single rows, and the guess is **skip**.
    """
    counts, numbers = column.counts, column.numbers
    rows = int(counts.sum())
    if not rows:
        return Guess("skip", "every cell is missing")
    readable = ~np.isnan(numbers)
    share = counts[readable].sum() / rows
    if share == 1:
        return _guess_number(column, rows)
    dates = column.dates(column.form)
    if not np.isnat(dates).any():
        days = dates.astype("datetime64[D]")
        form = column.form or "ISO 8601"
        return Guess("date", f"all cells are dates in {form}, {days.min()} to {days.max()}")
    if share >= MOSTLY and len(counts) > NAMES:
        odd = column.texts[~readable][0]
        return Guess(
            "number", f"{rows - counts[readable].sum()} of {rows} cells are no numbers, such as {short(odd)}"
        )
    guessed = _guess_text(column.texts, rows)
    why = f"; {int(counts[readable].sum())} of {rows} cells are numbers" if share else ""
    return Guess(guessed.kind, guessed.why + why, _nearly_numbers(column, readable) or _nearly_dates(column))


def _nearly_numbers(column: Column, readable: np.ndarray) -> str:
    """What keeps a column of text from being numbers, where that is easily mended."""
    texts, counts = column.texts, column.counts
    rows, others = int(counts.sum()), np.flatnonzero(~readable)
    if 2 * counts[readable].sum() >= rows and len(others) <= FEW:
        first = [str(texts[i]) for i in sorted(others, key=lambda i: -counts[i])[:3]]
        return (
            f"{int(counts[readable].sum())} of {rows} cells are numbers, the others {listed(first)}"
            f"{', ...' if len(others) > 3 else ''}: list these under `missing` to read it as numbers"
        )
    alike = [i for i in others if len(texts[i]) <= 40 and ALMOST.fullmatch(texts[i])]
    if alike and counts[readable].sum() + counts[alike].sum() >= MOSTLY * rows:
        cell = texts[alike[0]]
        mark = "%" if "%" in cell else "a comma" if cell.strip("+-0123456789., ") == "" else "a currency"
        return (
            f"cells look like numbers with {mark}, such as {short(cell)}: not read as numbers; "
            "convert them to plain ones, such as 1234.5, to read them so"
        )
    return ""


def _nearly_dates(column: Column) -> str:
    """How a column of dates whose day and month can be mistaken would be declared."""
    texts = column.texts.tolist()
    forms = fitting(texts[:1]) and fitting(texts)
    if not forms:
        return ""
    return (
        f"cells look like dates, such as {short(texts[0])}: declare "
        f'`columns: {{{column.name}: {{date: {{format: "{forms[0]}"}}}}}}`'
        + (f" (or {forms[1]})" if len(forms) > 1 else "")
    )


def _guess_number(column: Column, rows: int) -> Guess:
    numbers = column.numbers
    different, whole = len(numbers), bool((numbers == np.floor(numbers)).all())
    if whole and (different == 2 or (different <= FEW and rows >= REPEATS * different)):
        return Guess("category", f"{different} different whole numbers, as codes are")
    # A row's own number says nothing about the row.
    unnamed = column.name.lower().startswith("unnamed") or not column.name
    if whole and (unnamed or column.name.lower().endswith(("id", "index"))) and different == rows > 2:
        steps = np.diff(numbers[column.codes[column.codes >= 0]])
        if (steps > 0).all() and steps.sum() < SPARSE * rows:
            return Guess("skip", "it counts the rows")
    why = f"all cells are numbers, {numbers.min():g} to {numbers.max():g}"
    return Guess("number", why, _like_a_code(column) if whole else "")


def _like_a_code(column: Column) -> str:
    """What to say of whole numbers that may name things instead of counting them."""
    remedy = f"`columns: {{{column.name}: category}}` or skip"
    if column.cells.dtype == object and any(re.fullmatch(r"0\d+", cell) for cell in column.texts):
        return f"numbers with leading zeros look like codes: {remedy}"
    numbers = column.numbers[column.codes[column.codes >= 0]]
    steps = np.diff(numbers)
    once = len(column.cells) == len(numbers) > NAMES
    near = numbers.max() - numbers.min() < TWICE * len(numbers)
    if once and near and not ((steps > 0).all() or (steps < 0).all()):
        return f"each whole number occurs once, as numbers that name rows do: {remedy}"
    return ""


def _guess_text(texts: np.ndarray, rows: int) -> Guess:
    different = len(texts)
    repeated = different <= MOST_NAMES and rows >= REPEATS * different
    if repeated or (different <= 50 and rows >= 2 * different):
        return Guess("category", f"{different} different cells in {rows}")
    words = sum(len(text[:10_000].split()) for text in texts) / different
    if words >= WORDS and any(re.search(r"\w", text) for text in texts):
        return Guess("text", f"{words:.1f} words a cell")
    if different <= NAMES or (different <= MOST_NAMES and rows >= 2 * different):
        return Guess("category", f"{different} different cells in {rows}")
    return Guess("skip", f"{different} different cells in {rows} name single rows")
