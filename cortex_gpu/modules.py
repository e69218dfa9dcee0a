"""Compiled sources, each kept for the process; CuPy keeps them on disk.

A compilation takes tens of milliseconds, and a program has dozens: they are begun when kernels are built, on
threads, and waited for when kernels are bound.
"""

from __future__ import annotations

import os
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from typing import Any

from cortex_compute.errors import BackendError
from cortex_gpu.kernels import Source

OPTIONS = ("--std=c++17",)
MOST_THREADS = 8


def function(source: Source) -> Any:
    """The compiled entry of a source, called as ``f(grid, block, arguments)``."""
    import cupy

    return begin(source, cupy.cuda.runtime.getDevice()).result()


@cache
def begin(source: Source, device: int) -> Future[Any]:
    """Begins the compilation for a device; its result is the entry, or the error."""
    return _threads().submit(_compiled, source, device)


@cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(min(MOST_THREADS, os.cpu_count() or 1), "cortex-nvrtc")


def _compiled(source: Source, device: int) -> Any:
    import cupy

    try:
        with cupy.cuda.Device(device):
            module = cupy.RawModule(code=source.text, options=OPTIONS, backend="nvrtc")
            module.compile()
            return module.get_function(source.name)
    except Exception as error:  # NVRTC's log, or a driver that is too old for the code
        raise BackendError(f"cupy: the kernel {source.name} cannot be compiled: {error}") from error
