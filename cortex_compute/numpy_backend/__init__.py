"""The reference backend, and the default where nothing faster is installed.

Kernels are NumPy calls with ``out=``, bound to their memory once; a step allocates nothing of size.
"""

from __future__ import annotations

from cortex_compute.numpy_backend.backend import NumpyBackend


def create() -> NumpyBackend:
    """The backend; what the entry point names."""
    return NumpyBackend()
