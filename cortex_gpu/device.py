"""A GPU's memory, streams and events, on CuPy.

Kernels are enqueued on CuPy's current stream, which `CudaStream.active` sets; nothing in a step waits.  What
the host writes for a step goes through pinned memory (`inbox.py`), what it reads comes back through pinned
memory (`CudaStream.fetch`).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import cache
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np

from cortex_compute.errors import BackendError, OutOfMemoryError
from cortex_compute.protocol import Event, Launch
from cortex_compute.types import TensorType, contiguous_strides

if TYPE_CHECKING:
    from cortex_gpu.inbox import CudaInbox

CAPTURE = threading.RLock()
"""Held by a capture, and by who waits for a whole device: CUDA refuses the one during the other."""


@cache
def cuda_errors() -> tuple[type[Exception], ...]:
    """What CuPy raises for a call that fails: of the runtime, and of the driver, which launches kernels."""
    from cupy.cuda import driver, runtime

    return runtime.CUDARuntimeError, driver.CUDADriverError


class told:
    """Inside, CUDA's errors become `BackendError`, with the words of the failing call."""

    __slots__ = ("what",)

    def __init__(self, what: str) -> None:
        self.what = what

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None and isinstance(error, cuda_errors()):
            raise BackendError(
                f"cupy: {self.what}: {error}. An error of a kernel ends all work of the process on the GPU: "
                "start it anew, with CUDA_LAUNCH_BLOCKING=1 to see which kernel fails"
            ) from error


class CudaDevice:
    """One GPU.  Its memory comes from a pool of its own, which keeps what is given back."""

    def __init__(self, index: int = 0) -> None:
        from cupy.cuda import Device, MemoryPool

        self.index, self.name = index, f"cuda:{index}"
        self.raw = Device(index)
        # Not CuPy's own, whose pieces may be anybody's as soon as they are free, in the order of one stream
        self.pool = MemoryPool()

    def memory(self) -> tuple[int, int]:
        with self.raw, told("memory"):
            free, total = self.raw.mem_info
            return int(free) + int(self.pool.free_bytes()), int(total)

    def empty(self, nbytes: int) -> CudaBuffer:
        return CudaBuffer(self, nbytes)

    def stream(self, worker: bool = False) -> CudaStream:
        return CudaStream(self)

    def inbox(self, types: Mapping[str, TensorType]) -> CudaInbox:
        from cortex_gpu.inbox import CudaInbox

        return CudaInbox(self, types)


class CudaBuffer:
    """A piece of a GPU's memory, zeroed."""

    def __init__(self, device: CudaDevice, nbytes: int) -> None:
        from cupy.cuda import Stream, runtime

        self.nbytes = nbytes
        with device.raw, told("memory"):
            self.memory = self._taken(device, max(1, nbytes))
            with CAPTURE:  # the piece may have been another's, whose last kernel is still running
                runtime.deviceSynchronize()
                self.memory.memset_async(0, max(1, nbytes), Stream.null)
                Stream.null.synchronize()  # streams here do not wait for the null stream by themselves

    @staticmethod
    def _taken(device: CudaDevice, nbytes: int) -> Any:
        from cupy.cuda.memory import OutOfMemoryError as Exhausted

        with suppress(Exhausted):
            return device.pool.malloc(nbytes)
        device.pool.free_all_blocks()
        try:
            return device.pool.malloc(nbytes)
        except Exhausted as error:
            raise OutOfMemoryError(device.name, nbytes, *device.memory()) from error

    def part(self, start: int, nbytes: int) -> CudaBuffer:
        """A piece of this piece."""
        made = object.__new__(CudaBuffer)
        made.memory, made.nbytes = self.memory + start, nbytes
        return made

    def view(self, type: TensorType, offset: int = 0, strides: tuple[int, ...] | None = None) -> Any:
        """An array over this memory; ``offset`` in bytes, ``strides`` in elements (None: row-major)."""
        import cupy

        item = type.dtype.itemsize
        given = contiguous_strides(type.shape) if strides is None else strides
        return cupy.ndarray(
            type.shape, type.dtype.storage, self.memory + offset, strides=tuple(s * item for s in given)
        )


class CudaEvent:
    """A point in a stream's order."""

    def __init__(self, raw: Any, stream: CudaStream) -> None:
        self.raw, self.stream = raw, stream

    def synchronize(self) -> None:
        with told("a step failed"):
            self.raw.synchronize()


class Tail:
    """Wherever the end of a stream is when somebody waits for it."""

    def __init__(self, stream: CudaStream) -> None:
        self.stream = stream

    def synchronize(self) -> None:
        self.stream.synchronize()


