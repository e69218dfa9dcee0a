"""Convolution and its two gradients: one form for the three, and the choice of an algorithm.

Only algorithms that add up the products themselves are taken.  Those by Fourier or Winograd transforms mix
the pixels of a tile: a NaN or an infinity spreads over it, and an error is relative to its largest number.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from ctypes import byref, c_int, c_size_t
from functools import lru_cache
from typing import NamedTuple

from cortex_compute.frozen import frozen
from cortex_compute.types import DType, bfloat16, float16, float32
from cortex_gpu.cudnn import constants as c
from cortex_gpu.cudnn.descriptors import Descriptor, Sizes, convolution, factors, filters, image
from cortex_gpu.cudnn.library import Library, Performance, UnsupportedError

ASKED = 16  # algorithms; there are fewer
FORWARD, BACKWARD_DATA, BACKWARD_FILTER = "Forward", "BackwardData", "BackwardFilter"
ROLES = {FORWARD: "xwy", BACKWARD_DATA: "wyx", BACKWARD_FILTER: "xyw"}  # two operands, and the result
EXACT = {
    FORWARD: (0, 1, 2),  # implicit GEMM, the same with computed places, GEMM
    BACKWARD_DATA: (0, 1),
    BACKWARD_FILTER: (0, 1, 3),
}


@frozen
class Problem:
    """One of the three as cuDNN sees it: sizes x (N, C, *S), w (O, C / groups, *K), y (N, O, *S').

    Memory is dense and channels last, the kernel (O, *K, C / groups), or all of it in the order of the sizes.
    ``tf32``: factors of float32 may be rounded to 10 bits.
    """

    way: str
    x: Sizes
    w: Sizes
    y: Sizes
    padding: Sizes
    stride: Sizes
    dilation: Sizes
    groups: int
    dtype: DType
    channels_last: bool = True
    tf32: bool = False

    @property
    def math(self) -> int:
        if self.dtype in (float16, bfloat16):
            return c.TENSOR_OP_MATH
        return c.DEFAULT_MATH if self.tf32 and self.dtype is float32 else c.FMA_MATH

    @property
    def allowed(self) -> tuple[int, ...]:
        """The kinds of mathematics: float32 without TF32 has one."""
        return (self.math, c.DEFAULT_MATH, c.FMA_MATH) if self.math != c.FMA_MATH else (c.FMA_MATH,)

    def array(self, library: Library, role: str) -> Descriptor:
        dims: Sizes = getattr(self, role)
        if role == "w":
            return filters(library, dims, self.dtype, self.channels_last)
        return image(library, dims, self.dtype, self.channels_last)

    def described(self, library: Library, math: int) -> list[Descriptor]:
        """The two operands, the convolution, the result: the order that cuDNN has everywhere."""
        first, second, result = (self.array(library, role) for role in ROLES[self.way])
        geometry = self.padding, self.stride, self.dilation, self.groups
        return [first, second, convolution(library, *geometry, self.dtype, math), result]


class Algorithm(NamedTuple):
    """An algorithm with the scratch that it wants."""

    number: int
    math: int
    nbytes: int
    deterministic: bool


def algorithms(library: Library, problem: Problem) -> tuple[Algorithm, ...]:
    """Those that can solve it on the current device, the one that cuDNN expects to be fastest first.

    Raises `UnsupportedError` where cuDNN does not know such arrays at all.
    """
    return _algorithms(library, library.device(), problem)


@lru_cache(maxsize=4096)
def _algorithms(library: Library, device: int, problem: Problem) -> tuple[Algorithm, ...]:
    count, found = c_int(), (Performance * ASKED)()
    name, described = f"GetConvolution{problem.way}Algorithm_v7", problem.described(library, problem.math)
    library.call(name, library.handle(), *described, ASKED, byref(count), found)
    usable: list[Algorithm] = []
    for p in found[: count.value]:
        if p.status or p.algorithm not in EXACT[problem.way]:
            continue
        # The answer may name a kind of mathematics that the problem does not allow
        math = p.math if p.math in problem.allowed else problem.math
        wanted = scratch(library, problem, p.algorithm, math)
        if wanted is None or any((a.number, a.math) == (p.algorithm, math) for a in usable):
            continue
        usable.append(Algorithm(p.algorithm, math, wanted, p.determinism == c.DETERMINISTIC))
    return tuple(usable)


def scratch(library: Library, problem: Problem, number: int, math: int) -> int | None:
    """Bytes that an algorithm wants, or None where cuDNN lacks it."""
    nbytes = c_size_t()
    name, described = f"GetConvolution{problem.way}WorkspaceSize", problem.described(library, math)
    try:
        library.call(name, library.handle(), *described, number, byref(nbytes))
    except UnsupportedError:
        return None
    return nbytes.value


def acceptable(found: Sequence[Algorithm], limit: int, deterministic: bool) -> tuple[Algorithm, ...]:
    """Those within ``limit`` bytes of scratch, and of equal bits in equal runs, if that is wanted."""
    return tuple(a for a in found if a.nbytes <= limit and (a.deterministic or not deterministic))


def launcher(
    library: Library,
    problem: Problem,
    algorithm: Algorithm,
    first: int,
    second: int,
    result: int,
    workspace: int,
) -> Callable[[], None]:
    """A call that computes ``result`` from the two operands of `ROLES`, all of them addresses."""
    one, two, how, three = problem.described(library, algorithm.math)
    alpha, beta = factors(problem.dtype)
    return library.launcher(
        f"Convolution{problem.way}", alpha, one, first, two, second, how, algorithm.number, workspace,
        algorithm.nbytes, beta, three, result,
    )  # fmt: skip


def no_algorithm(problem: Problem, limit: int) -> UnsupportedError:
    """What is said where nothing is left."""
    return UnsupportedError(
        f"cuDNN has no algorithm for {problem} within {limit} bytes of scratch that may be taken"
    )
