"""Batch norm and layer norm, with their gradients.

Both are (x - mean) / sqrt(variance + epsilon) * scale + shift; they differ in the axes that mean and variance
are taken over.  The variance is the biased one: divided by n, not by n - 1.

x, y and their gradients are of one floating type.  Scale, shift, mean, variance and the gradients of the
first two have that type too, but float32 beside an x of 16 bits: a sum over a whole batch, or a parameter
that moves by a thousandth of itself, is lost in fewer bits.
"""

from __future__ import annotations

from typing import ClassVar

from cortex_compute.errors import DTypeError
from cortex_compute.frozen import frozen
from cortex_compute.primitives.base import OPAQUE, Primitive
from cortex_compute.types import DType, TensorType, float32


def vector_type(x: DType) -> DType:
    """The type of scale, shift, mean and variance beside an x of type ``x``."""
    return float32 if x.itemsize == 2 else x


@frozen
class Normalization(Primitive):
    """What the four have in common: the operands, and epsilon, which is added to the variance."""

    epsilon: float = 1e-5
    wide: ClassVar[tuple[str, ...]] = ("scale", "shift", "mean", "variance")

    def _expect_types(self, *types: TensorType) -> None:
        """Rejects an x that is not floating, and operands that have neither its type nor that of vectors."""
        x = types[0].dtype
        self.floating(types[0])
        for name, t in zip(self.operands, types):
            wanted = vector_type(x) if name in self.wide else x
            if t.dtype is not wanted and name != "residual":
                raise DTypeError(f"{self.name}: x is {x}, {name} is {t.dtype}; cast {name} to {wanted}")

    def _check(self, x: TensorType, vectors: dict[str, tuple[TensorType, tuple[int, ...]]]) -> None:
        self.expect(x.rank >= 2 and x.shape[-1] > 0, "x has shape {}; needs (..., channels)", x.shape)
        self.expect(self.epsilon >= 0, "epsilon is {}; needs a number not below 0", self.epsilon)
        for name, (t, shape) in vectors.items():
            self.expect(t.shape == shape, "{} has shape {}, x {} needs {}", name, t.shape, x.shape, shape)

    def flops(self, *types: TensorType) -> int:
        return 8 * types[0].size


@frozen
class BatchNorm(Normalization):
    """y = (x - mean) / sqrt(variance + epsilon) * scale + shift, per channel.

    x (..., C), scale (C,), shift (C,) -> y (..., C), mean (C,), variance (C,).  Mean and variance are
    over all axes but the last.  Ioffe and Szegedy, 2015.
    """

    operands = ("x", "scale", "shift")

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        self.expect_count(types, 3)
        self._expect_types(*types)
        x, scale, shift = types
        self._check(x, {"scale": (scale, x.shape[-1:]), "shift": (shift, x.shape[-1:])})
        return x, scale, scale


@frozen
class BatchNormGrad(Normalization):
    """The gradients of `BatchNorm` for a gradient of y, with its mean and variance.

    x (..., C), scale (C,), mean (C,), variance (C,), g (..., C) -> dx (..., C), dscale (C,), dshift (C,).
    With r = 1 / sqrt(variance + epsilon) and h = (x - mean) r:  dshift = sum(g);  dscale = sum(g h);
    dx = scale r (g - mean(g) - h mean(g h)), the sums and means over all axes but the last.
    """

    operands: ClassVar[tuple[str, ...]] = ("x", "scale", "mean", "variance", "g")

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        self.expect_count(types, 5)
        self._expect_types(*types)
        return self._gradients(*types)

    def _gradients(
        self, x: TensorType, scale: TensorType, mean: TensorType, variance: TensorType, g: TensorType
    ) -> tuple[TensorType, ...]:
        named = {"scale": scale, "mean": mean, "variance": variance}
        self._check(x, {name: (t, x.shape[-1:]) for name, t in named.items()})
        self.expect(g.shape == x.shape, "g has shape {}, x has {}", g.shape, x.shape)
        return x, scale, scale

    def flops(self, *types: TensorType) -> int:
        return 10 * types[0].size


@frozen
class BatchNormRelu(BatchNorm):
    """y = relu(`BatchNorm`), where a NaN stays NaN.

    x (..., C), scale (C,), shift (C,) -> y (..., C), mean (C,), variance (C,), residual.  The compiler makes
    it after differentiation, where the backend offers it: it has no gradient rule and no decomposition.
    """

    residual = True

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        return (*super().infer(*types), OPAQUE)

    def flops(self, *types: TensorType) -> int:
        return super().flops(*types) + types[0].size


@frozen
class BatchNormReluGrad(BatchNormGrad):
    """`BatchNormGrad` of g where y > 0, of 0 elsewhere, with the y and the residual of `BatchNormRelu`.

    x (..., C), scale (C,), mean (C,), variance (C,), y (..., C), residual, g (..., C) -> dx (..., C),
    dscale (C,), dshift (C,).  A backend reads y or the residual.
    """

    operands = ("x", "scale", "mean", "variance", "y", "residual", "g")

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        self.expect_count(types, 7)
        x, scale, mean, variance, y, _, g = types
        self._expect_types(*types)
        self.expect(y.shape == x.shape, "y has shape {}, x has {}", y.shape, x.shape)
        return self._gradients(x, scale, mean, variance, g)

    def flops(self, *types: TensorType) -> int:
        return super().flops(*types) + types[0].size


@frozen
class LayerNorm(Normalization):
    """y = (x - mean) / sqrt(variance + epsilon) * scale + shift, over the last axis.

    x (B..., C), scale (C,), shift (C,) -> y (B..., C), mean (B...), variance (B...).  Ba et al., 2016.
    """

    operands = ("x", "scale", "shift")

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        self.expect_count(types, 3)
        self._expect_types(*types)
        x, scale, shift = types
        self._check(x, {"scale": (scale, x.shape[-1:]), "shift": (shift, x.shape[-1:])})
        rows = TensorType(x.shape[:-1], scale.dtype)
        return x, rows, rows


@frozen
class LayerNormGrad(Normalization):
    """The gradients of `LayerNorm` for a gradient of y, with its mean and variance.

    x, g (B..., C), scale (C,), mean, variance (B...) -> dx (B..., C), dscale (C,), dshift (C,).
    With r = 1 / sqrt(variance + epsilon), h = (x - mean) r and k = g scale:  dshift = sum(g) and
    dscale = sum(g h) over all axes but the last;  dx = r (k - mean(k) - h mean(k h)), means over the last.
    """

    operands = ("x", "scale", "mean", "variance", "g")

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        self.expect_count(types, 5)
        self._expect_types(*types)
        x, scale, mean, variance, g = types
        rows = x.shape[:-1]
        self._check(x, {"scale": (scale, x.shape[-1:]), "mean": (mean, rows), "variance": (variance, rows)})
        self.expect(g.shape == x.shape, "g has shape {}, x has {}", g.shape, x.shape)
        return x, scale, scale

    def flops(self, *types: TensorType) -> int:
        return 13 * types[0].size
