"""The test error of examples/autoencoder.yaml's network in PyTorch, trained alike: what bounds the example.

python -m benchmarks.autoencoder [--seeds 3] [--json FILE]        in the environment of the extra 'peers'

Data, layers, optimiser, schedule, batch size and epochs are those of the description.  Parameters are drawn
as PyTorch does it by itself, and as Cortex does it (he_normal before relu, else glorot_uniform).
"""

from __future__ import annotations

import argparse
import json
import math
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks import machine
from cortex_datasets.named import mnist

TRAINING, BATCH, EPOCHS, RATE = 55_000, 64, 5, 0.002  # as examples/autoencoder.yaml has them


def pixels(split: str) -> Tensor:
    """All pictures of a part, (n, 784)."""
    source = mnist.load(split)
    image = np.empty((len(source), 28, 28, 1), np.float32)
    source.gather(np.arange(len(source)), {"image": image})
    return torch.from_numpy(image.reshape(len(image), -1))


def network(drawn: str) -> nn.Sequential:
    """784-256-32-256-784, with PyTorch's parameters or those that Cortex would draw."""
    made = nn.Sequential(
        *(nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 32)),
        *(nn.Linear(32, 256), nn.ReLU(), nn.Linear(256, 784), nn.Sigmoid()),
    )
    if drawn == "cortex":
        for layer, before_relu in ((made[0], True), (made[2], False), (made[3], True), (made[5], False)):
            _draw(layer, before_relu)
    return made


def _draw(layer: Any, before_relu: bool) -> None:
    nn.init.zeros_(layer.bias)
    if not before_relu:
        nn.init.xavier_uniform_(layer.weight)
        return
    std = math.sqrt(2 / layer.in_features) / 0.87962566103423978  # of a normal cut at two deviations
    nn.init.trunc_normal_(layer.weight, 0, std, -2 * std, 2 * std)


def train(seed: int, drawn: str, training: Tensor, test: Tensor) -> float:
    """The mean squared error of a pixel of the test pictures after the last epoch."""
    torch.manual_seed(seed)
    model, criterion = network(drawn), nn.MSELoss()
    steps = EPOCHS * math.ceil(len(training) / BATCH)
    optimizer = torch.optim.Adam(model.parameters(), RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(training)).split(BATCH):
            x = training[rows]
            optimizer.zero_grad()
            criterion(model(x), x).backward()
            optimizer.step()
            schedule.step()
    with torch.no_grad():
        return float(criterion(model(test).double(), test.double()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    training, test = pixels("train")[:TRAINING], pixels("test")
    found: dict[str, list[float]] = {"pytorch": [], "cortex": []}
    for drawn, errors in found.items():
        for seed in range(options.seeds):
            errors.append(train(seed, drawn, training, test))
            print(f"drawn as {drawn} does, seed {seed}: {errors[-1]:.6f}", flush=True)
    means = {drawn: float(np.mean(errors)) for drawn, errors in found.items()}
    bar = 1.05 * min(means.values())
    print(f"means {means}; 1.05 times the smaller one is {bar:.6f}")
    if options.json:
        told = {
            "date": time.strftime("%Y-%m-%d"),
            "processor": machine.processor(),
            "versions": {"torch": torch.__version__, "numpy": np.__version__},
            "test_mse": found,
            "means": means,
            "bar": bar,
        }
        options.json.write_text(json.dumps(told, indent=1) + "\n")


if __name__ == "__main__":
    main()
