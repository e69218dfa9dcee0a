"""Made files of the published idx format, and small sets of them."""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cortex_datasets.fetch import FileSource
from cortex_datasets.idx import IdxFile
from cortex_datasets.idx_sets import IdxSet
from cortex_datasets.named import mnist


def idx_bytes(array: np.ndarray) -> bytes:
    """The header as the format's authors describe it, written here a second time, then the bytes."""
    return struct.pack(f">I{array.ndim}I", 0x0800 + array.ndim, *array.shape) + array.tobytes()


def expected(name: str, array: np.ndarray) -> IdxFile:
    return IdxFile(name, array.shape, hashlib.sha256(idx_bytes(array)).hexdigest())


def small_arrays(seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {
        "train-images-idx3-ubyte": rng.integers(0, 256, (20, 28, 28), dtype=np.uint8),
        "train-labels-idx1-ubyte": rng.integers(0, 10, 20, dtype=np.uint8),
        "t10k-images-idx3-ubyte": rng.integers(0, 256, (8, 28, 28), dtype=np.uint8),
        "t10k-labels-idx1-ubyte": rng.integers(0, 10, 8, dtype=np.uint8),
    }


def small_set(arrays: dict[str, np.ndarray], sources: Sequence[FileSource] = ()) -> IdxSet:
    """MNIST as the package describes it, but for other content."""
    files = {name: expected(name, array) for name, array in arrays.items()}
    return dataclasses.replace(
        mnist,
        files={
            "train": (files["train-images-idx3-ubyte"], files["train-labels-idx1-ubyte"]),
            "test": (files["t10k-images-idx3-ubyte"], files["t10k-labels-idx1-ubyte"]),
        },
        sources=tuple(sources),
    )


def write_all(folder: Path, arrays: dict[str, np.ndarray], compressed: bool = True) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in arrays.items():
        if compressed:
            (folder / f"{name}.gz").write_bytes(gzip.compress(idx_bytes(array)))
        else:
            (folder / name).write_bytes(idx_bytes(array))