class CudaStream:
    """An order of work on one GPU; it does not wait for other streams, nor they for it."""

    def __init__(self, device: CudaDevice) -> None:
        from cupy.cuda import PinnedMemoryPool, Stream

        self.device = device
        with device.raw, told("a stream"):
            self.raw = Stream(non_blocking=True)
        # Of its own: memory that comes back while a copy into it is pending is next written by this stream
        self._pinned = PinnedMemoryPool()

    def active(self) -> Active:
        """Makes the device and the stream CuPy's current ones; CUDA's errors inside become `BackendError`."""
        return Active(self.device.raw, self.raw)

    def launch(self, call: Callable[[], None]) -> None:
        call()

    def copy(self, source: Any, destination: Any) -> None:
        """Copies between the host and the device, or inside one of them, whichever way the arrays lie.

        The host's source may be changed when this returns; a host's destination is filled by then.
        """
        with self.active():
            if isinstance(source, np.ndarray):
                if isinstance(destination, np.ndarray):
                    self.raw.synchronize()
                    np.copyto(destination, source)
                else:
                    self._upload(source, destination)
            elif isinstance(destination, np.ndarray):
                self._download(source, destination)
            else:
                destination[...] = source

    def _upload(self, source: np.ndarray, destination: Any) -> None:
        import cupy

        dense = np.empty(destination.shape, destination.dtype)
        np.copyto(dense, source, "same_kind")
        if destination.flags.c_contiguous:
            self.transfer(destination.data.ptr, dense.ctypes.data, dense.nbytes)
        elif destination.size:
            between = cupy.empty(dense.shape, dense.dtype)
            self.transfer(between.data.ptr, dense.ctypes.data, dense.nbytes)
            destination[...] = between
        self.raw.synchronize()  # CUDA stages most pageable memory, but promises it of none

    def _download(self, source: Any, destination: np.ndarray) -> None:
        dense = source if source.flags.c_contiguous else source.copy()
        whole = destination.flags.c_contiguous and destination.dtype == dense.dtype
        target = destination if whole else np.empty(dense.shape, dense.dtype)
        self.transfer(target.ctypes.data, dense.data.ptr, dense.nbytes)
        self.raw.synchronize()
        if not whole:
            np.copyto(destination, target)

    def transfer(self, destination: int, source: int, nbytes: int) -> None:
        """Enqueues a copy between addresses, of the device or the host."""
        from cupy.cuda import runtime

        if nbytes:
            runtime.memcpyAsync(destination, source, nbytes, runtime.memcpyDefault, self.raw.ptr)

    def fetch(self, array: Any) -> np.ndarray:
        """A copy on the host, in pinned memory; filled when an event that is recorded later has come."""
        with self.active():
            dense = array if array.flags.c_contiguous else array.copy()
            memory = self._pinned.malloc(max(1, dense.nbytes))
            made = np.frombuffer(memory, dense.dtype, dense.size).reshape(dense.shape)
            self.transfer(made.ctypes.data, dense.data.ptr, dense.nbytes)
            return made

    def record(self) -> CudaEvent:
        from cupy.cuda import Event as Raw

        with self.device.raw, told("an event"):
            event = Raw(disable_timing=True)
            event.record(self.raw)
            return CudaEvent(event, self)

    def tail(self) -> Tail:
        return Tail(self)

    def wait(self, event: Event) -> None:
        if not isinstance(event, (CudaEvent, Tail)):
            event.synchronize()
        elif event.stream is not self:  # whose work is in order anyway
            found = event.stream.record() if isinstance(event, Tail) else event
            with told("an event"):
                self.raw.wait_event(found.raw)

    def synchronize(self) -> None:
        with told("a kernel failed"):
            self.raw.synchronize()

    def joined(self, calls: Sequence[Launch]) -> Launch:
        """The launches as one: captured here into a CUDA graph, which is launched from then on.

        Kernels must have run once before, so that all code is loaded.
        """
        with self.active(), CAPTURE:
            self.raw.begin_capture()
            try:
                for call in calls:
                    call(self)
            except BaseException:
                with suppress(*cuda_errors()):  # what it says of a broken capture is not the cause
                    self.raw.end_capture()
                raise
            graph = self.raw.end_capture()

        def launch(stream: Any) -> None:
            graph.launch(stream.raw)

        return launch

    def close(self) -> None:
        self.synchronize()


class Active(told):
    """A device and a stream as CuPy's current ones."""

    __slots__ = ("device", "stream")

    def __init__(self, device: Any, stream: Any) -> None:
        super().__init__("work on the GPU failed")
        self.device, self.stream = device, stream

    def __enter__(self) -> None:
        self.device.__enter__()
        self.stream.__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stream.__exit__(kind, error, trace)
        self.device.__exit__(kind, error, trace)
        super().__exit__(kind, error, trace)
