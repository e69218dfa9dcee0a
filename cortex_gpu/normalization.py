"""Batch norm and layer norm.

A variance is the mean square of what is left when the mean is taken away, so that it never cancels.  Batch
norm finds both in one pass: a few rows at a time have their own mean and squares, which are then merged
(Chan, Golub and LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances", 1979).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cortex_compute.primitives.normalization import (
    BatchNorm,
    BatchNormGrad,
    BatchNormRelu,
    BatchNormReluGrad,
    LayerNorm,
    LayerNormGrad,
    vector_type,
)
from cortex_compute.protocol import Offer, Operand, Refusal
from cortex_compute.types import TensorType
from cortex_gpu.backend import Gpu, offers
from cortex_gpu.columns import Columns
from cortex_gpu.kernels import Argument, Call, In, Out, Work, kernel, refusal, seconds
from cortex_gpu.memory import offsets
from cortex_gpu.prelude import real
from cortex_gpu.rows import Rows

MOMENTS = r"""
struct Moments { Real count, mean, squares; };  // squares: of the distances from the mean
__device__ inline Moments join(Moments a, Moments b) {
  const Real count = a.count + b.count;
  if (!(count > 0)) return a;
  const Real distance = b.mean - a.mean, weight = b.count / count;
  return {count, a.mean + distance * weight,
          a.squares + b.squares + distance * distance * a.count * weight};
}
"""

PART_MOMENTS = r"""
extern "C" __global__ void batch_norm_moments(const Storage* __restrict__ x, Real* __restrict__ means,
                                              Real* __restrict__ squares, i64 rows, i64 step, int channels) {
  __shared__ Moments shared[WIDTH * HEIGHT];
  const Place p = place(rows, step, channels);
  Moments all = {0, 0, 0};
  for (i64 row = p.first; row < p.last; row += CHUNK * HEIGHT) {
    Moments some = {0, 0, 0};
    Real v[CHUNK];
    for (int k = 0; k < CHUNK; ++k) {
      const bool here = row + k * HEIGHT < p.last;
      v[k] = here ? load(x[(row + k * HEIGHT) * channels + p.channel]) : 0;
      some.count += here;
      some.mean += v[k];
    }
    some.mean /= some.count;
    for (int k = 0; k < CHUNK; ++k) {
      const Real distance = v[k] - some.mean;
      if (row + k * HEIGHT < p.last) some.squares += distance * distance;
    }
    all = join(all, some);
  }
  all = together(all, shared);
  if (p.line || p.channel >= channels) return;
  means[(i64)blockIdx.y * channels + p.channel] = all.mean;
  squares[(i64)blockIdx.y * channels + p.channel] = all.squares;
}
"""

FINISH_MOMENTS = r"""
extern "C" __global__ void batch_norm_finish(const Real* __restrict__ means, const Real* __restrict__ squares,
                                             Real* __restrict__ mean, Real* __restrict__ variance,
                                             Real* __restrict__ wanted_mean,
                                             Real* __restrict__ wanted_variance,
                                             i64 rows, i64 step, int channels) {
  __shared__ Moments shared[WIDTH * HEIGHT];
  const i64 parts = (rows + step - 1) / step;
  const Place p = place(parts, parts, channels);
  Moments all = {0, 0, 0};
  for (i64 part = p.first; part < p.last; part += CHUNK * HEIGHT) {
    Moments v[CHUNK];
    for (int k = 0; k < CHUNK; ++k) {
      const i64 at = part + k * HEIGHT, left = rows - at * step;
      const bool here = at < p.last;
      v[k] = {here ? (Real)(left < step ? left : step) : 0,
              here ? means[at * channels + p.channel] : 0,
              here ? squares[at * channels + p.channel] : 0};
    }
    for (int k = 0; k < CHUNK; ++k) all = join(all, v[k]);
  }
  all = together(all, shared);
  if (p.line || p.channel >= channels) return;
  if (!(all.count > 0)) all.mean = all.count / all.count;  // over no rows it is NaN, as the variance is
  mean[p.channel] = all.mean;
  variance[p.channel] = all.squares / all.count;
  if (wanted_mean) wanted_mean[p.channel] = mean[p.channel];
  if (wanted_variance) wanted_variance[p.channel] = variance[p.channel];
}
"""

# Here, and wherever a result may lie over an operand, a thread writes only what it alone has read.
APPLY = r"""
extern "C" __global__ void batch_norm_apply(const Storage* x, const Real* __restrict__ scale,
                                            const Real* __restrict__ shift, const Real* __restrict__ mean,
                                            const Real* __restrict__ variance, Storage* y, Real epsilon,
                                            i64 rows, i64 step, int channels) {
  const Place p = place(rows, step, channels);
  if (!y || p.channel >= channels) return;
  const Real middle = mean[p.channel], from = shift[p.channel];
  const Real factor = scale[p.channel] * rsqrt(variance[p.channel] + epsilon);
  for (i64 row = p.first; row < p.last; row += CHUNK * HEIGHT) {
    Real v[CHUNK];
    for (int k = 0; k < CHUNK; ++k)
      if (row + k * HEIGHT < p.last) v[k] = load(x[(row + k * HEIGHT) * channels + p.channel]);
    for (int k = 0; k < CHUNK; ++k) {
      const Real z = (v[k] - middle) * factor + from;
      if (row + k * HEIGHT < p.last)
        y[(row + k * HEIGHT) * channels + p.channel] = store<Storage>(RELU && z < 0 ? 0 : z);
    }
  }
}
"""

SUMS = r"""
struct Sums { Real g, product; };
__device__ inline Sums join(Sums a, Sums b) { return {a.g + b.g, a.product + b.product}; }
"""

# The sums of g and of g h over rows. $AT: which mean and variance an element has.
PART_SUMS = r"""
extern "C" __global__ void norm_grad_sums(const Storage* __restrict__ x, const Real* __restrict__ mean,
                                          const Real* __restrict__ variance, const Storage* __restrict__ y,
                                          const Storage* __restrict__ g, Real* __restrict__ sums,
                                          Real* __restrict__ products, Real epsilon,
                                          i64 rows, i64 step, int channels) {
  __shared__ Sums shared[WIDTH * HEIGHT];
  const Place p = place(rows, step, channels);
  Sums all = {0, 0};
  for (i64 row = p.first; row < p.last; row += CHUNK * HEIGHT) {
    Sums some = {0, 0};
    for (int k = 0; k < CHUNK; ++k) {
      const bool here = row + k * HEIGHT < p.last;
      const i64 r = here ? row + k * HEIGHT : row, e = r * channels + p.channel;
      const Real h = (load(x[e]) - mean[$AT]) * rsqrt(variance[$AT] + epsilon);
      const Real passed = GATED && !(load(y[e]) > 0) ? 0 : load(g[e]);
      some.g += here ? passed : 0;
      some.product += here ? passed * h : 0;
    }
    all = join(all, some);
  }
  all = together(all, shared);
  if (p.line || p.channel >= channels) return;
  sums[(i64)blockIdx.y * channels + p.channel] = all.g;
  products[(i64)blockIdx.y * channels + p.channel] = all.product;
}
"""

FINISH_SUMS = r"""
extern "C" __global__ void norm_grad_finish(const Real* __restrict__ sums, const Real* __restrict__ products,
                                            Real* __restrict__ dscale, Real* __restrict__ dshift,
                                            Real* __restrict__ wanted_dscale,
                                            Real* __restrict__ wanted_dshift,
                                            i64 rows, i64 step, int channels) {
  __shared__ Sums shared[WIDTH * HEIGHT];
  const i64 parts = (rows + step - 1) / step;
  const Place p = place(parts, parts, channels);
  Sums all = {0, 0};
  for (i64 part = p.first; part < p.last; part += CHUNK * HEIGHT) {
    Sums some = {0, 0};
    for (int k = 0; k < CHUNK; ++k) {
      const bool here = part + k * HEIGHT < p.last;
      const i64 e = (here ? part + k * HEIGHT : part) * channels + p.channel;
      const Sums one = {sums[e], products[e]};
      if (here) some = join(some, one);
    }
    all = join(all, some);
  }
  all = together(all, shared);
  if (p.line || p.channel >= channels) return;
  dscale[p.channel] = all.product;
  dshift[p.channel] = all.g;
  if (wanted_dscale) wanted_dscale[p.channel] = all.product;
  if (wanted_dshift) wanted_dshift[p.channel] = all.g;
}
"""

APPLY_GRAD = r"""
extern "C" __global__ void batch_norm_grad_apply(const Storage* x, const Real* __restrict__ scale,
                                                 const Real* __restrict__ mean,
                                                 const Real* __restrict__ variance, const Storage* y,
                                                 const Storage* g, const Real* __restrict__ dscale,
                                                 const Real* __restrict__ dshift, Storage* dx, Real epsilon,
                                                 i64 rows, i64 step, int channels) {
  const Place p = place(rows, step, channels);
  if (!dx || p.channel >= channels) return;
  const Real middle = mean[p.channel], r = rsqrt(variance[p.channel] + epsilon);
  const Real factor = scale[p.channel] * r, count = (Real)rows;
  const Real mean_g = dshift[p.channel] / count, slope = dscale[p.channel] / count * r;
  for (i64 row = p.first; row < p.last; row += CHUNK * HEIGHT) {
    Real v[CHUNK], passed[CHUNK];
    for (int k = 0; k < CHUNK; ++k) {
      const i64 e = (row + k * HEIGHT) * channels + p.channel;
      if (row + k * HEIGHT < p.last) {
        v[k] = load(x[e]);
        passed[k] = GATED && !(load(y[e]) > 0) ? 0 : load(g[e]);
      }
    }
    for (int k = 0; k < CHUNK; ++k)
      if (row + k * HEIGHT < p.last)
        dx[(row + k * HEIGHT) * channels + p.channel] =
            store<Storage>(factor * (passed[k] - mean_g - (v[k] - middle) * slope));
  }
}
"""

LAYER_NORM = r"""
extern "C" __global__ void layer_norm(const Storage* x, const Real* __restrict__ scale,
                                      const Real* __restrict__ shift, Storage* y, Real* __restrict__ mean,
                                      Real* __restrict__ variance, Real epsilon, i64 rows, int n) {
  __shared__ Real shared[TEAM / 32];
  const int lane = threadIdx.x % TEAM;
  for (i64 row = first_row(); row < rows; row = next_row(row)) {
    const Storage* from = x + row * n;
    Real sum = 0, squares = 0;
    for (int i = lane; i < n; i += TEAM) sum += load(from[i]);
    const Real middle = together<Add>(sum, shared) / n;
    for (int i = lane; i < n; i += TEAM) {
      const Real distance = load(from[i]) - middle;
      squares += distance * distance;
    }
    const Real spread = together<Add>(squares, shared) / n, r = rsqrt(spread + epsilon);
    if (mean && lane == 0) mean[row] = middle;
    if (variance && lane == 0) variance[row] = spread;
    if (y)
      for (int i = lane; i < n; i += TEAM)
        y[row * n + i] = store<Storage>((load(from[i]) - middle) * r * scale[i] + shift[i]);
  }
}
"""

LAYER_NORM_GRAD = r"""
extern "C" __global__ void layer_norm_grad(const Storage* x, const Real* __restrict__ scale,
                                           const Real* __restrict__ mean, const Real* __restrict__ variance,
                                           const Storage* g, Storage* dx, Real epsilon, i64 rows, int n) {
  __shared__ Real shared[TEAM / 32];
  const int lane = threadIdx.x % TEAM;
  if (!dx) return;
  for (i64 row = first_row(); row < rows; row = next_row(row)) {
    const i64 start = row * n;
    const Real middle = mean[row], r = rsqrt(variance[row] + epsilon);
    Real sum = 0, product = 0;
    for (int i = lane; i < n; i += TEAM) {
      const Real k = load(g[start + i]) * scale[i];
      sum += k;
      product += k * ((load(x[start + i]) - middle) * r);
    }
    const Real mean_k = together<Add>(sum, shared) / n, mean_kh = together<Add>(product, shared) / n;
    for (int i = lane; i < n; i += TEAM) {
      const Real h = (load(x[start + i]) - middle) * r;
      dx[start + i] = store<Storage>(r * (load(g[start + i]) * scale[i] - mean_k - h * mean_kh));
    }
  }
}
"""


@offers(BatchNorm, BatchNormRelu)
def batch_norm(p: BatchNorm, operands: Sequence[Operand], gpu: Gpu) -> Offer | Refusal:
    if (no := refusal(p, operands)) is not None:
        return no
    x = operands[0].type
    columns = Columns(x, gpu.processors)
    (means, squares, mean, variance), workspace = _scratch(columns, x)

    def steps() -> list[Call]:
        d, relu = x.dtype, isinstance(p, BatchNormRelu)
        moments = columns.source("batch_norm_moments", d, MOMENTS + PART_MOMENTS)
        finish = columns.finish_source("batch_norm_finish", d, MOMENTS + FINISH_MOMENTS)
        apply = columns.source("batch_norm_apply", d, APPLY, RELU=int(relu))
        epsilon = real(d, p.epsilon)
        return [
            columns.call(moments, In(0), means, squares),
            columns.finish(finish, means, squares, mean, variance, Out(1), Out(2)),
            columns.call(apply, In(0), In(1), In(2), mean, variance, Out(0), epsilon),
        ]

    return kernel(steps, workspace=workspace, reuse=((0, 0),), cost=seconds(3 * x.nbytes, launches=3))


@offers(BatchNormGrad)
def batch_norm_gradient(p: BatchNormGrad, operands: Sequence[Operand], gpu: Gpu) -> Offer | Refusal:
    return _batch_norm_gradient(p, operands, gpu, g=4)


@offers(BatchNormReluGrad)
def batch_norm_relu_gradient(p: BatchNormReluGrad, operands: Sequence[Operand], gpu: Gpu) -> Offer | Refusal:
    return _batch_norm_gradient(p, operands, gpu, g=6, y=4)


def _batch_norm_gradient(
    p: BatchNormGrad, operands: Sequence[Operand], gpu: Gpu, g: int, y: int | None = None
) -> Offer | Refusal:
    """With ``y``, the number of an operand, g counts where that is above 0."""
    if (no := refusal(p, operands)) is not None:
        return no
    x = operands[0].type
    columns = Columns(x, gpu.processors)
    pieces, workspace = _scratch(columns, x)
    big = [0, g] if y is None else [0, y, g]

    def steps() -> list[Call]:
        d, gated, gate = x.dtype, y is not None, In(g if y is None else y)
        epsilon = real(d, p.epsilon)
        apply = columns.source("batch_norm_grad_apply", d, APPLY_GRAD, GATED=int(gated))
        given = In(0), In(1), In(2), In(3), gate, In(g), pieces[2], pieces[3]
        return [
            *_sums(columns, x, "p.channel", gated, (In(0), In(2), In(3), gate, In(g)), pieces, epsilon),
            columns.call(apply, *given, Out(0), epsilon),
        ]

    return kernel(
        steps,
        workspace=workspace,
        reads=frozenset((*big, 1, 2, 3)),
        reuse=tuple((k, 0) for k in big),
        cost=seconds((2 * len(big) + 1) * x.nbytes, launches=3),
    )


@offers(LayerNorm)
def layer_norm(p: LayerNorm, operands: Sequence[Operand], gpu: Gpu) -> Offer | Refusal:
    if (no := refusal(p, operands)) is not None:
        return no
    x = operands[0].type

    def steps() -> list[Call]:
        rows = Rows(x)
        source = rows.source("layer_norm", x.dtype, LAYER_NORM)
        outputs = Out(0), Out(1), Out(2)
        return [rows.call(source, In(0), In(1), In(2), *outputs, real(x.dtype, p.epsilon))]

    return kernel(steps, reuse=((0, 0),), cost=seconds(2 * x.nbytes))


@offers(LayerNormGrad)
def layer_norm_gradient(p: LayerNormGrad, operands: Sequence[Operand], gpu: Gpu) -> Offer | Refusal:
    """The sums come first: dx may lie over what they read."""
    if (no := refusal(p, operands)) is not None:
        return no
    x = operands[0].type
    columns = Columns(x, gpu.processors)
    pieces, workspace = _scratch(columns, x)

    def steps() -> list[Call]:
        d, rows, epsilon = x.dtype, Rows(x), real(x.dtype, p.epsilon)
        source = rows.source("layer_norm_grad", d, LAYER_NORM_GRAD)
        given = In(0), In(1), In(2), In(3), In(4)
        return [
            *_sums(columns, x, "r", False, (In(0), In(2), In(3), In(4), In(4)), pieces, epsilon),
            rows.call(source, *given, Out(0), epsilon),
        ]

    cost = seconds(5 * x.nbytes, launches=3)
    return kernel(steps, workspace=workspace, reuse=((0, 0), (4, 0)), cost=cost)


def _scratch(columns: Columns, x: TensorType) -> tuple[list[Work], int]:
    """Where two numbers for each part and channel, and two for each channel lie; the bytes of all."""
    vector = columns.channels * vector_type(x.dtype).itemsize
    starts, total = offsets([vector * columns.parts] * 2 + [vector] * 2)
    return [Work(start) for start in starts], total


def _sums(
    columns: Columns,
    x: TensorType,
    at: str,
    gated: bool,
    given: Sequence[Argument],
    pieces: Sequence[Argument],
    epsilon: np.generic,
) -> list[Call]:
    """dscale and dshift, into the last two of the ``pieces`` and to whoever wants them."""
    sums, products, dscale, dshift = pieces
    body = SUMS + PART_SUMS.replace("$AT", at)
    parts = columns.source("norm_grad_sums", x.dtype, body, GATED=int(gated))
    finish = columns.finish_source("norm_grad_finish", x.dtype, SUMS + FINISH_SUMS)
    return [
        columns.call(parts, *given, sums, products, epsilon),
        columns.finish(finish, sums, products, dscale, dshift, Out(1), Out(2)),
    ]
