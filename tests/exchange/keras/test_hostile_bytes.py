"""Files of every kind, cut short and with other bytes in them, are read or refused by errors of ours."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import pytest

from cortex_compute.errors import CortexError
from cortex_core.exchange.keras import translators
from cortex_core.exchange.keras.imported import load
from tests.exchange.keras.handmade import (
    dense,
    numbers,
    save_named,
    save_numbered,
    sequential,
    weights_of,
)

CONFIG = sequential(
    dense("a", 2),
    sequential(dense("b", 2), name="inner", width=2),
    dense("c", 4, activation="relu"),
)
GROUPS = {"a": weights_of("a", 3, 2), "inner": weights_of("b", 2, 2), "c": weights_of("c", 2, 4)}
PLACES = {"a": "dense", "inner": "sequential/layers/dense", "c": "dense_1"}
TRAINING = {"loss": "mse", "optimizer_config": {"class_name": "SGD", "config": {"lr": 0.1}}}
FILES = ("old.h5", "packed.h5", "numbered.keras", "config.json")
CASES = 400
KILOBYTES = 300_000


def made(folder: Path) -> Iterator[Path]:
    """A file of each kind."""
    old, packed, numbered, config = (folder / name for name in FILES)
    yield save_named(old, GROUPS, CONFIG, training_config=TRAINING)
    with h5py.File(old) as source, h5py.File(packed, "w", libver="latest") as file:
        source.copy("model_weights", file)
        file.attrs.update(source.attrs)
        kernel = "model_weights/a/a/kernel:0"
        del file[kernel]
        how: dict[str, Any] = {"compression": "gzip", "shuffle": True, "fletcher32": True}
        file.create_dataset(kernel, data=numbers(3, 2), chunks=(2, 2), **how)
    yield packed
    arrays = {f"layers/{PLACES[n]}/vars/{i}": x for n, xs in GROUPS.items() for i, (_, x) in enumerate(xs)}
    yield save_numbered(numbered, CONFIG, arrays)
    config.write_text(json.dumps(CONFIG))
    yield config


def changed(content: bytes, rng: random.Random) -> bytes:
    if rng.random() < 0.2:
        return content[: rng.randrange(len(content))]
    found = bytearray(content)
    telling = [place for place, byte in enumerate(content) if byte]
    for _ in range(rng.choice([1, 1, 2, 4, 16])):
        at = rng.choice(telling)
        odd = [b"\xff" * 8, bytes(8), (1 << 40).to_bytes(8, "little"), content[at + 8 : at + 24]]
        few = [bytes([byte]) for byte in (0, 1, 4, 127, 255, rng.randrange(256))]
        new = rng.choice(odd if rng.random() < 0.2 else few)
        found[at : at + len(new)] = new
    return bytes(found)


def attempts(folder: Path, name: str) -> dict[str, int]:
    """How many files were read, and how many refused; run in a process of its own, for HDF5 is C."""
    import resource

    translators.load()
    path = next(path for path in made(folder) if path.name == name)
    content, rng = path.read_bytes(), random.Random(0)
    weights = folder / FILES[0] if name == FILES[3] else None
    found = {"read": 0, "refused": 0}
    load(path, weights)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(CASES):
        path.write_bytes(changed(content, rng))
        try:
            load(path, weights)
            found["read"] += 1
        except CortexError as error:
            str(error).encode()
            found["refused"] += 1
        path.unlink()  # a file that HDF5 could not close stays away from the next one
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < KILOBYTES
    return found


@pytest.mark.slow
@pytest.mark.parametrize("name", FILES)
def test_bytes_that_fell_over(name: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", __name__, str(tmp_path), name]
    root = Path(__file__).parents[3]
    environment = {**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    ran = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, timeout=600)
    assert ran.returncode == 0, ran.stderr[-3000:]
    found = json.loads(ran.stdout)
    assert found["refused"] > CASES // 10


if __name__ == "__main__":
    print(json.dumps(attempts(Path(sys.argv[1]), sys.argv[2])))
