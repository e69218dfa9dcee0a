"""Elementwise and Copy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from cortex_compute.numpy_backend import direct
from cortex_compute.numpy_backend.backend import kernel, offers
from cortex_compute.numpy_backend.pointwise import bind, workspace_size
from cortex_compute.primitives.elementwise import Copy, Elementwise
from cortex_compute.protocol import Offer, Operand, Refusal

BANDWIDTH = 1e10  # bytes per second, of one core; only the order of costs matters


def sequence(calls: Sequence[Callable[[], Any]]) -> Callable[[], None]:
    """One call that makes all of them."""
    if len(calls) == 1:
        return calls[0]

    def run() -> None:
        for call in calls:
            call()

    return run


@offers(Elementwise)
def elementwise(p: Elementwise, operands: Sequence[Operand]) -> Offer:
    types = [o.type for o in operands]
    dtypes = [t.dtype for t in types]
    results = p.infer(*types)
    moves = any(
        where == "a" for where, _ in p.code.results
    )  # two operands that change places would need a third
    reuse = () if moves else tuple(
        (k, j) for k, t in enumerate(types) for j, r in enumerate(results)
        if t.shape == r.shape and t.dtype.itemsize == r.dtype.itemsize
    )  # fmt: skip

    def bound(inputs: Sequence[Any], outputs: Sequence[Any], workspace: Any) -> Callable[[], None]:
        return sequence(bind(p.code, p.literals, inputs, outputs, workspace, dtypes))

    size = workspace_size(p.code, p.literals, types) if types else 0
    return kernel(
        bound,
        reuse=reuse,
        strided_outputs=True,
        workspace=size,
        cost=p.nbytes(*types) / BANDWIDTH,
        direct=partial(direct.elementwise, p, types),
    )


@offers(Copy)
def copy(p: Copy, operands: Sequence[Operand]) -> Offer | Refusal:
    if p.layout.key:
        return Refusal(f"numpy cannot write the layout {p.layout.key}")

    def bound(inputs: Sequence[Any], outputs: Sequence[Any], workspace: Any) -> Callable[[], None]:
        return partial(np.copyto, outputs[0], inputs[0])

    return kernel(bound, strided_outputs=True, cost=p.nbytes(operands[0].type) / BANDWIDTH)
