"""Embedding: one learnt vector per token, and the way back."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from cortex_compute.types import TensorType
from cortex_core.initializers import Uniform
from cortex_core.layers.expect import refuse, whole_numbers
from cortex_core.layers.scope import Parameter, Scope
from cortex_core.ops.indexing import gather
from cortex_core.ops.linear import matmul
from cortex_core.registry import Initializer, Source, field, layer


@layer("embedding", outputs=("mask", "table"), positionwise=True)
class Embedding:
    """Rows of a table.   x (B, ...) of whole numbers below tokens, table (tokens, units) -> (B, ..., units)

    ``ID.table`` is the table, for `unembedding`.  With ``mask_zero``, ``ID.mask`` is false where x is 0.
    Bengio et al., 2003.

    Example:
        inputs: {words: {shape: [3], dtype: int64}}
        layers: [embedding: {tokens: 5, units: 2}]
    """

    whole = ("table",)  # outputs without a batch axis, which only fields may name

    tokens: int = field(doc="how many tokens there are", minimum=1)
    units: int = field(doc="size of each vector", minimum=1)
    mask_zero: bool = field(default=False, doc="token 0 is padding: gives ID.mask")
    kernel_initializer: Initializer = field(default=Uniform(), doc="initial table")

    def parameters(self, x: TensorType) -> Iterator[Parameter]:
        whole_numbers(self, x)
        yield Parameter("table", (self.tokens, self.units), self.kernel_initializer)

    def lacks(self) -> dict[str, str]:
        """The outputs that there are not with these fields, and what would give them."""
        return {} if self.mask_zero else {"mask": "mask_zero: true"}

    def forward(self, p: Scope, x: Any) -> Any:
        others = {"mask": x != 0} if self.mask_zero else {}
        return gather(p.table, x, 0), {"table": p.table, **others}


@layer("unembedding", main="table", positionwise=True)
class Unembedding:
    """Scores of the tokens by the table of their embedding: y = x table^T.

    x (B, ..., units), table (tokens, units) -> (B, ..., tokens).  Press and Wolf, 2017.

    Example:
        inputs: {words: {shape: [3], dtype: int64}}
        layers: [embedding: {tokens: 5, units: 2, id: words_in}, unembedding: words_in.table]
    """

    takes_whole = ("table",)  # fields that name what has no batch axis

    table: Source = field(doc="that of an embedding: ID.table")

    def forward(self, p: Scope, x: Any, table: Any) -> Any:
        if len(table.shape) != 2 or x.shape[-1] != table.shape[-1]:
            needs = f"unembedding needs the channels of the table, which is {tuple(table.shape)}"
            refuse(needs, x)
        return matmul(x, table, transpose_b=True)
