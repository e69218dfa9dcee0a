"""PyTorch's side: the same networks as its users write them.  Started by `benchmarks.turns`."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.serve import Step, Task, serve
from benchmarks.workloads import RESNET_FILTERS, WORKLOADS, batch_of


class Parameters:
    """Modules that start from Cortex's parameters, by the names that they have there."""

    def __init__(self, file: str) -> None:
        self.arrays = dict(np.load(file))

    def dense(self, name: str, after: tuple[int, int, int] | None = None) -> nn.Linear:
        """``after`` is the (height, width, channels) of what was flattened, where it was an image."""
        kernel = torch.tensor(self.arrays[f"{name}/kernel"])
        if after:  # there the channels are flattened last, here first
            kernel = kernel.reshape(*after, -1).permute(2, 0, 1, 3).flatten(0, 2)
        made = nn.Linear(*kernel.shape)
        made.weight.data = kernel.T.contiguous()
        made.bias.data = torch.tensor(self.arrays[f"{name}/bias"])
        return made

    def conv(self, name: str, stride: int = 1, padding: int = 0) -> nn.Conv2d:
        kernel = torch.tensor(self.arrays[f"{name}/kernel"]).permute(3, 2, 0, 1).contiguous()
        bias = self.arrays.get(f"{name}/bias")
        out, inside, *size = kernel.shape
        made = nn.Conv2d(inside, out, tuple(size), stride, padding, bias=bias is not None)
        made.weight.data = kernel
        if bias is not None:
            made.bias.data = torch.tensor(bias)
        return made

    def norm(self, name: str) -> nn.BatchNorm2d:
        """PyTorch's momentum of 0.1, the weight of the new value, is Cortex's 0.9, the weight of the old."""
        scale = torch.tensor(self.arrays[f"{name}/scale"])
        made = nn.BatchNorm2d(len(scale))
        made.weight.data, made.bias.data = scale, torch.tensor(self.arrays[f"{name}/shift"])
        return made


class Unit(nn.Module):
    """Two convolutions beside a shortcut."""

    def __init__(self, p: Parameters, name: str, widens: bool) -> None:
        super().__init__()
        self.conv0 = p.conv(f"{name}/conv0", stride=2 if widens else 1, padding=1)
        self.norm0 = p.norm(f"{name}/norm0")
        self.conv1 = p.conv(f"{name}/conv1", padding=1)
        self.norm1 = p.norm(f"{name}/norm1")
        self.short = p.conv(f"{name}/short", stride=2) if widens else nn.Identity()
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu(self.norm0(self.conv0(x)))
        return self.relu(self.norm1(self.conv1(y)) + self.short(x))


def mlp(p: Parameters) -> nn.Module:
    return nn.Sequential(
        p.dense("hidden0"), nn.ReLU(inplace=True), p.dense("hidden1"), nn.ReLU(inplace=True), p.dense("digit")
    )


def convolutions(p: Parameters, padding: int, after: tuple[int, int, int]) -> nn.Module:
    return nn.Sequential(
        *(p.conv("conv0", padding=padding), nn.ReLU(inplace=True), nn.MaxPool2d(2)),
        *(p.conv("conv1", padding=padding), nn.ReLU(inplace=True), nn.MaxPool2d(2)),
        *(nn.Flatten(), p.dense("hidden", after), nn.ReLU(inplace=True), p.dense("digit")),
    )


def resnet20(p: Parameters) -> nn.Module:
    filters = (RESNET_FILTERS[0], *RESNET_FILTERS)
    units = [Unit(p, f"unit{i}", b > a) for i, (a, b) in enumerate(pairwise(filters))]
    start = (p.conv("conv", padding=1), p.norm("norm"), nn.ReLU(inplace=True))
    return nn.Sequential(*start, *units, nn.AdaptiveAvgPool2d(1), nn.Flatten(), p.dense("digit"))


NETWORKS: dict[str, Callable[[Parameters], nn.Module]] = {
    "mlp": mlp,
    "cnn": lambda p: convolutions(p, padding=1, after=(7, 7, 64)),
    "lenet": lambda p: convolutions(p, padding=0, after=(4, 4, 50)),
    "resnet20": resnet20,
}


def make(task: Task) -> Step:
    """A training step with Adam, or a prediction.  ``task["way"]``: any of "channels_last", "compile"."""
    torch.set_num_threads(task["threads"])
    workload = WORKLOADS[task["workload"]]
    image, label = batch_of(workload.shape, task["batch"])
    model = NETWORKS[workload.name](Parameters(task["file"]))
    x, y = torch.tensor(image), torch.tensor(label)
    if x.ndim == 4:
        layout = torch.channels_last if "channels_last" in task["way"] else torch.contiguous_format
        x = x.permute(0, 3, 1, 2).contiguous(memory_format=layout)
        model = model.to(memory_format=layout)
    half = task["precision"] == "bfloat16"

    def precision() -> AbstractContextManager[object]:
        return torch.autocast("cpu", torch.bfloat16, enabled=half)

    return (predict if task["purpose"] == "predict" else train)(model, x, y, precision, task["way"])


def compiled(forward: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """By torch.compile, which writes C++."""
    if shutil.which(os.environ.get("CXX", "g++")) is None:
        raise ModuleNotFoundError("torch.compile needs a C++ compiler")
    return torch.compile(forward)


def train(
    model: nn.Module, x: Tensor, y: Tensor, precision: Callable[[], AbstractContextManager[object]], way: str
) -> Step:
    optimizer = torch.optim.Adam(model.parameters(), lr=0.001, fused=True)  # the fastest of the three
    criterion = nn.CrossEntropyLoss()

    def forward(x: Tensor, y: Tensor) -> Tensor:
        return criterion(model(x), y)

    if "compile" in way:
        forward = compiled(forward)

    def step() -> float:
        optimizer.zero_grad(set_to_none=True)
        with precision():
            loss = forward(x, y)
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def predict(
    model: nn.Module, x: Tensor, y: Tensor, precision: Callable[[], AbstractContextManager[object]], way: str
) -> Step:
    """Probabilities, as Cortex gives them."""
    model.eval()

    def forward(x: Tensor) -> Tensor:
        return model(x).softmax(-1)

    if "compile" in way:
        forward = compiled(forward)

    def step() -> np.ndarray:
        with torch.inference_mode(), precision():
            return forward(x).numpy()

    return step


if __name__ == "__main__":
    serve(make)
