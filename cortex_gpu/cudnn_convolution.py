"""Convolution by cuDNN, channels last.

Three things are brought into the form that cuDNN wants, by generated kernels around its own: kernels lie
(*K, in / groups, out) here and (out, *K, in / groups) there, which is a transposed matrix; padding that
differs before and after is written into a copy of the image; an epilogue follows in place.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import Any, ClassVar

from cortex_compute.frozen import frozen
from cortex_compute.primitives.convolution import Conv, ConvInputGrad, ConvKernelGrad, Convolution
from cortex_compute.primitives.elementwise import Elementwise
from cortex_compute.primitives.reduce import Reduce
from cortex_compute.primitives.windows import Padding, window_count
from cortex_compute.protocol import Offer, Operand, Refusal
from cortex_compute.types import TensorType
from cortex_gpu.backend import Gpu, offers
from cortex_gpu.cudnn import convolution as cudnn
from cortex_gpu.cudnn.convolution import Algorithm, Problem
from cortex_gpu.cudnn.library import Library, UnsupportedError
from cortex_gpu.kernels import Argument, In, Memory, Out, Source, Step, Work, kernel, seconds, together
from cortex_gpu.memory import aligned, row_major
from cortex_gpu.part import Part, Place, offered
from cortex_gpu.rearrange import cropped, padded, transposed

DEPTHWISE = 8  # times as long as the arithmetic says: one channel at a time leaves most of a tile empty


@frozen
class Convolve:
    """The step that is cuDNN's."""

    library: Library
    problem: Problem
    algorithm: Algorithm
    operands: tuple[Argument, Argument]
    result: Argument
    workspace: Work
    sources: ClassVar[tuple[Source, ...]] = ()

    def bind(self, memory: Memory) -> Callable[[], None]:
        first, second = map(memory.value, self.operands)
        result, workspace = memory.value(self.result), memory.value(self.workspace)
        if not result:  # a gradient that nobody wants beside another one
            return together([])
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
    """The workspace of a kernel while its steps are thought out."""

    def __init__(self) -> None:
        self.nbytes = 0

    def space(self, nbytes: int) -> Work:
        work = Work(self.nbytes)
        self.nbytes += aligned(nbytes)
        return work


@offers(Conv, way="cudnn")
def conv(p: Conv, operands: Sequence[Operand], gpu: Gpu) -> Offer | Refusal:
    x, w, *extra = operands
    if reason := _unfit(p, (x, w)):
        return Refusal(reason)
    geometry, plan = Geometry(p, x.type, w.type, gpu), Plan()
    if isinstance(found := _found(geometry.problem(cudnn.FORWARD), gpu), Refusal):
        return found
    image, weights, before = _prepared(geometry, plan, In(0), In(1))
    (result,) = p.infer(*(o.type for o in operands))
    product: Place = Out(0)
    after: list[Part] = []
    if p.epilogue is not None:
        y = Operand(geometry.y)
        tail = offered(Elementwise(p.epilogue, p.literals), (y, *extra), gpu)
        if isinstance(tail, Refusal):
            return tail
        if (0, 0) not in tail.reuse or result.dtype is not geometry.y.dtype:
            product = plan.space(geometry.y.nbytes)
        places = (product, *(In(2 + k) for k in range(len(extra))))
        after.append(Part(tail, places, (Out(0),), plan.space(tail.workspace).offset))
    work = plan.space(found.nbytes)

    def steps() -> Iterator[Step]:
        yield from before
        yield Convolve(found.library, found.problem, found.fastest(), (image, weights), product, work)
        yield from after

    return _offer(p, operands, steps, plan, len(before) + 1 + len(after))


@offers(ConvInputGrad, way="cudnn")
def conv_input_grad(p: ConvInputGrad, operands: Sequence[Operand], gpu: Gpu) -> Offer | Refusal:
    if reason := _unfit(p, operands):
        return Refusal(reason)
    g, w = operands
    (x,) = p.infer(g.type, w.type)
    geometry, plan = Geometry(p, x, w.type, gpu), Plan()
    if isinstance(found := _found(geometry.problem(cudnn.BACKWARD_DATA), gpu), Refusal):
        return found
    weights, before = _weights(geometry, plan, In(1))
    result: Place = Out(0)
    after: list[Step] = []
    if geometry.asymmetric:
        result = plan.space(geometry.padded.nbytes)
        after.append(cropped(x.shape, geometry.edge, x.dtype.itemsize, result, Out(0)))
    work = plan.space(found.nbytes)

    def steps() -> Iterator[Step]:
        yield from before
        yield Convolve(found.library, found.problem, found.fastest(), (weights, In(0)), result, work)
        yield from after

    return _offer(p, operands, steps, plan, len(before) + 1 + len(after))


