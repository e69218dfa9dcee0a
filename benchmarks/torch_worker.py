"""PyTorch's side: the same networks as its users write them.  Started by `benchmarks.turns`."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from itertools import cycle, pairwise

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.serve import Queued, Step, Task, serve
from benchmarks.workloads import (
    BATCHES,
    BLOCKS,
    HEADS,
    RESNET20_FILTERS,
    RESNET50_STAGES,
    batch_of,
    rows_of,
)


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

    def joined(self, name: str, parts: Sequence[str]) -> nn.Linear:
        """Several dense layers over one input as one."""
        kernels, biases = (
            [self.arrays[f"{name}/{part}_{kind}"] for part in parts] for kind in ("kernel", "bias")
        )
        made = nn.Linear(len(kernels[0]), sum(map(len, biases)))
        made.weight.data = torch.tensor(np.concatenate(kernels, axis=1).T.copy())
        made.bias.data = torch.tensor(np.concatenate(biases))
        return made

    def lstm(self, name: str) -> nn.LSTM:
        """PyTorch has the bias of a gate twice, and would train both."""
        kernel, recurrent, bias = (
            torch.tensor(self.arrays[f"{name}/{kind}"]) for kind in ("kernel", "recurrent_kernel", "bias")
        )
        made = nn.LSTM(len(kernel), len(recurrent), batch_first=True)
        made.weight_ih_l0.data, made.weight_hh_l0.data = kernel.T.contiguous(), recurrent.T.contiguous()
        made.bias_ih_l0.data, made.bias_hh_l0.data = bias, torch.zeros_like(bias)
        made.bias_hh_l0.requires_grad_(False)
        return made

    def table(self, name: str) -> nn.Embedding:
        return nn.Embedding.from_pretrained(torch.tensor(self.arrays[f"{name}/table"]), freeze=False)

    def layer_norm(self, name: str) -> nn.LayerNorm:
        scale = torch.tensor(self.arrays[f"{name}/scale"])
        made = nn.LayerNorm(len(scale))
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


class Bottleneck(nn.Module):
    """Three convolutions, the middle one inside a bottleneck, beside a shortcut."""

    def __init__(self, p: Parameters, name: str, stride: int, projected: bool) -> None:
        super().__init__()
        self.conv0, self.norm0 = p.conv(f"{name}/conv0"), p.norm(f"{name}/norm0")
        self.conv1, self.norm1 = p.conv(f"{name}/conv1", stride, padding=1), p.norm(f"{name}/norm1")
        self.conv2, self.norm2 = p.conv(f"{name}/conv2"), p.norm(f"{name}/norm2")
        self.short: nn.Module = nn.Identity()
        if projected:
            self.short = nn.Sequential(p.conv(f"{name}/short", stride), p.norm(f"{name}/short_norm"))
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu(self.norm0(self.conv0(x)))
        y = self.relu(self.norm1(self.conv1(y)))
        return self.relu(self.norm2(self.conv2(y)) + self.short(x))


class Lstm(nn.Module):
    """The state after the last row, and a dense layer."""

    def __init__(self, p: Parameters) -> None:
        super().__init__()
        self.lstm, self.digit = p.lstm("lstm"), p.dense("digit")

    def forward(self, x: Tensor) -> Tensor:
        _, (h, _) = self.lstm(x)
        return self.digit(h[0])


class Block(nn.Module):
    """Attention and two dense layers, each after a norm and beside a shortcut."""

    def __init__(self, p: Parameters, name: str) -> None:
        super().__init__()
        self.norm, self.norm2 = p.layer_norm(f"{name}/layer_norm"), p.layer_norm(f"{name}/layer_norm_2")
        self.qkv = p.joined(f"{name}/attention", ("query", "key", "value"))
        self.found = p.joined(f"{name}/attention", ("output",))
        self.hidden, self.output = p.dense(f"{name}/hidden"), p.dense(f"{name}/output")

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (a.unflatten(-1, (HEADS, -1)).transpose(1, 2) for a in self.qkv(self.norm(x)).chunk(3, -1))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.found(y.transpose(1, 2).flatten(2))
        return x + self.output(F.gelu(self.hidden(self.norm2(x))))


class Gpt(nn.Module):
    """Scores of the next character at each place, one line for each."""

    def __init__(self, p: Parameters) -> None:
        super().__init__()
        self.characters, self.positions = p.table("characters"), p.table("positions")
        self.blocks = nn.Sequential(*(Block(p, f"block.{i}") for i in range(BLOCKS)))
        self.norm = p.layer_norm("norm")

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.blocks(self.characters(x) + self.positions.weight))
        return F.linear(y, self.characters.weight).flatten(0, 1)


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
    filters = (RESNET20_FILTERS[0], *RESNET20_FILTERS)
    units = [Unit(p, f"unit{i}", b > a) for i, (a, b) in enumerate(pairwise(filters))]
    start = (p.conv("conv", padding=1), p.norm("norm"), nn.ReLU(inplace=True))
    return nn.Sequential(*start, *units, nn.AdaptiveAvgPool2d(1), nn.Flatten(), p.dense("digit"))


def resnet50(p: Parameters) -> nn.Module:
    units: list[nn.Module] = []
    for i, (_, count) in enumerate(RESNET50_STAGES):
        units.append(Bottleneck(p, f"first{i}", stride=2 if i else 1, projected=True))
        units += [Bottleneck(p, f"rest{i}.{k}", stride=1, projected=False) for k in range(count - 1)]
    start = p.conv("conv", stride=2, padding=3), p.norm("norm"), nn.ReLU(inplace=True)
    pool = nn.MaxPool2d(3, stride=2, padding=1)
    return nn.Sequential(*start, pool, *units, nn.AdaptiveAvgPool2d(1), nn.Flatten(), p.dense("digit"))


NETWORKS: dict[str, Callable[[Parameters], nn.Module]] = {
    "mlp": mlp,
    "cnn": lambda p: convolutions(p, padding=1, after=(7, 7, 64)),
    "lenet": lambda p: convolutions(p, padding=0, after=(4, 4, 50)),
    "resnet20": resnet20,
    "resnet50": resnet50,
    "lstm": Lstm,
    "char_gpt": Gpt,
}


def make(task: Task) -> Step | Queued:
    """A training step, or a prediction.

    ``task["way"]``: "channels_last", and "compile" with its mode behind a colon, with spaces between.
    """
    torch.set_num_threads(task["threads"])
    if task["device"] == "gpu":
        if not torch.cuda.is_available():
            raise ModuleNotFoundError(f"PyTorch {torch.__version__} finds no CUDA device")
        return queued(task, "cuda")
    image, label = batch_of(task["description"], task["batch"])
    model, layout = model_of(task)
    x, y = images(torch.tensor(image), layout), torch.tensor(label)
    if task["purpose"] == "predict":
        return predict(model, x, precision_of(task, "cpu"), task["way"])
    step = training(model, task, "cpu")
    return lambda: step(x, y).item()


def model_of(task: Task) -> tuple[nn.Module, torch.memory_format]:
    """The network with Cortex's parameters, and how its images lie."""
    layout = torch.channels_last if "channels_last" in task["way"] else torch.contiguous_format
    model = NETWORKS[task["workload"]](Parameters(task["file"]))
    return model.to(memory_format=layout), layout


