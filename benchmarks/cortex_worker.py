"""Cortex's side: the step of a compiled program.  Started by `benchmarks.turns`."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.serve import Step, Task, serve
from benchmarks.workloads import batch_of


def make(task: Task) -> Step:
    """A step that reads its batch from an array; ``task["file"]`` gets the parameters it starts from."""
    import cortex
    from cortex_compute.threads import set_threads

    set_threads(task["threads"])
    description = task["description"]
    if task["precision"] != "float32":
        description["train"]["precision"] = task["precision"]
    network = cortex.network(description)
    network.initialize(0)
    if task["file"] and not Path(task["file"]).exists():
        np.savez(task["file"], **network.parameters)
    purpose, size = task["purpose"], task["batch"]
    compiled = cortex.compile(network, backend=task["backend"], batch_size=size, purpose=purpose)
    image, label = batch_of(tuple(description["inputs"]["image"]), size)
    if purpose == "predict":
        return lambda: np.asarray(compiled.run({"image": image})["digit"])
    batch = {"image": image, "label": label}
    return lambda: float(compiled.run(batch)["loss"])


if __name__ == "__main__":
    serve(make)
