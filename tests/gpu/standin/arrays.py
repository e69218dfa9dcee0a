"""cupy.ndarray and the few functions that make one."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.gpu.standin import runtime
from tests.gpu.standin.machine import MACHINE, Work
from tests.gpu.standin.memory import MemoryPointer, alloc, packed, reach, view
from tests.gpu.standin.streams import current_ptr


class Flags:
    def __init__(self, array: ndarray) -> None:
        like = np.lib.stride_tricks.as_strided(np.empty(1, array.dtype), array.shape, array.strides)
        self.c_contiguous, self.f_contiguous = like.flags.c_contiguous, like.flags.f_contiguous
        self.forc = self.c_contiguous or self.f_contiguous


class ndarray:
    """An array on the device.  It is none of NumPy's, and does not become one unasked."""

    def __init__(
        self,
        shape: Any,
        dtype: Any = float,
        memptr: MemoryPointer | None = None,
        strides: Any = None,
        order: str = "C",
    ) -> None:
        self.shape = (shape,) if isinstance(shape, int) else tuple(shape)
        self.dtype = np.dtype(dtype)
        self.itemsize = self.dtype.itemsize
        if strides is None:
            strides = packed(self.shape, self.itemsize)
        self.strides = tuple(strides)
        self.size = int(np.prod(self.shape, dtype=np.int64))
        self.nbytes = self.size * self.itemsize
        self.ndim = len(self.shape)
        self.data = alloc(self.nbytes) if memptr is None else memptr
        low, high = reach(self.shape, self.strides, self.itemsize)
        if high > low:
            MACHINE.inside(self.data.ptr + low, high - low)
        else:
            MACHINE.empty.add(self.data.ptr)

    @property
    def flags(self) -> Flags:
        return Flags(self)

    def __array__(self, *_: Any, **__: Any) -> None:
        raise TypeError("Implicit conversion to a NumPy array is not allowed. Please use `.get()`.")

    def __len__(self) -> int:
        return self.shape[0]

    def _view(self) -> np.ndarray:
        """The memory, which only deferred work may touch."""
        return view(self.data.ptr, self.shape, self.dtype, self.strides)

    def _blocks(self) -> list[Any]:
        found = MACHINE.device.find(self.data.ptr)
        return [] if found is None else [found]

    def _part(self, part: np.ndarray) -> ndarray:
        """The array over the memory that a NumPy view of this one shows."""
        offset = part.__array_interface__["data"][0] - self.data.ptr if part.size else 0
        return ndarray(part.shape, part.dtype, self.data + offset, part.strides)

    def __getitem__(self, key: Any) -> ndarray:
        keys = key if isinstance(key, tuple) else (key,)
        part = self._view()[keys if Ellipsis in keys else (*keys, ...)]
        if not np.may_share_memory(part, self._view()) and part.size:
            raise NotImplementedError("the stand-in takes only slices")
        return self._part(part)

    def __setitem__(self, key: Any, value: Any) -> None:
        copyto(self[key], value)

    def reshape(self, *shape: Any) -> ndarray:
        target = self._view().reshape(*shape)
        if self.size and not np.may_share_memory(target, self._view()):
            raise NotImplementedError("a reshape that copies")
        return self._part(target)

    def view(self, dtype: Any = None) -> ndarray:
        return self._part(self._view().view(dtype))

    def ravel(self) -> ndarray:
        return self.reshape(-1)

    def copy(self) -> ndarray:
        made = ndarray(self.shape, self.dtype)
        copyto(made, self)
        return made

    def fill(self, value: Any) -> None:
        target = self._view()
        MACHINE.enqueue(current_ptr(), Work(lambda: target.fill(value), self._blocks()))

    def set(self, arr: np.ndarray, stream: Any = None) -> None:
        """Asynchronous only on a given stream."""
        if type(arr) is not np.ndarray:
            raise TypeError("Only numpy.ndarray can be set to cupy.ndarray")
        if self.dtype != arr.dtype:
            raise TypeError(f"{arr.dtype} array cannot be set to {self.dtype} array")
        if self.shape != arr.shape:
            raise ValueError(f"Shape mismatch. Old shape: {self.shape}, new shape: {arr.shape}")
        if not self.flags.c_contiguous:
            raise RuntimeError("Cannot set to non-contiguous array")
        arr = np.ascontiguousarray(arr)
        source, kind = arr.ctypes.data, runtime.memcpyHostToDevice
        if stream is None:
            runtime.memcpy(self.data.ptr, source, self.nbytes, kind)
        else:
            runtime.memcpyAsync(self.data.ptr, source, self.nbytes, kind, stream.ptr)

    def get(
        self, stream: Any = None, order: str = "C", out: np.ndarray | None = None, blocking: bool = True
    ) -> np.ndarray:
        ptr = current_ptr() if stream is None else stream.ptr
        if out is None:
            out = np.empty(self.shape, self.dtype)
        elif type(out) is not np.ndarray:
            raise TypeError("Only numpy.ndarray can be obtained from cupy.ndarray")
        elif out.dtype != self.dtype or out.shape != self.shape:
            raise ValueError(f"{out.dtype}{out.shape} cannot be obtained from {self.dtype}{self.shape}")
        elif not out.flags.c_contiguous:
            raise RuntimeError("`out` cannot be specified when copying to non-contiguous ndarray")
        source = self
        if not self.flags.c_contiguous:
            source = ndarray(self.shape, self.dtype)
            copyto(source, self)
        runtime.memcpyAsync(out.ctypes.data, source.data.ptr, self.nbytes, runtime.memcpyDeviceToHost, ptr)
        if blocking:
            MACHINE.synchronize(ptr)
        return out


def copyto(dst: ndarray, src: Any) -> None:
    """A kernel that copies, on the current stream."""
    if isinstance(src, np.ndarray):
        raise TypeError("Unsupported type <class 'numpy.ndarray'>")
    target = dst._view()
    source = src._view() if isinstance(src, ndarray) else src
    blocks = [*dst._blocks(), *(src._blocks() if isinstance(src, ndarray) else [])]
    MACHINE.enqueue(current_ptr(), Work(lambda: np.copyto(target, source), blocks))


def empty(shape: Any, dtype: Any = float, order: str = "C") -> ndarray:
    return ndarray(shape, dtype)


def zeros(shape: Any, dtype: Any = float, order: str = "C") -> ndarray:
    made = ndarray(shape, dtype)
    made.fill(0)
    return made


def asarray(a: Any, dtype: Any = None) -> ndarray:
    if isinstance(a, ndarray):
        return a
    a = np.ascontiguousarray(a, dtype)
    made = ndarray(a.shape, a.dtype)
    if a.nbytes:
        runtime.memcpyAsync(made.data.ptr, a.ctypes.data, a.nbytes, runtime.memcpyHostToDevice, current_ptr())
    return made


def asnumpy(
    a: Any, stream: Any = None, order: str = "C", out: Any = None, *, blocking: bool = True
) -> np.ndarray:
    return a.get(stream, order, out, blocking) if isinstance(a, ndarray) else np.asarray(a)
