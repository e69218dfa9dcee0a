"""What docs/descent.md shows is what its examples print."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from cortex_core.descent import FUNCTIONS

PAGE = (Path(__file__).parents[3] / "docs/descent.md").read_text(encoding="utf-8")
SHOWN = re.compile(r"^```python\n(.*?)^```\n\n```text\n(.*?)^```$", re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize(("code", "shown"), SHOWN.findall(PAGE))
def test_it_prints_what_is_shown(
    code: str,
    shown: str,
    own_registry: None,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "docs/descent.md", "exec"), {"__name__": "example"})
    assert capsys.readouterr().out == shown


def test_every_example_is_shown_with_what_it_prints() -> None:
    assert len(SHOWN.findall(PAGE)) == PAGE.count("```python") > 3


def test_it_names_every_function() -> None:
    assert [name for name in FUNCTIONS if not re.search(rf"\b{name}\b", PAGE)] == []
