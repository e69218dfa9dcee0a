"""One step of Rnn, Lstm and Gru, and one of their gradients, for a number of the state, in C.

All lines run for element ``e`` = (b, j) of a state, at step t: ``row`` counts the steps of all sequences, and
``has`` is whether sequence b has this one.  ``a`` are its gates, as the residual holds them of all steps:
first x w, then what the cell made of it; ``p`` its numbers of h u, and ``own`` its biases.  Backward ``d``
becomes the gradient of the gates, and ``flow`` is that of h' but for the share of y.  What a sequence without
this step would make is never read: it may be NaN.

``gate``, which is hard where there is a SLOPE, and ``fresh`` are the functions of gates and of what is new;
``slope`` and ``bend`` are their derivatives, of their results.
"""

from __future__ import annotations

EACH = r"""
__device__ inline Real gate(Real x) {
  return SLOPE > 0 ? smaller(larger(SLOPE * x + (Real)0.5, (Real)0), (Real)1) : 1 / (1 + exp(-x));
}
__device__ inline Real slope(Real s) { return SLOPE > 0 ? (s > 0 && s < 1 ? SLOPE : 0) : s * (1 - s); }
__device__ inline Real fresh(Real x) { return TANH ? tanh(x) : larger(x, (Real)0); }
__device__ inline Real bend(Real m) { return TANH ? 1 - m * m : m > 0 ? (Real)1 : (Real)0; }

extern "C" __global__ void $NAME($PARAMETERS const bool* mask, int t, int steps, int units, Index count) {
  const Index step = (Index)gridDim.x * blockDim.x;
  #pragma unroll 1  // else each thread would divide, to know how often it goes round
  for (Index e = (Index)blockIdx.x * blockDim.x + threadIdx.x; e < count; e += step) {
    const Index b = e / units;
    const int j = (int)(e - b * units);
    const i64 row = (i64)b * steps + t;
    const bool has = !MASKED || mask[row];
$BODY
  }
}
"""

# Where there is no step the state stays, and y is 0.
MOVE = r"""
    const Storage next = has ? store<Storage>(value) : h[e];
    out[e] = next;
    if (y) y[row * units + j] = has ? next : store<Storage>((Real)0);"""

HOLD = "    const Real value = load(product[e]);" + MOVE

GATES = r"""
    Storage* a = gates + row * (GATES * units) + j;
    const Storage* p = product + (i64)b * (WIDTH * units) + j;
    const Real* own = bias + j;"""

RNN = GATES + r"""
    const Real sum = load(a[0]) + load(p[0]) + own[0];
    const Real value = fresh(sum);
    if (kept) a[0] = store<Storage>(value);""" + MOVE  # fmt: skip

# `out` of a projection is what it takes: nothing of it stays.
LSTM = (
    GATES
    + r"""
    const Real i = gate(load(a[0]) + load(p[0]) + own[0]);
    const Real f = gate(load(a[units]) + load(p[units]) + own[units]);
    const Real g = fresh(load(a[2 * units]) + load(p[2 * units]) + own[2 * units]);
    const Real o = gate(load(a[3 * units]) + load(p[3 * units]) + own[3 * units]);
    const Real last = c[e], cell = has ? f * last + i * g : last;
    const Real value = o * fresh(cell);
    c_out[e] = cell;
    if (kept) {
      a[0] = store<Storage>(i);
      a[units] = store<Storage>(f);
      a[2 * units] = store<Storage>(g);
      a[3 * units] = store<Storage>(o);
      ((Real*)(kept + beyond))[row * units + j] = cell;
    }"""
)

TAKEN = r"""
    out[e] = store<Storage>(value);"""

GRU_AFTER = GATES + r"""
    const Real r = gate(load(a[0]) + load(p[0]) + own[0]);
    const Real z = gate(load(a[units]) + load(p[units]) + own[units]);
    const Real inner = load(p[2 * units]) + inner_bias[j];
    const Real m = fresh(load(a[2 * units]) + own[2 * units] + r * inner);
    const Real value = (1 - z) * m + z * load(h[e]);
    if (kept) {
      a[0] = store<Storage>(r);
      a[units] = store<Storage>(z);
      a[2 * units] = store<Storage>(m);
      ((Storage*)(kept + beyond))[row * units + j] = store<Storage>(inner);
    }""" + MOVE  # fmt: skip

