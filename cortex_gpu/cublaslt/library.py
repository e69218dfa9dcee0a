"""libcublasLt: where it lies, the functions that are used, and what their status means.

Numbers and signatures are those of `cublasLt.h` and `cublas_api.h` of cuBLAS 12.9.3.
"""

from __future__ import annotations

import ctypes
import sys
import weakref
from collections.abc import Iterator
from ctypes import POINTER, byref, c_char_p, c_float, c_int, c_int64, c_size_t, c_uint64, c_void_p, sizeof
from functools import cache
from pathlib import Path
from typing import Any

from cortex_compute.errors import BackendError


class Algorithm(ctypes.Structure):
    """``cublasLtMatmulAlgo_t``"""

    _fields_ = (("data", c_uint64 * 8),)


class HeuristicResult(ctypes.Structure):
    """``cublasLtMatmulHeuristicResult_t``"""

    _fields_ = (
        ("algo", Algorithm), ("workspaceSize", c_size_t), ("state", c_int), ("wavesCount", c_float),
        ("reserved", c_int * 4),
    )  # fmt: skip


HANDLE, OBJECT, MADE = c_void_p, c_void_p, POINTER(c_void_p)
SET = [OBJECT, c_int, c_void_p, c_size_t]  # an attribute: which, where its value is, how large it is
PROTOTYPES: dict[str, tuple[Any, list[Any]]] = {
    "GetVersion": (c_size_t, []),
    "GetStatusName": (c_char_p, [c_int]),
    "GetStatusString": (c_char_p, [c_int]),
    "Create": (c_int, [MADE]),
    "Destroy": (c_int, [HANDLE]),
    "MatmulDescCreate": (c_int, [MADE, c_int, c_int]),
    "MatmulDescSetAttribute": (c_int, SET),
    "MatmulDescDestroy": (c_int, [OBJECT]),
    "MatrixLayoutCreate": (c_int, [MADE, c_int, c_uint64, c_uint64, c_int64]),
    "MatrixLayoutSetAttribute": (c_int, SET),
    "MatrixLayoutDestroy": (c_int, [OBJECT]),
    "MatmulPreferenceCreate": (c_int, [MADE]),
    "MatmulPreferenceSetAttribute": (c_int, SET),
    "MatmulPreferenceDestroy": (c_int, [OBJECT]),
    # handle, operation, layouts of A, B, C, D, preference, how many results are wanted, results, how many are
    "MatmulAlgoGetHeuristic": (
        c_int, [HANDLE, *[OBJECT] * 5, OBJECT, c_int, POINTER(HeuristicResult), POINTER(c_int)],
    ),
    # handle, operation, alpha, A, B, beta, C, D (each matrix with its layout), algorithm, workspace, stream
    "Matmul": (
        c_int,
        [HANDLE, OBJECT, c_void_p, *[c_void_p, OBJECT] * 2, c_void_p, *[c_void_p, OBJECT] * 2,
         POINTER(Algorithm), c_void_p, c_size_t, c_void_p],
    ),
}  # fmt: skip


class Library:
    """A loaded libcublasLt, with one handle for each device that is used.

    ``c`` holds its functions.  `call` turns a status into an error that names the function and the status.
    """

    def __init__(self, c: Any, path: str) -> None:
        self.c, self.path = c, path
        try:
            for name, (result, arguments) in PROTOTYPES.items():
                function = getattr(c, f"cublasLt{name}")
                function.restype, function.argtypes = result, arguments
        except AttributeError as error:
            raise BackendError(f"{path} is no usable cuBLASLt: {error}") from error
        self.version: int = c.cublasLtGetVersion()
        self._handles: dict[int, c_void_p] = {}

    def call(self, name: str, *arguments: Any) -> None:
        """Calls ``cublasLtNAME``; a status other than success is a `BackendError`."""
        self.expect(name, getattr(self.c, f"cublasLt{name}")(*arguments))

    def expect(self, name: str, status: int) -> None:
        """Raises what a status of ``cublasLtNAME`` other than success means."""
        if status:
            raise BackendError(self.told(name, status))

    def told(self, name: str, status: int) -> str:
        """What a status of ``cublasLtNAME`` means, in words."""
        words = [f(status).decode() for f in (self.c.cublasLtGetStatusName, self.c.cublasLtGetStatusString)]
        return f"cuBLASLt: cublasLt{name}: {words[0]} ({words[1]})"

    def device(self) -> int:
        """The number of the current device."""
        from cupy.cuda import runtime

        return int(runtime.getDevice())

    def handle(self) -> c_void_p:
        """The handle of the current device, made once and kept."""
        device = self.device()
        if device not in self._handles:
            made = c_void_p()
            self.call("Create", byref(made))
            self._handles[device] = made
        return self._handles[device]

    def __repr__(self) -> str:
        major, minor, patch = self.version // 10000, self.version // 100 % 100, self.version % 100
        return f"cuBLASLt {major}.{minor}.{patch} ({self.path})"


class Descriptor:
    """An object that the library makes, ``cublasLtKINDCreate``; destroyed with its last reference."""

    def __init__(self, library: Library, kind: str, *arguments: Any) -> None:
        self.library, self.kind, self.address = library, kind, c_void_p()
        library.call(f"{kind}Create", byref(self.address), *arguments)
        destroy = getattr(library.c, f"cublasLt{kind}Destroy")
        weakref.finalize(self, destroy, self.address).atexit = False

    def set(self, attribute: int, value: Any) -> None:
        """Sets an attribute; the library wants a value of the very size that it keeps."""
        self.library.call(f"{self.kind}SetAttribute", self.address, attribute, byref(value), sizeof(value))


def candidates(major: int) -> Iterator[str]:
    """Where the library for this major version of CUDA may be; the first one that loads counts."""
    name = f"libcublasLt.so.{major}"
    for folder in map(Path, sys.path):
        for wheel in ("cublas", f"cu{major}"):
            path = folder / "nvidia" / wheel / "lib" / name
            if path.is_file():
                yield str(path)
    yield name  # what CuPy has loaded already, or the system knows


@cache
def load() -> Library:
    """The library for the CUDA that CuPy is built for, loaded once.

    A `BackendError` says where it was looked for, why each place did not do, and what to install.
    """
    from cupy.cuda import runtime

    return opened(runtime.runtimeGetVersion() // 1000)


def opened(major: int) -> Library:
    """The first library that loads, of those for a major version of CUDA."""
    found = []
    for path in candidates(major):
        try:
            library = Library(ctypes.CDLL(path), path)
        except OSError as error:
            found.append(f"{path}: {error}")
            continue
        if library.version // 10000 == major:
            return library
        found.append(f"{path}: is for CUDA {library.version // 10000}")
    wheel = "nvidia-cublas-cu12" if major == 12 else "nvidia-cublas"
    raise BackendError(f"no cuBLASLt for CUDA {major}: {'; '.join(found)}. Install {wheel}")
