"""Fully connected layers, and layers that only look differently at what they are given."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from cortex_compute.errors import ArgumentError, ShapeError
from cortex_compute.types import dtype as as_dtype
from cortex_core.nn import functional as F
from cortex_core.nn import init
from cortex_core.nn.module import Module, Parameter
from cortex_core.ops.views import reshape


def check_size(what: str, key: str, given: object, least: int = 1) -> None:
    """Refuses what is no size."""
    if not isinstance(given, (int, np.integer)) or given < least:
        raise ArgumentError(f"{what}: {key}={given!r}; needs a whole number of {least} or more")


def empty(*shape: int, dtype: object = None) -> Parameter:
    """A parameter whose numbers are still to be written."""
    if not all(isinstance(n, (int, np.integer)) and n >= 0 for n in shape):
        raise ArgumentError(f"a parameter of shape {shape}: expected whole numbers of 0 or more")
    return Parameter(np.empty(shape, as_dtype(dtype or "float32").storage))


def reset(weight: Parameter, bias: Parameter | None) -> None:
    """PyTorch's initial numbers of all its layers: uniform between -1 / sqrt(fan_in) and 1 / sqrt(fan_in)."""
    init.kaiming_uniform_(weight, a=math.sqrt(5))
    if bias is not None:
        bound = 1 / math.sqrt(max(init.fans("bias", weight)[0], 1))
        init.uniform_(bias, -bound, bound)


class Identity(Module):
    """x; whatever arguments are given are ignored."""

    def __init__(self, *args: Any, **keywords: Any) -> None:
        super().__init__()

    def forward(self, input: Any) -> Any:
        return input


class Linear(Module):
    """y = x weightᵀ + bias.   x (..., in), weight (out, in), bias (out,) -> (..., out)"""

    def __init__(self, in_features: int, out_features: int, bias: bool = True, dtype: object = None) -> None:
        super().__init__()
        self.in_features, self.out_features = in_features, out_features
        self.weight = empty(out_features, in_features, dtype=dtype)
        self.register_parameter("bias", empty(out_features, dtype=dtype) if bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws the weights anew."""
        reset(self.weight, self.bias)

    def forward(self, input: Any) -> Any:
        if input.shape[-1:] != (self.in_features,):
            raise ShapeError(
                f"{self!r}: the input has shape {input.shape}; its last axis must be {self.in_features}"
            )
        return F.linear(input, self.weight, self.bias)

    def extra_repr(self) -> str:
        bias = self.bias is not None
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={bias}"


class Bilinear(Module):
    """y[o] = x1ᵀ weight[o] x2 + bias[o].   (..., in1), (..., in2), weight (out, in1, in2) -> (..., out)"""

    def __init__(
        self,
        in1_features: int,
        in2_features: int,
        out_features: int,
        bias: bool = True,
        dtype: object = None,
    ) -> None:
        super().__init__()
        self.in1_features, self.in2_features, self.out_features = in1_features, in2_features, out_features
        self.weight = empty(out_features, in1_features, in2_features, dtype=dtype)
        self.register_parameter("bias", empty(out_features, dtype=dtype) if bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws the weights anew: uniform between -1 / sqrt(in1) and 1 / sqrt(in1)."""
        bound = 1 / math.sqrt(max(self.in1_features, 1))
        for parameter in self.parameters():
            init.uniform_(parameter, -bound, bound)

    def forward(self, input1: Any, input2: Any) -> Any:
        return F.bilinear(input1, input2, self.weight, self.bias)

    def extra_repr(self) -> str:
        return (
            f"in1_features={self.in1_features}, in2_features={self.in2_features}, "
            f"out_features={self.out_features}, bias={self.bias is not None}"
        )


class Flatten(Module):
    """The axes from ``start_dim`` to ``end_dim`` as one.   (N, A, B, ...) -> (N, A B ...)"""

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        super().__init__()
        self.start_dim, self.end_dim = start_dim, end_dim

    def forward(self, input: Any) -> Any:
        rank = len(input.shape)
        start, end = (d + rank if d < 0 else d for d in (self.start_dim, self.end_dim))
        if not 0 <= start <= end < max(rank, 1):
            raise ShapeError(f"{self!r}: the input of shape {input.shape} has no such axes")
        middle = math.prod(input.shape[start : end + 1])
        return reshape(input, (*input.shape[:start], middle, *input.shape[end + 1 :]))

    def extra_repr(self) -> str:
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"


class Unflatten(Module):
    """The axis ``dim`` as several of the sizes given; one may be -1."""

    def __init__(self, dim: int, unflattened_size: Sequence[int]) -> None:
        super().__init__()
        self.dim, self.unflattened_size = dim, tuple(unflattened_size)

    def forward(self, input: Any) -> Any:
        rank = len(input.shape)
        at = self.dim + rank if self.dim < 0 else self.dim
        sizes, known = self.unflattened_size, math.prod(n for n in self.unflattened_size if n != -1)
        if 0 <= at < rank and sizes.count(-1) == 1 and known:
            sizes = tuple(input.shape[at] // known if n == -1 else n for n in sizes)
        if not 0 <= at < rank or math.prod(sizes) != input.shape[at]:
            raise ShapeError(f"{self!r}: the input has shape {input.shape}")
        return reshape(input, (*input.shape[:at], *sizes, *input.shape[at + 1 :]))

    def extra_repr(self) -> str:
        return f"dim={self.dim}, unflattened_size={self.unflattened_size}"
