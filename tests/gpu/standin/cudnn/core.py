"""Handles, descriptors, status, and what every operation checks."""

from __future__ import annotations

import itertools
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from ctypes import CFUNCTYPE, POINTER, c_double, c_float, c_int, cast
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from cortex_compute.types import DTYPES, DType, contiguous_strides
from cortex_compute.verify.bfloat16 import loaded, stored
from cortex_gpu.cudnn.library import PROTOTYPES
from tests.gpu.standin.machine import MACHINE, Work
from tests.gpu.standin.memory import view
from tests.gpu.standin.streams import current_ptr

BAD_PARAM, NOT_SUPPORTED, EXECUTION_FAILED = 2000, 3000, 5000
NAMES = {
    0: "CUDNN_STATUS_SUCCESS",
    1001: "CUDNN_STATUS_NOT_INITIALIZED",
    2000: "CUDNN_STATUS_BAD_PARAM",
    3000: "CUDNN_STATUS_NOT_SUPPORTED",
    5000: "CUDNN_STATUS_EXECUTION_FAILED",
}
TYPES = {number: DTYPES[name] for number, name in enumerate(("float32", "float64", "float16"))}
TYPES[9] = DTYPES["bfloat16"]


class Wrong(Exception):
    """A call that cuDNN would refuse."""

    def __init__(self, words: str, status: int = BAD_PARAM) -> None:
        super().__init__(words)
        self.status = status


def expect(condition: bool, words: str, status: int = BAD_PARAM) -> None:
    if not condition:
        raise Wrong(words, status)


@dataclass
class Described:
    """A live handle or descriptor; ``facts`` are what it was told."""

    kind: str
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass
class Tensor:
    """An array as a descriptor has it, over memory at an address."""

    dims: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: DType

    def view(self, address: int) -> np.ndarray:
        item = self.dtype.itemsize
        return view(address, self.dims, self.dtype.storage, tuple(s * item for s in self.strides))

    def read(self, address: int) -> np.ndarray:
        raw = self.view(address)
        return loaded(raw) if self.dtype.name == "bfloat16" else raw.astype(np.float64)

    def write(self, address: int, values: np.ndarray) -> None:
        with np.errstate(over="ignore"):
            narrow = stored(values) if self.dtype.name == "bfloat16" else values.astype(self.dtype.storage)
        self.view(address)[...] = narrow

    @property
    def nbytes(self) -> int:
        return (sum((n - 1) * s for n, s in zip(self.dims, self.strides)) + 1) * self.dtype.itemsize

    def lies(self, channels_last: bool) -> bool:
        """Whether the elements lie densely in that order."""
        if not channels_last:
            return self.strides == contiguous_strides(self.dims)
        n, *spatial, channels = contiguous_strides((self.dims[0], *self.dims[2:], self.dims[1]))
        return self.strides == (n, channels, *spatial)


