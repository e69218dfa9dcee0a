"""cupy.cuda.memory and pinned_memory: allocations, pools and pointers."""

from __future__ import annotations

import ctypes
from collections import defaultdict
from typing import Any

import numpy as np

from tests.gpu.standin.errors import OutOfMemoryError
from tests.gpu.standin.machine import ALIGNMENT, MACHINE, POISON, Block, Work
from tests.gpu.standin.runtime import memsetAsync
from tests.gpu.standin.streams import current_ptr


def view(
    address: int, shape: tuple[int, ...], dtype: Any, strides: tuple[int, ...] | None = None
) -> np.ndarray:
    """A NumPy array over memory at an address, for what plays a kernel; ``strides`` in bytes."""
    dtype = np.dtype(dtype)
    strides = packed(shape, dtype.itemsize) if strides is None else strides
    low, high = reach(shape, strides, dtype.itemsize)
    raw = (ctypes.c_char * (high - low)).from_address(address + low) if high > low else b""
    return np.ndarray(shape, dtype, raw, -low if high > low else 0, strides)


def packed(shape: tuple[int, ...], itemsize: int) -> tuple[int, ...]:
    """Row-major strides in bytes."""
    strides = [itemsize] * len(shape)
    for k in range(len(shape) - 1, 0, -1):
        strides[k - 1] = strides[k] * max(1, shape[k])
    return tuple(strides)


def reach(shape: tuple[int, ...], strides: tuple[int, ...], itemsize: int) -> tuple[int, int]:
    """The first byte of an array, and the one after its last, counted from its first element."""
    if 0 in shape:
        return 0, 0
    ends = [(n - 1) * s for n, s in zip(shape, strides)]
    return sum(min(0, e) for e in ends), sum(max(0, e) for e in ends) + itemsize


class BaseMemory:
    ptr: int
    size: int
    device_id = 0


class Memory(BaseMemory):
    """Device memory; freeing it poisons it, after the work that its stream has pending."""

    def __init__(self, size: int, pool: MemoryPool | None = None) -> None:
        MACHINE.present()
        with MACHINE.lock:
            MACHINE.outside_capture()
            self.size = size
            self._machine = MACHINE.device
            self._pool, self._stream = pool, current_ptr()
            self._room = -(-size // ALIGNMENT) * ALIGNMENT
            free = pool.free[self._stream, self._room] if pool else []
            if MACHINE.used + self._room > MACHINE.memory:
                raise OutOfMemoryError(self._room, MACHINE.used)
            self.block = (
                free.pop()
                if free
                else MACHINE.device.new(max(size, 1) if pool is None else max(1, self._room))
            )
            MACHINE.used += self._room
            MACHINE.allocations += 1
            self.ptr = self.block.address if size else 0

    def __del__(self) -> None:
        block = getattr(self, "block", None)
        if block is None or self._machine is not MACHINE.device:
            return
        with MACHINE.lock:
            MACHINE.used -= self._room
            work = Work(lambda: block.bytes.fill(POISON), (block,))
            if self._stream in MACHINE.queues:
                MACHINE.queues[self._stream].pending.append(work)
            else:
                work.run()
            if self._pool is not None:
                self._pool.free[self._stream, self._room].append(block)


class UnownedMemory(BaseMemory):
    def __init__(self, ptr: int, size: int, owner: Any, device_id: int = -1) -> None:
        self.ptr, self.size, self.owner = ptr, size, owner


class MemoryPointer:
    def __init__(self, mem: BaseMemory, offset: int) -> None:
        self.mem, self.ptr = mem, mem.ptr + offset
        self._offset = offset

    device_id = 0

    def __int__(self) -> int:
        return self.ptr

    def __add__(self, offset: int) -> MemoryPointer:
        return MemoryPointer(self.mem, self._offset + offset)

    def __sub__(self, offset: int) -> MemoryPointer:
        return MemoryPointer(self.mem, self._offset - offset)

    def memset_async(self, value: int, size: int, stream: Any = None) -> None:
        memsetAsync(self.ptr, value, size, current_ptr() if stream is None else stream.ptr)


class MemoryPool:
    """Freed memory is given out again on the stream on which it was allocated first."""

    def __init__(self, allocator: Any = None) -> None:
        self.free: defaultdict[tuple[int, int], list[Block]] = defaultdict(list)

    def malloc(self, size: int) -> MemoryPointer:
        return MemoryPointer(Memory(size, self), 0)

    def free_all_blocks(self, stream: Any = None) -> None:
        self.free.clear()

    def free_bytes(self) -> int:
        return sum(room * len(blocks) for (_, room), blocks in self.free.items())

    def used_bytes(self) -> int:
        return MACHINE.used

    def total_bytes(self) -> int:
        return self.used_bytes() + self.free_bytes()


POOL = MemoryPool()
_allocator: list[Any] = [None]


def get_default_memory_pool() -> MemoryPool:
    return POOL


def set_allocator(allocator: Any = None) -> None:
    _allocator[0] = allocator


def alloc(size: int) -> MemoryPointer:
    return (_allocator[0] or POOL.malloc)(size)


class PinnedMemory:
    def __init__(self, size: int) -> None:
        MACHINE.present()
        MACHINE.outside_capture()
        self.block = MACHINE.pinned.new(max(1, size))
        self.ptr, self.size = self.block.address, size

    def __del__(self) -> None:
        if hasattr(self, "block"):
            self.block.bytes.fill(POISON)  # CuPy's pool gives it out again at once


class PinnedMemoryPointer(ctypes.Array):  # for the buffer protocol, which Python 3.11 classes cannot offer
    _type_, _length_ = ctypes.c_ubyte, 0
    mem: PinnedMemory
    ptr: int

    def size(self) -> int:
        return self._length_


def alloc_pinned_memory(size: int) -> PinnedMemoryPointer:
    memory = PinnedMemory(size)
    kind = type("PinnedMemoryPointer", (PinnedMemoryPointer,), {"_length_": size, "_type_": ctypes.c_ubyte})
    pointer = kind.from_address(memory.ptr)
    pointer.mem, pointer.ptr = memory, memory.ptr
    return pointer


class PinnedMemoryPool:
    def __init__(self, allocator: Any = None) -> None:
        pass

    def malloc(self, size: int) -> PinnedMemoryPointer:
        return alloc_pinned_memory(size)

    def free_all_blocks(self) -> None:
        """Nothing is kept."""
