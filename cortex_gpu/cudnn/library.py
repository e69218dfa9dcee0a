"""libcudnn, through its C API: where it lies, the functions that are used, and what their status means.

Signatures are those of cuDNN 9.28's headers; within one major version they stay.
"""

from __future__ import annotations

import atexit
import ctypes
import os
import sys
import threading
from collections.abc import Callable, Iterator
from ctypes import POINTER, byref, c_double, c_float, c_int, c_int32, c_size_t, c_uint, c_ulonglong, c_void_p
from functools import cache
from pathlib import Path
from typing import Any

from cortex_compute.errors import AskedForError, BackendError

VARIABLE = "CORTEX_CUDNN_LIBRARY"
SYSTEM = "libcudnn.so.9"
WHEELS = "nvidia-cudnn-cu12 (for CUDA 12) or nvidia-cudnn-cu13 (for CUDA 13)"
MAJOR = 9

Handle = c_void_p
Desc = c_void_p
Address = c_void_p
Ints = POINTER(c_int)


class Performance(ctypes.Structure):
    """``cudnnConvolution*AlgoPerf_t``: an algorithm, as the library judges it for one convolution."""

    _fields_ = (
        ("algorithm", c_int), ("status", c_int), ("milliseconds", c_float), ("nbytes", c_size_t),
        ("determinism", c_int), ("math", c_int), ("reserved", c_int * 3),
    )  # fmt: skip


_FOUND = [c_int, Ints, POINTER(Performance)]  # how many are asked for, how many there are, and which
_AT = [Desc, Address]  # an array
_RNN_DATA = [Desc, c_int, c_int, c_int, c_int, c_int, Ints, c_void_p]
PROTOTYPES: dict[str, list[Any]] = {
    "Create": [POINTER(Handle)],
    "Destroy": [Handle],
    "SetStream": [Handle, c_void_p],
    # Descriptions.
    **{f"Create{kind}Descriptor": [POINTER(Desc)] for kind in
       ("Tensor", "Filter", "Convolution", "Pooling", "Activation", "LRN", "Dropout", "RNN", "RNNData")},
    **{f"Destroy{kind}Descriptor": [Desc] for kind in
       ("Tensor", "Filter", "Convolution", "Pooling", "Activation", "LRN", "Dropout", "RNN", "RNNData")},
    "SetTensorNdDescriptor": [Desc, c_int, c_int, Ints, Ints],
    "GetTensorNdDescriptor": [Desc, c_int, Ints, Ints, Ints, Ints],
    "SetFilterNdDescriptor": [Desc, c_int, c_int, c_int, Ints],
    "SetConvolutionNdDescriptor": [Desc, c_int, Ints, Ints, Ints, c_int, c_int],
    "SetConvolutionMathType": [Desc, c_int],
    "SetConvolutionGroupCount": [Desc, c_int],
    "SetPoolingNdDescriptor": [Desc, c_int, c_int, c_int, Ints, Ints, Ints],
    "SetActivationDescriptor": [Desc, c_int, c_int, c_double],
    "SetLRNDescriptor": [Desc, c_uint, c_double, c_double, c_double],
    "SetDropoutDescriptor": [Desc, Handle, c_float, Address, c_size_t, c_ulonglong],
    "SetRNNDescriptor_v8": [Desc, *[c_int] * 8, *[c_int32] * 4, Desc, c_uint],
    "SetRNNDataDescriptor": _RNN_DATA,
    # Convolution: for each of the three what there is, what it would need, and the work itself.
    **{f"GetConvolution{way}Algorithm_v7": [Handle, *[Desc] * 4, *_FOUND]
       for way in ("Forward", "BackwardData", "BackwardFilter")},
    **{f"GetConvolution{way}WorkspaceSize": [Handle, *[Desc] * 4, c_int, POINTER(c_size_t)]
       for way in ("Forward", "BackwardData", "BackwardFilter")},
    **{f"Convolution{way}": [Handle, c_void_p, *_AT, *_AT, Desc, c_int, Address, c_size_t, c_void_p, *_AT]
       for way in ("Forward", "BackwardData", "BackwardFilter")},
    # The others.
    "PoolingForward": [Handle, Desc, c_void_p, *_AT, c_void_p, *_AT],
    "PoolingBackward": [Handle, Desc, c_void_p, *_AT * 3, c_void_p, *_AT],
    "SoftmaxForward": [Handle, c_int, c_int, c_void_p, *_AT, c_void_p, *_AT],
    "SoftmaxBackward": [Handle, c_int, c_int, c_void_p, *_AT * 2, c_void_p, *_AT],
    "ActivationForward": [Handle, Desc, c_void_p, *_AT, c_void_p, *_AT],
    "ActivationBackward": [Handle, Desc, c_void_p, *_AT * 3, c_void_p, *_AT],
    "LRNCrossChannelForward": [Handle, Desc, c_int, c_void_p, *_AT, c_void_p, *_AT],
    "LRNCrossChannelBackward": [Handle, Desc, c_int, c_void_p, *_AT * 3, c_void_p, *_AT],
    "BatchNormalizationForwardInference": [
        Handle, c_int, c_void_p, c_void_p, *_AT * 2, Desc, *[Address] * 4, c_double,
    ],
    "BatchNormalizationForwardTraining": [
        Handle, c_int, c_void_p, c_void_p, *_AT * 2, Desc, *[Address] * 2, c_double, *[Address] * 2,
        c_double, *[Address] * 2,
    ],
    "BatchNormalizationBackward": [
        Handle, c_int, *[c_void_p] * 4, *_AT * 3, Desc, *[Address] * 3, c_double, *[Address] * 2,
    ],
    # Recurrence.
    "GetRNNWeightSpaceSize": [Handle, Desc, POINTER(c_size_t)],
    "GetRNNTempSpaceSizes": [Handle, Desc, c_int, Desc, POINTER(c_size_t), POINTER(c_size_t)],
    "GetRNNWeightParams": [
        Handle, Desc, c_int32, c_size_t, Address, c_int32, Desc, POINTER(c_void_p), Desc, POINTER(c_void_p),
    ],
    "RNNForward": [
        Handle, Desc, c_int, Address, *_AT, *_AT, Desc, *[Address] * 2, Desc, *[Address] * 2,
        *[c_size_t, Address] * 3,
    ],
    "RNNBackwardData_v8": [
        Handle, Desc, Address, Desc, *[Address] * 2, *_AT, Desc, *[Address] * 3, Desc, *[Address] * 3,
        *[c_size_t, Address] * 3,
    ],
    "RNNBackwardWeights_v8": [
        Handle, Desc, c_int, Address, *_AT, *_AT, *_AT, *[c_size_t, Address] * 3,
    ],
}  # fmt: skip

