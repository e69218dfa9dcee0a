"""Softmax and its relatives, in float64."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from cortex_compute.primitives.softmax import (
    LogSoftmax,
    Softmax,
    SoftmaxCrossEntropy,
    SoftmaxCrossEntropyGrad,
)
from cortex_compute.types import DType
from cortex_compute.verify.case import Case, Operands, cases, integers, normal, positive, together
from cortex_compute.verify.reference import magnitude, reference

Arrays = tuple[np.ndarray, ...]


def _shifted(x: np.ndarray) -> np.ndarray:
    return np.asarray(x - x.max(-1, keepdims=True, initial=-np.inf))


def _softmax(x: np.ndarray) -> np.ndarray:
    power = np.exp(_shifted(x))
    return np.asarray(power / power.sum(-1, keepdims=True))


def _log_sum(x: np.ndarray) -> np.ndarray:
    return np.asarray(np.log(np.exp(_shifted(x)).sum(-1, keepdims=True)))


def _log_sum_size(x: np.ndarray) -> np.ndarray:
    """An error of eps in each exponential, and of eps |x - max| in each exponent, weighted."""
    return np.asarray(1 + _log_sum(x) + np.sum(_softmax(x) * np.abs(_shifted(x)), -1, keepdims=True))


@reference(Softmax)
def softmax(p: Softmax, x: np.ndarray) -> Arrays:
    return (_softmax(x),)


@magnitude(Softmax)
def softmax_size(p: Softmax, x: np.ndarray) -> Arrays:
    return (_softmax(x) * (np.abs(_shifted(x)) + _log_sum_size(x)),)


@reference(LogSoftmax)
def log_softmax(p: LogSoftmax, x: np.ndarray) -> Arrays:
    return (_shifted(x) - _log_sum(x),)


@magnitude(LogSoftmax)
def log_softmax_size(p: LogSoftmax, x: np.ndarray) -> Arrays:
    return (np.abs(_shifted(x)) + _log_sum_size(x),)


def _target(labels: np.ndarray, n: int, smoothing: float) -> np.ndarray:
    hit = np.clip(labels.astype(np.int64), 0, n - 1)[..., None] == np.arange(n)
    return np.asarray((1 - smoothing) * hit + smoothing / n)


@reference(SoftmaxCrossEntropy)
def cross_entropy(p: SoftmaxCrossEntropy, logits: np.ndarray, labels: np.ndarray) -> Arrays:
    target = _target(labels, logits.shape[-1], p.label_smoothing)
    terms = np.where(target > 0, target * (_log_sum(logits) - _shifted(logits)), 0)
    return terms.sum(-1), _softmax(logits)


@magnitude(SoftmaxCrossEntropy)
def cross_entropy_size(p: SoftmaxCrossEntropy, logits: np.ndarray, labels: np.ndarray) -> Arrays:
    target = _target(labels, logits.shape[-1], p.label_smoothing)
    size = np.abs(_shifted(logits)) + _log_sum_size(logits)
    return np.where(target > 0, target * size, 0).sum(-1), _softmax(logits) * size


@reference(SoftmaxCrossEntropyGrad)
def cross_entropy_gradient(
    p: SoftmaxCrossEntropyGrad, probabilities: np.ndarray, labels: np.ndarray, g: np.ndarray
) -> Arrays:
    target = _target(labels, probabilities.shape[-1], p.label_smoothing)
    return (g[..., None] * (probabilities - target),)


@magnitude(SoftmaxCrossEntropyGrad)
def cross_entropy_gradient_size(
    p: SoftmaxCrossEntropyGrad, probabilities: np.ndarray, labels: np.ndarray, g: np.ndarray
) -> Arrays:
    target = _target(labels, probabilities.shape[-1], p.label_smoothing)
    return (np.abs(g)[..., None] * (np.abs(probabilities) + target),)


SHAPES = {
    "rows": (4, 7),
    "one row without a batch axis": (7,),
    "images": (2, 3, 4, 5),
    "one class": (5, 1),
    "size-1 axes": (1, 3, 1, 2),
    "empty batch": (0, 7),
    "narrow rows in blocks": (2000, 10),
    "wide rows in blocks": (300, 70),
    "a row wider than a block": (2, 17000),
}


def _far(rng: np.random.Generator, dtype: DType) -> list[np.ndarray]:
    """Rows around -1000 to 1000, where exp overflows, and ties."""
    x = rng.standard_normal((9, 6)) * 3 + np.linspace(-1000, 1000, 9)[:, None]
    x[4] = 80.0
    return [x.astype(dtype.storage)]


def _not_finite(rng: np.random.Generator, dtype: DType) -> list[np.ndarray]:
    x = rng.standard_normal((6, 5))
    x[0, 1] = np.nan
    x[1, 2] = np.inf
    x[2, 3] = -np.inf
    x[3] = -np.inf
    return [x.astype(dtype.storage)]


@cases(Softmax, LogSoftmax)
def softmaxes() -> Iterator[Case]:
    for primitive in (Softmax(), LogSoftmax()):
        for name, shape in SHAPES.items():
            yield Case(name, primitive, normal(shape))
        yield Case("no classes", primitive, normal((3, 0)))
        yield Case("far from 0", primitive, _far)
        yield Case("not finite", primitive, _not_finite)


def _labels(shape: tuple[int, ...]) -> Operands:
    return integers(0, shape[-1], shape[:-1])


@cases(SoftmaxCrossEntropy)
def cross_entropies() -> Iterator[Case]:
    for name, shape in SHAPES.items():
        operands = together(normal(shape), _labels(shape))
        yield Case(name, SoftmaxCrossEntropy(), operands)
        yield Case(f"{name}, smoothed", SoftmaxCrossEntropy(0.1), operands)
    yield Case("far from 0", SoftmaxCrossEntropy(), together(_far, integers(0, 6, (9,))))
    yield Case("not finite", SoftmaxCrossEntropy(), together(_not_finite, integers(0, 5, (6,))))
    yield Case("labels outside", SoftmaxCrossEntropy(), together(normal((8, 3)), integers(-3, 6, (8,))))
    yield Case("small labels", SoftmaxCrossEntropy(), together(normal((8, 3)), integers(0, 3, (8,), "uint8")))


@cases(SoftmaxCrossEntropyGrad)
def cross_entropy_gradients() -> Iterator[Case]:
    for name, shape in SHAPES.items():
        operands = together(positive(shape), _labels(shape), normal(shape[:-1]))
        yield Case(name, SoftmaxCrossEntropyGrad(), operands)
        yield Case(f"{name}, smoothed", SoftmaxCrossEntropyGrad(0.1), operands)
    outside = together(positive((8, 3)), integers(-3, 6, (8,)), normal((8,)))
    yield Case("labels outside", SoftmaxCrossEntropyGrad(), outside)
