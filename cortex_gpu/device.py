"""A GPU's memory, streams and events, on CuPy.

Kernels are enqueued on CuPy's current stream, which `CudaStream.active` sets; nothing in a step waits.  What
the host writes for a step goes through pinned memory (`CudaInbox`), what it reads comes back through pinned
memory (`CudaStream.fetch`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Any

import numpy as np

from cortex_compute.errors import BackendError, OutOfMemoryError
from cortex_compute.protocol import Event, Launch
from cortex_compute.types import TensorType, contiguous_strides
from cortex_gpu.memory import offsets

FEWEST, MOST = 4, 64  # slots of an inbox: so many steps may be under way before the host waits
ROOM = 1 << 22  # bytes for the slots of one inbox, where they are small


@contextmanager
def told(what: str) -> Iterator[None]:
    """CUDA's errors as `BackendError`, with the words of the failing call."""
    from cupy.cuda import runtime

    try:
        yield
    except runtime.CUDARuntimeError as error:
        raise BackendError(
            f"cupy: {what}: {error}. An error of a kernel ends all work of the process on the GPU: start it "
            "anew, with CUDA_LAUNCH_BLOCKING=1 to see which kernel fails"
        ) from error


class CudaDevice:
    """One GPU.  Memory comes from CuPy's pool, which keeps what is given back."""

    def __init__(self, index: int = 0) -> None:
        from cupy.cuda import Device

        self.index, self.name = index, f"cuda:{index}"
        self.raw = Device(index)

    def memory(self) -> tuple[int, int]:
        from cupy import get_default_memory_pool

        with self.raw:
            free, total = self.raw.mem_info
            return int(free) + int(get_default_memory_pool().free_bytes()), int(total)

    def empty(self, nbytes: int) -> CudaBuffer:
        return CudaBuffer(self, nbytes)

    def stream(self, worker: bool = False) -> CudaStream:
        return CudaStream(self)

    def inbox(self, types: Mapping[str, TensorType]) -> CudaInbox:
        return CudaInbox(self, types)


class CudaBuffer:
    """A piece of a GPU's memory, zeroed."""

    def __init__(self, device: CudaDevice, nbytes: int) -> None:
        from cupy import get_default_memory_pool
        from cupy.cuda import Stream, runtime
        from cupy.cuda.memory import OutOfMemoryError as Exhausted

        self.nbytes = nbytes
        with device.raw:
            pool = get_default_memory_pool()
            try:
                self.memory = pool.malloc(max(1, nbytes))
            except Exhausted:
                pool.free_all_blocks()
                try:
                    self.memory = pool.malloc(max(1, nbytes))
                except Exhausted as error:
                    raise OutOfMemoryError(device.name, nbytes, *device.memory()) from error
            with told("memory"):
                # The piece may have been another's, whose last kernel is still running on some stream
                runtime.deviceSynchronize()
                self.memory.memset_async(0, max(1, nbytes), Stream.null)
                Stream.null.synchronize()  # streams here do not wait for the null stream by themselves

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
        """Makes the device and the stream CuPy's current ones."""
        return Active(self.device.raw, self.raw)

    def launch(self, call: Callable[[], None]) -> None:
        call()

    def copy(self, source: Any, destination: Any) -> None:
        """Copies between the host and the device, or inside one of them, whichever way the arrays lie.

        The host's source may be changed when this returns; a host's destination is filled by then.
        """
        with self.active(), told("a copy"):
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

        dense = np.ascontiguousarray(np.broadcast_to(source, destination.shape), destination.dtype)
        if destination.flags.c_contiguous:
            self._transfer(destination.data.ptr, dense.ctypes.data, dense.nbytes, up=True)
        elif destination.size:
            between = cupy.empty(dense.shape, dense.dtype)
            self._transfer(between.data.ptr, dense.ctypes.data, dense.nbytes, up=True)
            destination[...] = between
        self.raw.synchronize()  # CUDA stages most pageable memory, but promises it of none

    def _download(self, source: Any, destination: np.ndarray) -> None:
        dense = source if source.flags.c_contiguous else source.copy()
        whole = destination.flags.c_contiguous and destination.dtype == dense.dtype
        target = destination if whole else np.empty(dense.shape, dense.dtype)
        self._transfer(target.ctypes.data, dense.data.ptr, dense.nbytes, up=False)
        self.raw.synchronize()
        if not whole:
            np.copyto(destination, target)

    def _transfer(self, destination: int, source: int, nbytes: int, up: bool) -> None:
        from cupy.cuda import runtime

        kind = runtime.memcpyHostToDevice if up else runtime.memcpyDeviceToHost
        if nbytes:
            runtime.memcpyAsync(destination, source, nbytes, kind, self.raw.ptr)

    def fetch(self, array: Any) -> np.ndarray:
        """A copy on the host, in pinned memory; filled when an event that is recorded later has come."""
        with self.active(), told("a copy"):
            dense = array if array.flags.c_contiguous else array.copy()
            memory = self._pinned.malloc(max(1, dense.nbytes))
            made = np.frombuffer(memory, dense.dtype, dense.size).reshape(dense.shape)
            self._transfer(made.ctypes.data, dense.data.ptr, dense.nbytes, up=False)
            return made

    def record(self) -> CudaEvent:
        from cupy.cuda import Event as Raw

        with self.device.raw, told("an event"):
            event = Raw(disable_timing=True)
            event.record(self.raw)
            return CudaEvent(event, self)

    def wait(self, event: Event) -> None:
        if not isinstance(event, CudaEvent):
            event.synchronize()
        elif event.stream is not self:  # whose work is in order anyway
            self.raw.wait_event(event.raw)

    def synchronize(self) -> None:
        with told("a kernel failed"):
            self.raw.synchronize()

    def joined(self, calls: Sequence[Launch]) -> Launch:
        """The launches as one: captured here into a CUDA graph, which is launched from then on.

        Kernels must have run once before, so that all code is loaded.
        """
        with self.active():
            self.raw.begin_capture()
            try:
                for call in calls:
                    call(self)
            except BaseException:
                self._abandon()
                raise
            with told("the capture of a step"):
                graph = self.raw.end_capture()

        def launch(stream: Any) -> None:
            graph.launch(stream.raw)

        return launch

    def _abandon(self) -> None:
        """Ends a capture that failed; what it says of the failure is not the cause."""
        from cupy.cuda import runtime

        with suppress(runtime.CUDARuntimeError):
            self.raw.end_capture()

    def close(self) -> None:
        self.synchronize()


