"""The guess of a column's kind."""

from __future__ import annotations

import numpy as np
import pytest

from cortex_datasets.table.column import of_texts
from cortex_datasets.table.kinds import Guess, guess
from tests.datasets.table.tables import every, given


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


def made(values: list[str | None], name: str = "x") -> Guess:
    return guess(of_texts(name, values))


def test_cells_that_keep_a_column_from_numbers_are_named() -> None:
    values = [str(n / 7) for n in range(75)] + ["-"] * 8 + ["#N/A"] * 2 + ["none"] * 5
    assert made(values).hint == (
        "75 of 90 cells are numbers, the others '-', 'none', '#N/A': "
        "list these under `missing` to read it as numbers"
    )
    assert "'-', 'none', 'k', ...: list" in made([*values, "k", "k", "k"]).hint
    assert made([str(n) for n in range(60)] + [f"A/{n}" for n in range(30)]).hint == ""  # tickets, say


@pytest.mark.parametrize(
    ("cells", "mark"),
    [
        (["1,69", "2,75", "3"], "a comma"),
        (["1,100", "2,000,000.50", "-1,5"], "a comma"),
        (["$13.50", "$2", "-$1,000"], "a currency"),
        (["13 €", "2 €"], "a currency"),
        (["12%", "1.5 %"], "%"),
        (["1.2.3", "4.5.6"], ""),
        (["a,b", "c,d"], ""),
        (["1,69", "x", "y"], ""),
    ],
)
def test_numbers_as_people_print_them_are_said(cells: list[str], mark: str) -> None:
    hint = made(list(cells) * 9).hint
    assert hint.startswith(f"cells look like numbers with {mark}, such as {cells[0]!r}" if mark else "")
    assert bool(hint) == bool(mark)


@pytest.mark.parametrize(
    ("cells", "form"),
    [
        (["01/13/2021", "02/03/2021"], "%m/%d/%Y"),
        (["13/01/2021", "02/03/2021"], "%d/%m/%Y"),
        (["12-31-2020", "01-02-2020"], "%m-%d-%Y"),
        (["12/31/20", "01/02/20"], "%m/%d/%y"),
    ],
)
def test_dates_that_can_be_mistaken_are_suggested(cells: list[str | None], form: str) -> None:
    guessed = made(cells, "day")
    assert guessed.kind == "category"
    assert guessed.hint == (
        f"cells look like dates, such as {cells[0]!r}: declare "
        f'`columns: {{day: {{date: {{format: "{form}"}}}}}}`'
    )
    assert made(["01/02/2020", "03/04/2020"]).hint.endswith("(or %d/%m/%Y)")
    assert made(["01/13/2020", "13/01/2020"]).hint == ""


def test_the_form_of_dates_is_said() -> None:
    assert (
        made(["31.12.2020", "01.02.2021"]).why == "all cells are dates in %d.%m.%Y, 2020-12-31 to 2021-02-01"
    )
    assert "in ISO 8601" in made(["2020-12-31", "2021-02-01"]).why


def test_numbers_that_are_codes_or_name_rows_are_doubted() -> None:
    shuffled = np.random.default_rng(0).permutation(100)
    assert made([str(n) for n in shuffled], "ticket").hint == (
        "each whole number occurs once, as numbers that name rows do: `columns: {ticket: category}` or skip"
    )
    assert "leading zeros" in made([f"{n:05}" for n in (6495, 10115, 80331) * 5], "zip").hint
    assert "{zip: category}" in made(["06495", "10115", "80331"], "zip").hint
    for fine in (range(100), range(100)[::-1], [*shuffled, 3], 50 * shuffled, shuffled[:20]):
        assert made([str(n) for n in fine]).hint == ""
    assert made([f"0.{n + 10}" for n in shuffled]).hint == ""


def test_doubts_are_notes_of_what_is_learned() -> None:
    values = [str(n / 7) for n in range(75)] + ["-"] * 8 + ["none"] * 7
    examples = given({"x": values, "y": [n / 3 for n in range(90)]})
    notes = examples.learn(every(examples), ["features"], []).notes
    assert any(note.startswith("x: not read, ") for note in notes)
    assert any(
        note.startswith("x: 75 of 90 cells are numbers, the others '-', 'none': list") for note in notes
    )
