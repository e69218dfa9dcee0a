"""Channels damped by their neighbours."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from cortex_core.layers.expect import floating, refuse
from cortex_core.layers.scope import Scope
from cortex_core.ops.normalization import local_response_norm
from cortex_core.registry import Fault, field, layer


@layer("local_response_normalization", main="size", transparent=True, positionwise=True)
class LocalResponseNormalization:
    """x / (k + alpha s)^beta with s the sum of x^2 over `size` channels, the own one in their middle.

    alpha stands before the sum, as in the paper.  Where it stands before the mean (PyTorch, ONNX, Caffe,
    cuDNN), theirs is `size` times as large.   x (B, ..., C) -> (B, ..., C).
    Krizhevsky, Sutskever and Hinton, 2012, section 3.3.

    Example:
        inputs: {image: [2, 2, 4]}
        layers: [local_response_normalization: {size: 3, alpha: 0.5}]
    """

    size: int = field(default=5, doc="channels in a window, an odd number", minimum=1)
    alpha: float = field(default=1e-4, doc="weight of the sum of squares", minimum=0)
    beta: float = field(default=0.75, doc="the power", minimum=0)
    k: float = field(default=2.0, doc="added to the sum", above=0)

    def check(self) -> Iterator[Fault]:
        """A window has a middle."""
        if self.size % 2 == 0:
            yield Fault(("size",), f"{self.size} channels have no middle", "expected an odd number")

    def forward(self, p: Scope, x: Any) -> Any:
        if len(x.shape) < 2:
            refuse("local_response_normalization needs at least one axis", x)
        floating(self, x)
        return local_response_norm(x, self.size, self.alpha, self.beta, self.k)
