"""Batch norm and layer norm.

A variance is the mean square of what is left when the mean is taken away, so that it never cancels.  Batch
norm finds both in one pass: a few rows at a time have their own mean and squares, which are then merged
(Chan, Golub and LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances", 1979).
"""

from __future__ import annotations

from collections.abc import Sequence

from cortex_compute.primitives.normalization import (
    BatchNorm,
    BatchNormGrad,
    BatchNormRelu,
    BatchNormReluGrad,
    LayerNorm,
    LayerNormGrad,
)
from cortex_compute.protocol import Offer, Operand, Refusal
from cortex_gpu.backend import Gpu, offers
from cortex_gpu.columns import FEW, Columns
from cortex_gpu.kernels import Call, GpuKernel, In, Inner, Out, Step, kernel, refusal, seconds
from cortex_gpu.norm_sums import norm_sums
from cortex_gpu.prelude import real
from cortex_gpu.rows import Rows

MOMENTS = r"""
struct Moments { Real count, mean[PACK], squares[PACK]; };  // squares: of the distances from the mean
__device__ inline Moments join(Moments a, Moments b) {
  if (!(a.count > 0)) return b;
  if (!(b.count > 0)) return a;
  const Real count = a.count + b.count, weight = b.count / count;
  for (int j = 0; j < PACK; ++j) {
    const Real distance = b.mean[j] - a.mean[j];
    a.mean[j] += isfinite(distance) ? distance * weight : b.mean[j];  // an infinite mean stays so
    a.squares[j] += b.squares[j] + distance * (distance * (a.count * weight));
  }
  a.count = count;
  return a;
}

// The results of the channels from ``channel`` on; over no rows they are NaN.
__device__ inline void finished(Moments all, int channel, Real* mean, Real* variance, Real* wanted_mean,
                                Real* wanted_variance) {
  for (int j = 0; j < PACK; ++j) {
    const Real middle = all.count > 0 ? all.mean[j] : all.count / all.count;
    const Real spread = all.squares[j] / all.count;
    mean[channel + j] = middle;
    variance[channel + j] = spread;
    if (wanted_mean) wanted_mean[channel + j] = middle;
    if (wanted_variance) wanted_variance[channel + j] = spread;
  }
}
"""

# Of one part alone, means and squares are where the mean and the variance go.
PART_MOMENTS = r"""
extern "C" __global__ void __launch_bounds__(WIDTH * HEIGHT, RESIDENT)
batch_norm_moments(const Storage* __restrict__ x, Real* __restrict__ means, Real* __restrict__ squares,
                   Real* __restrict__ wanted_mean, Real* __restrict__ wanted_variance, i64 rows, i64 step,
                   int channels) {
  __shared__ Moments shared[WIDTH * HEIGHT];
  const Place p = place(rows, step, channels);
  const bool packed = whole(x);
  Moments all = {};
  for (i64 row = p.first; row < p.last; row += CHUNK * HEIGHT) {
    Pack v[CHUNK];
    int count = 0;
    for (int k = 0; k < CHUNK; ++k)
      if (row + k * HEIGHT < p.last) {
        v[k] = fetch(x + (row + k * HEIGHT) * channels + p.channel, packed);
        ++count;
      }
    Moments some = {};
    some.count = count;
    for (int j = 0; j < PACK; ++j) {
      for (int k = 0; k < CHUNK; ++k)
        if (k < count) some.mean[j] += load(v[k].at[j]);
      some.mean[j] /= some.count;
      for (int k = 0; k < CHUNK; ++k) {
        const Real distance = k < count ? load(v[k].at[j]) - some.mean[j] : 0;
        some.squares[j] += distance * distance;
      }
    }
    all = join(all, some);
  }
  all = together(all, shared);
  if (p.line || p.channel >= channels) return;
  if (gridDim.y == 1) return finished(all, p.channel, means, squares, wanted_mean, wanted_variance);
  for (int j = 0; j < PACK; ++j) {
    means[(i64)blockIdx.y * channels + p.channel + j] = all.mean[j];
    squares[(i64)blockIdx.y * channels + p.channel + j] = all.squares[j];
  }
}
"""

FINISH_MOMENTS = r"""
extern "C" __global__ void __launch_bounds__(WIDTH * HEIGHT, RESIDENT)
batch_norm_finish(const Real* __restrict__ means, const Real* __restrict__ squares, Real* __restrict__ mean,
                  Real* __restrict__ variance, Real* __restrict__ wanted_mean,
                  Real* __restrict__ wanted_variance, i64 rows, i64 step, int channels) {
  __shared__ Moments shared[WIDTH * HEIGHT];
  const i64 parts = (rows + step - 1) / step;
  const Place p = place(parts, parts, channels);
  Moments all = {};
  for (i64 part = p.first; part < p.last; part += CHUNK * HEIGHT) {
    Moments v[CHUNK];
    for (int k = 0; k < CHUNK; ++k) {
      const i64 at = part + k * HEIGHT, left = rows - at * step;
      const bool here = at < p.last;
      v[k].count = here ? left < step ? left : step : 0;
      v[k].mean[0] = here ? means[at * channels + p.channel] : 0;
      v[k].squares[0] = here ? squares[at * channels + p.channel] : 0;
    }
    for (int k = 0; k < CHUNK; ++k) all = join(all, v[k]);
  }
  all = together(all, shared);
  if (p.line || p.channel >= channels) return;
  finished(all, p.channel, mean, variance, wanted_mean, wanted_variance);
}
"""

