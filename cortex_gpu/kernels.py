"""What the kernels of this package are made of: CUDA sources and library calls, data until they are bound.

A kernel is a list of steps.  `Call` is the launch of a generated source; libraries bring steps of their own.
What a step reads and writes is named by place (`In`, `Out`, `Work`), so that nothing here needs a GPU: an
offer may be built and its sources read, compiled or evaluated anywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple, Protocol, Union

import numpy as np

from cortex_compute.frozen import frozen
from cortex_compute.primitives.base import OPAQUE, Primitive
from cortex_compute.protocol import Array, Launch, Layout, Offer, Operand, Refusal, Stream, row_major

BLOCK = 256  # threads of a block, where nothing speaks for another number
MOST_BLOCKS = 1 << 16  # of a launch whose threads go on to the next element by a stride
RESIDUAL = Layout(key="cupy")  # what a generated forward keeps for its gradient
BANDWIDTH = 2e12  # bytes per second; only the order of costs matters
FLOPS = 2e13  # floating-point operations per second
LAUNCH = 2e-6  # seconds between two kernels of a captured step


@frozen
class Source:
    """A CUDA kernel: a whole .cu text, and the name of its entry."""

    name: str
    text: str


@frozen
class In:
    """The memory of operand ``index`` from its element ``start`` on; null where it is not read."""

    index: int
    start: int = 0


@frozen
class Out:
    """The memory of output ``index``.

    Where nobody wants it: scratch from byte ``spare`` of the workspace on, or null.
    """

    index: int
    spare: int | None = None


@frozen
class Work:
    """Scratch from byte ``offset`` of the workspace on."""

    offset: int = 0


Place = Union[In, Out, Work]
Argument = Union[Place, np.generic, None]
"""Of a launch; None is the address 0."""


class Memory(NamedTuple):
    """What a kernel is bound to: arrays whose addresses stay."""

    inputs: Sequence[Array | None]
    outputs: Sequence[Array | None]
    workspace: Array | None

    def value(self, argument: Argument) -> Any:
        """An address as an integer, or the number itself."""
        if isinstance(argument, np.generic):
            return argument
        if argument is None:
            return 0
        if isinstance(argument, Work):
            return _address(self.workspace) + argument.offset
        return _address(self.array(argument))

    def array(self, place: Place) -> Array | None:
        """What lies there; of the workspace all bytes from there on."""
        if isinstance(place, In):
            operand = self.inputs[place.index]
            return operand.reshape(-1)[place.start :] if place.start and operand is not None else operand
        if isinstance(place, Out):
            output = self.outputs[place.index]
            return output if output is not None or place.spare is None else self.array(Work(place.spare))
        return None if self.workspace is None else self.workspace[place.offset :]


def _address(array: Array | None) -> int:
    """Null also for an array without elements: its view may begin anywhere."""
    return 0 if array is None or not array.size else int(array.data.ptr)


class Step(Protocol):
    """A part of a kernel."""

    @property
    def sources(self) -> Sequence[Source]:
        """The generated sources that it launches."""

    def bind(self, memory: Memory) -> Callable[[], None]:
        """One call that enqueues the work on CuPy's current stream."""


@frozen
class Call:
    """The launch of a source: ``grid`` blocks (x, y, z) of ``block`` threads."""

    source: Source
    grid: tuple[int, int, int]
    block: int
    arguments: tuple[Argument, ...]

    @property
    def sources(self) -> Sequence[Source]:
        return (self.source,)

    def bind(self, memory: Memory) -> Callable[[], None]:
        from cortex_gpu.modules import function

        kernel = function(self.source)
        values = tuple([memory.value(a) for a in self.arguments])
        return partial(kernel, self.grid, (self.block, 1, 1), values)


class GpuKernel:
    """A kernel made of steps, one after the other on one stream."""

    def __init__(self, steps: Sequence[Step]) -> None:
        self.steps = tuple(steps)

    @property
    def sources(self) -> tuple[Source, ...]:
        """The generated sources of all steps."""
        return tuple(source for step in self.steps for source in step.sources)

    def bind(
        self, inputs: Sequence[Array], outputs: Sequence[Array | None], workspace: Array | None
    ) -> Launch:
        memory = Memory(inputs, outputs, workspace)
        calls = [step.bind(memory) for step in self.steps]

        def launch(stream: Stream) -> None:
            for call in calls:
                stream.launch(call)

        return launch


@frozen
class Inner:
    """A kernel as a step of another one: where in the other's memory its operands and outputs lie.

    It is left out where nobody wants its outputs.  Its scratch begins at byte ``start`` of the other's.
    """

    kernel: GpuKernel
    inputs: tuple[Place, ...]
    outputs: tuple[Place, ...]
    start: int = 0

    @property
    def sources(self) -> Sequence[Source]:
        return self.kernel.sources

    def bind(self, memory: Memory) -> Callable[[], None]:
        outputs = [memory.array(place) for place in self.outputs]
        if all(x is None for x in outputs):
            return together([])
        inputs = [memory.array(place) for place in self.inputs]
        own = Memory(inputs, outputs, memory.array(Work(self.start)))
        return together([step.bind(own) for step in self.kernel.steps])


def together(calls: Sequence[Callable[[], None]]) -> Callable[[], None]:
    """One call that makes several."""
    if len(calls) == 1:
        return calls[0]

    def run() -> None:
        for call in calls:
            call()

    return run


def kernel(steps: Callable[[], Sequence[Step]], implementation: str = "cupy", **facts: Any) -> Offer:
    """An offer whose kernel has these steps; they are made when it is built.  ``facts`` are `Offer`'s."""
    return Offer(build=lambda: GpuKernel(steps()), implementation=implementation, **facts)


def blocks(count: int, block: int = BLOCK) -> tuple[int, int, int]:
    """The grid for ``count`` elements, one for each thread, or several for each where there are very many."""
    return max(1, min(MOST_BLOCKS, -(-count // block))), 1, 1


def seconds(nbytes: float, flops: float = 0.0, launches: int = 1) -> float:
    """The estimated cost of a kernel: whichever of memory and arithmetic takes longer, and the launches."""
    return max(nbytes / BANDWIDTH, flops / FLOPS) + launches * LAUNCH


def refusal(p: Primitive, operands: Sequence[Operand]) -> Refusal | None:
    """Of operands that are not row-major, and of a residual that another implementation left."""
    for name, operand in zip(p.given, operands):
        if operand.type == OPAQUE:
            if operand.layout.key not in ("", RESIDUAL.key):  # "": who makes it is not decided yet
                return Refusal(f"cupy cannot read the residual of {operand.layout.key}")
        elif not row_major(operand):
            return Refusal(f"cupy wants {p.name}'s {name} row-major")
    return None
