"""safetensors: named arrays in one file, as Hugging Face defines it.

A file is the length of the header (8 bytes, little-endian), the header, and the numbers.  The header is JSON:
``{name: {"dtype": "F32", "shape": [2, 3], "data_offsets": [begin, end]}, "__metadata__": {text: text}}``,
with offsets from the end of the header.  The arrays lie one behind the other, without gaps, row-major.
Nothing of a file is executed, and every size is checked before memory is taken for it.
https://huggingface.co/docs/safetensors

Here are dicts of arrays; networks are in `safetensors_network`.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple, NoReturn

import numpy as np

from cortex_compute.errors import CheckpointError, DTypeError
from cortex_core.exchange.state import as_arrays
from cortex_core.tensor import Tensor
from cortex_core.training.files import expect_path, write_atomically

NUMPY = {
    "BOOL": "?", "U8": "u1", "I8": "i1", "U16": "<u2", "I16": "<i2", "U32": "<u4", "I32": "<i4",
    "U64": "<u8", "I64": "<i8", "F16": "<f2", "BF16": "<u2", "F32": "<f4", "F64": "<f8",
}  # fmt: skip
NAMES = {np.dtype(code): name for name, code in NUMPY.items() if name != "BF16"}
LARGEST_HEADER = 100_000_000  # the limit of the reference implementation
LARGEST_SHAPE = 2**59  # of its axes that are not empty, so that 8 bytes each are within NumPy's limit
METADATA = "__metadata__"
EXPECTED = 'the path and then a dict of Tensors: save_safetensors("weights.safetensors", model.state_dict())'


CONVERT = "with PyTorch, write safetensors.torch.save_file(model.state_dict(), path) in Python"
STRANGE = (
    (
        (b"PK\x03\x04",),
        f"an archive, such as torch.save writes: {CONVERT}; `cortex import keras` reads .keras",
    ),
    (
        tuple(bytes([0x80, n]) for n in (2, 3, 4, 5)),
        f"a pickle, which is not read, as it could run code: {CONVERT}",
    ),
    ((b"\x89HDF",), "an HDF5 file: `cortex import keras` reads those of Keras, cortex.load reads .cortex"),
)
"""How files begin that people have in place of these, and what to do with them."""


class Entry(NamedTuple):
    """Where an array lies, after all has been checked."""

    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


class Stored:
    """An open file whose header has been checked: what it holds by name, and the texts of its metadata."""

    def __init__(self, path: str | os.PathLike[str], file: IO[bytes]) -> None:
        self._file = file
        self._start, self.entries, self.metadata = _header(path, file, os.fstat(file.fileno()).st_size)

    def read(self, name: str) -> np.ndarray:
        """The numbers of an array; bfloat16 becomes float32."""
        entry = self.entries[name]
        self._file.seek(self._start + entry.begin)
        return _array(entry, self._file.read(entry.end - entry.begin))


@contextmanager
def opened(path: str | os.PathLike[str]) -> Iterator[Stored]:
    """A file, opened and checked; errors as for `load_safetensors`."""
    with open(path, "rb") as file:
        yield Stored(path, file)


def load_safetensors(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """The Tensors of a file, by name; bfloat16 becomes float32.  They go to `Module.load_state_dict`.

    A `CheckpointError` says where a file is damaged, or what it is instead; one that is not there is a
    FileNotFoundError.
    """
    expect_path(path, "load_safetensors", 'load_safetensors("weights.safetensors")')
    with opened(path) as stored:
        return {name: Tensor(stored.read(name)) for name in stored.entries}


def save_safetensors(
    path: str | os.PathLike[str], tensors: Mapping[str, Any], metadata: Mapping[str, str] | None = None
) -> None:
    """Writes Tensors, arrays or tensors of PyTorch under their names, whole or not at all.

    `Module.state_dict` gives some; bfloat16 becomes float32.  ``metadata`` are texts by name, which stand in
    the header.  A `CheckpointError` says what has no place in a file.
    """
    expect_path(path, "save_safetensors", EXPECTED)
    if not isinstance(tensors, Mapping):
        raise DTypeError(f"save_safetensors: got a {type(tensors).__name__} of Tensors, expected {EXPECTED}")
    if metadata is not None and not _is_texts(metadata):
        raise DTypeError(
            f"save_safetensors: metadata are texts by name, as {{'epochs': '3'}}; got {metadata}"
        )
    if odd := [name for name in tensors if not _is_text(name)]:
        raise CheckpointError(f"{path}: names are texts of UTF-8; got {odd[0]!a}")
    arrays, faults = as_arrays(tensors)
    if faults:
        lines = "".join(f"\n  {fault}" for fault in faults)
        raise CheckpointError(f"{path}: nothing was written:{lines}")
    entries, data = _laid_out(path, arrays)
    header = {METADATA: dict(metadata), **entries} if metadata else entries
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    if len(text) > LARGEST_HEADER:
        told = f"names and metadata take {len(text):,} bytes, a file holds {LARGEST_HEADER:,} of them"
        raise CheckpointError(f"{path}: {told}")
    write_atomically(Path(path), b"".join([len(text).to_bytes(8, "little"), text, *data]))


def _laid_out(path: Any, arrays: Mapping[str, np.ndarray]) -> tuple[dict[str, Any], list[memoryview]]:
    """The entries of the header, and the bytes in order: the widest first, so that each lies aligned."""
    entries: dict[str, Any] = {}
    data = []
    end = 0
    for name in sorted(arrays, key=lambda name: (-arrays[name].itemsize, name)):
        array = arrays[name]
        known = NAMES.get(array.dtype.newbyteorder("<"))
        if known is None or name == METADATA:
            raise CheckpointError(f"{path}: {name!r} of {array.dtype} has no place in a safetensors file")
        begin, end = end, end + array.nbytes
        entries[name] = {"dtype": known, "shape": list(array.shape), "data_offsets": [begin, end]}
        data.append(np.ascontiguousarray(array, NUMPY[known]).reshape(-1).view(np.uint8).data)
    return entries, data


def _header(path: Any, file: IO[bytes], size: int) -> tuple[int, dict[str, Entry], dict[str, str]]:
    """Where the numbers begin, the entries, and the metadata; every range lies inside the file."""
    first = file.read(8)
    if len(first) < 8:
        _damaged(path, 0, f"the file has {size} bytes; the length of the header alone takes 8")
    length = int.from_bytes(first, "little")
    if length > min(LARGEST_HEADER, size - 8):
        _expect_none_of_others(path, first)
        _damaged(path, 0, f"a header of {length} bytes in a file of {size}")
    try:
        header = json.loads(file.read(length).decode(), object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        _damaged(path, 8, f"the header is no JSON: {error}")
    if not isinstance(header, dict):
        _damaged(path, 8, f"the header is a {type(header).__name__}; it must be an object")
    metadata = header.pop(METADATA, {})
    if not _is_texts(metadata):
        _damaged(path, METADATA, "must be an object of texts")
    entries = {name: _entry(path, name, fields) for name, fields in header.items()}
    _cover(path, entries, size - 8 - length)
    return 8 + length, entries, metadata


def _expect_none_of_others(path: Any, first: bytes) -> None:
    """Refuses a file of another kind, which people have in place of this, by how it begins."""
    for signs, told in STRANGE:
        if first.startswith(signs):
            raise CheckpointError(f"{os.fspath(path)}: no safetensors file but {told}")


def _is_texts(x: Any) -> bool:
    return isinstance(x, Mapping) and all(_is_text(text) for pair in x.items() for text in pair)


def _is_text(x: Any) -> bool:
    """Whether it is a text that UTF-8 has, which half of a surrogate pair is not."""
    return isinstance(x, str) and x == x.encode(errors="replace").decode()


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = dict(pairs)
    if len(names) < len(pairs):
        raise ValueError("a name stands twice")
    return names


def _entry(path: Any, name: str, fields: Any) -> Entry:
    def whole(x: Any) -> bool:
        return isinstance(x, list) and all(type(n) is int and 0 <= n < 2**63 for n in x)

    if not isinstance(fields, dict) or set(fields) != {"dtype", "shape", "data_offsets"}:
        _damaged(path, name, "needs the fields dtype, shape and data_offsets")
    dtype, shape, offsets = fields["dtype"], fields["shape"], fields["data_offsets"]
    if not isinstance(dtype, str) or dtype not in NUMPY:
        _damaged(path, name, f"unknown dtype {dtype!r:.40}; known are {', '.join(NUMPY)}")
    if not whole(shape) or len(shape) > 32:
        _damaged(path, name, f"shape {shape!r:.80} is no list of sizes")
    if not whole(offsets) or len(offsets) != 2:
        _damaged(path, name, f"data_offsets {offsets!r:.80} are not [begin, end]")
    begin, end = offsets
    needs = math.prod(shape) * np.dtype(NUMPY[dtype]).itemsize
    if end - begin != needs:
        _damaged(
            path,
            name,
            f"{dtype} of shape {shape} takes {needs} bytes, data_offsets {offsets} hold {end - begin}",
        )
    if math.prod(n or 1 for n in shape) > LARGEST_SHAPE:
        _damaged(path, name, f"shape {shape} is larger than any array")
    return Entry(dtype, tuple(shape), begin, end)


def _cover(path: Any, entries: Mapping[str, Entry], size: int) -> None:
    """Refuses arrays that overlap, gaps between them, and a file that ends too early or too late."""
    at = 0
    for name, entry in sorted(entries.items(), key=lambda item: (item[1].begin, item[1].end)):
        if entry.begin != at:
            fault = "overlaps with the one before" if entry.begin < at else "leaves a gap"
            _damaged(path, name, f"begins at {entry.begin}, not at {at}: it {fault}")
        at = entry.end
    if at != size:
        _damaged(path, "end", f"the arrays take {at} bytes, the file has {size} for them")


def _array(entry: Entry, data: bytes) -> np.ndarray:
    array = np.frombuffer(data, NUMPY[entry.dtype]).reshape(entry.shape)
    if entry.dtype == "BF16":  # the upper half of a float32
        return (array.astype(np.uint32) << 16).view(np.float32)
    return array.astype(array.dtype.newbyteorder("="))


def _damaged(path: Any, where: Any, what: str) -> NoReturn:
    place = f"byte {where}" if isinstance(where, int) else repr(where)
    raise CheckpointError(f"{os.fspath(path)}: {place}: {what}; get the file again")
