"""Runs jobs on the GPU and says each thing at once.  Started by `benchmarks.gpu_check.children`."""

from __future__ import annotations

import json
import os
import sys
from typing import Any


def main() -> None:
    """Runs the jobs of the task in the first argument, from number ``skip`` on."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what a library prints is no answer
    task = json.loads(sys.argv[1])
    from benchmarks.gpu_check.suites import SUITES, chosen, taken

    try:
        jobs = chosen(SUITES[task["suite"]](task), task)
    except Exception as error:
        sys.exit(f"{type(error).__name__}: {error}".replace("\n", " "))
    say(answers, total=len(jobs))
    for name, job in jobs[task["skip"] :]:
        say(answers, begin=name)
        entry = tried(job)
        say(answers, entry={"name": name, **entry})
        if entry["passed"] is False and broken():
            break
    say(answers, taken=taken())
    answers.flush()
    sys.stderr.flush()
    os._exit(0)  # a broken context may not be able to tidy up


def say(answers: Any, **message: Any) -> None:
    print(json.dumps(message), file=answers)


def tried(job: Any) -> dict[str, Any]:
    """What a job finds; an error is a finding."""
    try:
        found: dict[str, Any] = job()
    except Exception as error:
        return {"passed": False, "detail": f"{type(error).__name__}: {error}"}
    return found


def broken() -> bool:
    """Whether the process can use the GPU no more."""
    from cupy.cuda import runtime

    try:
        runtime.deviceSynchronize()
    except runtime.CUDARuntimeError:
        return True
    return False


if __name__ == "__main__":
    main()
