"""The cupy backend over the stand-in."""

from __future__ import annotations

from dataclasses import replace

from cortex_gpu.backend import CupyBackend, Gpu
from cortex_gpu.device import CudaDevice


def cupy_backend(gpu: Gpu | None = None) -> CupyBackend:
    """A backend with the stand-in's device, and what else ``gpu`` says."""
    return CupyBackend(replace(gpu or Gpu(), device=CudaDevice(0)))
