"""The page of a description: whole, without scripts, and safe against what names and cells hold."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from cortex_datasets.describe import describe
from cortex_viz.describe import heat_map, page, write
from cortex_viz.page import histogram, number, plain, text

ELEMENTS = {
    *(
        "html",
        "head",
        "meta",
        "title",
        "style",
        "body",
        "main",
        "h1",
        "h2",
        "p",
        "ul",
        "li",
        "dl",
        "dt",
        "dd",
    ),
    *("div", "span", "bdi", "table", "caption", "thead", "tbody", "tr", "th", "td", "details", "summary"),
    *("svg", "rect", "text"),
}
HOSTILE = "</title><script>alert(1)</script>\"'><img src=x onerror=alert(2)>&amp;\x1b[31m\u202e"


class Parser(HTMLParser):
    """Collects elements and text; fails where a tag closes what is not open."""

    def __init__(self, content: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(content)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.text.append(data)

    def count(self, tag: str) -> int:
        return sum(t == tag for t, _ in self.tags)


def check_safe(found: Parser) -> None:
    assert {tag for tag, _ in found.tags} <= ELEMENTS
    for tag, attributes in found.tags:
        assert not [name for name in attributes if name.startswith("on") or name in ("src", "href")], tag
    assert not re.search(r"[\x00-\x08\x0b-\x1f\u202e]", "".join(found.text))
    policy = next(a["content"] for t, a in found.tags if t == "meta" and "http-equiv" in a)
    assert policy is not None
    assert "default-src 'none'" in policy
    assert "script" not in policy


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    made = pd.DataFrame({"mass": rng.normal(50, 10, 200), "kind": rng.choice(["bat", "cat"], 200)})
    return made.assign(height=made["mass"] * 2, born=pd.date_range("2020-01-01", periods=200))


def test_a_table(frame: pd.DataFrame, tmp_path: Path) -> None:
    frame.loc[:9, "mass"] = np.nan
    frame.to_csv(tmp_path / "bats & cats.csv", index=False)
    write(describe(tmp_path / "bats & cats.csv"), tmp_path / "page.html")
    content = (tmp_path / "page.html").read_text("utf-8")
    assert "<title>bats &amp; cats.csv</title>" in content
    found = Parser(content)
    check_safe(found)
    said = " ".join(found.text)
    for name in frame:
        assert name in said
    for told in (
        "5.0 %",  # of mass is missing
        f"mean {frame['mass'].mean():.4g}, std {frame['mass'].std():.4g}",
        f"{(frame['kind'] == 'bat').sum()} ",
        "from 2020-01-01",
        "1.000",  # mass and height
    ):
        assert told in said, told
    assert found.count("h1") == 1
    assert all(a.get("scope") in ("col", "row") for t, a in found.tags if t == "th")
    images = [a for t, a in found.tags if t == "svg" and "aria-hidden" not in a]
    assert len(images) == 4  # three histograms and the heat map
    assert all(a["role"] == "img" and a["aria-label"] for a in images)


def test_names_and_cells_of_an_enemy(tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {HOSTILE: [HOSTILE, "b"] * 30, HOSTILE + "2": range(60), "t": [f"{HOSTILE} {i}" for i in range(60)]}
    )
    frame["c"] = frame[HOSTILE]
    path = tmp_path / "a<script>b.csv"
    frame.to_csv(path, index=False)
    report: Any = describe(path)
    report["notes"].append(HOSTILE)
    assert len(report["correlations"]["pairs"]) == 3
    content = page(report)
    assert "<script" not in content
    assert "<img" not in content
    check_safe(Parser(content))


def test_other_files(tmp_path: Path) -> None:
    from PIL import Image

    np.savez(tmp_path / "a.npz", x=np.random.default_rng(0).normal(size=(5, 7)), y=np.array([1, 1, 2]))
    (tmp_path / "t.txt").write_text("a word, <b>another</b>\n")
    for label in ("cat", "<dog>"):
        (tmp_path / "photos" / label).mkdir(parents=True)
        Image.new("RGB", (4, 3)).save(tmp_path / "photos" / label / "1.png")
    (tmp_path / "photos/cat/bad.png").write_bytes(b"no")
    for name, told in (("a.npz", "5 × 7"), ("t.txt", "'<b>another</b>'"), ("photos", "3 x 4")):
        found = Parser(page(describe(tmp_path / name)))
        check_safe(found)
        assert told in "".join(found.text)
    assert "cat/bad.png" in "".join(found.text)


def test_a_wide_table_has_a_heat_map_of_the_strongest(tmp_path: Path) -> None:
    names = [f"x{i:02}" for i in range(60)]
    pairs = [
        {"a": names[i], "b": names[i + 1], "measure": "pearson", "value": 0.9 - i / 100, "rows": 9}
        for i in range(59)
    ]
    found = Parser(heat_map({"columns": names, "pairs": pairs}))
    shown = {told for told in found.text if told in names}
    assert shown == set(names[:30])
    assert found.count("rect") == 1 + 2 * 29


def test_bars_are_as_high_as_their_counts() -> None:
    found = Parser(histogram({"edges": [0, 1, 2, 3], "counts": [1, 4, 0]}, width=90, height=40))
    heights = [float(a["height"] or 0) for t, a in found.tags if t == "rect"]
    assert heights == [10, 40, 0]
    assert "1 to 2: 4" in found.text
    assert histogram(None) == ""


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (None, "–"),
        (3.0, "3"),
        (1234567.0, "1,234,567"),
        (1e12, "1e+12"),
        (0.123456, "0.1235"),
        (4201.754, "4,201.8"),
    ],
)
def test_numbers(value: float | None, told: str) -> None:
    assert number(value) == told


def test_text_of_others() -> None:
    assert plain("a\nb\x1b") == "a\\nb\\x1b"
    assert plain("x" * 100, 10) == "x" * 9 + "…"
    assert plain("") == "''"
    assert text("<é>") == "<bdi>&lt;é&gt;</bdi>"
