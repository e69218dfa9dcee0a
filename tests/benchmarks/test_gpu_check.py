"""The checks of a GPU, over the stand-in for CuPy: every part runs to its end, and a file says so."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections import Counter
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import compare, cortex_worker
from benchmarks.gpu_check import __main__ as main
from benchmarks.gpu_check import children, speed
from benchmarks.gpu_check.report import Report, slug
from benchmarks.gpu_check.steps import calls_within, judged
from benchmarks.rows import COMPILED, ROWS, SPEED
from benchmarks.serve import Queued, first_values
from benchmarks.turns import ROOT, Absent
from cortex_compute import backends
from tests.gpu.standin import installed

STANDIN = (sys.executable, "-m", "tests.benchmarks.standin_child")
FACTS = {"gpu": "NVIDIA Abacus 80GB", "date": "2000-01-01"}
needs_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="the stand-in needs g++")

SMALL: dict[str, Any] = {
    "cortex": 1,
    "name": "small",
    "inputs": {"image": [6, 6, 2]},
    "layers": [
        {"conv2d": {"filters": 4, "kernel": 3, "use_bias": False}},
        "batch_norm",
        "relu",
        "flatten",
        {"dropout": 0.25},
        {"dense": {"units": 10, "id": "out"}},
    ],
    "loss": {"softmax_cross_entropy": {"of": "out", "target": "label"}},
    "train": {"optimizer": {"adam": {"learning_rate": 0.01}}},
}


def report_in(folder: Path, seconds: float = 60.0) -> Report:
    return Report(folder, "speed", FACTS, time.monotonic() + seconds)


def contents(folder: Path) -> dict[str, Any]:
    (file,) = folder.glob("*.json")
    found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return found


def by_name(report: Report) -> dict[str, dict[str, Any]]:
    return {e["name"]: e for e in report.entries}


# The file.


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("NVIDIA H200", "nvidia-h200"),
        ("NVIDIA H100 80GB HBM3", "nvidia-h100-80gb-hbm3"),
        ("Tesla T4 ", "tesla-t4"),
    ],
)
def test_slug(name: str, file: str) -> None:
    assert slug(name) == file


def test_the_file_is_whole_at_every_moment(tmp_path: Path) -> None:
    report = report_in(tmp_path)
    assert contents(tmp_path) | {"seconds": 0} == {
        **FACTS, "part": "speed", "complete": False, "seconds": 0, "taken": {}, "not_run": [], "entries": [],
    }  # fmt: skip
    report.add({"name": "a", "passed": True, "value": 0.5})
    report.add({"name": "b", "passed": None})
    report.count("auto", {"Conv cudnn": 2})
    report.count("auto", {"Conv cudnn": 1, "Gemm cupy": 1})
    assert report.end() == 0
    found = contents(tmp_path)
    assert [e["name"] for e in found["entries"]] == ["a", "b"]
    assert found["taken"] == {"auto": {"Conv cudnn": 3, "Gemm cupy": 1}}
    assert found["complete"]
    assert [p.name for p in tmp_path.iterdir()] == ["nvidia-abacus-80gb-2000-01-01-speed.json"]


@pytest.mark.parametrize("what", ["nothing", "failure", "left out"])
def test_only_a_whole_part_that_holds_is_good(tmp_path: Path, what: str) -> None:
    report = report_in(tmp_path)
    if what != "nothing":
        report.add({"name": "a", "passed": True})
    if what == "failure":
        report.add({"name": "b", "passed": False, "detail": "why"})
    if what == "left out":
        report.leave_out("b")
    assert report.end() == 1
    assert contents(tmp_path)["complete"] == (what != "left out")


# Without a GPU.


@pytest.mark.parametrize("missing", ["driver", "device"])
def test_without_a_gpu_it_says_why(
    missing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("STANDIN_MISSING", missing)
    assert main.check("speed", tmp_path, child=STANDIN) == 2
    said = capfd.readouterr().err
    assert said.startswith("no GPU can be had: BackendError: backend cupy: cudaError")
    assert not list(tmp_path.iterdir())


def test_the_command(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.gpu_check", "mnist", "--out", str(tmp_path)]
    if children.facts(children.CHILD)[0] is not None:
        pytest.skip("this machine has a GPU")
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "backend cupy" in done.stderr


# Processes that fail.


@needs_compiler
def test_after_a_process_that_ended_the_next_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(children, "START", 5.0)
    report = report_in(tmp_path)
    children.run(STANDIN, {"suite": "ending"}, report, "ending", silence=1)
    found = by_name(report)
    assert list(found) == ["first", "bad", "end", "hang", "last"]
    assert found["bad"]["detail"] == "ValueError: two is not one"
    assert "SIGSEGV" in found["end"]["detail"]
    assert "said nothing" in found["hang"]["detail"]
    assert [e["passed"] for e in found.values()] == [True, False, False, False, True]
    assert not report.not_run


def test_a_process_that_does_not_start_is_a_failure(tmp_path: Path) -> None:
    report = report_in(tmp_path)
    children.run((sys.executable, "-c", "import abacus"), {}, report, "kit", silence=5)
    assert report.entries == [
        {"name": "kit", "passed": False, "detail": "ModuleNotFoundError: No module named 'abacus'"}
    ]


@pytest.mark.slow
@needs_compiler
def test_what_is_not_reached_is_told(tmp_path: Path) -> None:
    report = report_in(tmp_path, seconds=4)
    children.run(STANDIN, {"suite": "ending"}, report, "ending", silence=60)
    assert "last" not in by_name(report)
    assert report.not_run[0].startswith("ending: ")
    assert report.left() > -2


# The parts.


def only(monkeypatch: pytest.MonkeyPatch, word: str) -> None:
    """Suites run those cases alone that have this in their name."""
    shared = main.shared
    monkeypatch.setattr(main, "shared", lambda r, c, task, label: shared(r, c, {**task, "only": word}, label))


@pytest.mark.slow
@needs_compiler
def test_conformance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(main, "NETWORKS", {"a": (SMALL, 4), "b": (SMALL, 3)})
    monkeypatch.setattr(main, "POLICIES", ("auto", "never"))
    monkeypatch.setattr(main, "PROCESSES", 2)
    only(monkeypatch, "softmax/")
    code = main.check("conformance", tmp_path, child=STANDIN)
    found = contents(tmp_path)
    entries = {e["name"]: e for e in found["entries"]}
    kit = [e for name, e in entries.items() if name.startswith("never: Softmax/")]
    assert len(kit) > 3
    assert all(e["passed"] for e in kit)
    assert found["taken"]["never"]["Softmax cupy"] > 0
    for name in ("a: the same bits in three trainings", "b: no memory kept over 50 steps"):
        assert entries[name]["passed"], entries[name]
    assert entries["a: no memory taken in a step"]["value"] == 0
    assert entries["a: no call that takes memory or waits in a step"]["passed"] is None
    beside = entries["two trainings at once, each with the bits it has alone"]
    assert beside["passed"]
    assert len(set(beside["alone"])) == 2
    assert code == 1  # there is no cuDNN here, which the policy auto would take
    assert found["gpu"] == "Stand-in for a GPU"
    text = json.dumps(found)
    assert str(ROOT) not in text
    assert sys.prefix not in text


@needs_compiler
def test_gradients(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(main, "PROCESSES", 1)
    only(monkeypatch, "loss/mse")
    assert main.check("gradients", tmp_path, child=STANDIN) == 0
    names = [e["name"] for e in contents(tmp_path)["entries"]]
    assert names[:4] == [f"loss/mse/matrix/{check}" for check in ("eager", "symbolic", "forward", "second")]


@pytest.mark.slow
@needs_compiler
def test_mnist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A training ends at once here, with what is missing: the suite's own tests hold what it trains."""
    monkeypatch.setenv("CORTEX_DATA", str(tmp_path / "none"))
    monkeypatch.setenv("CORTEX_CACHE", str(tmp_path / "none"))
    monkeypatch.setenv("NPM_CONFIG_REGISTRY", "http://localhost:1")
    monkeypatch.setenv("http_proxy", "http://localhost:1")
    monkeypatch.setenv("https_proxy", "http://localhost:1")
    out = tmp_path / "out"
    assert main.check("mnist", out, minutes=2, child=STANDIN) == 1
    names = [e["name"] for e in contents(out)["entries"]]
    assert names[:2] == ["lenet against the clock, run 1", "lenet against the clock, run 2"]
    assert names[-1] == "siamese in bfloat16"


