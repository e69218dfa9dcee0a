"""What a measured process does: shows what it computes, then times itself whenever it is its turn.

The task is JSON in the first argument.  The process answers with one line of JSON: the values of its first
steps.  Then, for each line of standard input, a number of seconds, it works for as long and answers with the
milliseconds of a step.  It ends when its input ends.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

CHECKED = 3  # steps whose values are compared before anything is timed
WARM = 0.3  # part of a turn that is not counted
FEWEST = 5  # steps of a turn
MISSING = 3  # exit status of a process whose library is not installed

Task = dict[str, Any]
Step = Callable[[], Any]


def serve(make: Callable[[Task], Step]) -> None:
    """Makes the step of the task, then answers."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what a library prints is no answer
    try:
        step = make(json.loads(sys.argv[1]))
    except ModuleNotFoundError as error:
        print(error, file=sys.stderr)
        sys.exit(MISSING)
    values = [np.asarray(step(), np.float64).ravel().tolist() for _ in range(CHECKED)]
    print(json.dumps(values), file=answers)
    for line in sys.stdin:
        print(json.dumps(turn(step, float(line))), file=answers)


def turn(step: Step, seconds: float) -> dict[str, float]:
    """Milliseconds of a step: the median and the tails of as many as fit in ``seconds``."""
    repeat(step, WARM * seconds)
    times = 1e3 * np.array(repeat(step, seconds))
    low, middle, p90, p99 = np.percentile(times, [0, 50, 90, 99]).tolist()
    return {"median": middle, "fastest": low, "p90": p90, "p99": p99, "steps": len(times)}


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
