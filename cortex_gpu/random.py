"""Random numbers: Philox4x64-10 with the bits of NumPy's, drawn from a key that lies on the device.

Each thread makes one block of four words.  The run's number is read by the kernel, so that a captured graph
draws anew each time.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cortex_compute.primitives.random import Random, bernoulli_threshold
from cortex_compute.protocol import Offer, Operand, Refusal
from cortex_compute.types import bool_
from cortex_gpu.backend import Gpu, offers
from cortex_gpu.kernels import BLOCK, Call, In, Out, Source, blocks, kernel, refusal, seconds
from cortex_gpu.prelude import header

PHILOX = r"""
// The four words for the counter [block, 0, run, 0] and the key (seed, stream): Salmon et al. 2011.
__device__ inline void philox(u64 block, u64 run, u64 seed, u64 stream, u64* word) {
  u64 c0 = block, c1 = 0, c2 = run, c3 = 0, k0 = seed, k1 = stream;
  for (int round = 0; round < 10; ++round) {
    const u64 m0 = 0xD2E7470EE14C6C93ull, m1 = 0xCA5A826395121157ull;
    const u64 a = __umul64hi(m0, c0), b = __umul64hi(m1, c2), low0 = m0 * c0, low1 = m1 * c2;
    c0 = b ^ c1 ^ k0; c1 = low1; c2 = a ^ c3 ^ k1; c3 = low0;
    k0 += 0x9E3779B97F4A7C15ull; k1 += 0xBB67AE8584CAA73Bull;
  }
  word[0] = c0; word[1] = c1; word[2] = c2; word[3] = c3;
}

__device__ inline u32 half_of(const u64* word, int i) { return (u32)(word[i / 2] >> 32 * (i % 2)); }
template <class T> __device__ inline T unit(u32 half) { return (T)(half >> 8) * (T)5.9604644775390625e-8; }
"""

ELEMENTS = {
    "uniform": r"""
__device__ inline void elements(const u64* word, int, Real* v) {
  for (int i = 0; i < EACH; ++i) v[i] = unit<Real>(half_of(word, i));
}
""",
    "normal": r"""
__device__ inline void elements(const u64* word, int, Real* v) {  // Box and Muller 1958
  for (int i = 0; i < EACH; i += 2) {
    const Real radius = sqrt((Real)-2 * log((Real)1 - unit<Real>(half_of(word, i))));
    const Real halves = (Real)2 * unit<Real>(half_of(word, i + 1));  // of a turn
    v[i] = radius * cospi(halves);
    v[i + 1] = radius * sinpi(halves);
  }
}
""",
    "bernoulli": r"""
__device__ inline void elements(const u64* word, int below, Real* v) {
  for (int i = 0; i < EACH; ++i) v[i] = (u32)(word[i / 4] >> 16 * (i % 4) & 0xFFFF) < (u32)below;
}
""",
}
"""What a block of four words becomes."""

DRAW = r"""
struct alignas(16) Elements { Real v[EACH]; };

extern "C" __global__ void random_NAME(const u64* __restrict__ key, Real* __restrict__ y, u64 stream,
                                       int below, i64 count) {
  const u64 seed = key[0], run = key[1];
  const bool whole = (u64)y % 16 == 0;  // may be written 16 bytes at a time
  const i64 threads = (i64)gridDim.x * blockDim.x;
  #pragma unroll 1
  for (i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x; i * EACH < count; i += threads) {
    u64 word[4];
    Elements made;
    philox((u64)i + 1, run, seed, stream, word);  // the first block is number 1
    elements(word, below, made.v);
    if (whole && (i + 1) * EACH <= count) ((Elements*)y)[i] = made;
    else for (int j = 0; j < EACH && i * EACH + j < count; ++j) y[i * EACH + j] = made.v[j];
  }
}
"""


@offers(Random)
def random(p: Random, operands: Sequence[Operand], gpu: Gpu) -> Offer | Refusal:
    if (no := refusal(p, operands)) is not None:
        return no
    (result,) = p.infer(operands[0].type)
    each = 16 if p.kind == "bernoulli" else 8  # elements that four words give
    below = np.int32(bernoulli_threshold(p.p))

    def steps() -> list[Call]:
        name = f"random_{p.kind}"
        text = header(p.dtype, EACH=each) + PHILOX + ELEMENTS[p.kind] + DRAW.replace("random_NAME", name)
        arguments = (In(0), Out(0), np.uint64(p.stream), below, np.int64(result.size))
        return [Call(Source(name, text), blocks(-(-result.size // each)), BLOCK, arguments)]

    work = 100.0 if p.dtype is bool_ else 200.0  # operations for each block of words, and for its elements
    return kernel(steps, cost=seconds(result.nbytes, work * result.size / each))
