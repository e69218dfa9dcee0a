"""Convolution by cuDNN, channels last.

Three things are brought into the form that cuDNN wants, by generated kernels around its own: kernels lie
(*K, in / groups, out) here and (out, *K, in / groups) there, which is a transposed matrix; padding that
differs before and after is written into a copy of the image; an epilogue follows in place.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, ClassVar

from cortex_compute.frozen import frozen
from cortex_compute.primitives.base import Primitive
from cortex_compute.primitives.convolution import Conv, ConvInputGrad, ConvKernelGrad, Convolution
from cortex_compute.primitives.elementwise import Elementwise
from cortex_compute.primitives.reduce import Reduce
from cortex_compute.primitives.windows import Padding, window_count
from cortex_compute.protocol import Offer, Operand, Refusal, row_major
from cortex_compute.types import TensorType
from cortex_gpu.backend import OFFERS, Gpu, Lacking, offers
from cortex_gpu.cudnn import convolution as cudnn
from cortex_gpu.cudnn.convolution import Algorithm, Problem
from cortex_gpu.cudnn.library import Library, UnsupportedError
from cortex_gpu.kernels import (
    GpuKernel,
    In,
    Inner,
    Memory,
    Out,
    Place,
    Source,
    Step,
    Work,
    kernel,
    seconds,
    together,
)
from cortex_gpu.memory import ALIGNMENT, aligned, nbytes
from cortex_gpu.rearrange import cropped, padded
from cortex_gpu.transpose import matrix_transposed

RUNS = 3  # of each algorithm in a race
DEPTHWISE = 8  # times as long as the arithmetic says: one channel at a time leaves most of a tile empty


@frozen
class Convolve:
    """The step that is cuDNN's."""

    library: Library
    problem: Problem
    algorithm: Algorithm
    operands: tuple[Place, Place]
    result: Place
    workspace: Work
    sources: ClassVar[tuple[Source, ...]] = ()

    def bind(self, memory: Memory) -> Callable[[], None]:
        if memory.array(Out(0)) is None:  # a gradient that nobody wants beside another one
            return together([])
        first, second, result = map(memory.value, (*self.operands, self.result))
        workspace = aligned(memory.value(self.workspace))
        return cudnn.launcher(self.library, self.problem, self.algorithm, first, second, result, workspace)


