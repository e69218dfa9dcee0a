"""Every name under which arithmetic, sums and truths are known, in a form in which a file has it: by hand.

The registry is walked, so that no name stands there that nothing asks for.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from cortex_compute.errors import SpecError
from cortex_core.exchange.keras import of_tensorflow
from cortex_core.exchange.keras.arithmetic import ACTIVATIONS, OPERATIONS
from cortex_core.exchange.keras.model import Call, Layer, Out
from tests.exchange.keras.test_operations import A, B, X, Y, computed, converted, function, node

PX, PY = X > 0, Y > 0
P, Q = Out("p"), Out("q")
FLOAT = {"type": "DT_FLOAT"}
LENGTH = np.sqrt((X * X).sum(-1, keepdims=True))
with np.errstate(invalid="ignore"):
    LOG, LOG1P, ROOT = np.log(X), np.log1p(X), np.sqrt(X)


def truth(made: Layer) -> list[Layer]:
    """The numbers of what it gives, with the truths P and Q, of where A and B are above 0."""
    above = [
        Layer(name, "TFOpLambda", {"function": "math.greater"}, (Call((x, 0.0), {}),))
        for name, x in (("p", A), ("q", B))
    ]
    return [function("cast", Out("truth"), dtype="float32"), replace(made, name="truth"), *above]


def chosen(made: Layer) -> list[Layer]:
    return [made, *truth(made)[2:]]


def keras3(kind: str, *args: Any, **config: Any) -> Layer:
    return Layer("it", f"ops.{kind}", config, (Call(args or (A,), {}),))


BY_NAME: dict[str, tuple[Layer | list[Layer], Any]] = {
    "abs": (function("math.abs", A), abs(X)),
    "absolute": (keras3("Absolute"), abs(X)),
    "add": (function("math.add", A, y=B), X + Y),
    "addn": (node("AddN", A, B, A, N={"i": "3"}, T=FLOAT), X + Y + X),
    "addv2": (node("AddV2", A, B, T=FLOAT), X + Y),
    "amax": (keras3("Amax", axis=1, keepdims=False), X.max(1)),
    "amin": (keras3("Amin", axis=1, keepdims=True), X.min(1, keepdims=True)),
    "any": (truth(node("Any", P, constants={"1": [1]}, Tidx={"type": "DT_INT32"})), PX.any(1)),
    "biasadd": (node("BiasAdd", A, constants={"1": [1.0, 2, 3, 4]}, T=FLOAT), X + np.arange(1, 5)),
    "cast": (function("cast", A, dtype="float32"), X),
    "clip": (function("keras.backend.clip", A, 0.5, 0.75), np.clip(X, 0.5, 0.75)),
    "clipbyvalue": (function("clip_by_value", A, -1.0, 0.25), np.clip(X, -1, 0.25)),
    "concat": (function("concat", [A, B], 1), np.concatenate([X, Y], 1)),
    "concatenate": (function("keras.backend.concatenate", [A, B]), np.concatenate([X, Y], -1)),
    "concatv2": (node("ConcatV2", A, B, constants={"2": 1}, N={"i": "2"}), np.concatenate([X, Y], 1)),
    "converttotensor": (function("convert_to_tensor", A), X),
    "copy": (keras3("Copy"), X),
    "cos": (function("math.cos", A), np.cos(X)),
    "div": (node("Div", A, B, T=FLOAT), X / Y),
    "divide": (function("math.divide", A, B), X / Y),
    "eq": (truth(function("__operators__.eq", A, A)), X == X),
    "equal": (truth(function("math.equal", A, B)), X == Y),
    "erf": (function("math.erf", A), np.vectorize(math.erf)(X)),
    "expm1": (function("math.expm1", A), np.expm1(X)),
    "greater": (truth(function("math.greater", A, B)), X > Y),
    "greaterequal": (truth(node("GreaterEqual", A, A, T=FLOAT)), X >= X),
    "identity": (function("identity", A), X),
    "invert": (truth(function("__operators__.invert", P)), ~PX),
    "keras.backend.sqrt": (function("keras.backend.sqrt", A), np.sqrt(np.maximum(X, 0))),
    "l2normalize": (function("math.l2_normalize", A, axis=-1), X / LENGTH),
    "less": (truth(function("math.less", A, B)), X < Y),
    "lessequal": (truth(node("LessEqual", A, A, T=FLOAT)), X <= X),
    "log": (function("math.log", A), LOG),
    "log1p": (function("math.log1p", A), LOG1P),
    "logicaland": (truth(node("LogicalAnd", P, Q)), PX & PY),
    "logicalnot": (truth(function("math.logical_not", P)), ~PX),
    "logicalor": (truth(function("math.logical_or", P, Q)), PX | PY),
    "max": (node("Max", A, constants={"1": 1}, keep_dims={"b": False}), X.max(1)),
    "maximum": (function("math.maximum", A, B), np.maximum(X, Y)),
    "mean": (function("keras.backend.mean", A, axis=1), X.mean(1)),
    "min": (function("keras.backend.min", A, axis=-1), X.min(-1)),
    "minimum": (function("math.minimum", A, 0.25), np.minimum(X, 0.25)),
    "mul": (node("Mul", A, B, T=FLOAT), X * Y),
    "multiply": (function("math.multiply", A, B), X * Y),
    "ne": (truth(function("__operators__.ne", A, B)), X != Y),
    "neg": (node("Neg", A, T=FLOAT), -X),
    "negative": (function("math.negative", A), -X),
    "norm": (function("norm", A, axis=1), np.sqrt((X * X).sum(1))),
    "notequal": (truth(function("math.not_equal", A, A)), X != X),
    "oneslike": (truth(keras3("OnesLike", dtype="bool")), np.ones_like(X)),
    "ops.normalize": (keras3("Normalize", axis=-1, order=2, epsilon=None), X / LENGTH),
    "pow": (function("math.pow", A, 3), X**3),
    "power": (keras3("Power", A, 2), X**2),
    "radd": (function("__operators__.radd", A, 2.0), 2 + X),
    "realdiv": (node("RealDiv", A, B, T=FLOAT), X / Y),
    "reciprocal": (function("math.reciprocal", A), 1 / X),
    "reduceany": (truth(function("math.reduce_any", P, axis=-1, keepdims=True)), PX.any(-1, keepdims=True)),
    "reduceeuclideannorm": (function("math.reduce_euclidean_norm", A, axis=1), np.sqrt((X * X).sum(1))),
    "reducemax": (function("math.reduce_max", A, axis=1), X.max(1)),
    "reducemean": (function("math.reduce_mean", A, axis=1), X.mean(1)),
    "reducemin": (function("math.reduce_min", A, axis=1), X.min(1)),
    "reducestd": (function("math.reduce_std", A, axis=1), X.std(1)),
    "reducesum": (function("math.reduce_sum", A, axis=1), X.sum(1)),
    "reducevariance": (function("math.reduce_variance", A, axis=1), X.var(1)),
    "rmul": (function("__operators__.rmul", A, 2.0), 2 * X),
    "rsqrt": (function("math.rsqrt", A), 1 / ROOT),
    "rsub": (function("__operators__.rsub", A, 2.0), 2 - X),
    "rtruediv": (function("__operators__.rtruediv", A, 2.0), 2 / X),
    "selectv2": (chosen(node("SelectV2", P, A, constants={"2": -1.0}, T=FLOAT)), np.where(PX, X, -1)),
    "sin": (function("math.sin", A), np.sin(X)),
    "sqrt": (function("math.sqrt", A), ROOT),
    "square": (function("math.square", A), X**2),
    "squareddifference": (function("math.squared_difference", A, B), (X - Y) ** 2),
    "std": (function("keras.backend.std", A, axis=1), X.std(1)),
    "stopgradient": (function("stop_gradient", A), X),
    "sub": (node("Sub", A, B, T=FLOAT), X - Y),
    "subtract": (function("math.subtract", A, B), X - Y),
    "sum": (node("Sum", A, constants={"1": [1, 2]}, keep_dims={"b": True}), X.sum((1, 2), keepdims=True)),
    "truediv": (function("math.truediv", A, B), X / Y),
    "truedivide": (keras3("TrueDivide", A, B), X / Y),
    "var": (function("keras.backend.var", A, axis=1), X.var(1)),
    "where": (chosen(function("where", P, A, y=B)), np.where(PX, X, Y)),
    "zeroslike": (truth(keras3("ZerosLike", dtype="bool")), np.zeros_like(X)),
}
MODULES = tuple(f"{of_tensorflow.__package__}.{name}" for name in ("arithmetic", "reductions", "truths"))
NAMES = sorted(name for name, made in OPERATIONS.items() if made.__module__ in MODULES)


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
@pytest.mark.parametrize("name", [name for name in NAMES if name not in ACTIVATIONS])
def test_every_name(name: str) -> None:
    made, right = BY_NAME[name]
    np.testing.assert_allclose(computed(*([made] if isinstance(made, Layer) else made)), right, 1e-5, 1e-6)


@pytest.mark.parametrize(
    ("made", "told"),
    [
        (function("math.l2_normalize", A), "axis is None; supported"),
        (function("keras.backend.l2_normalize", A), "axis is None; supported"),
        (function("linalg.normalize", A, axis=-1), "the function 'linalg.normalize' is not known"),
        (function("experimental.numpy.concatenate", [A, B]), "'experimental.numpy.concatenate' is not known"),
        (function("math.logical_not", A), "truths are supported that the model computes"),
        (function("math.reduce_any", A, axis=1), "truths are supported that the model computes"),
        (keras3("ZerosLike", dtype=None), "zeroslike of float32 as None is not supported: truths are"),
    ],
)
def test_what_is_refused(made: Layer, told: str) -> None:
    with pytest.raises(SpecError, match=told):
        converted(made)
