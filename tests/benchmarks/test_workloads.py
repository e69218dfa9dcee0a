"""What the benchmark measures is what it says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn import datasets

import cortex
from benchmarks.flops import step_flops
from benchmarks.rows import LABELS, ROWS
from benchmarks.workloads import BATCHES, NETWORKS, WORKLOADS, batch_of, rows_of

# LeNet's number is that of Caffe's example.  ResNet-20 has 269,722 with shortcuts that have no weights
# (He et al., 2016: 0.27 M); the two projections add 16 x 32 and 32 x 64.  ResNet-50's is torchvision's.
PARAMETERS = {
    "mlp": 784 * 256 + 256 + 256 * 128 + 128 + 128 * 10 + 10,
    "cnn": (9 * 32 + 32) + (9 * 32 * 64 + 64) + (7 * 7 * 64 * 128 + 128) + (128 * 10 + 10),
    "lenet": 431_080,
    "resnet20": 269_722 + 16 * 32 + 32 * 64,
    "resnet50": 25_557_032,
    "lstm": 4 * 128 * (28 + 128 + 1) + 128 * 10 + 10,
    "char_gpt": 65 * 128 + 64 * 128 + 4 * (12 * 128 * 128 + 13 * 128) + 2 * 128,  # 12 C^2 + 13 C to a block
}


@pytest.mark.parametrize("name", WORKLOADS)
def test_parameters(name: str) -> None:
    network = cortex.network(WORKLOADS[name].description)
    assert sum(a.size for a in network.parameters.values()) == PARAMETERS[name]


def test_arithmetic_of_a_step() -> None:
    first, others = 784 * 256, 256 * 128 + 128 * 10
    assert step_flops(WORKLOADS["mlp"]) == 2 * 128 * (2 * first + 3 * others)


def test_arithmetic_of_resnet20() -> None:
    forward = 40_551_040 + 16 * 16 * 16 * 32 + 8 * 8 * 32 * 64  # the first number: shortcuts without weights
    stem = 32 * 32 * 9 * 3 * 16
    assert step_flops(WORKLOADS["resnet20"]) == 2 * 64 * (3 * forward - stem)


def test_arithmetic_of_the_lstm() -> None:
    inputs, states = 28 * 28 * 512, 28 * 128 * 512
    assert step_flops(WORKLOADS["lstm"]) == 2 * 64 * (2 * inputs + 3 * (states + 128 * 10))


def test_arithmetic_of_the_gpt() -> None:
    kernels = 12 * 128 * 128
    scores = 2 * sum(range(1, 65)) * 128  # and as many for the values
    forward = 4 * (64 * kernels + scores) + 64 * 128 * 65
    assert step_flops(WORKLOADS["char_gpt"]) == 2 * 64 * 3 * forward


def test_the_batch_is_the_same_at_each_call() -> None:
    image, label = batch_of(WORKLOADS["cnn"].description, 64)
    again, _ = batch_of(WORKLOADS["cnn"].description, 64)
    assert image.shape == (64, 28, 28, 1)
    assert image.dtype == "float32"
    assert (image == again).all()
    assert set(label) <= set(range(10))


def test_characters_and_the_next_ones() -> None:
    text, after = batch_of(WORKLOADS["char_gpt"].description, 8)
    assert text.shape == after.shape == (8, 64)
    assert (text[:, 1:] == after[:, :-1]).all()
    assert set(text.ravel()) == set(range(65))


def test_rows_of_a_batch_are_of_the_data_and_differ() -> None:
    rows = np.concatenate(rows_of(4))
    assert sorted(rows) == list(range(4 * BATCHES))


@pytest.mark.parametrize("path", sorted(NETWORKS.glob("*.yaml")), ids=lambda path: path.stem)
def test_networks_are_right(path: Path) -> None:
    assert cortex.network(path).name == path.stem


def test_rows_name_what_exists() -> None:
    for row in ROWS.values():
        fits = row.purpose == "fit"
        assert hasattr(datasets, f"load_{row.workload}") if fits else row.workload in WORKLOADS
        assert set(row.rivals) <= set(row.peers)
        assert set(row.contestants) <= set(LABELS)
        assert (row.bar is None) == (row.goal is None)


def test_peers_load_nothing_of_cortex() -> None:
    source = "import sys, benchmarks.serve, benchmarks.workloads; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=True)
    assert not [name for name in done.stdout.split() if name.startswith("cortex")]
