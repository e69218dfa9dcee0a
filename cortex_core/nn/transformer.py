"""Transformers: encoder and decoder layers, stacks of them, and both together.   Vaswani et al., 2017

Sequences are (T, N, d_model), or (N, T, d_model) with ``batch_first``, or (T, d_model).  Masks are those of
`MultiheadAttention`: *true* is what is not seen.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np

from cortex_compute.errors import ArgumentError
from cortex_compute.types import dtype as as_dtype
from cortex_core.nn import functional as F
from cortex_core.nn import init
from cortex_core.nn.attention import MultiheadAttention
from cortex_core.nn.container import ModuleList
from cortex_core.nn.dropout import Dropout
from cortex_core.nn.linear import Linear, check_size
from cortex_core.nn.module import Module
from cortex_core.nn.normalization import LayerNorm
from cortex_core.tensor import Tensor

Activation = str | Callable[[Any], Any]


class _TransformerLayer(Module):
    """What both kinds of layers share: attention to itself, two linear layers, and a norm for each."""

    crossed = False  # whether it attends to a memory too

    def __init__(
        self,
        d_model: int,
        nhead: int,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: Activation = "relu",
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        dtype: object = None,
    ) -> None:
        super().__init__()
        attentions = ("self_attn", "multihead_attn") if self.crossed else ("self_attn",)
        for name in attentions:
            attend = MultiheadAttention(d_model, nhead, dropout, bias, batch_first=batch_first, dtype=dtype)
            self.add_module(name, attend)
        self.linear1 = Linear(d_model, dim_feedforward, bias, dtype)
        self.dropout = Dropout(dropout)
        self.linear2 = Linear(dim_feedforward, d_model, bias, dtype)
        self.norm_first = norm_first
        parts = range(1, len(attentions) + 2)
        for i in parts:
            self.add_module(f"norm{i}", LayerNorm(d_model, layer_norm_eps, bias=bias, dtype=dtype))
        for i in parts:
            self.add_module(f"dropout{i}", Dropout(dropout))
        self.activation = _activation(activation)

    def _residual(self, x: Any, part: int, f: Callable[[Any], Any]) -> Any:
        """x + f(x), normalised before f or after the sum; ``part`` counts norms and dropouts from 1."""
        norm, dropout = self._modules[f"norm{part}"], self._modules[f"dropout{part}"]
        return x + dropout(f(norm(x))) if self.norm_first else norm(x + dropout(f(x)))

    def _feed_forward(self, x: Any) -> Any:
        return self.linear2(self.dropout(self.activation(self.linear1(x))))


class TransformerEncoderLayer(_TransformerLayer):
    """Attention to itself, then two linear layers, each with dropout, a residual and a norm.

    src (T, N, d_model) -> (T, N, d_model).  ``activation``: "relu", "gelu" or a function; ``norm_first``: the
    norm comes before each part, else after each sum.
    """

    def forward(
        self, src: Any, src_mask: Any = None, src_key_padding_mask: Any = None, is_causal: bool = False
    ) -> Any:
        def attend(x: Any) -> Any:
            return self.self_attn(x, x, x, src_key_padding_mask, False, src_mask, is_causal=is_causal)[0]

        return self._residual(self._residual(src, 1, attend), 2, self._feed_forward)


class TransformerDecoderLayer(_TransformerLayer):
    """As `TransformerEncoderLayer`, with attention to ``memory``, what an encoder gave, in the middle.

    tgt (T, N, d_model), memory (S, N, d_model) -> (T, N, d_model)
    """

    crossed = True

    def forward(
        self,
        tgt: Any,
        memory: Any,
        tgt_mask: Any = None,
        memory_mask: Any = None,
        tgt_key_padding_mask: Any = None,
        memory_key_padding_mask: Any = None,
        tgt_is_causal: bool = False,
        memory_is_causal: bool = False,
    ) -> Any:
        def attend(x: Any) -> Any:
            return self.self_attn(x, x, x, tgt_key_padding_mask, False, tgt_mask, is_causal=tgt_is_causal)[0]

        def look(x: Any) -> Any:
            masks = (memory_key_padding_mask, False, memory_mask)
            return self.multihead_attn(x, memory, memory, *masks, is_causal=memory_is_causal)[0]

        x = self._residual(self._residual(tgt, 1, attend), 2, look)
        return self._residual(x, 3, self._feed_forward)


class TransformerEncoder(Module):
    """``num_layers`` copies of a layer, one after the other, and a norm if given.

    ``enable_nested_tensor`` changes nothing: padding is computed as everything else.
    """

    def __init__(
        self,
        encoder_layer: Module,
        num_layers: int,
        norm: Module | None = None,
        enable_nested_tensor: bool = True,
    ) -> None:
        super().__init__()
        self.layers, self.num_layers = _copies(encoder_layer, num_layers), num_layers
        self.enable_nested_tensor = enable_nested_tensor
        self.add_module("norm", norm)

    def forward(
        self, src: Any, mask: Any = None, src_key_padding_mask: Any = None, is_causal: bool | None = None
    ) -> Any:
        for layer in self.layers:
            src = layer(src, mask, src_key_padding_mask, bool(is_causal))
        return src if self.norm is None else self.norm(src)


class TransformerDecoder(Module):
    """``num_layers`` copies of a layer, one after the other, and a norm if given."""

    def __init__(self, decoder_layer: Module, num_layers: int, norm: Module | None = None) -> None:
        super().__init__()
        self.layers, self.num_layers = _copies(decoder_layer, num_layers), num_layers
        self.add_module("norm", norm)

    def forward(
        self,
        tgt: Any,
        memory: Any,
        tgt_mask: Any = None,
        memory_mask: Any = None,
        tgt_key_padding_mask: Any = None,
        memory_key_padding_mask: Any = None,
        tgt_is_causal: bool | None = None,
        memory_is_causal: bool = False,
    ) -> Any:
        masks = (tgt_mask, memory_mask, tgt_key_padding_mask, memory_key_padding_mask)
        for layer in self.layers:
            tgt = layer(tgt, memory, *masks, bool(tgt_is_causal), memory_is_causal)
        return tgt if self.norm is None else self.norm(tgt)


class Transformer(Module):
    """An encoder of ``src`` (S, N, d_model) and a decoder of ``tgt`` (T, N, d_model) that attends to it.

    Gives (T, N, d_model).  ``custom_encoder`` and ``custom_decoder`` stand in the place of the usual ones.
    """

    def __init__(
        self,
        d_model: int = 512,
        nhead: int = 8,
        num_encoder_layers: int = 6,
        num_decoder_layers: int = 6,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: Activation = "relu",
        custom_encoder: Module | None = None,
        custom_decoder: Module | None = None,
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        dtype: object = None,
    ) -> None:
        super().__init__()
        layer: tuple[Any, ...] = (
            d_model, nhead, dim_feedforward, dropout, activation, layer_norm_eps, batch_first, norm_first,
            bias, dtype,
        )  # fmt: skip

        def norm() -> LayerNorm:
            return LayerNorm(d_model, layer_norm_eps, bias=bias, dtype=dtype)

        self.encoder = custom_encoder or TransformerEncoder(
            TransformerEncoderLayer(*layer), num_encoder_layers, norm()
        )
        self.decoder = custom_decoder or TransformerDecoder(
            TransformerDecoderLayer(*layer), num_decoder_layers, norm()
        )
        self.d_model, self.nhead, self.batch_first = d_model, nhead, batch_first
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws all matrices anew, by Glorot and Bengio's uniform distribution."""
        for parameter in self.parameters():
            if len(parameter.shape) > 1:
                init.xavier_uniform_(parameter)

    def forward(
        self,
        src: Any,
        tgt: Any,
        src_mask: Any = None,
        tgt_mask: Any = None,
        memory_mask: Any = None,
        src_key_padding_mask: Any = None,
        tgt_key_padding_mask: Any = None,
        memory_key_padding_mask: Any = None,
        src_is_causal: bool | None = None,
        tgt_is_causal: bool | None = None,
        memory_is_causal: bool = False,
    ) -> Any:
        memory = self.encoder(src, src_mask, src_key_padding_mask, src_is_causal)
        masks = (tgt_mask, memory_mask, tgt_key_padding_mask, memory_key_padding_mask)
        return self.decoder(tgt, memory, *masks, tgt_is_causal, memory_is_causal)

    @staticmethod
    def generate_square_subsequent_mask(sz: int, dtype: object = None) -> Tensor:
        """What a query must not see of later keys: -inf there, else 0.   (sz, sz)"""
        check_size("generate_square_subsequent_mask", "sz", sz, least=0)
        kind = as_dtype(dtype or "float32")
        if kind.kind != "float":
            raise ArgumentError(f"generate_square_subsequent_mask: dtype={kind} has no -inf; choose a float")
        return Tensor(np.triu(np.full((sz, sz), -np.inf), 1)).to(kind)


def _copies(layer: Module, count: int) -> ModuleList:
    if not isinstance(layer, Module):
        raise ArgumentError(f"a stack of a {type(layer).__name__}; needs a layer, which it copies")
    check_size("a stack", "num_layers", count, least=0)
    return ModuleList(copy.deepcopy(layer) for _ in range(count))


def _activation(given: Activation) -> Callable[[Any], Any]:
    known: dict[str, Callable[[Any], Any]] = {"relu": F.relu, "gelu": F.gelu}
    if callable(given):
        return given
    if given not in known:
        raise ArgumentError(f"activation={given!r}: choose 'relu', 'gelu' or a function")
    return known[given]
