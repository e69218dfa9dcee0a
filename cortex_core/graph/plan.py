"""The plan: a fixed list of instructions over memory that has been laid out.  Data only; it prints well."""

from __future__ import annotations

from typing import Any, NamedTuple

from cortex_compute.frozen import frozen
from cortex_compute.primitives.base import Primitive
from cortex_compute.protocol import Offer
from cortex_compute.types import TensorType
from cortex_core.place import Place

ARENA = "arena"
KEPT = "kept"  # results of the prologue, which outlive a run


class Location(NamedTuple):
    """Where a value lies: in which buffer (the arena, or an input, a state, a constant by name), at which
    byte.

    ``strides`` in elements; None is row-major.
    """

    buffer: str
    offset: int
    type: TensorType
    strides: tuple[int, ...] | None = None

    def __str__(self) -> str:
        spot = f"{self.buffer}+{self.offset}" if self.offset else self.buffer
        return f"{spot}:{self.type}" + (f"/{list(self.strides)}" if self.strides is not None else "")


class Instruction(NamedTuple):
    """One kernel call: what runs, over which memory.  None: an operand that is not read."""

    primitive: Primitive
    offer: Offer
    inputs: tuple[Location | None, ...]
    outputs: tuple[Location, ...]
    workspace: Location | None = None
    place: Place | None = None
    guarded: bool = False
    types: tuple[TensorType, ...] = ()

    def __str__(self) -> str:
        reads = ", ".join("-" if x is None else str(x) for x in self.inputs)
        return f"{', '.join(map(str, self.outputs))} = {self.primitive}({reads})"


@frozen
class Plan:
    """Everything that is needed to run, but the memory itself.

    ``constants`` are the numbers to fill in, ``arena``, ``workspace`` and ``kept`` bytes.  The instructions
    before ``prologue`` depend on weights alone, and run only when these have changed; those from ``tail`` to
    ``end`` are left out when the predicate is false.
    """

    instructions: tuple[Instruction, ...]
    tail: int
    end: int
    inputs: dict[str, Location]
    outputs: dict[str, Location]
    states: dict[str, TensorType]
    predicate: Location | None
    constants: dict[str, Any]
    arena: int
    workspace: int = 0
    prologue: int = 0
    kept: int = 0

    def __str__(self) -> str:
        lines = [f"arena {self.arena} bytes, {len(self.instructions)} instructions"]
        for i, instruction in enumerate(self.instructions):
            if i == self.prologue and i:
                lines.append("--- the above once for each version of the weights")
            if i == self.tail and self.predicate is not None:
                lines.append(f"--- if {self.predicate}")
            if i == self.end:
                lines.append("--- always")
            lines.append(f"{i:4d}  {instruction}")
        return "\n".join(lines)
