"""Reads numbers back out of a page."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any


class Section:
    """Its ``words``, the data of its ``charts``, and its ``tables``: rows of cells, each the exact value
    where the page has one, else the words."""

    def __init__(self) -> None:
        self.words, self.charts = "", list[dict[str, Any]]()
        self.tables = list[list[list[str]]]()


class Page(HTMLParser):
    """``sections`` by id; ``tags`` of the whole page."""

    def __init__(self, content: str) -> None:
        super().__init__()
        self.sections: dict[str, Section] = {}
        self.tags: list[str] = []
        self._now, self._json, self._value, self._in_cell = Section(), False, False, False
        self._hidden = False
        self.feed(content)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        given = dict(attrs)
        if tag == "section":
            self._now = self.sections[str(given["id"])] = Section()
        elif tag == "table":
            self._now.tables.append([])
        elif tag == "tr":
            self._now.tables[-1].append([])
        elif tag in ("td", "th"):
            self._now.tables[-1][-1].append("")
        elif tag == "data":
            self._value = True
            self._cell(str(given["value"]))
        self._in_cell = tag in ("td", "th") or (self._in_cell and tag != "tr")
        self._json = given.get("type") == "application/json"
        self._hidden = tag in ("style", "script")

    def handle_endtag(self, tag: str) -> None:
        self._value = self._value and tag != "data"
        self._in_cell = self._in_cell and tag not in ("td", "th")
        self._json = self._hidden = False

    def handle_data(self, data: str) -> None:
        if self._json:
            self._now.charts.append(json.loads(data))
        if self._hidden:
            return
        self._now.words += data
        if not self._value:
            self._cell(data)

    def _cell(self, words: str) -> None:
        if self._in_cell:
            self._now.tables[-1][-1][-1] += words.strip()


def read(path: Path) -> Page:
    return Page(path.read_text("utf-8"))
