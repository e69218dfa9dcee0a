"""Cortex beside PyTorch, torch.compile, JAX and scikit-learn, in one run on one machine.

    python -m benchmarks.compare [--rounds 7] [--threads 2] [--device gpu] [--only mlp,cnn] [--json FILE]

Each library runs in a process of its own; the processes take turns, A B A B, so that a machine that slows
down slows all of them.  From equal parameters they must give equal losses before anything is timed; a
classifier that is fitted must be at least as accurate as the peer's, cross-validated.  Only what was
measured within one round is compared: a ratio is the median over rounds, with its range.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Protocol

from benchmarks import machine
from benchmarks.cold import ColdStart
from benchmarks.report import peak_text, text
from benchmarks.rows import LABELS, ROWS, Row
from benchmarks.serve import Task
from benchmarks.turns import ROOT, Absent, Failed, Neighbour, Worker
from benchmarks.workloads import WORKLOADS
from cortex_compute.errors import BackendError

# module of the worker, and the way in which it uses its library
WORKERS = {
    "cortex": ("cortex_worker", ""),
    "cortex_float32": ("cortex_worker", ""),
    "torch": ("torch_worker", ""),
    "torch_channels_last": ("torch_worker", "channels_last"),
    "torch_compile": ("torch_worker", "compile"),
    "torch_reduce_overhead": ("torch_worker", "channels_last compile:reduce-overhead"),
    "torch_autotune": ("torch_worker", "channels_last compile:max-autotune-no-cudagraphs"),
    "jax": ("jax_worker", ""),
    "sklearn": ("fit_worker", "sklearn"),
    "product_numpy": ("product_worker", "numpy"),
    "product_torch": ("product_worker", "torch"),
    "product_onednn": ("product_worker", "onednn"),
    "product_jax": ("product_worker", "jax"),
}
Round = dict[str, dict[str, float]]


class Contestant(Protocol):
    values: list[list[float]]

    def turn(self, seconds: float) -> dict[str, float]: ...
    def close(self) -> None: ...


@dataclass(frozen=True)
class Settings:
    rounds: int
    seconds: float
    threads: int
    backend: str
    peers_python: str
    until: float = math.inf  # by time.monotonic(): who is not ready then is left out


def start(library: str, row: Row, settings: Settings, folder: Path) -> Contestant:
    """Starts a contestant; raises `Absent` where it cannot take part."""
    python = sys.executable if library.startswith(("cortex", "sklearn")) else settings.peers_python
    if row.purpose == "cold":
        return ColdStart(library, python, folder, settings.threads, settings.backend)
    if row.purpose == "fit":
        task: Task = {"workload": row.workload, "way": WORKERS[library][1], "threads": settings.threads}
        return Worker(python, "fit_worker", task, settings.until)
    return Worker(python, WORKERS[library][0], task_of(library, row, settings, folder), settings.until)


def task_of(library: str, row: Row, settings: Settings, folder: Path) -> Task:
    """What a contestant that makes steps or predictions is told."""
    workload = WORKLOADS[row.workload]
    return {
        "workload": workload.name,
        "description": workload.description,
        "batch": 1 if row.purpose == "predict" else row.batch or workload.batch,
        "purpose": row.purpose,
        "precision": "float32" if library == "cortex_float32" else row.precision,
        "file": str(folder / "parameters.npz"),
        "threads": settings.threads,
        "backend": settings.backend,
        "way": WORKERS[library][1],
        "device": row.device,
        "data": row.data,
        "tf32": row.tf32,
    }


def differ(row: Row, values: list[list[float]], other: list[list[float]]) -> bool:
    """Whether two libraries do different work: more than rounding lies between what they computed."""
    workload = WORKLOADS[row.workload]
    for i, (a, b) in enumerate(zip(values, other)):
        narrow = row.tf32 or row.precision == "bfloat16"
        bound = max(workload.narrow if narrow else 0, workload.later if i else workload.first)
        size = max(map(abs, b))
        if len(a) != len(b) or not all(abs(x - y) <= bound * size for x, y in zip(a, b)):
            return True
    return False


def check(row: Row, contestants: dict[str, Contestant]) -> None:
    """Raises `Failed` where the work is not what it should be."""
    ours = contestants["cortex"].values
    if row.purpose == "fit":
        worse = [name for name, other in contestants.items() if ours[0][0] < other.values[0][0]]
        if worse:
            raise Failed(f"{LABELS[worse[0]]} is more accurate: {accuracies(contestants)}")
        return
    for library, contestant in contestants.items():
        if not library.startswith("product") and differ(row, contestant.values, ours):
            raise Failed(f"{LABELS[library]} gives {contestant.values}, Cortex {ours}")
    full = contestants.get("cortex_float32")
    if full is not None and full.values == ours:
        raise Failed(f"the losses have the bits of float32: nothing was computed in {row.precision}")


def accuracies(contestants: dict[str, Contestant]) -> dict[str, float]:
    """What those that fit reach, cross-validated."""
    return {name: contestant.values[0][0] for name, contestant in contestants.items()}


def measure(row: Row, settings: Settings) -> dict[str, Any]:
    """All contestants of a row, in turn: every figure, and what is left out and why."""
    left_out: dict[str, str] = {}
    contestants: dict[str, Contestant] = {}
    rounds: list[Round] = []
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))

        def enter(library: str) -> Contestant:
            contestant = start(library, row, settings, folder)
            stack.callback(contestant.close)
            return contestant

        try:
            contestants["cortex"] = enter("cortex")
            pool = stack.enter_context(ThreadPoolExecutor(len(row.contestants) if row.device == "gpu" else 1))
            for library, started in [(x, pool.submit(enter, x)) for x in row.contestants[1:]]:
                try:
                    contestants[library] = started.result()
                except (Absent, Failed) as reason:
                    left_out[library] = str(reason)
            check(row, contestants)
            with Neighbour() if row.neighbour else nullcontext():
                for _ in range(settings.rounds):
                    rounds.append({name: c.turn(settings.seconds) for name, c in contestants.items()})
        except (Absent, Failed) as reason:
            return {"name": row.name, "failed": str(reason)}
    reached = {"accuracy": accuracies(contestants)} if row.purpose == "fit" else {}
    return {"name": row.name, **summary(row, rounds), **reached, "left_out": left_out, "rounds": rounds}


def spread(values: list[float]) -> dict[str, float]:
    return {"median": median(values), "low": min(values), "high": max(values)}


def summary(row: Row, rounds: list[Round]) -> dict[str, Any]:
    """Over the rounds: each contestant's milliseconds and tails, and the ratio to the fastest rival."""
    times = {}
    for library in rounds[0]:
        times[library] = spread([r[library]["median"] for r in rounds])
        for tail in ("p90", "p99"):
            if tail in rounds[0][library]:
                times[library][tail] = median(r[library][tail] for r in rounds)
    rivals = [name for name in row.rivals if name in rounds[0]]
    if not rivals:
        return {"times": times}
    fastest = [min(r[name]["median"] for name in rivals) for r in rounds]
    ratio = spread([best / r["cortex"]["median"] for best, r in zip(fastest, rounds)])
    return {"times": times, "ratio": ratio}


