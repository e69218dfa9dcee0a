"""Eager code as people type it: `import cortex` and what hangs on it."""

from __future__ import annotations

import numpy as np
import pytest

import cortex
from cortex import nn, optim
from cortex.data import DataLoader, TensorDataset
from cortex_core.ops.table import OPS


def test_a_training_loop(capsys: pytest.CaptureFixture[str]) -> None:
    cortex.manual_seed(0)
    in_dim, hidden_dim, out_dim = 3, 16, 2
    inputs = cortex.randn(64, in_dim)
    targets = inputs @ cortex.randn(in_dim, out_dim)
    model = nn.Sequential(nn.Linear(in_dim, hidden_dim), nn.ReLU(), nn.Linear(hidden_dim, out_dim))
    criterion = nn.MSELoss()
    optimizer = optim.SGD(model.parameters(), weight_decay=1e-3, momentum=0.9, lr=0.05)
    losses = []
    for epoch in range(100):
        optimizer.zero_grad()
        loss = criterion(model(inputs), targets)
        loss.backward()
        optimizer.step()
        print(f"Epoch: {epoch + 1} | Loss: {loss.item():.2f}")
        losses.append(loss.item())
    assert losses[-1] < 0.05 * losses[0]
    assert capsys.readouterr().out.splitlines()[-1] == f"Epoch: 100 | Loss: {losses[-1]:.2f}"


def test_breast_cancer_end_to_end() -> None:
    """The mean of four splits: of 171 held-out patients one more or less is half a percent."""
    from sklearn.datasets import load_breast_cancer
    from sklearn.model_selection import train_test_split

    right = []
    for split in range(4):
        parts = train_test_split(
            *load_breast_cancer(return_X_y=True), test_size=0.3, random_state=split, stratify=None
        )
        x, x_test, t, t_test = (part.astype(np.float32) for part in parts)
        mean, deviation = x.mean(0), x.std(0)
        cortex.manual_seed(0)
        train = TensorDataset((x - mean) / deviation, t[:, None])
        model = nn.Sequential(nn.Linear(30, 16), nn.ReLU(), nn.Linear(16, 1))
        criterion, optimizer = nn.BCEWithLogitsLoss(), optim.Adam(model.parameters(), lr=0.003)
        for _ in range(20):
            for batch, target in DataLoader(train, batch_size=32, shuffle=True):
                optimizer.zero_grad()
                criterion(model(batch), target).backward()
                optimizer.step()
        with cortex.no_grad():
            logits = model(cortex.Tensor((x_test - mean) / deviation))
        right.append(np.mean((logits.numpy()[:, 0] > 0) == t_test))
    assert np.mean(right) > 0.95


def test_every_op_has_its_name() -> None:
    for row in OPS.values():
        for name in (row.name, *row.aliases):
            assert getattr(cortex, name) is row.function, name


def test_a_star_import_leaves_pythons_own_names_alone() -> None:
    theirs = {"sum", "max", "min", "abs", "all", "any", "round", "pow", "float", "int", "bool", "e"}
    assert not theirs & set(cortex.__all__)


def test_types_and_numbers_in_pytorchs_words() -> None:
    x = cortex.zeros(2, dtype=cortex.double)
    assert x.dtype is cortex.float64
    assert x.to(cortex.float).dtype is cortex.float32
    assert x.to(cortex.half).dtype is cortex.float16
    assert cortex.tensor([1], dtype=cortex.int).dtype is cortex.int32
    assert cortex.tensor([1]).dtype is cortex.long
    assert (x > 0).dtype is cortex.bool
    assert cortex.exp(cortex.tensor([-cortex.inf])).item() == 0
    assert cortex.isnan(cortex.tensor(cortex.nan))
    assert abs(cortex.cos(cortex.tensor(cortex.pi)).item() + 1) < 1e-6


@pytest.mark.parametrize(
    ("name", "meant"), [("sofmax", "softmax"), ("tenser", "tensor"), ("zeroes", "zeros")]
)
def test_a_name_that_is_nearly_one(name: str, meant: str) -> None:
    with pytest.raises(AttributeError, match=f"no attribute '{name}'. Did you mean '{meant}'?"):
        getattr(cortex, name)


@pytest.mark.parametrize(
    ("name", "members"),
    [
        (
            "nn",
            "Module Parameter Sequential Linear Conv2d BatchNorm2d CrossEntropyLoss from_spec functional",
        ),
        ("nn.functional", "relu cross_entropy conv2d sparse_cross_entropy pad"),
        ("nn.init", "xavier_uniform_ kaiming_normal_ orthogonal_"),
        ("nn.utils", "clip_grad_norm_ clip_grad_value_ rnn"),
        ("nn.utils.rnn", "PackedSequence pack_padded_sequence pad_packed_sequence pad_sequence"),
        ("optim", "SGD Adam AdamW RMSprop Adagrad Adadelta Lion RAdam Adamax NAdam LBFGS lr_scheduler"),
        ("optim.lr_scheduler", "StepLR OneCycleLR ReduceLROnPlateau SequentialLR"),
        ("autograd", "grad Function gradcheck checkpoint backward"),
        ("data", "DataLoader TensorDataset random_split"),
    ],
)
def test_the_modules_of_the_face(name: str, members: str) -> None:
    from importlib import import_module

    module = import_module(f"cortex.{name}")
    assert [m for m in members.split() if not hasattr(module, m)] == []
