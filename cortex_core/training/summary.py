"""What a finished run says of itself: summary.json."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cortex_compute.threads import threads
from cortex_core.check import training_memory

if TYPE_CHECKING:
    from cortex_core.training.run import Run
    from cortex_core.training.trainer import Trainer


def summary(trainer: Trainer, run: Run, best: Mapping[str, Any]) -> dict[str, Any]:
    """All of it as plain data."""
    network = trainer.network
    return {
        "name": network.name,
        "hash": network.description.hash,
        "parameters": sum(slot.type.size for slot in network.slots.values()),
        "backend": trainer.compiled.backend.name,
        "epochs": trainer.epoch,
        "steps": trainer.step,
        "seconds": round(trainer.seconds, 3),
        "stopped": trainer.stopping or None,
        "best": {**best, "value": run.history.rows[best["epoch"] - 1][best["monitor"]]},
        "metrics": run.metrics,
        "data": {"examples": trainer.data.counts, "notes": trainer.data.notes},
        "confusion": None if run.confusion is None else run.confusion.tolist(),
        "classes": list(run.classes),
        "memory": memory(trainer),
        "environment": environment(trainer),
        "command": trainer.command.line,
        **({} if trainer.command.line else {"command_why": trainer.command.why}),
    }


def memory(trainer: Trainer) -> dict[str, int | None]:
    """Bytes of the largest program of the training, as `cortex check` counts them, and ``process``: the most
    that the whole process has had, None where the system does not say."""
    largest: dict[str, int] = {"total": -1}
    for entry in trainer.entries.values():
        assert entry.step is not None
        parts = training_memory(trainer.network, entry.step, entry.program.plan)
        largest = parts if parts["total"] > largest["total"] else largest
    return {**largest, "process": _most_of_the_process()}


def _most_of_the_process() -> int | None:
    try:
        import resource
    except ImportError:  # Windows
        return None
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else 1024 * most


def environment(trainer: Trainer) -> dict[str, Any]:
    """Where a training ran: versions, machine, and what computed."""
    backend = trainer.compiled.backend
    facts = {
        name: fact for name, fact in backend.describe().items() if name != "library"
    }  # a path of the user's
    return {
        "cortex": metadata.version("cortex-nn"),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "platform": platform.platform(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": threads(),
        "backend": {"name": backend.name, **facts},
        "precision": trainer.options.precision,
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
