"""The fast CPU: NumPy's memory, oneDNN's kernels, and NumPy's for what oneDNN has none."""

from __future__ import annotations

from cortex_compute.composed import Composed
from cortex_compute.numpy_backend.backend import NumpyBackend
from cortex_compute.onednn_backend.backend import OneDnnBackend
from cortex_compute.threads import rest_blas, threads


def create() -> Composed:
    """The composition of oneDNN and NumPy; a `BackendError` says where the library was looked for.

    From here on BLAS rests at one thread.
    """
    composed = Composed(OneDnnBackend(threads()), NumpyBackend())
    rest_blas()
    return composed
