"""Where in a sequence something stands: encodings that are added, and rotations of queries and keys."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Literal

import numpy as np

from cortex_compute.primitives.normalization import vector_type
from cortex_compute.types import TensorType, dtype
from cortex_core.initializers import Normal
from cortex_core.layers.expect import floating, refuse
from cortex_core.layers.scope import Parameter, Scope
from cortex_core.layers.stepping import StepScope
from cortex_core.ops.indexing import concatenate, gather
from cortex_core.ops.pointwise import cast, cos, pointwise, sin
from cortex_core.registry import Fault, Initializer, field, layer

BASE = 10000.0


def frequencies(size: int, base: float = BASE) -> np.ndarray:
    """base^(-2 i / size), one for each pair of channels i.   (ceil(size / 2),)"""
    return base ** (-np.arange(0, size, 2) / size)


@pointwise
def _wave(position: Any, frequency: Any, phase: Any) -> Any:
    return sin(cast(position, "float64") * frequency + phase)


@layer("positional_encoding", main="kind")
class PositionalEncoding:
    """x plus a vector for each position.   x (B, T, C) -> (B, T, C)

    sinusoidal: sin(t f) in the even channels and cos(t f) in the odd ones, where pair i of channels has
    f = 10000^(-2 i / C).  learned: row t of a table (length, C).  Vaswani et al., 2017.

    Example:
        inputs: {sequence: [3, 4]}
        layers: [positional_encoding: {kind: learned, length: 3}]
    """

    form: Literal["sinusoidal", "learned"] = field(
        default="sinusoidal", doc="sinusoidal or learned", name="kind"
    )
    length: int | None = field(default=None, doc="how many positions are learned", minimum=1)
    initializer: Initializer = field(default=Normal(std=0.02), doc="initial table")

    def check(self) -> Iterator[Fault]:
        """A table has a length, and only a table."""
        if self.form == "learned" and self.length is None:
            yield Fault(("length",), "learned positions need 'length'", "expected how many there are at most")
        if self.form == "sinusoidal" and self.length is not None:
            yield Fault(("length",), "sinusoidal positions go on for ever", "expected no length")

    @property
    def positions(self) -> int | None:
        """How many there are at most."""
        return self.length

    def parameters(self, x: TensorType) -> Iterator[Parameter]:
        if x.rank != 3:
            refuse("positional_encoding needs (length, channels)", x)
        floating(self, x)
        if self.length is not None:
            if x.shape[1] > self.length:
                refuse(f"positional_encoding has learned {self.length} positions, not {x.shape[1]}", x)
            yield Parameter("table", (self.length, x.shape[-1]), self.initializer)

    def forward(self, p: Scope, x: Any) -> Any:
        length = x.shape[1]
        if self.length is not None:
            return x + p.table[:length]
        steps = np.arange(length, dtype=np.float64)[:, None]
        of_channels, phase = self._waves(x)
        return _plus(x, np.sin(steps * of_channels + phase))

    def step(self, p: StepScope, x: Any) -> Any:
        if self.length is not None:
            return x + gather(p.table, p.position)
        return _plus(x, _wave(p.position, *self._waves(x)))

    def _waves(self, x: Any) -> tuple[np.ndarray, np.ndarray]:
        """The frequency and the phase of each channel: cos is a sine that is ahead by a quarter."""
        channels = np.arange(x.shape[-1])
        return frequencies(x.shape[-1])[channels // 2], channels % 2 * (math.pi / 2)


def _plus(x: Any, waves: Any) -> Any:
    """x with float64 waves, added in float32 beside 16 bits."""
    wide = vector_type(dtype(x.dtype))
    added = waves.astype(wide.storage) if isinstance(waves, np.ndarray) else cast(waves, wide)
    return cast(cast(x, wide) + added, x.dtype)


@pointwise
def _left(a: Any, b: Any, cosine: Any, sine: Any) -> Any:
    return a * cosine - b * sine


@pointwise
def _right(a: Any, b: Any, cosine: Any, sine: Any) -> Any:
    return b * cosine + a * sine


def rotate(x: Any, base: float, position: Any = None) -> Any:
    """Channels i and i + D / 2 of each head, turned by the angle t base^(-2 i / D) at position t.

    x (B, T, N, D) with D even -> (B, T, N, D).  ``position``: the index of the one position that x has, else
    they count from 0.  The product of two rotated vectors depends on the distance of their positions alone.
    RoFormer (Su et al., 2021), which pairs neighbouring channels; halves are the same with channels in
    another order.
    """
    half, wide = x.shape[-1] // 2, vector_type(dtype(x.dtype))
    turns = frequencies(x.shape[-1], base)
    if position is None:
        angles = np.arange(x.shape[1])[:, None, None] * turns
        cosine, sine = (f(angles).astype(wide.storage) for f in (np.cos, np.sin))
    else:
        angle = cast(position, "float64") * turns
        cosine, sine = (cast(f(angle), wide) for f in (cos, sin))
    whole = cast(x, wide)
    a, b = whole[..., :half], whole[..., half:]
    turned = [f(a, b, cosine, sine) for f in (_left, _right)]
    return cast(concatenate(turned, -1), x.dtype)
