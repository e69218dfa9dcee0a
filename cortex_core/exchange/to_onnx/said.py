"""A graph said in what ONNX has: each primitive that it lacks becomes simpler ones."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from cortex_compute.primitives.attention import Attention
from cortex_compute.primitives.base import Primitive
from cortex_compute.primitives.convolution import Conv, ConvInputGrad
from cortex_compute.primitives.pooling import AvgPool, MaxPool
from cortex_compute.primitives.recurrence import Gru, Lstm, Recurrence, Rnn
from cortex_core.exchange.to_onnx.spoken import (
    Before,
    ChannelsFirst,
    Recurrent,
    Walk,
    channels_first,
    channels_last,
    filters_first,
)
from cortex_core.exchange.to_onnx.turned import as_reshape, passed
from cortex_core.graph.simplify import literal, rewrite, simplify
from cortex_core.graph.value import Graph, Value, constant, is_leaf
from cortex_core.ops.apply import apply, at
from cortex_core.ops.array import Node
from cortex_core.ops.differentiate import DECOMPOSITIONS, decompose
from cortex_core.ops.indexing import concatenate
from cortex_core.ops.linear import matmul
from cortex_core.ops.pointwise import cast, logical_and, select
from cortex_core.ops.recurrence import parts
from cortex_core.ops.reduce import max as largest
from cortex_core.ops.softmax import softmax
from cortex_core.ops.views import broadcast_to, flip, narrow, reshape, transpose

Said = Callable[..., Any]
SAID: dict[type[Primitive], Said] = {}
"""Primitives in terms of others, where ONNX needs other ones than those of their decomposition."""


def says(*primitives: type[Primitive]) -> Callable[[Said], Said]:
    """Registers ``f(primitive, *operands) -> results``, of which the last ones, that no prediction reads, may
    be absent."""

    def register(f: Said) -> Said:
        SAID.update(dict.fromkeys(primitives, f))
        return f

    return register


def said(graph: Graph, translated: Callable[[type[Any]], bool]) -> Graph:
    """The graph in primitives that are ``translated``, as far as these suffice, with few transposes."""

    def rule(node: Node, inputs: list[Value]) -> Sequence[Value] | None:
        p = node.primitive
        if is_leaf(node) or (type(p) not in SAID and translated(type(p))):
            return None
        with at(node.place):
            if type(p) in SAID:
                out = SAID[type(p)](p, *inputs)
                return out if isinstance(out, tuple) else (out,)
            return decompose(node, inputs) if type(p) in DECOMPOSITIONS else None

    graph, changed = _rewritten(graph, rule)
    while changed:  # what a primitive is made of may itself be made of others
        graph, changed = _rewritten(graph, rule)
    return simplify(rewrite(simplify(graph, passed), as_reshape), passed)


def _rewritten(
    graph: Graph, rule: Callable[[Node, list[Value]], Sequence[Value] | None]
) -> tuple[Graph, bool]:
    """The graph, and whether the rule had anything to say."""
    fired = False

    def noticed(node: Node, inputs: list[Value]) -> Sequence[Value] | None:
        nonlocal fired
        found = rule(node, inputs)
        fired = fired or found is not None
        return found

    return rewrite(graph, noticed), fired


@says(Conv, ConvInputGrad, MaxPool, AvgPool)
def _channels_first(p: Primitive, x: Any, *kernels: Any) -> Any:
    given = [transpose(w, filters_first(w.ndim)) for w in kernels]
    y = apply(ChannelsFirst(p), transpose(x, channels_first(x.ndim)), *given)
    return transpose(y, channels_last(y.ndim))


@says(Attention)
def _attention(p: Attention, q: Any, k: Any, v: Any, mask: Any = None) -> Any:
    """softmax(scale q k^T) v, where a query that sees no key finds 0."""
    q, k, v = (transpose(x, (0, 2, 1, 3)) for x in (q, _heads(k, q), _heads(v, q)))
    scores = matmul(q, k, False, True) * p.scale
    seen = mask
    if p.causal:
        before = apply(Before(), transpose(q, (0, 2, 1, 3)), transpose(k, (0, 2, 1, 3)))
        seen = before if mask is None else logical_and(before, mask)
    if seen is not None:
        scores = select(seen, scores, -math.inf)
    y = matmul(softmax(scores), v)
    if mask is not None:
        y = select(largest(cast(seen, "int32"), -1, keepdims=True) > 0, y, 0.0)
    return transpose(y, (0, 2, 1, 3))


def _heads(x: Any, q: Any) -> Any:
    """Keys or values (B, T, M, D), each of whose heads is there once for each head of q that shares it."""
    b, t, heads, size = x.shape
    shared = q.shape[2] // heads
    if shared == 1:
        return x
    repeated = broadcast_to(reshape(x, (b, t, heads, 1, size)), (b, t, heads, shared, size))
    return reshape(repeated, (b, t, heads * shared, size))


ORDER = {Rnn: (0,), Lstm: (0, 3, 1, 2), Gru: (1, 0, 2)}
"""Which gate of ours stands where in ONNX: i o f c, and z r h."""


@says(Rnn, Lstm, Gru)
def _recurrence(p: Recurrence, *operands: Any) -> tuple[Any, ...]:
    named = dict(zip(p.inputs, operands))
    if p.masked or "p" in named:
        return _walk(p, named)
    slope = getattr(p, "slope", None)
    new = "Tanh" if p.activation == "tanh" else "Relu"
    gate = "HardSigmoid" if slope else "Sigmoid"
    activations = {Rnn: (new,), Lstm: (gate, new, new), Gru: (gate, new)}[type(p)]
    states = [named[name] for name in ("h0", "c0") if name in named]
    begun = not all(map(_is_zero, states))
    inner: Any = constant(np.zeros(named["b"].shape, np.float32))
    if "n" in named:  # what a candidate adds inside its product with r
        inner = concatenate([narrow(inner, 0, 0, inner.size - named["n"].size), named["n"]], 0)
    primitive = Recurrent(type(p).__name__.upper(), p.reverse, activations, slope, "n" in named, begun)
    y, *last = apply(
        primitive,
        transpose(named["x"], (1, 0, 2)),
        *(_front(transpose(_gates(p, named[name]), (1, 0))) for name in ("w", "u")),
        _front(concatenate([_gates(p, named["b"]), _gates(p, inner)], 0)),
        *(_front(x) for x in states if begun),
    )
    steps, _, batch, units = y.shape
    y = transpose(reshape(y, (steps, batch, units)), (1, 0, 2))
    return (y, *(reshape(x, (batch, units)) for x in last))


def _is_zero(x: Value) -> bool:
    known = literal(x)
    return known is not None and not known.any()


def _gates(p: Recurrence, x: Any) -> Any:
    """The gates, which lie side by side on the last axis, in the order of ONNX."""
    found = parts(x, p.gates)
    return concatenate([found[i] for i in ORDER[type(p)]], -1)


def _front(x: Any) -> Any:
    """With an axis for the one direction."""
    return reshape(x, (1, *x.shape))


def _walk(p: Recurrence, named: dict[str, Any]) -> tuple[Any, ...]:
    """Step by step along the first axis, always forwards: not all that runs ONNX knows more of Scan."""
    a = matmul(named["x"], named["w"]) + named["b"]
    rest = {name: x for name, x in named.items() if name not in ("x", "w", "b")}
    a, *walked = (transpose(x, (1, 0, *range(2, x.ndim))) for x in (a, *([rest["mask"]] if p.masked else [])))
    if p.reverse:
        a, walked = flip(a, 0), [flip(x, 0) for x in walked]
    rest |= dict(zip(("mask",), walked))
    y, *last = apply(Walk(p, tuple(rest)), a, *rest.values())
    return (transpose(flip(y, 0) if p.reverse else y, (1, 0, 2)), *last)
