"""Softmax, its logarithm, and the cross entropy of class indices; all over the last axis."""

from __future__ import annotations

from cortex_compute.errors import DTypeError
from cortex_compute.frozen import frozen
from cortex_compute.primitives.base import Primitive
from cortex_compute.types import TensorType


@frozen
class Softmax(Primitive):
    """y = exp(x) / sum(exp(x)) over the last axis, computed from x - max(x).   x (..., C) -> (..., C)

    A row with a NaN or +inf, or of -inf alone, becomes NaN.
    """

    operands = ("x",)

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        self.expect_count(types, 1)
        self.floating(*types)
        self.expect(types[0].rank >= 1, "x has shape (); needs at least one axis")
        return types

    def flops(self, *types: TensorType) -> int:
        return 5 * types[0].size


@frozen
class LogSoftmax(Primitive):
    """y = x - log(sum(exp(x))) over the last axis, computed from x - max(x).   x (..., C) -> (..., C)"""

    operands = ("x",)

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        self.expect_count(types, 1)
        self.floating(*types)
        self.expect(types[0].rank >= 1, "x has shape (); needs at least one axis")
        return types

    def flops(self, *types: TensorType) -> int:
        return 5 * types[0].size


@frozen
class SoftmaxCrossEntropy(Primitive):
    """-sum(t log softmax(logits)) per row, t = (1 - a) onehot(label) + a / C, with a the label smoothing.

    logits (B..., C), labels (B...) integers -> loss (B...), probabilities (B..., C).  A label outside 0..C-1
    is taken as the nearest one inside: labels are checked where data is read, not in every step.
    """

    operands = ("logits", "labels")
    label_smoothing: float = 0.0

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        self.expect_count(types, 2)
        logits, labels = types
        self.floating(logits)
        self.integer(1, labels)
        _expect_labels(self, "logits", logits, labels)
        return TensorType(labels.shape, logits.dtype), logits

    def flops(self, *types: TensorType) -> int:
        return 5 * types[0].size


@frozen
class SoftmaxCrossEntropyGrad(Primitive):
    """dlogits = g (p - t), with t as in `SoftmaxCrossEntropy`.

    probabilities p (B..., C), labels (B...) integers, g (B...) -> dlogits (B..., C)
    """

    operands = ("probabilities", "labels", "g")
    label_smoothing: float = 0.0

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        self.expect_count(types, 3)
        probabilities, labels, g = types
        self.floating(probabilities)
        self.integer(1, labels)
        if g.dtype is not probabilities.dtype:
            raise DTypeError(f"{self.name}: g is {g.dtype}, not {probabilities.dtype} as probabilities are")
        _expect_labels(self, "probabilities", probabilities, labels)
        self.expect(g.shape == labels.shape, "g has shape {}, labels have {}", g.shape, labels.shape)
        return (probabilities,)

    def flops(self, *types: TensorType) -> int:
        return 3 * types[0].size


def _expect_labels(
    p: SoftmaxCrossEntropy | SoftmaxCrossEntropyGrad, name: str, x: TensorType, labels: TensorType
) -> None:
    """Rejects labels that are not one per row, an empty last axis, and a smoothing that is not in 0..1."""
    p.expect(x.rank >= 1 and x.shape[-1] > 0, "{} have shape {}; need at least one class", name, x.shape)
    p.expect(labels.shape == x.shape[:-1], "labels have shape {}, {} have {}", labels.shape, name, x.shape)
    p.expect(0 <= p.label_smoothing <= 1, "label_smoothing is {}; needs 0 to 1", p.label_smoothing)
