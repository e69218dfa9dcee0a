"""A generated kernel as a part of another one: an epilogue after a library's product, a sum beside it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Union

from cortex_compute.frozen import frozen
from cortex_compute.primitives.base import Primitive
from cortex_compute.protocol import Offer, Operand, Refusal
from cortex_gpu.backend import OFFERS, Gpu
from cortex_gpu.kernels import GpuKernel, In, Memory, Out, Source, Work

Place = Union[In, Out, Work]


@frozen
class Part:
    """The generated kernel for a primitive, within another kernel: where its operands and outputs lie there.

    Its scratch begins at byte ``workspace``.  It is left out where none of its outputs is wanted.
    """

    offer: Offer
    inputs: tuple[Place, ...]
    outputs: tuple[Place, ...]
    workspace: int

    @property
    def sources(self) -> Sequence[Source]:
        return self._kernel().sources

    def _kernel(self) -> GpuKernel:
        built = self.offer.build()
        assert isinstance(built, GpuKernel)
        return built

    def bind(self, memory: Memory) -> Callable[[], None]:
        outputs = [_array(memory, place) for place in self.outputs]
        if all(a is None for a in outputs):
            return _nothing
        inner = Memory(
            [_array(memory, place) for place in self.inputs], outputs, _array(memory, Work(self.workspace))
        )
        calls = [step.bind(inner) for step in self._kernel().steps]

        def launch() -> None:
            for call in calls:
                call()

        return launch


def offered(primitive: Primitive, operands: Sequence[Operand], gpu: Gpu) -> Offer | Refusal:
    """What the generated kernels offer for a primitive."""
    answer = OFFERS.get(type(primitive), {}).get("cupy")
    if answer is None:
        return Refusal(f"cupy has no kernel for {primitive.name}")
    return answer(primitive, operands, gpu)


def _array(memory: Memory, place: Place) -> Any:
    if isinstance(place, Work):
        return None if memory.workspace is None else memory.workspace[place.offset :]
    return (memory.inputs if isinstance(place, In) else memory.outputs)[place.index]


def _nothing() -> None:
    pass
