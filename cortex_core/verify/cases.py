"""The cases of the gradient suite for what this package registers: layers, losses, pointwise functions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from cortex_core.ops import pointwise as ops
from cortex_core.ops.pointwise import scalar, select
from cortex_core.registry import LAYERS, LOSSES
from cortex_core.verify.case import GAP, Case, apart, away, cases, of_layer, of_loss

Rng = np.random.Generator
Made = Iterator[Case]
Draw = Callable[[Rng], tuple[np.ndarray, ...]]


def layer(name: str, **fields: Any) -> Any:
    """A layer with these fields."""
    return LAYERS[name](**fields)


def loss(name: str, **fields: Any) -> Any:
    """A loss with these fields."""
    return LOSSES[name](**fields)


@cases("layer", "dense")
def dense(rng: Rng) -> Made:
    x = rng.normal(size=(3, 4))
    yield of_layer("matrix", layer("dense", units=2), x, rng=rng)
    yield of_layer("no bias, tanh", layer("dense", units=2, use_bias=False, activation="tanh"), x, rng=rng)
    yield of_layer("sequence", layer("dense", units=2), rng.normal(size=(2, 3, 2)), rng=rng)
    yield of_layer("gelu", layer("dense", units=2, activation="gelu"), x, rng=rng)


@cases("layer", "conv1d")
def conv1d(rng: Rng) -> Made:
    x = rng.normal(size=(2, 7, 2))
    yield of_layer("valid", layer("conv1d", filters=2, kernel=3), x, rng=rng)
    yield of_layer(
        "same, stride 2", layer("conv1d", filters=1, kernel=4, stride=2, padding="same"), x, rng=rng
    )
    yield of_layer("dilated", layer("conv1d", filters=2, kernel=2, dilation=3, padding=[[2, 0]]), x, rng=rng)


@cases("layer", "conv2d")
def conv2d(rng: Rng) -> Made:
    x = rng.normal(size=(2, 4, 5, 2))
    yield of_layer("valid", layer("conv2d", filters=2, kernel=[2, 3]), x, rng=rng)
    yield of_layer(
        "same, stride 2", layer("conv2d", filters=1, kernel=3, stride=2, padding="same"), x, rng=rng
    )
    yield of_layer(
        "uneven padding", layer("conv2d", filters=1, kernel=2, padding=[[2, 0], [0, 1]]), x, rng=rng
    )
    yield of_layer("groups", layer("conv2d", filters=4, kernel=2, groups=2, activation="sigmoid"), x, rng=rng)
    yield of_layer(
        "dilated", layer("conv2d", filters=1, kernel=2, dilation=[2, 3], use_bias=False), x, rng=rng
    )


def pooling(name: str, spatial: tuple[int, ...]) -> None:
    """The cases of a pooling layer over windows."""

    @cases("layer", name)
    def generator(rng: Rng) -> Made:
        x = apart(rng, (2, *spatial, 2))
        yield of_layer("whole windows", layer(name, size=2), x, rng=rng)
        yield of_layer("overlapping, same", layer(name, size=3, stride=2, padding="same"), x, rng=rng)
        yield of_layer("padded", layer(name, size=2, padding=1), x, rng=rng)


for _name, _spatial in (("1d", (5,)), ("2d", (4, 3)), ("3d", (2, 3, 2))):
    pooling(f"max_pool{_name}", _spatial)
    pooling(f"avg_pool{_name}", _spatial)


def global_pooling(name: str, spatial: tuple[int, ...]) -> None:
    """The cases of a pooling layer over everything."""

    @cases("layer", name)
    def generator(rng: Rng) -> Made:
        x = apart(rng, (2, *spatial, 3))
        yield of_layer("", layer(name), x, rng=rng)
        yield of_layer("axes kept", layer(name, keepdims=True), x, rng=rng)


for _name, _spatial in (("1d", (4,)), ("2d", (3, 2)), ("3d", (2, 1, 3))):
    global_pooling(f"global_max_pool{_name}", _spatial)
    global_pooling(f"global_avg_pool{_name}", _spatial)


@cases("layer", "batch_norm")
def batch_norm(rng: Rng) -> Made:
    x = rng.normal(size=(3, 2, 2, 3)) + 1
    yield of_layer("training", layer("batch_norm"), x, rng=rng)
    yield of_layer(
        "training, plain", layer("batch_norm", scale=False, center=False, epsilon=0.1), x[:, 0, 0], rng=rng
    )
    yield of_layer("prediction", layer("batch_norm"), x, rng=rng, training=False)
    yield of_layer("prediction, plain", layer("batch_norm", scale=False), x[:, 0], rng=rng, training=False)
    elementwise = layer("batch_norm", mode="elementwise")
    yield of_layer("elementwise", elementwise, x[:, 0], rng=rng)
    yield of_layer("elementwise, prediction", elementwise, x[:, 0], rng=rng, training=False)


@cases("layer", "layer_norm")
def layer_norm(rng: Rng) -> Made:
    x = rng.normal(size=(2, 3, 4)) + 1
    yield of_layer("affine", layer("layer_norm"), x, rng=rng)
    yield of_layer("plain", layer("layer_norm", scale=False, center=False, epsilon=0.1), x[0], rng=rng)
    yield of_layer("two axes", layer("layer_norm", axes=2), x, rng=rng)


@cases("layer", "rms_norm")
def rms_norm(rng: Rng) -> Made:
    x = rng.normal(size=(2, 3, 4)) + 1
    yield of_layer("scaled", layer("rms_norm"), x, rng=rng)
    yield of_layer("plain", layer("rms_norm", scale=False, epsilon=0.1), x[0], rng=rng)


@cases("layer", "group_norm")
def group_norm(rng: Rng) -> Made:
    x = rng.normal(size=(2, 2, 2, 4)) + 1
    yield of_layer("affine", layer("group_norm", groups=2), x, rng=rng)
    yield of_layer("each", layer("group_norm", groups=4, scale=False, center=False), x[:, 0], rng=rng)


@cases("layer", "dropout")
def dropout(rng: Rng) -> Made:
    x = rng.normal(size=(4, 6))
    yield of_layer("training", layer("dropout", rate=0.4), x, rng=rng)
    yield of_layer("prediction", layer("dropout", rate=0.4), x, rng=rng, training=False)


@cases("layer", "stochastic_depth")
def stochastic_depth(rng: Rng) -> Made:
    x = rng.normal(size=(4, 2, 3))
    yield of_layer("training", layer("stochastic_depth", rate=0.4), x, rng=rng)


@cases("layer", "alpha_dropout")
def alpha_dropout(rng: Rng) -> Made:
    yield of_layer("training", layer("alpha_dropout", rate=0.4), rng.normal(size=(4, 6)), rng=rng)


@cases("layer", "gaussian_noise")
def gaussian_noise(rng: Rng) -> Made:
    x = rng.normal(size=(4, 3))
    yield of_layer("training", layer("gaussian_noise", deviation=0.4), x, rng=rng)
    yield of_layer("prediction", layer("gaussian_noise", deviation=0.4), x, rng=rng, training=False)


@cases("layer", "gaussian_dropout")
def gaussian_dropout(rng: Rng) -> Made:
    x = rng.normal(size=(4, 3))
    yield of_layer("training", layer("gaussian_dropout", rate=0.4), x, rng=rng)
    yield of_layer("prediction", layer("gaussian_dropout", rate=0.4), x, rng=rng, training=False)


@cases("layer", "prelu")
def prelu(rng: Rng) -> Made:
    x = away(rng, (3, 2, 4), 0)
    yield of_layer("channel", layer("prelu"), x, rng=rng)
    yield of_layer("element", layer("prelu", per="element"), x, rng=rng)
    yield of_layer("shared", layer("prelu", per="element", shared=[1]), x, rng=rng)


@cases("layer", "embedding")
def embedding(rng: Rng) -> Made:
    yield of_layer(
        "repeated", layer("embedding", tokens=5, units=3), np.array([[1, 0, 1], [4, 1, 2]]), rng=rng
    )


@cases("layer", "add")
def add(rng: Rng) -> Made:
    yield of_layer("three", layer("add"), *rng.normal(size=(3, 2, 4)), rng=rng)


@cases("layer", "multiply")
def multiply(rng: Rng) -> Made:
    yield of_layer("three", layer("multiply"), *rng.normal(size=(3, 2, 4)), rng=rng)
    image, gate = rng.normal(size=(2, 3, 2, 2)), rng.normal(size=(2, 1, 1, 2))
    yield of_layer("along an axis", layer("multiply"), image, gate, rng=rng)


@cases("layer", "concatenate")
def concatenate(rng: Rng) -> Made:
    a, b = rng.normal(size=(2, 3, 2)), rng.normal(size=(2, 3, 3))
    yield of_layer("last axis", layer("concatenate"), a, b, rng=rng)
    yield of_layer("axis 1", layer("concatenate", axis=1), a, b[..., :2], a, rng=rng)


@cases("layer", "flatten")
def flatten(rng: Rng) -> Made:
    yield of_layer("image", layer("flatten"), rng.normal(size=(2, 2, 3, 2)), rng=rng)


@cases("layer", "reshape")
def reshape(rng: Rng) -> Made:
    yield of_layer("rest", layer("reshape", shape=[4, -1]), rng.normal(size=(2, 2, 3, 2)), rng=rng)


@cases("layer", "permute")
def permute(rng: Rng) -> Made:
    yield of_layer("image", layer("permute", axes=[3, 1, 2]), rng.normal(size=(2, 2, 3, 2)), rng=rng)


# Activations: the fields of those that have some, and where each one has kinks.
ACTIVATIONS: dict[str, tuple[dict[str, Any], tuple[float, ...]]] = {
    "linear": ({}, ()),
    "relu": ({}, (0,)),
    "relu6": ({}, (0, 6)),
    "leaky_relu": ({"slope": 0.2}, (0,)),
    "elu": ({"alpha": 0.7}, (0,)),
    "selu": ({}, (0,)),
    "gelu": ({}, ()),
    "gelu_tanh": ({}, ()),
    "silu": ({}, ()),
    "sigmoid": ({}, ()),
    "tanh": ({}, ()),
    "softplus": ({}, ()),
    "softsign": ({}, (0,)),
    "softmax": ({"axis": 1}, ()),
    "log_softmax": ({}, ()),
    "hard_sigmoid": ({}, (-3, 3)),
    "hard_swish": ({}, (-3, 3)),
    "mish": ({}, ()),
    "exponential": ({}, ()),
    "clipped_relu": ({"maximum": 4.0, "slope": 0.2, "threshold": 1.0}, (1, 4)),
    "celu": ({"alpha": 0.7}, (0,)),
    "hard_tanh": ({}, (-1, 1)),
    "log_sigmoid": ({}, ()),
    "tanh_shrink": ({}, ()),
    "soft_shrink": ({}, (-0.5, 0.5)),
    "hard_shrink": ({}, (-0.5, 0.5)),
    "squareplus": ({}, ()),
    "sparse_plus": ({}, (-1, 1)),
}


def activation(name: str) -> None:
    """The cases of an activation, over numbers on both sides of its kinks and far out."""

    @cases("layer", name)
    def generator(rng: Rng) -> Made:
        fields, kinks = ACTIVATIONS[name]
        x = np.concatenate(
            [away(rng, (2, 3, 4), *kinks), np.full((2, 3, 1), 5.5), np.full((2, 3, 1), -5.5)], 2
        )
        yield of_layer("", layer(name, **fields), x, rng=rng)


for _name in ACTIVATIONS:
    activation(_name)


@cases("loss", "softmax_cross_entropy")
def softmax_cross_entropy(rng: Rng) -> Made:
    x, labels = 2 * rng.normal(size=(5, 3)), np.array([0, 2, 1, 2, 0])
    probabilities = rng.dirichlet(np.ones(3), 5)
    weighted = loss("softmax_cross_entropy", class_weights=[0.5, 2, 1], label_smoothing=0.1)
    yield of_loss("index", loss("softmax_cross_entropy"), x, labels)
    yield of_loss("index, smoothed, weighted", weighted, x, labels)
    yield of_loss("index, ignored", loss("softmax_cross_entropy", ignore_index=2), x, labels)
    yield of_loss("probabilities", loss("softmax_cross_entropy"), x, probabilities)
    yield of_loss("probabilities, smoothed, weighted", weighted, x, probabilities)
    sequence = loss("softmax_cross_entropy", ignore_index=0, class_weights=[1, 2, 3])
    yield of_loss("sequence", sequence, rng.normal(size=(3, 2, 3)), np.array([[0, 1], [2, 2], [0, 0]]))


@cases("loss", "binary_cross_entropy")
def binary_cross_entropy(rng: Rng) -> Made:
    x, p, t = 3 * rng.normal(size=(4, 2)), rng.uniform(0.1, 0.9, (4, 2)), rng.uniform(size=(4, 2))
    options = {"positive_weight": 3.0, "label_smoothing": 0.2}
    yield of_loss("probabilities", loss("binary_cross_entropy"), p, t)
    yield of_loss("probabilities, weighted", loss("binary_cross_entropy", **options), p, t)
    yield of_loss("logits", loss("binary_cross_entropy", from_logits=True), x, t)
    yield of_loss("logits, weighted", loss("binary_cross_entropy", from_logits=True, **options), x, t)
    yield of_loss("one unit", loss("binary_cross_entropy"), p[:, :1], np.array([0, 1, 1, 0]))


@cases("loss", "mse")
def mse(rng: Rng) -> Made:
    yield of_loss("matrix", loss("mse"), rng.normal(size=(3, 4)), rng.normal(size=(3, 4)))
    yield of_loss("one unit", loss("mse"), rng.normal(size=(3, 1)), rng.normal(size=3))


@cases("loss", "mae")
def mae(rng: Rng) -> Made:
    difference, t = away(rng, (3, 4), 0), rng.normal(size=(3, 4))
    yield of_loss("matrix", loss("mae"), t + difference, t)


# Pointwise functions.  What gives no number steers a `select`, so that a gradient flows beside it.


def real(rng: Rng) -> tuple[np.ndarray, ...]:
    """Numbers of both signs, none of them near 0."""
    return (away(rng, (3, 4), 0),)


def positive(rng: Rng) -> tuple[np.ndarray, ...]:
    """Numbers between 0.3 and 3."""
    return (rng.uniform(0.3, 3, (3, 4)),)


def pair(rng: Rng) -> tuple[np.ndarray, ...]:
    """Two arrays that broadcast."""
    return away(rng, (3, 4), 0), away(rng, (4,), 0)


def positive_pair(rng: Rng) -> tuple[np.ndarray, ...]:
    """Two arrays of positive numbers that broadcast."""
    return rng.uniform(0.5, 2, (3, 4)), rng.uniform(0.5, 2, (3, 1))


def ordered(rng: Rng) -> tuple[np.ndarray, ...]:
    """Two arrays whose elements are not near each other."""
    x = rng.normal(size=(3, 4))
    return x, x + away(rng, (3, 4), 0)


def between(rng: Rng) -> tuple[np.ndarray, ...]:
    """Numbers that are not near whole ones."""
    return (rng.integers(-3, 3, (3, 4)) + rng.uniform(GAP, 1 - GAP, (3, 4)),)


def pointwise(name: str, draw: Draw, *functions: Callable[..., Any]) -> None:
    """The cases of a scalar function: itself, or ``functions`` of the drawn arrays that use it."""

    @cases("pointwise", name)
    def generator(rng: Rng) -> Made:
        for i, f in enumerate(functions or (partial(scalar, name),)):
            yield Case(str(i) if i else "", f, draw(rng))


def compared(name: str) -> Callable[[Any, Any], Any]:
    """A function of two arrays that a comparison steers."""
    return lambda a, b: select(scalar(name, a, b), a * a, a * b)


for _name in ("neg", "tanh", "sigmoid", "erf", "sin", "cos", "exp", "expm1", "abs", "relu"):
    pointwise(_name, real)
for _name in ("log", "log1p", "sqrt", "rsqrt"):
    pointwise(_name, positive)
for _name in ("add", "sub", "mul", "div"):
    pointwise(_name, pair)
for _name in ("min", "max"):
    pointwise(_name, ordered)
for _name in ("lt", "le", "gt", "ge", "eq", "ne"):
    pointwise(_name, ordered, compared(_name))
pointwise("floor", between)
pointwise("pow", positive_pair, ops.pow, lambda a, b: a**-1.5 + a**4 + b**3 + b**2 + 2.0**b)
pointwise("select", pair, lambda a, b: select(a > 0, a * b, b * b))
pointwise("and", pair, lambda a, b: select((a > 0) & (b > 0), a * a, a * b))
pointwise("or", pair, lambda a, b: select((a > 0) | (b > 0), a * a, a * b))
pointwise("not", pair, lambda a, b: select(~(a > 0), a * a, a * b))
pointwise("isfinite", pair, lambda a, b: select(ops.isfinite(a), a * b, b))
