"""One product by cuBLASLt: what it is as data, the library's choice of an algorithm, and the call.

The library's matrices are column-major: an element (i, j) lies at i + j * leading.  D = A B, where A and B
may be turned; a batch is a stride from one matrix to the next.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from ctypes import byref, c_double, c_float, c_int, c_int32, c_int64, c_uint32, c_uint64, c_void_p
from enum import IntEnum
from functools import lru_cache, partial
from typing import Any

from cortex_compute.errors import BackendError
from cortex_compute.frozen import frozen
from cortex_compute.protocol import Refusal
from cortex_compute.types import DType, bfloat16, float16, float32, float64
from cortex_gpu.cublaslt.library import Algorithm, Descriptor, HeuristicResult, Library
from cortex_gpu.kernels import In, Memory, Out, Source, Work
from cortex_gpu.memory import ALIGNMENT, aligned

DATA = {float32: 0, float64: 1, float16: 2, bfloat16: 14}  # cudaDataType: CUDA_R_32F, 64F, 16F, 16BF
COMPUTE_32F, COMPUTE_64F, COMPUTE_TF32 = 68, 70, 77  # cublasComputeType_t
TURN_A, TURN_B, EPILOGUE, VECTOR, VECTOR_TYPE = 3, 4, 7, 8, 26  # cublasLtMatmulDescAttributes_t
BATCH_COUNT, BATCH_STRIDE = 5, 6  # cublasLtMatrixLayoutAttribute_t
MOST_WORKSPACE, REDUCTIONS, ALIGNMENTS = 1, 3, (5, 6, 7, 8)  # cublasLtMatmulPreferenceAttributes_t
IN_COMPUTE_TYPE = 2  # CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE
RESULTS = 4  # of the heuristic, of which the first that works is taken


class Epilogue(IntEnum):
    """``cublasLtEpilogue_t``: what is done beside the product, with a vector as long as D has rows."""

    NOTHING = 1
    BIAS = 4  # adds the vector to each column
    SUMS = 256  # BGRADA: writes to the vector the sums of A's rows


@frozen
class Matrix:
    """A column-major matrix as it lies; ``stride`` elements on lies the next of a batch."""

    rows: int
    columns: int
    leading: int
    turned: bool = False
    stride: int = 0


@frozen
class Problem:
    """``batch`` products D = A B of one data type.

    ``tf32``: factors may be rounded to 10 bits; ``wide``: D is float32 whatever A and B are.
    """

    dtype: DType
    a: Matrix
    b: Matrix
    d: Matrix
    batch: int = 1
    epilogue: Epilogue = Epilogue.NOTHING
    tf32: bool = False
    wide: bool = False


class Descriptors:
    """A problem in the library's own words; ``vector`` is the address of the bias, or of the sums."""

    def __init__(self, library: Library, problem: Problem, vector: int) -> None:
        data = DATA[problem.dtype]
        double = problem.dtype is float64
        compute = COMPUTE_64F if double else COMPUTE_TF32 if problem.tf32 else COMPUTE_32F
        scale = DATA[float64 if double else float32]
        self.operation = Descriptor(library, "MatmulDesc", compute, scale)
        self.operation.set(TURN_A, c_int32(problem.a.turned))
        self.operation.set(TURN_B, c_int32(problem.b.turned))
        self.operation.set(EPILOGUE, c_uint32(problem.epilogue))
        if problem.epilogue is not Epilogue.NOTHING:
            self.operation.set(VECTOR, c_void_p(vector))
            self.operation.set(VECTOR_TYPE, c_int32(data))
        result = DATA[float32] if problem.wide else data
        matrices = (data, problem.a), (data, problem.b), (result, problem.d)
        self.a, self.b, self.d = [self._layout(library, kind, x, problem.batch) for kind, x in matrices]

    @staticmethod
    def _layout(library: Library, data: int, x: Matrix, batch: int) -> Descriptor:
        made = Descriptor(library, "MatrixLayout", data, x.rows, x.columns, x.leading)
        if batch > 1:
            made.set(BATCH_COUNT, c_int32(batch))
            made.set(BATCH_STRIDE, c_int64(x.stride))
        return made


