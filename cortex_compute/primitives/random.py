"""Random numbers: Philox4x64-10 counted by element, so that every backend draws the same.

Salmon, Moraes, Dror, Shaw: Parallel random numbers: as easy as 1, 2, 3 (SC 2011), with the key (seed, stream)
and the counter [block, 0, run, 0].  A block gives four 64-bit words; the first is number 1, as NumPy counts.
"""

from __future__ import annotations

from cortex_compute.errors import DTypeError
from cortex_compute.frozen import frozen
from cortex_compute.primitives.base import Primitive
from cortex_compute.types import DType, TensorType, bool_, float32, float64, uint64

LEVELS = 65536  # a Bernoulli draw looks at 16 bits


def bernoulli_threshold(p: float) -> int:
    """The 16-bit draws below this number succeed."""
    return round(p * LEVELS)


@frozen
class Random(Primitive):
    """Draws for ``key`` = (seed, run), uint64[2].

    uniform: element i is 32-bit half i % 2 of word i // 2, shifted right by 8, times 2^-24, so in [0, 1).
    normal: of the uniforms u, elements 2j and 2j + 1 are r cos a and r sin a, r = sqrt(-2 log(1 - u[2j])),
    a = 2 pi u[2j + 1] (Box and Muller 1958); 1 - u is in (0, 1].
    bernoulli: element i is true if 16-bit quarter i % 4 of word i // 4 is below round(65536 p).
    Halves and quarters count from the lowest bits.  ``stream`` tells uses with one key apart.
    """

    operands = ("key",)
    kind: str
    stream: int
    shape: tuple[int, ...]
    dtype: DType = float32
    p: float = 0.5

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        self.expect_count(types, 1)
        (key,) = types
        if key.dtype is not uint64:
            raise DTypeError(f"Random: key is {key.dtype}; needs uint64, (seed, run)")
        self.expect(key.shape == (2,), "key has shape {}; needs (2,), (seed, run)", key.shape)
        self.expect(self.kind in ("uniform", "normal", "bernoulli"),
                    "kind is {!r}; known are uniform, normal, bernoulli", self.kind)  # fmt: skip
        self.expect(0 <= self.stream < 2**64, "stream is {}; needs 64 bits", self.stream)
        self.expect(all(n >= 0 for n in self.shape), "shape is {}", self.shape)
        self.expect(0 <= self.p <= 1, "p is {}; needs a probability", self.p)
        known = (bool_,) if self.kind == "bernoulli" else (float32, float64)
        if self.dtype not in known:
            names = " or ".join(map(str, known))
            raise DTypeError(f"Random: {self.kind} gives {names}, not {self.dtype}; cast the result")
        return (TensorType(self.shape, self.dtype),)

    def flops(self, *types: TensorType) -> int:
        return TensorType(self.shape).size * (10 if self.kind == "normal" else 1)
