"""One node of an ONNX graph, as its translator sees it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from cortex_core.exchange.build import Unfit
from cortex_core.exchange.from_onnx.layers import Layers
from cortex_core.exchange.from_onnx.model import Node, Refused, Tensor
from cortex_core.exchange.from_onnx.stacked import Given, Stacked
from cortex_core.exchange.from_onnx.value import Known, Mixed, Value

REQUIRED: Any = object()


class Graph(Protocol):
    """What stands around a node."""

    def follower(self, node: Node) -> tuple[Node, list[Given]] | None:
        """The only node that takes the first output, and its other inputs, which are constant."""

    def absorb(self, node: Node) -> None:
        """Says that what a node does is already done: it gives the value that it takes."""


class At(Layers):
    """A node: its attributes, its inputs, and how its layers are put.

    ``version`` is the opset of the operator's definition; ``wanted`` says for each output whether anything
    takes it; ``around`` knows the nodes that follow.
    """

    def __init__(
        self,
        node: Node,
        version: int,
        given: Sequence[Given],
        wanted: Sequence[bool],
        layers: Layers,
        path: str,
        around: Graph,
    ) -> None:
        super().__init__(layers.builder, layers.notes, layers.batches, layers.reshaped)
        self.node, self.version, self.given, self.wanted, self.path = node, version, given, wanted, path
        self.around = around
        self._read: set[str] = set()

    @property
    def op(self) -> str:
        return self.node.op

    # What the file says

    def attribute(self, name: str, default: Any = REQUIRED) -> Any:
        """An attribute.  What no translator asks for is refused, see `finish`."""
        self._read.add(name)
        found = self.node.attributes.get(name, default)
        if found is REQUIRED:
            raise Unfit(f"it has no attribute '{name}'")
        if isinstance(found, Refused):
            raise Unfit(f"its attribute '{name}' is {found.told}, which is not supported")
        return found.array if isinstance(found, Tensor) else found

    def expect(self, name: str, *allowed: Any) -> Any:
        """An attribute that must have one of these values, the first by default."""
        found = self.attribute(name, allowed[0])
        if found not in allowed:
            raise Unfit(f"{name} is {found!r:.60}; supported: {', '.join(map(repr, allowed))}")
        return found

    def finish(self) -> None:
        """Raises `Unfit` where the file says more than was asked for."""
        left = [name for name in self.node.attributes if name not in self._read]
        if left:
            raise Unfit(f"its attributes {', '.join(left)} are not supported")

    # What it is called with

    def has(self, place: int) -> bool:
        """Whether there is such an input."""
        return place < len(self.given) and self.given[place] is not None

    def any(self, place: int = 0) -> Value | Known:
        """An input, computed or constant."""
        found = self.given[place] if place < len(self.given) else None
        if found is None:
            raise Unfit(f"its input {place} is lacking")
        if isinstance(found, Stacked):
            raise Mixed("its examples and another axis are one axis here")
        return found

    def value(self, place: int = 0) -> Value:
        """An input that the model computes."""
        found = self.any(place)
        if isinstance(found, Known):
            raise Unfit(f"its input {place} is constant; supported is one that the model computes")
        return found

    def values(self) -> list[Value]:
        """All inputs, each of which the model computes."""
        return [self.value(place) for place in range(len(self.given))]

    def constant(self, place: int, default: Any = REQUIRED) -> np.ndarray:
        """An input that is constant; ``default`` where it is left out."""
        if default is not REQUIRED and not self.has(place):
            return default  # type: ignore[no-any-return]
        found = self.any(place)
        if isinstance(found, Value):
            raise Unfit(f"its input {place} is computed by the model; a description holds it as numbers")
        if not found.fixed:
            raise Unfit(f"its input {place} depends on how many examples there are, or on their lengths")
        return found.one

    def weights(self, place: int) -> np.ndarray:
        """A constant input as float32."""
        return np.asarray(self.constant(place), np.float32)

    def number(self, place: int, default: Any = REQUIRED) -> Any:
        """A constant input of one number."""
        found = self.constant(place, default)
        if not isinstance(found, np.ndarray):
            return found
        if found.size != 1:
            raise Unfit(f"its input {place} has the shape {[*found.shape]}; expected one number")
        return found.reshape(()).item()

    def whole_numbers(self, name: str, place: int, default: Any = REQUIRED) -> Any:
        """Whole numbers that older definitions have as an attribute, newer ones as an input."""
        if self.has(place):
            return [int(n) for n in np.asarray(self.constant(place)).reshape(-1)]
        found = self.attribute(name, None)
        if found is None and default is REQUIRED:
            raise Unfit(f"it does not say its {name}")
        return default if found is None else found

    def bias(self, units: int, behind: int = 0) -> dict[str, np.ndarray]:
        """The weight ``bias`` that the only next node adds, if it is an `Add` of a constant number for each
        unit; ``behind`` so many axes follow that of the units.  Nothing is left for that node to do."""
        node, others = self.around.follower(self.node) or (None, [])
        if node is None or node.kind != "Add" or len(others) != 1:
            return {}
        (given,) = others
        wanted = (1, units, *[1] * behind)
        if not isinstance(given, Known) or not given.fixed:
            return {}
        if (1,) * (len(wanted) - given.one.ndim) + given.one.shape != wanted:
            return {}
        self.around.absorb(node)
        return {"bias": np.asarray(given.one, np.float32).reshape(-1)}

    # What becomes of it

    def put(
        self,
        kind: str,
        x: Value | Sequence[Value],
        /,
        *,
        part: str = "",
        weights: Mapping[str, np.ndarray] | None = None,
        order: tuple[int | None, ...] | None = None,
        trainable: bool = True,
        **fields: Any,
    ) -> Value:
        """Puts a layer of ours, see `Layers.put_at`.  ``part`` names one of several layers of a node; the
        most important one has none."""
        path = f"{self.path}_{part}" if part else self.path
        return self.put_at(path, kind, x, weights, order, trainable, fields)