@needs_compiler
@pytest.mark.parametrize("data", ["host", "device"])
def test_the_step_that_is_timed_is_the_step_of_the_cpu(data: str) -> None:
    task = {"description": SMALL, "batch": 4, "purpose": "train", "precision": "float32", "file": ""}
    task |= {"threads": 1, "device": "gpu", "data": data, "tf32": False}
    expected = first_values(cortex_worker.make({**deepcopy(task), "backend": "numpy"}))
    with installed():
        backends._create.cache_clear()
        made = cortex_worker.make({**deepcopy(task), "backend": "cupy"})
        assert isinstance(made, Queued)
        found = first_values(made)
        made.block(3)
        del made
    backends._create.cache_clear()
    np.testing.assert_allclose(found, expected, rtol=1e-4)


class Made:
    """A contestant that takes so many milliseconds."""

    values = [[1.0], [0.5], [0.25]]

    def __init__(self, milliseconds: float) -> None:
        self.milliseconds = milliseconds

    def turn(self, seconds: float) -> dict[str, float]:
        return {"median": self.milliseconds}

    def close(self) -> None:
        """Nothing is kept."""


@pytest.mark.parametrize(("milliseconds", "passed"), [(1.0, True), (3.0, False)])
def test_speed_is_a_ratio_beside_a_bar(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, milliseconds: float, passed: bool
) -> None:
    times = {"cortex": milliseconds, "torch": 4.5}
    monkeypatch.setattr(compare, "start", lambda library, *rest: Made(times[library]))
    report = report_in(tmp_path)
    speed.measure(report, [ROWS["gpu_mlp"]])
    (entry,) = report.entries
    assert entry["value"] == pytest.approx(4.5 / milliseconds)
    assert (entry["threshold"], entry["passed"]) == (4.0, passed)


