from __future__ import annotations

from pathlib import Path

import pytest

from cortex_core.registry import READERS, reader
from cortex_core.registry.named import load_plugins
from tests.core.training.points import Points, save


@pytest.fixture
def points(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The reader `points` is known, and this is the working folder: points.dots lies in it."""
    load_plugins(READERS.group)
    monkeypatch.setattr(READERS, "_classes", dict(READERS._classes))

    @reader("points", main="file", suffixes=(".dots",))
    class Known(Points):
        pass

    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CORTEX_DATA", raising=False)
    monkeypatch.setenv("CORTEX_CACHE", str(tmp_path / "cache"))
    save(tmp_path / "points.dots")
    return tmp_path
