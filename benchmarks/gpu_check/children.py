"""Runs the jobs of a suite in a process that may fail: another one goes on behind the job that ended it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from typing import Any

from benchmarks.gpu_check.report import Report
from benchmarks.turns import ROOT, environment

CHILD = (sys.executable, "-m", "benchmarks.gpu_check.child")
THREADS = 2  # of NumPy, in each of several processes
START = 120.0  # seconds in which a process must have told its first thing
Task = dict[str, Any]
Message = dict[str, Any]


class Child:
    """A process over the jobs of a task; what it says are lines of JSON."""

    def __init__(self, command: Sequence[str], task: Task) -> None:
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 (lives as long as the process)
        self._process = subprocess.Popen(
            [*command, json.dumps(task)],
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            cwd=ROOT,
            env=environment(THREADS),
        )
        self._silent = False

    def message(self, seconds: float) -> Message | None:
        """The next thing that it says; None where it has ended, or is ended after so many silent seconds."""
        assert self._process.stdout is not None
        timer = threading.Timer(max(0.1, seconds), self._end)
        timer.start()
        line = self._process.stdout.readline()
        timer.cancel()
        return json.loads(line) if line else None

    def _end(self) -> None:
        self._silent = True
        self._process.kill()

    def close(self) -> str:
        """Why it ended: its last line of errors, a signal, or silence."""
        assert self._process.stdout is not None
        code = self._process.wait()
        self._process.stdout.close()
        self._errors.seek(0)
        said = self._errors.read().strip().splitlines()
        self._errors.close()
        if self._silent:
            return "it said nothing for too long, and was ended"
        if code < 0:
            return f"the process ended by {signal.Signals(-code).name}"
        return said[-1] if said else f"the process ended with {code}"


def facts(command: Sequence[str]) -> tuple[dict[str, Any] | None, str]:
    """What a figure belongs to; or None, and why there is no GPU."""
    child, found = Child(command, {"suite": "facts", "skip": 0}), None
    while (message := child.message(START)) is not None:
        found = message.get("entry", {}).get("facts", found)
    return found, child.close()


def run(command: Sequence[str], task: Task, report: Report, label: str, silence: float) -> None:
    """All jobs of a task; their entries go into the report, whatever becomes of the processes.

    ``silence``: the most seconds that a job may take.
    """
    done, total = 0, None
    while report.left() > 0:
        child, begun, before = Child(command, {**task, "skip": done}), "", done
        while (message := child.message(min(max(silence, START * (not begun)), report.left()))) is not None:
            total = message.get("total", total)
            begun = message.get("begin", begun)
            if "entry" in message:
                done, begun = done + 1, ""
                report.add(message["entry"])
            report.count(label, message.get("taken", {}))
        why = child.close()
        if done == total:
            return
        if report.left() <= 0:
            break
        if begun:
            done += 1
            report.add({"name": begun, "passed": False, "detail": why})
            if done == total:
                return
        elif done == before:
            report.add({"name": label, "passed": False, "detail": why})
            return
    report.leave_out(f"{label}: {done} of {total or 'all'} were reached")
