"""Batch norm with given statistics, which is a pointwise formula here, and a node of its own in ONNX."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from cortex_compute.expression import Code, build
from cortex_compute.primitives.elementwise import Elementwise
from cortex_compute.primitives.views import Reshape
from cortex_core.graph.value import Value

if TYPE_CHECKING:
    from cortex_core.exchange.to_onnx.at import At

AFFINE = build(lambda x, mean, factor, shift: (x - mean) * factor + shift, 4).code
SCALED = build(lambda x, mean, factor: (x - mean) * factor, 3).code
PRODUCT = build(lambda a, b: a * b, 2).code
ROOT = build(lambda x: x.builder.make("rsqrt", x), 1).code
PLUS = Code(1, [("add", ("a", 0), ("l", 0))], [("t", 0)])


class Factor(NamedTuple):
    """scale / sqrt(variance + epsilon); the scale may be absent."""

    scale: Value | None
    variance: Value
    epsilon: float


def recognised(at: At) -> str | None:
    """The name of the result, where a formula over images (N, C, *S) or rows (N, C) is batch norm."""
    if at.p.code not in (AFFINE, SCALED) or at.p.literals:
        return None
    x, *vectors = at.node.inputs
    channels = x.shape[1] if x.ndim > 1 else 0
    if any(v.shape != (channels, *(1,) * (x.ndim - 2)) for v in vectors):
        return None
    mean, whole, *shift = map(_flat, vectors)
    factor = _factor(whole)
    if factor is None or any(v.shape != (channels,) for v in (mean, factor.variance, *shift)):
        return None
    if factor.scale is not None and factor.scale.shape != (channels,):
        return None
    scale = (
        at.writer.constant(np.ones(channels, np.float32)) if factor.scale is None else at.name(factor.scale)
    )
    added = at.name(shift[0]) if shift else at.writer.constant(np.zeros(channels, np.float32))
    statistics = (at.name(mean), at.name(factor.variance))
    return at.emit("BatchNormalization", at.name(x), scale, added, *statistics, epsilon=factor.epsilon)


def _flat(x: Value) -> Value:
    while isinstance(x.node.primitive, Reshape):
        x = x.node.inputs[0]
    return x


def _factor(x: Value) -> Factor | None:
    scale: Value | None = None
    if _code(x) == PRODUCT:
        roots = [v for v in x.node.inputs if _code(v) == ROOT]
        others = [v for v in x.node.inputs if _code(v) != ROOT]
        if len(roots) != 1 or len(others) != 1:
            return None
        x, scale = roots[0], others[0]
    if _code(x) != ROOT or _code(x.node.inputs[0]) != PLUS:
        return None
    plus = x.node.inputs[0].node
    return Factor(scale, plus.inputs[0], float(plus.primitive.literals[0].value))


def _code(x: Value) -> Code | None:
    p = x.node.primitive
    return p.code if isinstance(p, Elementwise) else None
