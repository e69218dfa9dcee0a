"""A bound call allocates nothing of size: every case of the conformance kit, run under tracemalloc."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest

from cortex_compute.backends import get
from cortex_compute.primitives.base import OPAQUE, Primitive
from cortex_compute.protocol import Layout, Offer, Operand
from cortex_compute.types import DType, bfloat16, contiguous_strides, float32
from cortex_compute.verify.case import Case, cases_of
from cortex_compute.verify.run import primitives
from cortex_compute.verify.trial import Trial

LARGEST = 8192  # bytes altogether; NumPy's iterator takes two or three buffers of at most 2 KiB


def bound(case: Case, d: DType) -> Any:
    """The case's kernel, bound; it takes the stream."""
    backend = get("numpy")
    streams = backend.devices()[0].stream(), backend.devices()[0].stream()
    trial = Trial(backend, case, d, streams)
    trial.prepare()
    arrays, types = trial.operands, trial.types
    strides = [tuple(s // a.itemsize for s in a.strides) for a in arrays]
    layouts = [Layout(None if s == contiguous_strides(a.shape) else s) for s, a in zip(strides, arrays)]
    offer = backend.offer(case.primitive, [Operand(t, x) for t, x in zip(types, layouts)])
    assert isinstance(offer, Offer), f"{case.name}: {offer}"
    outputs = [np.empty(offer.residual if t == OPAQUE else t.shape, t.dtype.storage) for t in trial.results]
    return offer.build().bind(arrays, outputs, np.empty(offer.workspace, np.uint8))


@pytest.mark.parametrize("d", [float32, bfloat16], ids=str)
@pytest.mark.parametrize("primitive", [p for p in primitives() if not p.view], ids=lambda p: p.__name__)
def test_a_bound_call_allocates_nothing(primitive: type[Primitive], d: DType) -> None:
    found = {}
    stream = get("numpy").devices()[0].stream()
    cases = [case for case in cases_of(primitive) if d in case.dtypes]
    assert cases or d is bfloat16
    for case in cases:
        call = bound(case, d)
        with stream.active():
            call(stream)  # what is made once and kept is no matter
            tracemalloc.start()
            try:
                before = tracemalloc.get_traced_memory()[0]
                tracemalloc.reset_peak()
                call(stream)
                peak = tracemalloc.get_traced_memory()[1] - before
            finally:
                tracemalloc.stop()
        if peak > LARGEST:
            found[case.name] = peak
    assert not found
