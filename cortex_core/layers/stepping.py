"""What a layer sees while a network generates: one position of a sequence at a time.

A layer that treats each position of axis 1 by itself says so (``positionwise`` in `layer`), and its forward
serves.  One that looks back has ``step(p, *x, **named)`` for x (B, 1, ...), and keeps what it needs of the
positions before.  A step that cannot give what the forward would give refuses, as a forward refuses shapes.
"""

from __future__ import annotations

from typing import Any

from cortex_compute.types import TensorType
from cortex_compute.types import dtype as as_dtype
from cortex_core.graph.value import Value, state_value
from cortex_core.layers.scope import Inner, Scope


class Memory:
    """What the layers of a network keep from one position to the next, while one step is traced.

    ``position``: the index of the newest position, int64 ().  ``context``: how many positions there is room
    for; ``bounded`` says whether a layer asked.  ``kept`` holds the states by name, ``updates`` what they
    become.
    """

    def __init__(self, position: Value, context: int) -> None:
        self.position, self.context = position, context
        self.bounded = False
        self.kept: dict[str, Value] = {}
        self.updates: dict[str, Value] = {}


class StepScope(Scope):
    """The world of one layer during the trace of a step."""

    def __init__(self, values: dict[str, Any], path: str, memory: Memory) -> None:
        super().__init__(values, False, path, None, self._on_kept)
        self._memory = memory

    @property
    def position(self) -> Value:
        """The index of this position, from 0 on.   int64 ()"""
        return self._memory.position

    @property
    def context(self) -> int:
        """How many positions there is room for.  A network in which no layer asks goes on for ever."""
        self._memory.bounded = True
        return self._memory.context

    def kept(self, name: str, shape: tuple[int, ...], dtype: object = "float32") -> Any:
        """What `update` made of ``name`` at the position before; zeros at the first."""
        state = state_value(f"kept/{self._path}/{name}", TensorType(tuple(shape), as_dtype(dtype)))
        return self._memory.kept.setdefault(f"{self._path}/{name}", state)

    def inner(self, prefix: str) -> Scope:
        return InnerStep(self, prefix)

    def _on_kept(self, name: str, value: Value) -> None:
        self._memory.updates[f"{self._path}/{name}"] = value


class InnerStep(Inner):
    """The world of a layer inside another one, during the trace of a step."""

    @property
    def position(self) -> Any:
        return self._outer.position

    @property
    def context(self) -> Any:
        return self._outer.context

    def kept(self, name: str, shape: tuple[int, ...], dtype: object = "float32") -> Any:
        return self._outer.kept(self._prefix + name, shape, dtype)

    def inner(self, prefix: str) -> Scope:
        return InnerStep(self, prefix)