def test_without_a_peer_there_is_no_ratio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def start(library: str, *rest: object) -> Made:
        if library != "cortex":
            raise Absent("No module named 'torch'")
        return Made(1.0)

    monkeypatch.setattr(compare, "start", start)
    report = report_in(tmp_path)
    speed.measure(report, [ROWS["gpu_mlp"], ROWS["gpu_resnet20"]])
    assert [e["passed"] for e in report.entries] == [None, None]
    assert len(report.not_run) == 1  # the second one has no bar
    assert "No module named 'torch'" in report.not_run[0]


def test_rows_for_which_there_is_no_time_are_told(tmp_path: Path) -> None:
    report = report_in(tmp_path, seconds=1)
    speed.measure(report, SPEED)
    assert report.not_run == [row.name for row in SPEED]


def test_the_bars_of_a_gpu() -> None:
    asked = {row.name: row.bar for row in (*SPEED, *COMPILED)}
    assert (asked["gpu_mlp"], asked["gpu_cnn"], asked["gpu_resnet20_bf16"]) == (4.0, 4.0, 2.0)
    assert (asked["gpu_mlp_compiled"], asked["gpu_cnn_compiled"]) == (1.2, 1.2)
    assert (asked["gpu_resnet20_bf16_compiled"], asked["gpu_resnet50_bf16_compiled"]) == (1.1, 1.0)


# What the profiler saw.


def event(name: str, start: float, kind: str = "cuda_runtime", length: float = 1.0) -> dict[str, Any]:
    return {"ph": "X", "name": name, "cat": kind, "ts": start, "dur": length}


def test_calls_inside_a_span() -> None:
    trace = {
        "traceEvents": [
            {"ph": "M", "name": "steps"},
            event("steps", 10, "user_annotation", 100),
            event("cudaMalloc", 5),
            event("cudaGraphLaunch", 20),
            event("cudaGraphLaunch", 40),
            event("cudaMemcpyAsync", 30),
            event("multiply", 35, "kernel"),
            event("cudaStreamSynchronize", 200),
        ]
    }
    found = calls_within(trace, "steps")
    assert found == {"cudaGraphLaunch": 2, "cudaMemcpyAsync": 1}
    assert judged(found)["passed"]


@pytest.mark.parametrize("name", ["cudaMalloc", "cudaMallocAsync", "cudaStreamSynchronize", "cudaMemcpy"])
def test_a_call_that_no_step_may_make(name: str) -> None:
    entry = judged(Counter({"cudaGraphLaunch": 20, "cudaEventSynchronize": 16, name: 1}))
    assert not entry["passed"]
    assert entry["detail"] == f"{name} 1 times"


def test_a_profiler_that_sees_nothing_proves_nothing() -> None:
    assert not judged(Counter())["passed"]
