"""Sums, extremes and what is made of them along an axis."""

from __future__ import annotations

import numpy as np

from cortex_compute.primitives.normalization import LayerNorm
from cortex_compute.primitives.reduce import Reduce
from cortex_compute.primitives.softmax import LogSoftmax, Softmax
from cortex_core.exchange.to_onnx.at import At, translates
from cortex_core.exchange.to_onnx.kernels import cast, run

OPS = {"mean": "ReduceMean", "prod": "ReduceProd", "max": "ReduceMax", "min": "ReduceMin"}


@translates(Reduce, "ReduceSum", *OPS.values(), "ArgMax", "ArgMin")
def _reduce(at: At) -> str:
    p, keepdims = at.p, int(at.p.keepdims)
    if p.kind in ("argmax", "argmin"):
        op = "ArgMax" if p.kind == "argmax" else "ArgMin"
        return at.run(op, at.names, back=False, axis=p.axes[0], keepdims=keepdims)
    made = at.node.types[0].dtype
    x = cast(at.writer, at.names[0], at.types[0].dtype, made)
    if not p.axes:
        return x
    if p.kind == "sum":
        axes = at.writer.constant(np.array(p.axes, np.int64))
        return run(at.writer, "ReduceSum", made, [x], axes, keepdims=keepdims)
    return run(at.writer, OPS[p.kind], made, [x], axes=p.axes, keepdims=keepdims)


@translates(Softmax, "Softmax")
def _softmax(at: At) -> str:
    return at.run("Softmax", at.names, axis=-1)


@translates(LogSoftmax, "LogSoftmax")
def _log_softmax(at: At) -> str:
    return at.run("LogSoftmax", at.names, axis=-1)


@translates(LayerNorm, "LayerNormalization")
def _layer_norm(at: At) -> str:
    """In the type of scale and shift.  The mean and the variance are not given: no prediction reads them."""
    (x, *vectors), given, computing = at.names, at.types[0].dtype, at.types[1].dtype
    operands = [cast(at.writer, x, given, computing), *vectors]
    y = run(at.writer, "LayerNormalization", computing, operands, axis=-1, epsilon=at.p.epsilon)
    return cast(at.writer, y, computing, given)
