"""The copy that turns two axes, through tiles: a block reads rows of a tile and writes its columns.

Without it either the reads or the writes of neighbouring threads would lie far apart.
"""

from __future__ import annotations

import numpy as np

from cortex_compute.types import DType
from cortex_gpu.index import Walk
from cortex_gpu.kernels import BLOCK, Call, In, Out, Place, Source
from cortex_gpu.prelude import PRELUDE, storage

TILE = 32  # elements of each side
FEWEST = 8  # elements along a turned axis: of less, most of a tile would be empty

TEXT = r"""
// x steps by 1 along the rows, y along the columns.  Blocks are numbered by all other axes, then by tiles.
extern "C" __global__ void transpose(const T* __restrict__ x, T* __restrict__ y, i64 rows, i64 columns,
                                     i64 x_step, i64 y_step) {
  if (!y) return;  // nobody wants it
  __shared__ T tile[TILE * (TILE + 1)];  // one more column: a column then lies in 32 banks
  const i64 down = (rows + TILE - 1) / TILE, across = (columns + TILE - 1) / TILE;
  const i64 other = blockIdx.x / (down * across), place = blockIdx.x % (down * across);
  const int near = threadIdx.x % TILE, far = threadIdx.x / TILE;
  const i64 row = place / across * TILE, column = place % across * TILE;
  OFFSETS
  x += column * x_step + row;
  y += row * y_step + column;
  for (int j = far; j < TILE; j += BLOCK / TILE)
    if (row + near < rows && column + j < columns) tile[j * (TILE + 1) + near] = x[j * x_step + near];
  __syncthreads();
  for (int j = far; j < TILE; j += BLOCK / TILE)
    if (row + j < rows && column + near < columns) y[j * y_step + near] = tile[near * (TILE + 1) + j];
}
"""


def matrix_transposed(rows: int, columns: int, d: DType, x: Place, y: Place) -> Call:
    """The launch for y (columns, rows) = the transpose of x (rows, columns), both row-major."""
    return _turned(Walk((columns, rows), ((1, columns), (rows, 1))), 0, 1, d, x, y)


def transposed(walk: Walk, d: DType) -> Call | None:
    """The launch that copies the walk's first array to its second, or None where no two axes are turned."""
    x, y = walk.strides
    if 1 not in x or 1 not in y or (row := x.index(1)) == (column := y.index(1)):
        return None
    if min(walk.shape[row], walk.shape[column]) < FEWEST:
        return None
    return _turned(walk, row, column, d, In(0), Out(0))


def _turned(walk: Walk, row: int, column: int, d: DType, x: Place, y: Place) -> Call:
    """The launch where the array at x steps by 1 along the axis ``row``, that at y along ``column``."""
    rows, columns = walk.shape[row], walk.shape[column]
    others = [i for i in range(len(walk.shape)) if i not in (row, column)]
    rest = Walk.over([walk.shape[i] for i in others], [[s[i] for i in others] for s in walk.strides])
    lines, (x_at, y_at) = rest.offsets("other")
    offsets = [*lines, f"x += {x_at};", f"y += {y_at};"]
    text = f"{PRELUDE}\ntypedef {storage(d)} T;\nconstexpr int TILE = {TILE}, BLOCK = {BLOCK};\n"
    text += TEXT.replace("OFFSETS", "\n  ".join(offsets))
    tiles = rest.size * -(-rows // TILE) * -(-columns // TILE)
    of_x, of_y = walk.strides
    sizes = (np.int64(n) for n in (rows, columns, of_x[column], of_y[row]))
    return Call(Source("transpose", text), (tiles, 1, 1), BLOCK, (x, y, *sizes))
