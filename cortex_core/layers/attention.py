"""Attention over several heads."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import numpy as np

from cortex_compute.errors import DTypeError, ShapeError
from cortex_compute.types import TensorType, dtype
from cortex_core.initializers import GlorotUniform, zeros
from cortex_core.layers.expect import reasoned, refuse
from cortex_core.layers.plain_attention import standing
from cortex_core.layers.positional import BASE, rotate
from cortex_core.layers.scope import Parameter, Scope
from cortex_core.layers.stepping import StepScope
from cortex_core.ops.arrange import repeat_interleave
from cortex_core.ops.attention import attention
from cortex_core.ops.linear import matmul
from cortex_core.ops.pointwise import equal, less_equal, logical_and, pointwise, select
from cortex_core.ops.reduce import any as any_of
from cortex_core.ops.reduce import mean
from cortex_core.ops.views import broadcast_to, reshape
from cortex_core.registry import Fault, Initializer, Source, field, layer


@layer("multi_head_attention", main="heads", inputs=(1, 2, 3))
class MultiHeadAttention:
    """What each query finds among the keys: softmax(q k^T / sqrt(size)) v for each head, then a projection.

    from: x (B, T, C), or [query, key and value], or [query, key, value]: query (B, Tq, C), the others
    (B, Tk, ...) -> (B, Tq, units).  q = query query_kernel + query_bias, likewise k and v; heads lie side by
    side.  Neighbouring heads of q share one of k and v where ``key_heads`` are fewer.  A query that sees no
    key finds 0, and so gets the output's bias; keys and values that nobody sees must be finite all the same.
    Vaswani et al., 2017; Ainslie et al., 2023.

    Example:
        inputs: {sequence: [3, 4]}
        layers: [multi_head_attention: {heads: 2, causal: true}]
    """

    heads: int = field(doc="how many heads of queries", minimum=1)
    key_heads: int | None = field(default=None, doc="of keys and values; as many as of queries", minimum=1)
    size: int | None = field(default=None, doc="channels of a head; those of the query / heads", minimum=1)
    value_size: int | None = field(default=None, doc="channels of a head of values; size", minimum=1)
    units: int | None = field(default=None, doc="channels of the output; those of the query", minimum=1)
    causal: bool = field(default=False, doc="position i sees the keys up to i")
    mask: Source | None = field(default=None, doc="true where a key, (keys,) or (queries, keys), is seen")
    query_mask: Source | None = field(default=None, doc="(queries,): one that is false sees no key")
    unseen: Literal["zero", "mean"] = field(
        default="zero", doc="what a query finds that sees no key: 0, or the mean of all values"
    )
    rotary: bool | float = field(
        default=False, doc="turns queries and keys by their position; the base, or true for 10000", above=1
    )
    use_bias: bool = field(default=True, doc="adds a bias to each of the four products")
    kernel_initializer: Initializer = field(default=GlorotUniform(), doc="initial kernels")
    bias_initializer: Initializer = field(default=zeros, doc="initial biases")

    def check(self) -> Iterator[Fault]:
        """Heads are shared evenly, and channels turn in pairs."""
        if self.heads % (self.key_heads or self.heads):
            found = f"{self.heads} heads of queries do not share {self.key_heads} heads of keys"
            yield Fault(("key_heads",), found, f"expected a divisor of {self.heads}")
        if self.rotary and self.size is not None and self.size % 2:
            yield Fault(("size",), f"{self.size} channels do not turn in pairs", "expected an even number")

    def parameters(self, *x: TensorType) -> Iterator[Parameter]:
        inputs = self._three(x)
        if any(t.rank != 3 for t in x):
            refuse("multi_head_attention needs (length, channels)", *x)
        if inputs[1].shape[1] != inputs[2].shape[1]:
            refuse("multi_head_attention needs as many values as keys", *x)
        size = self._size(x[0])
        sizes = size, size, self.value_size or size
        for name, t, heads, n in zip(("query", "key", "value"), inputs, self._heads(), sizes):
            yield from self._dense(name, t.shape[-1], heads * n)
        yield from self._dense("output", self.heads * sizes[-1], self.units or x[0].shape[-1])

    def forward(self, p: Scope, *x: Any, mask: Any = None, query_mask: Any = None) -> Any:
        q, k, v = self._projected(p, *x)
        if self.rotary:
            q, k = (rotate(a, self._base()) for a in (q, k))
        seen = None if mask is None else _seen(mask, q.shape[1], k.shape[1])
        if query_mask is not None:
            asked = reshape(_seen(query_mask, 1, q.shape[1]), (-1, 1, q.shape[1], 1))
            seen = asked if seen is None else logical_and(seen, asked)
        y = attention(q, k, v, seen, self.causal)
        if seen is not None and self.unseen == "mean":
            y = self._unblinded(y, v, seen)
        return self._output(p, y)

    def step(self, p: StepScope, *x: Any, mask: Any = None, query_mask: Any = None) -> Any:
        """One query.  Keys and values of its own sequence are kept; those of another are there as a whole."""
        if len(x) > 1:
            if self.causal or self.rotary or x[1].shape[1] == 1:
                refuse("multi_head_attention keeps keys where it has one input", *x)
            return self.forward(p, *x, mask=mask, query_mask=query_mask)
        if not self.causal:
            refuse("multi_head_attention that is not causal needs all positions", *x)
        if query_mask is not None or self.unseen != "zero":
            refuse("multi_head_attention with a query_mask, or with means, needs all positions", *x)
        q, k, v = self._projected(p, *x)
        if self.rotary:
            q, k = (rotate(a, self._base(), p.position) for a in (q, k))
        places = np.arange(p.context)
        seen = less_equal(places, p.position)
        if mask is not None:
            one = reshape(_seen(mask, 1, 1), (-1, 1))
            seen = logical_and(seen, _kept(p, "mask", one, equal(places, p.position)))
        here = equal(places[:, None, None], p.position)
        keys, values = _kept(p, "keys", k, here), _kept(p, "values", v, here)
        return self._output(p, attention(q, keys, values, reshape(seen, (-1, 1, 1, p.context))))

    def _three(self, x: tuple[Any, ...]) -> tuple[Any, ...]:
        """Query, key and value."""
        return x + x[-1:] * (3 - len(x))

    def _heads(self) -> tuple[int, int, int]:
        return self.heads, *(self.key_heads or self.heads,) * 2

    def _size(self, query: TensorType) -> int:
        width = query.shape[-1]
        if self.size is None and width % self.heads:
            refuse(f"multi_head_attention needs channels for {self.heads} equal heads, or a size", query)
        size = self.size or width // self.heads
        if self.rotary and size % 2:
            refuse(f"multi_head_attention has heads of {size} channels, which do not turn in pairs", query)
        return size

    def _base(self) -> float:
        return BASE if self.rotary is True else float(self.rotary)

    def _dense(self, name: str, channels: int, units: int) -> Iterator[Parameter]:
        yield Parameter(f"{name}_kernel", (channels, units), self.kernel_initializer)
        if self.use_bias:
            yield Parameter(f"{name}_bias", (units,), self.bias_initializer)

    def _projected(self, p: Scope, *x: Any) -> list[Any]:
        """q (B, Tq, N, D), k and v (B, Tk, M, D)."""
        named = zip(("query", "key", "value"), self._three(x), self._heads())
        wide = [(_affine(p, name, a), heads) for name, a, heads in named]
        return [reshape(a, (*a.shape[:2], heads, a.shape[2] // heads)) for a, heads in wide]

    def _unblinded(self, y: Any, v: Any, seen: Any) -> Any:
        """y (B, Tq, N, E) with the mean of v (B, Tk, M, E) where a query sees no key; seen (B, 1, Tq, Tk)."""
        keys, heads = v.shape[1], v.shape[2]
        seen = broadcast_to(seen, (seen.shape[0], 1, y.shape[1], keys))
        if self.causal:
            seen = _and_up_to_its_own(seen, *standing(y.shape[1], keys))
        some = reshape(any_of(seen, -1), (-1, y.shape[1], 1, 1))
        middle = repeat_interleave(mean(v, 1, keepdims=True), self.heads // heads, 2)
        return select(some, y, middle)

    def _output(self, p: Scope, y: Any) -> Any:
        return _affine(p, "output", reshape(y, (*y.shape[:2], y.shape[2] * y.shape[3])))


@pointwise
def _and_up_to_its_own(seen: Any, query: Any, key: Any) -> Any:
    """Whether a key is seen and stands no later than the query."""
    return select(key <= query, seen, False)


def _affine(p: Scope, name: str, x: Any) -> Any:
    y, bias = matmul(x, p.get(f"{name}_kernel")), p.get(f"{name}_bias")
    return y if bias is None else y + bias


def _seen(mask: Any, queries: int, keys: int) -> Any:
    """A mask (B, keys) or (B, queries, keys) as one for `attention`."""
    if dtype(mask.dtype).kind not in ("bool", "int"):
        needs = "multi_head_attention needs a mask of bool or whole numbers"
        raise reasoned(DTypeError, f"the mask is {mask.dtype}", needs)
    if tuple(mask.shape[1:]) not in ((keys,), (queries, keys)):
        needs = f"multi_head_attention needs ({keys},) for its keys or ({queries}, {keys})"
        raise reasoned(ShapeError, f"the mask is {mask.shape[1:]}", needs)
    seen = mask if dtype(mask.dtype).kind == "bool" else mask != 0
    return reshape(seen, (seen.shape[0], 1, *((1, keys) if len(seen.shape) == 2 else seen.shape[1:])))


def _kept(p: StepScope, name: str, new: Any, here: Any) -> Any:
    """What all positions so far had, (B, context, ...), with ``new``, (B, 1, ...), at this one."""
    before = p.kept(name, (new.shape[0], p.context, *new.shape[2:]), new.dtype)
    after = select(here, new, before)
    p.update(name, after)
    return after
