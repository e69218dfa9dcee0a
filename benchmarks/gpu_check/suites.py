"""What the processes run: lists of jobs, each a name and a function that gives an entry of the report."""

from __future__ import annotations

import re
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from benchmarks.gpu_check.steps import steps

Task = dict[str, Any]
Entry = dict[str, Any]
Job = tuple[str, Callable[[], Entry]]
PACKAGES = ("cupy-cuda12x", "cupy-cuda13x", "nvidia-cudnn-cu12", "nvidia-cudnn-cu13", "torch", "jax")
FOLDERS = re.compile(r"(?:/[^/\s]+)*/")  # of a library's file: they are nobody's business
TRAINING = 2.0  # seconds in which LeNet learns MNIST
ACCURACY = 0.99


def chosen(jobs: list[Job], task: Task) -> list[Job]:
    """Of several processes that share the jobs, those of this one."""
    first, step = task.get("shard", (0, 1))
    return jobs[first::step]


def taken() -> dict[str, int]:
    """How many kernels were built, by primitive and way."""
    from cortex_compute.backends import get

    return {f"{primitive} {way}": n for (primitive, way), n in get("cupy").taken.items()}  # type: ignore[attr-defined]


def facts(task: Task) -> list[Job]:
    """The machine; it fails with the backend's words where there is no GPU."""
    from cortex_compute.backends import get

    get("cupy")
    return [("facts", lambda: {"passed": True, "facts": found()})]


def found() -> dict[str, Any]:
    """What a figure belongs to."""
    from cupy.cuda import runtime

    from benchmarks import machine
    from cortex_compute.backends import get

    properties = runtime.getDeviceProperties(0)
    return {
        "gpu": properties["name"].decode(),
        "memory": properties["totalGlobalMem"],
        "driver": runtime.driverGetVersion(),
        "cuda": runtime.runtimeGetVersion(),
        **machine.facts("cupy", sys.executable),
        "backend_facts": {k: FOLDERS.sub("", v) for k, v in get("cupy").describe().items()},
        "packages": {name: v for name in PACKAGES if (v := installed(name))},
    }


def installed(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def conformance(task: Task) -> list[Job]:
    """Every primitive against float64 references, with one policy for cuDNN.

    With `always` a case that cuDNN refuses is written down as refused: nothing stands in for it then.
    """
    from cortex_compute.backends import get
    from cortex_compute.choices import choose
    from cortex_compute.verify.run import Job as Case
    from cortex_compute.verify.run import jobs

    choose(cudnn=task["cudnn"])
    backend = get("cupy")
    device = backend.devices()[0]
    streams = device.stream(), device.stream(worker=True)

    def job(case: Case) -> Entry:
        result = case.run(backend, streams)
        entry = {"value": result.value, "passed": result.passed}
        if task["cudnn"] == "always" and result.detail.startswith("refused: ") and "cuDNN" in result.detail:
            return {"passed": True, "refused": result.detail}  # as that policy has it
        return entry if result.passed else {**entry, "detail": result.detail}

    return [(f"{task['cudnn']}: {case.name}", partial(job, case)) for case in jobs(task.get("only"))]


def gradients(task: Task) -> list[Job]:
    """Layers, losses and pointwise functions against central differences."""
    from cortex_compute.backends import get
    from cortex_core.verify.gradients import jobs

    backend = get("cupy")

    def job(check: Callable[[Any], Any]) -> Entry:
        result = check(backend)
        entry = {"value": result.value, "passed": result.passed}
        return entry if result.passed else {**entry, "detail": result.detail}

    return [(name, partial(job, check)) for name, check in jobs(task.get("only"))]


def mnist(task: Task) -> list[Job]:
    """The MNIST suite in two precisions, and LeNet against the clock, twice in one process."""
    from cortex_compute.backends import get
    from cortex_core.training.source import register
    from cortex_core.verify.trained import MNIST
    from cortex_datasets.named import mnist

    get("cupy")
    register(mnist)  # where the clone is not installed, no entry point names it
    suite = [
        (f"{name} in {precision}", partial(of_suite, name, precision))
        for precision in ("float32", "bfloat16")
        for name in MNIST
    ]
    return [(f"lenet against the clock, run {i}", partial(against_the_clock, i == 2)) for i in (1, 2)] + suite


def of_suite(name: str, precision: str) -> Entry:
    """One network of the suite."""
    from cortex_core.verify.trained import mnist

    (result,) = mnist("cupy", name, precision)
    return {**result.json(), "detail": result.detail}


def against_the_clock(bound: bool) -> Entry:
    """Seconds of the steps of examples/lenet.yaml, the data on the device, and of everything around them.

    The first run of a process compiles; the second one is ``bound``.
    """
    from cortex_core.training.train import train
    from cortex_core.verify.trained import examples_folder

    start = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="cortex-") as scratch:
        spec = str(examples_folder() / "lenet.yaml")
        run = train(spec, backend="cupy", out=Path(scratch) / "lenet", progress=False, report=False)
    everything = time.perf_counter() - start
    seconds = sum(float(row["seconds"]) for row in run.history.rows)
    accuracy = float(run.metrics["test"]["accuracy"])
    return {
        "metric": "seconds of training steps",
        "value": seconds,
        "threshold": TRAINING,
        "steps": run.summary["steps"],
        "everything": everything,
        "accuracy": accuracy,
        "passed": accuracy >= ACCURACY and (seconds < TRAINING or not bound),
        "detail": f"accuracy {accuracy:.4f}, {everything:.2f} s in all",
    }


SUITES: dict[str, Callable[[Task], list[Job]]] = {
    "facts": facts,
    "conformance": conformance,
    "steps": steps,
    "gradients": gradients,
    "mnist": mnist,
}
