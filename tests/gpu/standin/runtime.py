"""cupy.cuda.runtime: copies, fills, and facts of the machine."""

from __future__ import annotations

import ctypes
from typing import Any

from tests.gpu.standin.errors import (
    CAPTURE_UNSUPPORTED,
    INVALID,
    INVALID_DEVICE,
    CUDARuntimeError,
)  # fmt: skip
from tests.gpu.standin.machine import MACHINE, Block, Work

__all__ = [
    "CUDARuntimeError", "deviceSynchronize", "driverGetVersion", "getDevice", "getDeviceCount",
    "getDeviceProperties", "memGetInfo", "memcpy", "memcpyAsync", "memcpyDefault", "memcpyDeviceToDevice",
    "memcpyDeviceToHost", "memcpyHostToDevice", "memcpyHostToHost", "memset", "memsetAsync",
    "runtimeGetVersion", "setDevice", "streamSynchronize",
]  # fmt: skip
is_hip = False
memcpyHostToHost, memcpyHostToDevice, memcpyDeviceToHost, memcpyDeviceToDevice, memcpyDefault = range(5)


def memcpyAsync(dst: int, src: int, size: int, kind: int, stream: int) -> None:
    """Copies from pageable memory take the bytes at once; copies to it wait; all others are deferred."""
    if not size:
        return
    blocks, source, waits = _ends(dst, src, size, kind)
    queue = MACHINE.queue(stream)
    if queue.captured is not None and (waits or source is not None):
        queue.valid = False
        raise CUDARuntimeError(CAPTURE_UNSUPPORTED, "a copy from or to memory that is not pinned")

    def copy() -> None:
        ctypes.memmove(dst, src if source is None else source, size)

    MACHINE.enqueue(stream, Work(copy, blocks))
    if waits:
        MACHINE.synchronize(stream)


def memcpy(dst: int, src: int, size: int, kind: int) -> None:
    """A copy in the order of the legacy stream, which other streams do not keep to; then waits."""
    if size:
        memcpyAsync(dst, src, size, kind, 0)
        MACHINE.synchronize(0)


def _ends(dst: int, src: int, size: int, kind: int) -> tuple[list[Block], bytes | None, bool]:
    """The blocks that a copy touches, the bytes of a pageable source, and whether the host waits for it."""
    to_device = _on_device(dst, size, kind in (memcpyHostToDevice, memcpyDeviceToDevice), kind)
    from_device = _on_device(src, size, kind in (memcpyDeviceToHost, memcpyDeviceToDevice), kind)
    to_pinned, from_pinned = MACHINE.pinned.find(dst, size), MACHINE.pinned.find(src, size)
    blocks = [b for b in (to_device, from_device, to_pinned, from_pinned) if b is not None]
    staged = ctypes.string_at(src, size) if from_device is None and from_pinned is None else None
    return blocks, staged, to_device is None and to_pinned is None


def _on_device(address: int, size: int, said: bool, kind: int) -> Block | None:
    """The device memory at one end of a copy; an error where it lies on the other side than was said."""
    found = MACHINE.device.find(address, size)
    if kind != memcpyDefault and said != (found is not None):
        side = "the device's" if said else "the host's"
        raise CUDARuntimeError(INVALID, f"{size} bytes at {address:#x} are not {side} memory")
    return found


def memsetAsync(ptr: int, value: int, size: int, stream: int) -> None:
    if size:
        block = MACHINE.inside(ptr, size)
        MACHINE.enqueue(stream, Work(lambda: ctypes.memset(ptr, value, size) and None, (block,)))


def memset(ptr: int, value: int, size: int) -> None:
    memsetAsync(ptr, value, size, 0)


def deviceSynchronize() -> None:
    MACHINE.present()
    MACHINE.synchronize()


def streamSynchronize(stream: int) -> None:
    MACHINE.synchronize(stream)


def memGetInfo() -> tuple[int, int]:
    MACHINE.present()
    return MACHINE.memory - MACHINE.used, MACHINE.memory


def getDeviceCount() -> int:
    MACHINE.present()
    return MACHINE.count


def getDevice() -> int:
    MACHINE.present()
    return getattr(MACHINE.thread, "device", 0)


def setDevice(device: int) -> None:
    MACHINE.present()
    if not 0 <= device < MACHINE.count:
        raise CUDARuntimeError(INVALID_DEVICE)
    MACHINE.thread.device = device


def getDeviceProperties(device: int) -> dict[str, Any]:
    MACHINE.present()
    if not 0 <= device < MACHINE.count:
        raise CUDARuntimeError(INVALID_DEVICE)
    major, minor = MACHINE.capability
    return {
        "name": b"Stand-in for a GPU", "major": major, "minor": minor, "totalGlobalMem": MACHINE.memory,
        "multiProcessorCount": 8, "warpSize": 32, "maxThreadsPerBlock": 1024, "sharedMemPerBlock": 48 << 10,
    }  # fmt: skip


def driverGetVersion() -> int:
    return 0 if MACHINE.missing == "driver" else 12090


def runtimeGetVersion() -> int:
    return 12090
