"""Runs one layer eagerly."""

from __future__ import annotations

from typing import Any

import numpy as np

from cortex_compute.types import TensorType, dtype
from cortex_core.initializers import fans
from cortex_core.layers.scope import Parameter, Scope
from cortex_core.tensor import Tensor
from cortex_core.trace import results_of


def drawn(d: Parameter, rng: np.random.Generator) -> np.ndarray:
    """A parameter as a network draws it: each part by itself."""
    count = max(1, len(d.parts))
    shape = (*d.shape[:-1], d.shape[-1] // count)
    by = d.initializer if isinstance(d.initializer, tuple) else (d.initializer,) * count
    return np.concatenate([one.draw(shape, rng, d.fan or fans(shape)) for one in by], -1)


class Used:
    """A layer over some inputs: its output, its parameters (tensors that record), and what it updates.

    ``named`` are the values that its fields name; ``others`` is what it gives beside its output.
    """

    def __init__(
        self,
        layer: Any,
        *inputs: Any,
        training: bool = True,
        path: str = "it",
        values: dict[str, np.ndarray] | None = None,
        key: tuple[int, int] = (0, 0),
        **named: Any,
    ) -> None:
        self.inputs = [Tensor(x, requires_grad=np.asarray(x).dtype.kind == "f") for x in inputs]
        self.updates: dict[str, Any] = {}
        self.parameters: dict[str, Any] = {}
        types = [TensorType(x.shape, dtype(x.dtype)) for x in self.inputs]
        rng = np.random.default_rng(0)
        for d in layer.parameters(*types) if hasattr(layer, "parameters") else ():
            if values is not None and d.name in values:
                value = values[d.name]
            elif isinstance(d, Parameter):
                value = drawn(d, rng)
            else:
                value = np.full(d.shape, d.value)
            assert value.shape == d.shape
            self.parameters[d.name] = Tensor(value.astype(np.float64), requires_grad=True)
        scope = Scope(
            dict(self.parameters),
            training,
            path,
            Tensor(np.array(key, np.uint64)),
            lambda name, value: self.updates.__setitem__(name, value),
        )
        keywords = {
            name: tuple(map(Tensor, x)) if isinstance(x, tuple) else Tensor(x) for name, x in named.items()
        }
        self.output, self.others = results_of(layer.forward(scope, *self.inputs, **keywords))

    @property
    def y(self) -> np.ndarray:
        """The output's numbers."""
        return np.asarray(self.output)
