"""The cupy backend over the stand-in."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from cortex_gpu.backend import CupyBackend, Gpu
from cortex_gpu.cublaslt.library import Library
from cortex_gpu.device import CudaDevice
from tests.gpu.standin import cudnn
from tests.gpu.standin.cublaslt import CublasLt


def cupy_backend(gpu: Gpu | None = None) -> CupyBackend:
    """A backend with the stand-in's device, and what else ``gpu`` says."""
    return CupyBackend(replace(gpu or Gpu(), device=CudaDevice(0)))


def with_libraries(**facts: Any) -> CupyBackend:
    """The backend with stand-ins for cuDNN and cuBLASLt too; ``facts`` are `Gpu`'s."""
    return cupy_backend(Gpu(cudnn=cudnn.library(), cublaslt=Library(CublasLt(), "stand-in"), **facts))
