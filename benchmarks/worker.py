"""Times one workload on one library, in a process of its own; prints JSON.

    python -m benchmarks.worker LIBRARY WORKLOAD FILE.npz THREADS

The first library (cortex) writes the initial parameters and the batch to FILE; the others start from them, so
that equal losses show that the same work is done.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.workloads import WORKLOADS, Workload

CHECKED = 3  # losses of the first steps that are compared


def batch_of(workload: Workload) -> tuple[np.ndarray, np.ndarray]:
    """A batch with the statistics of normalised images."""
    generator = np.random.default_rng(0)
    shape = (workload.batch, *workload.description["inputs"]["image"])
    return generator.random(shape, np.float32), generator.integers(0, 10, workload.batch)


def cortex_step(workload: Workload, path: Path, threads: int) -> Callable[[], float]:
    """A step of the compiled program, which reads its batch from an array as the others do."""
    from cortex_compute.threads import set_threads
    from cortex_core.compiled import compile

    set_threads(threads)
    image, label = batch_of(workload)
    compiled = compile(workload.description, backend="numpy", batch_size=workload.batch, seed=0)
    if not path.exists():
        np.savez(path, **{k.replace("/", "|"): v for k, v in compiled.network.parameters.items()})
    batch = {"image": image, "label": label}
    return lambda: float(compiled.run(batch)["loss"])


def torch_step(workload: Workload, path: Path, threads: int, channels_last: bool) -> Callable[[], float]:
    """The same network in PyTorch eager, from the parameters that cortex drew."""
    import torch
    from torch import nn

    torch.set_num_threads(threads)
    image, label = batch_of(workload)
    weights = {k.replace("|", "/"): v for k, v in np.load(path).items()}
    layers: list[nn.Module] = []
    shape = list(image.shape[1:])
    names = iter(k.removesuffix("/kernel") for k in weights if k.endswith("/kernel"))
    ordered = sorted(names, key=lambda n: list(workload_ids(workload)).index(n))
    rest = iter(ordered)
    for item in workload.description["layers"]:
        kind, fields = next(iter(item.items())) if isinstance(item, dict) else (item, {})
        if kind == "relu":
            layers.append(nn.ReLU())
        elif kind == "max_pool2d":
            layers.append(nn.MaxPool2d(fields))
            shape = [shape[0] // 2, shape[1] // 2, shape[2]]
        elif kind == "flatten":
            layers.append(nn.Flatten())
        else:
            name = next(rest)
            kernel, bias = torch.tensor(weights[f"{name}/kernel"]), torch.tensor(weights[f"{name}/bias"])
            if kind == "conv2d":
                made: nn.Module = nn.Conv2d(kernel.shape[2], kernel.shape[3], kernel.shape[0])
                kernel = kernel.permute(3, 2, 0, 1).contiguous()
                shape = [shape[0] - 4, shape[1] - 4, kernel.shape[0]]
            else:
                made = nn.Linear(*kernel.shape)
                if len(shape) == 3:  # flattened channels last there, channels first here
                    h, w, c = shape
                    kernel = kernel.reshape(h, w, c, -1).permute(2, 0, 1, 3).reshape(h * w * c, -1)
                kernel, shape = kernel.T.contiguous(), [kernel.shape[1]]
            made.weight.data, made.bias.data = kernel, bias
            layers.append(made)
            if fields.get("activation") == "relu":
                layers.append(nn.ReLU())
    model = nn.Sequential(*layers)
    x, y = torch.tensor(image), torch.tensor(label)
    if x.ndim == 4:
        x = x.permute(0, 3, 1, 2).contiguous()
        if channels_last:
            x = x.contiguous(memory_format=torch.channels_last)
            model = model.to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.001)
    criterion = nn.CrossEntropyLoss()

    def step() -> float:
        optimizer.zero_grad()
        loss = criterion(model(x), y)
        loss.backward()
        optimizer.step()
        return float(loss)

    return step


def workload_ids(workload: Workload) -> list[str]:
    """Ids of the layers in order, as the description resolves them."""
    from cortex_core.spec import read

    return [node.id for node in read(workload.description).layers]


def main(library: str, workload_name: str, file: str, threads: int) -> None:
    """Warms up, times the steps, prints the first losses and the milliseconds of each timed step."""
    workload = WORKLOADS[workload_name]
    if library == "cortex":
        step = cortex_step(workload, Path(file), threads)
    else:
        step = torch_step(workload, Path(file), threads, library.endswith("channels_last"))
    losses = [step() for _ in range(CHECKED)]
    for _ in range(workload.steps // 5):
        step()
    milliseconds = []
    for _ in range(workload.steps):
        start = time.perf_counter()
        step()
        milliseconds.append(1e3 * (time.perf_counter() - start))
    print(json.dumps({"losses": losses, "milliseconds": milliseconds}))


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", sys.argv[4])
    main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]))
