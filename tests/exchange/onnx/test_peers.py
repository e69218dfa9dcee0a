"""Beside ONNX Runtime: graphs made by hand, and what PyTorch exports, at two sizes of a batch."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from cortex_core.exchange.from_onnx.imported import load
from tests.exchange.onnx.handmade import made, node, perceptron, written

pytestmark = pytest.mark.peers
TOLERANCE = 1e-5
Draw = np.random.default_rng


def compare(path: Path, shape: Sequence[int | None], axis: int = 0, tokens: int = 0) -> None:
    """Both must give the same for 2 and for 5 examples, which lie along ``axis``."""
    import onnxruntime

    found = load(path)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    for count in (2, 5):
        draw, sizes = Draw(count), [count if n is None else n for n in shape]
        x = draw.normal(size=sizes).astype(np.float32) if not tokens else draw.integers(0, tokens, sizes)
        wanted = session.run(None, {"x": x})
        have = found.network.predict(np.moveaxis(x, axis, 0))
        have = have if isinstance(have, dict) else {found.network.description.outputs[0]: have}
        for value, array in zip(found.outputs.values(), wanted):
            assert value.batch is not None
            moved = np.moveaxis(have[value.source], 0, value.batch)
            np.testing.assert_allclose(moved, array, atol=TOLERANCE * max(1, np.abs(array).max()))


def numbers(**shapes: Sequence[int]) -> dict[str, np.ndarray]:
    draw = Draw(0)
    return {name: (draw.normal(size=shape) / 2).astype(np.float32) for name, shape in shapes.items()}


def convolutional() -> onnx.ModelProto:
    """Convolutions, norms and pools of all kinds, ending in Reshape and Gemm."""
    held = numbers(w=(6, 3, 3, 3), b=(6,), d=(6, 1, 3, 3), g=(6,), t=(6, 4, 2, 2), m=(4 * 3 * 3, 5), c=(5,))
    held |= {"v": np.abs(held["g"]) + 0.5}
    nodes = [
        node("Conv", ["x", "w", "b"], ["1"], strides=[2, 2], pads=[1, 1, 1, 1]),
        node("BatchNormalization", ["1", "g", "b", "b", "v"], ["2"]),
        node("LeakyRelu", ["2"], ["3"], alpha=0.2),
        node("Conv", ["3", "d"], ["4"], group=6, auto_pad="SAME_LOWER", kernel_shape=[3, 3]),
        node("Clip", ["4", "", "six"], ["5"]),
        node("GlobalAveragePool", ["5"], ["6"]),
        node("Sigmoid", ["6"], ["7"]),
        node("Mul", ["5", "7"], ["8"]),
        node("ConvTranspose", ["8", "t"], ["9"], strides=[2, 2]),
        node("AveragePool", ["9"], ["10"], kernel_shape=[3, 3], strides=[3, 3], pads=[1, 1, 1, 1]),
        node("Reshape", ["10", "flat"], ["11"]),
        node("Gemm", ["11", "m", "c"], ["12"], alpha=0.5),
        node("LogSoftmax", ["12"], ["y"], axis=-1),
    ]
    held |= {"six": np.float32(6), "flat": np.array([0, -1])}
    return made(nodes, {"x": ["n", 3, 8, 8]}, ["y"], held)


def residual() -> onnx.ModelProto:
    """Branches that meet, along channels and by a sum; sizes that change."""
    held = numbers(w=(4, 2, 3, 3), s=(2,)) | {"scales": np.array([1, 1, 2, 2], np.float32)}
    held |= {"starts": np.array([0, 1]), "ends": np.array([9999, -1]), "axes": np.array([2, 3])}
    nodes = [
        node("InstanceNormalization", ["x", "s", "s"], ["1"]),
        node("Conv", ["1", "w"], ["2"], pads=[1, 1, 1, 1]),
        node("Split", ["2"], ["3", "4"], axis=1),
        node("Add", ["3", "x"], ["5"]),
        node("Concat", ["5", "4", "x"], ["6"], axis=1),
        node("Resize", ["6", "", "scales"], ["7"], mode="linear"),
        node("Slice", ["7", "starts", "ends", "axes"], ["8"]),
        node("ReduceMax", ["8"], ["9"], axes=[2, 3], keepdims=0),
        node("ReduceL2", ["8"], ["z"], axes=[1]),
        node("Softmax", ["9"], ["y"], axis=1),
    ]
    return made(nodes, {"x": ["n", 2, 6, 5]}, ["y", "z"], held)


def recurrent(kind: str, gates: int, direction: str) -> onnx.ModelProto:
    """A recurrent operator over (steps, examples, features), whose states are outputs too."""
    ways = 2 if direction == "bidirectional" else 1
    held = numbers(w=(ways, gates * 4, 3), r=(ways, gates * 4, 4), b=(ways, gates * 8))
    names = ["y", "last"] + (["cell"] if kind == "LSTM" else [])
    nodes = [node(kind, ["x", "w", "r", "b"], names, hidden_size=4, direction=direction)]
    return made(nodes, {"x": [6, "n", 3]}, names, held)


def test_handmade(tmp_path: Path) -> None:
    compare(written(tmp_path, perceptron()), (None, 3))
    compare(written(tmp_path, convolutional()), (None, 3, 8, 8))
    compare(written(tmp_path, residual()), (None, 2, 6, 5))


@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize(("kind", "gates"), [("RNN", 1), ("GRU", 3), ("LSTM", 4)])
def test_recurrent(tmp_path: Path, kind: str, gates: int, direction: str) -> None:
    compare(written(tmp_path, recurrent(kind, gates, direction)), (6, None, 3), axis=1)


# What PyTorch exports


def exported(folder: Path, module: Any, x: Any, axis: int = 0) -> Path:
    """The file that PyTorch's exporter by tracing makes of a module, with batches of any size."""
    import torch

    path = folder / "model.onnx"
    axes = {"x": {axis: "batch"}, "y": {0: "batch"}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it is older than the one that needs another package
        how: Any = {"input_names": ["x"], "output_names": ["y"], "dynamo": False, "opset_version": 17}
        torch.onnx.export(module.eval(), (x,), str(path), dynamic_axes=axes, **how)
    return path


def perceptrons() -> tuple[Any, tuple[int | None, ...]]:
    from torch import nn

    layers = [nn.Linear(6, 8), nn.GELU(), nn.LayerNorm(8), nn.Dropout(0.3), nn.Linear(8, 3), nn.Softmax(-1)]
    return nn.Sequential(*layers), (None, 6)


def excited() -> tuple[Any, tuple[int | None, ...]]:
    """Squeeze and excitation over a depthwise convolution."""
    from torch import nn
    from torch.nn import functional

    class Excited(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.norm = nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8)
            self.each, self.gate = nn.Conv2d(8, 8, 3, 1, 1, groups=8), nn.Linear(8, 8)
            self.slopes, self.head = nn.PReLU(8), nn.Linear(8 * 4 * 4, 5)

        def forward(self, x: Any) -> Any:
            x = functional.hardswish(self.norm(self.first(x)))
            x = x * self.gate(x.mean((2, 3))).sigmoid()[:, :, None, None]
            x = functional.pad(self.slopes(self.each(x)), (1, 1, 1, 1), mode="reflect")
            x = functional.avg_pool2d(functional.adaptive_avg_pool2d(x, 1) * x, 3, 2, 1)
            return self.head(x[:, :, :4, :4].reshape(x.shape[0], -1))

    return Excited(), (None, 3, 16, 16)


def halves() -> tuple[Any, tuple[int | None, ...]]:
    """Down, and up again."""
    import torch
    from torch import nn
    from torch.nn import functional

    class Halves(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.down, self.inner = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 8, 3, padding=1)
            self.up, self.out = nn.ConvTranspose2d(8, 4, 2, 2), nn.Conv2d(8, 1, 1)

        def forward(self, x: Any) -> Any:
            a = self.down(x).relu()
            b = self.inner(functional.max_pool2d(a, 2)).relu()
            wide = functional.interpolate(b, scale_factor=2, mode="bilinear", align_corners=False)[:, :4]
            return self.out(torch.cat([a, self.up(b) + wide], 1)).sigmoid()

    return Halves(), (None, 1, 8, 8)


def attentive() -> tuple[Any, tuple[int | None, ...]]:
    """Causal attention of four heads, as GPT-2 writes it."""
    import torch
    from torch import nn

    class Attentive(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm, self.all, self.out = nn.LayerNorm(16), nn.Linear(16, 48), nn.Linear(16, 16)

        def forward(self, x: Any) -> Any:
            batch, steps, channels = x.shape
            parts = self.all(self.norm(x)).split(channels, 2)
            q, k, v = (part.view(batch, steps, 4, 4).transpose(1, 2) for part in parts)
            unseen = torch.tril(torch.ones(steps, steps)) == 0
            p = (q @ k.transpose(-2, -1) / 2).masked_fill(unseen, float("-inf")).softmax(-1)
            return x + self.out((p @ v).transpose(1, 2).reshape(batch, steps, channels))

    return Attentive(), (None, 6, 16)


def transformer() -> tuple[Any, tuple[int | None, ...]]:
    """A vision transformer of PyTorch's own layers, which lay the heads of all examples side by side."""
    import torch
    from torch import nn

    class Transformer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.patches, self.token = nn.Conv2d(3, 16, 4, 4), nn.Parameter(torch.randn(1, 1, 16))
            self.places, self.head = nn.Parameter(torch.randn(1, 17, 16)), nn.Linear(16, 10)
            layer = nn.TransformerEncoderLayer(16, 4, 32, batch_first=True, activation="gelu")
            self.layers = nn.TransformerEncoder(layer, 2)

        def forward(self, x: Any) -> Any:
            x = self.patches(x).flatten(2).transpose(1, 2)
            x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], 1) + self.places
            return self.head(self.layers(x)[:, 0])

    return Transformer(), (None, 3, 16, 16)