JUDGES = tuple(f"GetConvolution{way}Algorithm_v7" for way in ("Forward", "BackwardData", "BackwardFilter"))
"""Functions that are asked what there is: to them a bad parameter (status 2xxx) is one that cuDNN lacks."""


class UnsupportedError(BackendError):
    """cuDNN has no kernel for what is asked (status 3xxx)."""


class Library:
    """A loaded libcudnn.

    ``c`` has the functions, as `ctypes.CDLL` does.  `call` turns a status into an error; `launcher` makes a
    call that can be repeated on the handle of the thread.
    """

    def __init__(self, c: Any, path: str) -> None:
        self.c, self.path = c, path
        try:
            self._declare()
        except AttributeError as error:
            raise BackendError(f"{path} is no usable cuDNN library: {error}") from error
        self._thread = _Thread()
        self._handles: dict[int, list[Handle]] = {}  # of each device, those that no thread has
        self._all: list[Handle] = []
        atexit.register(self.close)

    def _declare(self) -> None:
        self.c.cudnnGetVersion.restype = self.c.cudnnGetCudartVersion.restype = c_size_t
        version = int(self.c.cudnnGetVersion())
        unit = 10000 if version >= 10000 * MAJOR else 1000  # until 8.9 a major version counted 1000
        self.version = version // unit, version % unit // 100, version % 100
        self.cuda = int(self.c.cudnnGetCudartVersion()) // 1000
        if self.version[0] != MAJOR:
            told = f"{self.path} is cuDNN {'.'.join(map(str, self.version))}"
            raise BackendError(f"{told}; needs {MAJOR}: install the wheel {WHEELS}")
        self.c.cudnnGetErrorString.restype = ctypes.c_char_p
        self.c.cudnnGetLastErrorString.argtypes = [ctypes.c_char_p, c_size_t]
        self.c.cudnnGetLastErrorString.restype = None
        for name, arguments in PROTOTYPES.items():
            getattr(self.c, f"cudnn{name}").argtypes = arguments

    def call(self, name: str, *arguments: Any) -> None:
        """Calls ``cudnnNAME``; a status other than success is a `BackendError`."""
        status = getattr(self.c, f"cudnn{name}")(*arguments)
        if status:
            raise self.error(name, status)

    def error(self, name: str, status: int) -> BackendError:
        """What a status says, and what the library adds to it."""
        words = ctypes.create_string_buffer(1024)
        self.c.cudnnGetLastErrorString(words, len(words))
        told = words.value.decode(errors="replace").strip()
        called = self.c.cudnnGetErrorString(status).decode()
        lacking = status // 1000 == 3 or (status // 1000 == 2 and name in JUDGES)
        kind = UnsupportedError if lacking else BackendError
        return kind(f"cuDNN: cudnn{name}: {called} ({status}){': ' if told else ''}{told}")

    def launcher(self, name: str, *arguments: Any) -> Callable[[], None]:
        """A call of ``cudnnNAME`` with this thread's handle before ``arguments``, on the current stream."""
        function, handle = getattr(self.c, f"cudnn{name}"), self.handle

        def launch() -> None:
            status = function(handle(), *arguments)
            if status:
                raise self.error(name, status)

        return launch

    def device(self) -> int:
        """The number of the current device."""
        from cupy.cuda import runtime

        return int(runtime.getDevice())

    def handle(self) -> Handle:
        """This thread's handle on CuPy's current device, set to CuPy's current stream."""
        import cupy

        device, stream = self.device(), int(cupy.cuda.get_current_stream().ptr)
        lent = self._thread.lent.get(device)
        if lent is None:
            lent = self._thread.lent[device] = _Lent(self, device)
        if lent.stream != stream:
            self.call("SetStream", lent.handle, stream)
            lent.stream = stream
        return lent.handle

    def take(self, device: int) -> Handle:
        """A handle that no thread has, of the current device, whose number is ``device``."""
        free = self._handles.setdefault(device, [])
        try:
            return free.pop()
        except IndexError:
            handle = Handle()
            self.call("Create", byref(handle))
            self._all.append(handle)
            return handle

    def give_back(self, device: int, handle: Handle) -> None:
        """For another thread: destroying it would wait for the whole device."""
        self._handles[device].append(handle)

    def close(self) -> None:
        """Destroys all handles; at the end of the process."""
        while self._all:
            self.c.cudnnDestroy(self._all.pop())
        self._handles.clear()
        self._thread = _Thread()

    def __repr__(self) -> str:
        return f"cuDNN {'.'.join(map(str, self.version))} ({self.path})"