@offers(ConvKernelGrad, way="cudnn")
def conv_kernel_grad(p: ConvKernelGrad, operands: Sequence[Operand], gpu: Gpu) -> Offer | Refusal:
    if reason := _unfit(p, operands):
        return Refusal(reason)
    x, g = operands
    w, *bias = p.infer(x.type, g.type)
    geometry, plan = Geometry(p, x.type, w, gpu), Plan()
    if isinstance(found := _found(geometry.problem(cudnn.BACKWARD_FILTER), gpu), Refusal):
        return found
    image, before = _image(geometry, plan, In(0))
    result: Place = Out(0)
    after: list[Step] = []
    if geometry.turned:
        result = plan.space(w.nbytes)
        out = w.shape[-1]
        after.append(transposed(out, w.size // out, w.dtype.itemsize, result, Out(0)))
    if bias:
        total = offered(Reduce("sum", tuple(range(g.type.rank - 1))), (g,), gpu)
        if isinstance(total, Refusal):
            return total
        after.append(Part(total, (In(1),), (Out(1),), plan.space(total.workspace).offset))
    work = plan.space(found.nbytes)

    def steps() -> Iterator[Step]:
        yield from before
        yield Convolve(found.library, found.problem, found.fastest(), (image, In(1)), result, work)
        yield from after

    return _offer(p, operands, steps, plan, len(before) + 1 + len(after))


def _unfit(p: Convolution, operands: Sequence[Operand]) -> str:
    """Why cuDNN cannot have these operands, or nothing."""
    if not all(map(row_major, operands)):
        return "cuDNN's convolution wants x, w and g row-major"
    if any(0 in o.type.shape for o in operands):
        return "cuDNN knows no empty arrays"
    if len(p.stride) > 3:
        return f"cuDNN's convolution has at most 3 spatial axes, not {len(p.stride)}"
    return ""


def _prepared(geometry: Geometry, plan: Plan, x: Place, w: Place) -> tuple[Place, Place, list[Step]]:
    """Where x and w lie as cuDNN wants them, and the steps that bring them there."""
    x, first = _image(geometry, plan, x)
    w, second = _weights(geometry, plan, w)
    return x, w, first + second


def _image(geometry: Geometry, plan: Plan, x: Place) -> tuple[Place, list[Step]]:
    if not geometry.asymmetric:
        return x, []
    made = plan.space(geometry.padded.nbytes)
    return made, [padded(geometry.x.shape, geometry.edge, geometry.x.dtype.itemsize, x, made)]


def _weights(geometry: Geometry, plan: Plan, w: Place) -> tuple[Place, list[Step]]:
    if not geometry.turned:
        return w, []
    made, out = plan.space(geometry.w.nbytes), geometry.w.shape[-1]
    return made, [transposed(geometry.w.size // out, out, geometry.w.dtype.itemsize, w, made)]


def _offer(p: Convolution, operands: Sequence[Operand], steps: Any, plan: Plan, launches: int) -> Offer:
    types = [o.type for o in operands]
    alone = p.groups > 1 and p.groups == types[0].shape[-1]
    flops = p.flops(*types) * (DEPTHWISE if alone else 1)
    cost = seconds(p.nbytes(*types) + 2 * plan.nbytes, flops, launches)
    return kernel(lambda: list(steps()), "cudnn", workspace=plan.nbytes, cost=cost)


# The choice of an algorithm.


class Found:
    """The algorithms that may be taken for a problem, and the scratch of the largest."""

    def __init__(self, problem: Problem, gpu: Gpu) -> None:
        self.library: Library = gpu.cudnn
        self.problem, self.gpu = problem, gpu
        with current(gpu):
            every = cudnn.algorithms(self.library, problem)
        self.algorithms = cudnn.acceptable(every, gpu.workspace, gpu.deterministic)
        if not self.algorithms:
            raise cudnn.no_algorithm(problem, gpu.workspace)
        if gpu.deterministic:
            self.algorithms = self.algorithms[:1]
        self.nbytes = max(a.nbytes for a in self.algorithms)

    def fastest(self) -> Algorithm:
        """The fastest that was measured; where equal runs must give equal bits, the one expected to be."""
        if len(self.algorithms) == 1:
            return self.algorithms[0]
        with current(self.gpu):
            return _measured(self.library, self.problem, self.nbytes) or self.algorithms[0]


def _found(problem: Problem, gpu: Gpu) -> Found | Refusal:
    try:
        return Found(problem, gpu)
    except UnsupportedError as error:
        return Refusal(str(error))


def current(gpu: Gpu) -> AbstractContextManager[Any]:
    """Makes the GPU CuPy's current device."""
    raw: AbstractContextManager[Any] | None = getattr(gpu.device, "raw", None)
    return nullcontext() if raw is None else raw


@cache
def _measured(library: Library, problem: Problem, nbytes: int) -> Algorithm | None:
    """The winner of a race on the current GPU; None where memory for it is lacking."""
    import cupy

    itemsize = problem.dtype.itemsize
    sizes = [math.prod(getattr(problem, role)) * itemsize for role in cudnn.ROLES[problem.way]]
    try:
        arrays = [cupy.zeros(n, "u1") for n in (*sizes, max(1, nbytes))]
    except cupy.cuda.memory.OutOfMemoryError:
        return None
    first, second, result, workspace = (int(a.data.ptr) for a in arrays)
    raced = cudnn.search(library, problem, first, second, result, workspace, nbytes)
    allowed = cudnn.acceptable(raced, nbytes, deterministic=False)
    return allowed[0] if allowed else None
