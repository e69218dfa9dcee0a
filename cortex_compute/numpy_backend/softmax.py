"""Softmax, log-softmax and the cross entropy of class indices, a block of rows at a time.

The sum of a row is its product with ones: BLAS is several times faster there than `np.add.reduce`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from cortex_compute.numpy_backend import direct
from cortex_compute.numpy_backend.backend import kernel, offers
from cortex_compute.numpy_backend.elementwise import BANDWIDTH, sequence
from cortex_compute.numpy_backend.memory import Dense, carve, scratch_size
from cortex_compute.numpy_backend.rows import Rows
from cortex_compute.primitives.softmax import (
    LogSoftmax,
    Softmax,
    SoftmaxCrossEntropy,
    SoftmaxCrossEntropyGrad,
)
from cortex_compute.protocol import Direct, Offer, Operand
from cortex_compute.types import TensorType, int64

NARROW = 64  # the largest element of rows shorter than this is sought column by column, in a turned copy

Call = Callable[[], Any]


def shift(rows: Rows, x: np.ndarray, out: np.ndarray, block: np.ndarray, column: np.ndarray) -> list[Call]:
    """out = x less the largest element of each row, which ``column`` gets; ``block`` is scratch."""
    calls: list[Call] = [partial(np.maximum.reduce, x, 1, None, column)]
    if rows.n < NARROW:
        turned = block.reshape(-1)[: x.size].reshape(x.shape[::-1])
        calls = [partial(np.copyto, turned, x.T), partial(np.maximum.reduce, turned, 0, None, column)]
    return [*calls, partial(np.subtract, x, column[:, None], out)]


def label_places(rows: Rows, labels: np.ndarray, out: np.ndarray) -> list[Call]:
    """out = where each row's element of its label is, in a block that is seen flat."""
    return [
        partial(np.copyto, out, labels, "unsafe"),
        partial(np.maximum, out, 0, out=out),
        partial(np.minimum, out, rows.n - 1, out=out),
        partial(np.add, out, np.arange(len(out)) * rows.n, out),
    ]


@offers(Softmax)
def softmax(p: Softmax, operands: Sequence[Operand]) -> Offer:
    rows, dense = Rows(operands[0].type), Dense(operands)
    scratch = [rows.block, rows.column, *dense.scratch]

    def bound(inputs: Sequence[Any], outputs: Sequence[Any], workspace: Any) -> Call:
        block, column, *copies = carve(workspace, scratch)
        calls: list[Call] = []
        (x,) = dense.arrays(calls, inputs, copies)
        x, y = rows.matrix(x), rows.matrix(outputs[0])
        for part in rows.blocks:
            out, total = y[part], column[: part.stop - part.start]
            calls += shift(rows, x[part], out, block, total)
            calls += [partial(np.exp, out, out), partial(np.matmul, out, rows.ones, total)]
            calls.append(partial(np.divide, out, total[:, None], out))
        return sequence(calls)

    return _offer(bound, scratch, operands, (0, 0), partial(direct.softmax, p, [o.type for o in operands]))


@offers(LogSoftmax)
def log_softmax(p: LogSoftmax, operands: Sequence[Operand]) -> Offer:
    rows, dense = Rows(operands[0].type), Dense(operands)
    scratch = [rows.block, rows.column, *dense.scratch]

    def bound(inputs: Sequence[Any], outputs: Sequence[Any], workspace: Any) -> Call:
        block, column, *copies = carve(workspace, scratch)
        calls: list[Call] = []
        (x,) = dense.arrays(calls, inputs, copies)
        x, y = rows.matrix(x), rows.matrix(outputs[0])
        for part in rows.blocks:
            n = part.stop - part.start
            out, total, power = y[part], column[:n], block[:n]
            calls += shift(rows, x[part], out, block, total)
            calls += [partial(np.exp, out, power), partial(np.matmul, power, rows.ones, total)]
            calls += [partial(np.log, total, total), partial(np.subtract, out, total[:, None], out)]
        return sequence(calls)

    return _offer(bound, scratch, operands, (0, 0), partial(direct.softmax, p, [o.type for o in operands]))


