"""The matrix product: by cuBLASLt, and as a generated kernel."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from cortex_compute.expression import Code
from cortex_compute.frozen import frozen
from cortex_compute.primitives.matrix import Gemm
from cortex_compute.primitives.reduce import Reduce
from cortex_compute.protocol import Offer, Operand, Refusal
from cortex_compute.types import DType, float32
from cortex_gpu.backend import OFFERS, Gpu, Lacking, offers
from cortex_gpu.cublaslt import Epilogue, Matmul, Matrix, Problem, algorithm
from cortex_gpu.epilogue import ending
from cortex_gpu.index import Walk, broadcast_strides
from cortex_gpu.kernels import (
    Argument,
    GpuKernel,
    In,
    Inner,
    Memory,
    Out,
    Source,
    Step,
    kernel,
    seconds,
    together,
)
from cortex_gpu.memory import ALIGNMENT, nbytes
from cortex_gpu.prelude import storage
from cortex_gpu.product import Product, Way

LIBRARY_WORKSPACE = 32 << 20  # bytes; NVIDIA's advice for cuBLAS on the largest GPUs
WIDENED = Code(1, (("cast:float32", ("a", 0)),), (("t", 0),))  # the epilogue that rounds to float32 only
LIBRARY_SIZES = 1 << 31  # which the library counts in 32 bits


@frozen
class Factors:
    """Sizes and strides of op(A) (m, k) and op(B) (k, n); ``batch`` with the strides of both over it."""

    m: int
    n: int
    k: int
    a: tuple[int, int]
    b: tuple[int, int]
    batch: Walk

    @classmethod
    def of(cls, p: Gemm, operands: Sequence[Operand]) -> Factors:
        types = [x.type for x in operands]
        product = p.product(*types[:2])
        (*_, m, n), shape = product.shape, product.shape[:-2]
        strides = [x.strides for x in operands[:2]]
        own = [broadcast_strides(t.shape[:-2], s[:-2], shape) for t, s in zip(types, strides)]
        a, b = ((s[-1], s[-2]) if turned else (s[-2], s[-1])
                for s, turned in zip(strides, (p.transpose_a, p.transpose_b)))  # fmt: skip
        k = types[0].shape[-2 if p.transpose_a else -1]
        return cls(m, n, k, a, b, Walk.over(shape, own))


def product(p: Gemm, operands: Sequence[Operand], gpu: Gpu) -> Offer:
    """The cheapest way, for a kernel of which a product is a part."""
    ways = ("cupy",) if gpu.cublaslt is None else ("cublaslt", "cupy")
    answers = [OFFERS[Gemm][way](p, operands, gpu) for way in ways]
    return min((x for x in answers if isinstance(x, Offer)), key=lambda x: x.cost)


# The generated way.


@offers(Gemm)
def gemm(p: Gemm, operands: Sequence[Operand], gpu: Gpu) -> Offer | Refusal:
    types, results = [x.type for x in operands], p.infer(*(x.type for x in operands))
    product = generated(p, operands, gpu)
    if not product.fits:
        return Refusal("cupy counts the rows, columns and terms of a product in 32 bits")
    cost = product.cost(nbytes(*types, *results), p.flops(*types))
    if p.sums:
        return beside_sums(product, operands, gpu, cost)
    return kernel(product.steps, workspace=product.workspace, cost=cost)


def beside_sums(way: Way, operands: Sequence[Operand], gpu: Gpu, cost: float) -> Offer | Refusal:
    """The offer for ``way``, which also sums operand 1 over all axes but the last, as output 1."""
    sums = column_sums(operands[1], gpu)
    if isinstance(sums, Refusal):
        return sums

    def steps() -> list[Step]:
        return [Inner(GpuKernel(way.steps()), (In(0), In(1)), (Out(0),)), inner_sums(sums)]

    return kernel(steps, workspace=max(way.workspace, sums.workspace), cost=cost + sums.cost)


def generated(p: Gemm, operands: Sequence[Operand], gpu: Gpu) -> Product:
    """The product as the template wants it."""
    types = [x.type for x in operands]
    f, result = Factors.of(p, operands), p.infer(*types)[0]
    end = ending("gemm", types[0].dtype, result, p.epilogue, p.literals, operands[2:])
    source = storage(types[0].dtype)
    lines, (at_a, at_b) = f.batch.offsets("z", "batch")
    given: tuple[tuple[str, Argument], ...] = (
        (f"const {source}* __restrict__ lefts_of", In(0)), (f"const {source}* __restrict__ rights_of", In(1)),
        ("i64 a_i", np.int64(f.a[0])), ("i64 a_p", np.int64(f.a[1])),
        ("i64 b_p", np.int64(f.b[0])), ("i64 b_j", np.int64(f.b[1])),
    )  # fmt: skip
    where = "const i64 at = ((i64)z * m + i) * n + j; [[maybe_unused]] const int column = j;"
    return Product(
        name=end.name, dtype=types[0].dtype, m=f.m, n=f.n, depth=f.k, batch=f.batch.size,
        parameters=(*given, *end.parameters),
        setup=f"{' '.join(lines)} const {source} *a = lefts_of + ({at_a}), *b = rights_of + ({at_b});",
        a="value = load(a[i * a_i + p * a_p]);", b="value = load(b[p * b_p + j * b_j]);",
        store=f"{where}\n          {end.store}",
        a_deep=abs(f.a[1]) <= abs(f.a[0]), b_deep=abs(f.b[0]) < abs(f.b[1]),
        processors=gpu.processors, most_workspace=gpu.workspace,
    )  # fmt: skip


def column_sums(b: Operand, gpu: Gpu) -> Offer | Refusal:
    """The sums of an operand over all axes but the last."""
    return OFFERS[Reduce]["cupy"](Reduce("sum", tuple(range(b.type.rank - 1))), [b], gpu)


def inner_sums(offer: Offer) -> Inner:
    """The sums of operand 1 as output 1 of a kernel."""
    built = offer.build()
    assert isinstance(built, GpuKernel)
    return Inner(built, (In(1),), (Out(1),))


# By cuBLASLt.


@offers(Gemm, way="cublaslt")
def gemm_by_library(p: Gemm, operands: Sequence[Operand], gpu: Gpu) -> Offer | Refusal:
    types, results = [x.type for x in operands], p.infer(*(x.type for x in operands))
    wide, bias = p.epilogue == WIDENED, p.epilogue not in (None, WIDENED)
    if bias and not _adds_vector(p, operands):
        return Refusal("cuBLASLt's epilogues here are a bias along the last axis, and float32")
    problem = library_problem(Factors.of(p, operands), operands[0].type.dtype, gpu.tf32)
    if isinstance(problem, Refusal):
        return problem
    if bias or wide:
        problem = _with(problem, Epilogue.BIAS if bias else Epilogue.NOTHING, wide)
    workspace = min(gpu.workspace, LIBRARY_WORKSPACE)
    least = (types[0].dtype.itemsize,) * 5
    with gpu.current():
        found = algorithm(gpu.cublaslt, problem, least, workspace)
    if isinstance(found, Refusal):
        return Lacking(found.reason)
    sums = column_sums(operands[1], gpu) if p.sums else None
    if isinstance(sums, Refusal):
        return sums

    def step(problem: Problem, vector: In | Out | None = None) -> Matmul:
        return Matmul(gpu.cublaslt, problem, In(1), In(0), Out(0), vector, workspace)

    def steps() -> list[Step]:
        if sums is None:
            return [step(problem, In(2) if bias else None)]
        return [WithSums(step(problem), step(_with(problem, Epilogue.SUMS), Out(1)), inner_sums(sums))]

    return kernel(
        steps,
        implementation="cublaslt",
        workspace=max(workspace + ALIGNMENT, 0 if sums is None else sums.workspace),
        cost=seconds(nbytes(*types, *results), p.flops(*types)),
    )


def library_problem(f: Factors, dtype: DType, tf32: bool) -> Problem | Refusal:
    """The product in column-major words: C^T = B^T A^T, and what lies row by row is its transpose."""
    m, n, k = f.m, f.n, f.k
    if not m * n * k * f.batch.size:
        return Refusal("cuBLASLt wants at least one element")
    if len(f.batch.shape) > 1:
        return Refusal("cuBLASLt wants the same distance between all matrices of a batch")
    batch, (step_a, step_b) = f.batch.size, (sum(x) for x in f.batch.strides)
    if step_b == 0 and step_a == m * f.a[0]:  # the rows of all A follow each other: one tall product
        m, batch = m * batch, 1
    if batch == 1:
        step_a = step_b = 0
    a, b = _matrix(m, k, *f.a, step_a), _matrix(k, n, *f.b, step_b)
    if a is None or b is None or min(step_a, step_b) < 0:
        return Refusal("cuBLASLt wants neighbours in memory along rows or columns, and no overlap")
    if max(m, n, k, batch) >= LIBRARY_SIZES:
        return Refusal("cuBLASLt counts rows and columns in 32 bits")
    d = Matrix(n, m, n, stride=m * n if batch > 1 else 0)
    return Problem(dtype, b, a, d, batch, tf32=tf32 and dtype is float32)


def _matrix(rows: int, columns: int, down: int, right: int, step: int) -> Matrix | None:
    """The transpose of a matrix with these strides, as it lies."""
    if (right == 1 or columns == 1) and (down >= columns or rows == 1):
        return Matrix(columns, rows, max(columns, down if rows > 1 else 0), stride=step)
    if (down == 1 or rows == 1) and (right >= rows or columns == 1):
        return Matrix(rows, columns, max(rows, right if columns > 1 else 0), True, step)
    return None


def _with(problem: Problem, epilogue: Epilogue, wide: bool = False) -> Problem:
    of = problem.dtype, problem.a, problem.b, problem.d, problem.batch
    return Problem(*of, epilogue, problem.tf32, wide)


def _adds_vector(p: Gemm, operands: Sequence[Operand]) -> bool:
    """Whether the epilogue adds a packed vector over the last axis, and no more."""
    code = p.epilogue
    if code is None or code.instructions not in (
        (("add", ("a", 0), ("a", 1)),),
        (("add", ("a", 1), ("a", 0)),),
    ):
        return False
    vector, n = operands[2], p.product(*(x.type for x in operands[:2])).shape[-1]
    (shape, dtype), packed = vector.type, vector.strides[-1:] == (1,) or n == 1
    plain = code.results == (("t", 0),) and dtype is operands[0].type.dtype
    return plain and packed and shape[-1:] == (n,) and vector.type.size == n


@frozen
class WithSums:
    """A product and the sums of its right factor's columns: in one call where the library has it."""

    product: Matmul
    both: Matmul
    sums: Inner

    @property
    def sources(self) -> Sequence[Source]:
        return self.sums.sources

    def bind(self, memory: Memory) -> Callable[[], None]:
        product, sums = (x is not None for x in memory.outputs)
        if product and sums and not isinstance(self.both.chosen(memory), Refusal):
            return self.both.bind(memory)
        return together([*([self.product.bind(memory)] if product else []), self.sums.bind(memory)])
