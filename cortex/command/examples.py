"""Reads what a network is to predict: arrays, tables, pictures, folders of pictures."""

from __future__ import annotations

import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cortex_compute.errors import DataError

if TYPE_CHECKING:
    from cortex_core.network import Network

Arrays = dict[str, np.ndarray[Any, Any]]
DAMAGED = (
    *(ValueError, OSError, EOFError, RuntimeError, NotImplementedError),  # the last two: encrypted, unknown
    *(zipfile.BadZipFile, zlib.error, SyntaxError, TypeError, tokenize.TokenError),  # the last: of a header
)
KINDS = ".npy, .npz, .csv, .png or a folder of .png"


def read_examples(path: str, network: Network) -> tuple[Arrays, list[str]]:
    """The arrays that a network is to read, by input, and a name for each example.

    Raises `DataError` where the file is missing or damaged, does not fit the network, or holds NaN or
    infinity.
    """
    file = Path(path)
    if not file.exists():
        raise DataError(f"{path}: there is no such file; expected {KINDS}")
    names: list[str] = []
    if file.is_dir() or file.suffix == ".png":
        files = sorted(file.glob("*.png")) if file.is_dir() else [file]
        if not files:
            raise DataError(f"{path}: holds no .png files")
        only = _only_input(network, path)
        arrays = {only.name: np.stack([_picture(f, only.shape) for f in files])}
        names = [f.name for f in files]
    elif file.suffix == ".npz":
        arrays = read_npz(file)
    elif file.suffix in (".npy", ".csv"):
        only = _only_input(network, path)
        arrays = {only.name: read_npy(file) if file.suffix == ".npy" else _csv(file, only.shape, only.dtype)}
    else:
        raise DataError(f"{path}: expected {KINDS}")
    for name, array in arrays.items():
        _check(f"{path}: {name}", array)
    count = len(next(iter(arrays.values()))) if arrays else 0
    return arrays, names or [str(i) for i in range(count)]


def read_npz(file: Path) -> Arrays:
    """The arrays of an .npz file, by name."""
    told = _damage_told(file, ".npz file of plain arrays")
    with told, file.open("rb") as stream, np.load(stream, allow_pickle=False) as content:
        return {name: content[name] for name in content.files}


def read_npy(file: Path) -> np.ndarray[Any, Any]:
    """The array of an .npy file."""
    with _damage_told(file, ".npy file of a plain array"):
        array: np.ndarray[Any, Any] = np.load(file, allow_pickle=False)
        return array


@contextmanager
def _damage_told(file: Path, what: str) -> Iterator[None]:
    try:
        yield
    except MemoryError:
        raise DataError(f"{file}: an array is larger than the memory, or its header is damaged") from None
    except DAMAGED as error:
        raise DataError(f"{file}: damaged, or no {what}: {error}") from None


def _only_input(network: Network, path: str) -> Any:
    inputs = network.description.inputs
    if len(inputs) != 1:
        names = ", ".join(x.name for x in inputs)
        raise DataError(f"{path}: this network reads {names}; give an .npz with one array for each")
    return inputs[0]


def _csv(file: Path, shape: tuple[int | None, ...], dtype: str) -> np.ndarray[Any, Any]:
    """One example in a line; a first line that holds no numbers is a header."""
    lines = file.read_text(encoding="utf-8-sig").splitlines()
    start = 1 if lines and not _are_numbers(lines[0]) else 0
    rows = []
    for number, line in enumerate(lines[start:], start + 1):
        if line.strip():
            if not _are_numbers(line):
                raise DataError(f"{file}:{number}: expected numbers, separated by commas")
            rows.append([float(x) for x in line.split(",")])
            if len(rows[-1]) != len(rows[0]):
                raise DataError(
                    f"{file}:{number}: has {len(rows[-1])} columns, the lines before have {len(rows[0])}"
                )
    table = np.array(rows, np.float64)
    if "int" in dtype and not np.all(table == np.floor(table)):
        raise DataError(f"{file}: the network takes whole numbers")
    table = table.astype(dtype if "int" in dtype else np.float32)
    free = [-1 if n is None else n for n in shape]
    try:
        return table.reshape(len(table), *free)
    except ValueError:
        columns = table.shape[1] if table.ndim == 2 else 0
        raise DataError(f"{file}: has {columns} columns, the network takes {list(shape)} per line") from None


def _are_numbers(line: str) -> bool:
    try:
        [float(x) for x in line.split(",")]
    except ValueError:
        return False
    return True


def _picture(file: Path, shape: tuple[int | None, ...]) -> np.ndarray[Any, Any]:
    """A picture as float32 in 0..1, grey or RGB as the network takes it."""
    try:
        from PIL import Image
    except ImportError:
        raise DataError("pictures need Pillow: pip install 'cortex-nn[datasets]'") from None
    if len(shape) != 3 or shape[2] not in (1, 3):
        raise DataError(f"{file}: the network takes {list(shape)}, no picture (height, width, 1 or 3)")
    try:
        with Image.open(file) as image:
            pixels = np.asarray(image.convert("L" if shape[2] == 1 else "RGB"), np.float32)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise DataError(f"{file}: no readable picture: {error}") from None
    made = pixels.reshape(*pixels.shape[:2], shape[2]) / np.float32(255)
    if any(n is not None and n != m for n, m in zip(shape, made.shape)):
        raise DataError(
            f"{file}: is {made.shape[0]} x {made.shape[1]}, the network takes {shape[0]} x {shape[1]}"
        )
    return made


def _check(what: str, array: np.ndarray[Any, Any]) -> None:
    if array.ndim == 0 or array.dtype.kind not in "fiub":
        raise DataError(
            f"{what}: found {array.dtype} of shape {array.shape}, expected numbers (examples, ...)"
        )
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        first = int(np.flatnonzero(~np.isfinite(array.reshape(len(array), -1)).all(axis=1))[0])
        raise DataError(f"{what}: example {first} holds NaN or infinity")
