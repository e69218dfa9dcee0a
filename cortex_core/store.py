"""The parameter store: the memory of every state of a network, shared by all its programs.

Parameters lie in segments, one flat array for those that are updated alike; a `Slot` says where each one is.
Everything else that outlives a step (moments, running statistics, metric sums, the random key) is a state by
itself.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from cortex_compute.errors import CheckpointError, ShapeError
from cortex_compute.frozen import frozen
from cortex_compute.protocol import Device, Event
from cortex_compute.types import TensorType, dtype


@frozen
class SegmentKey:
    """What the parameters of one segment have in common: how they are updated."""

    trainable: bool = True
    multiplier: float = 1.0

    def __str__(self) -> str:
        parts = [] if self.trainable else ["frozen"]
        parts += [] if self.multiplier == 1.0 else [f"x{self.multiplier:g}"]
        return "segment(" + ", ".join(parts or ["plain"]) + ")"


@frozen
class ParameterSlot:
    """Where a parameter lies: in which segment, at which element."""

    name: str
    type: TensorType
    segment: SegmentKey
    offset: int


def lay_out(
    parameters: Iterable[tuple[str, TensorType, SegmentKey]],
) -> tuple[dict[str, ParameterSlot], dict[SegmentKey, int]]:
    """A slot for each parameter, one after the other, and the elements of each segment."""
    slots: dict[str, ParameterSlot] = {}
    sizes: dict[SegmentKey, int] = {}
    for name, type, segment in parameters:
        offset = sizes.get(segment, 0)
        slots[name] = ParameterSlot(name, type, segment, offset)
        sizes[segment] = offset + type.size
    return slots, sizes


class Nowhere:
    """A device without memory, for a network that is only counted and planned."""

    name = "nowhere"

    def memory(self) -> tuple[int, int]:
        return 0, 0

    def empty(self, nbytes: int) -> Any:
        return None

    def stream(self, worker: bool = False) -> Any:
        return None


class Borrowed:
    """A device's buffer over host memory that belongs to somebody else: a row-major array."""

    def __init__(self, array: np.ndarray) -> None:
        self._array = array
        self.nbytes = array.nbytes

    def view(self, type: TensorType, offset: int = 0, strides: tuple[int, ...] | None = None) -> np.ndarray:
        item = type.dtype.itemsize
        origin = self._array.reshape(-1)[offset // item :]
        if strides is None:
            return origin[: type.size].reshape(type.shape)
        return as_strided(origin, type.shape, tuple(s * item for s in strides))


class Store:
    """Named states in a device's memory.  Whoever writes holds ``lock``; ``last`` is the end of a run."""

    def __init__(self, device: Device) -> None:
        self.device = device
        self.lock = threading.RLock()
        self.states: dict[str, Any] = {}
        self.types: dict[str, TensorType] = {}
        self.slots: dict[str, ParameterSlot] = {}
        self.arena = Arena(device)
        self.last: Event | None = None
        self._changes: Counter[str] = Counter()  # of each state; shared with the forks

    def fork(self) -> Store:
        """The same states with another arena."""
        made = Store(self.device)
        made.states, made.types, made.slots = self.states, self.types, self.slots
        made._changes = self._changes
        return made

    def version(self, names: Iterable[str]) -> int:
        """Counts the changes of these states."""
        return sum(map(self._changes.__getitem__, names))

    def changed(self, names: Iterable[str]) -> None:
        """Says that these states have new numbers."""
        self._changes.update(names)

    def settle(self) -> None:
        """Waits for the last run of a program; the host may read and write from here on."""
        last, self.last = self.last, None
        if last is not None:
            last.synchronize()

    def ensure(self, name: str, type: TensorType) -> Any:
        """The memory of a state, made and zeroed where it is new."""
        if name not in self.states:
            self.states[name] = self.device.empty(max(1, type.nbytes))
            self.types[name] = type
        elif self.types[name] != type:
            raise ShapeError(f"state {name} is {self.types[name]}, the program has {type}")
        return self.states[name]

    def lend(self, name: str, array: np.ndarray) -> None:
        """Makes a row-major array the memory of a state; programs that use another one bind again."""
        self.states[name] = Borrowed(array)
        self.types[name] = TensorType(array.shape, dtype(array.dtype))
        self.arena.version += 1

    def array(self, name: str, moment: str = "") -> np.ndarray:
        """A state, a parameter, or a parameter's ``moment``, after the last run; only to be read."""
        array = self._memory(name, moment)
        array.flags.writeable = False
        return array

    def _memory(self, name: str, moment: str) -> np.ndarray:
        self.settle()
        slot = self.slots.get(name)
        if slot is not None:
            offset = slot.offset * slot.type.dtype.itemsize
            segment = f"{slot.segment}/{moment}" if moment else str(slot.segment)
            memory = self.ensure(segment, self.types[str(slot.segment)])
            view: np.ndarray = memory.view(slot.type, offset)
            return view
        if name not in self.states:
            raise KeyError(name)
        state: np.ndarray = self.states[name].view(self.types[name])
        return state

    def write(self, name: str, value: Any, moment: str = "") -> None:
        """Copies numbers into a state, a parameter, or a parameter's moment; the shape must be right."""
        target = self._memory(name, moment)
        source = np.asarray(value)
        if source.shape != target.shape:
            raise CheckpointError(f"{name}: has shape {source.shape}, this network needs {target.shape}")
        with self.lock:
            np.copyto(target, source, "same_kind")
            slot = self.slots.get(name)
            self.changed([name if slot is None else str(slot.segment)])

    def add_parameters(self, slots: Mapping[str, ParameterSlot], sizes: Mapping[SegmentKey, int]) -> None:
        """Makes the segments."""
        self.slots.update(slots)
        dtypes = {s.segment: s.type.dtype for s in slots.values()}
        for segment, size in sizes.items():
            self.ensure(str(segment), TensorType((size,), dtypes[segment]))

    @property
    def nbytes(self) -> int:
        """Bytes of all states."""
        return sum(t.nbytes for t in self.types.values())


class Arena:
    """The activation memory that the programs of one store take turns in; it grows to the largest."""

    def __init__(self, device: Device) -> None:
        self.device = device
        self.nbytes = 0
        self.buffer: Any = None
        self.version = 0

    def reserve(self, nbytes: int) -> None:
        """Makes it at least so large; programs that are bound to a smaller one bind again."""
        if self.buffer is None or nbytes > self.nbytes:
            self.buffer = self.device.empty(max(1, nbytes))  # where memory is short, nothing has changed
            self.nbytes = nbytes
            self.version += 1
