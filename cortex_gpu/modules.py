"""Compiled sources, each kept for the process; CuPy keeps them on disk."""

from __future__ import annotations

from functools import cache
from typing import Any

from cortex_compute.errors import BackendError
from cortex_gpu.kernels import Source

OPTIONS = ("--std=c++17",)


@cache
def function(source: Source) -> Any:
    """The compiled entry of a source, called as ``f(grid, block, arguments, shared_mem=)``."""
    import cupy

    try:
        return cupy.RawModule(code=source.text, options=OPTIONS, backend="nvrtc").get_function(source.name)
    except Exception as error:  # NVRTC's log, or a driver that is too old for the code
        raise BackendError(f"cupy: the kernel {source.name} cannot be compiled: {error}") from error
