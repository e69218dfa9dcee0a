"""A kernel as a recipe: primitives one after the other, over operands, results and scratch.

An offer needs only the descriptors; the primitives are made when the kernel is built.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Union

import numpy as np

from cortex_compute.errors import BackendError
from cortex_compute.frozen import frozen
from cortex_compute.numpy_backend.backend import NumpyKernel
from cortex_compute.numpy_backend.elementwise import sequence
from cortex_compute.numpy_backend.memory import HostBuffer, aligned
from cortex_compute.onednn_backend import constants as c
from cortex_compute.onednn_backend.descriptors import Argument, Memory, MemoryDesc, PrimitiveDesc
from cortex_compute.onednn_backend.library import STATUS, load
from cortex_compute.protocol import Kernel, Offer, Refusal
from cortex_compute.types import DType, bfloat16, float32


@frozen
class In:
    """Operand ``index``."""

    index: int


@frozen
class Out:
    """Result ``index``."""

    index: int


@frozen
class Scratch:
    """Scratch memory ``index`` of the recipe."""

    index: int


@frozen
class Part:
    """Bytes of a residual, from an offset on."""

    of: In | Out
    offset: int


Where = Union[In, Out, Scratch, Part, np.ndarray]  # an array: numbers that never change


Arguments = dict[int, tuple[Where, MemoryDesc]]


class Call(NamedTuple):
    """One primitive; ``arguments`` maps oneDNN's numbers to what lies there, and how."""

    primitive: PrimitiveDesc
    arguments: Mapping[int, tuple[Where, MemoryDesc]]


class HostCall(NamedTuple):
    """A step in Python: ``bind(array)`` gets a function from places to arrays and gives the call."""

    bind: Callable[[Callable[[Where], Any]], Callable[[], None]]


@dataclass
class Recipe:
    """Calls, and the bytes of each piece of scratch that they share."""

    calls: list[Call | HostCall] = field(default_factory=list)
    scratch: list[int] = field(default_factory=list)

    def space(self, nbytes: int) -> Scratch:
        """A new piece of scratch."""
        self.scratch.append(nbytes)
        return Scratch(len(self.scratch) - 1)

    def call(self, primitive: PrimitiveDesc, arguments: Mapping[int, tuple[Where, MemoryDesc]]) -> None:
        """Adds a primitive."""
        self.calls.append(Call(primitive, arguments))

    def reordered(self, where: Where, have: MemoryDesc, want: MemoryDesc) -> Where:
        """``where``, or scratch into which a call copies it in the layout ``want``."""
        if have == want:
            return where
        there = self.space(want.nbytes)
        self.reorder(where, have, there, want)
        return there

    def reorder(self, source: Where, have: MemoryDesc, target: Where, want: MemoryDesc) -> None:
        """Adds the copy from one place and layout (or data type) to another."""
        self.call(PrimitiveDesc("reorder", have, want), {c.FROM: (source, have), c.TO: (target, want)})

    @property
    def primitives(self) -> list[PrimitiveDesc]:
        return [call.primitive for call in self.calls if isinstance(call, Call)]

    @property
    def scratchpad(self) -> int:
        """Bytes of scratch that the primitives themselves want; they take turns in it."""
        return max((p.desc("scratchpad").nbytes for p in self.primitives), default=0)

    @property
    def implementation(self) -> str:
        """What does the work: the implementation of the last primitive that is no reorder."""
        work = [p for p in self.primitives if p.name != "reorder"] or self.primitives
        return f"onednn {work[-1].implementation}"

    def offer(self, cost: float, quick: Sequence[str] = (), **facts: Any) -> Offer | Refusal:
        """The offer of this recipe; refused where an implementation is oneDNN's slow reference.

        ``quick``: names of primitives that are fast, whatever oneDNN calls them.
        """
        found = [p.name for p in self.primitives if p.implementation.startswith("ref")]
        slow = [name for name in found if name not in quick]
        if slow:
            return Refusal(f"oneDNN has only its reference implementation of {', '.join(slow)}")
        pieces = sum(map(aligned, self.scratch))
        return Offer(
            build=self.build,
            workspace=pieces + self.scratchpad,
            cost=cost,
            implementation=self.implementation,
            **facts,
        )

    def build(self) -> Kernel:
        """Makes the primitives."""
        for primitive in self.primitives:
            primitive.create()
        return NumpyKernel(self._bind)

    def _bind(self, inputs: Sequence[Any], outputs: Sequence[Any], workspace: Any) -> Callable[[], None]:
        pieces, offset = [], 0
        for nbytes in self.scratch:
            pieces.append(workspace[offset : offset + nbytes])
            offset += aligned(nbytes)
        scratchpad = None if workspace is None else workspace[offset:]

        results = [self._unwanted(j) if a is None else a for j, a in enumerate(outputs)]

        def array(where: Where) -> Any:
            if isinstance(where, np.ndarray):
                return where
            if isinstance(where, Part):
                return array(where.of)[where.offset :]
            return {In: inputs, Out: results, Scratch: pieces}[type(where)][where.index]

        return sequence([_bound(call, array, scratchpad) for call in self.calls])

    def _unwanted(self, index: int) -> np.ndarray:
        """Memory for a result that nobody wants, but oneDNN, or a later call.

        It is not in the plan, which does not tell an offer what is wanted; it lives as long as the launch.
        """
        calls = [call for call in self.calls if isinstance(call, Call)]
        listed = [pair for call in calls for pair in call.arguments.values()]
        parts = [(w.of, w.offset, d) if isinstance(w, Part) else (w, 0, d) for w, d in listed]
        ends = [offset + d.nbytes for w, offset, d in parts if isinstance(w, Out) and w.index == index]
        return HostBuffer(max(ends, default=0)).bytes