class _Thread(threading.local):
    """What a thread has: a handle of each device that it used."""

    def __init__(self) -> None:
        self.lent: dict[int, _Lent] = {}


class _Lent:
    """A handle that one thread has until it ends."""

    def __init__(self, library: Library, device: int) -> None:
        self.library, self.device, self.stream = library, device, -1
        self.handle = library.take(device)

    def __del__(self) -> None:
        if "handle" in self.__dict__ and self.device in self.library._handles:
            self.library.give_back(self.device, self.handle)


def candidates() -> Iterator[tuple[str, str]]:
    """Where a library may be, and how that place is called; the first one counts."""
    named = os.environ.get(VARIABLE)
    if named:
        yield str(Path(named).resolve()) if Path(named).exists() else named, f"{VARIABLE}={named}"
        return
    for folder in map(Path, sys.path):
        path = folder / "nvidia" / "cudnn" / "lib" / SYSTEM
        if path.is_file():
            yield str(path), "the wheel"
    yield SYSTEM, f"the system's {SYSTEM}"


@cache
def load() -> Library:
    """The library for the CUDA that CuPy is built for, loaded once.

    A `BackendError` lists where it was looked for, and why each place did not do.
    """
    found, major = [], _cuda()
    for path, place in candidates():
        try:
            library = Library(ctypes.CDLL(path), path)
            if library.cuda == (major or library.cuda):
                return library
            raise BackendError(f"{path} is for CUDA {library.cuda}, CuPy for CUDA {major}")
        except (OSError, BackendError) as error:
            if VARIABLE in os.environ:
                raise AskedForError(f"{place}: {error}; name another file, or unset it") from error
            found.append(f"{place}: {error}")
    raise BackendError(
        f"no cuDNN library: {'; '.join(found)}. Install the wheel {WHEELS}, or name a file in {VARIABLE}"
    )


def _cuda() -> int:
    """The major version of CUDA that CuPy is built for; 0 where there is no CuPy."""
    try:
        from cupy.cuda import runtime
    except ImportError:
        return 0
    return int(runtime.runtimeGetVersion()) // 1000
