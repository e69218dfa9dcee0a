"""What every generated source begins with: the storage types, and how they become numbers and back.

No header is included: a source stands alone, compiles in milliseconds, and needs no CUDA toolkit.
"""

from __future__ import annotations

import numpy as np

from cortex_compute.types import (
    DType,
    bfloat16,
    bool_,
    float16,
    float32,
    float64,
    int8,
    int16,
    int32,
    int64,
    uint8,
    uint16,
    uint32,
    uint64,
)  # fmt: skip

STORAGE = {
    bool_: "bool", int8: "signed char", int16: "short", int32: "int", int64: "long long",
    uint8: "unsigned char", uint16: "unsigned short", uint32: "unsigned int", uint64: "unsigned long long",
    float16: "Half", bfloat16: "Brain", float32: "float", float64: "double",
}  # fmt: skip
"""The C type in which an element lies in memory."""

PRELUDE = r"""
typedef long long i64;
typedef unsigned int u32;
typedef unsigned long long u64;

struct Half { unsigned short bits; };   // float16
struct Brain { unsigned short bits; };  // bfloat16

#ifdef __CUDACC__
__device__ inline float half_to_float(unsigned short x) {
  float y;
  asm("{ .reg .b16 h; mov.b16 h, %1; cvt.f32.f16 %0, h; }" : "=f"(y) : "h"(x));
  return y;
}
__device__ inline unsigned short float_to_half(float x) {
  unsigned short y;
  asm("{ .reg .b16 h; cvt.rn.f16.f32 h, %1; mov.b16 %0, h; }" : "=h"(y) : "f"(x));
  return y;
}
#endif

__device__ inline unsigned short float_to_brain(float x) {  // to the nearest, of two the even one; NaN stays
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  unsigned short y;
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(y) : "f"(x));
  return y;
#else
  u32 u = __float_as_uint(x);
  if ((u & 0x7fffffffu) > 0x7f800000u) return (unsigned short)((u >> 16) | 0x40u);
  return (unsigned short)((u + 0x7fffu + ((u >> 16) & 1u)) >> 16);
#endif
}

// A double as a float that rounds to 16 bits as the double would: inexact ones have an odd last bit.
__device__ inline float rounded_to_odd(double x) {
  const float y = (float)x;
  if ((double)y == x || x != x) return y;
  return __uint_as_float((__float_as_uint(y) - (fabs((double)y) > fabs(x))) | 1u);
}

// What is computed with: float for the types of 16 bits, each other type itself.
template <class T> __device__ inline T load(T x) { return x; }
__device__ inline float load(Half x) { return half_to_float(x.bits); }
__device__ inline float load(Brain x) { return __uint_as_float((u32)x.bits << 16); }

template <class T> struct Stored {
  template <class S> __device__ static inline T from(S x) { return (T)x; }
};
template <> struct Stored<Half> {
  __device__ static inline Half from(float x) { Half h; h.bits = float_to_half(x); return h; }
};
template <> struct Stored<Brain> {
  __device__ static inline Brain from(float x) { Brain b; b.bits = float_to_brain(x); return b; }
};
template <class T, class S> __device__ inline T store(S x) { return Stored<T>::from(x); }

// The larger and the smaller of two numbers; NaN where one is NaN.
template <class T> __device__ inline T larger(T a, T b) { return a > b || a != a ? a : b; }
template <class T> __device__ inline T smaller(T a, T b) { return a < b || a != a ? a : b; }

// x to the power of n >= 0; U is the unsigned type in which the products wrap around.
template <class T, class U> __device__ inline T whole_power(T x, T n) {
  U y = 1;
  for (U square = (U)x; n > 0; n = (T)(n / 2), square *= square)
    if (n % 2 != 0) y *= square;
  return (T)y;
}
"""


def storage(d: DType) -> str:
    """The C type of an element in memory; read it with ``load(x)``, write it with ``store<type>(x)``."""
    return STORAGE[d]


def compute(d: DType) -> str:
    """The C type of a number in a register."""
    return "float" if d in (float16, bfloat16) else STORAGE[d]


def header(d: DType, **names: str | int) -> str:
    """The prelude, ``Storage`` and ``Real`` for the two types of ``d``, and more names: types or integers."""
    given = {"Storage": storage(d), "Real": compute(d), **names}
    lines = [
        f"typedef {c} {name};" if isinstance(c, str) else f"constexpr int {name} = {c};"
        for name, c in given.items()
    ]
    return PRELUDE + "\n".join([*lines, ""])


def real(d: DType, value: float) -> np.generic:
    """A number as an argument of type ``Real``."""
    return np.float64(value) if d is float64 else np.float32(value)


def index(count: int) -> tuple[str, type[np.generic]]:
    """The type in which a kernel counts up to ``count``, and that of an argument.

    Division is much faster in 32 bits; a thread's last step may lead beyond the end, so one bit stays free.
    """
    return ("int", np.int32) if count < 1 << 30 else ("i64", np.int64)
