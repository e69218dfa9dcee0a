"""How much memory an import takes: what the process had at most, for what its weights are."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.exchange.keras.handmade import dense, save_named, sequential, weights_of

UNITS, LAYERS = 1024, 8
WEIGHTS = 4 * LAYERS * UNITS * (UNITS + 1)
PROGRAM = """
import sys
from cortex_core.exchange.keras.imported import load
from cortex_core.training.checkpoint import image

def most():
    return int(open("/proc/self/status").read().partition("VmHWM:")[2].split()[0]) * 1024

image(load(sys.argv[1]).network)
before = most()
image(load(sys.argv[2]).network)
print(most() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_weights_are_held_about_twice(tmp_path: Path) -> None:
    """By the layers that were read and the network, then by the network and the file that is written."""
    small = save_named(
        tmp_path / "small.h5", {"d": weights_of("d", 2, 2)}, sequential(dense("d", 2), width=2)
    )
    names = [f"d{n}" for n in range(LAYERS)]
    layers = sequential(*(dense(name, UNITS) for name in names), width=UNITS)
    large = save_named(tmp_path / "large.h5", {n: weights_of(n, UNITS, UNITS) for n in names}, layers)
    command = [sys.executable, "-c", PROGRAM, str(small), str(large)]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert WEIGHTS < int(told) < 2.5 * WEIGHTS
