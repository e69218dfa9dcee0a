"""Convolution: what cuDNN accepts by its documentation, a table of algorithms, and the sums by NumPy."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from cortex_gpu.cudnn.convolution import ROLES
from tests.gpu.standin.cudnn.core import NOT_SUPPORTED, Core, Tensor, Wrong, expect, same, scaling
from tests.gpu.standin.memory import view
from tests.gpu.standin.streams import spend

FFT = {"Forward": (4, 5), "BackwardData": (2, 3), "BackwardFilter": (2, 6)}
COUNT = {"Forward": 8, "BackwardData": 6, "BackwardFilter": 7}
NONDETERMINISTIC = {"Forward": (), "BackwardData": (0,), "BackwardFilter": (0, 3)}


@dataclass
class Geometry:
    padding: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int
    x: Tensor
    w: Tensor
    y: Tensor

    def taps(self) -> Iterator[tuple[tuple[Any, ...], tuple[Any, ...]]]:
        """For each place of the window: the elements of the padded image, and of the kernel."""
        for tap in np.ndindex(*self.w.dims[2:]):
            axes = zip(tap, self.dilation, self.stride, self.y.dims[2:])
            image = tuple(slice(k * d, k * d + (n - 1) * s + 1, s) for k, d, s, n in axes)
            yield (..., *image), (..., *tap)

    def padded(self, dims: tuple[int, ...]) -> tuple[int, ...]:
        return (*dims[:2], *(n + 2 * p for n, p in zip(dims[2:], self.padding)))

    @property
    def inside(self) -> tuple[Any, ...]:
        return (..., *(slice(p, p + n) for n, p in zip(self.x.dims[2:], self.padding)))

    def split(self, a: np.ndarray) -> np.ndarray:
        """(N, C, ...) as (N, groups, C / groups, ...)."""
        return a.reshape(a.shape[0], self.groups, a.shape[1] // self.groups, *a.shape[2:])

    def filters(self, w: np.ndarray) -> np.ndarray:
        """(O, C / groups) as (groups, O / groups, C / groups)."""
        return w.reshape(self.groups, -1, w.shape[1])


def forward(g: Geometry, x: np.ndarray, w: np.ndarray) -> np.ndarray:
    image, y = np.zeros(g.padded(x.shape)), np.zeros(g.y.dims)
    image[g.inside] = x
    for at, tap in g.taps():
        g.split(y)[...] += np.einsum("ngc...,goc->ngo...", g.split(image[at]), g.filters(w[tap]))
    return y


def backward_data(g: Geometry, w: np.ndarray, dy: np.ndarray) -> np.ndarray:
    image = np.zeros(g.padded(g.x.dims))
    for at, tap in g.taps():
        part = np.einsum("ngo...,goc->ngc...", g.split(dy), g.filters(w[tap]))
        image[at] += part.reshape(image[at].shape)
    return image[g.inside]


def backward_filter(g: Geometry, x: np.ndarray, dy: np.ndarray) -> np.ndarray:
    image, dw = np.zeros(g.padded(x.shape)), np.zeros(g.w.dims)
    image[g.inside] = x
    for at, tap in g.taps():
        part = g.split(image[at])
        flat = part.reshape(*part.shape[:3], -1), g.split(dy).reshape(*g.split(dy).shape[:3], -1)
        dw[tap] = np.einsum("ngcs,ngos->goc", *flat).reshape(dw[tap].shape)
    return dw


COMPUTE = {"Forward": forward, "BackwardData": backward_data, "BackwardFilter": backward_filter}


class Convolutions(Core):
    """``scarce``: algorithms that this library lacks; ``late``: those that it finds so only when they run.
    ``expected``: which the heuristics find fastest, ``raced``: which are, the first first.
    """

    def __init__(
        self,
        scarce: tuple[int, ...] = (),
        late: tuple[int, ...] = (),
        expected: tuple[int, ...] = (1,),  # one with scratch
        raced: tuple[int, ...] = (1,),
        **facts: Any,
    ) -> None:
        self.scarce, self.late, self.expected, self.raced = scarce, late, expected, raced
        self.ran: list[
            tuple[str, int]
        ] = []  # of each convolution that ran, which it was and by what algorithm
        super().__init__(**facts)

    def SetConvolutionNdDescriptor(
        self, number: int, rank: int, padding: Any, stride: Any, dilation: Any, mode: int, compute: int
    ) -> None:
        expect(2 <= rank <= 3 and min(padding[:rank]) >= 0, "padding")
        expect(min(stride[:rank]) > 0 and min(dilation[:rank]) > 0 and mode == 1, "a cross-correlation")
        self.find("Convolution", number).facts.update(
            padding=tuple(padding[:rank]), stride=tuple(stride[:rank]), dilation=tuple(dilation[:rank]),
            compute=compute, math=0, groups=1,
        )  # fmt: skip

    def SetConvolutionMathType(self, number: int, math: int) -> None:
        expect(0 <= math <= 3, f"math type {math}")
        self.find("Convolution", number, told=True).facts["math"] = math

    def SetConvolutionGroupCount(self, number: int, groups: int) -> None:
        expect(groups > 0, f"{groups} groups")
        self.find("Convolution", number, told=True).facts["groups"] = groups

    def _geometry(self, way: str, one: int, two: int, how: int, three: int) -> Geometry:
        arrays = dict(zip(ROLES[way], (one, two, three)))
        filters = self.find("Filter", arrays["w"], told=True)
        x, w, y = (self.tensor(arrays[role]) for role in "xwy")
        told = self.find("Convolution", how, told=True).facts
        groups, padding, stride, dilation = (told[k] for k in ("groups", "padding", "stride", "dilation"))
        same((x.dtype, w.dtype, y.dtype), "data types")
        same((len(x.dims), len(w.dims), len(y.dims), len(padding) + 2), "ranks")
        expect(x.dims[1] == w.dims[1] * groups and w.dims[0] % groups == 0, "channels and groups")
        spans = ((k - 1) * d + 1 for k, d in zip(w.dims[2:], dilation))
        sizes = tuple((n + 2 * p - k) // s + 1 for n, p, k, s in zip(x.dims[2:], padding, spans, stride))
        same((y.dims, (x.dims[0], w.dims[0], *sizes)), "sizes of y")
        wanted = 1 if x.dtype.name == "float64" else 0
        expect(told["compute"] == wanted, "the type of the sums", NOT_SUPPORTED)
        last = filters.facts["channels_last"]
        expect(x.lies(last) and y.lies(last), "images and kernel lie in different orders", NOT_SUPPORTED)
        expect(not last or x.dtype.name != "float64", "float64 channels last", NOT_SUPPORTED)
        expect(
            x.dtype.itemsize == 2 or told["math"] != 1, "tensor cores for more than 16 bits", NOT_SUPPORTED
        )
        return Geometry(padding, stride, dilation, groups, x, w, y)

    def _scratch(self, way: str, number: int, g: Geometry) -> int:
        """What an algorithm wants: nothing, or more the higher its number is."""
        expect(0 <= number < COUNT[way] and number not in self.scarce, "the algorithm", NOT_SUPPORTED)
        expect(number not in FFT[way] or set(g.stride) == {1}, "Fourier with a stride", NOT_SUPPORTED)
        return 0 if number == 0 else 256 * number + 4 * math.prod(g.w.dims)

    def _algorithms(self, way: str, handles: Any, order: Any, count: Any, found: Any) -> None:
        g = self._geometry(way, *handles)
        made = 0
        for k, number in enumerate(order):
            p = found[made]
            p.algorithm, p.status, p.milliseconds, p.math = number, 0, float(k), 0
            p.determinism = int(number not in NONDETERMINISTIC[way])
            try:
                p.nbytes = self._scratch(way, number, g)
            except Wrong:
                p.status, p.nbytes = NOT_SUPPORTED, 0
            if g.x.dtype.itemsize == 2:
                p.math = 1
            made += 1
        count[0] = made


def _functions(way: str) -> dict[str, Any]:
    """The three functions of one of the three."""

    def get(
        self: Any, handle: int, one: int, two: int, how: int, three: int, asked: int, count: Any, found: Any
    ) -> None:
        self.stream(handle)
        others = [k for k in range(COUNT[way]) if k not in (*FFT[way], *self.expected)]
        order = [*FFT[way], *self.expected, *others][:asked]  # those by transforms first
        self._algorithms(way, (one, two, how, three), order, count, found)

    def size(
        self: Any, handle: int, one: int, two: int, how: int, three: int, number: int, nbytes: Any
    ) -> None:
        self.stream(handle)
        nbytes[0] = self._scratch(way, number, self._geometry(way, one, two, how, three))

    def run(
        self: Any, handle: int, alpha: int, one: int, a: int, two: int, b: int, how: int, number: int,
        workspace: int, nbytes: int, beta: int, three: int, c: int,
    ) -> None:  # fmt: skip
        g = self._geometry(way, one, two, how, three)
        expect(number not in self.late, "the algorithm, after all", NOT_SUPPORTED)
        wanted = self._scratch(way, number, g)
        expect(nbytes >= wanted, f"{nbytes} bytes of scratch, {wanted} are wanted")
        expect(not wanted or workspace % 256 == 0, f"scratch at {workspace}")
        scaling(alpha, beta, g.x.dtype)
        first, second, result = (getattr(g, role) for role in ROLES[way])
        spans = [
            (address, address + t.nbytes)
            for address, t in ((a, first), (b, second), (workspace or 0, None))
            if t
        ]
        expect(all(c >= end or c + result.nbytes <= start for start, end in spans), "the result overlaps")
        self.ran.append((way, number))

        def compute() -> None:
            spend(self.raced.index(number) if number in self.raced else len(self.raced))
            values = COMPUTE[way](g, first.read(a), second.read(b))
            if wanted:
                view(workspace, (wanted,), np.uint8)[...] = 0xA5
            result.write(c, values)

        memory = (a, first.nbytes), (b, second.nbytes), (c, result.nbytes), (workspace, wanted)
        self.enqueue(handle, compute, *memory)

    return {
        f"GetConvolution{way}Algorithm_v7": get,
        f"GetConvolution{way}WorkspaceSize": size,
        f"Convolution{way}": run,
    }


for _way in COUNT:
    for _name, _function in _functions(_way).items():
        setattr(Convolutions, _name, _function)