# Here, and wherever a result may lie over an operand, a thread writes only what it alone has read.
APPLY = r"""
extern "C" __global__ void __launch_bounds__(WIDTH * HEIGHT, RESIDENT)
batch_norm_apply(const Storage* x, const Real* __restrict__ scale, const Real* __restrict__ shift,
                 const Real* __restrict__ mean, const Real* __restrict__ variance, Storage* y, Real epsilon,
                 i64 rows, i64 step, int channels) {
  const Place p = place(rows, step, channels);
  if (!y || p.channel >= channels) return;
  const bool packed = whole(x) && whole(y);
  Real middle[PACK], factor[PACK], from[PACK];
  for (int j = 0; j < PACK; ++j) {
    middle[j] = mean[p.channel + j];
    factor[j] = scale[p.channel + j] * rsqrt(variance[p.channel + j] + epsilon);
    from[j] = shift[p.channel + j];
  }
  for (i64 row = p.first; row < p.last; row += CHUNK * HEIGHT) {
    Pack v[CHUNK];
    for (int k = 0; k < CHUNK; ++k)
      if (row + k * HEIGHT < p.last) v[k] = fetch(x + (row + k * HEIGHT) * channels + p.channel, packed);
    for (int k = 0; k < CHUNK; ++k)
      if (row + k * HEIGHT < p.last) {
        for (int j = 0; j < PACK; ++j) {
          const Real z = (load(v[k].at[j]) - middle[j]) * factor[j] + from[j];
          v[k].at[j] = store<Storage>(RELU && z < 0 ? 0 : z);
        }
        put(y + (row + k * HEIGHT) * channels + p.channel, v[k], packed);
      }
  }
}
"""

APPLY_GRAD = r"""
extern "C" __global__ void __launch_bounds__(WIDTH * HEIGHT, RESIDENT)
batch_norm_grad_apply(const Storage* x, const Real* __restrict__ scale, const Real* __restrict__ mean,
                      const Real* __restrict__ variance, const Storage* y, const Storage* g,
                      const Real* __restrict__ dscale, const Real* __restrict__ dshift, Storage* dx,
                      Real epsilon, i64 rows, i64 step, int channels) {
  const Place p = place(rows, step, channels);
  if (!dx || p.channel >= channels) return;
  const bool packed = whole(x) && whole(y) && whole(g) && whole(dx);
  const Real count = (Real)rows;
  Real middle[PACK], factor[PACK], slope[PACK], mean_g[PACK];
  for (int j = 0; j < PACK; ++j) {
    const Real r = rsqrt(variance[p.channel + j] + epsilon);
    middle[j] = mean[p.channel + j];
    factor[j] = scale[p.channel + j] * r;
    slope[j] = dscale[p.channel + j] / count * r;
    mean_g[j] = dshift[p.channel + j] / count;
  }
  for (i64 row = p.first; row < p.last; row += CHUNK * HEIGHT) {
    Pack vx[CHUNK], vg[CHUNK], vy[CHUNK];
    for (int k = 0; k < CHUNK; ++k)
      if (row + k * HEIGHT < p.last) {
        const i64 e = (row + k * HEIGHT) * channels + p.channel;
        vx[k] = fetch(x + e, packed);
        vg[k] = fetch(g + e, packed);
        if (GATED) vy[k] = fetch(y + e, packed);
      }
    for (int k = 0; k < CHUNK; ++k)
      if (row + k * HEIGHT < p.last) {
        for (int j = 0; j < PACK; ++j) {
          const Real passed = GATED && !(load(vy[k].at[j]) > 0) ? 0 : load(vg[k].at[j]);
          const Real away = (load(vx[k].at[j]) - middle[j]) * slope[j];
          vx[k].at[j] = store<Storage>(factor[j] * (passed - mean_g[j] - away));
        }
        put(dx + (row + k * HEIGHT) * channels + p.channel, vx[k], packed);
      }
  }
}
"""

