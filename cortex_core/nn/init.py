"""Initial numbers, written into a Tensor in place.  Names and distributions are PyTorch's.

Draws are made on the host by Philox with the key (seed, number of the draw) of `cortex.manual_seed`, in
float64, so that they do not depend on the backend.  Weights are (out, in, *K).
"""

from __future__ import annotations

import math
from typing import Any, TypeVar

import numpy as np

from cortex_compute.errors import ArgumentError, ShapeError
from cortex_core.generator import next_key
from cortex_core.tensor import Tensor, no_grad

__all__ = [
    "calculate_gain", "constant_", "eye_", "kaiming_normal_", "kaiming_uniform_", "normal_", "ones_",
    "orthogonal_", "trunc_normal_", "uniform_", "xavier_normal_", "xavier_uniform_", "zeros_",
]  # fmt: skip

T = TypeVar("T", bound=Tensor)


def uniform_(tensor: T, a: float = 0.0, b: float = 1.0) -> T:
    """Uniform between ``a`` and ``b``."""
    return write(tensor, _draws().uniform(a, b, tensor.shape))


def normal_(tensor: T, mean: float = 0.0, std: float = 1.0) -> T:
    """Normal."""
    return write(tensor, _draws().normal(mean, std, tensor.shape))


def trunc_normal_(tensor: T, mean: float = 0.0, std: float = 1.0, a: float = -2.0, b: float = 2.0) -> T:
    """Normal, drawn again until it lies between ``a`` and ``b``."""
    if not a < b or max(a - mean, mean - b) > 4 * std:
        raise ArgumentError(
            f"trunc_normal_: from a={a} to b={b} there is too little of mean={mean}, std={std}"
        )
    draws = _draws()
    x = draws.normal(mean, std, tensor.size)
    while (outside := np.flatnonzero((x < a) | (x > b))).size:
        x[outside] = draws.normal(mean, std, outside.size)
    return write(tensor, x.reshape(tensor.shape))


def constant_(tensor: T, val: float) -> T:
    """All equal to ``val``."""
    return write(tensor, np.full(tensor.shape, val))


def zeros_(tensor: T) -> T:
    """All 0."""
    return constant_(tensor, 0.0)


def ones_(tensor: T) -> T:
    """All 1."""
    return constant_(tensor, 1.0)


def eye_(tensor: T) -> T:
    """1 on the diagonal of a matrix, 0 elsewhere."""
    if tensor.ndim != 2:
        raise ShapeError(f"eye_: needs a matrix, not shape {tensor.shape}")
    return write(tensor, np.eye(tensor.shape[0], tensor.shape[1]))


def xavier_uniform_(tensor: T, gain: float = 1.0) -> T:
    """Uniform of variance gain² 2 / (fan_in + fan_out).  Glorot and Bengio, 2010"""
    bound = gain * math.sqrt(6.0 / sum(fans("xavier_uniform_", tensor)))
    return uniform_(tensor, -bound, bound)


def xavier_normal_(tensor: T, gain: float = 1.0) -> T:
    """Normal of variance gain² 2 / (fan_in + fan_out).  Glorot and Bengio, 2010"""
    return normal_(tensor, 0.0, gain * math.sqrt(2.0 / sum(fans("xavier_normal_", tensor))))


def kaiming_uniform_(tensor: T, a: float = 0.0, mode: str = "fan_in", nonlinearity: str = "leaky_relu") -> T:
    """Uniform of variance gain² / fan, for layers before ``nonlinearity`` of slope ``a``.  He et al., 2015"""
    bound = math.sqrt(3.0) * _kaiming("kaiming_uniform_", tensor, a, mode, nonlinearity)
    return uniform_(tensor, -bound, bound)


def kaiming_normal_(tensor: T, a: float = 0.0, mode: str = "fan_in", nonlinearity: str = "leaky_relu") -> T:
    """Normal of variance gain² / fan, for layers before ``nonlinearity`` of slope ``a``.  He et al., 2015"""
    return normal_(tensor, 0.0, _kaiming("kaiming_normal_", tensor, a, mode, nonlinearity))


def orthogonal_(tensor: T, gain: float = 1.0) -> T:
    """A matrix (out, in * K) with orthonormal rows or columns, times ``gain``.  Saxe et al., 2014"""
    if tensor.ndim < 2:
        raise ShapeError(f"orthogonal_: needs at least two axes, not shape {tensor.shape}")
    rows, columns = tensor.shape[0], math.prod(tensor.shape[1:])
    q, r = np.linalg.qr(_draws().standard_normal((max(rows, columns), min(rows, columns))))
    q *= np.where(np.diagonal(r) < 0, -1.0, 1.0)  # makes the distribution uniform (Mezzadri, 2007)
    return write(tensor, gain * (q if rows >= columns else q.T).reshape(tensor.shape))


GAINS = {
    "linear": 1.0, "conv1d": 1.0, "conv2d": 1.0, "conv3d": 1.0, "conv_transpose1d": 1.0,
    "conv_transpose2d": 1.0, "conv_transpose3d": 1.0, "sigmoid": 1.0, "tanh": 5.0 / 3.0,
    "relu": math.sqrt(2.0), "selu": 0.75,
}  # fmt: skip


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """What the standard deviation of weights before ``nonlinearity`` is multiplied by.

    ``param``: the slope of leaky_relu, 0.01 unless given.
    """
    if nonlinearity == "leaky_relu":
        return math.sqrt(2.0 / (1 + (0.01 if param is None else param) ** 2))
    if nonlinearity not in GAINS:
        raise ArgumentError(
            f"calculate_gain: nonlinearity={nonlinearity!r}; choose leaky_relu, {', '.join(GAINS)}"
        )
    return GAINS[nonlinearity]


def fans(what: str, tensor: Tensor) -> tuple[int, int]:
    """(fan_in, fan_out) of a weight (out, in, *K): in and out, each times the size of the window."""
    if tensor.ndim < 2:
        raise ShapeError(f"{what}: needs at least two axes, (out, in, ...), not shape {tensor.shape}")
    window = math.prod(tensor.shape[2:])
    return tensor.shape[1] * window, tensor.shape[0] * window


def _kaiming(what: str, tensor: Tensor, a: float, mode: str, nonlinearity: str) -> float:
    """The standard deviation."""
    if mode not in ("fan_in", "fan_out"):
        raise ArgumentError(f"{what}: mode={mode!r}; choose 'fan_in' or 'fan_out'")
    fan = fans(what, tensor)[mode == "fan_out"]
    return calculate_gain(nonlinearity, a) / math.sqrt(max(fan, 1))


def _draws() -> np.random.Generator:
    key, stream = next_key()
    return np.random.Generator(np.random.Philox(key=np.array([key[0], stream], np.uint64)))


def write(tensor: T, numbers: np.ndarray) -> T:
    """The numbers, cast, into the Tensor's own memory."""
    target: Any = tensor
    with no_grad():
        target.copy_(numbers)
    return tensor
