"""libdnnl, through its C API: where it lies, the functions that are used, and what their status means.

Numbers and signatures are those of oneDNN 3.2's `dnnl.h` and `dnnl_types.h`; later 3.x keep them.
"""

from __future__ import annotations

import ctypes
import os
import platform
import sys
from collections.abc import Callable, Iterator
from ctypes import POINTER, byref, c_char_p, c_float, c_int, c_int64, c_size_t, c_uint, c_void_p
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias

from cortex_compute.errors import AskedForError, BackendError

SEQUENTIAL, OPENMP = 1, 2  # how oneDNN was built to use threads
VARIABLE = "CORTEX_ONEDNN_LIBRARY"
DISTRIBUTION = "onednn-cpu-gomp"
SYSTEM = "libdnnl.so.3"
OLDEST = (3, 2)

STATUS = {
    1: "out of memory",
    2: "invalid arguments",
    3: "not implemented",
    4: "no implementation is left",
    5: "a run-time error",
    6: "something else is required",
}

Desc: TypeAlias = c_void_p
Handle: TypeAlias = c_void_p
Dims = POINTER(c_int64)
PROTOTYPES: dict[str, list[Any]] = {
    "engine_create": [POINTER(Handle), c_int, c_size_t],
    "stream_create": [POINTER(Handle), Handle, c_uint],
    "memory_desc_create_with_strides": [POINTER(Desc), c_int, Dims, c_int, Dims],
    "memory_desc_create_with_tag": [POINTER(Desc), c_int, Dims, c_int, c_int],
    "memory_desc_clone": [POINTER(Desc), Desc],
    "memory_desc_equal": [Desc, Desc],
    "memory_desc_destroy": [Desc],
    "memory_create": [POINTER(Handle), Desc, Handle, c_void_p],
    "memory_set_data_handle": [Handle, c_void_p],
    "memory_destroy": [Handle],
    "post_ops_create": [POINTER(Handle)],
    "post_ops_append_eltwise": [Handle, c_int, c_float, c_float],
    "post_ops_append_binary": [Handle, c_int, Desc],
    "post_ops_append_prelu": [Handle, c_int],
    "post_ops_destroy": [Handle],
    "primitive_attr_create": [POINTER(Handle)],
    "primitive_attr_set_post_ops": [Handle, Handle],
    "primitive_attr_set_scratchpad_mode": [Handle, c_int],
    "primitive_attr_destroy": [Handle],
    "primitive_desc_query": [Handle, c_int, c_int, c_void_p],
    "primitive_desc_destroy": [Handle],
    "primitive_create": [POINTER(Handle), Handle],
    "primitive_execute": [Handle, Handle, c_int, c_void_p],
    "primitive_destroy": [Handle],
}
# What follows the pointer to the result and the engine, up to the attributes that end every signature.
_CONV = [Dims, Dims, Dims, Dims]
PRIMITIVES: dict[str, list[Any]] = {
    "convolution_forward": [c_int, c_int, Desc, Desc, Desc, Desc, *_CONV],
    "convolution_backward_data": [c_int, Desc, Desc, Desc, *_CONV, Handle],
    "convolution_backward_weights": [c_int, Desc, Desc, Desc, Desc, *_CONV, Handle],
    "matmul": [Desc, Desc, Desc, Desc],
    "pooling_forward": [c_int, c_int, Desc, Desc, Dims, Dims, Dims, Dims, Dims],
    "pooling_backward": [c_int, Desc, Desc, Dims, Dims, Dims, Dims, Dims, Handle],
    "batch_normalization_forward": [c_int, Desc, Desc, c_float, c_uint],
    "batch_normalization_backward": [c_int, Desc, Desc, Desc, c_float, c_uint, Handle],
    "layer_normalization_forward": [c_int, Desc, Desc, Desc, c_float, c_uint],
    "layer_normalization_backward": [c_int, Desc, Desc, Desc, Desc, c_float, c_uint, Handle],
    "softmax_forward": [c_int, c_int, Desc, Desc, c_int],
    "eltwise_forward": [c_int, c_int, Desc, Desc, c_float, c_float],
    "eltwise_backward": [c_int, Desc, Desc, Desc, c_float, c_float, Handle],
    "binary": [c_int, Desc, Desc, Desc],
    "reduction": [c_int, Desc, Desc, c_float, c_float],
    "lstm_forward": [c_int, c_int, *[Desc] * 11, c_uint],
    "lstm_backward": [c_int, c_int, *[Desc] * 22, c_uint, Handle],
}
for _name, _activation, _slopes in (
    ("vanilla_rnn", [c_int], [c_float, c_float]), ("gru", [], []), ("lbr_gru", [], []),
):  # fmt: skip
    PRIMITIVES[f"{_name}_forward"] = [c_int, *_activation, c_int, *[Desc] * 7, c_uint, *_slopes]
    PRIMITIVES[f"{_name}_backward"] = [c_int, *_activation, c_int, *[Desc] * 14, c_uint, *_slopes, Handle]


class Version(ctypes.Structure):
    """``dnnl_version_t``"""

    _fields_ = (
        ("major", c_int), ("minor", c_int), ("patch", c_int), ("hash", c_char_p),
        ("cpu_runtime", c_uint), ("gpu_runtime", c_uint),
    )  # fmt: skip


