"""Sums, extremes and what is made of them along an axis."""

from __future__ import annotations

import numpy as np

from cortex_compute.primitives.normalization import LayerNorm
from cortex_compute.primitives.reduce import Reduce
from cortex_compute.primitives.softmax import LogSoftmax, Softmax
from cortex_compute.types import DType
from cortex_core.exchange.to_onnx.at import At, translates
from cortex_core.exchange.to_onnx.types import code_of

OPS = {"mean": "ReduceMean", "prod": "ReduceProd", "max": "ReduceMax", "min": "ReduceMin"}


@translates(Reduce, "ReduceSum", *OPS.values(), "ArgMax", "ArgMin")
def _reduce(at: At) -> str:
    p, keepdims = at.p, int(at.p.keepdims)
    if p.kind in ("argmax", "argmin"):
        op = "ArgMax" if p.kind == "argmax" else "ArgMin"
        return at.emit(op, at.names[0], axis=p.axes[0], keepdims=keepdims)
    x = _as(at, at.names[0], at.types[0].dtype, at.node.types[0].dtype)
    if not p.axes:
        return x
    if p.kind == "sum":
        return at.emit("ReduceSum", x, at.writer.constant(np.array(p.axes, np.int64)), keepdims=keepdims)
    return at.emit(OPS[p.kind], x, axes=p.axes, keepdims=keepdims)


def _as(at: At, name: str, given: DType, wanted: DType) -> str:
    return name if given is wanted else at.emit("Cast", name, to=code_of(wanted))


@translates(Softmax, "Softmax")
def _softmax(at: At) -> str:
    return at.emit("Softmax", at.names[0], axis=-1)


@translates(LogSoftmax, "LogSoftmax")
def _log_softmax(at: At) -> str:
    return at.emit("LogSoftmax", at.names[0], axis=-1)


@translates(LayerNorm, "LayerNormalization")
def _layer_norm(at: At) -> str:
    """The mean and the variance are not given: no prediction reads them."""
    return at.emit("LayerNormalization", *at.names, axis=-1, epsilon=at.p.epsilon)
