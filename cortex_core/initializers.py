"""Initial weights: what a description may name as an initialiser.

``draw(shape, generator, fan)`` gives float32 numbers, drawn on the host in float64 and rounded at the end,
so that every backend starts from the same bits; ``fan`` is `fans` of the shape.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from cortex_compute.errors import CortexError, ShapeError
from cortex_core.registry import Fault, field, initializer

Shape = tuple[int, ...]
Fan = tuple[int, int]
TRUNCATED = 0.8796256610342398  # the standard deviation of a standard normal cut off at two


def fans(shape: Shape) -> Fan:
    """(fan_in, fan_out) of a kernel (*K, in, out): in and out, each times the size prod(K) of the window.

    A vector of n has (n, n).  Layers whose kernels see less than their shape tells, such as convolutions in
    groups, give `Parameter` a ``fan`` of their own.
    """
    if len(shape) < 2:
        return (math.prod(shape),) * 2
    window = math.prod(shape[:-2])
    return window * shape[-2], window * shape[-1]


def truncated(shape: Shape, generator: np.random.Generator) -> np.ndarray:
    """Standard normal numbers, each drawn again until it lies in -2 .. 2.  float64"""
    x = generator.standard_normal(math.prod(shape))
    outside = np.flatnonzero(np.abs(x) > 2)
    while outside.size:
        x[outside] = generator.standard_normal(outside.size)
        outside = outside[np.abs(x[outside]) > 2]
    return x.reshape(shape)


def normal_of(variance: float, shape: Shape, generator: np.random.Generator) -> np.ndarray:
    """Truncated normal numbers of mean 0 and this variance (after truncation).  float32"""
    return (math.sqrt(variance) / TRUNCATED * truncated(shape, generator)).astype(np.float32)


def uniform_of(variance: float, shape: Shape, generator: np.random.Generator) -> np.ndarray:
    """Uniform numbers of mean 0 and this variance.  float32"""
    limit = math.sqrt(3 * variance)
    return generator.uniform(-limit, limit, shape).astype(np.float32)


@initializer("auto")
class Auto:
    """Chosen when the description is resolved, from the activation that follows the layer:
    he_normal before what is like relu, lecun_normal before selu, glorot_uniform otherwise."""

    def draw(self, shape: Shape, generator: np.random.Generator, fan: Fan) -> np.ndarray:
        raise CortexError("auto is no initialiser yet: reading a description chooses one; name one here")


@initializer("zeros")
class Zeros:
    """All zero."""

    def draw(self, shape: Shape, generator: np.random.Generator, fan: Fan) -> np.ndarray:
        return np.zeros(shape, np.float32)


@initializer("ones")
class Ones:
    """All one."""

    def draw(self, shape: Shape, generator: np.random.Generator, fan: Fan) -> np.ndarray:
        return np.ones(shape, np.float32)


@initializer("constant", main="value")
class Constant:
    """All equal to ``value``."""

    value: float = field(doc="the value of every element")

    def draw(self, shape: Shape, generator: np.random.Generator, fan: Fan) -> np.ndarray:
        return np.full(shape, self.value, np.float32)


@initializer("normal", main="std")
class Normal:
    """Normal with mean ``mean`` and standard deviation ``std``."""

    mean: float = field(default=0.0, doc="mean")
    std: float = field(default=0.05, doc="standard deviation", minimum=0)

    def draw(self, shape: Shape, generator: np.random.Generator, fan: Fan) -> np.ndarray:
        return generator.normal(self.mean, self.std, shape).astype(np.float32)


@initializer("truncated_normal", main="std")
class TruncatedNormal:
    """Normal, drawn again outside two standard deviations of the underlying normal."""

    mean: float = field(default=0.0, doc="mean")
    std: float = field(default=0.05, doc="standard deviation before truncation", minimum=0)

    def draw(self, shape: Shape, generator: np.random.Generator, fan: Fan) -> np.ndarray:
        return (self.mean + self.std * truncated(shape, generator)).astype(np.float32)


@initializer("uniform")
class Uniform:
    """Uniform between ``low`` and ``high``."""

    low: float = field(default=-0.05, doc="lower end")
    high: float = field(default=0.05, doc="upper end")

    def check(self) -> Iterator[Fault]:
        """The ends must be in order."""
        if self.low > self.high:
            yield Fault(("low",), f"low {self.low:g} is above high {self.high:g}", "expected low <= high")

    def draw(self, shape: Shape, generator: np.random.Generator, fan: Fan) -> np.ndarray:
        return generator.uniform(self.low, self.high, shape).astype(np.float32)


@initializer("glorot_normal")
class GlorotNormal:
    """Truncated normal of variance 2 / (fan_in + fan_out).  Glorot and Bengio, 2010."""

    def draw(self, shape: Shape, generator: np.random.Generator, fan: Fan) -> np.ndarray:
        return normal_of(2 / max(1, sum(fan)), shape, generator)


@initializer("glorot_uniform")
class GlorotUniform:
    """Uniform of variance 2 / (fan_in + fan_out).  Glorot and Bengio, 2010."""

    def draw(self, shape: Shape, generator: np.random.Generator, fan: Fan) -> np.ndarray:
        return uniform_of(2 / max(1, sum(fan)), shape, generator)


@initializer("he_normal")
class HeNormal:
    """Truncated normal of variance 2 / fan_in, for what is like relu.  He et al., 2015."""

    def draw(self, shape: Shape, generator: np.random.Generator, fan: Fan) -> np.ndarray:
        return normal_of(2 / max(1, fan[0]), shape, generator)


@initializer("he_uniform")
class HeUniform:
    """Uniform of variance 2 / fan_in, for what is like relu.  He et al., 2015."""

    def draw(self, shape: Shape, generator: np.random.Generator, fan: Fan) -> np.ndarray:
        return uniform_of(2 / max(1, fan[0]), shape, generator)


@initializer("lecun_normal")
class LecunNormal:
    """Truncated normal of variance 1 / fan_in, for selu.  LeCun et al., 1998; Klambauer et al., 2017."""

    def draw(self, shape: Shape, generator: np.random.Generator, fan: Fan) -> np.ndarray:
        return normal_of(1 / max(1, fan[0]), shape, generator)


@initializer("lecun_uniform")
class LecunUniform:
    """Uniform of variance 1 / fan_in.  LeCun et al., 1998."""

    def draw(self, shape: Shape, generator: np.random.Generator, fan: Fan) -> np.ndarray:
        return uniform_of(1 / max(1, fan[0]), shape, generator)


@initializer("orthogonal", main="gain")
class Orthogonal:
    """A matrix with orthonormal rows or columns, times ``gain``; all axes but the last count as rows.

    Saxe et al., 2014.
    """

    gain: float = field(default=1.0, doc="factor")

    def draw(self, shape: Shape, generator: np.random.Generator, fan: Fan) -> np.ndarray:
        if len(shape) < 2:
            raise ShapeError(f"orthogonal needs at least two axes, got shape {shape}")
        rows, columns = math.prod(shape[:-1]), shape[-1]
        q, r = np.linalg.qr(generator.standard_normal((max(rows, columns), min(rows, columns))))
        q *= np.where(np.diagonal(r) < 0, -1.0, 1.0)  # makes the distribution uniform (Mezzadri, 2007)
        return (self.gain * (q if rows >= columns else q.T)).reshape(shape).astype(np.float32)


auto = Auto()
zeros = Zeros()
ones = Ones()
