"""What ONNX cannot say: where it stands, why, and the way round."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn

from cortex_compute.errors import SpecError
from cortex_core.ops.array import Node

SHOWN = 50
FIX = "fix the lengths: `cortex surgery MODEL --resize-input SHAPE -o FIXED.cortex`"
AROUND = "put other layers in its place, by `cortex surgery`"


class Unsaid(Exception):
    """A part of a network that ONNX cannot say.  ``way``: what to do about it."""

    def __init__(self, why: str, node: Node | None = None, way: str = AROUND) -> None:
        super().__init__(why)
        self.why, self.node, self.way = why, node, way

    @property
    def place(self) -> str:
        """Where in the description it stands, or what it is."""
        if self.node is None:
            return "the network"
        return str(self.node.place) if self.node.place is not None else "what predict makes of the outputs"


def at_once(found: Sequence[Unsaid]) -> NoReturn:
    """Raises one `SpecError` for all that cannot be said, each place and reason once."""
    lines = list(dict.fromkeys(f"{x.place}: {x.why}; {x.way}" for x in found))
    many = f"{len(lines)} parts of the network" if len(lines) > 1 else "a part of the network"
    more = [f"  and {len(lines) - SHOWN} more"] if len(lines) > SHOWN else []
    raise SpecError(
        "\n".join([f"{many} cannot be said in ONNX:", *(f"  {line}" for line in lines[:SHOWN]), *more])
    )
