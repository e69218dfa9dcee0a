"""Kernels that call the same primitives over and over, on one part of their operands after the other.

A step's arguments lie in named pieces of scratch, where they stay, or are given at each call.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from cortex_compute.numpy_backend.memory import HostBuffer, aligned
from cortex_compute.onednn_backend import constants as c
from cortex_compute.onednn_backend.descriptors import Argument, Memory, MemoryDesc, PrimitiveDesc
from cortex_compute.onednn_backend.recipe import launch


class Step(NamedTuple):
    """A primitive; ``arguments`` maps oneDNN's numbers to the name of a piece and how it lies there.

    What has no name is given at each call, in this order.
    """

    primitive: PrimitiveDesc
    arguments: Mapping[int, tuple[str, MemoryDesc]]


Steps = dict[str, Step]


class Space:
    """The pieces of scratch that steps share, each as large as the largest use of its name, and behind them
    what the primitives themselves want.  ``extra`` pieces are for others; ``constant`` ones lie elsewhere.
    """

    def __init__(
        self, steps: Iterable[Step], extra: Mapping[str, int], constant: Collection[str] = ()
    ) -> None:
        self.sizes = dict(extra)
        self.scratchpad = 0
        for primitive, arguments in steps:
            self.scratchpad = max(self.scratchpad, primitive.desc("scratchpad").nbytes)
            for name, desc in arguments.values():
                if name and name not in constant:
                    self.sizes[name] = max(self.sizes.get(name, 0), desc.nbytes)
        self.nbytes = sum(map(aligned, self.sizes.values())) + self.scratchpad

    def pieces(self, workspace: Any) -> dict[str, np.ndarray]:
        """The pieces as flat float32, and the rest, named ``scratchpad``, as bytes."""
        memory = HostBuffer(self.nbytes).bytes if workspace is None else workspace
        found, offset = {}, 0
        for name, nbytes in self.sizes.items():
            found[name] = memory[offset : offset + aligned(nbytes)].view(np.float32)
            offset += aligned(nbytes)
        return found | {"scratchpad": memory[offset:]}


def bind_step(step: Step, pieces: Mapping[str, np.ndarray]) -> Callable[..., None]:
    """A call that runs the step; it takes an array for each argument without a name."""
    primitive, arguments = step
    memories, moving = [], []
    needed = primitive.desc("scratchpad")
    places = [*arguments.items()]
    if needed.nbytes:
        places.append((c.SCRATCHPAD, ("scratchpad", needed)))
    for _, (name, desc) in places:
        memories.append(Memory(desc, pieces[name].ctypes.data if name else 0))
        if not name:
            moving.append(memories[-1])
    entries = (Argument * len(places))(*(Argument(n, m.handle) for (n, _), m in zip(places, memories)))
    execute = launch(primitive, entries, (memories, dict(pieces)))
    if not moving:
        return execute

    def run(*arrays: np.ndarray) -> None:
        for memory, a in zip(moving, arrays):
            memory.move(a.__array_interface__["data"][0])
        execute()

    return run
