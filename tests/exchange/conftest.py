"""Data of the published forms for the examples, so that each becomes a network where nothing was fetched."""

from __future__ import annotations

from pathlib import Path

import pytest

from cortex_core.training import source
from tests.examples import made


@pytest.fixture
def made_data(data_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What an example names is small data made here."""
    monkeypatch.setenv("CORTEX_DATA", str(data_folder))
    for name, data in made.pictures().items():
        monkeypatch.setitem(source._registered, name, data)
