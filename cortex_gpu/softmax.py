"""Softmax, log-softmax and the cross entropy of class indices.

The largest element is found by fmax, which passes over a NaN: the sum of the exponentials then is NaN, and
with it the whole row, as it is where the largest element is infinite.
"""

from __future__ import annotations

from collections.abc import Sequence

from cortex_compute.primitives.softmax import (
    LogSoftmax,
    Softmax,
    SoftmaxCrossEntropy,
    SoftmaxCrossEntropyGrad,
)
from cortex_compute.protocol import Offer, Operand, Refusal
from cortex_gpu.backend import Gpu, offers
from cortex_gpu.kernels import BLOCK, Call, In, Out, Source, blocks, kernel, refusal, seconds
from cortex_gpu.memory import nbytes
from cortex_gpu.prelude import header, index, real, storage
from cortex_gpu.rows import Rows

EXPONENTIALS = r"""
// The largest element of a row, and the sum of exp(x - largest).
__device__ inline void exponentials(const Storage* x, int n, int lane, Real* shared, Real& largest,
                                    Real& sum) {
  Real most = -(Real)__int_as_float(0x7f800000), total = 0;
  for (int i = lane; i < n; i += TEAM) most = fmax(most, load(x[i]));
  most = largest = together<Most>(most, shared);
  for (int i = lane; i < n; i += TEAM) total += exp(load(x[i]) - most);
  sum = together<Add>(total, shared);
}
"""

# y may lie over x: a thread writes only what it alone has read.
SOFTMAX = r"""
extern "C" __global__ void NAME(const Storage* x, Storage* y, i64 rows, int n) {
  __shared__ Real shared[WARPS];
  const int lane = threadIdx.x % TEAM;
  for (i64 row = first_row(); more(row, rows); row = next_row(row)) {
    const int size = row < rows ? n : 0;
    const Storage* from = x + row * n;
    Real largest, sum;
    exponentials(from, size, lane, shared, largest, sum);
    for (int i = lane; i < size; i += TEAM) {
      const Real rest = load(from[i]) - largest;
      y[row * n + i] = store<Storage>(RESULT);
    }
  }
}
"""

# The thread that has the label's element writes the loss: it may be the only one that still can read it.
CROSS_ENTROPY = r"""
extern "C" __global__ void softmax_cross_entropy(const Storage* x, const Label* labels, Storage* loss,
                                                 Storage* probabilities, Real keep, Real spread,
                                                 i64 rows, int n) {
  __shared__ Real shared[WARPS];
  const int lane = threadIdx.x % TEAM;
  for (i64 row = first_row(); more(row, rows); row = next_row(row)) {
    const int size = row < rows ? n : 0;
    const Storage* from = x + row * n;
    Real largest, sum;
    exponentials(from, size, lane, shared, largest, sum);
    if (loss) {
      const Real log_sum = log(sum);
      const int label = row < rows ? within((i64)labels[row], n) : -1;  // -1: nobody's
      Real total = 0;
      if (spread > 0) {
        for (int i = lane; i < size; i += TEAM)
          total += (i == label ? keep + spread : spread) * (log_sum - (load(from[i]) - largest));
        total = together<Add>(total, shared);
      }
      if (lane == label % TEAM) {
        if (!(spread > 0)) total = log_sum - (load(from[label]) - largest);
        loss[row] = store<Storage>(total);
      }
    }
    if (probabilities)
      for (int i = lane; i < size; i += TEAM)
        probabilities[row * n + i] = store<Storage>(exp(load(from[i]) - largest) / sum);
  }
}
"""

CROSS_ENTROPY_GRAD = r"""
extern "C" __global__ void softmax_cross_entropy_grad(const Storage* p, const Label* labels,
                                                      const Storage* g, Storage* d, Real keep, Real spread,
                                                      Index count, Index n) {
  const Index first = (Index)blockIdx.x * blockDim.x + threadIdx.x, step = (Index)gridDim.x * blockDim.x;
  #pragma unroll 1  // else each thread would divide, to know how often it goes round
  for (Index e = first; e < count; e += step) {
    const Index row = e / n, i = e - row * n;
    const Real target = (i == within((i64)labels[row], n) ? keep : 0) + spread;
    d[e] = store<Storage>(load(g[row]) * (load(p[e]) - target));
  }
}
"""

WITHIN = r"""
template <class T> __device__ inline T within(i64 label, T n) {
  return label < 0 ? 0 : label < n ? (T)label : n - 1;
}
"""


@offers(Softmax)
def softmax(p: Softmax, operands: Sequence[Operand], gpu: Gpu) -> Offer | Refusal:
    return _softmax(p, operands, "softmax", "exp(rest) / sum")


@offers(LogSoftmax)
def log_softmax(p: LogSoftmax, operands: Sequence[Operand], gpu: Gpu) -> Offer | Refusal:
    return _softmax(p, operands, "log_softmax", "rest - log(sum)")


def _softmax(p: Softmax | LogSoftmax, operands: Sequence[Operand], name: str, result: str) -> Offer | Refusal:
    if (no := refusal(p, operands)) is not None:
        return no
    x = operands[0].type

    def steps() -> list[Call]:
        rows = Rows(x)
        body = EXPONENTIALS + SOFTMAX.replace("NAME", name).replace("RESULT", result)
        return [rows.call(rows.source(name, x.dtype, body), In(0), Out(0))]

    return kernel(steps, reuse=((0, 0),), cost=seconds(2 * x.nbytes))


@offers(SoftmaxCrossEntropy)
def softmax_cross_entropy(p: SoftmaxCrossEntropy, operands: Sequence[Operand], gpu: Gpu) -> Offer | Refusal:
    if (no := refusal(p, operands)) is not None:
        return no
    logits, labels = (o.type for o in operands)

    def steps() -> list[Call]:
        d, rows = logits.dtype, Rows(logits)
        label = storage(labels.dtype)
        source = rows.source("softmax_cross_entropy", d, EXPONENTIALS + WITHIN + CROSS_ENTROPY, Label=label)
        smoothing = p.label_smoothing
        target = real(d, 1 - smoothing), real(d, smoothing / rows.n)
        return [rows.call(source, In(0), In(1), Out(0), Out(1), *target)]

    return kernel(steps, reuse=((0, 1),), cost=seconds(2 * logits.nbytes))


@offers(SoftmaxCrossEntropyGrad)
def softmax_cross_entropy_gradient(
    p: SoftmaxCrossEntropyGrad, operands: Sequence[Operand], gpu: Gpu
) -> Offer | Refusal:
    if (no := refusal(p, operands)) is not None:
        return no
    probabilities, labels, _ = (o.type for o in operands)

    def steps() -> list[Call]:
        d, count, n = probabilities.dtype, probabilities.size, probabilities.shape[-1]
        name, integer = index(count)
        text = header(d, Label=storage(labels.dtype), Index=name) + WITHIN + CROSS_ENTROPY_GRAD
        target = real(d, 1 - p.label_smoothing), real(d, p.label_smoothing / n)
        arguments = (In(0), In(1), In(2), Out(0), *target, integer(count), integer(n))
        return [Call(Source("softmax_cross_entropy_grad", text), blocks(count), BLOCK, arguments)]

    return kernel(steps, reuse=((0, 0),), cost=seconds(nbytes(probabilities, probabilities)))