def _bound(call: Call | HostCall, array: Callable[[Where], Any], scratchpad: Any) -> Callable[[], None]:
    if isinstance(call, HostCall):
        return call.bind(array)
    primitive = call.primitive
    listed = [(n, desc, array(where)) for n, (where, desc) in call.arguments.items()]
    needed = primitive.desc("scratchpad")
    if needed.nbytes:
        listed.append((c.SCRATCHPAD, needed, scratchpad))
    memories = [Memory(desc, a.ctypes.data) for _, desc, a in listed]
    entries = [Argument(n, m.handle) for (n, _, _), m in zip(listed, memories)]
    arguments = (Argument * len(entries))(*entries)
    return launch(primitive, arguments, (memories, [a for _, _, a in listed]))


def launch(primitive: PrimitiveDesc, arguments: Any, kept: Any) -> Callable[[], None]:
    """The call that executes; ``kept`` lives as long as it."""
    library = primitive.library
    execute = library.c.dnnl_primitive_execute
    fixed = primitive.create().value, library.stream.value, len(arguments), ctypes.addressof(arguments)

    def run(keep: Any = (primitive, arguments, kept)) -> None:
        status = execute(*fixed)
        if status:
            told = f"{primitive.name} ({primitive.implementation}) of {primitive.operands}"
            raise BackendError(f"oneDNN: {told}: {STATUS.get(status, 'unknown error')} (status {status})")

    return run


# What the work costs, in seconds: only the order of offers matters (see cortex_compute.composed).

CALL = 2e-7  # a call through ctypes, beyond what a call of NumPy takes
START = 1.3e-6  # of more threads than one
PEAK = 2e11  # FLOP per second of float32, of a small machine
BANDWIDTH = 4e10  # bytes per second


def seconds(flops: float, nbytes: float, calls: int = 1, dtype: DType = float32) -> float:
    """An estimate for work on matrices and windows."""
    peak = 2 * PEAK if dtype is bfloat16 else PEAK
    call = CALL + (START if load().threads() > 1 else 0)
    return calls * call + max(flops / peak, nbytes / BANDWIDTH)
