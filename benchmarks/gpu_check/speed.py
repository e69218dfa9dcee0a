"""The rows of `benchmarks.compare` for a GPU, as entries of a report."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable
from typing import Any

from benchmarks import compare
from benchmarks.gpu_check.report import Entry, Report
from benchmarks.report import text
from benchmarks.rows import Row

ROUNDS, SECONDS = 5, 0.5
READY = 150.0  # seconds in which a contestant must be ready
SHORTEST = 30.0  # seconds without which no row is begun


def measure(report: Report, rows: Iterable[Row]) -> None:
    """Each row as long as there is time."""
    for row in rows:
        if report.left() < SHORTEST:
            report.leave_out(row.name)
            continue
        until = time.monotonic() + min(READY, report.left() - 2 * ROUNDS * SECONDS)
        settings = compare.Settings(ROUNDS, SECONDS, os.cpu_count() or 1, "cupy", sys.executable, until)
        result = compare.measure(row, settings)
        print(text(result), flush=True)
        if "failed" not in result and row.bar is not None and "ratio" not in result:
            report.leave_out(f"{row.name}: nobody to compare with: {result['left_out']}")
        report.add(entry(row, result))


def entry(row: Row, result: dict[str, Any]) -> Entry:
    """What was measured beside the bar, which is what the ratio is asked to be at least."""
    made = {"title": row.title, "passed": None, **result}
    if "failed" in result:
        return {**made, "passed": False, "detail": result["failed"]}
    if row.bar is not None and "ratio" in result:
        value = result["ratio"]["median"]
        made |= {"metric": "peer's seconds over Cortex's", "value": value, "threshold": row.bar}
        made["passed"] = value >= row.bar
    return made
