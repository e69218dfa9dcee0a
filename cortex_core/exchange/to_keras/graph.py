"""A model of Keras as it is put together: its layers, their calls, and their weights."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from cortex_compute.frozen import frozen

LAYERS, OPERATIONS = "keras.layers", "keras.src.ops"
Weights = Mapping[str, Sequence[np.ndarray]]
"""The arrays of a layer by the part of it that has them: "" is the layer itself, "cell" that of an LSTM."""


@frozen
class Tensor:
    """A value of the model: of which layer, which of its calls, and which of the results of that.

    ``shape`` is without the batch axis; None is an axis of any length.  ``mask`` names the mask that Keras
    attaches to it unseen, as the description calls it.
    """

    shape: tuple[int | None, ...]
    dtype: str = "float32"
    layer: str = ""
    call: int = 0
    index: int = 0
    mask: str = ""


@dataclass(eq=False)
class Call:
    """What a layer is called with: tensors, numbers, arrays, slices, and lists of them."""

    args: tuple[Any, ...]
    keywords: Mapping[str, Any]

    def tensors(self) -> Iterator[Tensor]:
        """Those that it takes, in the order in which Keras counts them."""
        yield from _tensors(self.args)
        for name in sorted(self.keywords):
            yield from _tensors(self.keywords[name])


@dataclass(eq=False)
class Layer:
    """A layer, or an operation: what ``keras.ops.sin(x)`` is in a file.  ``kind`` is its class."""

    name: str
    module: str
    kind: str
    config: Mapping[str, Any]
    weights: Weights = field(default_factory=dict)
    calls: list[Call] = field(default_factory=list)

    @property
    def is_operation(self) -> bool:
        return self.module.startswith(OPERATIONS)

    def data(self) -> dict[str, Any]:
        """The object as Keras writes one that stands by itself."""
        config = {"name": self.name, **encoded(self.config)}
        registered = self.kind if self.is_operation else None
        return {
            "module": self.module,
            "class_name": self.kind,
            "config": config,
            "registered_name": registered,
        }


class Graph:
    """Collects layers and calls; names of layers are made free, and such that Keras takes them."""

    def __init__(self) -> None:
        self.layers: dict[str, Layer] = {}
        self.inputs: list[Tensor] = []
        self._plain: dict[Tensor, Tensor] = {}

    def input(self, name: str, shape: tuple[int | None, ...], dtype: str) -> Tensor:
        """An input, under its own name: who calls the model gives arrays by it.  Inputs come first."""
        config = {"batch_shape": [None, *shape], "dtype": dtype}
        made = self.layers[name] = Layer(name, LAYERS, "InputLayer", config)
        self.inputs.append(self.call(made, Call((), {}), shape, dtype))
        return self.inputs[-1]

    def add(
        self, name: str, module: str, kind: str, config: Mapping[str, Any], weights: Weights | None = None
    ) -> Layer:
        """A layer that nothing calls yet."""
        made = Layer(self._free(name), module, kind, config, weights or {})
        self.layers[made.name] = made
        return made

    def call(self, layer: Layer, call: Call, shape: tuple[int | None, ...], dtype: str = "float32") -> Tensor:
        """The (first) result of one more call of a layer."""
        layer.calls.append(call)
        return Tensor(shape, dtype, layer.name, len(layer.calls) - 1)

    def unmasked(self, x: Tensor) -> Tensor:
        """The same numbers without the mask that Keras attaches to them: operations hand none on."""
        if x not in self._plain:
            product = self.add(f"{x.layer}_unmasked", f"{OPERATIONS}.numpy", "Multiply", {})
            self._plain[x] = self.call(product, Call((x, 1.0), {}), x.shape, x.dtype)
        return self._plain[x]

    def _free(self, wanted: str) -> str:
        base = valid(wanted)
        found, number = base, 1
        while found in self.layers:
            number += 1
            found = f"{base}_{number}"
        return found


def valid(name: str) -> str:
    """A name that Keras takes: it divides paths at "/", and TensorFlow wants these characters."""
    return re.sub(r"[^A-Za-z0-9_.\-]+", "_", name).lstrip("_.-") or "layer"


def encoded(x: Any) -> Any:
    """Arguments and configurations as JSON that Keras reads."""
    if isinstance(x, Tensor):
        told = {"shape": [None, *x.shape], "dtype": x.dtype, "keras_history": [x.layer, x.call, x.index]}
        return {"class_name": "__keras_tensor__", "config": told}
    if isinstance(x, np.ndarray):
        return {"class_name": "__numpy__", "config": {"value": numbers(x), "dtype": str(x.dtype)}}
    if isinstance(x, slice):
        return {"class_name": "__slice__", "config": {"start": x.start, "stop": x.stop, "step": x.step}}
    if isinstance(x, Layer):
        return x.data()
    if isinstance(x, Mapping):
        return {key: encoded(value) for key, value in x.items()}
    return [*map(encoded, x)] if isinstance(x, (list, tuple)) else x


def numbers(x: np.ndarray) -> Any:
    """Lists of numbers, each in as few digits as its type tells apart."""
    if x.ndim > 1:
        return [numbers(row) for row in x]
    return [float(str(n)) for n in x] if x.dtype == np.float32 else x.tolist()


def _tensors(x: Any) -> Iterator[Tensor]:
    if isinstance(x, Tensor):
        yield x
    elif isinstance(x, (list, tuple)):
        for inner in x:
            yield from _tensors(inner)
