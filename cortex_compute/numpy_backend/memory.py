"""Host memory: aligned buffers, arrays over them, and scratch carved from a workspace."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from cortex_compute.protocol import Operand, Stream, row_major
from cortex_compute.types import TensorType

ALIGNMENT = 64  # a cache line, and the width of an AVX-512 register


def aligned(nbytes: int) -> int:
    """``nbytes`` rounded up to the alignment."""
    return -(-nbytes // ALIGNMENT) * ALIGNMENT


class HostBuffer:
    """A 64-byte aligned piece of host memory, zeroed."""

    def __init__(self, nbytes: int) -> None:
        self.nbytes = nbytes
        raw = np.zeros(nbytes + ALIGNMENT, np.uint8)
        start = -raw.ctypes.data % ALIGNMENT
        self.bytes = raw[start : start + nbytes]

    def view(self, type: TensorType, offset: int = 0, strides: tuple[int, ...] | None = None) -> np.ndarray:
        """An array over this memory; ``offset`` in bytes, ``strides`` in elements (None: row-major)."""
        item = type.dtype.itemsize
        if strides is None:
            flat = self.bytes[offset : offset + type.nbytes].view(type.dtype.storage)
            return flat.reshape(type.shape)
        whole = self.bytes[: len(self.bytes) - (len(self.bytes) - offset) % item]
        origin = whole[offset % item :].view(type.dtype.storage)
        return as_strided(origin[offset // item :], type.shape, tuple(s * item for s in strides))


class HostInbox:
    """Inputs that the host writes where the kernels read them."""

    def __init__(self, types: Mapping[str, TensorType]) -> None:
        self.buffers = {name: HostBuffer(max(1, t.nbytes)) for name, t in types.items()}
        self._arrays = {name: self.buffers[name].view(t) for name, t in types.items()}
        self._written = False

    def write(self, stream: Stream, name: str, value: Any) -> None:
        stream.copy(np.asarray(value), self._arrays[name])
        self._written = True

    def send(self, stream: Stream) -> None:
        if self._written:
            stream.synchronize()
            self._written = False


def scratch_size(types: Iterable[TensorType]) -> int:
    """Bytes of workspace that `carve` needs for these types."""
    return sum(aligned(t.nbytes) for t in types)


def carve(workspace: np.ndarray | None, types: Iterable[TensorType]) -> list[np.ndarray]:
    """Arrays of the given types, one after the other in a workspace."""
    arrays, offset = [], 0
    for t in types:
        if workspace is None:
            arrays.append(np.empty(t.shape, t.dtype.storage))
            continue
        arrays.append(workspace[offset : offset + t.nbytes].view(t.dtype.storage).reshape(t.shape))
        offset += aligned(t.nbytes)
    return arrays


class Dense:
    """Row-major copies of those operands that do not lie so: what they need, and the arrays when binding."""

    def __init__(self, operands: Sequence[Operand]) -> None:
        self.strided = [not row_major(o) for o in operands]
        self.scratch = [o.type for o, strided in zip(operands, self.strided) if strided]

    def arrays(
        self, calls: list[Callable[[], Any]], inputs: Sequence[Any], scratch: Sequence[np.ndarray]
    ) -> list[np.ndarray]:
        """The inputs, or their copies in ``scratch``; calls that make these are added."""
        spare = iter(scratch)
        return [copied(calls, a, next(spare)) if strided else a for a, strided in zip(inputs, self.strided)]


def copied(calls: list[Callable[[], Any]], source: np.ndarray, memory: np.ndarray) -> np.ndarray:
    """``memory``, with a call added that copies ``source`` there."""
    calls.append(partial(np.copyto, memory, source))
    return memory
