"""Products with matrices."""

from __future__ import annotations

from dataclasses import replace
from string import ascii_letters

import numpy as np

from cortex_core.exchange.build import Unfit
from cortex_core.exchange.from_onnx.arithmetic import affine, together
from cortex_core.exchange.from_onnx.at import At
from cortex_core.exchange.from_onnx.operators import operator
from cortex_core.exchange.from_onnx.value import Known, Mixed, Value, shown


@operator("MatMul", since=(9, 13))
def matmul(at: At) -> Value:
    a, b = at.any(0), at.any(1)
    if isinstance(a, Value) and isinstance(b, Value):
        return _of_values(at, a, b)
    if isinstance(a, Value):
        w = at.weights(1)
        w = w.reshape(w.shape[-2:]) if w.size == np.prod(w.shape[-2:]) and w.ndim <= a.rank else w
        y = _dense(at, a, a.rank - 1, w if w.ndim > 1 else w[:, None], biased=w.ndim > 1 < a.rank)
        return y if w.ndim > 1 else _without(at, y, y.rank - 1)
    x, w = at.value(1), at.weights(0)
    y = _dense(at, x, max(0, x.rank - 2), w.T if w.ndim > 1 else w[:, None])
    return y if w.ndim > 1 else _without(at, y, max(0, x.rank - 2))


def _without(at: At, x: Value, axis: int) -> Value:
    """The value without an axis of size 1."""
    lying = at.lay(x, [*(a for a in x.lying if a != axis), axis])
    order = tuple(a for i, a in enumerate(lying.order) if i != axis)
    return at.reshape(lying, lying.shape[:-1], order, "shape")


def _dense(at: At, x: Value, axis: int, kernel: np.ndarray, biased: bool = False) -> Value:
    """x times a kernel (in, out) along an axis of ONNX, with the bias that a next node adds, if it does."""
    if x.order[axis] == 0 or kernel.ndim != 2 or x.sizes[axis] != len(kernel):
        raise Unfit(
            f"a product of {shown(x)} along axis {axis} with a matrix {[*kernel.shape]} is not supported"
        )
    lying = at.lay(x, [*(a for a in x.lying if a != axis), axis])
    weights = {"kernel": kernel} | (at.bias(kernel.shape[1]) if biased else {})
    return at.put("dense", lying, weights=weights, units=kernel.shape[1], use_bias="bias" in weights)


def _of_values(at: At, a: Value, b: Value) -> Value:
    """Of matrices for each example, or of stacks of them."""
    if a.rank == b.rank == 1 and a.batch is None and b.batch is None:
        return _without(at, at.put("dot", [a, b], axes=[1, 1], order=(1,)), 0)
    if a.rank == 1:
        return _without(at, _of_values(at, replace(a, order=(None, *a.order)), b), max(0, b.rank - 2))
    if b.rank == 1:
        return _without(at, _of_values(at, a, replace(b, order=(*b.order, None))), a.rank - 1)
    rank = max(a.rank, b.rank)
    a, b = (replace(x, order=(None,) * (rank - x.rank) + x.order) for x in (a, b))
    if a.batch != b.batch or (a.batch or 0) >= rank - 2 > 0 or (rank == 2 and a.batch is not None):
        raise Mixed(f"the product of {shown(a)} and {shown(b)} mixes examples, or takes others of each")
    axes = [i for i in range(rank) if i != a.batch]
    return at.put("matmul", [at.lay(a, axes), at.lay(b, axes)])


@operator("Einsum", since=(12, 28))
def einsum(at: At) -> Value:
    """Of values that the model computes, with a letter for each axis; the examples have one of their own."""
    values, told = at.values(), at.attribute("equation").replace(" ", "")
    before, arrow, behind = told.partition("->")
    if not arrow:
        behind = "".join(sorted(c for c in {*before} - {","} if before.count(c) == 1))
    terms = before.split(",")
    if [*map(len, terms)] != [x.rank for x in values] or len(values) < 2 or not (before + behind).isascii():
        raise Unfit(
            f"{told!r:.60} of {', '.join(map(shown, values))}; expected several, a letter for each axis"
        )
    letters = {None if x.batch is None else term[x.batch] for term, x in zip(terms, values)}
    if len(letters) > 1 or not letters <= {None, *behind}:
        raise Mixed(f"{told!r:.60} mixes the examples of {', '.join(map(shown, values))}")
    lead = letters.pop() or next((c for c in ascii_letters if c not in told), "")
    lying = [at.plain(x) for x in values]
    own = [lead + "".join(term[a] for a in x.lying) for term, x in zip(terms, lying)]
    rest = behind.replace(lead, "")
    order = tuple(0 if c == lead else rest.index(c) + 1 for c in behind)
    return at.put("einsum", lying, equation=f"{','.join(own)}->{lead}{rest}", order=order)


@operator("Gemm", since=(7, 9, 11, 13))
def gemm(at: At) -> Value:
    """alpha A' B' + beta C, where ' turns a matrix around if it is asked for."""
    turned = [bool(at.attribute(name, 0)) for name in ("transA", "transB")]
    alpha, beta = at.attribute("alpha", 1.0), at.attribute("beta", 1.0)
    a, b = at.any(0), at.any(1)
    if isinstance(a, Value) and isinstance(b, Known):
        return _of_weights(at, replace(a, order=a.order[::-1]) if turned[0] else a, turned[1], alpha, beta)
    a, b = (
        replace(x, order=x.order[::-1]) if turn and isinstance(x, Value) else x
        for x, turn in zip((a, b), turned)
    )
    if isinstance(a, Known):
        kernel = at.weights(0) if turned[0] else at.weights(0).T
        y = _dense(at, at.value(1) if isinstance(b, Known) else b, 0, alpha * kernel)
    else:
        y = _of_values(at, a, at.value(1) if isinstance(b, Known) else b)
        y = y if alpha == 1 else at.put("scale", y, part="alpha", factor=alpha)
    return _plus(at, y, beta)


def _of_weights(at: At, x: Value, turned: bool, alpha: float, beta: float) -> Value:
    kernel = at.weights(1).T if turned else at.weights(1)
    kernel = kernel if alpha == 1 else alpha * kernel
    units = kernel.shape[-1]
    last = x.rank - 1  # of two axes, or of more where one of them is `Stacked`
    if x.rank < 2 or x.order[last] == 0 or x.sizes[last] != len(kernel):
        raise Unfit(f"a product of {shown(x)} with a matrix {[*kernel.shape]} is not supported")
    c = at.given[2] if at.has(2) else None
    weights = {"kernel": kernel.astype(np.float32, copy=False)} | (at.bias(units) if c is None else {})
    if isinstance(c, Known) and c.fixed and c.one.ndim and c.one.size == c.one.shape[-1] in (1, units):
        weights["bias"] = np.broadcast_to(beta * c.one.reshape(-1), units).astype(np.float32)
    lying = at.lay(x, [*(a for a in x.lying if a != last), last])
    y = at.put("dense", lying, weights=weights, units=units, use_bias="bias" in weights)
    return y if "bias" in weights else _plus(at, y, beta)


def _plus(at: At, y: Value, beta: float) -> Value:
    """y + beta C, if there is one."""
    c = at.given[2] if at.has(2) else None
    if isinstance(c, Value):
        return together(at, "add", [y, c if beta == 1 else at.put("scale", c, part="beta", factor=beta)])
    return y if c is None or beta == 0 else affine(at, y, offset=beta * at.constant(2), part="bias")
