"""Weights of Keras 1 and 2 in the order, the shapes and the sense of Keras 3."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from cortex_core.exchange.keras.model import Config, Layer, Model, Weight, each_axis, release

Weights = tuple[Weight, ...]

CONVOLUTIONS = {
    "Conv1D": 1,
    "Conv2D": 1,
    "Conv3D": 1,
    "Conv1DTranspose": 1,
    "Conv2DTranspose": 1,
    "Conv3DTranspose": 1,
    "DepthwiseConv2D": 1,
    "SeparableConv1D": 2,
    "SeparableConv2D": 2,
    "ConvLSTM2D": 2,
}
"""How many kernels of each class lie over steps or pictures."""

GATES = {"LSTM": 4, "GRU": 3, "ConvLSTM2D": 4}
OLD_GATES = {"LSTM": (0, 2, 1, 3), "GRU": (0, 1, 2), "ConvLSTM2D": (0, 2, 1, 3)}
"""Where Keras 1 keeps the gates i, f, c, o (z, r, h), each with its kernel, recurrent kernel and bias."""

OF_EACH_CHANNEL = ("DepthwiseConv2D", "SeparableConv1D", "SeparableConv2D")
"""Classes whose kernels Keras itself turns, on Theano."""
POOLING = tuple(f"{kind}Pooling{rank}D" for kind in ("Average", "Max") for rank in (1, 2, 3))
OF_THEANO = "same_of_theano"
"""A padding by the size of the window alone, whatever its stride."""

LOCAL = {"LocallyConnected1D": 1, "LocallyConnected2D": 2}
WRAPPERS = ("Bidirectional", "TimeDistributed")


def modern_weights(layer: Layer, weights: Sequence[Weight], version: str, backend: str) -> Weights:
    """The weights of a layer as `layer.get_weights()` of Keras 3 would give them.

    ``version`` is that of the file, empty for Keras 1.0; ``backend`` what wrote it.  What does not look like
    weights of the layer's class stays as it is, for those who check shapes.
    """
    found = tuple(weights)
    if layer.kind in WRAPPERS:
        return _wrapped(layer, found, version, backend)
    if release(version) < (2,):
        found = _of_keras1(layer, found)
    if layer.kind in LOCAL and layer.config.get("data_format") == "channels_first":
        found = _of_places(layer, found)
    if layer.kind in ("LSTM", "GRU"):
        found = _of_cudnn(GATES[layer.kind], found)
    if backend == "theano" and release(version) < (3,) and layer.kind not in OF_EACH_CHANNEL:
        found = tuple(_flipped(w) if i < CONVOLUTIONS.get(layer.kind, 0) else w for i, w in enumerate(found))
    return found


def convolutions(model: Model) -> Iterator[Config]:
    """The configurations of the layers whose kernels lie otherwise where Theano wrote them."""
    for layer in model.layers:
        if layer.model is not None:
            yield from convolutions(layer.model)
            continue
        kind, config = layer.kind, layer.config
        if kind in WRAPPERS and isinstance(config.get("layer"), Mapping):
            kind, config = config["layer"].get("class_name"), config["layer"].get("config", {})
        if kind in CONVOLUTIONS and isinstance(config, Mapping):
            yield config


def _wrapped(layer: Layer, weights: Weights, version: str, backend: str) -> Weights:
    inner = layer.config.get("layer")
    if not isinstance(inner, Mapping) or not isinstance(inner.get("config"), Mapping):
        return weights
    held = Layer(layer.name, str(inner.get("class_name")), inner["config"], ())
    half = len(weights) // 2 if layer.kind == "Bidirectional" else len(weights)
    parts = [weights[:half], weights[half:]] if half else []
    return tuple(w for part in parts for w in modern_weights(held, part, version, backend))


def padded(kind: str, config: Config) -> Config:
    """The configuration of a layer that ran on Theano: it pads otherwise than what `same` means today."""
    if kind in WRAPPERS and isinstance(config.get("layer"), Mapping):
        inner = config["layer"]
        if not isinstance(inner.get("config"), Mapping):
            return config
        return {**config, "layer": {**inner, "config": padded(str(inner.get("class_name")), inner["config"])}}
    pads = kind in CONVOLUTIONS or kind in POOLING
    return {**config, "padding": OF_THEANO} if pads and config.get("padding") == "same" else config


# Keras 1


def _of_keras1(layer: Layer, weights: Weights) -> Weights:
    if layer.kind in GATES and len(weights) == 3 * GATES[layer.kind]:
        weights = _gathered(OLD_GATES[layer.kind], weights)
    kernels = CONVOLUTIONS.get(layer.kind, 0)
    turn = _of_steps if layer.kind == "Conv1D" else _turned
    return tuple(turn(layer, w) if i < kernels else w for i, w in enumerate(weights))


def _gathered(gates: Sequence[int], weights: Weights) -> Weights:
    """Kernel, recurrent kernel and bias, each of all gates."""
    return tuple(_joined([weights[3 * gate + part] for gate in gates]) for part in range(3))


def _joined(weights: Sequence[Weight]) -> Weight:
    first = weights[0]
    shape = (*first.shape[:-1], sum(w.shape[-1] for w in weights if w.shape))
    return replace(first, shape=shape, read=lambda: np.concatenate([w.read() for w in weights], axis=-1))


def _turned(layer: Layer, kernel: Weight) -> Weight:
    """Keras 1 has (..., in, out), or (out, in, ...) where channels are first; a transposed convolution, which
    is (..., out, in) now, as any other one."""
    rank = len(kernel.shape)
    first = layer.config.get("data_format") == "channels_first"
    space, into, out = ([*range(2, rank)], 1, 0) if first else ([*range(rank - 2)], rank - 2, rank - 1)
    if rank < 3:
        return kernel
    return _permuted(kernel, [*space, out, into] if layer.kind.endswith("Transpose") else [*space, into, out])


def _of_steps(layer: Layer, kernel: Weight) -> Weight:
    """(steps, 1, in, out), before Keras 1.1 (out, in, steps, 1)."""
    if len(kernel.shape) != 4:
        return kernel
    steps, filters = layer.config.get("kernel_size"), layer.config.get("filters")
    if kernel.shape[:2] != (steps, 1) or kernel.shape[3] != filters:
        kernel = _permuted(kernel, [2, 3, 1, 0])
    if kernel.shape[1] != 1:
        return kernel
    return _changed(kernel, (kernel.shape[0], *kernel.shape[2:]), lambda x: x[:, 0])


# Locally connected layers with their channels first


def _of_places(layer: Layer, weights: Weights) -> Weights:
    """The kernel (places, window, filters) has the channels before the elements of the window.  The bias is
    (*places, filters) by its shape alone: Keras takes its numbers for those of (filters, *places)."""
    sizes = each_axis(layer.config.get("kernel_size"), LOCAL[layer.kind])
    if not all(isinstance(n, int) and n > 0 for n in sizes):
        return weights
    window = math.prod(sizes)

    def kernel(x: np.ndarray) -> np.ndarray:
        each = x.reshape(len(x), x.shape[1] // window, window, x.shape[2])
        return each.swapaxes(1, 2).reshape(x.shape)

    def bias(x: np.ndarray) -> np.ndarray:
        return np.moveaxis(x.reshape(x.shape[-1], *x.shape[:-1]), 0, -1)

    ranks = [len(w.shape) for w in weights]
    if ranks not in ([3], [3, len(sizes) + 1]) or weights[0].shape[1] % window:
        return weights
    return tuple(_changed(w, w.shape, change) for w, change in zip(weights, (kernel, bias)))


# Theano and cuDNN


def _flipped(kernel: Weight) -> Weight:
    """Theano convolves, all others correlate."""
    space = tuple(range(len(kernel.shape) - 2))
    return _changed(kernel, kernel.shape, lambda x: np.flip(x, space))


def _of_cudnn(gates: int, weights: Weights) -> Weights:
    """cuDNN keeps each gate's kernel transposed, and two biases, of which an LSTM needs the sum."""
    units = weights[1].shape[0] if len(weights) == 3 and weights[1].shape else 0
    if not units or weights[2].shape != (2 * gates * units,) or len(weights[0].shape) != 2:
        return weights
    kernel, recurrent, bias = weights

    def each(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[np.ndarray], np.ndarray]:
        return lambda x: np.concatenate([change(part) for part in np.split(x, gates, axis=1)], axis=1)

    return (
        _changed(kernel, kernel.shape, each(lambda x: x.reshape(x.shape[::-1]).T)),
        _changed(recurrent, recurrent.shape, each(np.transpose)),
        _changed(bias, (4 * units,), lambda x: x.reshape(2, -1).sum(0))
        if gates == GATES["LSTM"]
        else _changed(bias, (2, 3 * units), lambda x: x.reshape(2, -1)),
    )


# Arrays that are changed when they are read


def _permuted(weight: Weight, axes: Sequence[int]) -> Weight:
    return _changed(weight, tuple(weight.shape[axis] for axis in axes), lambda x: np.transpose(x, axes))


def _changed(weight: Weight, shape: tuple[int, ...], change: Callable[[np.ndarray], np.ndarray]) -> Weight:
    return replace(
        weight,
        shape=shape,
        read=lambda: change(np.asarray(weight.read())),
        turn=lambda x: change(weight.turn(x)),
    )
