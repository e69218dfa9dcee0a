"""Training curves are PyTorch's from the same weights: an MLP, a CNN with batch norm, an embedding model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest

from cortex_core import nn, optim
from cortex_core.tensor import Tensor

pytestmark = pytest.mark.peers
RNG = np.random.default_rng(23)


class Task(NamedTuple):
    """A model, a loss and an optimiser, spelled as in PyTorch, and data."""

    model: Callable[[Any], Any]
    loss: Callable[[Any], Any]
    optimizer: Callable[[Any, Any], Any]
    x: np.ndarray
    y: np.ndarray


TASKS = {
    "mlp": Task(
        lambda nn: nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, 8), nn.GELU(), nn.Linear(8, 2)),
        lambda nn: nn.MSELoss(),
        lambda optim, p: optim.Adam(p, lr=0.01),
        RNG.standard_normal((32, 6)),
        RNG.standard_normal((32, 2)),
    ),
    "cnn": Task(
        lambda nn: nn.Sequential(
            nn.Conv2d(2, 6, 3, padding=1),
            nn.BatchNorm2d(6),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(6, 4, 3),
            nn.BatchNorm2d(4),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(4, 3),
        ),
        lambda nn: nn.CrossEntropyLoss(),
        lambda optim, p: optim.SGD(p, lr=0.05, momentum=0.9, weight_decay=1e-3),
        RNG.standard_normal((12, 2, 8, 8)),
        RNG.integers(0, 3, 12),
    ),
    "embedding": Task(
        lambda nn: nn.Sequential(nn.Embedding(20, 8, padding_idx=0), nn.Flatten(), nn.Linear(40, 4)),
        lambda nn: nn.CrossEntropyLoss(label_smoothing=0.1),
        lambda optim, p: optim.Adagrad(p, lr=0.1),
        RNG.integers(0, 20, (24, 5)),
        RNG.integers(0, 4, 24),
    ),
}


@pytest.mark.parametrize(("dtype", "steps", "rtol"), [("float64", 100, 1e-7), ("float32", 20, 1e-3)])
@pytest.mark.parametrize("name", TASKS)
def test_curves(name: str, dtype: str, steps: int, rtol: float) -> None:
    torch, task = pytest.importorskip("torch"), TASKS[name]
    model, peer = task.model(nn).to(dtype), task.model(torch.nn).to(getattr(torch, dtype))
    model.load_state_dict(peer.state_dict())
    x, y = (a.astype(dtype) if a.dtype.kind == "f" else a for a in (task.x, task.y))
    ours = losses(
        model, task.loss(nn), task.optimizer(optim, model.parameters()), Tensor(x), Tensor(y), steps
    )
    x, y = torch.tensor(x), torch.tensor(y)
    optimizer = task.optimizer(torch.optim, peer.parameters())
    theirs = losses(peer, task.loss(torch.nn), optimizer, x, y, steps)
    assert theirs[-1] < 0.9 * theirs[0]
    np.testing.assert_allclose(ours, theirs, rtol=rtol)
    state = peer.state_dict()
    for key, value in model.state_dict().items():
        np.testing.assert_allclose(value.numpy(), state[key].numpy(), rtol=rtol, atol=rtol, err_msg=key)


def losses(model: Any, criterion: Any, optimizer: Any, x: Any, y: Any, steps: int) -> list[float]:
    found = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = criterion(model(x), y)
        loss.backward()
        optimizer.step()
        found.append(loss.item())
    return found
