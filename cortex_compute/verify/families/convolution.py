"""Convolution and its gradients: every position of every window, one after another."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from cortex_compute.expression import build
from cortex_compute.primitives.convolution import Conv, ConvInputGrad, ConvKernelGrad, Convolution
from cortex_compute.types import TensorType
from cortex_compute.verify.case import Case, cases, normal, together, transposed
from cortex_compute.verify.families.matrix import NOT_FINITE, times_one, with_epilogue
from cortex_compute.verify.reference import magnitude, reference
from cortex_compute.verify.scalar import Pair

Place = tuple[int, ...]


def _meetings(
    p: Convolution, x: tuple[int, ...], kernel: tuple[int, ...], y: tuple[int, ...]
) -> Iterator[tuple[Any, Place, Any]]:
    """Where x, w and y meet: indices that leave (N, C), (C/groups, O) and (N, O)."""
    every = slice(None)
    for to, tap in itertools.product(np.ndindex(*y[1:-1]), np.ndindex(*kernel)):
        axes = zip(to, tap, p.stride, p.dilation, p.padding)
        at = tuple(i * s + k * d - before for i, k, s, d, (before, _) in axes)
        if all(0 <= i < n for i, n in zip(at, x[1:-1])):
            yield (every, *at), tap, (every, *to)


def _grouped(p: Convolution, a: np.ndarray) -> np.ndarray:
    """(m, n) as (m, groups, n / groups)."""
    return a.reshape(len(a), p.groups, a.shape[1] // p.groups)


def _forward(p: Conv, x: np.ndarray, w: np.ndarray) -> np.ndarray:
    y = np.zeros(p.product(TensorType(x.shape), TensorType(w.shape)).shape)
    for at, tap, to in _meetings(p, x.shape, w.shape[:-2], y.shape):
        _grouped(p, y[to])[...] += np.einsum("ngc,cgo->ngo", _grouped(p, x[at]), _grouped(p, w[tap]))
    return y


def _conv(p: Conv, x: np.ndarray, w: np.ndarray, *extra: np.ndarray) -> Pair:
    return with_epilogue(p, (_forward(p, x, w), _forward(p, np.abs(x), np.abs(w))), extra)


@reference(Conv)
def conv(p: Conv, *operands: np.ndarray) -> tuple[Any, ...]:
    return (_conv(p, *operands)[0],)


@magnitude(Conv)
def conv_size(p: Conv, *operands: np.ndarray) -> tuple[Any, ...]:
    return (_conv(p, *operands)[1],)


@reference(ConvInputGrad)
def conv_input_grad(p: ConvInputGrad, g: np.ndarray, w: np.ndarray) -> tuple[Any, ...]:
    dx = np.zeros(p.shape)
    for at, tap, to in _meetings(p, p.shape, w.shape[:-2], g.shape):
        _grouped(p, dx[at])[...] += np.einsum("ngo,cgo->ngc", _grouped(p, g[to]), _grouped(p, w[tap]))
    return (dx,)


@reference(ConvKernelGrad)
def conv_kernel_grad(p: ConvKernelGrad, x: np.ndarray, g: np.ndarray) -> tuple[Any, ...]:
    dw = np.zeros((*p.kernel, x.shape[-1] // p.groups, g.shape[-1]))
    db = (g.sum(tuple(range(g.ndim - 1))),) if p.bias else ()
    for at, tap, to in _meetings(p, x.shape, p.kernel, g.shape):
        _grouped(p, dw[tap])[...] += np.einsum("ngc,ngo->cgo", _grouped(p, x[at]), _grouped(p, g[to]))
    return dw, *db


FIELDS = ("stride", "padding", "dilation", "groups")
# name: x, w, then the fields
GEOMETRIES: dict[str, tuple[Any, ...]] = {
    "line": ((2, 9, 3), (4, 3, 5), (1,), ((0, 0),), (1,), 1),
    "line, all at once": ((2, 10, 4), (3, 2, 6), (2,), ((1, 2),), (2,), 2),
    "image": ((3, 6, 7, 2), (3, 2, 2, 4), (1, 1), ((0, 0), (0, 0)), (1, 1), 1),
    "same": ((2, 5, 5, 20), (3, 3, 20, 3), (1, 1), ((1, 1), (1, 1)), (1, 1), 1),
    "asymmetric padding": ((2, 5, 6, 3), (3, 4, 3, 2), (1, 1), ((0, 2), (3, 1)), (1, 1), 1),
    "stride": ((2, 8, 9, 3), (3, 2, 3, 4), (2, 3), ((1, 0), (0, 1)), (1, 1), 1),
    "stride over gaps": ((2, 9, 9, 3), (2, 1, 3, 4), (4, 3), ((0, 0), (0, 0)), (1, 1), 1),
    "dilation": ((2, 9, 8, 3), (3, 3, 3, 4), (1, 1), ((2, 2), (0, 1)), (2, 3), 1),
    "one element": ((3, 4, 5, 6), (1, 1, 6, 7), (1, 1), ((0, 0), (0, 0)), (1, 1), 1),
    "one element, every second": ((3, 4, 5, 6), (1, 1, 6, 7), (2, 2), ((0, 0), (0, 0)), (1, 1), 1),
    "one element, padded": ((2, 3, 3, 2), (1, 1, 2, 3), (1, 1), ((1, 0), (0, 1)), (1, 1), 1),
    "kernel as large as the image": ((3, 4, 5, 2), (4, 5, 2, 6), (1, 1), ((0, 0), (0, 0)), (1, 1), 1),
    "kernel larger than the image": ((2, 2, 3, 2), (4, 3, 2, 3), (1, 1), ((2, 1), (0, 0)), (1, 1), 1),
    "window in the padding alone": ((2, 2, 2, 2), (2, 2, 2, 3), (2, 2), ((2, 2), (2, 3)), (1, 1), 1),
    "groups": ((2, 5, 5, 6), (3, 2, 3, 4), (1, 1), ((1, 1), (0, 0)), (1, 1), 2),
    "depthwise": ((2, 5, 6, 4), (3, 3, 1, 4), (1, 1), ((1, 1), (1, 1)), (1, 1), 4),
    "depthwise, two filters each": ((2, 7, 6, 3), (3, 2, 1, 6), (2, 1), ((1, 0), (0, 1)), (1, 2), 3),
    "size-1 axes": ((1, 1, 5, 1), (1, 3, 1, 1), (1, 1), ((0, 0), (1, 1)), (1, 1), 1),
    "volume": ((2, 4, 5, 4, 2), (2, 3, 2, 2, 3), (1, 2, 1), ((1, 0), (1, 1), (0, 0)), (1, 1, 2), 1),
    "empty batch": ((0, 5, 5, 3), (3, 3, 3, 4), (1, 1), ((1, 1), (1, 1)), (1, 1), 1),
    "empty batch of one element": ((0, 5, 5, 3), (1, 1, 3, 4), (1, 1), ((0, 0), (0, 0)), (1, 1), 1),
    "empty batch, depthwise": ((0, 5, 5, 3), (3, 3, 1, 3), (1, 1), ((1, 1), (1, 1)), (1, 1), 3),
}


@cases(Conv, ConvInputGrad, ConvKernelGrad)
def geometries() -> Iterator[Case]:
    for name, (x, w, *values) in GEOMETRIES.items():
        yield from _all_three(name, x, w, dict(zip(FIELDS, values)))
    for name in ("same", "one element"):
        x, w, *values = GEOMETRIES[name]
        p = Conv(**dict(zip(FIELDS, values)))
        yield Case(f"{name}, lying turned", p, transposed(x[::-1], w[::-1]))


def _all_three(name: str, x: tuple[int, ...], w: tuple[int, ...], fields: dict[str, Any]) -> Iterator[Case]:
    p = Conv(**fields)
    (y,) = p.infer(TensorType(x), TensorType(w))
    yield Case(name, p, normal(x, w))
    yield Case(name, ConvInputGrad(**fields, shape=x), normal(y.shape, w))
    yield Case(name, ConvKernelGrad(**fields, kernel=w[:-2]), normal(x, y.shape))
    yield Case(f"{name}, bias", ConvKernelGrad(**fields, kernel=w[:-2], bias=True), normal(x, y.shape))


@cases(Conv, ConvInputGrad, ConvKernelGrad)
def tiles() -> Iterator[Case]:
    """Large enough for a kernel that works in pieces: many images, and one large image."""
    for name, x, w in (
        ("many images", (70, 8, 9, 40), (3, 3, 40, 4)),
        ("one large image", (1, 30, 29, 250), (3, 3, 250, 2)),
        ("depthwise in pieces", (3, 20, 21, 200), (3, 3, 1, 200)),
    ):
        values = (1, 1), ((1, 1), (1, 1)), (1, 1), x[-1] // w[-2]
        yield from _all_three(name, x, w, dict(zip(FIELDS, values)))


@cases(Conv)
def epilogues() -> Iterator[Case]:
    relu = build(lambda c: c.builder.make("relu", c), 1)
    bias = build(lambda c, b: c + b, 2)
    both = build(lambda c, x, b: c.builder.make("tanh", c * 2.0 + x + b), 3)
    extras: Sequence[tuple[str, Any, tuple[tuple[int, ...], ...]]] = (
        ("relu", relu, ()),
        ("bias", bias, ((4,),)),
        ("addend, bias and tanh", both, ((3, 4, 6, 4), (4,))),
        ("one number for each image", bias, ((3, 1, 1, 1),)),
    )
    for name, built, shapes in extras:
        p = Conv((1, 1), ((0, 0), (0, 0)), (1, 1), 1, built.code, built.literals)
        yield Case(name, p, normal((3, 6, 7, 2), (3, 2, 2, 4), *shapes))
    for name, built, shapes in (("relu", relu, ()), ("bias", bias, ((4,),)), ("tanh", both, ((4,), (4,)))):
        p = Conv((1, 1), ((0, 0), (0, 0)), (1, 1), 1, built.code, built.literals)
        values = (*NOT_FINITE, 0.0 if built is relu else -np.inf)
        # Two channels: of one, oneDNN spreads NaN in bfloat16.
        images = times_one((1, 5, 1, 2), (1, 1, 2, 4), np.repeat(values, 2))
        yield Case(f"{name} of what is not finite", p, together(images, normal(*shapes)))
    p = Conv((1, 1), ((0, 0), (0, 0)), (1, 1), 1, bias.code, bias.literals)
    yield Case("bias after one element", p, normal((3, 6, 7, 2), (1, 1, 2, 4), (4,)))
    yield Case("bias of an empty batch", p, normal((0, 6, 7, 2), (3, 2, 2, 4), (4,)))