def images(x: Tensor, layout: torch.memory_format) -> Tensor:
    """A batch as PyTorch has it: the channels before height and width, in this layout."""
    return x.permute(0, 3, 1, 2).contiguous(memory_format=layout) if x.ndim == 4 else x


def precision_of(task: Task, device: str) -> Callable[[], AbstractContextManager[object]]:
    """Automatic mixed precision where bfloat16 is asked for."""
    half = task["precision"] == "bfloat16"
    return lambda: torch.autocast(device, torch.bfloat16, enabled=half)


def compiled(forward: Callable[..., Tensor], way: str) -> Callable[..., Tensor]:
    """By torch.compile, which writes C++ for a CPU and Triton for a GPU."""
    mode = next((part.partition(":")[2] for part in way.split() if part.startswith("compile")), "")
    if not mode and shutil.which(os.environ.get("CXX", "g++")) is None:
        raise ModuleNotFoundError("torch.compile needs a C++ compiler")
    return torch.compile(forward, mode=mode or None)


def optimizer_of(model: nn.Module, description: Task) -> torch.optim.Optimizer:
    """As the description says.  Of PyTorch's three ways, the fused one is the fastest."""
    ((name, options),) = description["train"]["optimizer"].items()
    if name == "adam":
        return torch.optim.Adam(model.parameters(), options["learning_rate"], fused=True)
    return torch.optim.SGD(model.parameters(), options["learning_rate"], options["momentum"], fused=True)


