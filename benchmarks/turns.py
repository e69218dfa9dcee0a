"""Measured processes, which take turns: each has a library of its own, and waits while another works."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from benchmarks.serve import MISSING, Task

ROOT = Path(__file__).parents[1]
PAUSE = 0.05  # seconds after a turn, in which the threads of its library fall asleep


class Absent(Exception):
    """A contestant that cannot take part: its library is not installed."""


class Failed(Exception):
    """A contestant that should have taken part ended: the row has no result."""


class Worker:
    """A process that serves a task; see `benchmarks.serve`.  ``values``: what its first steps gave.

    It is ended if it is not ready to take turns at the time ``until``, by time.monotonic().
    """

    def __init__(self, python: str, module: str, task: Task, until: float = math.inf) -> None:
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 (lives as long as the process)
        self._process = subprocess.Popen(
            [python, "-m", f"benchmarks.{module}", json.dumps(task)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            cwd=ROOT,
            env=environment(task["threads"]),
        )
        self.values: list[list[float]] = self._answer() if until == math.inf else self._ready(until)

    def turn(self, seconds: float) -> dict[str, float]:
        """Works for so many seconds; the milliseconds of a step."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{seconds}\n")
        self._process.stdin.flush()
        answer: dict[str, float] = self._answer()
        time.sleep(PAUSE)
        return answer

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()
        self._errors.close()

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if line:
            return json.loads(line)
        self._process.wait()
        self._errors.seek(0)
        said = self._errors.read().strip().splitlines() or [f"exit status {self._process.returncode}"]
        self.close()
        raise (Absent if self._process.returncode == MISSING else Failed)(said[-1])

    def _ready(self, until: float) -> Any:
        end = threading.Timer(max(0.0, until - time.monotonic()), self._process.kill)
        end.start()
        try:
            return self._answer()
        except Failed as failed:
            raise (failed if time.monotonic() < until else Failed("it was not ready in time")) from None
        finally:
            end.cancel()


class Neighbour:
    """A process that keeps one core busy as long as the context lasts."""

    def __enter__(self) -> None:
        self._process = subprocess.Popen([sys.executable, "-c", "while True: pass"])

    def __exit__(self, *exception: object) -> None:
        self._process.kill()
        self._process.wait()


def environment(threads: int) -> dict[str, str]:
    """The same number of threads for every library; JAX reads NPROC."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NPROC")
    return {**os.environ, **dict.fromkeys(names, str(threads))}
