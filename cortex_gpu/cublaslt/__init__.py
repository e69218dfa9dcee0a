"""cuBLASLt through its C API: matrix products that may be captured into a CUDA graph.

CuPy's own products refuse to run while a graph is captured; cuBLASLt takes the stream and the workspace of
each call, and adds a bias or sums a factor on the way.
"""

from __future__ import annotations

from cortex_gpu.cublaslt.library import Library, load
from cortex_gpu.cublaslt.matmul import Epilogue, Matmul, Matrix, Problem, algorithm

__all__ = ["Epilogue", "Library", "Matmul", "Matrix", "Problem", "algorithm", "load"]