class Geometry:
    """A convolution of x (N, *S, C) with w (*K, C / groups, O) to y, as cuDNN can have it.

    ``edge``: what must be added to x beforehand, because cuDNN pads both sides of an axis alike.
    """

    def __init__(self, p: Convolution, x: TensorType, w: TensorType, gpu: Gpu) -> None:
        self.p, self.x, self.w, self.y = p, x, w, p.product(x, w)
        axes = [
            (before, (0, 0)) if window_count(n, k, s, (before, before), d) == count else (0, (before, after))
            for n, k, s, d, (before, after), count in zip(
                x.shape[1:-1], w.shape, p.stride, p.dilation, p.padding, self.y.shape[1:-1]
            )
        ]
        padding: tuple[int, ...] = tuple(both for both, _ in axes)
        self.edge: Padding = tuple(edge for _, edge in axes)
        self.asymmetric = any(map(any, self.edge))
        spatial = tuple(n + sum(edge) for n, edge in zip(x.shape[1:-1], self.edge))
        self.padded = TensorType((x.shape[0], *spatial, x.shape[-1]), x.dtype)
        *window, inner, out = w.shape
        one = (1,) if len(window) == 1 else ()  # a line is an image of one row
        self.fields: dict[str, Any] = {
            "x": (x.shape[0], x.shape[-1], *one, *spatial),
            "w": (out, inner, *one, *window),
            "y": (x.shape[0], out, *one, *self.y.shape[1:-1]),
            "padding": (0,) * len(one) + padding,
            "stride": one + p.stride,
            "dilation": one + p.dilation,
            "groups": p.groups,
            "dtype": x.dtype,
            "tf32": gpu.tf32,
        }

    @property
    def turned(self) -> bool:
        """Whether w must be transposed: not where one of the matrix's sides is 1."""
        return 1 not in (self.w.shape[-1], self.w.size // self.w.shape[-1])

    def problem(self, way: str) -> Problem:
        return Problem(way=way, **self.fields)


class Plan:
    """The steps around cuDNN's own, the workspace that they share, and what they cost."""

    def __init__(self, geometry: Geometry) -> None:
        self.geometry, self.nbytes, self.cost = geometry, 0, 0.0
        self.before: list[Step] = []
        self.after: list[Callable[[], Step]] = []

    def space(self, nbytes: int) -> Work:
        work = Work(self.nbytes)
        self.nbytes += aligned(nbytes)
        return work

    def image(self, x: Place) -> Place:
        """Where x lies with the edge that it needs."""
        g = self.geometry
        if not g.asymmetric:
            return x
        made = self.space(g.padded.nbytes)
        self.cost += seconds(g.x.nbytes + g.padded.nbytes)
        self.before.append(padded(g.x.shape, g.edge, g.x.dtype.itemsize, x, made))
        return made

    def weights(self, w: Place) -> Place:
        """Where w lies as cuDNN has it."""
        t = self.geometry.w
        if not self.geometry.turned:
            return w
        made, out = self.space(t.nbytes), t.shape[-1]
        self.cost += seconds(2 * t.nbytes)
        self.before.append(matrix_transposed(t.size // out, out, t.dtype, w, made))
        return made

    def image_back(self) -> Place:
        """Where cuDNN is to write the gradient of x, which loses the edge that x needs afterwards."""
        g = self.geometry
        if not g.asymmetric:
            return Out(0)
        made = self.space(g.padded.nbytes)
        self.cost += seconds(g.x.nbytes + g.padded.nbytes)
        self.after.append(lambda: cropped(g.x.shape, g.edge, g.x.dtype.itemsize, made, Out(0)))
        return made

    def weights_back(self) -> Place:
        """Where cuDNN is to write the gradient of w, which is turned afterwards."""
        t = self.geometry.w
        if not self.geometry.turned:
            return Out(0)
        made, out = self.space(t.nbytes), t.shape[-1]
        self.cost += seconds(2 * t.nbytes)
        self.after.append(lambda: matrix_transposed(out, t.size // out, t.dtype, made, Out(0)))
        return made

    def follow(self, offer: Offer, inputs: tuple[Place, ...], outputs: tuple[Place, ...]) -> None:
        """A generated kernel comes after."""
        self.cost += offer.cost
        start = self.space(offer.workspace).offset

        def inner() -> Inner:
            built = offer.build()
            assert isinstance(built, GpuKernel)
            return Inner(built, inputs, outputs, start)

        self.after.append(inner)

    def offer(
        self, operands: Sequence[Operand], found: Found, places: tuple[Place, Place], result: Place
    ) -> Offer:
        """What all of it makes; cuDNN computes ``result`` from the two ``places``."""
        scratch = found.algorithm.nbytes
        work = self.space(scratch + ALIGNMENT if scratch else 0)  # of which `Convolve` takes what is aligned

        def steps() -> list[Step]:
            own = Convolve(found.library, found.problem, found.algorithm, places, result, work)
            return [*self.before, own, *(make() for make in self.after)]

        g, p = self.geometry, self.geometry.p
        depthwise = p.groups > 1 and p.groups == g.x.shape[-1]
        flops = p.flops(*(o.type for o in operands)) * (DEPTHWISE if depthwise else 1)
        cost = seconds(nbytes(g.x, g.w, g.y), flops) + self.cost
        return kernel(steps, "cudnn", workspace=self.nbytes, cost=cost)


@offers(Conv, way="cudnn")
def conv(p: Conv, operands: Sequence[Operand], gpu: Gpu) -> Offer | Refusal:
    x, w, *extra = operands
    if reason := _unfit(p, (x, w)):
        return Refusal(reason)
    plan = Plan(Geometry(p, x.type, w.type, gpu))
    if isinstance(found := _found(plan, cudnn.FORWARD, gpu), Refusal):
        return found
    places = plan.image(In(0)), plan.weights(In(1))
    if p.epilogue is None:
        return plan.offer(operands, found, places, Out(0))
    y = plan.geometry.y
    tail = _generated(Elementwise(p.epilogue, p.literals), (Operand(y), *extra), gpu)
    if isinstance(tail, Refusal):
        return tail
    product = Out(0) if (0, 0) in tail.reuse else plan.space(y.nbytes)
    plan.follow(tail, (product, *(In(2 + k) for k in range(len(extra)))), (Out(0),))
    return plan.offer(operands, found, places, product)


@offers(ConvInputGrad, way="cudnn")
def conv_input_grad(p: ConvInputGrad, operands: Sequence[Operand], gpu: Gpu) -> Offer | Refusal:
    if reason := _unfit(p, operands):
        return Refusal(reason)
    g, w = (o.type for o in operands)
    (x,) = p.infer(g, w)
    plan = Plan(Geometry(p, x, w, gpu))
    if isinstance(found := _found(plan, cudnn.BACKWARD_DATA, gpu), Refusal):
        return found
    return plan.offer(operands, found, (plan.weights(In(1)), In(0)), plan.image_back())


@offers(ConvKernelGrad, way="cudnn")
def conv_kernel_grad(p: ConvKernelGrad, operands: Sequence[Operand], gpu: Gpu) -> Offer | Refusal:
    if reason := _unfit(p, operands):
        return Refusal(reason)
    x, g = operands
    w, *bias = p.infer(x.type, g.type)
    plan = Plan(Geometry(p, x.type, w, gpu))
    if isinstance(found := _found(plan, cudnn.BACKWARD_FILTER, gpu), Refusal):
        return found
    places, result = (plan.image(In(0)), In(1)), plan.weights_back()
    if bias:
        total = _generated(Reduce("sum", tuple(range(g.type.rank - 1))), (g,), gpu)
        if isinstance(total, Refusal):
            return total
        plan.follow(total, (In(1),), (Out(1),))
    return plan.offer(operands, found, places, result)


def _unfit(p: Convolution, operands: Sequence[Operand]) -> str:
    """Why cuDNN cannot have these operands, or nothing."""
    if not all(map(row_major, operands)):
        return "cuDNN's convolution wants x, w and g row-major"
    if any(0 in o.type.shape for o in operands):
        return "cuDNN knows no empty arrays"
    if len(p.stride) > 3:
        return f"cuDNN's convolution has at most 3 spatial axes, not {len(p.stride)}"
    return ""


def _generated(primitive: Primitive, operands: Sequence[Operand], gpu: Gpu) -> Offer | Refusal:
    """What a generated kernel offers."""
    return OFFERS[type(primitive)]["cupy"](primitive, operands, gpu)


# The choice of an algorithm.


class Found:
    """The algorithm that is taken for a problem.

    Where there are several, they race on the GPU; where equal runs must give equal bits, or memory for a race
    is lacking, it is the one that cuDNN expects to be fastest.
    """

    def __init__(self, problem: Problem, gpu: Gpu) -> None:
        self.library: Library = gpu.cudnn
        self.problem = problem
        with gpu.current():
            every = cudnn.algorithms(self.library, problem)
            usable = cudnn.acceptable(every, gpu.workspace, gpu.deterministic)
            if not usable:
                raise cudnn.no_algorithm(problem, gpu.workspace)
            race = len(usable) > 1 and not gpu.deterministic
            self.algorithm = _fastest(self.library, problem, usable) if race else usable[0]


def _found(plan: Plan, way: str, gpu: Gpu) -> Found | Refusal:
    try:
        return Found(plan.geometry.problem(way), gpu)
    except UnsupportedError as error:
        return Lacking(str(error))


def _fastest(library: Library, problem: Problem, usable: tuple[Algorithm, ...]) -> Algorithm:
    from cupy.cuda.memory import OutOfMemoryError

    try:
        return _raced(library, library.device(), problem, usable)
    except OutOfMemoryError:  # there may be more another time
        return usable[0]


@lru_cache(maxsize=4096)
def _raced(library: Library, device: int, problem: Problem, usable: tuple[Algorithm, ...]) -> Algorithm:
    """The algorithm that takes the least time on the current device, in memory of its own."""
    import cupy

    itemsize = problem.dtype.itemsize
    sizes = [math.prod(getattr(problem, role)) * itemsize for role in cudnn.ROLES[problem.way]]
    arrays = [cupy.zeros(n, "u1") for n in (*sizes, max(1, *(a.nbytes for a in usable)))]
    places = [int(a.data.ptr) for a in arrays]
    times = {a: _milliseconds(cudnn.launcher(library, problem, a, *places)) for a in usable}
    return min(usable, key=lambda a: times[a])


def _milliseconds(launch: Callable[[], None]) -> float:
    """What `RUNS` of a call take on the device after a first one; infinite where cuDNN has no such kernel."""
    from cupy.cuda import Event, get_elapsed_time

    start, end = Event(), Event()
    try:
        launch()
        start.record()
        for _ in range(RUNS):
            launch()
    except UnsupportedError:
        return math.inf
    end.record()
    end.synchronize()
    return float(get_elapsed_time(start, end))
