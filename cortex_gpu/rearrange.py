"""Kernels that move elements and compute nothing: a transposed matrix, an image with and without its edge.

They bring arrays into the form that a library wants, and back.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cache

import numpy as np

from cortex_gpu.kernels import BLOCK, Argument, Call, Source, blocks

WORDS = {1: "unsigned char", 2: "unsigned short", 4: "unsigned int", 8: "unsigned long long"}
"""By item size: the type as which elements are moved."""
TILE = 32
AXES = 3  # spatial axes of an image; fewer are filled up with axes of one element
WIDE = 1 << 31  # from so many elements on, places need 64 bits

TRANSPOSE = r"""
extern "C" __global__ void
transpose(const WORD* __restrict__ x, WORD* __restrict__ y, int rows, int columns) {
  if (!y) return;  // nobody wants it
  __shared__ WORD tile[32 * 33];  // a column more than needed, so that columns lie in different banks
  const int across = (columns + 31) / 32;
  const int left = (int)(blockIdx.x % across) * 32, top = (int)(blockIdx.x / across) * 32;
  const int i = threadIdx.x % 32, first = threadIdx.x / 32;
  for (int j = first; j < 32; j += 8)
    if (top + j < rows && left + i < columns) tile[j * 33 + i] = x[(long long)(top + j) * columns + left + i];
  __syncthreads();
  for (int j = first; j < 32; j += 8)
    if (left + j < columns && top + i < rows) y[(long long)(left + j) * rows + top + i] = tile[i * 33 + j];
}
"""

# Of the inner image a, b, c are the sizes and channels innermost; the outer one has the sizes A, B, C.
EDGE = r"""
extern "C" __global__ void NAME(const WORD* __restrict__ x, WORD* __restrict__ y, INDEX count, INDEX channels,
    INDEX a, INDEX b, INDEX c, INDEX A, INDEX B, INDEX C, INDEX before_a, INDEX before_b, INDEX before_c) {
  const INDEX step = (INDEX)gridDim.x * blockDim.x;
  for (INDEX at = blockIdx.x * (INDEX)blockDim.x + threadIdx.x; at < count; at += step) {
    INDEX rest = at / channels, channel = at - rest * channels;
BODY
  }
}
"""
BODIES = {
    "pad": """\
    INDEX k = rest % C - before_c;
    rest /= C;
    INDEX j = rest % B - before_b;
    rest /= B;
    INDEX i = rest % A - before_a, image = rest / A;  // unsigned: what lies before 0 is very large
    bool inside = i < a && j < b && k < c;
    y[at] = inside ? x[(((image * a + i) * b + j) * c + k) * channels + channel] : (WORD)0;""",
    "crop": """\
    INDEX k = rest % c + before_c;
    rest /= c;
    INDEX j = rest % b + before_b;
    rest /= b;
    INDEX i = rest % a + before_a, image = rest / a;
    y[at] = x[(((image * A + i) * B + j) * C + k) * channels + channel];""",
}


@cache
def _transpose(itemsize: int) -> Source:
    return Source("transpose", TRANSPOSE.replace("WORD", WORDS[itemsize]))


def transposed(rows: int, columns: int, itemsize: int, x: Argument, y: Argument) -> Call:
    """y (columns, rows) = the transpose of x (rows, columns)."""
    tiles = -(-rows // TILE) * -(-columns // TILE)
    return Call(_transpose(itemsize), (tiles, 1, 1), BLOCK, (x, y, np.int32(rows), np.int32(columns)))


@cache
def _edge(name: str, itemsize: int, index: str) -> Source:
    text = EDGE.replace("BODY", BODIES[name]).replace("NAME", name)
    return Source(name, text.replace("WORD", WORDS[itemsize]).replace("INDEX", index))


def padded(
    shape: Sequence[int], padding: Sequence[tuple[int, int]], itemsize: int, x: Argument, y: Argument
) -> Call:
    """y = x (N, *S, C), ``shape``, with zeros before and after along the spatial axes (at most 3)."""
    return _edged("pad", shape, padding, itemsize, x, y)


def cropped(
    shape: Sequence[int], padding: Sequence[tuple[int, int]], itemsize: int, x: Argument, y: Argument
) -> Call:
    """y (N, *S, C), ``shape`` = the inside of x, which has an edge of ``padding`` along the spatial axes."""
    return _edged("crop", shape, padding, itemsize, x, y)


def _edged(
    name: str,
    shape: Sequence[int],
    padding: Sequence[tuple[int, int]],
    itemsize: int,
    x: Argument,
    y: Argument,
) -> Call:
    n, *spatial, channels = shape
    missing = AXES - len(spatial)
    inner = [1] * missing + spatial
    edges = [(0, 0)] * missing + list(padding)
    outer = [before + size + after for size, (before, after) in zip(inner, edges)]
    whole = n * math.prod(outer) * channels
    count = whole if name == "pad" else n * math.prod(inner) * channels
    number: Callable[[int], np.generic]
    index, number = ("unsigned long long", np.uint64) if whole >= WIDE else ("unsigned int", np.uint32)
    values = (count, channels, *inner, *outer, *(before for before, _ in edges))
    return Call(_edge(name, itemsize, index), blocks(count), BLOCK, (x, y, *[number(v) for v in values]))
