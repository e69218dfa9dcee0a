"""Runs one kernel of the NumPy backend: for tests of its values and of what it allocates."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np

from cortex_compute.numpy_backend import create
from cortex_compute.primitives.base import Primitive
from cortex_compute.protocol import ROW_MAJOR, Layout, Offer, Operand
from cortex_compute.types import TensorType, dtype

BACKEND = create()
STREAM = BACKEND.devices()[0].stream()


def operand(a: np.ndarray) -> Operand:
    """An array as the compiler would propose it."""
    strides = tuple(s // a.itemsize for s in a.strides)
    return Operand(
        TensorType(a.shape, dtype(a.dtype)), ROW_MAJOR if a.flags.c_contiguous else Layout(strides)
    )


def bound(primitive: Primitive, *arrays: np.ndarray) -> tuple[Callable[[], None], list[np.ndarray]]:
    """A call that runs the kernel, and its outputs."""
    operands = [operand(a) for a in arrays]
    offer = BACKEND.offer(primitive, operands)
    assert isinstance(offer, Offer), offer
    outputs = [
        np.full(t.shape, 77).astype(t.dtype.storage) for t in primitive.infer(*(o.type for o in operands))
    ]
    launch = offer.build().bind(arrays, outputs, np.full(offer.workspace, 0xFF, np.uint8))

    def run() -> None:
        with np.errstate(all="ignore"):
            launch(STREAM)

    return run, outputs


def compute(primitive: Primitive, *arrays: np.ndarray) -> Any:
    """The kernel's output, or the list of them."""
    run, outputs = bound(primitive, *arrays)
    run()
    return outputs[0] if len(outputs) == 1 else outputs


def allocated(primitive: Primitive, *arrays: np.ndarray) -> int:
    """The most bytes that a run held beyond what was held before."""
    run, _ = bound(primitive, *arrays)
    with STREAM.active():
        run()
        tracemalloc.start()
        try:
            before, _ = tracemalloc.get_traced_memory()
            tracemalloc.reset_peak()
            run()
            return tracemalloc.get_traced_memory()[1] - before
        finally:
            tracemalloc.stop()
