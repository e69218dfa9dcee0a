"""The benchmark of tables: both sides get the same rows, of which each is held out once."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import tables

HEAD = "species,island,bill_length_mm,bill_depth_mm,flipper_length_mm,body_mass_g,sex,year"


@pytest.fixture
def penguins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The rows of a made file: two species told apart by their bills."""
    draw = np.random.default_rng(0)
    rows = []
    for i in range(60):
        bill = 40 + 5 * (i % 2) + draw.uniform(-1, 1)
        sex = ("male", "female", "NA")[i % 7 % 3]
        rows.append(f"{('Adelie', 'Gentoo')[i % 2]},Dream,{bill:.2f},18.{i},{190 + i},{3000 + i},{sex},2007")
    folder = tmp_path / "tabular"
    folder.mkdir()
    (folder / "penguins.csv").write_text("\n".join([HEAD, *rows, ""]), encoding="utf-8")
    monkeypatch.setenv("CORTEX_DATA", str(tmp_path))
    return rows


def test_each_row_is_held_out_once_and_both_sides_have_the_same(penguins: list[str], tmp_path: Path) -> None:
    held = []
    for pair in tables.Example("penguins").folds(tmp_path):
        (head, *train), (also, *test) = (file.read_text().splitlines() for file in pair.files)
        assert head == also == HEAD
        assert sorted(train + test) == sorted(penguins)
        assert sum(line.startswith("Adelie") for line in test) == len(test) / 2 == 6
        for lines, frame in zip((train, test), pair.frames):
            masses = [float(line.split(",")[5]) for line in lines]
            assert frame["body_mass_g"].tolist() == masses
        held += test
    assert sorted(held) == sorted(penguins)


def test_the_peer_has_the_types_of_the_columns(penguins: list[str]) -> None:
    example = tables.Example("penguins")
    frame = example.frame(example.file)
    named = {name for name in frame if frame[name].dtype == "category"}
    assert named == {"species", "island", "sex"}
    assert frame["sex"].isna().sum() == sum(",NA," in row for row in penguins) > 0


def test_both_sides_learn_and_are_told(
    penguins: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        sys, "argv", ["tables", "--only", "penguins", "--quick", "--threads", "1", "--json", "-"]
    )
    tables.main()
    said = capsys.readouterr()
    row = json.loads(said.out)["rows"]["penguins"]
    (run,) = row["runs"]
    assert row["columns"] == HEAD.split(",")[1:]
    assert run["rows"] == [48, 12]
    assert min(run["cortex"], run["boosting"]) > 0.9
    assert "| penguins | 7 |" in said.err


def run(cortex: float, boosting: float) -> dict[str, Any]:
    seconds = {"cortex": 2.0, "boosting": 1.0}
    return {"cortex": cortex, "boosting": boosting, "columns": ["a", "b"], "seconds": seconds}


@pytest.mark.parametrize(("bar", "met"), [(1.0, True), (0.9, False)])
def test_means_spreads_and_the_bar(bar: float, met: bool) -> None:
    row = tables.summed([run(0.875, 0.875), run(0.84375, 0.8625)], bar)
    assert row["cortex"] == pytest.approx(
        {"mean": 85.9375, "deviation": 2.2097086912, "low": 84.375, "high": 87.5}
    )
    assert row["difference"]["mean"] == pytest.approx(-0.9375)
    assert row["met"] is met
    assert f"| {-bar:+.0f}: {'met' if met else 'missed'} |" in tables.text("made", row)


def test_a_bar_that_is_missed_ends_with_1(monkeypatch: pytest.MonkeyPatch) -> None:
    row = tables.summed([run(0.8, 0.9)], 1.0)
    monkeypatch.setattr(tables, "measure", lambda name, chosen: [(name, row)])
    monkeypatch.setattr(sys, "argv", ["tables", "--only", "titanic"])
    with pytest.raises(SystemExit) as ended:
        tables.main()
    assert ended.value.code == 1
