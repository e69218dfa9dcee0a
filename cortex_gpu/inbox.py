"""What the host writes for the steps of a program, on its way to the device."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from cortex_compute.types import TensorType
from cortex_gpu.device import CudaBuffer, CudaDevice, CudaStream, told
from cortex_gpu.memory import offsets

FEWEST, MOST = 4, 64  # slots: so many steps may be under way before the host waits
ROOM = 1 << 22  # bytes for all slots, where they are small
ASIDE = 1 << 18  # bytes from which the way to the device is worth a stream of its own


class Slot:
    """The inputs of one step: page-locked memory of the host, and the event after which it is free again.

    ``aside``: memory of the device in which large inputs arrive while the step before still computes.
    """

    def __init__(self, types: Mapping[str, TensorType], starts: list[int], nbytes: int) -> None:
        from cupy.cuda import Event, alloc_pinned_memory

        memory = np.frombuffer(alloc_pinned_memory(nbytes), np.uint8, nbytes)
        memory.fill(0)
        self.address: int = memory.ctypes.data
        self.arrays = {
            name: memory[at : at + t.nbytes].view(t.dtype.storage).reshape(t.shape)
            for (name, t), at in zip(types.items(), starts)
        }
        self.sent = Event(disable_timing=True)
        self.taken = Event(disable_timing=True)
        self.pending = False
        self.aside: CudaBuffer | None = None


class CudaInbox:
    """The inputs of a program in one piece of memory, and a ring of slots that the host writes.

    One transfer brings everything that a step reads.  The host waits only where it is more steps ahead than
    the ring has slots.
    """

    def __init__(self, device: CudaDevice, types: Mapping[str, TensorType]) -> None:
        starts, total = offsets(t.nbytes for t in types.values())
        self._nbytes = max(1, total)
        self._buffer = device.empty(self._nbytes)
        self.buffers = {n: self._buffer.part(at, t.nbytes) for (n, t), at in zip(types.items(), starts)}
        count = max(FEWEST, min(MOST, ROOM // self._nbytes))
        with device.raw, told("pinned memory"):
            self._slots = [Slot(types, starts, self._nbytes) for _ in range(count)]
        self._aside = device.stream() if self._nbytes >= ASIDE else None
        if self._aside is not None:
            for slot in self._slots:
                slot.aside = device.empty(self._nbytes)
        self._written: set[str] = set()
        self._at = 0

    def write(self, stream: CudaStream, name: str, value: Any) -> None:
        """Takes the numbers of one input; the caller may change them afterwards."""
        slot = self._slots[self._at]
        if slot.pending:
            with told("a step failed"):
                slot.sent.synchronize()  # what was in this slot has left it
            slot.pending = False
        np.copyto(slot.arrays[name], value, "same_kind")
        self._written.add(name)

    def send(self, stream: CudaStream) -> None:
        """Brings what was written to the device, in the order of the stream; the rest stays what it was."""
        if not self._written:
            return
        slot, before = self._slots[self._at], self._slots[self._at - 1]
        for name in slot.arrays.keys() - self._written:
            np.copyto(slot.arrays[name], before.arrays[name])
        with told("a copy"):
            if self._aside is None or slot.aside is None:
                stream.transfer(self._buffer.memory.ptr, slot.address, self._nbytes)
                slot.sent.record(stream.raw)
            else:
                self._send_aside(stream, slot, slot.aside, self._aside)
        slot.pending = True
        self._at = (self._at + 1) % len(self._slots)
        self._written.clear()

    def _send_aside(self, stream: CudaStream, slot: Slot, aside: CudaBuffer, way: CudaStream) -> None:
        """By a stream that the step before does not hold up, and from there inside the device."""
        way.raw.wait_event(slot.taken)
        way.transfer(aside.memory.ptr, slot.address, self._nbytes)
        slot.sent.record(way.raw)
        stream.raw.wait_event(slot.sent)
        stream.transfer(self._buffer.memory.ptr, aside.memory.ptr, self._nbytes)
        slot.taken.record(stream.raw)
