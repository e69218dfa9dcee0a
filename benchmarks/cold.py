"""The cold start: from the start of a process to its first prediction, LeNet with weights from a file.

What each process runs stands here as its user would write it.
"""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path

import numpy as np

from benchmarks.turns import ROOT, Absent, Failed, environment
from benchmarks.workloads import WORKLOADS, batch_of

CORTEX = """
import sys
import cortex, numpy as np
network = cortex.load("lenet.cortex")
program = cortex.compile(network, backend=sys.argv[1], batch_size=1, purpose="predict")
print(np.asarray(program.run({"image": np.load("image.npy")})["digit"]).tolist(), flush=True)
"""

TORCH = """
import numpy as np, torch
from torch import nn
model = nn.Sequential(
    nn.Conv2d(1, 20, 5), nn.ReLU(), nn.MaxPool2d(2),
    nn.Conv2d(20, 50, 5), nn.ReLU(), nn.MaxPool2d(2),
    nn.Flatten(), nn.Linear(800, 500), nn.ReLU(), nn.Linear(500, 10))
model.load_state_dict(torch.load("lenet.pt", weights_only=True))
model.eval()
x = torch.from_numpy(np.load("image.npy")).permute(0, 3, 1, 2)
with torch.inference_mode():
    print(model(x).softmax(-1).tolist(), flush=True)
"""

JAX = """
import jax, jax.numpy as jnp, numpy as np
p = dict(np.load("lenet.npz"))
def conv(x, name):
    y = jax.lax.conv_general_dilated(
        x, p[name + "/kernel"], (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC"))
    y = jax.nn.relu(y + p[name + "/bias"])
    return jax.lax.reduce_window(y, -jnp.inf, jax.lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")
def dense(x, name):
    return x @ p[name + "/kernel"] + p[name + "/bias"]
@jax.jit
def predict(x):
    x = conv(conv(x, "conv0"), "conv1").reshape(len(x), -1)
    return jax.nn.softmax(dense(jax.nn.relu(dense(x, "hidden")), "digit"))
print(predict(np.load("image.npy")).tolist(), flush=True)
"""

TO_TORCH = """
import torch
from benchmarks import torch_worker
torch.save(torch_worker.NETWORKS["lenet"](torch_worker.Parameters({npz!r})).state_dict(), {pt!r})
"""

PROGRAMS = {"cortex": CORTEX, "torch": TORCH, "jax": JAX}


class ColdStart:
    """A contestant whose turn is one process.  ``values``: its prediction."""

    def __init__(self, library: str, python: str, folder: Path, threads: int, backend: str) -> None:
        self.folder, self.threads = folder, threads
        self.command = [python, "-c", PROGRAMS[library], backend]
        write_files(library, python, folder)
        self.turn(0)

    def turn(self, seconds: float) -> dict[str, float]:
        """Milliseconds until the prediction is printed; ``seconds`` do not matter."""
        start = time.perf_counter()
        done = subprocess.Popen(
            self.command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=self.folder,
            env={**environment(self.threads), "PYTHONPATH": str(ROOT)},
        )
        assert done.stdout is not None
        line = done.stdout.readline()
        passed = 1e3 * (time.perf_counter() - start)
        _, errors = done.communicate()
        if not line:
            raise ended(errors)
        self.values: list[list[float]] = json.loads(line)
        return {"median": passed, "steps": 1}

    def close(self) -> None:
        """Nothing is kept."""


def ended(errors: str) -> Absent | Failed:
    """Why a process ended without a prediction."""
    last = (errors.strip().splitlines() or ["it printed nothing"])[-1]
    return Absent(last) if last.startswith("ModuleNotFoundError") else Failed(last)


def write_files(library: str, python: str, folder: Path) -> None:
    """The weights in the form that the library reads; Cortex, the first, draws them."""
    npz = folder / "lenet.npz"
    if library == "cortex":
        import cortex

        lenet = WORKLOADS["lenet"]
        network = cortex.network(lenet.description)
        network.save(folder / "lenet.cortex")
        np.savez(npz, **network.parameters)
        np.save(folder / "image.npy", batch_of(lenet.description, 1)[0])
    elif library == "torch":
        source = TO_TORCH.format(npz=str(npz), pt=str(folder / "lenet.pt"))
        done = subprocess.run([python, "-c", source], cwd=ROOT, capture_output=True, text=True, check=False)
        if done.returncode:
            raise ended(done.stderr)
