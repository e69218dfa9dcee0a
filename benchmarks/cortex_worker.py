"""Cortex's side: the step of a compiled program.  Started by `benchmarks.turns`."""

from __future__ import annotations

from collections.abc import Callable
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.serve import Queued, Step, Task, serve
from benchmarks.workloads import BATCHES, batch_of, named, rows_of


def make(task: Task) -> Step | Queued:
    """A step that reads its batch from an array; ``task["file"]`` gets the parameters it starts from."""
    import cortex
    from cortex_compute.choices import choose
    from cortex_compute.threads import set_threads

    set_threads(task["threads"])
    choose(tf32=task.get("tf32", False))
    description = task["description"]
    if task["precision"] != "float32":
        description["train"]["precision"] = task["precision"]
    network = cortex.network(description)
    network.initialize(0)
    if task["file"] and not Path(task["file"]).exists():
        np.savez(task["file"], **network.parameters)
    purpose, size = task["purpose"], task["batch"]
    if task.get("device") == "gpu":
        return queued(cortex.compile(network, backend=task["backend"]), task)
    compiled = cortex.compile(network, backend=task["backend"], batch_size=size, purpose=purpose)
    x, y = batch_of(description, size)
    if purpose == "predict":
        return lambda: np.asarray(compiled.run({"image": x})["digit"])
    batch = named(description, x, y)
    return lambda: float(compiled.run(batch)["loss"])


def queued(compiled: Any, task: Task) -> Queued:
    """A training step as the trainer makes it: it hands a batch, or its rows of the data, to the device."""
    arrays = kept(compiled, task) if task["data"] == "device" else brought(task)
    entry = compiled.entry(compiled.types(task["batch"]))
    compiled.reset(entry)

    def step() -> None:
        compiled.set_scalars(entry)
        compiled.launch(entry, arrays(), results=False)
        if compiled.due:
            compiled.look()

    def wait() -> float:
        """The mean loss since it was last asked for."""
        loss = float(compiled.totals(entry)["loss"])
        compiled.reset(entry)
        return loss

    return Queued(step, wait)


def brought(task: Task) -> Callable[[], dict[str, np.ndarray]]:
    """A batch on the host."""
    batch = named(task["description"], *batch_of(task["description"], task["batch"]))
    return lambda: batch


def kept(compiled: Any, task: Task) -> Callable[[], dict[str, np.ndarray]]:
    """Brings data to the device; which rows of them are a batch."""
    from cortex_compute.types import TensorType, dtype
    from cortex_core.step import ROWS

    data = named(task["description"], *batch_of(task["description"], BATCHES * task["batch"]))
    compiled.keep({name: TensorType(a.shape, dtype(a.dtype)) for name, a in data.items()}, [data])
    rows = cycle(rows_of(task["batch"]))
    return lambda: {ROWS: next(rows)}


if __name__ == "__main__":
    serve(make)
