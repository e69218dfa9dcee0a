"""What a backend is: devices with memory and streams, and one question, the offer.

The compiler asks ``backend.offer(primitive, operands)`` and gets an `Offer` (what the kernel would need:
which operands it reads, whose memory an output may take, workspace, residual, cost) or a `Refusal` (why not).
``offer.build()`` is the expensive part and gives a `Kernel`; ``kernel.bind(inputs, outputs, workspace)``
fixes the memory and gives one callable, which takes the stream.  A backend never fuses and never falls back
by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple, Protocol

import numpy as np

from cortex_compute.frozen import frozen
from cortex_compute.primitives.base import Primitive
from cortex_compute.types import DType, TensorType, contiguous_strides

Array = Any  # what a device's memory looks like to its kernels: numpy.ndarray, cupy.ndarray
Launch = Callable[["Stream"], None]
Direct = Callable[[Primitive, Sequence[Array]], tuple[Array, ...]]


class Layout(NamedTuple):
    """How the elements of a type lie in memory.

    ``strides`` in elements for an ordinary array (None: row-major).  With a ``key`` the layout is opaque:
    ``nbytes`` that only the backend reads (a blocked format), and that it packs and unpacks itself.
    """

    strides: tuple[int, ...] | None = None
    key: str = ""
    nbytes: int = 0


ROW_MAJOR = Layout()
ANY = Layout(key="any")
"""Proposes that the offer chooses the layout of an operand: one that `Copy` with this layout makes."""


class Operand(NamedTuple):
    """An operand as the compiler proposes it: a type and the layout in which it would be given."""

    type: TensorType
    layout: Layout = ROW_MAJOR

    @property
    def strides(self) -> tuple[int, ...]:
        """Of an ordinary array, in elements."""
        given = self.layout.strides
        return contiguous_strides(self.type.shape) if given is None else given


def row_major(operand: Operand) -> bool:
    """Whether the elements lie one after the other, so that a reshape is a view."""
    shape, strides = operand.type.shape, operand.layout.strides
    if strides is None or 0 in shape:
        return True
    return all(n == 1 or s == d for n, s, d in zip(shape, strides, contiguous_strides(shape)))


@frozen
class Refusal:
    """A backend's no, with the reason."""

    reason: str

    def __bool__(self) -> bool:
        return False


class Kernel(Protocol):
    """A built kernel.  It owns no memory that changes."""

    def bind(
        self, inputs: Sequence[Array], outputs: Sequence[Array | None], workspace: Array | None
    ) -> Launch:
        """Fixes the memory; None stands for an operand that is not read or an output that nobody wants."""


@frozen
class Offer:
    """A backend's yes.

    ``layouts``: of the operands, then of the outputs; None accepts them as proposed, outputs row-major.
    A residual's layout bears the key of who can read it: the forward's offer states it, the gradient is
    asked with it, and refuses another one's, so that both are bound to the same implementation.
    ``reads``: operands whose memory is read (None: all).  ``reuse``: (operand, output) pairs that may share
    memory.  ``works_in``: residuals in which the kernel also works, in bytes that it writes before it reads
    them: it may run again.  ``strided_outputs``: whether outputs may be parts of a larger array.
    ``workspace``: bytes of scratch; ``residual``: bytes of the opaque last output, if the primitive has one.
    ``cost``: estimated seconds.  ``direct()`` gives a function that computes new arrays from the operands at
    once, however these lie, or None: for work so small that binding would take longer.  It is given the
    primitive, whose literals may have other values.
    """

    build: Callable[[], Kernel]
    layouts: tuple[Layout, ...] | None = None
    reads: frozenset[int] | None = None
    reuse: tuple[tuple[int, int], ...] = ()
    works_in: frozenset[int] = frozenset()
    strided_outputs: bool = False
    workspace: int = 0
    residual: int = 0
    cost: float = 0.0
    implementation: str = ""
    direct: Callable[[], Direct | None] = lambda: None

    @property
    def residual_layout(self) -> Layout:
        """The layout of the last output, for the gradient that reads it."""
        return self.layouts[-1] if self.layouts else ROW_MAJOR


class Event(Protocol):
    """A point in a stream's order."""

    def synchronize(self) -> None: ...


class Stream(Protocol):
    """An order of launches and copies."""

    def active(self) -> AbstractContextManager[None]:
        """Launches are made inside: the device is current, the thread has the settings that kernels need."""

    def launch(self, call: Callable[[], None]) -> None: ...
    def copy(self, source: Array, destination: Array) -> None:
        """Copies between the host, whose arrays are NumPy's, and the device, or inside one of them."""

    def fetch(self, array: Array) -> np.ndarray:
        """A copy on the host; it is filled when an event that is recorded later has come."""

    def joined(self, calls: Sequence[Launch]) -> Launch:
        """The launches, all of which have run before, as one."""

    def record(self) -> Event: ...
    def tail(self) -> Event:
        """An event that comes no earlier than now, and perhaps later: it costs nothing until one waits."""

    def wait(self, event: Event) -> None: ...
    def synchronize(self) -> None: ...
    def close(self) -> None: ...


class Inbox(Protocol):
    """The memory from which a program reads its inputs, which the host writes."""

    @property
    def buffers(self) -> Mapping[str, Buffer]:
        """For each input its memory."""

    def write(self, stream: Any, name: str, value: Any) -> None:
        """Takes the numbers of one input for the next step."""

    def send(self, stream: Any) -> None:
        """Brings what was written into ``buffers``; the caller may change its own arrays from here on."""


class Buffer(Protocol):
    """A piece of a device's memory."""

    @property
    def nbytes(self) -> int: ...

    def view(self, type: TensorType, offset: int = 0, strides: tuple[int, ...] | None = None) -> Array:
        """An array over this memory: ``offset`` in bytes, ``strides`` in elements (None: row-major)."""


class Device(Protocol):
    """A place with memory and streams.  Devices of one name share their memory."""

    name: str

    def memory(self) -> tuple[int, int]:
        """Free and total bytes."""

    def empty(self, nbytes: int) -> Buffer: ...
    def stream(self, worker: bool = False) -> Stream: ...
    def inbox(self, types: Mapping[str, TensorType]) -> Inbox: ...


class Backend(Protocol):
    """Something that runs primitives.

    ``choices``: those of `cortex_compute.choices` that it can honour.  ``asynchronous``: launches return
    before they are done, so that the host may not look at anything in the middle of a step.
    """

    name: str
    choices: frozenset[str]
    asynchronous: bool

    def devices(self) -> Sequence[Device]: ...
    def offer(self, primitive: Primitive, operands: Sequence[Operand]) -> Offer | Refusal:
        """Whether and how the backend would run the primitive.  Cheap, pure and cached."""

    def single(self) -> Backend:
        """The backend on one thread, for work too small to share out; itself, if that is the same."""

    def precision(self, dtype: DType) -> str:
        """Empty, if networks may well be trained in ``dtype``; else why not, and what to do."""

    def describe(self) -> dict[str, str]:
        """Facts for ``cortex backends``: library versions, instruction set, cores."""
