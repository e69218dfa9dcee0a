"""The guess of a column's kind."""

from __future__ import annotations

import numpy as np
import pytest

from cortex_datasets.table.column import of_texts
from cortex_datasets.table.kinds import guess


def kind(values: list[str | None], name: str = "x") -> str:
    return guess(of_texts(name, values)).kind


SENTENCES = [
    f"the {a} {b} was {c}" for a in ("old", "new", "red") for b in ("cat", "dog") for c in ("seen", "lost")
]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["0.5", "1.5", "2e3"], "number"),
        (["-1", "+2", ".5", "7."], "number"),
        ([str(n) for n in range(30)], "number"),
        (["1", "2", "3"] * 10, "category"),  # codes: each ten times
        (["1", "2", "3"] * 9, "number"),
        (["0", "1"], "category"),
        (["0.5", "1.5"] * 50, "number"),
        ([str(n) for n in range(11)] * 100, "number"),
        (["true", "false", "true"], "category"),
        (["x", "y", None], "category"),
        (["2020-01-02", "2021-12-31"], "date"),
        (["2020-01-02T10:00:00Z", "2021-12-31 23:59"], "date"),
        (["31.12.2020", "01.02.2021"], "date"),
        (["31 Dec 2020", "1 Feb 2021"], "date"),
        (["01/02/2020", "03/04/2020"], "category"),  # the day or the month first? not a date without a form
        (["2020-13-45", "2021-12-31"], "category"),
        (SENTENCES, "text"),
        (SENTENCES[:2] * 30, "category"),
        ([f"id{n}" for n in range(30)], "skip"),
        ([f"id{n % 25}" for n in range(60)], "category"),
        ([None, None], "skip"),
        (["1_000", "2_000"], "category"),
        (["inf", "1"], "category"),
        (["1e39", "2"], "category"),  # beyond float32
        (["１", "２"], "category"),  # digits, but no number in a file of data
    ],
)
def test_kinds(values: list[str | None], expected: str) -> None:
    assert kind(values) == expected


def test_row_numbers_are_told_by_their_name() -> None:
    rows = [str(n) for n in range(1, 31)]
    assert (
        kind(rows, "PassengerId")
        == kind(rows, "Unnamed: 0")
        == kind(rows, "")
        == kind(rows, "index")
        == "skip"
    )
    assert kind(rows, "hours") == "number"
    assert kind(rows[::-1], "PassengerId") == "number"


def test_row_numbers_are_told_with_rows_taken_out() -> None:
    whole = of_texts("PassengerId", [str(n) for n in range(1, 101)])
    some = np.sort(np.random.default_rng(0).permutation(100)[:80])
    assert guess(whole.take(some)).kind == guess(whole).kind == "skip"
    assert kind([str(n * 11) for n in range(30)], "PassengerId") == "number"  # too far apart to count rows
    assert kind([f"{n}.5" for n in range(30)], "PassengerId") == "number"
    assert kind(["1", "2", "2", *(str(n) for n in range(3, 30))], "PassengerId") == "number"


def test_numbers_with_a_few_other_cells_are_numbers_and_that_is_said() -> None:
    values = [str(n / 7) for n in range(95)] + ["abc"] * 5
    made = guess(of_texts("x", values))
    assert (made.kind, made.why) == ("number", "5 of 100 cells are no numbers, such as 'abc'")
    made = guess(of_texts("x", ["12", "abc", "3.5"]))
    assert (made.kind, made.why) == ("category", "3 different cells in 3; 2 of 3 cells are numbers")


def test_the_guess_looks_at_the_rows_that_it_is_given() -> None:
    column = of_texts("x", ["1.5", "2.5", "3.5", "word"])
    assert guess(column).kind == "category"
    assert guess(column.take([0, 1, 2])).kind == "number"
