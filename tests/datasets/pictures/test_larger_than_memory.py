"""Data some times larger than the memory that a process may take."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

MEGABYTE = 1 << 20

# RLIMIT_DATA counts memory that is a process's own, and no file that is mapped to be read.
CODE = """
import resource, sys
from pathlib import Path
import numpy as np
import cortex

def spec(epochs, data):
    return {
        "inputs": {"image": "auto", "x": "auto"},
        "layers": [
            {"max_pool2d": {"size": 8, "from": "image"}},
            {"flatten": {"id": "pixels"}},
            {"concatenate": {"from": ["pixels", "x"]}},
            {"dense": {"units": 3, "id": "y"}},
        ],
        "loss": {"softmax_cross_entropy": {"of": "y", "target": "label"}},
        "train": {"data": data, "epochs": epochs, "batch_size": 64, "validation": 0.1},
    }

folder, limit = Path(sys.argv[1]), int(sys.argv[2])
small = {"files": {name: f"small-{name}.npy" for name in ("image", "x", "label")}}
large = {"files": {name: f"{name}.npy" for name in ("image", "x", "label")}}
options = {"backend": "numpy", "progress": False, "report": False}
cortex.train(spec(1, {"arrays": small}), out=folder / "first", **options)  # loads what is needed
status = Path("/proc/self/status").read_text()
taken = int(status.partition("VmData:")[2].split()[0]) * 1024
resource.setrlimit(resource.RLIMIT_DATA, (taken + limit, taken + limit))
try:
    np.ones(2 * limit, np.uint8)
except MemoryError:
    print("limited")
run = cortex.train(spec(1, {"arrays": large}), out=folder / "second", **options)
print(run.history["step"][-1])
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the limit is one of Linux")
def test_an_epoch_on_data_larger_than_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CORTEX_DATA", str(tmp_path))
    limit, count = 24 * MEGABYTE, 16_000
    for prefix, n in (("", count), ("small-", 128)):
        shapes = {"image": ((n, 32, 32, 3), "u1"), "x": ((n, 500), "f8"), "label": ((n,), "u1")}
        for name, (shape, dtype) in shapes.items():  # a file of zeros takes no room on the disk
            array = np.lib.format.open_memmap(tmp_path / f"{prefix}{name}.npy", "w+", dtype, shape)
            array[::7] = 1
            array.flush()
            del array
    size = sum(path.stat().st_size for path in tmp_path.glob("[!s]*.npy"))
    assert size > 4 * limit
    command = [sys.executable, "-c", textwrap.dedent(CODE), str(tmp_path), str(limit)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.split() == ["limited", str(-(-count * 9 // 10 // 64))]
