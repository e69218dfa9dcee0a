"""Cortex on an NVIDIA GPU: CuPy's memory and streams, cuDNN, cuBLASLt and generated kernels.

`import cortex_gpu` works anywhere; `create` says why a GPU cannot be used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cortex_gpu.backend import CupyBackend


def create(device: int = 0) -> CupyBackend:
    """The backend over a GPU, counted from 0; a `BackendError` says why there is none, and what to do."""
    from cortex_gpu.found import found

    return found(device)