def algorithm(
    library: Library, problem: Problem, alignments: tuple[int, ...], workspace: int
) -> Algorithm | Refusal:
    """The library's choice for A, B, C, D and the vector so aligned, in bytes, or why it has none."""
    return _algorithm(library, library.device(), problem, alignments, workspace)


@lru_cache(maxsize=1024)
def _algorithm(
    library: Library, device: int, problem: Problem, alignments: tuple[int, ...], workspace: int
) -> Algorithm | Refusal:
    words = Descriptors(library, problem, vector=alignments[-1])  # an address that is aligned so
    preference = Descriptor(library, "MatmulPreference")
    preference.set(MOST_WORKSPACE, c_uint64(workspace))
    if problem.dtype.itemsize == 2:  # parts of a product are added before they are rounded
        preference.set(REDUCTIONS, c_uint32(IN_COMPUTE_TYPE))
    for attribute, alignment in zip(ALIGNMENTS, alignments):
        preference.set(attribute, c_uint32(alignment))
    results, count = (HeuristicResult * RESULTS)(), c_int()
    objects = [words.operation, words.a, words.b, words.d, words.d, preference]
    status = library.c.cublasLtMatmulAlgoGetHeuristic(
        library.handle(), *(x.address for x in objects), RESULTS, results, byref(count)
    )
    if status:  # the library has more than one for what it lacks; what failed before fails again elsewhere
        return Refusal(library.told("MatmulAlgoGetHeuristic", status))
    good = (x.algo for x in results[: count.value] if x.state == 0 and x.workspaceSize <= workspace)
    found = next(good, None)
    if found is None:
        return Refusal(f"cuBLASLt has no algorithm for {problem} within {workspace} bytes of scratch")
    return Algorithm.from_buffer_copy(found)


@frozen
class Matmul:
    """The step that computes a problem; operands are named as the library has them."""

    library: Library
    problem: Problem
    a: In
    b: In
    d: Out
    vector: In | Out | None
    workspace: int  # bytes, the scratch has `ALIGNMENT` more: the library wants its address so

    @property
    def sources(self) -> Sequence[Source]:
        return ()

    def bind(self, memory: Memory) -> Callable[[], None]:
        import cupy

        a, b, d = (memory.value(x) for x in (self.a, self.b, self.d))
        vector = 0 if self.vector is None else memory.value(self.vector)
        chosen = self.chosen(memory)
        if isinstance(chosen, Refusal):  # an offer has made sure of one that does with less alignment
            raise BackendError(chosen.reason)
        words = Descriptors(self.library, self.problem, vector)
        scalar = c_double if self.problem.dtype is float64 else c_float
        one, zero = scalar(1), scalar(0)
        arguments = [self.library.handle(), words.operation.address, byref(one), a, words.a.address, b,
                     words.b.address, byref(zero), d, words.d.address, d, words.d.address, byref(chosen),
                     aligned(memory.value(Work())), self.workspace]  # fmt: skip
        call, current = partial(self.library.c.cublasLtMatmul, *arguments), cupy.cuda.get_current_stream
        expect = self.library.expect

        def launch(kept: Any = words) -> None:
            expect("Matmul", call(current().ptr))

        return launch

    def chosen(self, memory: Memory) -> Algorithm | Refusal:
        """The algorithm for the memory as it is aligned."""
        places = (self.a, self.b, self.d, self.d, self.vector or self.d)
        alignments = tuple(_alignment(memory.value(x)) for x in places)
        return algorithm(self.library, self.problem, alignments, self.workspace)


def _alignment(address: int) -> int:
    """The largest power of two, up to what the library looks at, that divides an address."""
    return min(address & -address, ALIGNMENT) or ALIGNMENT
