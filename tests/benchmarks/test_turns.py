"""Measured processes: what they compute is compared before it is timed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import compare
from benchmarks.cold import ColdStart
from benchmarks.rows import ROWS, Row
from benchmarks.serve import MISSING, turn
from benchmarks.turns import ROOT, Absent, Failed, Worker
from benchmarks.workloads import WORKLOADS, batch_of

SETTINGS = compare.Settings(2, 0.01, 1, "numpy", sys.executable)


class Made:
    """A contestant that took these milliseconds in its turns."""

    def __init__(self, values: list[list[float]], *times: float) -> None:
        self.values, self.times = values, iter(times)

    def turn(self, seconds: float) -> dict[str, float]:
        return {"median": next(self.times)}

    def close(self) -> None:
        pass


def compete(monkeypatch: pytest.MonkeyPatch, row: Row, made: dict[str, Any]) -> dict[str, Any]:
    def start(library: str, *rest: object) -> Any:
        if library not in made:
            raise Absent("No module named 'jax'")
        return made[library]

    monkeypatch.setattr(compare, "start", start)
    return compare.measure(row, SETTINGS)


def test_a_turn_counts_the_steps_and_not_the_warm_up() -> None:
    calls: list[int] = []
    figures = turn(lambda: calls.append(1), 0.001)
    assert 5 <= figures["steps"] < len(calls)
    assert figures["fastest"] <= figures["median"] <= figures["p90"] <= figures["p99"]


def test_a_process_of_cortex(tmp_path: Path) -> None:
    worker = compare.start("cortex", ROWS["mlp"], SETTINGS, tmp_path)
    figures = worker.turn(0.01)
    worker.close()
    workload = WORKLOADS["mlp"]
    x, label = batch_of(workload.description, workload.batch)
    with np.load(tmp_path / "parameters.npz") as p:
        for name in ("hidden0", "hidden1", "digit"):
            logits = x @ p[f"{name}/kernel"] + p[f"{name}/bias"]
            x = np.maximum(logits, 0)
    expected = np.log(np.exp(logits).sum(1)) - logits[np.arange(len(logits)), label]
    assert worker.values[0][0] == pytest.approx(expected.mean(), rel=1e-5)
    assert len(worker.values) == 3
    assert figures["median"] > 0


def test_a_process_that_fails_says_why() -> None:
    with pytest.raises(Failed, match="abacus_worker"):
        Worker(sys.executable, "abacus_worker", {"threads": 1})


def test_a_cold_start(tmp_path: Path) -> None:
    cold = ColdStart("cortex", sys.executable, tmp_path, 1, "numpy")
    assert np.shape(cold.values) == (1, 10)
    assert np.sum(cold.values) == pytest.approx(1, abs=1e-5)
    assert cold.turn(0)["median"] > 0


def test_ratios_are_taken_within_a_round(monkeypatch: pytest.MonkeyPatch) -> None:
    made = {
        "cortex": Made([[1.0]], 1, 4),
        "torch": Made([[1.0]], 3, 8),
        "torch_compile": Made([[1.0]], 2, 10),
    }
    result = compete(monkeypatch, ROWS["mlp"], made)
    assert result["ratio"] == {"median": 2.0, "low": 2.0, "high": 2.0}
    assert result["times"]["torch"] == {"median": 5.5, "low": 3, "high": 8}
    assert result["left_out"] == {"jax": "No module named 'jax'"}


def test_other_work_is_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    made = {"cortex": Made([[2.0], [1.0]], 1, 1), "torch": Made([[2.0], [1.001]], 1, 1)}
    result = compete(monkeypatch, ROWS["mlp"], made)
    assert set(result) == {"name", "failed"}
    assert "PyTorch gives [[2.0], [1.001]]" in result["failed"]


def test_a_peer_that_dies_in_a_round_is_not_left_out_of_the_ratio(monkeypatch: pytest.MonkeyPatch) -> None:
    class Dying(Made):
        def turn(self, seconds: float) -> dict[str, float]:
            raise Failed("killed")

    result = compete(monkeypatch, ROWS["mlp"], {"cortex": Made([[1.0]], 1, 1), "torch": Dying([[1.0]])})
    assert result == {"name": "mlp", "failed": "killed"}


def test_a_library_that_is_not_installed_is_absent() -> None:
    program = (
        "import sys; from benchmarks.serve import serve; serve(lambda task: __import__('no_such_library'))"
    )
    done = subprocess.run([sys.executable, "-c", program, "{}"], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == MISSING


def test_cortex_that_fails_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    result = compete(monkeypatch, ROWS["mlp"], {"torch": Made([[1.0]], 1, 1)})
    assert result == {"name": "mlp", "failed": "No module named 'jax'"}


def test_float32_does_not_pass_for_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    made = {"cortex": Made([[2.0]], 1, 1), "cortex_float32": Made([[2.0]], 2, 2)}
    result = compete(monkeypatch, ROWS["resnet20_bf16"], made)
    assert "nothing was computed in bfloat16" in result["failed"]


def test_the_peak_is_the_best_product_of_the_run() -> None:
    milliseconds = {"product_numpy": {"low": 200.0}, "product_torch": {"low": 100.0}, "cortex": {"low": 1.0}}
    peak = compare.peak_of([{"times": milliseconds}, {"failed": "no"}])
    assert peak is not None
    assert peak["library"] == "product_torch"
    assert peak["gflops"] == pytest.approx(2 * 2.048**3 / 0.1)
