"""Recurrent layers by cuDNN."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from cortex_compute.errors import ArgumentError, DTypeError, ShapeError
from cortex_compute.types import dtype
from cortex_gpu.cudnn import rnn
from cortex_gpu.cudnn.library import Library
from cortex_gpu.cudnn.rnn import GATES, Batch, Memory, Network, Parameter, States
from cortex_gpu.ops.arrays import address, checked, counted, empty_like, here, needed, scratch


def recurrence_weights(
    mode: str,
    inputs: int,
    units: int,
    layers: int = 1,
    bidirectional: bool = False,
    bias: bool = True,
    kind: Any = "float32",
) -> tuple[Network, Any]:
    """A network of recurrent layers, and memory for all its weights, which is zero.

    ``mode``: relu, tanh, lstm or gru; ``kind``: the data type.  `recurrence_parameters` shows the matrices
    and vectors.
    """
    if mode not in GATES:
        raise ArgumentError(f"mode is {mode!r}; known are {', '.join(GATES)}")
    sizes = counted("inputs", inputs), counted("units", units), counted("layers", layers)
    library = needed("recurrence")
    d = dtype(np.dtype(kind).name)
    network = Network(mode, *sizes, bidirectional, bias, d, here().gpu.tf32)
    import cupy

    count = rnn.weight_bytes(library, network) // network.dtype.itemsize
    return network, cupy.zeros(count, kind)


def recurrence_parameters(network: Network, weights: Any) -> Iterator[tuple[Parameter, Any]]:
    """Each matrix and each vector: what it is, and a view of the weights."""
    library = needed("recurrence_parameters")
    _expect(library, network, weights=weights)
    for p in rnn.parameters(library, network, _memory(weights)):
        start = p.start // network.dtype.itemsize
        yield p, weights[start : start + math.prod(p.shape)].reshape(p.shape)


class Kept(NamedTuple):
    """What a training pass leaves for `recurrence_backward`."""

    network: Network
    batch: Batch
    x: Any
    y: Any
    hidden: Any
    cell: Any
    weights: Any
    reserve: Any


def recurrence(
    network: Network,
    weights: Any,
    x: Any,
    hidden: Any = None,
    cell: Any = None,
    lengths: Sequence[int] | None = None,
    training: bool = False,
) -> tuple[Any, Any, Any, Kept | None]:
    """y (N, T, directions * units), the last hidden and cell states, and what the gradient needs.

    x (N, T, inputs); states (layers * directions, N, units), zero where none is given.  ``lengths``: of each
    sequence; y is 0 behind its end.
    """
    library = needed("recurrence")
    _expect(library, network, weights=weights, x=x)
    batch = _batch(network, x, lengths)
    states = _states(network, x, hidden=hidden, cell=cell)
    y = empty_like(x, (*x.shape[:2], network.directions * network.units))
    last = empty_like(x, _shape(network, x)), empty_like(x, _shape(network, x))
    work_bytes, reserve_bytes = rnn.scratch_bytes(library, network, batch, training)
    work, reserve = scratch(work_bytes), scratch(reserve_bytes) if training else None
    cells = network.mode == "lstm"
    rnn.forward(
        library, network, batch, address(x), address(y), states,
        States(address(last[0]), address(last[1]) if cells else 0), _memory(weights), _memory(work),
        _memory(reserve),
    )()  # fmt: skip
    kept = Kept(network, batch, x, y, hidden, cell, weights, reserve) if training else None
    return y, last[0], last[1] if cells else None, kept


def recurrence_backward(
    kept: Kept, dy: Any, dhidden: Any = None, dcell: Any = None
) -> tuple[Any, Any, Any, Any]:
    """The gradients of x, of the first hidden and cell states, and of the weights.

    ``dhidden`` and ``dcell`` are those of the last states.  A ``kept`` may be used once.
    """
    library = needed("recurrence_backward")
    network, batch, x, y = kept.network, kept.batch, kept.x, kept.y
    checked(x=x, dy=dy)
    if dy.shape != y.shape:
        raise ShapeError(f"dy has shape {dy.shape}, y has {y.shape}")
    import cupy

    first = _states(network, x, hidden=kept.hidden, cell=kept.cell)
    after = _states(network, x, dhidden=dhidden, dcell=dcell)
    cells = network.mode == "lstm"
    dx, dh, dc = empty_like(x), empty_like(x, _shape(network, x)), empty_like(x, _shape(network, x))
    work_bytes, _ = rnn.scratch_bytes(library, network, batch, True)
    work, reserve, weights = scratch(work_bytes), _memory(kept.reserve), _memory(kept.weights)
    rnn.backward_data(
        library, network, batch, address(y), address(dy), address(dx), first, after,
        States(address(dh), address(dc) if cells else 0), weights, _memory(work), reserve,
    )()  # fmt: skip
    dweights = cupy.zeros(kept.weights.shape, kept.weights.dtype)
    rnn.backward_weights(
        library, network, batch, address(x), address(y), first.hidden, _memory(dweights), _memory(work),
        reserve,
    )()  # fmt: skip
    return dx, dh, dc if cells else None, dweights


def _expect(library: Library, network: Network, weights: Any, **arrays: Any) -> None:
    """The weights and other arrays are a network's."""
    if (d := checked(weights=weights, **arrays)) is not network.dtype:
        raise DTypeError(f"{', '.join(('weights', *arrays))}: {d}; the network is {network.dtype}")
    wanted = rnn.weight_bytes(library, network)
    if weights.nbytes != wanted:
        told = f"weights have {weights.nbytes} bytes, the network's {wanted}"
        raise ShapeError(f"{told}: recurrence_weights makes them")


def _batch(network: Network, x: Any, lengths: Sequence[int] | None) -> Batch:
    if x.ndim != 3 or x.shape[2] != network.inputs or 0 in x.shape:
        raise ShapeError(f"x has shape {x.shape}; needs (N, T, {network.inputs})")
    count, steps, _ = x.shape
    given = (steps,) * count if lengths is None else tuple(map(int, lengths))
    if len(given) != count or not all(1 <= n <= steps for n in given):
        raise ArgumentError(f"lengths are {given}; needs {count} numbers from 1 to {steps}")
    return Batch(given, steps)


def _shape(network: Network, x: Any) -> tuple[int, int, int]:
    return network.layers * network.directions, x.shape[0], network.units


def _states(network: Network, x: Any, **given: Any) -> States:
    wanted = _shape(network, x)
    for name, a in given.items():
        if a is not None:
            checked(x=x, **{name: a})
            if a.shape != wanted:
                raise ShapeError(f"{name} has shape {a.shape}; needs {wanted}")
    return States(*(0 if a is None else address(a) for a in given.values()))


def _memory(a: Any) -> Memory:
    return Memory(0, 0) if a is None else Memory(int(a.nbytes), address(a))