MODULES: list[Callable[[], tuple[Any, tuple[int | None, ...]]]] = [
    perceptrons,
    excited,
    halves,
    attentive,
    transformer,
]


@pytest.mark.parametrize("make", MODULES)
def test_exported_by_pytorch(tmp_path: Path, make: Callable[[], tuple[Any, tuple[int | None, ...]]]) -> None:
    import torch

    torch.manual_seed(0)
    module, shape = make()
    x = torch.randn(*(3 if n is None else n for n in shape))
    compare(exported(tmp_path, module, x), shape)


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
def test_recurrent_by_pytorch(tmp_path: Path, kind: str, first: bool) -> None:
    """Two layers both ways, with a head on the last step."""
    import torch
    from torch import nn

    class Read(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.walk = getattr(nn, kind)(5, 4, 2, batch_first=first, bidirectional=True)
            self.head = nn.Linear(8, 3)

        def forward(self, x: Any) -> Any:
            y, _ = self.walk(x)
            return self.head(y[:, -1] if first else y[-1])

    torch.manual_seed(0)
    shape, axis = ((None, 6, 5), 0) if first else ((6, None, 5), 1)
    x = torch.randn(*(3 if n is None else n for n in shape))
    compare(exported(tmp_path, Read(), x, axis), shape, axis)


def test_tokens_by_pytorch(tmp_path: Path) -> None:
    import torch
    from torch import nn

    class Told(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.words, self.places = nn.Embedding(20, 8), nn.Embedding(6, 8)
            self.walk, self.head = nn.GRU(8, 5, batch_first=True), nn.Linear(5, 20)

        def forward(self, x: Any) -> Any:
            return self.head(self.walk(self.words(x) + self.places(torch.arange(x.shape[1])))[0])

    path = exported(tmp_path, Told(), torch.randint(0, 20, (3, 6)))
    compare(path, (None, 6), tokens=20)
