"""Dropout."""

from __future__ import annotations

from typing import Any

from cortex_compute.errors import ArgumentError
from cortex_core.nn import functional as F
from cortex_core.nn.module import Module


class _Dropout(Module):
    """With ``inplace`` the result is the same; here the input keeps its numbers."""

    def __init__(self, p: float = 0.5, inplace: bool = False) -> None:
        super().__init__()
        if not 0 <= p <= 1:
            raise ArgumentError(f"{type(self).__name__}: p={p}; needs a probability, 0 to 1")
        self.p, self.inplace = p, inplace

    def extra_repr(self) -> str:
        return f"p={self.p}{', inplace=True' if self.inplace else ''}"


class Dropout(_Dropout):
    """In training each element falls to 0 with probability ``p``; the others grow by 1 / (1 - p).

    Srivastava et al., 2014.
    """

    def forward(self, input: Any) -> Any:
        return F.dropout(input, self.p, self.training)


class Dropout1d(_Dropout):
    """Dropout of whole channels.   x (N, C, L)"""

    def forward(self, input: Any) -> Any:
        return F.dropout1d(input, self.p, self.training)


class Dropout2d(_Dropout):
    """Dropout of whole channels.   x (N, C, H, W).  Tompson et al., 2015"""

    def forward(self, input: Any) -> Any:
        return F.dropout2d(input, self.p, self.training)


class Dropout3d(_Dropout):
    """Dropout of whole channels.   x (N, C, D, H, W).  Tompson et al., 2015"""

    def forward(self, input: Any) -> Any:
        return F.dropout3d(input, self.p, self.training)
