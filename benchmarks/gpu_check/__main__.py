"""python -m benchmarks.gpu_check conformance|gradients|mnist|speed|compiled [--out DIR]

Exit code: 0 where all of the part was run and holds, 1 where not, 2 where there is no GPU.
"""

from __future__ import annotations

import argparse
import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks.gpu_check import children
from benchmarks.gpu_check.report import Report
from benchmarks.gpu_check.speed import measure
from benchmarks.rows import COMPILED, SPEED
from benchmarks.turns import ROOT
from benchmarks.workloads import WORKLOADS

MINUTES = 7.5
GRACE = 15.0  # seconds after the end in which a part tidies up; then it is ended
PROCESSES = max(1, min(8, (os.cpu_count() or 1) // 2))  # that share a suite, most of which is compilation
POLICIES = ("auto", "never", "always")  # of cuDNN
NETWORKS: dict[str, tuple[Any, int]] = {
    "lenet": (str(ROOT / "examples" / "lenet.yaml"), 64),
    "lstm": (WORKLOADS["lstm"].description, 64),
    "char_gpt": (WORKLOADS["char_gpt"].description, 64),
    "resnet20": (str(ROOT / "examples" / "networks" / "resnet20.yaml"), 128),
}
Part = Callable[[Report, Sequence[str]], None]


def conformance(report: Report, child: Sequence[str]) -> None:
    """The checks of whole steps, then the kit with each policy for cuDNN."""
    children.run(child, {"suite": "steps", "networks": NETWORKS}, report, "steps", silence=120)
    for policy in POLICIES:
        shared(report, child, {"suite": "conformance", "cudnn": policy}, policy)
        ways = report.taken.get(policy, {})
        if ways:
            by_cudnn = sum(n for name, n in ways.items() if name.endswith(" cudnn"))
            report.add({"name": f"{policy}: kernels of cuDNN", "value": by_cudnn,
                        "passed": (by_cudnn > 0) == (policy != "never")})  # fmt: skip


def gradients(report: Report, child: Sequence[str]) -> None:
    shared(report, child, {"suite": "gradients"}, "gradients")


def mnist(report: Report, child: Sequence[str]) -> None:
    children.run(child, {"suite": "mnist"}, report, "mnist", silence=240)


def shared(report: Report, child: Sequence[str], task: children.Task, label: str) -> None:
    """A suite in several processes, each with a part of its jobs."""
    parts = [{**task, "shard": (i, PROCESSES)} for i in range(PROCESSES)]
    with ThreadPoolExecutor(PROCESSES) as pool:
        list(pool.map(lambda part: children.run(child, part, report, label, silence=90), parts))


def speed(report: Report, child: Sequence[str]) -> None:
    measure(report, SPEED)


def compiled(report: Report, child: Sequence[str]) -> None:
    measure(report, COMPILED)


PARTS: dict[str, Part] = {f.__name__: f for f in (conformance, gradients, mnist, speed, compiled)}


def check(part: str, out: Path, minutes: float = MINUTES, child: Sequence[str] = children.CHILD) -> int:
    """Runs a part; the exit code."""
    until = time.monotonic() + 60 * minutes
    facts, why = children.facts(child)
    if facts is None:
        print(f"no GPU can be had: {why}", file=sys.stderr)
        return 2
    report = Report(out, part, facts, until)
    watchdog = threading.Timer(max(0.0, report.left()) + GRACE, stop, [report])
    watchdog.daemon = True
    watchdog.start()
    try:
        PARTS[part](report, child)
    finally:
        watchdog.cancel()
    return report.end()


def stop(report: Report) -> None:
    """Ends a part that did not end in time."""
    report.leave_out("what was under way at the end")
    report.end()
    os._exit(1)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu_check", description="Checks a GPU.")
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results", metavar="DIR")
    parser.add_argument("--minutes", type=float, default=MINUTES, help="the part ends then (%(default)s)")
    given = parser.parse_args()
    return check(given.part, given.out, given.minutes)


if __name__ == "__main__":
    raise SystemExit(main())