class Active:
    """A device and a stream as CuPy's current ones."""

    __slots__ = ("device", "stream")

    def __init__(self, device: Any, stream: Any) -> None:
        self.device, self.stream = device, stream

    def __enter__(self) -> None:
        self.device.__enter__()
        self.stream.__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stream.__exit__(kind, error, trace)
        self.device.__exit__(kind, error, trace)


class CudaInbox:
    """The inputs of a program in one piece of memory, and a ring of pinned copies that the host writes.

    One transfer brings everything that a step reads.  The host waits only where it is more steps ahead than
    the ring has slots.
    """

    def __init__(self, device: CudaDevice, types: Mapping[str, TensorType]) -> None:
        from cupy.cuda import alloc_pinned_memory

        self._starts, total = offsets(t.nbytes for t in types.values())
        self._types, self._nbytes = types, max(1, total)
        self._buffer = device.empty(self._nbytes)
        self.buffers = {n: self._buffer.part(at, t.nbytes) for (n, t), at in zip(types.items(), self._starts)}
        with device.raw:
            count = max(FEWEST, min(MOST, ROOM // self._nbytes))
            self._slots = [self._slot(alloc_pinned_memory(self._nbytes)) for _ in range(count)]
        self._sent: list[CudaEvent | None] = [None] * count
        self._written: set[str] = set()
        self._at = 0

    def _slot(self, pinned: Any) -> tuple[int, dict[str, np.ndarray]]:
        """The address of a pinned copy, and its arrays."""
        memory = np.frombuffer(pinned, np.uint8, self._nbytes)
        memory.fill(0)
        arrays = {}
        for (name, t), at in zip(self._types.items(), self._starts):
            arrays[name] = memory[at : at + t.nbytes].view(t.dtype.storage).reshape(t.shape)
        return memory.ctypes.data, arrays

    def write(self, stream: CudaStream, name: str, value: Any) -> None:
        """Takes the numbers of one input; the caller may change them afterwards."""
        sent = self._sent[self._at]
        if sent is not None:
            sent.synchronize()  # what was in this slot has left it
            self._sent[self._at] = None
        self._slots[self._at][1][name][...] = value
        self._written.add(name)

    def send(self, stream: CudaStream) -> None:
        """Brings what was written to the device, in the order of the stream; the rest stays what it was."""
        if not self._written:
            return
        address, arrays = self._slots[self._at]
        before = self._slots[self._at - 1][1]
        for name in self._types.keys() - self._written:
            arrays[name][...] = before[name]
        with told("a copy"):
            stream._transfer(self._buffer.memory.ptr, address, self._nbytes, up=True)
        self._sent[self._at] = stream.record()
        self._at = (self._at + 1) % len(self._slots)
        self._written.clear()
