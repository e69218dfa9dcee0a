"""A table of learnt vectors."""

from __future__ import annotations

from typing import Any

import numpy as np

from cortex_compute.errors import ArgumentError, DTypeError, ShapeError
from cortex_compute.types import dtype as as_dtype
from cortex_core.nn import functional as F
from cortex_core.nn import init
from cortex_core.nn.linear import empty
from cortex_core.nn.module import Module, Parameter
from cortex_core.tensor import Tensor


class Embedding(Module):
    """Rows of a table.   x (...) of whole numbers below num_embeddings -> (..., embedding_dim)

    The row ``padding_idx`` is 0 at first and gets no gradient.  ``sparse``: the gradient of the table may be
    one of rows.  See `functional.embedding`.
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None = None,
        sparse: bool = False,
        dtype: object = None,
        _weight: Parameter | None = None,
    ) -> None:
        super().__init__()
        if padding_idx is not None and not -num_embeddings <= padding_idx < num_embeddings:
            raise ArgumentError(f"Embedding: padding_idx={padding_idx} is no row of {num_embeddings}")
        self.num_embeddings, self.embedding_dim, self.sparse = num_embeddings, embedding_dim, sparse
        self.padding_idx = None if padding_idx is None else padding_idx % num_embeddings
        self.weight = empty(num_embeddings, embedding_dim, dtype=dtype) if _weight is None else _weight
        if _weight is None:
            self.reset_parameters()

    @classmethod
    def from_pretrained(
        cls, embeddings: Any, freeze: bool = True, padding_idx: int | None = None, sparse: bool = False
    ) -> Embedding:
        """A table of the numbers ``embeddings`` (n, units), whose memory it shares; frozen unless told."""
        table = Tensor(embeddings)
        if table.ndim != 2:
            raise ShapeError(f"from_pretrained: the table has shape {table.shape}; needs (n, units)")
        rows, units = table.shape
        return cls(rows, units, padding_idx, sparse, _weight=Parameter(table, requires_grad=not freeze))

    def reset_parameters(self) -> None:
        """Draws the table anew: normal of mean 0 and variance 1."""
        init.normal_(self.weight)
        if self.padding_idx is not None:
            keep = np.arange(self.num_embeddings)[:, None] != self.padding_idx
            init.write(self.weight, np.where(keep, np.asarray(self.weight), 0))

    def forward(self, input: Any) -> Any:
        if as_dtype(input.dtype).kind != "int":
            raise DTypeError(f"{self!r}: the input is {input.dtype}; needs whole numbers, as int64")
        return F.embedding(input, self.weight, self.padding_idx)

    def extra_repr(self) -> str:
        padding = "" if self.padding_idx is None else f", padding_idx={self.padding_idx}"
        return f"{self.num_embeddings}, {self.embedding_dim}{padding}{', sparse=True' if self.sparse else ''}"
