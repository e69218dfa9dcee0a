"""Compiles CUDA sources without a GPU: NVRTC, by its C API, from the wheel nvidia-cuda-nvrtc-cu12."""

from __future__ import annotations

import ctypes
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from cortex_gpu.modules import OPTIONS

ARCHITECTURES = ("sm_75", "sm_80", "sm_90")


class NvrtcError(Exception):
    """What NVRTC says of a source."""


@cache
def library() -> ctypes.CDLL | None:
    """NVRTC, or None where the wheel is not installed."""
    spec = find_spec("nvidia")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        for path in Path(folder).glob("cuda_nvrtc/lib/libnvrtc.so.12"):
            return ctypes.CDLL(str(path))
    return None


def compile_source(text: str, architecture: str) -> bytes:
    """The machine code of a .cu text, with the options that cortex_gpu gives; `NvrtcError` with the log."""
    nvrtc = library()
    assert nvrtc is not None, "the wheel nvidia-cuda-nvrtc-cu12 is not installed"
    program = ctypes.c_void_p()
    _check(nvrtc, nvrtc.nvrtcCreateProgram(ctypes.byref(program), text.encode(), b"source.cu", 0, None, None))
    try:
        options = [f"--gpu-architecture={architecture}".encode(), *(o.encode() for o in OPTIONS)]
        code = nvrtc.nvrtcCompileProgram(program, len(options), (ctypes.c_char_p * len(options))(*options))
        if code:
            raise NvrtcError(_bytes(nvrtc, program, "ProgramLog").rstrip(b"\0").decode())
        return _bytes(nvrtc, program, "CUBIN")
    finally:
        nvrtc.nvrtcDestroyProgram(ctypes.byref(program))


def _check(nvrtc: ctypes.CDLL, code: int) -> None:
    if code:
        nvrtc.nvrtcGetErrorString.restype = ctypes.c_char_p
        raise NvrtcError(nvrtc.nvrtcGetErrorString(code).decode())


def _bytes(nvrtc: ctypes.CDLL, program: ctypes.c_void_p, what: str) -> bytes:
    size = ctypes.c_size_t()
    _check(nvrtc, getattr(nvrtc, f"nvrtcGet{what}Size")(program, ctypes.byref(size)))
    memory = ctypes.create_string_buffer(size.value)
    _check(nvrtc, getattr(nvrtc, f"nvrtcGet{what}")(program, memory))
    return memory.raw
