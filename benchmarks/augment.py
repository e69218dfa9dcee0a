"""How many pictures of 32 x 32 x 3 are varied in a second, by each augmentation and by flip + crop + erase.

python -m benchmarks.augment [--batch 64] [--rounds 7] [--json FILE]

One thread, as in training, where a thread of its own reads ahead of the steps.  The first line reads the
pictures as they are (bytes to float32), the last only copies a batch: the floor of such work.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.machine import processor
from cortex_core.registry import AUGMENTATIONS
from cortex_datasets.augment import augmented
from cortex_datasets.source import ArraySource

COUNT = 20_000  # 61 MB: more than caches hold
GOAL = 15_000  # pictures a second, of the trio, on two cores
TRIO = "flip + crop + erase"
FIELDS: dict[str, dict[str, Any]] = {
    "flip": {},
    "crop": {"padding": 4},
    "shift": {"pixels": 3},
    "rotate": {"degrees": 15},
    "scale": {"amount": 0.1},
    "shear": {"degrees": 10},
    "brightness": {"amount": 0.2},
    "contrast": {"amount": 0.2},
    "noise": {"deviation": 0.05},
    "erase": {},
    "mixup": {},
    "cutmix": {},
}
LISTS = {
    "as they are": [],
    **{kind: [kind] for kind in FIELDS},
    "rotate + scale + shear": ["rotate", "scale", "shear"],
    TRIO: ["flip", "crop", "erase"],
}


def pictures() -> ArraySource:
    """Random bytes in ten classes."""
    random = np.random.default_rng(0)
    image = random.integers(0, 256, (COUNT, 32, 32, 3), dtype=np.uint8)
    return ArraySource({"image": image, "label": np.arange(COUNT) % 10}, {"label": tuple("abcdefghij")})


def rate(source: Any, batch: int, rounds: int) -> float:
    """Pictures a second in the best of some rounds of 4,096 pictures: others use the machine too."""
    out = {name: np.empty((batch, *s.shape), s.dtype) for name, s in source.streams.items()}
    order = np.random.default_rng(1).permutation(COUNT)[: 4096 // batch * batch].reshape(-1, batch)
    seconds = []
    for epoch in range(rounds):
        start = time.perf_counter()
        for rows in order:
            source.gather(rows, out, epoch=epoch)
        seconds.append(time.perf_counter() - start)
    return order.size / min(seconds)


def floor(batch: int, rounds: int) -> float:
    """Pictures a second that are copied in memory, as float32."""
    one, other = np.ones((2, batch, 32, 32, 3), np.float32)
    seconds = []
    for _ in range(rounds):
        start = time.perf_counter()
        for _ in range(100):
            np.copyto(one, other)
        seconds.append((time.perf_counter() - start) / 100)
    return batch / min(seconds)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--batch", type=int, default=64, help="pictures in a batch")
    parser.add_argument("--rounds", type=int, default=7, help="of 4,096 pictures each; the best counts")
    parser.add_argument("--json", type=Path, help="where the numbers go")
    options = parser.parse_args()
    source, load = pictures(), os.getloadavg()[0]
    print(
        f"{processor()}, {os.cpu_count()} cores, load {load:.1f} before the run; batches of {options.batch}"
    )
    print(f"{'':24}{'pictures/s':>12}{'us each':>9}")
    rates = {}
    for name, kinds in LISTS.items():
        made = [AUGMENTATIONS[kind](**FIELDS[kind]) for kind in kinds]
        varied = augmented(source, made, 0, ["image"], ["label"], ["label"])
        rates[name] = rate(varied, options.batch, options.rounds)
    rates["a copy"] = floor(options.batch, options.rounds)
    for name, found in rates.items():
        print(f"{name:24}{found:12,.0f}{1e6 / found:9.1f}")
    print(f"{TRIO} on one core: {rates[TRIO] / GOAL:.1f} times the {GOAL:,} asked for on two")
    if options.json:
        told = {
            "processor": processor(),
            "load_before": load,
            "batch": options.batch,
            "pictures_per_second": rates,
        }
        options.json.write_text(json.dumps(told, indent=2) + "\n")


if __name__ == "__main__":
    main()
