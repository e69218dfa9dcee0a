"""Recurrent layers by cuDNN's API of version 8: relu, tanh, LSTM and GRU, stacked, in both directions.

Sequences lie (N, T, C); all weights of a network lie in one piece of memory, in an order of cuDNN's own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from ctypes import byref, c_double, c_int, c_size_t, c_void_p
from typing import NamedTuple

from cortex_compute.frozen import frozen
from cortex_compute.types import DType, bfloat16, contiguous_strides, float16, float32, float64
from cortex_gpu.cudnn import constants as c
from cortex_gpu.cudnn.descriptors import Descriptor, Sizes, ints, made, tensor
from cortex_gpu.cudnn.library import Library

GATES = {
    "relu": ("",),
    "tanh": ("",),
    "lstm": ("input", "forget", "cell", "output"),
    "gru": ("reset", "update", "candidate"),
}
"""In cuDNN's order; the update gate of a GRU keeps the old state."""
_ZERO = byref(c_double(0.0))  # what stands behind the end of a sequence, in any floating type


@frozen
class Network:
    """A stack of ``layers`` recurrent layers; the sums are in float32, for float64 in float64."""

    mode: str
    inputs: int
    units: int
    layers: int = 1
    bidirectional: bool = False
    bias: bool = True
    dtype: DType = float32
    tf32: bool = False

    @property
    def directions(self) -> int:
        return 2 if self.bidirectional else 1

    def described(self, library: Library) -> Descriptor:
        if self.dtype in (float16, bfloat16):
            math = c.TENSOR_OP_MATH
        else:
            math = c.DEFAULT_MATH if self.tf32 and self.dtype is float32 else c.FMA_MATH
        total = c.DTYPES[float64 if self.dtype is float64 else float32]
        bias = c.RNN_DOUBLE_BIAS if self.bias else c.RNN_NO_BIAS
        directions = c.BIDIRECTIONAL if self.bidirectional else c.UNIDIRECTIONAL
        kind = c.RNN_ALGO_STANDARD, c.RNN_MODES[self.mode], bias, directions, c.LINEAR_INPUT
        sizes = self.inputs, self.units, self.units, self.layers
        return made(
            library, "RNN",
            ("RNNDescriptor_v8", *kind, c.DTYPES[self.dtype], total, math, *sizes, _no_dropout(library),
             c.RNN_PADDED_IO_ENABLED),
        )  # fmt: skip

    def sequences(self, library: Library, lengths: Sizes, steps: int, width: int) -> Descriptor:
        """(N, ``steps``, ``width``), of whose rows only the first ``lengths`` count; zeros follow."""
        shape = c.RNN_DATA_BATCH_MAJOR, steps, len(lengths), width
        return made(library, "RNNData", ("RNNDataDescriptor", c.DTYPES[self.dtype], *shape, lengths, _ZERO))

    def states(self, library: Library, count: int) -> Descriptor:
        """(layers * directions, N, units)"""
        dims = self.layers * self.directions, count, self.units
        return tensor(library, dims, contiguous_strides(dims), self.dtype)


def _no_dropout(library: Library) -> Descriptor:
    return made(library, "Dropout", ("DropoutDescriptor", library.handle().value, 0.0, None, 0, 0))


class Batch(NamedTuple):
    """Sequences of these ``lengths``, at most ``steps``."""

    lengths: Sizes
    steps: int


class States(NamedTuple):
    """Addresses of a hidden state and of a cell state, 0 where there is none."""

    hidden: int = 0
    cell: int = 0


class Memory(NamedTuple):
    """A piece of memory."""

    nbytes: int
    address: int


def weight_bytes(library: Library, network: Network) -> int:
    """Bytes of all weights."""
    nbytes = c_size_t()
    library.call("GetRNNWeightSpaceSize", library.handle(), network.described(library), byref(nbytes))
    return nbytes.value


def scratch_bytes(library: Library, network: Network, batch: Batch, training: bool) -> tuple[int, int]:
    """Bytes of scratch, and of what a training pass leaves for the gradients."""
    work, reserve = c_size_t(), c_size_t()
    mode = c.FWD_MODE_TRAINING if training else c.FWD_MODE_INFERENCE
    x = network.sequences(library, batch.lengths, batch.steps, network.inputs)
    described = network.described(library), mode, x
    library.call("GetRNNTempSpaceSizes", library.handle(), *described, byref(work), byref(reserve))
    return work.value, reserve.value