class Core:
    """Every function ``cudnnNAME`` is a method ``NAME``, called with what C would get.

    ``failing``: by name, a status that a function is to return.  ``calls`` counts them.
    """

    def __init__(
        self, version: int = 92800, cuda: int = 12090, failing: dict[str, int] | None = None
    ) -> None:
        self.version, self.cuda, self.failing = version, cuda, failing or {}
        self.calls: Counter[str] = Counter()
        self.live: dict[int, Described] = {}
        self.words = ""
        self.errors: list[str] = []
        self._numbers = itertools.count(0x1000, 16)
        for name, arguments in PROTOTYPES.items():
            setattr(self, f"cudnn{name}", CFUNCTYPE(c_int, *arguments)(self._guarded(name)))
        self.cudnnGetVersion: Any = lambda: self.version
        self.cudnnGetCudartVersion: Any = lambda: self.cuda
        self.cudnnGetErrorString: Any = lambda status: NAMES[status].encode()
        self.cudnnGetLastErrorString: Any = lambda buffer, size: self._last_words(buffer, size)

    def _last_words(self, buffer: Any, size: int) -> None:
        buffer.value = self.words.encode()[: size - 1]

    def _guarded(self, name: str) -> Callable[..., int]:
        function = self._method(name)

        def guarded(*arguments: Any) -> int:
            self.calls[name] += 1
            self.words = ""
            try:
                if name in self.failing:
                    raise Wrong("it was told to fail", self.failing[name])
                function(*arguments)
            except Wrong as error:
                self.words = str(error)
                return error.status
            except Exception as error:  # a fault of the stand-in, which ctypes would only print
                self.words = f"{type(error).__name__}: {error}"
                self.errors.append(self.words)
                return EXECUTION_FAILED
            return 0

        return guarded

    def _method(self, name: str) -> Callable[..., None]:
        for verb in ("Create", "Destroy"):
            if name.startswith(verb) and name.endswith("Descriptor"):
                kind = name[len(verb) : -len("Descriptor")]
                made = self._create if verb == "Create" else self._destroy
                return lambda where: made(kind, where)
        method = getattr(self, name, None)
        if method is None:

            def missing(*_: Any) -> None:
                raise Wrong(f"the stand-in has no {name}", EXECUTION_FAILED)

            return missing
        return method  # type: ignore[no-any-return]

    # Handles and descriptors.

    def _create(self, kind: str, where: Any) -> None:
        number = next(self._numbers)
        self.live[number] = Described(kind)
        where[0] = number

    def _destroy(self, kind: str, number: int | None) -> None:
        self.find(kind, number)
        del self.live[number or 0]

    def find(self, kind: str, number: int | None, told: bool = False) -> Described:
        """What has this number; an error if it is gone, of another kind, or was told nothing."""
        there = self.live.get(number or 0)
        expect(there is not None and there.kind == kind, f"{number} is no live {kind}")
        assert there is not None
        expect(not told or bool(there.facts), f"{kind} {number} was not set")
        return there

    def left(self) -> list[str]:
        """The kinds of the descriptors that live."""
        return sorted(d.kind for d in self.live.values())

    def Create(self, where: Any) -> None:
        expect(not MACHINE.missing, "cudaGetDeviceCount(&count) != cudaSuccess", 1001)
        MACHINE.outside_capture()  # it allocates memory
        self._create("Handle", where)

    def Destroy(self, number: int) -> None:
        self._destroy("Handle", number)

    def SetStream(self, number: int, stream: int | None) -> None:
        MACHINE.queue(stream or 0)
        self.find("Handle", number).facts["stream"] = stream or 0

    def stream(self, number: int) -> int:
        """The stream of a handle, which must be the current one, on one thread at a time."""
        facts = self.find("Handle", number).facts
        stream = facts.get("stream", 0)
        expect(stream == current_ptr(), "the handle has another stream than CuPy's current one")
        owner = facts.setdefault("thread", threading.current_thread())
        expect(owner is threading.current_thread() or not owner.is_alive(), "the handle is another thread's")
        facts["thread"] = threading.current_thread()
        return int(stream)

    def enqueue(self, handle: int, run: Callable[[], None], *memory: tuple[int | None, int]) -> None:
        """Defers work on ``memory``, (address, bytes) each; null is refused, unless it has no bytes."""
        stream = self.stream(handle)
        for address, nbytes in memory:
            expect(bool(address) or nbytes == 0, "a null pointer")
        blocks = [MACHINE.inside(address, nbytes) for address, nbytes in memory if address and nbytes]
        MACHINE.launches += 1
        MACHINE.enqueue(stream, Work(run, blocks))

    # Arrays.

    def SetTensorNdDescriptor(self, number: int, kind: int, rank: int, dims: Any, strides: Any) -> None:
        expect(kind in TYPES, f"data type {kind}")
        expect(3 <= rank <= 8, f"{rank} axes")
        expect(
            min(dims[:rank]) > 0 and min(strides[:rank]) > 0, f"dims {dims[:rank]}, strides {strides[:rank]}"
        )
        facts = Tensor(tuple(dims[:rank]), tuple(strides[:rank]), TYPES[kind])
        self.find("Tensor", number).facts["tensor"] = facts

    def SetFilterNdDescriptor(self, number: int, kind: int, form: int, rank: int, dims: Any) -> None:
        expect(kind in TYPES and form in (0, 1) and 3 <= rank <= 8 and min(dims[:rank]) > 0, "a filter")
        out, inner, *window = dims[:rank]
        strides = contiguous_strides((out, inner, *window))
        if form == 1:
            first, *steps, last = contiguous_strides((out, *window, inner))
            strides = (first, last, *steps)
        facts = self.find("Filter", number).facts
        facts.update(tensor=Tensor(tuple(dims[:rank]), strides, TYPES[kind]), channels_last=form == 1)

    def tensor(self, number: int) -> Tensor:
        """The array that a tensor or filter descriptor describes."""
        kind = "Filter" if self.live.get(number, Described("")).kind == "Filter" else "Tensor"
        found: Tensor = self.find(kind, number, told=True).facts["tensor"]
        return found


def scaling(alpha: int, beta: int, d: DType) -> None:
    """Accepts 1 and 0, in double for float64, in float for all others."""
    number = c_double if d.name == "float64" else c_float
    given = tuple(cast(a, POINTER(number)).contents.value for a in (alpha, beta))
    expect(given == (1.0, 0.0), f"alpha and beta are {given}")


def same(values: Sequence[Any], what: str) -> None:
    expect(all(v == values[0] for v in values), f"{what} differ: {list(values)}")