def peak_of(results: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The best large matrix product of the run: GFLOP/s over a turn, and the library."""
    from benchmarks.product_worker import FLOPS

    best = [
        (1e-6 * FLOPS / figures["low"], library)
        for result in results
        for library, figures in result.get("times", {}).items()
        if library.startswith("product")
    ]
    if not best:
        return None
    rate, library = max(best)
    return {"gflops": rate, "library": library}


def add_fractions(results: list[dict[str, Any]], peak: dict[str, Any]) -> None:
    """The fraction of the peak that each step of Cortex reaches in float32."""
    from benchmarks.flops import step_flops

    for result in results:
        row = ROWS[result["name"]]
        plain = row.purpose == "train" and row.precision == "float32" and not row.neighbour
        plain = plain and row.device == "cpu"  # where the large product was measured
        if plain and "times" in result:
            work = 1e-6 * step_flops(WORKLOADS[row.workload])
            rates = [work / r["cortex"]["median"] for r in result["rounds"]]
            result["of_peak"] = spread([rate / peak["gflops"] for rate in rates])


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compare", description=__doc__.split("\n")[0])
    add = parser.add_argument
    here = ROOT / ".venv-peers" / "bin" / "python"
    add("--rounds", type=int, default=7, help="how many times each library has its turn (%(default)s)")
    add("--seconds", type=float, default=1.0, help="how long a turn is (%(default)s)")
    add("--threads", type=int, default=os.cpu_count() or 1, help="of every library (%(default)s)")
    add("--device", choices=("cpu", "gpu"), default="cpu", help="where the rows are measured (%(default)s)")
    add("--only", metavar="ROWS", help="names of rows, with commas between")
    add("--backend", help="of Cortex; auto, and on a GPU cupy, where it is not said")
    add("--peers-python", metavar="PATH", default=str(here) if here.exists() else sys.executable)
    add("--json", metavar="FILE", help="everything that was measured; - is standard output")
    add("--list", action="store_true", help="shows the names of the rows, and ends")
    chosen = parser.parse_args()
    rows = [name for name, row in ROWS.items() if row.device == chosen.device]
    chosen.only = [name for name in chosen.only.split(",") if name] if chosen.only else rows
    chosen.backend = chosen.backend or ("cupy" if chosen.device == "gpu" else "auto")
    unknown = sorted(set(chosen.only) - set(ROWS))
    if unknown:
        parser.error(f"unknown row {unknown[0]!r}; known are {', '.join(ROWS)}")
    if not shutil.which(chosen.peers_python):
        parser.error(f"--peers-python: there is no program {chosen.peers_python}")
    return chosen


def main() -> None:
    """Prints each row as soon as it is measured."""
    chosen = options()
    if chosen.list:
        print("\n".join(f"{row.name:17} {row.title}" for row in ROWS.values()))
        return
    settings = Settings(chosen.rounds, chosen.seconds, chosen.threads, chosen.backend, chosen.peers_python)
    try:
        facts = machine.facts(settings.backend, settings.peers_python)
    except BackendError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
    out = sys.stderr if chosen.json == "-" else sys.stdout
    print(machine.line(facts, settings.threads), end="\n\n", file=out, flush=True)
    results = []
    run = {**facts, "threads": settings.threads, "rounds": settings.rounds, "seconds": settings.seconds}
    for name in chosen.only:
        results.append(measure(ROWS[name], settings))
        print(text(results[-1]), end="\n\n", file=out, flush=True)
        save(chosen.json, run, results)
    peak = peak_of(results)
    if peak:
        add_fractions(results, peak)
        print(peak_text(peak, results), file=out)
    if chosen.json == "-":
        print(content(run, results))


def save(file: str | None, run: dict[str, Any], results: list[dict[str, Any]]) -> None:
    """Writes what there is after each row, so that a run that is cut short has not been for nothing."""
    if file not in (None, "-"):
        Path(file).write_text(content(run, results) + "\n", encoding="utf-8")


def content(run: dict[str, Any], results: list[dict[str, Any]]) -> str:
    """Everything that was measured, as JSON."""
    peak = peak_of(results)
    if peak:
        add_fractions(results, peak)
    return json.dumps({**run, "load_after": os.getloadavg(), "peak": peak, "rows": results}, indent=1)


if __name__ == "__main__":
    main()
