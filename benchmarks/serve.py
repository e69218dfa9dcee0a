"""What a measured process does: shows what it computes, then times itself whenever it is its turn.

The task is JSON in the first argument.  The process answers with one line of JSON: the values of its first
steps.  Then, for each line of standard input, a number of seconds, it works for as long and answers with the
milliseconds of a step.  It ends when its input ends.

A step on a CPU is over when it returns.  On a GPU it is `Queued`: many are handed over, one after the other,
and what is timed is a block of them up to the moment when the last loss has come back.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np

CHECKED = 3  # steps whose values are compared before anything is timed
WARM = 0.3  # part of a turn that is not counted
FEWEST = 5  # steps of a turn
MISSING = 3  # exit status of a process whose library is not installed
BLOCK = 0.03  # seconds, at least, that a block of queued steps takes

Task = dict[str, Any]
Step = Callable[[], Any]


class Queued(NamedTuple):
    """A step that returns before its work is done; ``wait`` waits for all of it, and gives the last loss."""

    step: Step
    wait: Callable[[], float]

    def block(self, count: int) -> float:
        """So many steps, and the loss of the last one."""
        for _ in range(count):
            self.step()
        return self.wait()


def serve(make: Callable[[Task], Step | Queued]) -> None:
    """Makes the step of the task, then answers."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what a library prints is no answer
    try:
        made = make(json.loads(sys.argv[1]))
    except ModuleNotFoundError as error:
        print(error, file=sys.stderr)
        sys.exit(MISSING)
    print(json.dumps(first_values(made)), file=answers)
    step, count = blocks(made) if isinstance(made, Queued) else (made, 1)
    for line in sys.stdin:
        print(json.dumps(turn(step, float(line), count)), file=answers)


def first_values(made: Step | Queued) -> list[list[float]]:
    """What the first steps give, each by itself."""
    step = partial(made.block, 1) if isinstance(made, Queued) else made
    return [np.asarray(step(), np.float64).ravel().tolist() for _ in range(CHECKED)]


def blocks(queued: Queued) -> tuple[Step, int]:
    """A block of steps that takes long enough to be timed, and how many they are."""
    count, start = 1, time.perf_counter()
    queued.block(count)
    while time.perf_counter() - start < BLOCK:
        count, start = 2 * count, time.perf_counter()
        queued.block(count)
    return partial(queued.block, count), count


def turn(step: Step, seconds: float, count: int = 1) -> dict[str, float]:
    """Milliseconds of a step: the median and the tails of as many as fit in ``seconds``.

    Where a call makes ``count`` steps, each of them counts as their mean.
    """
    repeat(step, WARM * seconds)
    times = 1e3 * np.array(repeat(step, seconds)) / count
    low, middle, p90, p99 = np.percentile(times, [0, 50, 90, 99]).tolist()
    return {"median": middle, "fastest": low, "p90": p90, "p99": p99, "steps": count * len(times)}


def repeat(step: Step, seconds: float) -> list[float]:
    """The seconds of each step."""
    times: list[float] = []
    clock = time.perf_counter
    now = clock()
    end = now + seconds
    while now < end or len(times) < FEWEST:
        step()
        before, now = now, clock()
        times.append(now - before)
    return times
