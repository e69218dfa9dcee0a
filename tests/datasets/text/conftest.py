from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

Batch = Callable[..., "dict[str, np.ndarray[Any, Any]]"]


@pytest.fixture
def find(tmp_path: Path) -> Callable[[str], Path]:
    """Finds files in the test's own folder."""
    return lambda name: tmp_path / name


@pytest.fixture
def real() -> Callable[[str], Path]:
    """Finds the files of CORTEX_DATA."""
    folder = os.environ.get("CORTEX_DATA")
    if not folder or not (Path(folder) / "text").is_dir():
        pytest.skip("CORTEX_DATA names no folder with text/")
    return lambda name: Path(folder) / name


@pytest.fixture
def gathered() -> Batch:
    """Rows of a source, as a feed would ask for them: arrays that were used before, one row too many."""

    def gather(source: Any, rows: list[int], length: int | None = None) -> dict[str, np.ndarray[Any, Any]]:
        out = {
            name: np.full(
                (len(rows) + 1, *(length if n is None else n for n in stream.shape)), 77, stream.dtype
            )
            for name, stream in source.streams.items()
        }
        source.gather(np.array(rows), out)
        assert all((array[-1] == 77).all() for array in out.values())
        return {name: array[:-1] for name, array in out.items()}

    return gather