# Without ``reset_after`` a product stands in the middle of a step, so that it is cut there.
GRU_RESET = (
    GATES
    + r"""
    const Real r = gate(load(a[0]) + load(p[0]) + own[0]);
    a[0] = store<Storage>(r);
    a[units] = store<Storage>(gate(load(a[units]) + load(p[units]) + own[units]));
    out[e] = has ? store<Storage>(r * load(h[e])) : store<Storage>((Real)0);"""
)

GRU_BEFORE = GATES + r"""
    const Real m = fresh(load(a[2 * units]) + load(p[0]) + own[2 * units]);
    const Real z = load(a[units]), value = (1 - z) * m + z * load(h[e]);
    if (kept) a[2 * units] = store<Storage>(m);""" + MOVE  # fmt: skip

# Backward.

FLOW = r"""
    const Real flow = load(product[e]) + (carried ? carried[e] : 0);
    const Real dh = flow + load(dy[row * units + j]);"""

STAY = r"""
    if (MASKED) carry[e] = has ? 0 : flow;"""

BACK = r"""
    const Storage* a = gates + row * (GATES * units) + j;
    Storage* d = das + row * (GATES * units) + j;"""

RNN_BACK = FLOW + BACK + r"""
    const Real value = load(a[0]);
    const Real slope = TANH ? dh * (1 - value * value) : value > 0 ? dh : 0;
    d[0] = store<Storage>(has ? slope : 0);""" + STAY  # fmt: skip

# The gradient of what a projection gives.
GIVEN = FLOW + r"""
    given[row * units + j] = store<Storage>(has ? dh : 0);""" + STAY  # fmt: skip

THROUGH = r"""
    const Real dh = load(product[e]);"""

LSTM_BACK = (
    BACK
    + r"""
    const Real i = load(a[0]), f = load(a[units]), g = load(a[2 * units]), o = load(a[3 * units]);
    const Real* cells = (const Real*)(kept + beyond);
    const Real before = last < 0 ? c0[e] : cells[((i64)b * steps + last) * units + j];
    const Real s = fresh(cells[row * units + j]), cell = dc[e] + dh * o * bend(s);
    d[0] = store<Storage>(has ? cell * g * slope(i) : 0);
    d[units] = store<Storage>(has ? cell * before * slope(f) : 0);
    d[2 * units] = store<Storage>(has ? cell * i * bend(g) : 0);
    d[3 * units] = store<Storage>(has ? dh * s * slope(o) : 0);
    dc_out[e] = has ? cell * f : dc[e];"""
)

TOOK = r"""
    took[row * units + j] = store<Storage>(has ? o * s : 0);"""

GRU_BACK = (
    FLOW
    + BACK
    + r"""
    const Real r = load(a[0]), z = load(a[units]), m = load(a[2 * units]), h = load(before[row * units + j]);
    const Real dm = dh * (1 - z) * bend(m);
    d[units] = store<Storage>(has ? dh * (h - m) * slope(z) : 0);
    d[2 * units] = store<Storage>(has ? dm : 0);
    carry[e] = has ? dh * z : flow;"""
)

# The product with h has a gradient of its own there.
GRU_AFTER_BACK = (
    GRU_BACK
    + r"""
    const Real inner = load(((const Storage*)(kept + beyond))[row * units + j]);
    Storage* side = sides + row * (GATES * units) + j;
    d[0] = store<Storage>(has ? dm * inner * slope(r) : 0);
    side[0] = d[0];
    side[units] = d[units];
    side[2 * units] = store<Storage>(has ? dm * r : 0);"""
)

GRU_RESET_BACK = (
    BACK
    + r"""
    const Real r = load(a[0]), h = load(before[row * units + j]), through = load(product[e]);
    d[0] = store<Storage>(has ? through * h * slope(r) : 0);
    reset[row * units + j] = store<Storage>(has ? r * h : 0);
    if (has) carry[e] += through * r;"""
)

# Before and behind the walk.

BEFORE = r"""
    Storage last = h[e];
    for (int k = 0; k < steps; ++k) {
      const i64 at = (i64)b * steps + (REVERSE ? steps - 1 - k : k);
      before[at * units + j] = last;
      if (!MASKED || mask[at]) last = y[at * units + j];
    }"""

CLEAN = "    out[e] = has ? x[e] : store<Storage>((Real)0);"
SUM = "    if (out) out[e] = store<Storage>(load(product[e]) + carried[e]);"
PUT = "    if (out) out[(i64)b * (GATES * units) + 2 * units + j] = x[e];"
