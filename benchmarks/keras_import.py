"""Imported models beside Keras on JAX: the cold start of a small file, predictions of VGG-16 and MobileNetV2.

    python -m benchmarks.keras_import [--rounds 7] [--threads 2] [--only cold,vgg16] [--json FILE]

The files are made by Keras, which is installed in the environment of the peers.  Processes take turns; a
ratio is the median over rounds of Cortex's time over that of the faster way to call Keras.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from benchmarks import machine
from benchmarks.memory import peak
from benchmarks.turns import ROOT, Worker, environment

MAKE = """
import sys
import keras, numpy as np
from keras import layers
name, path = sys.argv[1:]
keras.utils.set_random_seed(0)
if name == "cold":
    inputs = keras.Input((29,))
    hidden = layers.Dense(20, activation="relu")(inputs)
    model = keras.Model(inputs, layers.Dense(1, activation="sigmoid")(hidden))
else:
    made = {"vgg16": keras.applications.VGG16, "mobilenetv2": keras.applications.MobileNetV2}
    model = made[name](weights=None)
model.save(f"{path}/{name}.h5")
shape = (1, *model.inputs[0].shape[1:])
np.save(f"{path}/{name}.npy", np.random.default_rng(0).normal(size=shape).astype("float32"))
"""
COLD = {
    "cortex": "import cortex, numpy as np\n"
    'print(cortex.from_keras("cold.h5").predict(np.load("cold.npy")).tolist(), flush=True)\n',
    "keras": "import keras, numpy as np\n"
    'model = keras.models.load_model("cold.h5", compile=False)\n'
    'print(model.predict_on_batch(np.load("cold.npy")).tolist(), flush=True)\n',
}
BARS = {"vgg16": 0.8, "mobilenetv2": 0.2}
SECONDS, BYTES = 0.35, 120_000_000
WAYS = ("cortex", "keras", "keras_jit")


def predictions(name: str, folder: Path, pythons: dict[str, str], options: Any) -> dict[str, Any]:
    """Milliseconds of a prediction of one picture, by way, and the ratio."""
    task = {"file": str(folder / f"{name}.h5"), "inputs": str(folder / f"{name}.npy")}
    task |= {"threads": options.threads, "backend": "onednn"}
    with ExitStack() as stack:
        workers = {}
        for way in WAYS:
            python = pythons[way.partition("_")[0]]
            workers[way] = stack.enter_context(
                closing(Worker(python, "imported_worker", {**task, "way": way}))
            )
        values = {way: np.array(worker.values[-1]) for way, worker in workers.items()}
        for way in WAYS[1:]:
            np.testing.assert_allclose(values["cortex"], values[way], atol=1e-4 * np.abs(values[way]).max())
        rounds = [
            {way: worker.turn(options.seconds)["median"] for way, worker in workers.items()}
            for _ in range(options.rounds)
        ]
    ratios = [row["cortex"] / min(row["keras"], row["keras_jit"]) for row in rounds]
    times = {way: spread([row[way] for row in rounds]) for way in WAYS}
    return {"milliseconds": times, "ratio": spread(ratios), "bar": BARS[name]}


def cold(folder: Path, pythons: dict[str, str], options: Any) -> dict[str, Any]:
    """Seconds from the start of a process to its printed prediction, and the memory that it took."""
    found: dict[str, list[tuple[float, int]]] = {way: [] for way in COLD}
    for number in range(options.rounds + 1):
        for way, program in COLD.items():
            measured = started(pythons[way], program, folder, options.threads)
            found[way] += [measured] if number else []  # the first one fills the caches of the disk
    return {
        "seconds": {way: spread([s for s, _ in rows]) for way, rows in found.items()},
        "resident_bytes": {way: max(b for _, b in rows) for way, rows in found.items()},
        "bars": {"seconds": SECONDS, "resident_bytes": BYTES},
    }


def started(python: str, program: str, folder: Path, threads: int) -> tuple[float, int]:
    """Seconds until a program prints a line, and the largest number of bytes that were its own."""
    told = f"{program}\nprint(open('/proc/self/status').read())\n"
    env = {**environment(threads), "PYTHONPATH": str(ROOT), "KERAS_BACKEND": "jax"}
    env["PYTHONDONTWRITEBYTECODE"] = ""  # an installed package has its bytecode
    start = time.perf_counter()
    with subprocess.Popen(
        [python, "-c", told], stdout=subprocess.PIPE, text=True, cwd=folder, env=env
    ) as done:
        assert done.stdout is not None
        line = done.stdout.readline()
        seconds = time.perf_counter() - start
        rest = done.stdout.read()
    if done.returncode or line.startswith("Name:"):
        sys.exit(f"{python} printed nothing")
    return seconds, peak(rest)


def spread(values: Sequence[float]) -> dict[str, float]:
    """The median and the range."""
    return {"median": median(values), "low": min(values), "high": max(values)}


def measure(options: Any) -> dict[str, Any]:
    """All that is asked for, with what it was measured on."""
    pythons = {"cortex": sys.executable, "keras": options.peers}
    told: dict[str, Any] = {"machine": machine.facts("onednn", options.peers), "threads": options.threads}
    with TemporaryDirectory() as name:
        folder = Path(name)
        for part in options.only.split(","):
            env = {**os.environ, "KERAS_BACKEND": "jax"}
            subprocess.run([options.peers, "-c", MAKE, part, name], check=True, env=env)
            found = cold(folder, pythons, options) if part == "cold" else None
            told[part] = found or predictions(part, folder, pythons, options)
            print(part, json.dumps(told[part], indent=1), flush=True)
    return told


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.keras_import")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=2.0, help="of each turn")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--only", default="cold,vgg16,mobilenetv2")
    parser.add_argument("--peers", default=str(ROOT / ".venv-peers/bin/python"), metavar="PYTHON")
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    told = measure(options)
    if options.json:
        options.json.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
