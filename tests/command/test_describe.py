"""``cortex data describe``: text, JSON and page of real files, and what bad input gets."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import Cli

TABLE = "kind,mass,born\nbat,1.5,2020-01-01\ncat,,2021-06-30\nbat,4.5,2020-03-01\nbat,1.5,2020-01-01\n"


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "t.csv"
    path.write_text(TABLE)
    return path


def test_a_table_as_text(cli: Cli, table: Path) -> None:
    said = cli("data", "describe", table)
    assert said.code == 0
    assert "4 rows, 3 columns" in said.out
