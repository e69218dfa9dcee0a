"""Parameters as one vector, and back."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from cortex_compute.errors import ShapeError
from cortex_core.ops.indexing import concatenate, split
from cortex_core.ops.views import reshape
from cortex_core.tensor import Tensor, no_grad


def parameters_to_vector(parameters: Iterable[Tensor]) -> Any:
    """All numbers of the parameters, one behind the other; gradients flow through.   -> (n,)"""
    return concatenate([reshape(p, (-1,)) for p in parameters])


def vector_to_parameters(vec: Tensor, parameters: Iterable[Any]) -> None:
    """Writes the numbers of ``vec`` (n,) into the parameters, in the order of `parameters_to_vector`."""
    targets = list(parameters)
    sizes = [p.size for p in targets]
    if vec.shape != (sum(sizes),):
        raise ShapeError(
            f"vector_to_parameters: vec has shape {vec.shape}; the parameters need ({sum(sizes)},)"
        )
    with no_grad():
        for p, part in zip(targets, split(vec, sizes)):
            p.copy_(reshape(part, p.shape))
