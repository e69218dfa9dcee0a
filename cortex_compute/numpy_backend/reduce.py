"""Reductions: a block of the body at a time, reduced into the result."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from cortex_compute.numpy_backend import pointwise
from cortex_compute.numpy_backend.backend import kernel, offers
from cortex_compute.numpy_backend.elementwise import BANDWIDTH, sequence
from cortex_compute.numpy_backend.memory import aligned
from cortex_compute.numpy_backend.pointwise import BLOCK, block_slices, coalesce
from cortex_compute.primitives.reduce import Reduce
from cortex_compute.protocol import Offer, Operand, Refusal
from cortex_compute.types import TensorType

UFUNCS = {"sum": np.add, "mean": np.add, "prod": np.multiply, "max": np.maximum, "min": np.minimum}
EMPTY = {"sum": 0, "mean": np.nan, "prod": 1}


@offers(Reduce)
def reduce(p: Reduce, operands: Sequence[Operand]) -> Offer | Refusal:
    types = [o.type for o in operands]
    if p.kind in ("argmax", "argmin"):
        return _place_of(p, types)
    space = p.space(*types)
    (result,) = p.infer(*types)
    block = min(BLOCK, space.size)
    body = 0 if p.body is None else pointwise.workspace_size(p.body, p.literals, types)

    def bound(inputs: Sequence[Any], outputs: Sequence[Any], workspace: Any) -> Callable[[], None]:
        out = outputs[0].reshape([1 if i in p.axes else n for i, n in enumerate(space.shape)])
        if space.size == 0:
            return partial(out.fill, EMPTY[p.kind])
        memory = np.empty(body + 2 * aligned(8 * block), np.uint8) if workspace is None else workspace
        return sequence(_calls(p, types, space, result, inputs, out, memory, body))

    return kernel(
        bound,
        workspace=body + 2 * aligned(8 * block),
        cost=p.nbytes(*types) / BANDWIDTH,
    )


def _calls(
    p: Reduce,
    types: Sequence[TensorType],
    space: TensorType,
    result: TensorType,
    inputs: Sequence[Any],
    out: np.ndarray,
    workspace: np.ndarray,
    body: int,
) -> list[Callable[[], Any]]:
    spread = [np.broadcast_to(a, space.shape) for a in inputs]
    strides = tuple(0 if i in p.axes else s for i, s in enumerate(out.strides))
    target = np.lib.stride_tricks.as_strided(out, space.shape, strides)  # writable, unlike broadcast_to
    groups = [i in p.axes for i in range(len(space.shape))]
    arrays, marks = coalesce(space.shape, [*spread, target], groups)
    reduced = tuple(i for i, m in enumerate(marks) if m is True)
    *sources, spread_out = arrays
    ufunc, storage = UFUNCS[p.kind], result.dtype.storage
    values = workspace[body : body + aligned(8 * BLOCK)]
    partials = workspace[len(workspace) - aligned(8 * min(BLOCK, space.size)) :]
    calls: list[Callable[[], Any]] = []
    for index in block_slices(sources[0].shape):
        blocks = [a[index] for a in sources]
        shape = blocks[0].shape
        if p.body is not None:
            value = _array(values, space.dtype.storage, shape)
            dtypes = [t.dtype for t in types]
            calls += pointwise.bind(p.body, p.literals, blocks, [value], workspace[:body], dtypes)
        else:
            value = blocks[0]
        if value.dtype != storage:  # sums of integers and booleans are taken in int64
            wide = _array(partials, storage, shape) if reduced else None
            if wide is not None:
                calls.append(partial(np.copyto, wide, value, "unsafe"))
                value = wide
        piece = spread_out[tuple(slice(0, 1) if i in reduced else s for i, s in enumerate(index))]
        first = all(index[i].start == 0 for i in reduced)
        if not reduced:
            calls.append(partial(np.copyto, piece, value, "unsafe"))
        elif first:
            calls.append(partial(ufunc.reduce, value, reduced, storage, piece, True))
        elif value.dtype != space.dtype.storage:
            narrow = np.empty(piece.shape, storage)
            calls.append(partial(ufunc.reduce, value, reduced, storage, narrow, True))
            calls.append(partial(ufunc, piece, narrow, piece))
        else:
            narrow = _array(partials, storage, piece.shape)
            calls.append(partial(ufunc.reduce, value, reduced, storage, narrow, True))
            calls.append(partial(ufunc, piece, narrow, piece))
    if p.kind == "mean":
        count = space.size // max(1, result.size)
        calls.append(partial(np.divide, out, storage.type(count), out))
    return calls


def _array(memory: np.ndarray, storage: np.dtype[Any], shape: tuple[int, ...]) -> np.ndarray:
    n = int(np.prod(shape)) * storage.itemsize
    return memory[:n].view(storage).reshape(shape)


def _place_of(p: Reduce, types: Sequence[TensorType]) -> Offer | Refusal:
    if p.body is not None:
        return Refusal(f"numpy's {p.kind} takes no body")
    function = np.argmax if p.kind == "argmax" else np.argmin

    def bound(inputs: Sequence[Any], outputs: Sequence[Any], workspace: Any) -> Callable[[], None]:
        out = outputs[0] if not p.keepdims else outputs[0].squeeze(p.axes[0])
        return partial(function, inputs[0], p.axes[0], out)

    return kernel(bound, cost=types[0].nbytes / BANDWIDTH)
