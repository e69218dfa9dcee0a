"""Kernels made of several others: products of matrices, reductions, and generated launches between them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

from cortex_compute.expression import Code
from cortex_compute.primitives.matrix import Gemm
from cortex_compute.primitives.normalization import vector_type
from cortex_compute.primitives.reduce import Reduce
from cortex_compute.protocol import Layout, Offer, Operand
from cortex_compute.types import DType, TensorType
from cortex_gpu.backend import OFFERS, Gpu
from cortex_gpu.kernels import GpuKernel, Inner, Place, Step, Work, kernel
from cortex_gpu.matrix import WIDENED, product
from cortex_gpu.memory import aligned

Strides = tuple[int, ...]


def widened(d: DType) -> Code | None:
    """Code that makes float32 of 16 bits."""
    return None if vector_type(d) is d else WIDENED


def matrix(d: DType, *shape: int, strides: Strides | None = None) -> Operand:
    """A matrix, or a batch of such, as a product reads it."""
    return Operand(TensorType(shape, d), Layout(strides))


class Part:
    """Another offer's kernel, which may be a step many times; its scratch lies behind all that is kept."""

    def __init__(self, whole: Composed, offer: Offer) -> None:
        self.whole, self.offer = whole, offer

    @cached_property
    def kernel(self) -> GpuKernel:
        built = self.offer.build()
        assert isinstance(built, GpuKernel)
        return built

    def __call__(self, inputs: Sequence[Place], output: Place) -> Step:
        return Inner(self.kernel, tuple(inputs), (output,), self.whole.nbytes)


class Composed:
    """Collects what a kernel of several parts needs: first all of it, then the steps are made."""

    def __init__(self, gpu: Gpu) -> None:
        self.gpu = gpu
        self.nbytes = 0  # of scratch that is kept from step to step
        self.scratch = 0  # of the part that wants most, for itself
        self.cost = 0.0

    def space(self, nbytes: int) -> Work:
        """Scratch of its own."""
        place = Work(self.nbytes)
        self.nbytes += aligned(nbytes)
        return place

    def part(self, offer: Offer, times: int = 1) -> Part:
        """A part that comes so many times."""
        self.scratch = max(self.scratch, offer.workspace)
        self.cost += times * offer.cost
        return Part(self, offer)

    def product(
        self, a: Operand, b: Operand, times: int = 1, transpose_a: bool = False, transpose_b: bool = False,
        wide: bool = False,
    ) -> Part:  # fmt: skip
        """a b, row-major; a transposed operand lies as `Gemm` has it.  ``wide``: float32 beside 16 bits."""
        p = Gemm(transpose_a, transpose_b, widened(a.type.dtype) if wide else None)
        return self.part(product(p, (a, b), self.gpu), times)

    def column_sums(self, a: Operand) -> Part:
        """The sums of a matrix's columns, in float32 beside 16 bits."""
        offer = OFFERS[Reduce]["cupy"](Reduce("sum", (0,), body=widened(a.type.dtype)), [a], self.gpu)
        assert isinstance(offer, Offer)
        return self.part(offer)

    def offer(self, steps: Callable[[], Sequence[Step]], seconds: float, **facts: Any) -> Offer:
        """The kernel of these steps, whose launches but the parts take so many ``seconds``."""
        return kernel(steps, workspace=self.nbytes + self.scratch, cost=self.cost + seconds, **facts)