class Library:
    """A loaded libdnnl with its engine and stream.

    `call` turns a status into an error that names the function.  The stream has no state of its own (work on
    a CPU is done when a call returns), so all threads share it.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        _expect_whole(path)
        try:
            self.c = ctypes.CDLL(path)
            self._declare()
        except (OSError, AttributeError) as error:
            raise BackendError(f"{path} is no usable oneDNN library: {error}") from error
        self.engine, self.stream = Handle(), Handle()
        self.call("engine_create", byref(self.engine), 1, 0)
        self.call("stream_create", byref(self.stream), self.engine, 1)

    def _declare(self) -> None:
        self.c.dnnl_version.restype = POINTER(Version)
        self.version = self.c.dnnl_version().contents
        found = self.version.major, self.version.minor
        if not OLDEST <= found < (4, 0):
            told = f"{self.path} is oneDNN {found[0]}.{found[1]}"
            raise BackendError(f"{told}; needs {OLDEST[0]}.{OLDEST[1]} or a later 3.x")
        if self.version.cpu_runtime not in (SEQUENTIAL, OPENMP):
            raise BackendError(f"{self.path} was built for other threads than OpenMP's")
        for name, arguments in PROTOTYPES.items():
            getattr(self.c, f"dnnl_{name}").argtypes = arguments
        for name, arguments in PRIMITIVES.items():
            function = getattr(self.c, f"dnnl_{name}_primitive_desc_create")
            function.argtypes = [POINTER(Handle), Handle, *arguments, Handle]
        self.c.dnnl_reorder_primitive_desc_create.argtypes = [
            POINTER(Handle), Desc, Handle, Desc, Handle, Handle,
        ]  # fmt: skip
        self.c.dnnl_primitive_desc_query_md.argtypes = [Handle, c_int, c_int]
        self.c.dnnl_primitive_desc_query_md.restype = Desc
        self.c.dnnl_memory_desc_get_size.argtypes = [Desc]
        self.c.dnnl_memory_desc_get_size.restype = c_size_t
        self.c.dnnl_get_effective_cpu_isa.restype = c_uint
        self.instructions: int = self.c.dnnl_get_effective_cpu_isa()
        if not self.instructions and platform.machine() in ("x86_64", "AMD64"):
            raise BackendError("oneDNN's kernels need a CPU with SSE4.1, and this one has not even that")
        self.openmp = self.version.cpu_runtime == OPENMP
        self._declare_openmp()

    def _declare_openmp(self) -> None:
        """How many threads the kernels use that this thread makes and runs: to ask, and to set."""
        self.threads: Callable[[], int] = lambda: 1
        self.set_threads: Callable[[int], None] = lambda n: None
        if self.openmp:  # found in what the library itself has loaded
            self.threads, self.set_threads = self.c.omp_get_max_threads, self.c.omp_set_num_threads
            self.c.omp_set_num_threads.argtypes = [c_int]
            self.c.omp_set_num_threads.restype = None

    def call(self, name: str, *arguments: Any) -> None:
        """Calls ``dnnl_NAME``; a status other than success is a `BackendError`."""
        status = getattr(self.c, f"dnnl_{name}")(*arguments)
        if status:
            raise BackendError(f"oneDNN: {name}: {STATUS.get(status, 'unknown error')} (status {status})")

    def __repr__(self) -> str:
        return f"oneDNN {self.version.major}.{self.version.minor}.{self.version.patch} ({self.path})"


def _expect_whole(path: str) -> None:
    """Raises `BackendError` for a 64-bit ELF file that is cut short: the loader would die of it."""
    file = Path(path)
    if not file.is_file():
        return
    with file.open("rb") as opened:
        head = opened.read(64)
    if head[:5] == b"\x7fELF\x02" and len(head) == 64:
        table, size, count = (int.from_bytes(head[a:b], "little") for a, b in ((40, 48), (58, 60), (60, 62)))
        if table + size * count > file.stat().st_size:
            raise BackendError(f"{path} is cut short: copy it again")


def candidates() -> Iterator[tuple[str, str]]:
    """Where a library may be, and how that place is called; the first one counts."""
    named = os.environ.get(VARIABLE)
    if named:
        yield str(Path(named).resolve()) if Path(named).exists() else named, f"{VARIABLE}={named}"
        return
    for path in _of_the_wheel():
        yield str(path), f"the wheel {DISTRIBUTION}"
    yield SYSTEM, f"the system's {SYSTEM}"


def _of_the_wheel() -> Iterator[Path]:
    """From the list of files that an installer leaves; importing ``importlib.metadata`` takes longer than
    loading oneDNN."""
    for folder in map(Path, sys.path):
        for record in folder.glob(f"{DISTRIBUTION.replace('-', '_')}-*.dist-info/RECORD"):
            files = (line.split(",")[0] for line in record.read_text(encoding="utf-8").splitlines())
            yield from ((folder / f).resolve() for f in files if f.rpartition("/")[2] == SYSTEM)


@cache
def load() -> Library:
    """The library, loaded once.  A `BackendError` lists where it was looked for, and why each did not do."""
    named = os.environ.get(VARIABLE)
    found = []
    for path, place in candidates():
        try:
            return Library(path)
        except BackendError as error:
            if named:
                raise AskedForError(f"{place}: {error}; name another file, or unset it") from error
            found.append(f"{place}: {error}")
    if len(found) == 1:
        found.insert(0, f"the wheel {DISTRIBUTION} is not installed")
    told = "; ".join(found)
    raise BackendError(f"no oneDNN library: {told}. Install the extra onednn, or name a file in {VARIABLE}")