@offers(SoftmaxCrossEntropy)
def softmax_cross_entropy(p: SoftmaxCrossEntropy, operands: Sequence[Operand]) -> Offer:
    rows, dense = Rows(operands[0].type), Dense(operands)
    scratch = [rows.block, rows.column, rows.column, TensorType((rows.step,), int64), *dense.scratch]

    def bound(inputs: Sequence[Any], outputs: Sequence[Any], workspace: Any) -> Call:
        block, column, picked, places, *copies = carve(workspace, scratch)
        calls: list[Call] = []
        logits, labels = dense.arrays(calls, inputs, copies)
        x, labels = rows.matrix(logits), labels.reshape(rows.count)
        loss = None if outputs[0] is None else outputs[0].reshape(rows.count)
        probabilities = None if outputs[1] is None else rows.matrix(outputs[1])
        for part in rows.blocks:
            n = part.stop - part.start
            out = block[:n] if probabilities is None else probabilities[part]
            total, target = column[:n], picked[:n]
            calls += shift(rows, x[part], out, block, total)
            if loss is not None:
                calls += label_places(rows, labels[part], places[:n])
                calls.append(partial(out.reshape(-1).take, places[:n], None, target, "clip"))
                calls += _smooth(p.label_smoothing, rows, out, target, total)
            calls += [partial(np.exp, out, out), partial(np.matmul, out, rows.ones, total)]
            if probabilities is not None:
                calls.append(partial(np.divide, out, total[:, None], out))
            if loss is not None:
                calls += [partial(np.log, total, total), partial(np.subtract, total, target, loss[part])]
        return sequence(calls)

    return _offer(bound, scratch, operands, (0, 1))


def _smooth(smoothing: float, rows: Rows, x: np.ndarray, target: np.ndarray, total: np.ndarray) -> list[Call]:
    """target = (1 - smoothing) target + smoothing mean(x) of each row."""
    if not smoothing:
        return []
    keep, spread = x.dtype.type(1 - smoothing), x.dtype.type(smoothing / rows.n)
    return [
        partial(np.multiply, target, keep, target),
        partial(np.matmul, x, rows.ones, total),
        partial(np.multiply, total, spread, total),
        partial(np.add, target, total, target),
    ]


@offers(SoftmaxCrossEntropyGrad)
def softmax_cross_entropy_gradient(p: SoftmaxCrossEntropyGrad, operands: Sequence[Operand]) -> Offer:
    rows, dense = Rows(operands[0].type), Dense(operands)
    scratch = [rows.column, TensorType((rows.step,), int64), *dense.scratch]

    def bound(inputs: Sequence[Any], outputs: Sequence[Any], workspace: Any) -> Call:
        column, places, *copies = carve(workspace, scratch)
        calls: list[Call] = []
        probabilities, labels, g = dense.arrays(calls, inputs, copies)
        given, labels, g = rows.matrix(probabilities), labels.reshape(rows.count), g.reshape(rows.count, 1)
        result = rows.matrix(outputs[0])
        keep, spread = (given.dtype.type(v) for v in (1 - p.label_smoothing, p.label_smoothing / rows.n))
        for part in rows.blocks:
            out, n = result[part], part.stop - part.start
            target, flat = column[:n], out.reshape(-1)
            calls.append(partial(np.copyto, out, given[part]))
            calls += label_places(rows, labels[part], places[:n])
            calls.append(partial(flat.take, places[:n], None, target, "clip"))
            calls.append(partial(np.subtract, target, keep, target))
            calls.append(partial(flat.put, places[:n], target, "clip"))
            if p.label_smoothing:
                calls.append(partial(np.subtract, out, spread, out))
            calls.append(partial(np.multiply, out, g[part], out))
        return sequence(calls)

    return _offer(bound, scratch, operands, (0, 0))


def _offer(
    bound: Any,
    scratch: Sequence[TensorType],
    operands: Sequence[Operand],
    reuse: tuple[int, int],
    at_once: Callable[[], Direct | None] = lambda: None,
) -> Offer:
    seconds = 5 * operands[0].type.nbytes / BANDWIDTH
    return kernel(bound, workspace=scratch_size(scratch), reuse=(reuse,), cost=seconds, direct=at_once)