def training(model: nn.Module, task: Task, device: str) -> Callable[[Tensor, Tensor], Tensor]:
    """The step over a batch; it gives the loss."""
    optimizer = optimizer_of(model, task["description"])
    criterion, precision = nn.CrossEntropyLoss(), precision_of(task, device)

    def forward(x: Tensor, y: Tensor) -> Tensor:
        return criterion(model(x), y.flatten())

    if "compile" in task["way"]:
        forward = compiled(forward, task["way"])

    def step(x: Tensor, y: Tensor) -> Tensor:
        optimizer.zero_grad(set_to_none=True)
        with precision():
            loss = forward(x, y)
        loss.backward()
        optimizer.step()
        return loss

    return step


def queued(task: Task, device: str) -> Queued:
    """A training step that is only launched.  ``device`` is "cuda"; the tests have none, and say "cpu"."""
    torch.set_float32_matmul_precision("high" if task["tf32"] else "highest")
    torch.backends.cudnn.allow_tf32 = task["tf32"]
    torch.backends.cudnn.benchmark = True
    model, layout = model_of(task)
    step = training(model.to(device), task, device)
    batches = kept(task, layout, device) if task["data"] == "device" else brought(task, layout, device)
    last = torch.zeros(())

    def one() -> None:
        nonlocal last
        last = step(*batches())

    return Queued(one, lambda: last.item())


def brought(task: Task, layout: torch.memory_format, device: str) -> Callable[[], tuple[Tensor, Tensor]]:
    """A batch that lies in pinned memory of the host, and is copied while the host goes on."""
    image, label = batch_of(task["description"], task["batch"])
    x, y = images(torch.tensor(image), layout), torch.tensor(label)
    if device == "cuda":
        x, y = x.pin_memory(), y.pin_memory()
    return lambda: (x.to(device, non_blocking=True), y.to(device, non_blocking=True))


def kept(task: Task, layout: torch.memory_format, device: str) -> Callable[[], tuple[Tensor, Tensor]]:
    """Data on the device; a batch is gathered there."""
    image, label = batch_of(task["description"], BATCHES * task["batch"])
    x, y = torch.tensor(image).to(device), torch.tensor(label).to(device)
    rows = cycle([torch.tensor(r).to(device) for r in rows_of(task["batch"])])

    def batch() -> tuple[Tensor, Tensor]:
        chosen = next(rows)
        return images(x.index_select(0, chosen), layout), y.index_select(0, chosen)

    return batch


def predict(
    model: nn.Module, x: Tensor, precision: Callable[[], AbstractContextManager[object]], way: str
) -> Step:
    """Probabilities, as Cortex gives them."""
    model.eval()

    def forward(x: Tensor) -> Tensor:
        return model(x).softmax(-1)

    if "compile" in way:
        forward = compiled(forward, way)

    def step() -> np.ndarray:
        with torch.inference_mode(), precision():
            return forward(x).numpy()

    return step


if __name__ == "__main__":
    serve(make)
