"""One side of the eager benchmarks.  The lines are the same for PyTorch and Cortex.

``task["library"]`` is "torch", "cortex", or "trace_step" (Cortex's eager lines as a program).  Started by
`benchmarks.turns`.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np

from benchmarks.serve import Step, Task, serve
from benchmarks.workloads import WORKLOADS, batch_of

OPS: dict[str, Callable[[Any, Any, Any], Any]] = {
    "add": lambda lib, x, y: x + y,
    "mul": lambda lib, x, y: x * y,
    "exp": lambda lib, x, y: lib.exp(x),
    "sum": lambda lib, x, y: x.sum(),
    "matmul": lambda lib, x, y: x @ y,  # two vectors
    "reshape": lambda lib, x, y: x.reshape(5, 2),
    "getitem": lambda lib, x, y: x[2:7],
    "relu": lambda lib, x, y: lib.relu(x),
}
REPEATED = 200  # calls of an op that make a step
LEARNING_RATE = 0.001


def make(task: Task) -> Step:
    """The step of ``task["row"]``: an op, or one round of a training loop."""
    name = "torch" if task["library"] == "torch" else "cortex"
    lib, nn, optim = (import_module(module) for module in (name, f"{name}.nn", f"{name}.optim"))
    if name == "torch":
        lib.set_num_threads(task["threads"])
    else:
        import_module("cortex_compute.threads").set_threads(task["threads"])
    if task["kind"] == "op":
        return repeated(lib, OPS[task["row"]])
    model = NETWORKS[task["row"]](Builder(lib, nn, task["file"]))
    optimizer = optim.Adam(model.parameters(), LEARNING_RATE)
    return (traced if task["library"] == "trace_step" else loop)(lib, nn, model, optimizer, task)


def repeated(lib: Any, op: Callable[[Any, Any, Any], Any]) -> Step:
    """An op over 10 numbers whose gradient is recorded, many times."""
    numbers = np.random.default_rng(0).random(10, np.float32) + 0.5
    x, y = (lib.tensor(numbers.copy(), requires_grad=True) for _ in range(2))

    def step() -> np.ndarray:
        for _ in range(REPEATED):
            out = op(lib, x, y)
        return out.detach().numpy()

    return step


class Builder:
    """Layers that start from the parameters of a description, by the names that they have there."""

    def __init__(self, lib: Any, nn: Any, file: str) -> None:
        self.lib, self.nn, self.arrays = lib, nn, dict(np.load(file))

    def dense(self, name: str, after: tuple[int, int, int] | None = None) -> Any:
        """``after`` is the (height, width, channels) of what was flattened, where it was an image."""
        kernel = self.arrays[f"{name}/kernel"]
        if after:  # there the channels are flattened last, here first
            kernel = kernel.reshape(*after, -1).transpose(2, 0, 1, 3).reshape(kernel.shape)
        return self._filled(self.nn.Linear(*kernel.shape), kernel.T, name)

    def conv(self, name: str, padding: int) -> Any:
        kernel = self.arrays[f"{name}/kernel"].transpose(3, 2, 0, 1)
        out, inside, *size = kernel.shape
        return self._filled(self.nn.Conv2d(inside, out, tuple(size), padding=padding), kernel, name)

    def _filled(self, layer: Any, kernel: np.ndarray, name: str) -> Any:
        layer.weight.data = self.lib.tensor(np.ascontiguousarray(kernel))
        layer.bias.data = self.lib.tensor(self.arrays[f"{name}/bias"])
        return layer


def mlp(b: Builder) -> Any:
    relu = b.nn.ReLU
    return b.nn.Sequential(b.dense("hidden0"), relu(), b.dense("hidden1"), relu(), b.dense("digit"))


def cnn(b: Builder) -> Any:
    relu, pool = b.nn.ReLU, b.nn.MaxPool2d
    return b.nn.Sequential(
        *(b.conv("conv0", 1), relu(), pool(2), b.conv("conv1", 1), relu(), pool(2), b.nn.Flatten()),
        *(b.dense("hidden", (7, 7, 64)), relu(), b.dense("digit")),
    )


NETWORKS: dict[str, Callable[[Builder], Any]] = {"mlp": mlp, "cnn": cnn}


def data(task: Task) -> tuple[np.ndarray, np.ndarray]:
    """The batch, channels first."""
    workload = WORKLOADS[task["row"]]
    image, label = batch_of(workload.description, task["batch"])
    return np.ascontiguousarray(image.transpose(0, 3, 1, 2)) if image.ndim == 4 else image, label


def loop(lib: Any, nn: Any, model: Any, optimizer: Any, task: Task) -> Step:
    """The training loop as everybody writes it."""
    x, y = map(lib.tensor, data(task))
    criterion = nn.CrossEntropyLoss()

    def step() -> Any:
        optimizer.zero_grad()
        loss = criterion(model(x), y)
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def traced(lib: Any, nn: Any, model: Any, optimizer: Any, task: Task) -> Step:
    """The same loop as a program."""
    x, y = data(task)
    program = lib.trace_step(model, nn.CrossEntropyLoss(), optimizer, x, y, backend=task["backend"])
    return lambda: float(program(x, y))


if __name__ == "__main__":
    serve(make)