class Parameter(NamedTuple):
    """A matrix (units, inputs) or a vector (units,) among the weights: of which gate of which layer.

    ``of``: "input" or "recurrent"; ``start``: its first byte.
    """

    layer: int
    direction: int
    gate: str
    of: str
    bias: bool
    start: int
    shape: Sizes


def parameters(library: Library, network: Network, weights: Memory) -> Iterator[Parameter]:
    """Where each parameter lies in the weights."""
    gates = GATES[network.mode]
    for pseudo in range(network.layers * network.directions):
        for number in range(2 * len(gates)):
            named = *divmod(pseudo, network.directions), gates[number % len(gates)]
            of = "input" if number < len(gates) else "recurrent"
            for bias, (start, shape) in enumerate(_places(library, network, weights, pseudo, number)):
                if start is not None:
                    yield Parameter(*named, of, bool(bias), start - weights.address, shape)


def _places(
    library: Library, network: Network, weights: Memory, pseudo: int, number: int
) -> list[tuple[int | None, Sizes]]:
    """Address and shape of a matrix and of its bias."""
    descriptors = [Descriptor(library, "Tensor", ()) for _ in range(2)]
    addresses = [c_void_p() for _ in range(2)]
    pairs = [x for d, a in zip(descriptors, addresses) for x in (d, byref(a))]
    network_of = network.described(library)
    library.call(
        "GetRNNWeightParams", library.handle(), network_of, pseudo, weights.nbytes, weights.address, number,
        *pairs,
    )  # fmt: skip
    return [
        (a.value, _shape(library, d, bias) if a.value else ())
        for bias, (d, a) in enumerate(zip(descriptors, addresses))
    ]


def _shape(library: Library, descriptor: Descriptor, bias: int) -> Sizes:
    """(units, inputs) of a matrix, (units,) of a bias; cuDNN puts an axis of 1 before them."""
    kind, rank, dims, strides = c_int(), c_int(), ints([0] * 3), ints([0] * 3)
    library.call("GetTensorNdDescriptor", descriptor, 3, byref(kind), byref(rank), dims, strides)
    return (math.prod(dims),) if bias else (dims[1], dims[2])


def forward(
    library: Library,
    network: Network,
    batch: Batch,
    x: int,
    y: int,
    first: States,
    last: States,
    weights: Memory,
    work: Memory,
    reserve: Memory,
) -> Callable[[], None]:
    """A call that computes y (N, T, directions * units) and the last states; ``reserve`` is for training."""
    rnn, of_x, of_y, states = _described(library, network, batch)
    mode = c.FWD_MODE_TRAINING if reserve.address else c.FWD_MODE_INFERENCE
    return library.launcher(
        "RNNForward", rnn, mode, None, of_x, x, of_y, y, states, first.hidden, last.hidden, states,
        first.cell, last.cell, *weights, *work, *reserve,
    )  # fmt: skip


def backward_data(
    library: Library,
    network: Network,
    batch: Batch,
    y: int,
    dy: int,
    dx: int,
    first: States,
    dlast: States,
    dfirst: States,
    weights: Memory,
    work: Memory,
    reserve: Memory,
) -> Callable[[], None]:
    """A call that computes dx and the gradients of the first states."""
    rnn, of_x, of_y, states = _described(library, network, batch)
    return library.launcher(
        "RNNBackwardData_v8", rnn, None, of_y, y, dy, of_x, dx, states, first.hidden, dlast.hidden,
        dfirst.hidden, states, first.cell, dlast.cell, dfirst.cell, *weights, *work, *reserve,
    )  # fmt: skip


def backward_weights(
    library: Library,
    network: Network,
    batch: Batch,
    x: int,
    y: int,
    hidden: int,
    dweights: Memory,
    work: Memory,
    reserve: Memory,
) -> Callable[[], None]:
    """A call that adds the gradients of the weights to ``dweights``; it follows `backward_data`."""
    rnn, of_x, of_y, states = _described(library, network, batch)
    return library.launcher(
        "RNNBackwardWeights_v8", rnn, c.WGRAD_MODE_ADD, None, of_x, x, states, hidden, of_y, y, *dweights,
        *work, *reserve,
    )  # fmt: skip


def _described(
    library: Library, network: Network, batch: Batch
) -> tuple[Descriptor, Descriptor, Descriptor, Descriptor]:
    """The network, its input, its output, its states."""
    width = network.directions * network.units
    x, y = (network.sequences(library, *batch, n) for n in (network.inputs, width))
    return network.described(library), x, y, network.states(library, len(batch.lengths))
