"""The sums over rows that gradients of a normalisation need: of g, and of g h, where h is x normalised."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cortex_compute.types import TensorType
from cortex_gpu.columns import FEW, Columns
from cortex_gpu.kernels import Argument, Call

SUMS = r"""
struct Sums { Real g[PACK], product[PACK]; };
__device__ inline Sums join(Sums a, Sums b) {
  for (int j = 0; j < PACK; ++j) {
    a.g[j] += b.g[j];
    a.product[j] += b.product[j];
  }
  return a;
}

// The results of the channels from ``channel`` on.
__device__ inline void finished(Sums all, int channel, Real* dscale, Real* dshift, Real* wanted_dscale,
                                Real* wanted_dshift) {
  for (int j = 0; j < PACK; ++j) {
    dscale[channel + j] = all.product[j];
    dshift[channel + j] = all.g[j];
    if (wanted_dscale) wanted_dscale[channel + j] = all.product[j];
    if (wanted_dshift) wanted_dshift[channel + j] = all.g[j];
  }
}
"""

# Of one part alone, products and sums are where dscale and dshift go.
# BY_ROW: mean and variance are those of a row, else of a channel.
PART_SUMS = r"""
extern "C" __global__ void __launch_bounds__(WIDTH * HEIGHT, RESIDENT)
norm_grad_sums(const Storage* __restrict__ x, const Real* __restrict__ mean,
               const Real* __restrict__ variance, const Storage* __restrict__ y,
               const Storage* __restrict__ g, Real epsilon, Real* __restrict__ products,
               Real* __restrict__ sums, Real* __restrict__ wanted_dscale, Real* __restrict__ wanted_dshift,
               i64 rows, i64 step, int channels) {
  __shared__ Sums shared[WIDTH * HEIGHT];
  const Place p = place(rows, step, channels);
  const bool packed = whole(x) && whole(y) && whole(g);
  Real middle[PACK], r[PACK];
  for (int j = 0; j < PACK; ++j)
    if (!BY_ROW && p.channel < channels) {
      middle[j] = mean[p.channel + j];
      r[j] = rsqrt(variance[p.channel + j] + epsilon);
    }
  Sums all = {};
  for (i64 row = p.first; row < p.last; row += CHUNK * HEIGHT) {
    Pack vx[CHUNK], vg[CHUNK], vy[CHUNK];
    for (int k = 0; k < CHUNK; ++k)
      if (row + k * HEIGHT < p.last) {
        const i64 e = (row + k * HEIGHT) * channels + p.channel;
        vx[k] = fetch(x + e, packed);
        vg[k] = fetch(g + e, packed);
        if (GATED) vy[k] = fetch(y + e, packed);
      }
    Sums some = {};
    for (int k = 0; k < CHUNK; ++k)
      if (row + k * HEIGHT < p.last)
        for (int j = 0; j < PACK; ++j) {
          if (BY_ROW) {
            middle[j] = mean[row + k * HEIGHT];
            r[j] = rsqrt(variance[row + k * HEIGHT] + epsilon);
          }
          const Real h = (load(vx[k].at[j]) - middle[j]) * r[j];
          const Real passed = GATED && !(load(vy[k].at[j]) > 0) ? 0 : load(vg[k].at[j]);
          some.g[j] += passed;
          some.product[j] += passed * h;
        }
    all = join(all, some);
  }
  all = together(all, shared);
  if (p.line || p.channel >= channels) return;
  if (gridDim.y == 1) return finished(all, p.channel, products, sums, wanted_dscale, wanted_dshift);
  for (int j = 0; j < PACK; ++j) {
    products[(i64)blockIdx.y * channels + p.channel + j] = all.product[j];
    sums[(i64)blockIdx.y * channels + p.channel + j] = all.g[j];
  }
}
"""

FINISH_SUMS = r"""
extern "C" __global__ void __launch_bounds__(WIDTH * HEIGHT, RESIDENT)
norm_grad_finish(const Real* __restrict__ products, const Real* __restrict__ sums, Real* __restrict__ dscale,
                 Real* __restrict__ dshift, Real* __restrict__ wanted_dscale,
                 Real* __restrict__ wanted_dshift, i64 rows, i64 step, int channels) {
  __shared__ Sums shared[WIDTH * HEIGHT];
  const i64 parts = (rows + step - 1) / step;
  const Place p = place(parts, parts, channels);
  Sums all = {};
  for (i64 part = p.first; part < p.last; part += CHUNK * HEIGHT) {
    Sums some = {};
    for (int k = 0; k < CHUNK; ++k) {
      const bool here = part + k * HEIGHT < p.last;
      const i64 e = (here ? part + k * HEIGHT : part) * channels + p.channel;
      const Sums one = {{sums[e]}, {products[e]}};
      if (here) some = join(some, one);
    }
    all = join(all, some);
  }
  all = together(all, shared);
  if (p.line || p.channel >= channels) return;
  finished(all, p.channel, dscale, dshift, wanted_dscale, wanted_dshift);
}
"""


def norm_sums(
    columns: Columns,
    x: TensorType,
    given: Sequence[Argument],
    pieces: Sequence[Argument],
    wanted: Sequence[Argument],
    epsilon: np.generic,
    gated: bool = False,
    by_row: bool = False,
) -> list[Call]:
    """dscale and dshift, into the last two of the ``pieces`` and to where they are ``wanted``."""
    flags = {"GATED": int(gated), "BY_ROW": int(by_row), "CHUNK": FEW}
    parts = columns.source("norm_grad_sums", x.dtype, SUMS + PART_SUMS, **flags)
    finish = columns.finish_source("norm_grad_finish", x.dtype, SUMS + FINISH_SUMS)
    return columns.sums(parts, finish, (*given, epsilon), pieces[:2], (*pieces[2:], *wanted))
