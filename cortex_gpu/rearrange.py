"""Kernels that bring an image into the form that a library wants, and back: an edge is added, or taken away.

They move words of 16 bytes where the channels of a pixel, and the memory, begin at multiples of that.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cache

import numpy as np

from cortex_compute.frozen import frozen
from cortex_gpu.kernels import BLOCK, Call, Memory, Place, Source, blocks

WORDS = {
    2: "typedef unsigned short Word;",
    4: "typedef unsigned int Word;",
    8: "typedef unsigned long long Word;",
    16: "struct alignas(16) Word { unsigned int a, b, c, d; };",
}
"""By size: the type as which elements are moved."""
LARGEST = max(WORDS)
AXES = 3  # spatial axes of an image; fewer are filled up with axes of one element
WIDE = 1 << 31  # from so many elements on, places need 64 bits

# Of the inner image a, b, c are the sizes and channels innermost; the outer one has the sizes A, B, C.
EDGE = r"""
extern "C" __global__ void NAME(const Word* __restrict__ x, Word* __restrict__ y, INDEX count, INDEX channels,
    INDEX a, INDEX b, INDEX c, INDEX A, INDEX B, INDEX C, INDEX before_a, INDEX before_b, INDEX before_c) {
  const INDEX step = (INDEX)gridDim.x * blockDim.x;
  #pragma unroll 1  // else each thread would divide, to know how often it goes round
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
    y[at] = inside ? x[(((image * a + i) * b + j) * c + k) * channels + channel] : Word{};""",
    "crop": """\
    INDEX k = rest % c + before_c;
    rest /= c;
    INDEX j = rest % b + before_b;
    rest /= b;
    INDEX i = rest % a + before_a, image = rest / a;
    y[at] = x[(((image * A + i) * B + j) * C + k) * channels + channel];""",
}


@cache
def _edge(name: str, word: int, index: str) -> Source:
    text = EDGE.replace("BODY", BODIES[name]).replace("NAME", name).replace("INDEX", index)
    return Source(name, WORDS[word] + text)


@frozen
class Edge:
    """The step that adds or takes away an edge: ``wide`` moves the largest words, where memory allows it."""

    plain: Call
    wide: Call | None

    @property
    def sources(self) -> Sequence[Source]:
        return [call.source for call in (self.plain, self.wide) if call is not None]

    def bind(self, memory: Memory) -> Callable[[], None]:
        x, y = map(memory.value, self.plain.arguments[:2])
        wide = self.wide if (x | y) % LARGEST == 0 else None
        return (wide or self.plain).bind(memory)


def padded(
    shape: Sequence[int], padding: Sequence[tuple[int, int]], itemsize: int, x: Place, y: Place
) -> Edge:
    """y = x (N, *S, C), ``shape``, with zeros before and after along the spatial axes (at most 3)."""
    return _edged("pad", shape, padding, itemsize, x, y)


def cropped(
    shape: Sequence[int], padding: Sequence[tuple[int, int]], itemsize: int, x: Place, y: Place
) -> Edge:
    """y (N, *S, C), ``shape`` = the inside of x, which has an edge of ``padding`` along the spatial axes."""
    return _edged("crop", shape, padding, itemsize, x, y)


def _edged(
    name: str, shape: Sequence[int], padding: Sequence[tuple[int, int]], itemsize: int, x: Place, y: Place
) -> Edge:
    pixel = shape[-1] * itemsize
    wide = _moving(name, shape, padding, LARGEST, pixel // LARGEST, x, y) if pixel % LARGEST == 0 else None
    return Edge(_moving(name, shape, padding, itemsize, shape[-1], x, y), wide)


def _moving(
    name: str,
    shape: Sequence[int],
    padding: Sequence[tuple[int, int]],
    word: int,
    words: int,
    x: Place,
    y: Place,
) -> Call:
    """The launch that moves pixels of so many words."""
    n, *spatial, _ = shape
    missing = AXES - len(spatial)
    inner = [1] * missing + spatial
    edges = [(0, 0)] * missing + list(padding)
    outer = [before + size + after for size, (before, after) in zip(inner, edges)]
    whole = n * math.prod(outer) * words
    count = whole if name == "pad" else n * math.prod(inner) * words
    number: Callable[[int], np.generic]
    index, number = ("unsigned long long", np.uint64) if whole >= WIDE else ("unsigned int", np.uint32)
    values = (count, words, *inner, *outer, *(before for before, _ in edges))
    return Call(_edge(name, word, index), blocks(count), BLOCK, (x, y, *[number(v) for v in values]))
