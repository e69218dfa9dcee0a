"""Attention with several heads."""

from __future__ import annotations

from typing import Any

import numpy as np

from cortex_compute.errors import ArgumentError, ShapeError
from cortex_compute.types import dtype as as_dtype
from cortex_core.nn import functional as F
from cortex_core.nn import init
from cortex_core.nn.functional.attention import attention_weights, split_mask
from cortex_core.nn.linear import Linear, check_size, empty
from cortex_core.nn.module import Module
from cortex_core.ops import reduce
from cortex_core.ops.attention import attention
from cortex_core.ops.indexing import concatenate, pad
from cortex_core.ops.lift import as_array, known
from cortex_core.ops.linear import matmul
from cortex_core.ops.pointwise import logical_and, logical_not
from cortex_core.ops.views import broadcast_to, narrow, reshape, squeeze, transpose, unsqueeze


class MultiheadAttention(Module):
    """Each head attends with its own projections of query, key and value.   Vaswani et al., 2017

    query (L, N, E), key (S, N, kdim), value (S, N, vdim), or batch first, or without the batch -> y (L, N, E)
    and, with ``need_weights``, the weights (N, L, S), averaged over the heads, or (N, heads, L, S).
    Masks of booleans say by *true* what is NOT seen, as PyTorch has it; numbers are added to the scores:
    key_padding_mask (N, S), attn_mask (L, S) or (N * heads, L, S).  ``is_causal``: query i sees the keys up
    to i, beside what the masks say.  A query that sees no key gets 0 from each head (PyTorch gives NaN).
    With ``need_weights=False`` and without dropout the scores are not stored, unless a mask adds numbers.
    One of 0 and -inf hides, as booleans do; one that a traced step is given has no numbers yet, and adds.
    Parameters: in_proj_weight (3E, E) and in_proj_bias, or where kdim or vdim differ q_proj_weight,
    k_proj_weight and v_proj_weight; out_proj; bias_k and bias_v with ``add_bias_kv``: one more key and value.
    """

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        dropout: float = 0.0,
        bias: bool = True,
        add_bias_kv: bool = False,
        add_zero_attn: bool = False,
        kdim: int | None = None,
        vdim: int | None = None,
        batch_first: bool = False,
        dtype: object = None,
    ) -> None:
        super().__init__()
        kdim, vdim = (embed_dim if size is None else size for size in (kdim, vdim))
        sizes = {"embed_dim": embed_dim, "num_heads": num_heads, "kdim": kdim, "vdim": vdim}
        for key, size in sizes.items():
            check_size("MultiheadAttention", key, size)
        if not 0 <= dropout <= 1:
            raise ArgumentError(f"MultiheadAttention: dropout={dropout}; needs a probability, 0 to 1")
        if embed_dim % num_heads:
            raise ArgumentError(
                f"MultiheadAttention: embed_dim={embed_dim} does not split into num_heads={num_heads}"
            )
        self.embed_dim, self.num_heads, self.head_dim = embed_dim, num_heads, embed_dim // num_heads
        self.dropout, self.batch_first, self.add_zero_attn = dropout, batch_first, add_zero_attn
        self.kdim, self.vdim = kdim, vdim
        if self.kdim == self.vdim == embed_dim:
            self.in_proj_weight = empty(3 * embed_dim, embed_dim, dtype=dtype)
        else:
            self.register_parameter("in_proj_weight", None)
            self.q_proj_weight = empty(embed_dim, embed_dim, dtype=dtype)
            self.k_proj_weight = empty(embed_dim, self.kdim, dtype=dtype)
            self.v_proj_weight = empty(embed_dim, self.vdim, dtype=dtype)
        self.register_parameter("in_proj_bias", empty(3 * embed_dim, dtype=dtype) if bias else None)
        self.out_proj = Linear(embed_dim, embed_dim, bias, dtype)
        for name in ("bias_k", "bias_v"):
            self.register_parameter(name, empty(1, 1, embed_dim, dtype=dtype) if add_bias_kv else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws the weights anew."""
        for name, parameter in self.named_parameters(recurse=False):
            if name == "in_proj_bias":
                init.zeros_(parameter)
            elif name.startswith("bias"):
                init.xavier_normal_(parameter)
            else:
                init.xavier_uniform_(parameter)
        if self.out_proj.bias is not None:
            init.zeros_(self.out_proj.bias)

    def forward(
        self,
        query: Any,
        key: Any,
        value: Any,
        key_padding_mask: Any = None,
        need_weights: bool = True,
        attn_mask: Any = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Any, Any]:
        alone = len(query.shape) == 2
        self._expect(query, key, value)
        given = [unsqueeze(x, 0) if alone else x if self.batch_first else transpose(x, (1, 0, 2))
                 for x in (query, key, value)]  # fmt: skip
        q, k, v = self._projected(*given)
        k, v, more = self._extended(k, v)
        seen, added = self._masks(key_padding_mask, attn_mask, q.shape[:2], k.shape[1] - more, more, alone)
        if more and is_causal:  # the keys that were put behind the others are seen by all
            before = np.tri(q.shape[1], k.shape[1] - more, dtype=bool)
            before = np.pad(before, ((0, 0), (0, more)), constant_values=True)
            seen, is_causal = before[None, None] if seen is None else logical_and(seen, before), False
        y, weights = self._attend(q, k, v, seen, added, is_causal, need_weights)
        y = self.out_proj(reshape(y, (*y.shape[:2], self.embed_dim)))
        if weights is not None and average_attn_weights:
            weights = reduce.mean(weights, 1)
        if alone:
            return squeeze(y, 0), None if weights is None else squeeze(weights, 0)
        return y if self.batch_first else transpose(y, (1, 0, 2)), weights

    def _attend(
        self, q: Any, k: Any, v: Any, seen: Any, added: Any, causal: bool, weighed: bool
    ) -> tuple[Any, Any]:
        """q (N, L, heads, D), k and v (N, S, heads, D) -> y (N, L, heads, D) and, if asked for, weights."""
        rate = self.dropout if self.training else 0.0
        if added is None and not rate and not weighed:
            return attention(q, k, v, seen, causal), None
        heads = [transpose(x, (0, 2, 1, 3)) for x in (q, k, v)]
        weights = F.dropout(attention_weights(heads[0], heads[1], seen, added, causal), rate)
        return transpose(matmul(weights, heads[2]), (0, 2, 1, 3)), weights if weighed else None

    def _projected(self, *given: Any) -> list[Any]:
        """Query, key and value, (N, T, heads, D)."""
        e = self.embed_dim
        if self.in_proj_weight is None:
            weights = [self.q_proj_weight, self.k_proj_weight, self.v_proj_weight]
        else:
            weights = [narrow(self.in_proj_weight, 0, i * e, e) for i in range(3)]
        biases = [
            None if self.in_proj_bias is None else narrow(self.in_proj_bias, 0, i * e, e) for i in range(3)
        ]
        return [
            reshape(F.linear(x, w, b), (*x.shape[:2], self.num_heads, self.head_dim))
            for x, w, b in zip(given, weights, biases)
        ]

    def _extended(self, k: Any, v: Any) -> tuple[Any, Any, int]:
        """Keys and values with those behind them that ``add_bias_kv`` and ``add_zero_attn`` put there."""
        more = 0
        if self.bias_k is not None:
            shape = (k.shape[0], 1, self.num_heads, self.head_dim)
            one = (1, 1, self.num_heads, self.head_dim)
            k, v = (
                concatenate([x, broadcast_to(reshape(b, one), shape)], 1)
                for x, b in ((k, self.bias_k), (v, self.bias_v))
            )
            more += 1
        if self.add_zero_attn:
            k, v = (pad(x, [(0, 0), (0, 1), (0, 0), (0, 0)]) for x in (k, v))
            more += 1
        return k, v, more

    def _masks(
        self, padding: Any, mask: Any, queries: tuple[int, int], keys: int, more: int, alone: bool
    ) -> tuple[Any, Any]:
        """What is seen and what is added, (N or 1, heads or 1, L or 1, S): the two masks as one each."""
        batch, length = queries
        seen: Any = None
        added: Any = None
        forms: list[tuple[str, Any, dict[tuple[int, ...], tuple[int, ...]]]] = [
            ("key_padding_mask", padding, {(keys,) if alone else (batch, keys): (batch, 1, 1, keys)}),
            (
                "attn_mask",
                mask,
                {
                    (length, keys): (1, 1, length, keys),
                    (batch * self.num_heads, length, keys): (batch, self.num_heads, length, keys),
                },
            ),
        ]
        for name, given, shapes in forms:
            if given is None:
                continue
            array = as_array(given)
            if array.shape not in shapes:
                needs = " or ".join(map(str, shapes))
                raise ShapeError(f"MultiheadAttention: {name} has shape {array.shape}; needs {needs}")
            visible, number = split_mask(_told(array, name))
            if visible is not None:
                visible = pad(reshape(visible, shapes[array.shape]), [(0, 0)] * 3 + [(0, more)], True)
                seen = visible if seen is None else logical_and(seen, visible)
            else:
                number = pad(reshape(number, shapes[array.shape]), [(0, 0)] * 3 + [(0, more)])
                added = number if added is None else added + number
        return seen, added

    def _expect(self, query: Any, key: Any, value: Any) -> None:
        shapes = [tuple(x.shape) for x in (query, key, value)]
        ranks, sizes = {len(s) for s in shapes}, [s[-1:] for s in shapes]
        batch = 0 if self.batch_first else 1
        fits = ranks in ({2}, {3}) and sizes == [(self.embed_dim,), (self.kdim,), (self.vdim,)]
        if fits and ranks == {3}:
            fits = len({s[batch] for s in shapes}) == 1 and shapes[1][1 - batch] == shapes[2][1 - batch]
        elif fits:
            fits = shapes[1][0] == shapes[2][0]
        if not fits:
            axes = (
                "(N, L, {}), (N, S, {}), (N, S, {})"
                if self.batch_first
                else "(L, N, {}), (S, N, {}), (S, N, {})"
            )
            told = ", ".join(map(str, shapes))
            raise ShapeError(
                f"MultiheadAttention: query, key and value have shapes {told}; needs "
                + axes.format(self.embed_dim, self.kdim, self.vdim)
            )

    def extra_repr(self) -> str:
        return f"{self.embed_dim}, {self.num_heads}, dropout={self.dropout}, batch_first={self.batch_first}"


def _told(mask: Any, name: str) -> Any:
    """What is seen, if the mask says it: by booleans, or by nothing but 0 and -inf.  Else the mask."""
    kind = as_dtype(mask.dtype).kind
    if kind == "bool":
        return logical_not(mask)
    if kind != "float":
        raise ArgumentError(
            f"MultiheadAttention: {name} is {mask.dtype}; needs booleans, or numbers to be added"
        )
    if known(mask) and not mask.requires_grad:
        numbers = np.asarray(mask)
        hidden = np.isneginf(numbers)
        if hidden.any() and not numbers[~hidden].any():
            return as_array(~hidden)
    return mask
