"""Attention with all of its scores at once, in float64."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from cortex_compute.primitives.attention import Attending, Attention, AttentionGrad
from cortex_compute.types import DType
from cortex_compute.verify.case import Case, Operands, cases
from cortex_compute.verify.reference import magnitude, reference, widen

Arrays = tuple[np.ndarray, ...]


class Scores(NamedTuple):
    """Operands by head, (B, N, T, ...), k and v repeated for grouped queries; scores and what they are made
    of, (B, N, Tq, Tk), those of hidden keys -inf and of size 0.
    """

    q: np.ndarray
    k: np.ndarray
    v: np.ndarray
    score: np.ndarray
    size: np.ndarray


def by_head(x: np.ndarray) -> np.ndarray:
    return x.transpose(0, 2, 1, 3)


def scores(p: Attending, q: np.ndarray, k: np.ndarray, v: np.ndarray, mask: np.ndarray | None) -> Scores:
    group = q.shape[2] // k.shape[2]
    q, k, v = by_head(q), by_head(k).repeat(group, 1), by_head(v).repeat(group, 1)
    seen = np.tri(q.shape[2], k.shape[2], dtype=bool) if p.causal else np.ones((q.shape[2], k.shape[2]), bool)
    if mask is not None:
        seen = seen & mask
    score = p.scale * (q @ k.swapaxes(2, 3))
    size = abs(p.scale) * (np.abs(q) @ np.abs(k).swapaxes(2, 3))
    return Scores(q, k, v, np.where(seen, score, -np.inf), np.where(seen, size, 0))


def power(score: np.ndarray, logarithm: np.ndarray) -> np.ndarray:
    """exp(score - logarithm), 0 where no key is seen."""
    shift = np.where(logarithm == -np.inf, 0, logarithm)[..., None]
    return np.asarray(np.exp(score - shift))


def log_sum(score: np.ndarray) -> np.ndarray:
    largest = score.max(-1)
    largest = np.where(np.isfinite(largest), largest, 0)
    return np.asarray(np.log(np.exp(score - largest[..., None]).sum(-1)) + largest)


@reference(Attention)
def attention(
    p: Attention, q: np.ndarray, k: np.ndarray, v: np.ndarray, mask: np.ndarray | None = None
) -> Arrays:
    s = scores(p, q, k, v, mask)
    logarithm = log_sum(s.score)
    return by_head(power(s.score, logarithm) @ s.v), logarithm


@magnitude(Attention)
def attention_size(
    p: Attention, q: np.ndarray, k: np.ndarray, v: np.ndarray, mask: np.ndarray | None = None
) -> Arrays:
    """An error in a score counts in its own power, and by its share in the logarithm."""
    s = scores(p, q, k, v, mask)
    logarithm = log_sum(s.score)
    share = power(s.score, logarithm)
    total = 1 + _finite(np.abs(logarithm)) + np.sum(share * s.size, -1)
    return by_head((share * (1 + s.size + total[..., None])) @ np.abs(s.v)), total


@reference(AttentionGrad)
def attention_gradient(
    p: AttentionGrad, q: np.ndarray, k: np.ndarray, v: np.ndarray, *rest: np.ndarray
) -> Arrays:
    s, share, y, g = _given(p, q, k, v, rest)
    slope = share * (g @ s.v.swapaxes(2, 3) - np.sum(g * y, -1, keepdims=True))
    return _gradients(p, s, slope, share, g, k.shape[2])


@magnitude(AttentionGrad)
def attention_gradient_size(
    p: AttentionGrad, q: np.ndarray, k: np.ndarray, v: np.ndarray, *rest: np.ndarray
) -> Arrays:
    s, share, y, g = _given(p, q, k, v, rest)
    exponent = 1 + s.size + _finite(np.abs(rest[-2]))[..., None]
    slope = np.abs(g @ s.v.swapaxes(2, 3) - np.sum(g * y, -1, keepdims=True))
    size = np.abs(g) @ np.abs(s.v).swapaxes(2, 3) + np.sum(np.abs(g * y), -1, keepdims=True)
    absolute = s._replace(q=np.abs(s.q), k=np.abs(s.k))
    slope = share * (exponent * slope + size)
    return tuple(map(np.abs, _gradients(p, absolute, slope, share * exponent, np.abs(g), k.shape[2])))


def _given(
    p: AttentionGrad, q: np.ndarray, k: np.ndarray, v: np.ndarray, rest: Arrays
) -> tuple[Scores, np.ndarray, np.ndarray, np.ndarray]:
    """The scores, the probabilities by the given logarithms, y and g by head."""
    *mask, y, logarithm, g = rest
    s = scores(p, q, k, v, mask[0] if mask else None)
    return s, power(s.score, logarithm), by_head(y), by_head(g)


def _gradients(
    p: AttentionGrad, s: Scores, slope: np.ndarray, share: np.ndarray, g: np.ndarray, heads: int
) -> Arrays:
    found = slope @ s.k * p.scale, slope.swapaxes(2, 3) @ s.q * p.scale, share.swapaxes(2, 3) @ g
    dq, dk, dv = map(by_head, found)
    return dq, _shared(dk, heads), _shared(dv, heads)


def _shared(x: np.ndarray, heads: int) -> np.ndarray:
    """The sum over the heads that share one of ``heads``."""
    b, t, n, d = x.shape
    return np.asarray(x.reshape(b, t, heads, n // heads, d).sum(3))


def _finite(x: np.ndarray) -> np.ndarray:
    return np.where(np.isfinite(x), x, 0)


class Shape(NamedTuple):
    """B, Tq, Tk, N, M, D, E."""

    b: int = 2
    queries: int = 5
    keys: int = 5
    n: int = 2
    m: int = 2
    d: int = 4
    e: int = 4


SHAPES = {
    "heads": Shape(),
    "one key": Shape(keys=1),
    "one query": Shape(queries=1, keys=7),
    "length 1": Shape(queries=1, keys=1),
    "no query": Shape(queries=0),
    "empty batch": Shape(b=0),
    "fewer queries than keys": Shape(queries=3, keys=8),
    "more queries than keys": Shape(queries=9, keys=4),
    "odd sizes": Shape(b=3, queries=13, keys=17, n=3, m=3, d=7, e=7),
    "values of another size": Shape(d=8, e=3),
    "one feature": Shape(d=1, e=1),
    "grouped 4:2": Shape(n=4, m=2, d=3, e=5),
    "grouped 4:1": Shape(queries=6, keys=9, n=4, m=1),
    "several chunks": Shape(b=30, queries=24, keys=24, n=4, m=4, d=8, e=8),
    "several blocks of queries": Shape(b=1, queries=40, keys=300, n=8, m=1, d=8, e=16),
    "length 64 of width 32": Shape(b=3, queries=64, keys=64, n=4, m=4, d=32, e=32),
}
# By what a mask differs: examples, heads, queries, keys
MASKS = {
    "whole": (1, 1, 1, 1), "padding": (1, 0, 0, 1), "of positions": (0, 0, 1, 1), "of heads": (0, 1, 1, 1),
    "of queries": (1, 0, 1, 0), "of one number": (0, 0, 0, 0),
}  # fmt: skip
MASKED = Shape(b=3, queries=6, keys=7, n=4, m=2, d=4, e=3)


def _drawn(
    p: Attending,
    shape: Shape,
    of_mask: tuple[int, ...] | None = None,
    size: float = 1.0,
    nan: int | None = None,
) -> Operands:
    """q, k, v[, mask][, y, l, g].  The scores, scaled by 1 / sqrt(D), have the deviation ``size``.

    Masks hide about a third, and the first query of the first example sees nothing where it can be.  There is
    a NaN in the first position of the operand ``nan``, which every query sees.
    """
    b, queries, keys, n, m, d, e = shape

    def make(rng: np.random.Generator, dtype: DType) -> list[np.ndarray]:
        shapes = (b, queries, n, d), (b, keys, m, d), (b, keys, m, e)
        q, k, v = (rng.standard_normal(s).astype(dtype.storage) for s in shapes)
        q *= dtype.storage.type(size)
        operands = [q, k, v]
        if nan is not None and nan >= 0:
            operands[nan][0, 0, 1, 2] = np.nan
        if of_mask is not None:
            whole = b, n, queries, keys
            mask = rng.random([w if own else 1 for w, own in zip(whole, of_mask)]) < 0.7
            mask[0, :, 0] = not any(of_mask)
            operands.append(mask)
        return operands

    def with_gradient(rng: np.random.Generator, dtype: DType) -> list[np.ndarray]:
        operands = make(rng, dtype)
        forward = Attention(p.scale, p.causal, p.masked)
        with np.errstate(all="ignore"):
            y, logarithm = attention(forward, *map(widen, operands))
        g = rng.standard_normal(y.shape)
        if nan == -1:
            g[0, 0, 1, 2] = np.nan
        return [*operands, *(a.astype(dtype.storage) for a in (y, logarithm, g))]

    return with_gradient if isinstance(p, AttentionGrad) else make


def _cases(kind: type[Attending]) -> Iterator[Case]:
    def case(
        name: str, shape: Shape, causal: bool, mask: tuple[int, ...] | None = None, size: float = 1.0
    ) -> Case:
        p = kind(1 / math.sqrt(shape.d), causal, mask is not None)
        return Case(name + ", causal" * causal, p, _drawn(p, shape, mask, size))

    for causal in (False, True):
        for name, shape in SHAPES.items():
            yield case(name, shape, causal)
        for name, mask in MASKS.items():
            yield case(f"a mask {name}", MASKED, causal, mask)
        yield case("a mask, several blocks", SHAPES["several blocks of queries"], causal, (1, 0, 0, 1))
        yield case("scores up to 100", Shape(queries=8, keys=8), causal, size=40.0)
    p = kind(-3.0)
    yield Case("scale -3", p, _drawn(p, Shape()))
    for causal, k in itertools.product((False, True), (0, 1, 2, -1)):
        p = kind(0.5, causal)
        if k >= 0 or p.operands[k] == "g":
            yield Case(f"NaN in {p.operands[k]}" + ", causal" * causal, p, _drawn(p, Shape(), nan=k))


@cases(Attention)
def attentions() -> Iterator[Case]:
    yield from _cases(Attention)


@cases(AttentionGrad)
def attention_gradients() -> Iterator[Case]:
    yield from _cases(AttentionGrad)
