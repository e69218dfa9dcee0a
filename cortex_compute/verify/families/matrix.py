"""The matrix product: transposes, batches, broadcasts, odd strides, epilogues."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from cortex_compute.expression import E, build
from cortex_compute.primitives.matrix import Gemm
from cortex_compute.types import DType
from cortex_compute.verify.case import Case, Operands, cases, normal, together, transposed
from cortex_compute.verify.reference import magnitude, reference
from cortex_compute.verify.scalar import Pair, evaluate, operand

NOT_FINITE = (1.0, np.nan, -1.0, np.inf)  # for relu; minus infinity aside, of which oneDNN's makes NaN


def with_epilogue(p: Any, product: Pair, extra: Sequence[np.ndarray]) -> Pair:
    """The epilogue of Gemm or Conv over its main result, a pair (value, size)."""
    if p.epilogue is None:
        return product
    return evaluate(p.epilogue, p.literals, [product, *map(operand, extra)])[0]


@reference(Gemm)
def gemm(p: Gemm, *operands: np.ndarray) -> tuple[Any, ...]:
    product = _gemm(p, *operands)[0]
    return (product, operands[1].sum(0)) if p.sums else (product,)


@magnitude(Gemm)
def gemm_size(p: Gemm, *operands: np.ndarray) -> tuple[Any, ...]:
    size = _gemm(p, *operands)[1]
    return (size, np.abs(operands[1]).sum(0)) if p.sums else (size,)


def _gemm(p: Gemm, a: np.ndarray, b: np.ndarray, *extra: np.ndarray) -> Pair:
    formula = f"...{'km' if p.transpose_a else 'mk'},...{'nk' if p.transpose_b else 'kn'}->...mn"
    product = np.einsum(formula, a, b), np.einsum(formula, np.abs(a), np.abs(b))
    return with_epilogue(p, product, extra)


def fused(f: Callable[..., E], arity: int, transpose_b: bool = False) -> Gemm:
    """A product with an epilogue over it and ``arity - 1`` further operands."""
    built = build(f, arity)
    return Gemm(False, transpose_b, built.code, built.literals)


@cases(Gemm)
def products() -> Iterator[Case]:
    for turn_a, turn_b in itertools.product((False, True), repeat=2):
        p, name = Gemm(turn_a, turn_b), f"{'AT' if turn_a else 'A'} {'BT' if turn_b else 'B'}"
        for m, k, n in (
            (3, 4, 5),
            (1, 4, 5),
            (3, 1, 5),
            (3, 4, 1),
            (1, 1, 1),
            (0, 4, 5),
            (3, 0, 5),
            (3, 4, 0),
        ):
            shapes = _shape(m, k, turn_a), _shape(k, n, turn_b)
            yield Case(f"{name} {m}x{k}x{n}", p, normal(*shapes))
        a, b = _shape(6, 4, turn_a), _shape(4, 5, turn_b)
        yield Case(f"{name} batched", p, normal((3, *a), (3, *b)))
        yield Case(f"{name} batch of a", p, normal((3, *a), b))
        yield Case(f"{name} batch of b", p, normal(a, (3, *b)))
        yield Case(f"{name} broadcast batches", p, normal((2, 1, *a), (3, *b)))
        yield Case(f"{name} batch of one", p, normal((1, *a), (3, *b)))
        yield Case(f"{name} empty batch", p, normal((0, *a), (1, *b)))
        yield Case(f"{name} lying turned", p, transposed(a[::-1], b[::-1]))
        yield Case(f"{name} of columns", p, _every_second(a, b))
        yield Case(f"{name} spread", p, _spread(a, b))
    yield Case("larger", Gemm(), normal((130, 70), (70, 90)))
    yield Case("deep", Gemm(True, False), normal((5000, 3), (5000, 4)))


@cases(Gemm)
def sums() -> Iterator[Case]:
    for turn_a in (True, False):
        p, name = Gemm(turn_a, sums=True), f"sums beside {'AT' if turn_a else 'A'} B"
        for m, k, n in ((3, 4, 5), (1, 4, 5), (3, 1, 5), (3, 4, 1), (0, 4, 5), (3, 0, 5), (3, 4, 0)):
            yield Case(f"{name} {m}x{k}x{n}", p, normal(_shape(m, k, turn_a), (k, n)))
        a = _shape(6, 4, turn_a)
        yield Case(f"{name} lying turned", p, transposed(a[::-1], (5, 4)))
        yield Case(f"{name} of columns", p, _every_second(a, (4, 5)))
    yield Case("sums beside a deep product", Gemm(True, sums=True), normal((5000, 3), (5000, 4)))


@cases(Gemm)
def epilogues() -> Iterator[Case]:
    relu, bias = fused(lambda c: c.builder.make("relu", c), 1), fused(lambda c, b: c + b, 2)
    both = fused(lambda c, b: c.builder.make("tanh", c + b) * 0.5, 2, True)
    addend = fused(lambda c, x, b: c * 2.0 + x + b, 3)
    gate = fused(lambda c, x: c.builder.make("select", x > 0, c, 0.0), 2)
    yield Case("relu", relu, normal((7, 4), (4, 5)))
    yield Case("bias", bias, normal((7, 4), (4, 5), (5,)))
    yield Case("column", bias, normal((7, 4), (4, 5), (7, 1)))
    yield Case("scalar", bias, normal((7, 4), (4, 5), ()))
    yield Case("bias and tanh", both, normal((7, 4), (5, 4), (5,)))
    yield Case("addend", addend, normal((7, 4), (4, 5), (7, 5), (5,)))
    yield Case("gate", gate, normal((7, 4), (4, 5), (7, 5)))
    yield Case("batched epilogue", addend, normal((3, 7, 4), (4, 5), (3, 7, 5), (5,)))
    yield Case("epilogue over blocks", both, normal((150, 20), (170, 20), (170,)))
    for name, p, *rest in (("bias", bias, (5,)), ("tanh", both, (5,)), ("addend", addend, (5, 5), (5,))):
        product = times_one((5, 1), (5, 1) if p.transpose_b else (1, 5), (*NOT_FINITE, -np.inf))
        yield Case(f"{name} of what is not finite", p, together(product, normal(*rest)))
    yield Case("relu of what is not finite", relu, times_one((4, 1), (1, 5), NOT_FINITE))
    yield Case("epilogue of an empty batch", bias, normal((0, 4), (4, 5), (5,)))
    yield Case("epilogue without depth", bias, normal((3, 0), (0, 5), (5,)))


def times_one(a: tuple[int, ...], b: tuple[int, ...], values: ArrayLike) -> Operands:
    """``values`` as an operand of shape ``a``, and ones of shape ``b``."""
    return lambda rng, dtype: [np.array(values, dtype.storage).reshape(a), np.ones(b, dtype.storage)]


def _shape(rows: int, columns: int, turned: bool) -> tuple[int, int]:
    return (columns, rows) if turned else (rows, columns)


def _every_second(*shapes: tuple[int, ...]) -> Any:
    def operands(rng: np.random.Generator, dtype: DType) -> list[np.ndarray]:
        return [rng.standard_normal((m, 2 * n)).astype(dtype.storage)[:, ::2] for m, n in shapes]

    return operands


def _spread(*shapes: tuple[int, ...]) -> Any:
    def operands(rng: np.random.Generator, dtype: DType) -> list[np.ndarray]:
        (m, n), b = shapes
        row = rng.standard_normal((1, n)).astype(dtype.storage)
        return [np.broadcast_to(row, (m, n)), rng.standard_normal(b).astype(dtype.storage)]

    return operands