LAYER_NORM = r"""
extern "C" __global__ void layer_norm(const Storage* x, const Real* __restrict__ scale,
                                      const Real* __restrict__ shift, Storage* y, Real* __restrict__ mean,
                                      Real* __restrict__ variance, Real epsilon, i64 rows, int n) {
  __shared__ Real shared[WARPS];
  const int lane = threadIdx.x % TEAM;
  for (i64 row = first_row(); more(row, rows); row = next_row(row)) {
    const int size = row < rows ? n : 0;
    const Storage* from = x + row * n;
    Real sum = 0, squares = 0;
    for (int i = lane; i < size; i += TEAM) sum += load(from[i]);
    const Real middle = together<Add>(sum, shared) / n;
    for (int i = lane; i < size; i += TEAM) {
      const Real distance = load(from[i]) - middle;
      squares += distance * distance;
    }
    const Real spread = together<Add>(squares, shared) / n, r = rsqrt(spread + epsilon);
    if (mean && lane == 0 && row < rows) mean[row] = middle;
    if (variance && lane == 0 && row < rows) variance[row] = spread;
    if (y)
      for (int i = lane; i < size; i += TEAM)
        y[row * n + i] = store<Storage>((load(from[i]) - middle) * r * scale[i] + shift[i]);
  }
}
"""

LAYER_NORM_GRAD = r"""
extern "C" __global__ void layer_norm_grad(const Storage* x, const Real* __restrict__ scale,
                                           const Real* __restrict__ mean, const Real* __restrict__ variance,
                                           const Storage* g, Storage* dx, Real epsilon, i64 rows, int n) {
  __shared__ Real shared[WARPS];
  const int lane = threadIdx.x % TEAM;
  if (!dx) return;
  for (i64 row = first_row(); more(row, rows); row = next_row(row)) {
    const int size = row < rows ? n : 0;
    const i64 start = row * n;
    const Real middle = size ? mean[row] : 0, r = size ? rsqrt(variance[row] + epsilon) : 0;
    Real sum = 0, product = 0;
    for (int i = lane; i < size; i += TEAM) {
      const Real k = load(g[start + i]) * scale[i];
      sum += k;
      product += k * ((load(x[start + i]) - middle) * r);
    }
    const Real mean_k = together<Add>(sum, shared) / n, mean_kh = together<Add>(product, shared) / n;
    for (int i = lane; i < size; i += TEAM) {
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
    (means, squares, mean, variance), workspace = columns.scratch()

    def steps() -> list[Call]:
        d, relu = x.dtype, isinstance(p, BatchNormRelu)
        moments = columns.source("batch_norm_moments", d, MOMENTS + PART_MOMENTS)
        finish = columns.finish_source("batch_norm_finish", d, MOMENTS + FINISH_MOMENTS)
        results = mean, variance, Out(1), Out(2)
        apply = columns.source("batch_norm_apply", d, APPLY, RELU=int(relu))
        epsilon = real(d, p.epsilon)
        return [
            *columns.sums(moments, finish, (In(0),), (means, squares), results),
            columns.call(apply, In(0), In(1), In(2), mean, variance, Out(0), epsilon),
        ]

    cost = seconds(3 * x.nbytes, launches=columns.launches + 1)
    return kernel(steps, workspace=workspace, reuse=((0, 0),), cost=cost)


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
    pieces, workspace = columns.scratch()
    big = [0, g] if y is None else [0, y, g]

    def steps() -> list[Call]:
        d, gated, gate = x.dtype, y is not None, In(g if y is None else y)
        epsilon = real(d, p.epsilon)
        apply = columns.source("batch_norm_grad_apply", d, APPLY_GRAD, GATED=int(gated), CHUNK=FEW)
        given, wanted = (In(0), In(1), In(2), In(3), gate, In(g), pieces[2], pieces[3]), (Out(1), Out(2))
        return [
            *norm_sums(columns, x, (In(0), In(2), In(3), gate, In(g)), pieces, wanted, epsilon, gated=gated),
            columns.call(apply, *given, Out(0), epsilon),
        ]

    return kernel(
        steps,
        workspace=workspace,
        reads=frozenset((*big, 1, 2, 3)),
        reuse=tuple((k, 0) for k in big),
        cost=seconds((2 * len(big) + 1) * x.nbytes, launches=columns.launches + 1),
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
    """The sums, where somebody wants them, come first: dx may lie over what they read."""
    if (no := refusal(p, operands)) is not None:
        return no
    x = operands[0].type
    columns = Columns(x, gpu.processors)
    pieces, workspace = columns.scratch()

    def steps() -> list[Step]:
        d, rows, epsilon = x.dtype, Rows(x), real(x.dtype, p.epsilon)
        source = rows.source("layer_norm_grad", d, LAYER_NORM_GRAD)
        given, wanted = (In(0), In(1), In(2), In(3), In(4)), (Out(0), Out(1))
        summed = In(0), In(2), In(3), In(4), In(4)
        sums = GpuKernel(norm_sums(columns, x, summed, pieces, wanted, epsilon, by_row=True))
        return [
            Inner(sums, given, (Out(1), Out(2))),
            rows.call(source, *given, Out(0), epsilon),
        ]

    cost = seconds(5 * x.nbytes, launches=columns.launches + 1)
    return kernel(steps, workspace=workspace, reuse=((0, 0), (4, 0)), cost=cost)
