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
from cortex_compute.protocol import Device, Event, Stream
from cortex_compute.types import TensorType, dtype


@frozen
class SegmentKey:
    """What the parameters of one segment have in common: how they are updated.  ``alone``: the only one."""

    trainable: bool = True
    multiplier: float = 1.0
    alone: str = ""

    def __str__(self) -> str:
        parts = [] if self.trainable else ["frozen"]
        parts += [] if self.multiplier == 1.0 else [f"x{self.multiplier:g}"]
        parts += [self.alone.replace("/", ":")] if self.alone else []  # behind / stands a moment
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

    def inbox(self, types: Mapping[str, TensorType]) -> Any:
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


class States(dict[str, Any]):
    """The memory of each state by name, and the device that all of it is on.

    Stores that share the states (forks) share this: ``version`` counts how often memory was exchanged,
    ``written`` is the end of the last run that changed states, ``read`` the ends of those since, by stream,
    that only read them.
    """

    def __init__(self, device: Device) -> None:
        super().__init__()
        self.device = device
        self.version = 0
        self.written: Event | None = None
        self.read: dict[int, Event] = {}
        self._stream: Any = None

    @property
    def stream(self) -> Any:
        """For the host's copies."""
        if self._stream is None:
            self._stream = self.device.stream()
        return self._stream

    def exchange(self, device: Device, memory: Mapping[str, Any]) -> None:
        """Takes other memory for states, all of it on ``device``."""
        self.update(memory)
        self.device, self._stream = device, None
        self.version += 1


class Store:
    """Named states in a device's memory.  Whoever writes holds ``lock``; ``last`` is the end of a run."""

    def __init__(self, device: Device) -> None:
        self.lock = threading.RLock()
        self.states = States(device)
        self.types: dict[str, TensorType] = {}
        self.slots: dict[str, ParameterSlot] = {}
        self.arena = Arena()
        self.last: Event | None = None
        self._changes: Counter[str] = Counter()  # of each state; shared with the forks

    @property
    def device(self) -> Device:
        """Where the states are."""
        return self.states.device

    @property
    def version(self) -> tuple[int, int]:
        """Changes when programs must be bound anew."""
        return self.arena.version, self.states.version

    def fork(self) -> Store:
        """The same states with another arena."""
        made = Store(self.device)
        made.states, made.types, made.slots = self.states, self.types, self.slots
        made._changes = self._changes
        return made

    def wait(self, stream: Stream, writes: bool) -> None:
        """Before a run: for the run before it in this arena, for who wrote the states, and, before a run that
        ``writes`` some, for who reads them."""
        states = self.states
        for event in (self.last, states.written, *(states.read.values() if writes else ())):
            if event is not None:
                stream.wait(event)

    def ran(self, stream: Stream, event: Event, writes: bool) -> None:
        """After a run, whose end is ``event``."""
        self.last = event
        if writes:
            self.states.written = event
            self.states.read.clear()
        else:
            self.states.read[id(stream)] = event

    def move(self, device: Device) -> None:
        """Brings all states to another device; programs are bound to the new memory when they run next."""
        if device is self.device:
            return
        if device.name == self.device.name:
            self.states.device = device
            return
        with self.lock:
            held = {n: self._on_host(memory.view(self.types[n])) for n, memory in self.states.items()}
            made = {n: device.empty(max(1, self.types[n].nbytes)) for n in held}
            stream = device.stream()
            for name, array in held.items():
                stream.copy(array, made[name].view(self.types[name]))
            stream.synchronize()
            self.states.exchange(device, made)
            self.arena.release()

    def _on_host(self, array: Any) -> np.ndarray:
        """The numbers of a state: the memory itself where that is the host's, else a copy."""
        self.settle()
        if isinstance(array, np.ndarray):
            return array
        made = np.empty(array.shape, array.dtype)
        self._copy(array, made)
        return made

    def _copy(self, source: Any, destination: Any) -> None:
        """Copies and waits."""
        if isinstance(source, np.ndarray) and isinstance(destination, np.ndarray):
            np.copyto(destination, source, "same_kind")
            return
        self.states.stream.copy(source, destination)
        self.states.stream.synchronize()

    def changes(self, names: Iterable[str]) -> int:
        """Counts the changes of these states."""
        return sum(map(self._changes.__getitem__, names))

    def changed(self, names: Iterable[str]) -> None:
        """Says that these states have new numbers."""
        self._changes.update(names)

    def settle(self) -> None:
        """Waits for the runs of programs; the host may read and write from here on."""
        last, written, read = self.last, self.states.written, list(self.states.read.values())
        self.last = self.states.written = None
        self.states.read.clear()
        for event in (last, written, *read):
            if event is not None:
                event.synchronize()

    def ensure(self, name: str, type: TensorType) -> Any:
        """The memory of a state, made and zeroed where it is new."""
        if name not in self.states:
            self.states[name] = self.device.empty(max(1, type.nbytes))
            self.types[name] = type
        elif self.types[name] != type:
            raise ShapeError(f"state {name} is {self.types[name]}, the program has {type}")
        return self.states[name]

    def drop(self, names: Iterable[str]) -> None:
        """Forgets states; a program that has them makes them anew."""
        self.settle()
        for name in set(names) & set(self.states):
            del self.states[name], self.types[name]
        self.states.version += 1

    def lend(self, name: str, array: np.ndarray) -> None:
        """Makes a row-major array the memory of a state; programs that use another one bind again."""
        self.states[name] = Borrowed(array)
        self.types[name] = TensorType(array.shape, dtype(array.dtype))
        self.states.version += 1

    def array(self, name: str, moment: str = "") -> np.ndarray:
        """A state, a parameter, or a parameter's ``moment``, after the last run; only to be read."""
        array = self._on_host(self._memory(name, moment))
        array.flags.writeable = False
        return array

    def _memory(self, name: str, moment: str) -> Any:
        self.settle()
        slot = self.slots.get(name)
        if slot is not None:
            offset = slot.offset * slot.type.dtype.itemsize
            segment = f"{slot.segment}/{moment}" if moment else str(slot.segment)
            memory = self.ensure(segment, self.types[str(slot.segment)])
            return memory.view(slot.type, offset)
        if name not in self.states:
            raise KeyError(name)
        return self.states[name].view(self.types[name])

    def write(self, name: str, value: Any, moment: str = "") -> None:
        """Copies numbers into a state, a parameter, or a parameter's moment; the shape must be right."""
        target = self._memory(name, moment)
        source = np.asarray(value)
        if source.shape != target.shape:
            raise CheckpointError(f"{name}: has shape {source.shape}, this network needs {target.shape}")
        with self.lock:
            self._copy(source, target)
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

    def __init__(self) -> None:
        self.nbytes = 0
        self.buffer: Any = None
        self.version = 0
        self._place = ""

    def reserve(self, device: Device, nbytes: int) -> None:
        """Makes it at least so large, on this device; programs that are bound to another one bind again."""
        if self.buffer is None or nbytes > self.nbytes or device.name != self._place:
            self.buffer = device.empty(max(1, nbytes))  # where memory is short, nothing has changed
            self.nbytes, self._place = nbytes, device.name
            self.version += 1

    def release(self) -> None:
        """Gives it back; programs bind again."""
        self.buffer, self.nbytes = None, 0
        self.version += 1
