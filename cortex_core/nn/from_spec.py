"""`from_spec`: a description as a Module."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from cortex_compute.errors import DataError
from cortex_compute.types import dtype
from cortex_core.declared import KEY
from cortex_core.given import check_input
from cortex_core.network import Network, network
from cortex_core.nn.module import Module, Parameter
from cortex_core.ops.array import Array
from cortex_core.tensor import Tensor
from cortex_core.terms import known
from cortex_core.trace import trace


def from_spec(x: Any) -> SpecModule:
    """A Module that computes what a network computes, with copies of its parameters.

    ``x`` is what `cortex.network` takes: a network, a description, or the path of one.
    """
    return SpecModule(network(x))


class SpecModule(Module):
    """A description's layers, run one after the other by their own ``forward``.

    It takes an array or Tensor with its batch axis (several inputs: a dict of them by name) and gives the
    outputs as `Network.predict` with ``raw=True`` does: one Tensor, or a dict of them.  Parameters and
    running statistics have the names that they have in the network ("dense/kernel"); those of a layer that is
    not ``trainable`` require no gradient.  Losses, penalties and learning-rate multipliers are left to the
    loop.  In training mode random masks are those of the network's own training, and stateful layers go on
    from the batch before; `forget` begins anew, as at the start of an epoch.
    """

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.description = network.description
        for name, array in network.parameters.items():
            trainable = network.slots[name].segment.trainable
            self._parameters[name] = Parameter(array.copy(), trainable)  # a name here may have a dot
        for name, array in network.variables.items():
            self._buffers[name] = Tensor(array.copy())
        self._carried = {name: network.declared[name].declaration for name in network.carried}
        for name, declared in self._carried.items():
            rows = (network.training.batch_size, *declared.shape[1:])
            self._buffers[name] = Tensor(np.full(rows, declared.value, np.float32))  # type: ignore[union-attr]
        self.register_buffer(KEY, Tensor(network.store.array(KEY).copy()))

    def forward(self, x: Any) -> Any:
        key = self._buffers[KEY] if self.training else None
        traced: Any = trace(self.description, self._inputs(x), self._fetch, key, self.training)
        outputs = {name: known(traced, name) for name in self.description.outputs}
        self._buffers.update(traced.updates)
        if key is not None:
            self._buffers[KEY] = key + np.array([0, 1], np.uint64)
        return outputs if len(outputs) > 1 else next(iter(outputs.values()))

    def forget(self) -> None:
        """Fills what a batch hands to the next one, the states of stateful layers, as at the start."""
        for name, declared in self._carried.items():
            kept = self._buffers[name]
            self._buffers[name] = Tensor(np.full(kept.shape, declared.value, np.float32))  # type: ignore[union-attr]

    def _fetch(self, name: str, declaration: Any, layer: Any) -> Any:
        return self._parameters[name] if name in self._parameters else self._buffers[name]

    def _inputs(self, x: Any) -> dict[str, Any]:
        declared = self.description.inputs
        given = x if isinstance(x, Mapping) else {declared[0].name: x} if len(declared) == 1 else {}
        missing = [node.name for node in declared if node.name not in given]
        if missing:
            raise DataError(f"missing input {missing[0]!r}: give a dict of arrays by the inputs' names")
        return {node.name: _input(node, given[node.name]) for node in declared}

    def extra_repr(self) -> str:
        return f"{self.description.name}: {len(self.description.layers)} layers"


def _input(node: Any, x: Any) -> Array:
    if isinstance(x, Array):
        return x
    array = np.asarray(x)
    check_input(node, array)
    return Tensor(array, dtype(node.dtype))
