"""Imported models beside Keras: what is measured of a process, and that both ways give the same."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks import imported_worker
from benchmarks.keras_import import COLD, spread, started
from tests.keras_file import forward, write_model


def test_a_process_is_measured_from_its_start_to_its_first_line(tmp_path: Path) -> None:
    program = "import time; b = b'1' * 50_000_000; time.sleep(0.2); print(len(b), flush=True); time.sleep(1)"
    seconds, size = started(sys.executable, program, tmp_path, 1)
    assert seconds > 0.2
    assert 50e6 < size < 150e6
    with pytest.raises(SystemExit, match="printed nothing"):
        started(sys.executable, "pass", tmp_path, 1)


def test_the_cold_start_predicts(tmp_path: Path) -> None:
    write_model(tmp_path / "cold.h5")
    np.save(tmp_path / "cold.npy", np.ones((1, 3), np.float32))
    seconds, size = started(sys.executable, COLD["cortex"], tmp_path, 1)
    assert seconds < 60
    assert size < 120e6


def test_the_worker_gives_what_the_model_gives(tmp_path: Path) -> None:
    write_model(tmp_path / "model.h5")
    x = np.random.default_rng(0).normal(size=(1, 3)).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    task = {"file": str(tmp_path / "model.h5"), "inputs": str(tmp_path / "x.npy"), "threads": 1}
    step = imported_worker.make({**task, "way": "cortex", "backend": "numpy"})
    np.testing.assert_allclose(step(), forward(x)[1], rtol=1e-5)


def test_spread() -> None:
    assert spread([3.0, 1.0, 2.0]) == {"median": 2.0, "low": 1.0, "high": 3.0}
